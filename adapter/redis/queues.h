/* Queues in Redis: requests become calls of the functions in lua/queues.lua, which are a
 * library that Redis keeps (FUNCTION LOAD), so that any client may call them too. A
 * node loads it when it first needs it on a connection, unless one of the same or a newer
 * version is there.
 *
 * Order: requests are carried out as they were made. When the connection breaks, what was
 * in flight and does no harm twice is sent again, before what waits; a push without a key
 * and a take are ERR_UNCONFIRMED. */
#ifndef GATEHOUSE_ADAPTER_REDIS_QUEUES_H
#define GATEHOUSE_ADAPTER_REDIS_QUEUES_H

#include "adapter/redis/pubsub.h"

enum redis_queues_state {
	QUEUES_AWAY,	 /* no connection */
	QUEUES_IDLE,	 /* nothing was asked for on this one */
	QUEUES_CHECKING, /* which library is there? */
	QUEUES_LOADING,
	QUEUES_OPEN,
};

struct redis_queues {
	enum redis_queues_state state;
	struct redis_core *core;
	struct redis_link *link;
	struct redis_pubsub *pubsub;
	struct link waiting; /* not written, in order */
	struct link again;   /* written, and to be written again before those */
	size_t bytes;	     /* of all that was not answered */
	struct redis_call check, load;
	uint64_t retry_ms; /* no loading before */
	uint64_t complained_ms;
	struct buf scratch;
	struct queue_message *page;
	size_t page_cap;
};

void redis_queues_init(struct redis_queues *q, struct redis_core *core,
		       struct redis_link *link, struct redis_pubsub *pubsub);
void redis_queues_deinit(struct redis_queues *q);
void redis_queues_ask(struct redis_queues *q, const struct queue_request *r,
		      struct done done);
void redis_queues_watch(struct redis_queues *q, struct slice queue);
void redis_queues_unwatch(struct redis_queues *q, struct slice queue);

/* The link's hooks. */
void redis_queues_on_ready(struct redis_queues *q);
void redis_queues_on_cut(struct redis_queues *q);
/* Write what waits. */
void redis_queues_turn(struct redis_queues *q);
/* Give up on what has waited too long. */
void redis_queues_tick(struct redis_queues *q, uint64_t now);
/* Answer what waits with ERR_CLOSED. */
void redis_queues_close(struct redis_queues *q);

#endif
