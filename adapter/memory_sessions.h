/* The sessions of the adapter `memory`: the reference of what session.h says, on a
 * memory_log, with time as an argument. Nothing waits and nothing calls back. */
#ifndef GATEHOUSE_ADAPTER_MEMORY_SESSIONS_H
#define GATEHOUSE_ADAPTER_MEMORY_SESSIONS_H

#include "adapter/memory_log.h"

struct memory_sessions {
	const struct memory_log *log;
	uint64_t seed[2];
	struct table sessions;
	struct link live, parked; /* those that end first in front */
	/* of the last reply */
	struct session_room *rooms;
	struct slice *messages;
	size_t rooms_cap, messages_cap;
	struct buf scratch;
};

/* `log` outlives it. */
void memory_sessions_init(struct memory_sessions *s, const struct memory_log *log,
			  const uint64_t seed[2]);
void memory_sessions_deinit(struct memory_sessions *s);
/* Do it. What `reply` shows is valid until the next call of this or of the log. *taken:
 * it was a TAKE of a session that somebody lives with. ERR_TOO_MANY: a JOIN beyond
 * SESSION_ROOMS_MAX stays in rooms. */
MUST_USE enum err memory_sessions_run(struct memory_sessions *s,
				      const struct session_request *r, uint64_t now_ms,
				      struct session_reply *reply, bool *taken);
/* Remove those whose time is over. */
void memory_sessions_expire(struct memory_sessions *s, uint64_t now_ms);

#endif
