/* Sessions in Redis: requests (adapter/session.h) become calls of gh_session
 * (lua/rooms.lua). Whatever was not finished when a connection broke is asked again when
 * both are back, in the order it was asked for. */
#ifndef GATEHOUSE_ADAPTER_REDIS_SESSIONS_H
#define GATEHOUSE_ADAPTER_REDIS_SESSIONS_H

#include "adapter/redis/stream.h"

struct redis_sessions {
	struct redis_core *core;
	struct redis_link *link;
	struct redis_stream *stream;
	struct link waiting; /* not written, in order */
	struct link replays; /* likewise; only some are under way at a time */
	struct link again;   /* written, and to be written again before those */
	struct link marked;  /* answered; what they asked for comes on the log channel */
	struct table tokens; /* of those that are written and want such an answer */
	size_t unanswered;   /* written */
	size_t replaying;    /* of `tokens` */
	size_t bytes;	     /* of all */
	uint64_t epoch;	     /* of subscriptions */
	struct session_room *rooms;
	size_t rooms_cap;
	struct session_span *spans;
	size_t spans_cap;
};

void redis_sessions_init(struct redis_sessions *s, struct redis_core *core,
			 struct redis_link *link, struct redis_stream *stream);
void redis_sessions_deinit(struct redis_sessions *s);
void redis_sessions_ask(struct redis_sessions *s, const struct session_request *r,
			struct done done);
/* Subscriptions were cut: what was to come by them is asked for again. */
void redis_sessions_on_deaf(struct redis_sessions *s);
/* What was asked for with this token. */
void redis_sessions_on_reply(struct redis_sessions *s, uint64_t token, uint64_t number,
			     bool end, const struct slice *messages, size_t n);
/* Write what waits. */
void redis_sessions_turn(struct redis_sessions *s, bool up);
/* Give up on what has waited too long. */
void redis_sessions_tick(struct redis_sessions *s, bool up, uint64_t now);
/* Answer what waits with ERR_CLOSED. */
void redis_sessions_close(struct redis_sessions *s);

#endif
