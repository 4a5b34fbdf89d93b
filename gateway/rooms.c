#include "gateway/rooms.h"

#include <assert.h>
#include <stdlib.h>

#include "gateway/conn.h"
#include "gateway/node.h"
#include "gateway/recovery.h"
#include "proto/mem.h"

/* A join under way. It waits in room->ops for the subscription, or in node->room_ops for
 * the end of the turn if that is live already; then, in neither list, for the adapter's
 * answer about presence. It keeps its room. */
struct room_op {
	struct link of_room, of_socket;
	struct socket
		*socket; /* NULL: closed meanwhile; only the adapter still knows us */
	struct room *room;
	unsigned flags;
	bool asked;   /* the adapter will call back */
	bool entered; /* it made the socket a member, which was none before */
	bool prepare; /* the room is only to be live until rooms_enter */
	bool told;    /* `done` was called */
	size_t history;
	uint64_t count;
	room_join_fn *done;
	void *arg;
	void (*then)(struct socket *s, struct slice room); /* NULL: nothing */
};

static struct adapter_member adapter_member_of(const struct socket *s)
{
	return (struct adapter_member){.sid = socket_id(s), .user = socket_user(s)};
}

/* --- rooms --- */

static void room_free(struct room *r)
{
	assert(r->n == 0 && r->ops_n == 0);
	table_remove(&r->ns->rooms, r->name);
	r->ns->node->metrics.rooms--;
	free(r->members);
	free(r);
}

/* An empty room goes, but not while its subscription is being confirmed. */
static void drop_if_unused(struct room *r)
{
	if (r->state == ROOM_SUBSCRIBING || r->n || r->ops_n)
		return;
	adapter_unsubscribe(r->ns->node->adapter, r->ns->name, r->name);
	room_free(r);
}

static void add_member(struct room *r, struct socket *s, unsigned flags)
{
	struct member *m = mem_zalloc(1, sizeof(*m));

	m->socket = s;
	m->room = r;
	m->presence = flags & RECOVERY_PRESENCE;
	m->announce = flags & RECOVERY_ANNOUNCE;
	m->invited = flags & RECOVERY_INVITED;
	m->index = r->n;
	if (r->n == r->cap) {
		r->cap = r->cap ? r->cap * 2 : 1;
		r->members = mem_realloc(r->members, r->cap * sizeof(struct member *));
	}
	r->members[r->n++] = m;
	list_push(&s->members, &m->of_socket);
	s->rooms_n++;
	s->ns->node->metrics.memberships++;
}

static void remove_member(struct member *m)
{
	struct room *r = m->room;

	r->n--;
	r->members[m->index] = r->members[r->n];
	r->members[m->index]->index = m->index;
	if (r->cap > 8 && r->n < r->cap / 4) {
		r->cap /= 2;
		r->members = mem_realloc(r->members, r->cap * sizeof(struct member *));
	}
	list_remove(&m->of_socket);
	m->socket->rooms_n--;
	r->ns->node->metrics.memberships--;
	free(m);
	drop_if_unused(r);
}

static void remove_presence(const struct room *r, const struct socket *s)
{
	struct adapter_member who = adapter_member_of(s);

	adapter_presence_remove(r->ns->node->adapter, r->ns->name, r->name, &who, NULL,
				NULL);
}

void room_leave(struct member *m)
{
	if (m->presence)
		remove_presence(m->room, m->socket);
	remove_member(m);
}

/* --- joining --- */

static void finish(struct room_op *op, enum err err, const struct room_joined *joined)
{
	struct socket *s = op->socket;

	list_remove(&op->of_socket);
	op->socket = NULL;
	if (s && !op->told)
		op->done(op->arg, s, err, joined);
	if (s && op->then && err == ERR_OK && !s->closing)
		op->then(s, op->room->name);
}

/* The room stays valid for the caller, who drops it if it is unused. */
static void op_free(struct room_op *op)
{
	assert(!op->socket && list_empty(&op->of_room));
	op->room->ops_n--;
	free(op);
}

/* The end of it, from the adapter. A join again that fails leaves the membership from
 * before as it was. */
static void settle(struct room_op *op, enum err err, const struct room_joined *joined)
{
	struct room *r = op->room;
	struct socket *s = op->socket;

	if (s && err != ERR_OK && op->entered) {
		struct member *m = room_member(s, r->name);

		if (m)
			room_leave(m);
		else if (op->flags & RECOVERY_PRESENCE)
			remove_presence(r, s);
	}
	finish(op, err, joined);
	op_free(op);
	drop_if_unused(r);
}

/* In the order of messages: from here on what is published is for the socket. */
static void on_recorded(void *arg, enum err err, const struct session_reply *reply)
{
	struct room_op *op = arg;
	struct room_joined joined = {.count = op->count};

	if (err == ERR_OK && op->socket) {
		joined.history = reply->messages;
		joined.history_n = reply->messages_n;
		if (!room_member(op->socket, op->room->name))
			add_member(op->room, op->socket, op->flags);
	} else if (op->socket && recovery_is_void(op->socket, err)) {
		err = ERR_UNAVAILABLE;
	}
	settle(op, err, &joined);
}

static void on_presence_added(void *arg, enum err err, uint64_t count)
{
	struct room_op *op = arg;

	op->count = count;
	if (err == ERR_OK && op->socket && op->socket->recovery)
		recovery_join(op->socket, op->room->name, op->flags, op->history,
			      on_recorded, op);
	else
		settle(op, err, &(struct room_joined){.count = count});
}

/* The subscription is live. */
static void enter(struct room_op *op)
{
	struct room *r = op->room;
	struct adapter_member who = adapter_member_of(op->socket);
	bool recorded = op->socket->recovery != NULL;

	list_remove(&op->of_room);
	if (op->prepare) {
		op->told = true;
		op->done(op->arg, op->socket, ERR_OK, &(struct room_joined){0});
		return;
	}
	op->entered = !room_member(op->socket, r->name);
	if (op->entered && !recorded)
		add_member(r, op->socket, op->flags);
	op->asked = recorded || op->flags & RECOVERY_PRESENCE;
	if (op->flags & RECOVERY_PRESENCE) {
		adapter_presence_add(r->ns->node->adapter, r->ns->name, r->name, &who,
				     on_presence_added, op);
	} else if (recorded) {
		recovery_join(op->socket, r->name, op->flags, op->history, on_recorded,
			      op);
	} else {
		finish(op, ERR_OK, &(struct room_joined){0});
		op_free(op);
	}
}

static void on_subscribed(void *arg, enum err err);

static void subscribe(struct room *r)
{
	adapter_subscribe(r->ns->node->adapter, r->ns->name, r->name, on_subscribed, r);
}

/* Who is told may join again, which makes a new try. */
static void not_subscribed(struct room *r, enum err err)
{
	struct link failed, *l;

	link_init(&failed);
	list_splice(&failed, &r->ops);
	while ((l = list_pop(&failed))) {
		struct room_op *op = container_of(l, struct room_op, of_room);

		finish(op, err, NULL);
		op_free(op);
	}
	if (list_empty(&r->ops))
		room_free(r);
	else
		subscribe(r);
}

static void on_subscribed(void *arg, enum err err)
{
	struct room *r = arg;
	struct link *l;

	if (err != ERR_OK) {
		not_subscribed(r, err);
		return;
	}
	r->state = ROOM_LIVE;
	while ((l = list_first(&r->ops)))
		enter(container_of(l, struct room_op, of_room));
	drop_if_unused(r);
}

static struct room *room_of(struct namespace *ns, struct slice name)
{
	struct room *r = table_get(&ns->rooms, name);
	uint8_t *copy;

	if (r)
		return r;
	r = mem_zalloc(1, sizeof(*r) + name.n);
	copy = (uint8_t *)(r + 1);
	memcpy(copy, name.p, name.n);
	r->ns = ns;
	r->name = slice_of(copy, name.n);
	link_init(&r->ops);
	table_add(&ns->rooms, r->name, r);
	ns->node->metrics.rooms++;
	subscribe(r);
	return r;
}

bool rooms_turn(struct node *n)
{
	struct link *l;
	bool any = false;

	while ((l = list_pop(&n->room_ops))) {
		struct room_op *op = container_of(l, struct room_op, of_room);
		struct room *r = op->room;

		enter(op);
		drop_if_unused(r);
		any = true;
	}
	return any;
}

static void begin(struct socket *s, const struct room_join *join, bool prepare)
{
	struct room_op *op = mem_zalloc(1, sizeof(*op));

	assert(join->room.n && !id_is(join->room));
	op->socket = s;
	op->room = room_of(s->ns, join->room);
	op->room->ops_n++;
	op->flags = join->flags;
	op->history = join->history;
	op->done = join->done;
	op->arg = join->arg;
	op->prepare = prepare;
	list_push(&s->ops, &op->of_socket);
	list_push(op->room->state == ROOM_LIVE ? &s->ns->node->room_ops : &op->room->ops,
		  &op->of_room);
}

void room_join(struct socket *s, const struct room_join *join)
{
	begin(s, join, false);
}

void room_prepare(struct socket *s, const struct room_join *join)
{
	begin(s, join, true);
}

void rooms_enter(struct socket *s)
{
	struct link *l;

	while ((l = list_first(&s->ops))) {
		struct room_op *op = container_of(l, struct room_op, of_socket);

		assert(op->prepare && op->told);
		if (!room_member(s, op->room->name))
			add_member(op->room, s, op->flags);
		finish(op, ERR_OK, NULL);
		op_free(op);
	}
}

bool room_after_join(struct socket *s, struct slice room,
		     void (*then)(struct socket *s, struct slice room))
{
	for (struct link *l = s->ops.next; l != &s->ops; l = l->next) {
		struct room_op *op = container_of(l, struct room_op, of_socket);

		if (op->prepare || !slice_eq(op->room->name, room))
			continue;
		op->then = then;
		return true;
	}
	return false;
}

/* Looks through the shorter of the two lists it could be found in. */
struct member *room_member(const struct socket *s, struct slice room)
{
	const struct room *r = table_get(&s->ns->rooms, room);
	struct link *l;

	if (!r)
		return NULL;
	if (r->n < s->rooms_n) {
		for (uint32_t i = 0; i < r->n; i++) {
			if (r->members[i]->socket == s)
				return r->members[i];
		}
		return NULL;
	}
	for (l = s->members.next; l != &s->members; l = l->next) {
		struct member *m = container_of(l, struct member, of_socket);

		if (m->room == r)
			return m;
	}
	return NULL;
}

/* --- ends --- */

static void end_ops(struct socket *s)
{
	struct link *l;

	while ((l = list_first(&s->ops))) {
		struct room_op *op = container_of(l, struct room_op, of_socket);
		struct room *r = op->room;

		if (op->asked && op->entered && op->flags & RECOVERY_PRESENCE &&
		    !room_member(s, r->name))
			remove_presence(r, s);
		finish(op, ERR_CLOSED, NULL);
		if (op->asked)
			continue; /* freed when the adapter calls back */
		list_remove(&op->of_room);
		op_free(op);
		drop_if_unused(r);
	}
}

void rooms_on_socket_closed(struct socket *s)
{
	struct link *l;

	end_ops(s);
	while ((l = list_first(&s->members)))
		room_leave(container_of(l, struct member, of_socket));
}

unsigned rooms_take_presence(struct socket *s, adapter_count_fn *done, void *arg)
{
	struct adapter_member who = adapter_member_of(s);
	unsigned n = 0;

	for (struct link *l = s->members.next; l != &s->members; l = l->next) {
		const struct member *m = container_of(l, struct member, of_socket);

		if (!m->presence)
			continue;
		adapter_presence_add(s->ns->node->adapter, s->ns->name, m->room->name,
				     &who, done, arg);
		n++;
	}
	return n;
}

void rooms_drop(struct socket *s)
{
	struct link *l;

	end_ops(s);
	while ((l = list_first(&s->members)))
		remove_member(container_of(l, struct member, of_socket));
}

void rooms_announce_presence(struct namespace *ns)
{
	size_t pos = 0;
	struct room *r;

	while ((r = table_next(&ns->rooms, &pos))) {
		for (uint32_t i = 0; i < r->n; i++) {
			struct adapter_member who =
				adapter_member_of(r->members[i]->socket);

			/* One that is at another node by now is that node's to add. */
			if (r->members[i]->presence &&
			    r->members[i]->socket->conn->state != CONN_HANDED)
				adapter_presence_add(ns->node->adapter, ns->name, r->name,
						     &who, NULL, NULL);
		}
	}
}
