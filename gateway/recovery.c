#include "gateway/recovery.h"

#include <assert.h>
#include <stdlib.h>

#include "gateway/conn.h"
#include "gateway/log.h"
#include "gateway/move.h"
#include "gateway/node.h"
#include "gateway/resume.h"
#include "gateway/rooms.h"
#include "gateway/rooms_app.h"
#include "proto/mem.h"

enum {
	/* Many that must leave do so in waves this far apart. */
	WAVE_MS = 50,
	HISTORY_BYTES_MAX = 256 * 1024,
};

#define NO_MISSES UINT64_MAX /* its numbers are of another era than this node's */

void recoveries_init(struct recoveries *r, const uint64_t seed[2])
{
	*r = (struct recoveries){.missed_at = UINT64_MAX};
	table_init(&r->resumes, seed);
	link_init(&r->taking);
}

void recoveries_deinit(struct recoveries *r)
{
	table_deinit(&r->resumes);
}

bool recovery_applies(const struct conn *c, const struct namespace *ns)
{
	return ns->config->recovery && c->version == 4;
}

static uint64_t position(const struct node *n)
{
	struct slice offset;

	return adapter_position(n->adapter, &offset);
}

static struct slice present_era(const struct node *n)
{
	struct slice offset, era;
	uint64_t number;

	adapter_position(n->adapter, &offset);
	return cluster_offset(offset, &era, &number) == ERR_OK ? era : SLICE_EMPTY;
}

/* A request about this socket's session, `s` live. */
static struct session_request request(const struct socket *s, enum session_op op)
{
	return (struct session_request){
		.op = op,
		.nsp = s->ns->name,
		.sid = socket_id(s),
		.generation = s->recovery->generation,
	};
}

static void ask(const struct socket *s, const struct session_request *r,
		adapter_session_fn *done, void *arg)
{
	adapter_session(s->ns->node->adapter, r, done, arg);
}

void recovery_pid(const struct socket *s, char *out)
{
	memcpy(out, s->id, ID_LEN);
	memcpy(out + ID_LEN, s->recovery->secret, PID_LEN - ID_LEN);
}

static void record(struct socket *s)
{
	struct session_request r = request(s, SESSION_NEW);
	char pid[PID_LEN];

	recovery_pid(s, pid);
	r.pid = slice_of(pid, PID_LEN);
	r.user = socket_user(s);
	r.number = s->recovery->floor;
	ask(s, &r, NULL, NULL);
}

void recovery_restore(struct socket *s, struct slice secret, uint64_t generation,
		      uint64_t floor)
{
	struct recovery *r = mem_zalloc(1, sizeof(*r));

	assert(!s->recovery && secret.n == sizeof(r->secret));
	memcpy(r->secret, secret.p, sizeof(r->secret));
	r->generation = generation;
	r->floor = r->pinged = floor;
	r->misses = s->ns->node->recoveries.misses;
	s->recovery = r;
}

void recovery_begin(struct socket *s)
{
	struct node *n = s->ns->node;
	uint8_t random[PID_LEN - ID_LEN];
	char secret[PID_LEN - ID_LEN];

	env_random(n->env, random, sizeof(random));
	id_chars(secret, random, sizeof(random));
	recovery_restore(s, slice_of(secret, sizeof(secret)), 1, position(n));
	record(s);
}

/* --- ends --- */

/* May its client come back to it? As in the reference: not after it, or the server, chose
 * to end it, and not after a mistake of its own. */
static bool is_kept(const struct conn *c)
{
	return c->state == CONN_CLOSED && c->reason != CONN_CLOSE_PARSE_ERROR &&
	       c->reason != CONN_CLOSE_TOO_BIG;
}

void recovery_on_closed(struct socket *s)
{
	struct recovery *r = s->recovery;
	struct session_request end;
	bool kept;

	if (!r || r->over)
		return;
	r->over = true;
	kept = is_kept(s->conn);
	s->ns->node->metrics.sessions_parked += kept;
	end = request(s, kept ? SESSION_PARK : SESSION_END);
	ask(s, &end, NULL, NULL);
}

void recovery_let_go(struct socket *s)
{
	struct conn *c = s->conn;

	s->recovery->over = true;
	socket_close(s, conn_close_text(CONN_CLOSE_TAKEN));
	conn_close(c, CONN_CLOSE_TAKEN);
}

/* --- missed events --- */

/* Nothing more is sent to it: an offset would hide what it missed. Its client comes back
 * and gets it, or is told. */
static void miss(struct socket *s)
{
	s->missed = s->conn->missed = true;
}

/* Those that missed events do so, evenly, as those of a node that drains. */
static void begin_leaving(struct node *n)
{
	uint64_t now = env_now_ms(n->env);

	n->recoveries.missed_at = now;
	n->recoveries.missed_end = now + n->config->drain_time_ms;
}

/* --- keeping it true --- */

bool recovery_is_void(struct socket *s, enum err err)
{
	if (err != ERR_NOT_FOUND && err != ERR_CLOSED)
		return false;
	/* One that is nobody's ends aloud. */
	s->recovery->over = err == ERR_CLOSED;
	conn_close(s->conn, err == ERR_CLOSED ? CONN_CLOSE_TAKEN : CONN_CLOSE_MISSED);
	return true;
}

static void on_renewed(void *arg, enum err err, const struct session_reply *reply)
{
	struct socket_ref *ref = arg;
	struct socket *s = socket_get(ref);

	(void)reply;
	free(ref);
	if (s && err == ERR_OK)
		s->recovery->arrived = false;
	else if (s && !s->recovery->over)
		(void)recovery_is_void(s, err);
}

static void renew(struct socket *s)
{
	struct session_request r = request(s, SESSION_RENEW);
	struct socket_ref *ref = mem_alloc(sizeof(*ref));

	*ref = socket_ref(s);
	r.number = s->recovery->floor;
	r.arrived = s->recovery->arrived;
	ask(s, &r, on_renewed, ref);
}

void recovery_on_ping(struct conn *c)
{
	for (struct socket *s = c->sockets; s; s = s->conn_next) {
		if (s->recovery && s->entered && !s->missed)
			s->recovery->pinged = position(c->node);
	}
}

void recovery_on_pong(struct conn *c)
{
	for (struct socket *s = c->sockets; s; s = s->conn_next) {
		if (!s->recovery || !s->entered || s->missed || s->recovery->over)
			continue;
		s->recovery->floor = s->recovery->pinged;
		renew(s);
	}
}

void recovery_on_arrived(struct conn *c)
{
	for (struct socket *s = c->sockets; s; s = s->conn_next) {
		if (!s->recovery)
			continue;
		if (s->recovery->misses == c->node->recoveries.misses)
			renew(s);
		else
			miss(s);
	}
	if (c->missed)
		begin_leaving(c->node);
}

void recovery_join(struct socket *s, struct slice room, unsigned flags, size_t history,
		   adapter_session_fn *done, void *arg)
{
	struct session_request r = request(s, SESSION_JOIN);

	r.room = room;
	r.flags = flags;
	r.history = history;
	r.bytes_max = HISTORY_BYTES_MAX;
	ask(s, &r, done, arg);
}

void recovery_leave(struct socket *s, struct slice room, adapter_session_fn *done,
		    void *arg)
{
	struct session_request r = request(s, SESSION_LEAVE);

	r.room = room;
	r.number = position(s->ns->node);
	ask(s, &r, done, arg);
}

/* --- moving to another node --- */

bool recovery_fence_holds(const struct conn *c)
{
	const struct socket *s = c->sockets;

	while (s && !s->recovery)
		s = s->conn_next;
	return !s || c->node->backend_up;
}

enum { RECOVERY_FIELDS = 5 };

void recovery_pack(const struct socket *s, msgpack_packer *pk)
{
	const struct recovery *r = s->recovery;

	if (!r) {
		msgpack_pack_nil(pk);
		return;
	}
	msgpack_pack_array(pk, RECOVERY_FIELDS);
	mp_pack_str(pk, slice_of(r->secret, sizeof(r->secret)));
	msgpack_pack_uint64(pk, r->generation);
	msgpack_pack_uint64(pk, r->pinged);
	msgpack_pack_uint64(pk, r->floor);
	mp_pack_str(pk, present_era(s->ns->node));
}

static enum err read_number(struct mp_cursor *c, int64_t *out)
{
	return mp_take_int(c, 0, INT64_MAX, out);
}

enum err recovery_unpack(struct socket *s, struct mp_cursor *c)
{
	int64_t generation, pinged, floor;
	struct mp_value first;
	struct slice secret, era;

	if (mp_read(c, &first) != ERR_OK)
		return ERR_SYNTAX;
	if (first.type == MP_NIL)
		return ERR_OK;
	if (first.type != MP_ARRAY || first.count != RECOVERY_FIELDS ||
	    mp_read_str(c, &secret) != ERR_OK || secret.n != PID_LEN - ID_LEN ||
	    read_number(c, &generation) != ERR_OK || read_number(c, &pinged) != ERR_OK ||
	    read_number(c, &floor) != ERR_OK || mp_read_str(c, &era) != ERR_OK)
		return ERR_SYNTAX;
	if (!recovery_applies(s->conn, s->ns))
		return ERR_SYNTAX;
	recovery_restore(s, secret, (uint64_t)generation, (uint64_t)floor);
	s->recovery->pinged = (uint64_t)pinged;
	s->recovery->arrived = true;
	if (!slice_eq(era, present_era(s->ns->node)))
		s->recovery->misses = NO_MISSES;
	return ERR_OK;
}

/* --- offsets --- */

void recovery_put_offset(struct slice data, struct slice offset, struct buf *out)
{
	struct mp_cursor c = mp_cursor_of(data);
	msgpack_packer pk;
	uint32_t count = 0;
	enum err err = mp_read_array(&c, &count);

	assert(err == ERR_OK);
	(void)err;
	mp_packer(&pk, out);
	msgpack_pack_array(&pk, (size_t)count + 1);
	mp_pack_raw(&pk, slice_of(c.p, (size_t)(c.end - c.p)));
	mp_pack_str(&pk, offset);
}

bool recovery_needs_offset(struct slice data)
{
	struct mp_cursor c = mp_cursor_of(data);
	struct mp_value last;
	uint32_t count;

	if (mp_read_array(&c, &count) != ERR_OK || !count)
		return false;
	while (--count) {
		if (mp_skip(&c) != ERR_OK)
			return false;
	}
	return mp_read(&c, &last) == ERR_OK && last.type == MP_STR;
}

/* --- what the adapter reports --- */

/* Another node would go on with them as if they had all. */
static void close_moving(struct node *n)
{
	struct link *l, *tmp;

	list_each(l, tmp, &n->conns.all)
	{
		struct conn *c = container_of(l, struct conn, all);

		if (c->missed && (c->state == CONN_LEAVING || c->state == CONN_HANDED))
			conn_close(c, CONN_CLOSE_MISSED);
	}
}

void recovery_on_missed(struct node *n)
{
	size_t pos, count = 0;
	struct socket *s;

	n->recoveries.misses++;
	for (size_t i = 0; i < n->config->namespaces_n; i++) {
		for (pos = 0; (s = table_next(&n->namespaces[i].sockets, &pos));) {
			if (!s->recovery)
				continue;
			miss(s);
			count++;
		}
	}
	resumes_on_missed(n);
	close_moving(n);
	log_event(LOG_WARN, "events_missed",
		  "sockets=%zu msg=these clients reconnect, to get what they missed or "
		  "be told",
		  count);
	begin_leaving(n);
}

static size_t missed_conns(const struct node *n)
{
	size_t count = 0;

	for (const struct link *l = n->conns.all.next; l != &n->conns.all; l = l->next)
		count += container_of((struct link *)(uintptr_t)l, struct conn, all)
				 ->missed;
	return count;
}

/* Close some of those that missed events; evenly, as a node that drains does. */
static void let_leave(struct node *n, uint64_t now)
{
	struct recoveries *r = &n->recoveries;
	uint64_t left = env_ms_left(r->missed_end, now);
	size_t all = missed_conns(n), count = all;
	struct link *l, *tmp;

	if (left > WAVE_MS)
		count = (all * WAVE_MS + left - 1) / left;
	list_each(l, tmp, &n->conns.all)
	{
		struct conn *c = container_of(l, struct conn, all);

		if (!c->missed || count == 0)
			continue;
		c->missed = false;
		conn_close(c, CONN_CLOSE_MISSED);
		all--;
		count--;
	}
	r->missed_at = all ? now + WAVE_MS : UINT64_MAX;
}

void recoveries_tick(struct node *n, uint64_t now)
{
	if (n->recoveries.missed_at <= now)
		let_leave(n, now);
}

uint64_t recoveries_next(const struct node *n)
{
	return n->recoveries.missed_at;
}

/* Wishes for one that another node knows of already are told that node, when it says that
 * the session has arrived. */
static void on_event(struct socket *s, enum session_event what, uint64_t generation,
		     struct slice room)
{
	switch (what) {
	case SESSION_TAKEN:
		if (s->recovery->generation < generation)
			recovery_let_go(s);
		break;
	case SESSION_DISCONNECTED:
		socket_disconnect(s, "server namespace disconnect");
		break;
	case SESSION_JOINED:
		if (!move_out_is_told(s->conn))
			rooms_app_join(s, room);
		break;
	case SESSION_LEFT:
		if (!move_out_is_told(s->conn))
			rooms_app_leave(s, room);
		break;
	}
}

void recovery_on_session(struct node *n, enum session_event what, struct slice sid,
			 uint64_t generation, struct slice room)
{
	resumes_on_session(n, what, sid, generation);
	for (size_t i = 0; i < n->config->namespaces_n; i++) {
		struct socket *s = table_get(&n->namespaces[i].sockets, sid);

		if (s && s->recovery && !s->recovery->over)
			on_event(s, what, generation, room);
	}
}
