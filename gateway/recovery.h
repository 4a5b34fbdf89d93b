/* Connection state recovery (docs/recovery.md): what the cluster keeps of a socket so
 * that its client can go on with it over another connection, at any node. The records are
 * the adapter's (adapter/session.h); this keeps them true while the socket lives here.
 * resume.h is the way back.
 *
 * A socket of a namespace with recovery has a private id, sent with its CONNECT, and each
 * event it gets ends with an offset, as the official client expects. */
#ifndef GATEHOUSE_GATEWAY_RECOVERY_H
#define GATEHOUSE_GATEWAY_RECOVERY_H

#include "adapter/adapter.h"
#include "gateway/socket.h"
#include "proto/table.h"

/* What is recorded of a membership. */
enum recovery_flags {
	RECOVERY_PRESENCE = 1,
	RECOVERY_ANNOUNCE = 2,
	RECOVERY_INVITED = 4, /* by a backend: the policy was not asked */
};

/* Of a socket; NULL where there is no recovery. */
struct recovery {
	uint64_t generation;
	uint64_t pinged; /* the position when its conn was last pinged */
	uint64_t floor;	 /* the position up to which it surely has everything */
	uint64_t misses; /* the node's when these were numbers of the present era */
	bool parked;	 /* it came back after others had heard of its end */
	bool arrived;	 /* from another node, and the record may not say so yet */
	bool over;	 /* another connection's, or nobody's: nothing is said of it */
	char secret[PID_LEN - ID_LEN];
};

/* Of a node. */
struct recoveries {
	struct table resumes;		/* struct resume by socket id, once taken */
	struct link taking;		/* those before */
	uint64_t misses;		/* how often events were missed here */
	uint64_t missed_at, missed_end; /* when the next of those leave that missed
					 * events, and all of them; UINT64_MAX: none */
};

void recoveries_init(struct recoveries *r, const uint64_t seed[2]);
void recoveries_deinit(struct recoveries *r);
void recoveries_tick(struct node *n, uint64_t now);
uint64_t recoveries_next(const struct node *n);

/* Does a socket of this conn in this namespace have one? Clients of Engine.IO 3 know
 * nothing of it. */
bool recovery_applies(const struct conn *c, const struct namespace *ns);
/* A new socket: from here on the cluster knows it. */
void recovery_begin(struct socket *s);
/* It was `generation` of the one with this secret. */
void recovery_restore(struct socket *s, struct slice secret, uint64_t generation,
		      uint64_t floor);
/* Write the private id, PID_LEN characters. */
void recovery_pid(const struct socket *s, char *out);
/* The socket ends: it is parked, or forgotten if that was somebody's wish. */
void recovery_on_closed(struct socket *s);
/* Its client is at another connection now: it ends without a word. */
void recovery_let_go(struct socket *s);

/* The conn is pinged; it answered; it came from another node and is this one's now. */
void recovery_on_ping(struct conn *c);
void recovery_on_pong(struct conn *c);
void recovery_on_arrived(struct conn *c);

/* Record a join, with the `history` last events of the room: `done` runs in the order of
 * messages, with the number where the membership begins. */
void recovery_join(struct socket *s, struct slice room, unsigned flags, size_t history,
		   adapter_session_fn *done, void *arg);
/* The session of this socket is not there any more (ERR_NOT_FOUND) or not its
 * (ERR_CLOSED): its conn ends, and the client is told when it comes back. False: it is
 * something else.
 */
bool recovery_is_void(struct socket *s, enum err err);
/* Record that it left. */
void recovery_leave(struct socket *s, struct slice room, adapter_session_fn *done,
		    void *arg);

/* Is the fence of a move the line between what one node delivers and the other? Not while
 * this node lacks the backend: what it will hear of before the fence, to fill its gap,
 * comes after it. */
bool recovery_fence_holds(const struct conn *c);
/* For move_state.c: what another node must know, and take it. */
void recovery_pack(const struct socket *s, msgpack_packer *pk);
MUST_USE enum err recovery_unpack(struct socket *s, struct mp_cursor *c);

/* Append the encoded array `data` with `offset` as its last element. */
void recovery_put_offset(struct slice data, struct slice offset, struct buf *out);
/* Would clients take the last argument of this event for an offset, or its name, if it
 * has none? */
bool recovery_needs_offset(struct slice data);

/* What the adapter reports. */
void recovery_on_missed(struct node *n);
void recovery_on_session(struct node *n, enum session_event what, struct slice sid,
			 uint64_t generation, struct slice room);

#endif
