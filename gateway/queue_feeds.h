/* What clients of this node consume: for each queue the sockets that do, how many
 * messages each may have, and taking as many from the adapter as they can take together.
 *
 * What is in flight is kept nowhere but in the questions the sockets owe an answer to
 * (socket_emit_ack): their tag names the message, so they move with their sockets to
 * other nodes. While one is due this node renews the message's lease. The answer settles
 * it: done, failed, or given back if the client is gone. */
#ifndef GATEHOUSE_GATEWAY_QUEUE_FEEDS_H
#define GATEHOUSE_GATEWAY_QUEUE_FEEDS_H

#include "gateway/metrics.h"
#include "gateway/node.h"
#include "gateway/socket.h"

struct queue_feeds {
	struct node *node;
	struct table feeds;	     /* by queue */
	struct table members;	     /* sockets that consume, by id */
	struct link by_time;	     /* feeds, by when they are looked at again */
	struct metrics_queue others; /* what no rule is for, or one of too many */
	uint64_t renew_at, renew_ms;
	uint64_t stats_at; /* no asking for depths before */
	struct buf data, tag;
};

void queue_feeds_init(struct queue_feeds *f, struct node *n);
void queue_feeds_deinit(struct queue_feeds *f);

/* Consume, or change the prefetch. ERR_TOO_MANY: as many queues as it may. */
MUST_USE enum err queue_feeds_consume(struct queue_feeds *f, struct socket *s,
				      const struct policy_queue *rule, struct slice queue,
				      uint16_t prefetch);
/* What it has is still to be acknowledged. False: it did not consume. */
bool queue_feeds_stop(struct queue_feeds *f, struct socket *s, struct slice queue);
/* The socket is gone, or at another node. */
void queue_feeds_forget(struct queue_feeds *f, struct socket *s);

/* What a socket consumes, for another node (app.h). */
bool queue_feeds_pack(const struct queue_feeds *f, const struct socket *s,
		      msgpack_packer *pk);
MUST_USE enum err queue_feeds_unpack(struct queue_feeds *f, struct socket *s,
				     struct slice value);

/* Something is in the queue. */
void queue_feeds_woken(struct queue_feeds *f, struct slice queue);
/* A client has answered, or will not. */
void queue_feeds_answer(struct queue_feeds *f, struct socket *s, struct slice tag,
			enum err err, struct slice args);
void queue_feeds_tick(struct queue_feeds *f, uint64_t now);
uint64_t queue_feeds_next(const struct queue_feeds *f);

/* The settings of a rule, as the adapter wants them. */
struct queue_settings queue_feeds_settings(const struct policy_queue *rule);
/* Its counters; `rule` may be NULL. */
struct metrics_queue *queue_feeds_counts(struct queue_feeds *f,
					 const struct policy_queue *rule);
/* Bring the gauges up to date, and ask for depths that are to be told the next time. */
void queue_feeds_measure(struct queue_feeds *f);
/* Append the metrics of queues in `m`, which are of a node with this configuration. */
void queue_feeds_metrics_write(const struct metrics *m, const struct config *c,
			       struct buf *out);

#endif
