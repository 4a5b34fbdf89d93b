/* Queues in Redis: requests become calls of the functions in lua/queues.lua
 * (library.h).
 *
 * Order: requests are carried out as they were made. When the connection breaks, what was
 * in flight and does no harm twice is sent again, before what waits; a push without a key
 * and a take are ERR_UNCONFIRMED. */
#ifndef GATEHOUSE_ADAPTER_REDIS_QUEUES_H
#define GATEHOUSE_ADAPTER_REDIS_QUEUES_H

#include "adapter/redis/library.h"
#include "adapter/redis/pubsub.h"

struct redis_queues {
	struct redis_core *core;
	struct redis_link *link;
	struct redis_pubsub *pubsub;
	struct link waiting; /* not written, in order */
	struct link again;   /* written, and to be written again before those */
	size_t bytes;	     /* of all that was not answered */
	struct redis_library library;
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
