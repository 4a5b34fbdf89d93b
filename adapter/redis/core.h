/* What the parts of the Redis adapter share: the adapter they are of, its options and
 * counters, and the answers that wait for the end of the call that caused them. */
#ifndef GATEHOUSE_ADAPTER_REDIS_CORE_H
#define GATEHOUSE_ADAPTER_REDIS_CORE_H

#include "adapter/done.h"
#include "proto/buf.h"
#include "proto/list.h"

struct redis_core {
	struct adapter base;
	struct adapter_options options;
	struct adapter_stats stats;
	uint64_t seed[2]; /* of tables */
	struct buf key;	  /* channel prefix */
	bool closing;	  /* no event but on_log any more */
	struct link later;
};

static inline uint64_t redis_core_now(const struct redis_core *c)
{
	return env_now_ms(c->base.env);
}

/* Answer from the next turn, since nothing may call back from inside a call. */
void redis_core_later(struct redis_core *c, struct done done, enum err err);
/* Give the answers that wait. True if there were any. */
bool redis_core_answer(struct redis_core *c);

void redis_core_log(const struct redis_core *c, enum adapter_log_level level,
		    const char *id, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* Log what Redis answered to one of many, once in a while; *last_ms begins as 0. */
void redis_core_complain(const struct redis_core *c, uint64_t *last_ms, const char *id,
			 struct slice error);
/* Append what keys have behind their tag, so that clusters with different channel
 * prefixes do not meet: nothing for "socket.io", else `@<prefix>`, in which whatever is
 * no letter, digit, `.`, `_` or `-` is %XX. */
void redis_core_put_mark(const struct redis_core *c, struct buf *out);
/* Append `s` in quotes, without the characters that would end them or the line. */
void redis_core_quote(struct buf *out, struct slice s);

#endif
