/* Publishes, tells and fences: wait in one order while the backend is away, go out in one
 * batch per turn, and are answered. What was written and not answered when the connection
 * broke is ERR_UNCONFIRMED and never written again, so nothing is published twice; but
 * what is to be numbered and logged is written again, since Redis knows each by its
 * number (lua/rooms.lua). */
#ifndef GATEHOUSE_ADAPTER_REDIS_PUBLISH_H
#define GATEHOUSE_ADAPTER_REDIS_PUBLISH_H

#include "adapter/redis/stream.h"

struct redis_publisher {
	struct redis_core *core;
	struct redis_link *link;
	struct redis_pubsub *pubsub;
	struct redis_stream *stream;
	struct link waiting; /* not written yet, by deadline */
	struct link again;   /* logged ones, to be written again before those */
	size_t batches;	     /* written, not answered */
	uint64_t numbered;   /* logged ones, drawn last */
	uint64_t written;    /* the last number of the last batch */
	uint64_t losses;     /* of data, when last looked at */
	struct link local;   /* for this node alone, until the next turn */
	size_t unanswered;   /* written */
	size_t local_bytes;
	uint64_t complained_ms;
	struct cluster_rooms decoded;
	struct buf uid, channel, message;
	bool in_room; /* what these hold goes to one room */
};

void redis_publisher_init(struct redis_publisher *p, struct redis_core *core,
			  struct redis_link *link, struct redis_pubsub *pubsub,
			  struct redis_stream *stream);
void redis_publisher_deinit(struct redis_publisher *p);
void redis_publisher_publish(struct redis_publisher *p, const struct cluster_broadcast *b,
			     struct done done);
void redis_publisher_tell(struct redis_publisher *p, struct slice node_code,
			  struct slice bytes, struct done done);
void redis_publisher_fence(struct redis_publisher *p, struct slice node_code,
			   struct slice bytes, struct done done);
/* Write what waits if `up`, deliver what is local. True if a callback ran. */
bool redis_publisher_turn(struct redis_publisher *p, bool up);
/* Give up on what has waited for the backend for too long. */
void redis_publisher_tick(struct redis_publisher *p, bool up, uint64_t now);
/* Answer all that was not written or delivered with ERR_CLOSED. */
void redis_publisher_close(struct redis_publisher *p);

#endif
