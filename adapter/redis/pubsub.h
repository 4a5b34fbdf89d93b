/* What this node listens to: one channel of its own for what other nodes tell it, one
 * channel per namespace, one pattern per namespace for the own-id rooms of this node's
 * sockets, and one channel per subscribed room and per watched queue. Keeps them across
 * connections, counts confirmations and hands over what arrives. */
#ifndef GATEHOUSE_ADAPTER_REDIS_PUBSUB_H
#define GATEHOUSE_ADAPTER_REDIS_PUBSUB_H

#include "adapter/redis/link.h"
#include "proto/table.h"

struct redis_stream;

struct redis_pubsub {
	struct redis_core *core;
	struct redis_link *link;
	struct table channels, patterns;
	struct link dirty;     /* channels with a command to send */
	struct link waiting;   /* channels whose subscriber waits, by deadline */
	struct link live;      /* channels whose subscriber hears so in the next turn */
	size_t restoring;      /* channels not confirmed since the connection was made */
	uint64_t commands;     /* sent */
	bool one_by_one;       /* one was refused: one channel in each, to know which */
	uint64_t too_large_ms; /* when one was told of */
	struct redis_stream *stream; /* NULL: sessions are off */
	struct cluster_rooms decoded;
	struct buf scratch;
};

void redis_pubsub_init(struct redis_pubsub *p, struct redis_core *core,
		       struct redis_link *link);
void redis_pubsub_deinit(struct redis_pubsub *p);
/* Subscribe to this node's log channel, too, and ask the stream before a numbered message
 * is delivered. Before the link opens. */
void redis_pubsub_set_stream(struct redis_pubsub *p, struct redis_stream *stream);
void redis_pubsub_add_namespace(struct redis_pubsub *p, struct slice nsp);
void redis_pubsub_subscribe(struct redis_pubsub *p, struct slice nsp, struct slice room,
			    struct done done);
void redis_pubsub_unsubscribe(struct redis_pubsub *p, struct slice nsp,
			      struct slice room);
/* Append the channel of a node's own, `<key>-node#<code>#`. Nobody else subscribes to it:
 * patterns of Node servers and of nodes begin with `<key>#`. */
void redis_pubsub_node_channel(const struct redis_core *core, struct slice code,
			       struct buf *out);
/* Append a node's log channel, `<key>-log#<code>#`, which is no pattern's of others
 * either. */
void redis_pubsub_log_channel(const struct redis_core *core, struct slice code,
			      struct buf *out);
/* Append the key of a queue, `gh:{q:<name>}`, or with another channel prefix than
 * "socket.io" `gh:{q:<name>}@<prefix>`. */
void redis_pubsub_queue_key(const struct redis_core *core, struct slice queue,
			    struct buf *out);
/* Hear on_queue of this queue, also when that begins, and again after a gap. */
void redis_pubsub_watch(struct redis_pubsub *p, struct slice queue);
void redis_pubsub_unwatch(struct redis_pubsub *p, struct slice queue);
/* Rooms and queues subscribed to. */
size_t redis_pubsub_count(const struct redis_pubsub *p);
/* Would a broadcast to these rooms reach this node? */
bool redis_pubsub_hears(struct redis_pubsub *p, const struct cluster_broadcast *b);

/* The link's hooks. */
void redis_pubsub_on_ready(struct redis_pubsub *p);
void redis_pubsub_on_cut(struct redis_pubsub *p);
void redis_pubsub_on_push(struct redis_pubsub *p, const struct resp *r);
/* Has all that was subscribed to before the connection was made been confirmed? */
bool redis_pubsub_restored(const struct redis_pubsub *p);

/* Answer those whose channel was live already; write the commands gathered since the
 * last turn. True if a callback ran, or is to run in the next turn. */
bool redis_pubsub_turn(struct redis_pubsub *p);
/* Give up on subscribers that have waited too long. */
void redis_pubsub_tick(struct redis_pubsub *p, uint64_t now);
/* Answer all that wait with ERR_CLOSED. */
void redis_pubsub_close(struct redis_pubsub *p);

#endif
