/* RESP2, Redis's protocol: commands are appended to a buf, replies are read with
 * hiredis's redisReader into nodes that are reused from one reply to the next, so that
 * receiving a message allocates nothing. */
#ifndef GATEHOUSE_ADAPTER_REDIS_RESP_H
#define GATEHOUSE_ADAPTER_REDIS_RESP_H

#include "proto/buf.h"
#include "proto/err.h"

/* Begin a command of `n` words; exactly n resp_word* follow. */
void resp_command(struct buf *out, size_t n);
void resp_word(struct buf *out, struct slice word);
void resp_word_str(struct buf *out, const char *word);
void resp_word_u64(struct buf *out, uint64_t number);

enum resp_type { RESP_STATUS, RESP_ERROR, RESP_STR, RESP_INT, RESP_NIL, RESP_ARRAY };

struct resp {
	enum resp_type type;
	int64_t i;	/* RESP_INT */
	struct slice s; /* RESP_STATUS, RESP_ERROR, RESP_STR */
	const struct resp *v;
	size_t n; /* RESP_ARRAY: elements in v */
};

/* Is `r` an array of at least `n` elements? */
static inline bool resp_is_array(const struct resp *r, size_t n)
{
	return r->type == RESP_ARRAY && r->n >= n;
}

struct resp_reader;

/* A string of more than `bytes_max` is passed over without being kept: its length comes
 * in its place, as a RESP_INT. A reply whose strings are more than twice that
 * together, which no message of a subscription can be, breaks the stream. */
struct resp_reader *resp_reader_new(size_t bytes_max);
void resp_reader_free(struct resp_reader *r);
/* Hand over bytes as they came. Pieces of some kilobytes are best: hiredis moves what it
 * holds each time it has consumed one. ERR_IO: the reader is broken, as below. */
MUST_USE enum err resp_reader_feed(struct resp_reader *r, const uint8_t *p, size_t n);
/* The next whole reply, valid until the next call. ERR_NOT_FOUND: feed more.
 * ERR_SYNTAX: the stream is broken for good; resp_reader_why says how. */
MUST_USE enum err resp_reader_next(struct resp_reader *r, const struct resp **reply);
const char *resp_reader_why(const struct resp_reader *r);

#endif
