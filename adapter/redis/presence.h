/* Presence in Redis: who is in which room, of all nodes, so that a dead node's members
 * go away with its lease.
 *
 *   gh:{0}:members:<nsp>#<room>  sorted set, score 0: <sid><user>, of members that are at
 *                                the node whose code their id begins with: so a node's
 *                                are one range
 *   gh:{0}:guests:<nsp>#<room>   sorted set, score 0, of members that moved to another
 *                                node, two entries for each: !<sid><code><user> to list
 *                                them by id, @<code><sid> so that a node's are one range
 *   gh:{0}:nodes                 sorted set: node code → end of its lease, in ms of
 * Redis's clock gh:{0}:node:<code>:rooms     set: <nsp>#<room> where the node has
 * members, of either kind
 *
 * A member is in one of the two only: whoever adds it takes it out of where it was.
 *
 * Where the channel prefix is not "socket.io", `gh:{0}@<key>:` takes the place of
 * `gh:{0}:`, so that two clusters on one Redis do not see each other; whatever in the key
 * is no letter, digit, `.`, `_` or `-` is written as %XX. The tag {0} keeps all keys in
 * one slot of a Redis Cluster.
 *
 * Order: what is asked for is executed in that order, also across outages (all of it may
 * be done twice without harm, so what was in flight is sent again) and across a SCRIPT
 * FLUSH (see on_op_reply).
 *
 * What Redis holds may differ from what the gateway thinks it does: Redis came back with
 * old data or none, another Redis took over, the lease ran out, a removal got lost. Then
 * this node's members are removed and on_presence_lost asks for all of them again. */
#ifndef GATEHOUSE_ADAPTER_REDIS_PRESENCE_H
#define GATEHOUSE_ADAPTER_REDIS_PRESENCE_H

#include "adapter/redis/scripts.h"

enum redis_presence_state {
	PRESENCE_AWAY,	   /* no connection */
	PRESENCE_CHECKING, /* is what Redis holds of this node what we think? */
	PRESENCE_CLEARING, /* it is not, or nobody knows: it is being removed */
	PRESENCE_OPEN,
	PRESENCE_LEAVING, /* closing: it is being removed, and the node with it */
	PRESENCE_LEFT,
};

struct redis_presence {
	enum redis_presence_state state;
	struct redis_core *core;
	struct redis_link *link;
	struct redis_scripts *scripts;
	struct link waiting; /* not written, in order */
	struct link again;   /* written, and to be written again before those */
	size_t bytes;	     /* of all that was not answered */
	size_t owed;	     /* removals in `waiting` of which nobody waits to hear */
	bool ever;	     /* it was open before */
	bool doubtful;	     /* a change got lost */
	bool beating, clearing, reaping;
	bool reap_due;
	struct redis_call beat, clear, reap;
	uint64_t beat_ms;  /* next heartbeat */
	uint64_t retry_ms; /* no clearing and reaping before */
	/* Nobody is taken for dead before: Redis was away, or refused heartbeats, for us
	 * and so perhaps for all. Each has one lease to come back. */
	uint64_t spare_ms;
	char run_id[REDIS_RUN_ID_MAX];
	struct buf prefix, nodes, node_rooms, scratch;
	uint64_t complained_ms;
};

void redis_presence_init(struct redis_presence *p, struct redis_core *core,
			 struct redis_link *link, struct redis_scripts *scripts);
void redis_presence_deinit(struct redis_presence *p);
void redis_presence_add(struct redis_presence *p, struct slice nsp, struct slice room,
			const struct adapter_member *m, struct done done);
void redis_presence_remove(struct redis_presence *p, struct slice nsp, struct slice room,
			   const struct adapter_member *m, struct done done);
void redis_presence_list(struct redis_presence *p, struct slice nsp, struct slice room,
			 struct slice after, size_t limit, struct done done);

/* The link's hooks. */
void redis_presence_on_ready(struct redis_presence *p);
void redis_presence_on_cut(struct redis_presence *p);
/* Write what is due. */
void redis_presence_turn(struct redis_presence *p);
/* Give up on what has waited too long. */
void redis_presence_tick(struct redis_presence *p, uint64_t now);
/* Answer what waits with ERR_CLOSED. */
void redis_presence_abandon(struct redis_presence *p);
/* That, and leave; PRESENCE_LEFT is the end. */
void redis_presence_close(struct redis_presence *p);

#endif
