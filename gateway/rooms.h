/* Rooms as this node knows them: which of its sockets are in which, and that the adapter
 * carries a room while it has members here. Rooms of sockets' own ids are not kept: the
 * adapter delivers them by pattern, and broadcast.c finds the socket by its id. */
#ifndef GATEHOUSE_GATEWAY_ROOMS_H
#define GATEHOUSE_GATEWAY_ROOMS_H

#include "adapter/adapter.h"
#include "gateway/namespace.h"
#include "gateway/socket.h"

struct room;

/* A socket in a room. */
struct member {
	struct socket *socket;
	struct room *room;
	struct link of_socket;
	uint32_t index; /* in room->members */
	bool presence;	/* listed by the adapter */
	bool announce;	/* others hear of its leaving */
	bool invited;	/* by a backend, whatever the policy says */
};

enum room_state { ROOM_SUBSCRIBING, ROOM_LIVE };

struct room {
	struct namespace *ns;
	struct slice name; /* in the same allocation */
	struct member **members;
	uint32_t n, cap;
	uint32_t ops_n; /* joins under way */
	enum room_state state;
	struct link ops; /* joins that wait for the subscription */
};

struct room_joined {
	uint64_t count; /* members in the cluster, 0 unless presence is kept */
	const struct slice *history; /* cluster messages, oldest first */
	size_t history_n;
};

/* How a join ended. ERR_CLOSED: the socket is closing; ERR_UNAVAILABLE: the backend was
 * away for too long. `joined` is NULL on error. */
typedef void room_join_fn(void *arg, struct socket *s, enum err err,
			  const struct room_joined *joined);

struct room_join {
	struct slice room;  /* not of an id's shape */
	unsigned flags;	    /* enum recovery_flags, with recovery or without */
	size_t history;	    /* the last events of the room; with recovery only */
	room_join_fn *done; /* once; never inside room_join */
	void *arg;
};

/* Put `s` into a room: subscription confirmed, then member, then presence, then `done`.
 * With recovery the join is recorded after the presence, and the socket is a member from
 * the number on that was drawn for it, in which moment `done` runs. Of a socket that is
 * in it already only the presence and the record are said again. */
void room_join(struct socket *s, const struct room_join *join);
/* If a join of this room is under way: call `then` (NULL: nothing) as soon as it has
 * succeeded, and nothing that was to be called before. False: there is none. */
bool room_after_join(struct socket *s, struct slice room,
		     void (*then)(struct socket *s, struct slice room));
/* For a socket that comes from another node: as room_join, but it becomes a member only
 * with rooms_enter, when `done` has said of all its rooms that they are live, and
 * presence is the caller's. */
void room_prepare(struct socket *s, const struct room_join *join);
void rooms_enter(struct socket *s);
/* Say where presence is kept that the socket is here now; `done` runs so many times. */
unsigned rooms_take_presence(struct socket *s, adapter_count_fn *done, void *arg);
/* The socket lives at another node now: it is in no room here, and nobody hears of it. */
void rooms_drop(struct socket *s);
/* Take it out. Nothing of the room reaches it afterwards. */
void room_leave(struct member *m);
/* NULL: not a member (yet). */
struct member *room_member(const struct socket *s, struct slice room);

/* At the end of a loop turn: joins of rooms that were live already. True if any. */
bool rooms_turn(struct node *n);
void rooms_on_socket_closed(struct socket *s);
/* Tell the adapter of all members again (adapter_events.on_presence_lost). */
void rooms_announce_presence(struct namespace *ns);

#endif
