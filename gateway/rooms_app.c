#include "gateway/rooms_app.h"

#include <assert.h>
#include <stdlib.h>

#include "gateway/conn.h"
#include "gateway/node.h"
#include "gateway/recovery.h"
#include "gateway/rooms.h"
#include "proto/mem.h"

enum {
	MEMBERS_LIMIT = 100,
	MEMBERS_LIMIT_MAX = 1000,
	/* So many members of a page count as one more packet: a short question would
	 * otherwise buy a long answer. */
	MEMBERS_PER_PACKET = 10,
	HISTORY_PER_PACKET = 10, /* likewise */
	/* How much deeper than in an event of its own one is nested in an answer, with
	 * what a binary adds in JSON. */
	HISTORY_LEVELS = 6,
};

/* A built-in event being handled. */
struct request {
	struct socket *socket;
	const struct app_event *event;
	struct mp_cursor args; /* behind the room */
	uint32_t args_n;
	struct slice room;
	const struct policy_room *rule; /* NULL: none matches */
};

/* What is needed to answer later, when the socket may be gone. */
struct pending {
	bool wants_ack, announce, presence, history;
	uint64_t ack_id;
	size_t room_n;
	struct socket_ref socket;
	uint8_t room[];
};

/* --- answers --- */

static const char *error_code(enum rooms_error e)
{
	static const char *const codes[] = {
#define ROOMS_ERROR_CODE_(name, code, text) [ROOMS_ERROR_##name] = (code),
		ROOMS_ERROR_TABLE(ROOMS_ERROR_CODE_)
#undef ROOMS_ERROR_CODE_
	};
	return codes[e];
}

static const char *error_text(enum rooms_error e)
{
	static const char *const texts[] = {
#define ROOMS_ERROR_TEXT_(name, code, text) [ROOMS_ERROR_##name] = (text),
		ROOMS_ERROR_TABLE(ROOMS_ERROR_TEXT_)
#undef ROOMS_ERROR_TEXT_
	};
	return texts[e];
}

static void answer_error(struct socket *s, bool wants_ack, uint64_t ack_id,
			 enum rooms_error e, const char *message)
{
	s->ns->node->metrics.events_refused++;
	if (wants_ack)
		app_ack_error(s, ack_id, error_code(e),
			      message ? message : error_text(e));
}

static void refuse(const struct request *r, enum rooms_error e, const char *message)
{
	answer_error(r->socket, r->event->wants_ack, r->event->ack_id, e, message);
}

static enum rooms_error error_of(enum err err)
{
	if (err == ERR_FULL)
		return ROOMS_ERROR_FULL;
	if (err == ERR_UNCONFIRMED)
		return ROOMS_ERROR_UNCONFIRMED;
	if (err == ERR_TOO_MANY)
		return ROOMS_ERROR_TOO_MANY;
	return ROOMS_ERROR_UNAVAILABLE;
}

/* Begin {ok:true, …} with `pairs` further pairs, in the node's scratch. */
static void answer_begin(struct node *n, msgpack_packer *pk, size_t pairs)
{
	buf_clear(&n->encode);
	mp_packer(pk, &n->encode);
	msgpack_pack_array(pk, 1);
	msgpack_pack_map(pk, pairs + 1);
	mp_pack_str(pk, SLICE_LIT("ok"));
	msgpack_pack_true(pk);
}

static void answer_send(struct socket *s, uint64_t ack_id)
{
	enum err err = socket_ack(s, ack_id, buf_view(&s->ns->node->encode));

	assert(err == ERR_OK);
	(void)err;
}

static void pack_user(msgpack_packer *pk, struct slice user)
{
	if (user.n)
		mp_pack_str(pk, user);
	else
		msgpack_pack_nil(pk);
}

/* --- pending requests --- */

static struct pending *pending_new(const struct request *r)
{
	struct pending *p = mem_zalloc(1, sizeof(*p) + r->room.n);

	p->wants_ack = r->event->wants_ack;
	p->ack_id = r->event->ack_id;
	p->announce = r->rule->announce;
	p->presence = r->rule->presence;
	p->room_n = r->room.n;
	memcpy(p->room, r->room.p, r->room.n);
	p->socket = socket_begin(r->socket);
	return p;
}

static void pending_free(struct pending *p)
{
	socket_end(&p->socket);
	free(p);
}

static struct slice pending_room(const struct pending *p)
{
	return slice_of(p->room, p->room_n);
}

/* --- announcements --- */

static void on_announced(void *arg, enum err err)
{
	struct node *n = arg;

	if (err != ERR_OK && err != ERR_CLOSED)
		n->metrics.events_lost++;
}

/* Publish `event` {room, id, user} to the others in the room. */
static void announce(struct namespace *ns, struct slice room, struct slice event,
		     struct slice sid, struct slice user)
{
	struct cluster_broadcast b = {.nsp = ns->name, .rooms_n = 1, .except_n = 1};
	struct buf data = BUF_INIT;
	msgpack_packer pk;

	mp_packer(&pk, &data);
	msgpack_pack_array(&pk, 2);
	mp_pack_str(&pk, event);
	msgpack_pack_map(&pk, 3);
	mp_pack_str(&pk, SLICE_LIT("room"));
	mp_pack_str(&pk, room);
	mp_pack_str(&pk, SLICE_LIT("id"));
	mp_pack_str(&pk, sid);
	mp_pack_str(&pk, SLICE_LIT("user"));
	pack_user(&pk, user);
	b.rooms = &room;
	b.except = &sid;
	b.data = buf_view(&data);
	namespace_publish(ns, &b, on_announced, ns->node);
	buf_deinit(&data);
}

void rooms_app_on_member_lost(struct namespace *ns, struct slice room,
			      const struct adapter_member *m)
{
	const struct policy_room *rule =
		policy_find(ns->config->rooms, ns->config->rooms_n, room, m->user);

	if (rule && rule->announce)
		announce(ns, room, SLICE_LIT("room:left"), m->sid, m->user);
}

/* --- room:join --- */

/* Did this event go to all that were in the room? Others are not for who comes later. */
static bool is_history(const struct cluster_broadcast *b)
{
	return b->rooms_n == 1 && b->except_n == 0;
}

/* Can it be said within an answer? */
static bool is_shallow(struct slice data)
{
	struct buf nested = BUF_INIT;
	struct mp_cursor c;
	bool shallow;

	for (int i = 0; i < HISTORY_LEVELS; i++)
		buf_byte(&nested, 0x91); /* an array of one */
	buf_slice(&nested, data);
	c = mp_cursor_of(buf_view(&nested));
	shallow = mp_skip(&c) == ERR_OK;
	buf_deinit(&nested);
	return shallow;
}

/* Each as [event, …arguments]. */
static void pack_history(msgpack_packer *pk, const struct room_joined *joined)
{
	struct cluster_rooms rooms = {0};
	struct cluster_broadcast b;
	struct buf events = BUF_INIT;
	size_t count = 0;

	for (size_t i = 0; i < joined->history_n; i++) {
		if (cluster_decode(joined->history[i], &rooms, &b) != ERR_OK ||
		    !is_history(&b) || !is_shallow(b.data))
			continue;
		buf_slice(&events, b.data);
		count++;
	}
	msgpack_pack_array(pk, count);
	mp_pack_raw(pk, buf_view(&events));
	buf_deinit(&events);
	cluster_rooms_deinit(&rooms);
}

static void answer_joined(struct socket *s, const struct pending *p,
			  const struct room_joined *joined)
{
	msgpack_packer pk;

	answer_begin(p->socket.ns->node, &pk,
		     1u + (p->presence ? 1u : 0u) + (p->history ? 1u : 0u));
	mp_pack_str(&pk, SLICE_LIT("room"));
	mp_pack_str(&pk, pending_room(p));
	if (p->presence) {
		mp_pack_str(&pk, SLICE_LIT("count"));
		msgpack_pack_uint64(&pk, joined->count);
	}
	if (p->history) {
		mp_pack_str(&pk, SLICE_LIT("history"));
		pack_history(&pk, joined);
	}
	answer_send(s, p->ack_id);
}

static void on_joined(void *arg, struct socket *s, enum err err,
		      const struct room_joined *joined)
{
	struct pending *p = arg;

	if (err == ERR_OK) {
		if (p->wants_ack)
			answer_joined(s, p, joined);
		if (p->announce)
			announce(p->socket.ns, pending_room(p), SLICE_LIT("room:joined"),
				 socket_id(s), socket_user(s));
	} else if (err != ERR_CLOSED) {
		answer_error(s, p->wants_ack, p->ack_id, error_of(err), NULL);
	}
	pending_free(p);
	conn_release(s->conn);
}

/* The option {history: n}. False: refused. */
static bool read_history(const struct request *r, size_t *n)
{
	struct mp_cursor args = r->args;
	struct slice options, value;
	int64_t history = 0;

	*n = 0;
	if (!r->args_n || mp_take(&args, &options) != ERR_OK ||
	    mp_map_get(options, SLICE_LIT("history"), &value) != ERR_OK)
		return true;
	if (mp_get_int(value, 0, SESSION_HISTORY_MAX, &history) != ERR_OK) {
		refuse(r, ROOMS_ERROR_BAD_REQUEST,
		       "room:join takes a room and {history: 0 to 1000}");
		return false;
	}
	if (history && !r->socket->recovery) {
		refuse(r, ROOMS_ERROR_BAD_REQUEST,
		       "rooms keep a history only in namespaces with recovery, for "
		       "clients of Engine.IO 4");
		return false;
	}
	*n = (size_t)history;
	return true;
}

static unsigned flags_of(const struct policy_room *rule)
{
	return (rule && rule->presence ? RECOVERY_PRESENCE : 0u) |
	       (rule && rule->announce ? RECOVERY_ANNOUNCE : 0u);
}

/* What the client sends next waits until the join is done, so that a join and an emit in
 * one breath work as they read. */
static void join(const struct request *r)
{
	struct socket *s = r->socket;
	bool member = room_member(s, r->room) != NULL;
	struct pending *p;
	size_t history;

	if (id_is(r->room)) {
		refuse(r, ROOMS_ERROR_RESERVED,
		       "a room named like a socket id is that socket's own");
		return;
	}
	if (!read_history(r, &history))
		return;
	if (!policy_allows(r->rule, POLICY_JOIN, member, socket_user(s))) {
		refuse(r, ROOMS_ERROR_NOT_ALLOWED, NULL);
		return;
	}
	if (!member && s->rooms_n >= s->ns->node->config->max_rooms) {
		refuse(r, ROOMS_ERROR_TOO_MANY, NULL);
		return;
	}
	p = pending_new(r);
	p->announce &= !member;
	p->history = history > 0;
	conn_charge(s->conn, (uint32_t)(history / HISTORY_PER_PACKET));
	conn_hold(s->conn);
	room_join(s, &(struct room_join){.room = r->room,
					 .flags = flags_of(r->rule),
					 .history = history,
					 .done = on_joined,
					 .arg = p});
}

/* --- room:leave --- */

static void answer_left(struct socket *s, struct slice room, uint64_t ack_id)
{
	msgpack_packer pk;

	answer_begin(s->ns->node, &pk, 1);
	mp_pack_str(&pk, SLICE_LIT("room"));
	mp_pack_str(&pk, room);
	answer_send(s, ack_id);
}

/* It is on record: not even after a crash of this node anything of the room follows. */
static void on_leave_recorded(void *arg, enum err err, const struct session_reply *reply)
{
	struct pending *p = arg;
	struct socket *s = socket_get(&p->socket);

	(void)reply;
	if (s && err != ERR_OK && recovery_is_void(s, err))
		err = ERR_UNAVAILABLE;
	if (s && err == ERR_OK && p->wants_ack)
		answer_left(s, pending_room(p), p->ack_id);
	else if (s && err != ERR_OK)
		answer_error(s, p->wants_ack, p->ack_id, error_of(err), NULL);
	pending_free(p);
}

static void leave(const struct request *r)
{
	struct socket *s = r->socket;
	struct member *m = room_member(s, r->room);
	bool announced;

	if (!m) {
		refuse(r, ROOMS_ERROR_NOT_MEMBER, NULL);
		return;
	}
	announced = m->announce;
	room_leave(m);
	if (s->recovery)
		recovery_leave(s, r->room, on_leave_recorded, pending_new(r));
	else if (r->event->wants_ack)
		answer_left(s, r->room, r->event->ack_id);
	if (announced)
		announce(s->ns, r->room, SLICE_LIT("room:left"), socket_id(s),
			 socket_user(s));
}

/* --- room:emit --- */

static void on_published(void *arg, enum err err)
{
	struct pending *p = arg;
	struct node *n = p->socket.ns->node;
	struct socket *s = socket_get(&p->socket);
	msgpack_packer pk;

	if (err != ERR_OK && !p->wants_ack)
		n->metrics.events_lost++;
	if (s && err != ERR_CLOSED) {
		if (err != ERR_OK) {
			answer_error(s, p->wants_ack, p->ack_id, error_of(err), NULL);
		} else if (p->wants_ack) {
			answer_begin(n, &pk, 0);
			answer_send(s, p->ack_id);
		}
	}
	pending_free(p);
}

/* Who sent it, so that nobody can pose as another: the last argument of stamped events.
 */
static void pack_stamp(msgpack_packer *pk, const struct socket *s)
{
	msgpack_pack_map(pk, 3);
	mp_pack_str(pk, SLICE_LIT("from"));
	mp_pack_str(pk, socket_id(s));
	mp_pack_str(pk, SLICE_LIT("user"));
	pack_user(pk, socket_user(s));
	mp_pack_str(pk, SLICE_LIT("at"));
	msgpack_pack_uint64(pk, env_wall_ms(s->ns->node->env));
}

/* Would a client take this event for one of the server's own? */
static bool event_reserved(struct slice event)
{
	return !sio_event_name_ok(event) || slice_starts(event, SLICE_LIT("room:")) ||
	       slice_starts(event, SLICE_LIT("queue:"));
}

static bool may_emit(const struct request *r, struct slice event)
{
	const struct socket *s = r->socket;
	bool member = room_member(s, r->room) || slice_eq(r->room, socket_id(s));

	if (event_reserved(event)) {
		refuse(r, ROOMS_ERROR_RESERVED, "this event name is kept for the server");
		return false;
	}
	if (!policy_allows(r->rule, POLICY_EMIT, member, socket_user(s))) {
		refuse(r,
		       r->rule && r->rule->may[POLICY_EMIT] == POLICY_MEMBERS
			       ? ROOMS_ERROR_NOT_MEMBER
			       : ROOMS_ERROR_NOT_ALLOWED,
		       NULL);
		return false;
	}
	if (!policy_event_ok(r->rule, event)) {
		refuse(r, ROOMS_ERROR_NOT_ALLOWED,
		       "the policy of this room does not allow this event");
		return false;
	}
	return true;
}

static void emit(const struct request *r)
{
	struct socket *s = r->socket;
	struct node *n = s->ns->node;
	struct mp_cursor args = r->args;
	struct slice event;
	struct cluster_broadcast b = {
		.nsp = s->ns->name, .rooms = &r->room, .rooms_n = 1};
	msgpack_packer pk;

	if (r->args_n == 0 || mp_read_str(&args, &event) != ERR_OK) {
		refuse(r, ROOMS_ERROR_BAD_REQUEST,
		       "room:emit takes a room, the name of an event (strings) and its "
		       "arguments");
		return;
	}
	if (!may_emit(r, event))
		return;
	buf_clear(&n->encode);
	mp_packer(&pk, &n->encode);
	msgpack_pack_array(&pk, r->args_n + (r->rule->stamp ? 1u : 0u));
	mp_pack_raw(&pk, slice_of(r->args.p, (size_t)(r->args.end - r->args.p)));
	if (r->rule->stamp)
		pack_stamp(&pk, s);
	b.data = buf_view(&n->encode);
	namespace_publish(s->ns, &b, on_published, pending_new(r));
}

/* --- room:members --- */

static void pack_members(msgpack_packer *pk, const struct adapter_member *members,
			 size_t n)
{
	msgpack_pack_array(pk, n);
	for (size_t i = 0; i < n; i++) {
		msgpack_pack_map(pk, 3);
		mp_pack_str(pk, SLICE_LIT("id"));
		mp_pack_str(pk, members[i].sid);
		mp_pack_str(pk, SLICE_LIT("user"));
		pack_user(pk, members[i].user);
		mp_pack_str(pk, SLICE_LIT("node"));
		mp_pack_str(pk, members[i].node);
	}
}

static void on_listed(void *arg, enum err err, uint64_t count,
		      const struct adapter_member *members, size_t n, bool more)
{
	struct pending *p = arg;
	struct socket *s = socket_get(&p->socket);
	msgpack_packer pk;

	if (s && err == ERR_OK && p->wants_ack) {
		answer_begin(p->socket.ns->node, &pk, 4);
		mp_pack_str(&pk, SLICE_LIT("room"));
		mp_pack_str(&pk, pending_room(p));
		mp_pack_str(&pk, SLICE_LIT("count"));
		msgpack_pack_uint64(&pk, count);
		mp_pack_str(&pk, SLICE_LIT("members"));
		pack_members(&pk, members, n);
		mp_pack_str(&pk, SLICE_LIT("more"));
		if (more)
			msgpack_pack_true(&pk);
		else
			msgpack_pack_false(&pk);
		answer_send(s, p->ack_id);
	} else if (s && err != ERR_OK && err != ERR_CLOSED) {
		answer_error(s, p->wants_ack, p->ack_id, error_of(err), NULL);
	}
	pending_free(p);
}

/* The options {after?, limit?}; both may be absent, so may the map. */
static bool read_page(const struct request *r, struct slice *after, int64_t *limit)
{
	struct slice options, value;
	struct mp_cursor args = r->args;
	enum err err;

	*after = SLICE_EMPTY;
	*limit = MEMBERS_LIMIT;
	if (r->args_n == 0)
		return true;
	if (mp_take(&args, &options) != ERR_OK)
		return false;
	err = mp_map_get(options, SLICE_LIT("after"), &value);
	if (err == ERR_OK)
		err = mp_get_str(value, after);
	if (err != ERR_OK && err != ERR_NOT_FOUND)
		return false;
	err = mp_map_get(options, SLICE_LIT("limit"), &value);
	if (err == ERR_OK)
		err = mp_get_int(value, 1, MEMBERS_LIMIT_MAX, limit);
	return err == ERR_OK || err == ERR_NOT_FOUND;
}

static void members(const struct request *r)
{
	struct socket *s = r->socket;
	struct slice after;
	int64_t limit;

	if (!policy_allows(r->rule, POLICY_LIST, room_member(s, r->room) != NULL,
			   socket_user(s)) ||
	    !r->rule->presence) {
		refuse(r, ROOMS_ERROR_NOT_ALLOWED, NULL);
		return;
	}
	if (!read_page(r, &after, &limit)) {
		refuse(r, ROOMS_ERROR_BAD_REQUEST,
		       "room:members takes a room and {after: socket id, limit: 1 to "
		       "1000}");
		return;
	}
	conn_charge(s->conn, (uint32_t)(limit / MEMBERS_PER_PACKET));
	adapter_presence_list(s->ns->node->adapter, s->ns->name, r->room, after,
			      (size_t)limit, on_listed, pending_new(r));
}

/* --- the application --- */

static const struct {
	const char *event;
	void (*handle)(const struct request *r);
} handlers[] = {
	{"room:join", join},
	{"room:leave", leave},
	{"room:emit", emit},
	{"room:members", members},
};

/* Read the room, which all built-in events have as their first argument. */
static bool read_request(struct request *r)
{
	const struct namespace *ns = r->socket->ns;
	uint32_t count;
	struct slice name;

	r->args = mp_cursor_of(r->event->data);
	if (mp_read_array(&r->args, &count) != ERR_OK || count < 2 ||
	    mp_take(&r->args, &name) != ERR_OK ||
	    mp_read_str(&r->args, &r->room) != ERR_OK || r->room.n == 0) {
		refuse(r, ROOMS_ERROR_BAD_REQUEST,
		       "the first argument is the room's name, a string that is not "
		       "empty");
		return false;
	}
	r->args_n = count - 2;
	if (r->room.n > ns->node->config->max_room_name) {
		refuse(r, ROOMS_ERROR_TOO_LONG, NULL);
		return false;
	}
	r->rule = policy_find(ns->config->rooms, ns->config->rooms_n, r->room,
			      socket_user(r->socket));
	return true;
}

static bool on_event(void *app, struct socket *s, const struct app_event *e)
{
	struct request r = {.socket = s, .event = e};

	(void)app;
	if (!slice_starts(e->name, SLICE_LIT("room:")))
		return false;
	for (size_t i = 0; i < sizeof(handlers) / sizeof(handlers[0]); i++) {
		if (slice_eq(e->name, slice_str(handlers[i].event))) {
			if (read_request(&r))
				handlers[i].handle(&r);
			return true;
		}
	}
	refuse(&r, ROOMS_ERROR_UNKNOWN_EVENT, NULL);
	return true;
}

/* Leave first, then say so: who hears of it and asks for the members must not find this
 * one among them. */
static void leave_aloud(struct member *m)
{
	struct socket *s = m->socket;
	struct buf name = BUF_INIT;

	buf_slice(&name, m->room->name);
	room_leave(m);
	announce(s->ns, buf_view(&name), SLICE_LIT("room:left"), socket_id(s),
		 socket_user(s));
	buf_deinit(&name);
}

static void on_disconnect(void *app, struct socket *s, const char *reason)
{
	struct link *l, *tmp;

	(void)app;
	(void)reason;
	if (s->recovery && s->recovery->over) /* it goes on elsewhere */
		return;
	list_each(l, tmp, &s->members)
	{
		struct member *m = container_of(l, struct member, of_socket);

		if (m->announce)
			leave_aloud(m);
	}
}

static void *open_app(struct node *node)
{
	return node; /* all its state is the rooms' and the sockets' */
}

static void close_app(void *app)
{
	(void)app;
}

/* One that comes back is in its rooms already; others have heard that it left. */
static void on_connect(void *app, struct socket *s, struct slice auth)
{
	(void)app;
	(void)auth;
	if (!s->recovery || !s->recovery->parked)
		return;
	for (struct link *l = s->members.next; l != &s->members; l = l->next) {
		const struct member *m = container_of(l, struct member, of_socket);

		if (m->announce)
			announce(s->ns, m->room->name, SLICE_LIT("room:joined"),
				 socket_id(s), socket_user(s));
	}
}

/* --- what backends want --- */

static void on_invited(void *arg, struct socket *s, enum err err,
		       const struct room_joined *joined)
{
	struct buf *room = arg;

	(void)joined;
	if (err == ERR_OK && room_member(s, buf_view(room))->announce)
		announce(s->ns, buf_view(room), SLICE_LIT("room:joined"), socket_id(s),
			 socket_user(s));
	buf_deinit(room);
	free(room);
}

void rooms_app_join(struct socket *s, struct slice room)
{
	const struct namespace *ns = s->ns;
	const struct policy_room *rule =
		policy_find(ns->config->rooms, ns->config->rooms_n, room, socket_user(s));
	struct buf *name;

	if (!room.n || id_is(room) || room.n > ns->node->config->max_room_name ||
	    room_after_join(s, room, NULL) || room_member(s, room))
		return;
	name = mem_zalloc(1, sizeof(*name));
	buf_slice(name, room);
	room_join(s, &(struct room_join){.room = room,
					 .flags = flags_of(rule) | RECOVERY_INVITED,
					 .done = on_invited,
					 .arg = name});
}

void rooms_app_leave(struct socket *s, struct slice room)
{
	struct member *m = room_member(s, room);

	if (room_after_join(s, room, rooms_app_leave))
		return;
	if (s->recovery)
		recovery_leave(s, room, NULL, NULL);
	if (!m)
		return;
	if (m->announce)
		leave_aloud(m);
	else
		room_leave(m);
}

const struct app_ops rooms_app = {
	.name = "rooms",
	.open = open_app,
	.close = close_app,
	.on_connect = on_connect,
	.on_event = on_event,
	.on_disconnect = on_disconnect,
};
