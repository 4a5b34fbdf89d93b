/* How a node reaches the others: the contract between the gateway and what carries its
 * rooms. Read this first. `memory` (memory.c: one node, no Redis) is the reference;
 * `redis` joins any number of nodes and Node servers. Both pass tests/adapter.
 *
 * The adapter carries messages and keeps presence; which socket is a local member of
 * which room is the gateway's business. The gateway subscribes to a room while it has
 * local members there, at most once.
 *
 * Rules, for every adapter:
 * - Nothing calls back from inside a call: events and `done` functions run later, from
 * the loop or from adapter_turn.
 * - Every `done` that is not NULL runs exactly once. When the adapter closes first, it
 * runs with ERR_CLOSED before `closed` does.
 * - Slices passed in are borrowed for the call, slices passed to callbacks likewise.
 * - A room's messages arrive in one order on all nodes, the publisher's own included: it
 *   hears its own message when everybody does, not before.
 * - After a subscribe is done with ERR_OK nothing published to the room later is missed
 *   while the adapter stays up. Subscriptions are restored before on_state says up again.
 * - A message that was published with CLUSTER_LOGGED is missed by no node that stays
 *   subscribed, not even across a gap; where that can't be kept, on_missed says so.
 * - What waits while the backend is away is bounded in bytes and in time.
 * - Everything happens on the loop's thread. */
#ifndef GATEHOUSE_ADAPTER_ADAPTER_H
#define GATEHOUSE_ADAPTER_ADAPTER_H

#include <uv.h>

#include "adapter/env.h"
#include "adapter/queue.h"
#include "adapter/session.h"
#include "proto/cluster.h"
#include "proto/id.h"

struct adapter_member {
	struct slice sid;  /* ID_LEN characters */
	struct slice user; /* empty: none */
	struct slice node; /* code of the node where it is; not read by add and remove */
};

enum adapter_log_level { ADAPTER_LOG_INFO, ADAPTER_LOG_WARN, ADAPTER_LOG_ERROR };

/* What the gateway hears. Every member is set. */
struct adapter_events {
	/* A broadcast for this node: to a namespace added before, to a subscribed room,
	 * to the own-id room of one of this node's sockets, or to several rooms, of which
	 * any may have no member here. */
	void (*on_message)(void *ctx, const struct cluster_broadcast *b);
	/* A message that a node sent to this one (adapter_tell), or one end of a fence
	 * (adapter_fence), which both nodes get. `from`: the code of the node that sent
	 * it. */
	void (*on_told)(void *ctx, struct slice from, struct slice bytes);
	/* Up: publishes go through and all subscriptions live. Down: neither. `gap`, with
	 * up: messages may have been missed since it was up before. Said on change only;
	 * an adapter begins down. */
	void (*on_state)(void *ctx, bool up, bool gap);
	/* The backend forgot this node's presence (its data was lost, or it took this
	 * node for dead): the gateway adds every member again. */
	void (*on_presence_lost)(void *ctx);
	/* A member that a dead node left behind was removed. One node hears of each. */
	void (*on_member_lost)(void *ctx, struct slice nsp, struct slice room,
			       const struct adapter_member *m);
	/* Numbered messages were missed that can't be had any more, or the backend has
	 * lost some that somebody had: recoverable sockets close, and sessions are as
	 * TAKE says when they come back. Numbers from before (adapter_position, replies)
	 * must not be said any more: in what comes next they may be others'. */
	void (*on_missed)(void *ctx);
	/* Others did something with a session of this node. */
	void (*on_session)(void *ctx, enum session_event what, struct slice sid,
			   uint64_t generation, struct slice room);
	/* Something may be taken, now or at another time than was said, from a queue that
	 * is watched (adapter_queue_watch), or
	 * the watch was lost for a while. */
	void (*on_queue)(void *ctx, struct slice queue);
	/* One line for the log. `id` is stable, `text` is "key=value …" or empty. */
	void (*on_log)(void *ctx, enum adapter_log_level level, const char *id,
		       const char *text);
};

typedef void adapter_done_fn(void *arg, enum err err);
/* `count`: members of the room in the whole cluster after the change; 0 on error. */
typedef void adapter_count_fn(void *arg, enum err err, uint64_t count);
/* A page of members, by socket id; `more`: some come after the last of it. */
typedef void adapter_members_fn(void *arg, enum err err, uint64_t count,
				const struct adapter_member *members, size_t n,
				bool more);

struct adapter_stats {
	/* since start; tells and fences are among what was published */
	uint64_t published, publish_failed, publish_unconfirmed;
	/* `received_bytes`: of messages as they were carried, which without a backend is
	 * what they hold. */
	uint64_t received, received_bytes, malformed;
	uint64_t told, told_bytes; /* heard by on_told; not among `received` */
	uint64_t connects, gaps, ghosts_reaped;
	uint64_t gap_events; /* messages heard later, after a gap */
	uint64_t log_cut;    /* entries cut by this node's publishes: over a log's cap */
	uint64_t eras;	     /* new ones that this node has met */
	/* now */
	uint64_t publish_waiting, publish_waiting_bytes, subscriptions;
	uint64_t rtt_us; /* of the last answered probe; 0: none yet, or no backend */
	bool up;
};

struct adapter;

/* One table per implementation; the gateway calls the adapter_* functions below. */
struct adapter_ops {
	const char *name;
	void (*open)(struct adapter *a);
	void (*add_namespace)(struct adapter *a, struct slice nsp);
	void (*publish)(struct adapter *a, const struct cluster_broadcast *b,
			adapter_done_fn *done, void *arg);
	void (*tell)(struct adapter *a, struct slice node_code, struct slice bytes,
		     adapter_done_fn *done, void *arg);
	void (*fence)(struct adapter *a, struct slice node_code, struct slice bytes,
		      adapter_done_fn *done, void *arg);
	void (*subscribe)(struct adapter *a, struct slice nsp, struct slice room,
			  adapter_done_fn *done, void *arg);
	void (*unsubscribe)(struct adapter *a, struct slice nsp, struct slice room);
	void (*presence_add)(struct adapter *a, struct slice nsp, struct slice room,
			     const struct adapter_member *m, adapter_count_fn *done,
			     void *arg);
	void (*presence_remove)(struct adapter *a, struct slice nsp, struct slice room,
				const struct adapter_member *m, adapter_count_fn *done,
				void *arg);
	void (*presence_list)(struct adapter *a, struct slice nsp, struct slice room,
			      struct slice after, size_t limit, adapter_members_fn *done,
			      void *arg);
	void (*queue)(struct adapter *a, const struct queue_request *r,
		      adapter_queue_fn *done, void *arg);
	void (*queue_watch)(struct adapter *a, struct slice queue);
	void (*queue_unwatch)(struct adapter *a, struct slice queue);
	void (*session)(struct adapter *a, const struct session_request *r,
			adapter_session_fn *done, void *arg);
	uint64_t (*position)(const struct adapter *a, struct slice *offset);
	bool (*turn)(struct adapter *a);
	void (*stats)(const struct adapter *a, struct adapter_stats *s);
	void (*close)(struct adapter *a, void (*closed)(void *arg), void *arg);
};

/* Embedded as the first member of each implementation. */
struct adapter {
	const struct adapter_ops *ops;
	const struct adapter_events *events;
	void *ctx; /* for events */
	const struct env *env;
	char node_code[NODE_CODE_LEN + 1];
};

struct adapter_options {
	uv_loop_t *loop;
	const struct env *env;
	const struct adapter_events *events;
	void *ctx;
	const char *node_code; /* NODE_CODE_LEN characters, unique in the cluster */
	/* Publishes, tells and fences that are not answered yet, with what each takes
	 * besides its bytes. */
	size_t publish_waiting_bytes_max;
	uint64_t
		publish_wait_ms_max; /* how long one may wait for the backend to return */
	uint64_t presence_lease_ms;  /* how long a dead node's members may stay listed */
	struct session_options sessions;
};

struct adapter_redis_options {
	const char *host; /* NULL: `path` */
	uint16_t port;
	const char *path;		 /* unix socket */
	const char *username, *password; /* NULL: none */
	unsigned db;
	const char *key;	   /* channel prefix, "socket.io" */
	uint64_t reply_timeout_ms; /* a connection silent for longer counts as cut */
	uint64_t backoff_ms_min,
		backoff_ms_max; /* between tries to connect, with jitter */
};

/* Options are copied; loop, env, events and ctx outlive the adapter. The process ignores
 * SIGPIPE: libuv writes without MSG_NOSIGNAL. */
struct adapter *adapter_memory_new(const struct adapter_options *o);
struct adapter *adapter_redis_new(const struct adapter_options *o,
				  const struct adapter_redis_options *r);

/* Begin to connect. Namespaces are added before. */
static inline void adapter_open(struct adapter *a)
{
	a->ops->open(a);
}

/* Carry this namespace: its own channel and the own-id rooms of this node's sockets. */
static inline void adapter_add_namespace(struct adapter *a, struct slice nsp)
{
	a->ops->add_namespace(a, nsp);
}

/* Send a broadcast (b->uid, b->foreign, b->number and b->offset are ignored).
 * CLUSTER_LOGGED: it gets a number and is logged, which needs the option `sessions.on`;
 * one whose connection broke before the answer is sent again and not doubled, unless the
 * backend has lost data. done(ERR_OK): the backend has it.
 * CLUSTER_LOCAL: this node alone hears it, in this adapter's order, also while it is
 * down. ERR_UNAVAILABLE: not sent, the backend was away for publish_wait_ms_max.
 * ERR_FULL: not sent, too much is waiting. ERR_UNCONFIRMED: the connection broke before
 * the answer; it may have been delivered, and is not sent again. ERR_DENIED: the backend
 * refused it (the log says why). */
static inline void adapter_publish(struct adapter *a, const struct cluster_broadcast *b,
				   adapter_done_fn *done, void *arg)
{
	a->ops->publish(a, b, done, arg);
}

/* Send `bytes` to the node of that code (NODE_CODE_LEN characters; its own is fine) and
 * to no other. What one node tells another arrives in the order it was told, and in order
 * with what it publishes. done(ERR_OK): that node's subscription has it, which says
 * nothing of a node that stands still. ERR_NOT_FOUND: no node of this code listens now:
 * it is gone, or cut off from the backend. Other errors as of adapter_publish, whose
 * limits hold for the two together. */
static inline void adapter_tell(struct adapter *a, struct slice node_code,
				struct slice bytes, adapter_done_fn *done, void *arg)
{
	a->ops->tell(a, node_code, bytes, done, arg);
}

/* Send `bytes` to that node and to this one (once, if it is the same), at one point in
 * the order of all messages of the cluster: whatever was published before it, both nodes
 * receive before it, and whatever was published after it, after it. Errors as of
 * adapter_tell; ERR_NOT_FOUND: the other node does not listen (this one may still get the
 * message). ERR_UNAVAILABLE: also if this node itself does not listen. */
static inline void adapter_fence(struct adapter *a, struct slice node_code,
				 struct slice bytes, adapter_done_fn *done, void *arg)
{
	a->ops->fence(a, node_code, bytes, done, arg);
}

/* Hear what is published to the room. While the backend is away it waits for up to
 * publish_wait_ms_max, then ERR_UNAVAILABLE: not subscribed. Unsubscribing before the
 * answer makes it ERR_CLOSED. */
static inline void adapter_subscribe(struct adapter *a, struct slice nsp,
				     struct slice room, adapter_done_fn *done, void *arg)
{
	a->ops->subscribe(a, nsp, room, done, arg);
}

static inline void adapter_unsubscribe(struct adapter *a, struct slice nsp,
				       struct slice room)
{
	a->ops->unsubscribe(a, nsp, room);
}

/* Presence: who is in a room, in the whole cluster. Adding twice is adding once. A member
 * belongs to the node that added it last, whatever node its id was made by, and goes with
 * that one; removing one that another node has taken over meanwhile does nothing. So who
 * hands a socket over is done with adding it before the other one begins to. While
 * the backend is away they fail with ERR_UNAVAILABLE after publish_wait_ms_max, or with
 * ERR_FULL at once if as many bytes wait as publishes may; a removal that failed is made
 * good by the adapter when the backend is back. */
static inline void adapter_presence_add(struct adapter *a, struct slice nsp,
					struct slice room, const struct adapter_member *m,
					adapter_count_fn *done, void *arg)
{
	a->ops->presence_add(a, nsp, room, m, done, arg);
}

static inline void adapter_presence_remove(struct adapter *a, struct slice nsp,
					   struct slice room,
					   const struct adapter_member *m,
					   adapter_count_fn *done, void *arg)
{
	a->ops->presence_remove(a, nsp, room, m, done, arg);
}

/* Members whose id sorts behind `after` (empty: from the first), `limit` at most. */
static inline void adapter_presence_list(struct adapter *a, struct slice nsp,
					 struct slice room, struct slice after,
					 size_t limit, adapter_members_fn *done,
					 void *arg)
{
	a->ops->presence_list(a, nsp, room, after, limit, done, arg);
}

/* Do something with a queue (queue.h). Requests are carried out in the order they are
 * made. While the backend is away they wait for up to publish_wait_ms_max, then
 * ERR_UNAVAILABLE; ERR_FULL at once if as many bytes wait as publishes may.
 * ERR_UNCONFIRMED: a push without a key, or a take, was sent and not answered (what was
 * taken comes back when its lease ends). ERR_DENIED: the backend refused it. */
static inline void adapter_queue(struct adapter *a, const struct queue_request *r,
				 adapter_queue_fn *done, void *arg)
{
	a->ops->queue(a, r, done, arg);
}

/* Hear on_queue of this queue; at most once for each. That something has become due
 * (wait_ms of a take) is not told. */
static inline void adapter_queue_watch(struct adapter *a, struct slice queue)
{
	a->ops->queue_watch(a, queue);
}

static inline void adapter_queue_unwatch(struct adapter *a, struct slice queue)
{
	a->ops->queue_unwatch(a, queue);
}

/* Do something with a session (session.h). Requests about one session are carried out in
 * the order they are made. While the backend is away they wait for up to
 * publish_wait_ms_max, then ERR_UNAVAILABLE; ERR_FULL at once if as many bytes wait as
 * publishes may. All may be done twice without harm but NEW, TAKE and END, whose later
 * ones count. */
static inline void adapter_session(struct adapter *a, const struct session_request *r,
				   adapter_session_fn *done, void *arg)
{
	a->ops->session(a, r, done, arg);
}

/* The number of the last message this node has heard, or of a later one that was for none
 * of its rooms: whatever is for them up to it was heard. *offset: the position's text,
 * until the next turn; empty, and 0, while nothing was numbered, or sessions are off.
 * Known when the adapter is up. */
static inline uint64_t adapter_position(const struct adapter *a, struct slice *offset)
{
	return a->ops->position(a, offset);
}

/* Once per loop turn, before the loop sleeps: send what was gathered in this turn, run
 * what is due. True if a callback ran, so that there may be more to do. */
static inline bool adapter_turn(struct adapter *a)
{
	return a->ops->turn(a);
}

static inline void adapter_stats_get(const struct adapter *a, struct adapter_stats *s)
{
	a->ops->stats(a, s);
}

/* Finish: this node's presence is removed if the backend answers within a second, all
 * `done` functions have run, then `closed` is called and the adapter is freed. Until then
 * adapter_turn goes on being called and the loop running; no event but on_log comes any
 * more, and what is asked for is answered with ERR_CLOSED. */
static inline void adapter_close(struct adapter *a, void (*closed)(void *arg), void *arg)
{
	a->ops->close(a, closed, arg);
}

#endif
