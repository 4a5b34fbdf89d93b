#include "gateway/resume.h"

#include <assert.h>
#include <stdlib.h>

#include "gateway/conn.h"
#include "gateway/log.h"
#include "gateway/move.h"
#include "gateway/node.h"
#include "gateway/rooms.h"
#include "gateway/rooms_app.h"
#include "proto/mem.h"

enum { PAGE_BYTES_MAX = 128 * 1024 };

enum resume_state {
	RESUME_TAKING,
	RESUME_SUBSCRIBING,
	RESUME_REPLAYING,
	RESUME_DRAINING,
	RESUME_OVER,
};

struct resume {
	struct node *node;
	struct namespace *ns;
	struct conn *conn;     /* NULL once OVER */
	struct socket *socket; /* from SUBSCRIBING on */
	enum resume_state state;
	bool told; /* the client has its CONNECT: it takes itself for recovered */
	bool parked;
	/* What was read of the session, its rooms or its numbers, does not hold any more:
	 * its next try finds it as it is. */
	bool stale;
	unsigned awaited;    /* subscriptions not confirmed */
	unsigned held;	     /* by what the adapter will call back */
	uint64_t generation; /* 0: not taken */
	uint64_t number;     /* up to which it has everything */
	uint64_t seen;	     /* by resume_is_stuck */
	char *user;
	uint64_t expires_ms;
	struct buf auth;
	/* Where it was, when: names in `names`, spans in `spans`. */
	struct session_room *rooms;
	size_t rooms_n;
	struct buf names;
	struct session_span *spans;
	struct cluster_rooms decoded;
	struct link taking; /* in recoveries.taking while it is not in the table */
	char pid[PID_LEN];
};

static struct slice sid_of(const struct resume *r)
{
	return slice_of(r->pid, ID_LEN);
}

/* The one place where the state changes. */
static void set_state(struct resume *r, enum resume_state to)
{
	static const unsigned from[] = {
		[RESUME_SUBSCRIBING] = 1u << RESUME_TAKING,
		[RESUME_REPLAYING] = 1u << RESUME_SUBSCRIBING | 1u << RESUME_DRAINING |
				     1u << RESUME_REPLAYING,
		[RESUME_DRAINING] = 1u << RESUME_REPLAYING,
		[RESUME_OVER] = 1u << RESUME_TAKING | 1u << RESUME_SUBSCRIBING |
				1u << RESUME_REPLAYING | 1u << RESUME_DRAINING,
	};

	assert(from[to] & 1u << r->state);
	r->state = to;
}

static void free_if_unused(struct resume *r)
{
	if (r->state != RESUME_OVER || r->held)
		return;
	free(r->user);
	free(r->rooms);
	free(r->spans);
	buf_deinit(&r->auth);
	buf_deinit(&r->names);
	cluster_rooms_deinit(&r->decoded);
	free(r);
}

/* It is settled; the conn goes on with what it sent. `r` may be gone afterwards. */
static void end(struct resume *r)
{
	struct table *all = &r->node->recoveries.resumes;
	struct socket *s = r->socket;
	struct conn *c = r->conn;

	if (table_get(all, sid_of(r)) == r)
		table_remove(all, sid_of(r));
	list_remove(&r->taking);
	r->held++; /* the end of its joins, in here, is told, too */
	set_state(r, RESUME_OVER);
	r->conn = NULL;
	r->socket = NULL;
	buf_deinit(&r->auth);
	c->resume = NULL;
	if (s) { /* nobody has heard of it */
		s->recovery->over = true;
		socket_drop(s);
	}
	conn_release(c);
	move_out_on_resumed(c);
	r->held--;
	free_if_unused(r);
}

/* Is it in this room, as far as it is on record? */
static bool is_in(const struct session_room *room)
{
	return room->spans_n && room->spans[room->spans_n - 1].left == UINT64_MAX;
}

/* The node that had it until now said nothing, since it was to go on. */
static void say_left(const struct resume *r)
{
	const struct adapter_member who = {
		.sid = sid_of(r), .user = r->user ? slice_str(r->user) : SLICE_EMPTY};

	for (size_t i = 0; i < r->rooms_n; i++) {
		if (is_in(&r->rooms[i]) && r->rooms[i].flags & RECOVERY_ANNOUNCE)
			rooms_app_on_member_lost(r->ns, r->rooms[i].name, &who);
	}
}

/* If another connection was faster it goes on there. */
static void on_let_go(void *arg, enum err err, const struct session_reply *reply)
{
	struct resume *r = arg;

	(void)reply;
	if (err == ERR_OK && !r->parked)
		say_left(r);
	r->held--;
	free_if_unused(r);
}

/* What was taken is not gone on with here: it waits for the client's next try, or it
 * ends. */
static void let_go(struct resume *r, bool park)
{
	const struct session_request request = {.op = park ? SESSION_PARK : SESSION_END,
						.sid = sid_of(r),
						.generation = r->generation};

	if (!r->generation)
		return;
	r->generation = 0;
	r->node->metrics.sessions_parked += park;
	r->held++;
	adapter_session(r->node->adapter, &request, on_let_go, r);
}

/* Close the transport, for the client to try again. */
static void give_up(struct resume *r, enum conn_close reason)
{
	struct conn *c = r->conn;

	let_go(r, true);
	end(r);
	conn_close(c, reason);
}

/* Another connection has it. */
static void cancel(struct resume *r)
{
	struct conn *c = r->conn;

	end(r);
	conn_close(c, CONN_CLOSE_TAKEN);
}

/* A new socket, with a new id. */
static void open_anew(struct resume *r)
{
	struct conn *c = r->conn;
	struct namespace *ns = r->ns;
	struct buf auth = r->auth;
	char *user = r->user ? mem_strndup(r->user, strlen(r->user)) : NULL;
	uint64_t expires_ms = r->expires_ms;

	r->auth = (struct buf){0};
	end(r);
	conn_on_connected(c);
	socket_open(c, ns, user, expires_ms, buf_view(&auth));
	buf_deinit(&auth);
}

/* It can't be recovered, and the client is told. */
static void not_recovered(struct resume *r, enum err err)
{
	struct metrics *m = &r->node->metrics;

	if (err == ERR_LOST)
		m->recoveries_lost++;
	else
		m->recoveries_unknown++;
	if (log_enabled(LOG_DEBUG))
		log_event(LOG_DEBUG, "not_recovered", "socket=%.*s reason=%s", ID_LEN,
			  r->pid, err_text(err));
	let_go(r, false);
	if (r->told)
		give_up(r, CONN_CLOSE_MISSED);
	else
		open_anew(r);
}

static void fail(struct resume *r, enum err err)
{
	if (err == ERR_NOT_FOUND || err == ERR_LOST) {
		not_recovered(r, err);
	} else if (err == ERR_CLOSED) {
		cancel(r);
	} else {
		r->node->metrics.recoveries_failed++;
		give_up(r, CONN_CLOSE_BACKEND_AWAY);
	}
}

/* May what the adapter calls back go on? A conn that ends is about to say so itself. */
static bool goes_on(struct resume *r)
{
	assert(r->held);
	r->held--;
	if (r->state == RESUME_OVER) {
		free_if_unused(r);
		return false;
	}
	return conn_is_live(r->conn);
}

/* --- live --- */

/* Presence that is being said again. */
struct listing {
	struct socket_ref socket;
	unsigned pending;
	bool failed;
};

static void listed(struct listing *l)
{
	struct socket *s;

	if (--l->pending)
		return;
	s = socket_get(&l->socket);
	/* A member that is not listed would be a silent hole. */
	if (s && l->failed)
		conn_close(s->conn, CONN_CLOSE_BACKEND_AWAY);
	free(l);
}

static void on_listed(void *arg, enum err err, uint64_t count)
{
	struct listing *l = arg;

	(void)count;
	if (err != ERR_OK && err != ERR_CLOSED)
		l->failed = true;
	listed(l);
}

static void take_presence(struct socket *s)
{
	struct listing *l = mem_zalloc(1, sizeof(*l));

	l->socket = socket_ref(s);
	l->pending = 1;
	l->pending += rooms_take_presence(s, on_listed, l);
	listed(l);
}

/* From here on what is published to its rooms is for it. */
static void go_live(struct resume *r)
{
	struct socket *s = r->socket;
	struct buf auth = r->auth;

	r->auth = (struct buf){0};
	r->socket = NULL;
	r->node->metrics.recoveries_ok++;
	s->recovery->parked = r->parked;
	rooms_enter(s);
	socket_enter(s);
	take_presence(s);
	end(r);
	socket_introduce(s, buf_view(&auth));
	buf_deinit(&auth);
}

/* --- replay --- */

/* Was the session in this room when the event of that number was published? */
static bool was_in(const struct resume *r, struct slice room, uint64_t number)
{
	if (slice_eq(room, sid_of(r)))
		return true;
	for (size_t i = 0; i < r->rooms_n; i++) {
		const struct session_room *at = &r->rooms[i];

		if (!slice_eq(at->name, room))
			continue;
		for (size_t j = 0; j < at->spans_n; j++) {
			if (at->spans[j].joined < number && number <= at->spans[j].left)
				return true;
		}
	}
	return false;
}

static bool is_for_it(const struct resume *r, const struct cluster_broadcast *b)
{
	for (size_t i = 0; i < b->except_n; i++) {
		if (was_in(r, b->except[i], b->number))
			return false;
	}
	for (size_t i = 0; i < b->rooms_n; i++) {
		if (was_in(r, b->rooms[i], b->number))
			return true;
	}
	return b->rooms_n == 0;
}

static void deliver(struct resume *r, struct slice message)
{
	struct node *n = r->node;
	struct cluster_broadcast b;
	struct sio_packet packet = {.type = SIO_EVENT, .nsp = r->ns->name};
	struct frame *f;

	if (cluster_decode(message, &r->decoded, &b) != ERR_OK || !b.number ||
	    !slice_eq(b.nsp, r->ns->name)) {
		n->malformed++;
		return;
	}
	if (!is_for_it(r, &b))
		return;
	buf_clear(&n->encode);
	recovery_put_offset(b.data, b.offset, &n->encode);
	packet.data = buf_view(&n->encode);
	if (node_frame(n, &packet, conn_encoding(r->conn), &f) != ERR_OK) {
		n->malformed++;
		return;
	}
	n->metrics.events_out++;
	n->metrics.events_replayed++;
	conn_send(r->conn, f, false);
	frame_unref(f);
}

static void next_page(struct resume *r);

static void on_page(void *arg, enum err err, const struct session_reply *reply)
{
	struct resume *r = arg;

	if (!goes_on(r))
		return;
	if (err != ERR_OK) {
		fail(r, err);
		return;
	}
	if (r->stale) {
		give_up(r, CONN_CLOSE_MISSED);
		return;
	}
	if (!r->told) {
		r->told = true;
		conn_on_connected(r->conn);
		socket_send_connected(r->socket);
	}
	for (size_t i = 0; i < reply->messages_n && conn_is_live(r->conn); i++)
		deliver(r, reply->messages[i]);
	r->number = reply->number;
	if (!conn_is_live(r->conn)) /* it reads too slowly */
		return;
	if (reply->end)
		go_live(r);
	else
		next_page(r);
}

static size_t page_bytes(const struct resume *r)
{
	size_t quarter = r->node->config->outbox_bytes_max / 4;

	return quarter < PAGE_BYTES_MAX ? quarter : PAGE_BYTES_MAX;
}

static void ask_page(struct resume *r)
{
	set_state(r, RESUME_REPLAYING);
	r->held++;
	adapter_session(r->node->adapter,
			&(struct session_request){.op = SESSION_REPLAY,
						  .nsp = r->ns->name,
						  .sid = sid_of(r),
						  .generation = r->generation,
						  .number = r->number,
						  .bytes_max = page_bytes(r)},
			on_page, r);
}

/* One that is on its way to another node takes all along. */
static bool has_drained(const struct resume *r)
{
	return r->conn->state == CONN_LEAVING ||
	       r->conn->outbox.bytes <= page_bytes(r) / 4;
}

static void next_page(struct resume *r)
{
	if (has_drained(r))
		ask_page(r);
	else
		set_state(r, RESUME_DRAINING);
}

void resume_on_drained(struct resume *r)
{
	if (r->state == RESUME_DRAINING && has_drained(r))
		ask_page(r);
}

bool resume_is_stuck(struct resume *r)
{
	bool stuck = r->state == RESUME_DRAINING && r->seen == r->number;

	r->seen = r->number;
	return stuck;
}

/* --- subscribing --- */

static void subscribed(struct resume *r, enum err err)
{
	r->awaited--;
	if (!goes_on(r))
		return;
	if (err != ERR_OK)
		fail(r, err);
	else if (r->awaited == 0)
		ask_page(r);
}

static void on_room_live(void *arg, struct socket *s, enum err err,
			 const struct room_joined *joined)
{
	(void)s;
	(void)joined;
	subscribed(arg, err);
}

static void on_own_id_live(void *arg, enum err err)
{
	subscribed(arg, err);
}

/* It is in it now, and the policy, which may be another here, still allows that. */
static bool is_wanted(const struct resume *r, const struct session_room *room)
{
	struct slice user = socket_user(r->socket);
	const struct policy_room *rule = policy_find(
		r->ns->config->rooms, r->ns->config->rooms_n, room->name, user);

	return is_in(room) && room->name.n && !id_is(room->name) &&
	       (room->flags & RECOVERY_INVITED ||
		policy_allows(rule, POLICY_JOIN, false, user));
}

static void await(struct resume *r)
{
	r->held++;
	r->awaited++;
}

static void subscribe(struct resume *r)
{
	struct socket *s = r->socket;

	await(r); /* while rooms may fail at once */
	if (!slice_starts(sid_of(r), slice_str(r->node->code))) {
		await(r);
		s->guest = true;
		adapter_subscribe(r->node->adapter, r->ns->name, sid_of(r),
				  on_own_id_live, r);
	}
	for (size_t i = 0; i < r->rooms_n; i++) {
		const struct session_room *room = &r->rooms[i];

		if (!is_wanted(r, room))
			continue;
		await(r);
		room_prepare(s, &(struct room_join){
					.room = room->name,
					.flags = room->flags,
					.done = on_room_live,
					.arg = r,
				});
	}
	subscribed(r, ERR_OK);
}

/* --- taking --- */

static void keep_rooms(struct resume *r, const struct session_reply *reply)
{
	size_t spans_n = 0, at = 0;

	r->rooms = mem_zalloc(reply->rooms_n, sizeof(*r->rooms));
	r->rooms_n = reply->rooms_n;
	for (size_t i = 0; i < r->rooms_n; i++) {
		buf_slice(&r->names, reply->rooms[i].name);
		spans_n += reply->rooms[i].spans_n;
	}
	r->spans = mem_zalloc(spans_n, sizeof(*r->spans));
	spans_n = 0;
	for (size_t i = 0; i < r->rooms_n; i++) {
		const struct session_room *from = &reply->rooms[i];

		r->rooms[i] = *from;
		r->rooms[i].name = slice_of(r->names.p + at, from->name.n);
		r->rooms[i].spans = r->spans + spans_n;
		for (size_t j = 0; j < from->spans_n; j++)
			r->spans[spans_n++] = from->spans[j];
		at += from->name.n;
	}
}

/* Who had it here until now, if anybody. */
static void let_go_here(struct resume *r)
{
	struct resume *other = table_get(&r->node->recoveries.resumes, sid_of(r));
	struct socket *s = table_get(&r->ns->sockets, sid_of(r));

	if (other)
		cancel(other);
	if (s && s->recovery)
		recovery_let_go(s);
	move_in_let_go(r->node, r->ns, sid_of(r));
}

static void on_taken(void *arg, enum err err, const struct session_reply *reply)
{
	struct resume *r = arg;

	if (err == ERR_OK) {
		r->generation = reply->generation;
		r->parked = reply->parked;
		keep_rooms(r, reply);
	}
	if (err == ERR_OK && r->state == RESUME_OVER) /* for nobody */
		let_go(r, true);
	if (!goes_on(r))
		return;
	if (err != ERR_OK) {
		fail(r, err);
		return;
	}
	r->number = reply->number;
	if (log_enabled(LOG_DEBUG))
		log_event(LOG_DEBUG, "session_taken", "socket=%.*s after=%llu", ID_LEN,
			  r->pid, (unsigned long long)r->number);
	let_go_here(r);
	if (r->stale) {
		give_up(r, CONN_CLOSE_MISSED);
		return;
	}
	set_state(r, RESUME_SUBSCRIBING);
	list_remove(&r->taking);
	table_add(&r->node->recoveries.resumes, sid_of(r), r);
	r->socket = socket_arrive(r->conn, r->ns, sid_of(r),
				  r->user ? mem_strndup(r->user, strlen(r->user)) : NULL,
				  r->expires_ms);
	recovery_restore(r->socket, slice_of(r->pid + ID_LEN, PID_LEN - ID_LEN),
			 r->generation, r->number);
	subscribe(r);
}

/* A string of the CONNECT's payload, or empty. */
static struct slice get_str(struct slice auth, struct slice key)
{
	struct slice value, text = SLICE_EMPTY;

	if (mp_map_get(auth, key, &value) != ERR_OK || mp_get_str(value, &text) != ERR_OK)
		return SLICE_EMPTY;
	return text;
}

bool resume_begin(struct conn *c, struct namespace *ns, char *user, uint64_t expires_ms,
		  struct slice auth)
{
	struct slice pid = get_str(auth, SLICE_LIT("pid"));
	struct slice offset = get_str(auth, SLICE_LIT("offset"));
	struct node *n = c->node;
	struct resume *r;

	if (!recovery_applies(c, ns) || !pid.n)
		return false;
	if (pid.n != PID_LEN || !id_is(slice_of(pid.p, ID_LEN))) { /* not one of ours */
		n->metrics.recoveries_unknown++;
		return false;
	}
	assert(!c->resume);
	r = mem_zalloc(1, sizeof(*r));
	r->node = n;
	r->ns = ns;
	r->conn = c;
	r->user = user;
	r->expires_ms = expires_ms;
	memcpy(r->pid, pid.p, PID_LEN);
	buf_slice(&r->auth, auth);
	list_push(&n->recoveries.taking, &r->taking);
	c->resume = r;
	conn_hold(c);
	r->held++;
	adapter_session(n->adapter,
			&(struct session_request){
				.op = SESSION_TAKE,
				.nsp = ns->name,
				.sid = sid_of(r),
				.pid = pid,
				.user = user ? slice_str(user) : SLICE_EMPTY,
				.offset = offset.n <= OFFSET_MAX ? offset : SLICE_EMPTY,
			},
			on_taken, r);
	return true;
}

/* --- ends --- */

void resume_on_conn_gone(struct resume *r)
{
	let_go(r, true);
	end(r);
}

void resumes_on_missed(struct node *n)
{
	size_t pos = 0;
	struct link *l, *tmp;
	struct resume *r;

	/* They take the way of those that are live; what was taken waits for them. */
	while ((r = table_next(&n->recoveries.resumes, &pos)))
		r->stale = r->conn->missed = true;
	list_each(l, tmp, &n->recoveries.taking)
	{
		container_of(l, struct resume, taking)->stale = true;
	}
}

static bool is_about_rooms(enum session_event what)
{
	return what == SESSION_JOINED || what == SESSION_LEFT;
}

/* What is wanted of its rooms is on record, but they were read already: its next try
 * finds them as they are to be. */
void resumes_on_session(struct node *n, enum session_event what, struct slice sid,
			uint64_t generation)
{
	struct resume *r = table_get(&n->recoveries.resumes, sid);
	struct link *l, *tmp;

	list_each(l, tmp, &n->recoveries.taking)
	{
		struct resume *t = container_of(l, struct resume, taking);

		t->stale |= is_about_rooms(what) && slice_eq(sid_of(t), sid);
	}
	if (r && is_about_rooms(what))
		give_up(r, CONN_CLOSE_MISSED);
	else if (r && what == SESSION_TAKEN && r->generation < generation)
		cancel(r);
	else if (r && what == SESSION_DISCONNECTED)
		give_up(r, CONN_CLOSE_TAKEN);
}
