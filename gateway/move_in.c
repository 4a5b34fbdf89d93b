/* The node that a session moves to: move.h. */
#include <assert.h>
#include <stdlib.h>

#include "gateway/exchange.h"
#include "gateway/log.h"
#include "gateway/move.h"
#include "gateway/move_state.h"
#include "gateway/node.h"
#include "gateway/recovery.h"
#include "gateway/relay.h"
#include "gateway/rooms.h"
#include "gateway/session.h"
#include "proto/mem.h"

enum move_in_state {
	MOVE_IN_CLAIMING,    /* the owner is asked */
	MOVE_IN_CLAIMED,     /* it said yes */
	MOVE_IN_TAKING,	     /* it was told to hand over */
	MOVE_IN_SUBSCRIBING, /* to all the session's rooms */
	MOVE_IN_FENCING,     /* the fence is on its way */
	MOVE_IN_FENCED,	     /* what the owner had not sent is to come */
	MOVE_IN_OVER,
};

struct move_in {
	struct node *node;
	enum move_in_state state;
	const struct move_in_events *events; /* NULL: nobody wants to hear */
	void *arg;
	struct relay_call call;
	uint64_t number;   /* of the CLAIM, then of the TAKE */
	struct conn *conn; /* from SUBSCRIBING on */
	unsigned awaited;  /* subscriptions not confirmed */
	unsigned held;	   /* by what the adapter will call back */
	uint8_t version;
	char sid[ID_LEN];
};

/* Presence that is being taken over, once the session is here. */
struct taking {
	struct node *node;
	unsigned pending;
	uint64_t number;
	bool failed;
	char sid[ID_LEN];
};

static void on_answer(struct relay_call *call, const struct relay_message *r,
		      enum err err);

static struct slice sid_of(const struct move_in *m)
{
	return slice_of(m->sid, ID_LEN);
}

static struct slice owner_of(const struct move_in *m)
{
	return slice_of(m->sid, NODE_CODE_LEN);
}

static struct slice key_of(const struct move_in *m)
{
	return slice_of(&m->number, sizeof(m->number));
}

/* The one place where the state changes. */
static void set_state(struct move_in *m, enum move_in_state to)
{
	assert(to == m->state + 1 || to == MOVE_IN_OVER);
	m->state = to;
}

static void free_if_unused(struct move_in *m)
{
	if (m->state == MOVE_IN_OVER && !m->held)
		free(m);
}

/* It comes to nothing, or the conn is here. `m` may be gone afterwards. */
static void end(struct move_in *m)
{
	if (m->call.peer)
		relay_forget(m->node, &m->call);
	table_remove(&m->node->moves.in, key_of(m));
	set_state(m, MOVE_IN_OVER);
	free_if_unused(m);
}

static void tell(const struct move_in *m, enum relay_type type, uint64_t number)
{
	relay_tell(m->node, owner_of(m),
		   &(struct relay_message){
			   .type = type, .number = number, .sid = sid_of(m)});
}

/* Give up. The owner ends the session where the client has upgraded already, and goes on
 * with it else; `tell_owner`: it does not know yet. */
static void fail(struct move_in *m, bool tell_owner)
{
	const struct move_in_events *events = m->events;
	enum move_in_state state = m->state;
	void *arg = m->arg;
	struct conn *c = m->conn;

	if (state == MOVE_IN_OVER)
		return;
	if (tell_owner)
		tell(m, RELAY_GONE, m->number);
	if (state >= MOVE_IN_TAKING)
		m->node->metrics.moves_failed++;
	m->events = NULL;
	m->conn = NULL;
	end(m);
	if (c) {
		c->move.in = NULL;
		conn_drop(c);
	}
	if (events && state == MOVE_IN_CLAIMING)
		events->on_claimed(arg, ERR_DENIED);
	else if (events)
		events->on_moved(arg, NULL);
}

struct move_in *move_in_claim(struct node *n, struct slice sid, uint8_t version,
			      const struct move_in_events *events, void *arg)
{
	struct move_in *m = mem_zalloc(1, sizeof(*m));

	m->node = n;
	m->events = events;
	m->arg = arg;
	m->version = version;
	memcpy(m->sid, sid.p, ID_LEN);
	m->call.on_answer = on_answer;
	relay_ask(n, &m->call, owner_of(m),
		  &(struct relay_message){
			  .type = RELAY_CLAIM, .sid = sid, .version = version});
	m->number = m->call.number;
	table_add(&n->moves.in, key_of(m), m);
	return m;
}

void move_in_probed(struct move_in *m)
{
	tell(m, RELAY_PROBED, m->number);
}

void move_in_take(struct move_in *m)
{
	set_state(m, MOVE_IN_TAKING);
	table_remove(&m->node->moves.in, key_of(m));
	relay_ask(m->node, &m->call, owner_of(m),
		  &(struct relay_message){
			  .type = RELAY_TAKE, .sid = sid_of(m), .version = m->version});
	m->number = m->call.number;
	table_add(&m->node->moves.in, key_of(m), m);
}

void move_in_cancel(struct move_in *m)
{
	m->events = NULL;
	fail(m, true);
}

void move_in_on_conn_gone(struct move_in *m)
{
	m->conn = NULL; /* it ends already */
	fail(m, true);
}

/* --- subscribing --- */

/* All rooms are live: draw the line. */
static void fence(struct move_in *m);

static void subscribed(struct move_in *m, enum err err)
{
	assert(m->held && m->awaited);
	m->held--;
	m->awaited--;
	if (m->state == MOVE_IN_OVER) {
		free_if_unused(m);
		return;
	}
	if (err != ERR_OK)
		fail(m, true);
	else if (m->awaited == 0 && m->state == MOVE_IN_SUBSCRIBING)
		fence(m);
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

static void want_room(void *arg, struct socket *s, struct slice room, unsigned flags)
{
	struct move_in *m = arg;

	m->held++;
	m->awaited++;
	room_prepare(
		s, &(struct room_join){
			   .room = room, .flags = flags, .done = on_room_live, .arg = m});
}

static void subscribe_ids(struct move_in *m)
{
	struct adapter *a = m->node->adapter;

	for (struct socket *s = m->conn->sockets; s; s = s->conn_next) {
		if (slice_starts(socket_id(s), slice_str(m->node->code)))
			continue;
		m->held++;
		m->awaited++;
		s->guest = true;
		adapter_subscribe(a, s->ns->name, socket_id(s), on_own_id_live, m);
	}
}

/* Has one of its sockets come back over another connection, to this node? */
static bool is_here(const struct move_in *m)
{
	const struct node *n = m->node;

	for (const struct socket *s = m->conn->sockets; s; s = s->conn_next) {
		if (table_get(&s->ns->sockets, socket_id(s)) ||
		    table_get(&n->recoveries.resumes, socket_id(s)))
			return true;
	}
	return false;
}

void move_in_let_go(struct node *n, const struct namespace *ns, struct slice sid)
{
	size_t pos = 0;
	struct move_in *m;

	while ((m = table_next(&n->moves.in, &pos))) {
		struct conn *c = m->conn;

		for (struct socket *s = c ? c->sockets : NULL; s; s = s->conn_next) {
			if (s->ns != ns || s->entered || !slice_eq(socket_id(s), sid))
				continue;
			conn_drop(c);
			return;
		}
	}
}

/* What the session is. */
static void on_state(struct move_in *m, struct slice state)
{
	struct conn *other = conns_find(m->node, sid_of(m));
	enum err err;

	set_state(m, MOVE_IN_SUBSCRIBING);
	if (other) { /* the owner would not hand over what it handed over before */
		fail(m, true);
		return;
	}
	m->conn = conn_arrive(m->node, sid_of(m), m->version, m);
	m->held++; /* while rooms may fail at once */
	m->awaited++;
	err = move_state_unpack(m->conn, state, want_room, m);
	if (err == ERR_OK && is_here(m))
		err = ERR_CLOSED;
	else if (err == ERR_OK)
		subscribe_ids(m);
	else
		log_event(LOG_WARN, "move_refused",
			  "conn=%.*s msg=what another node says of a session cannot be "
			  "used: %s; do all nodes have the same namespaces?",
			  ID_LEN, m->sid, err_text(err));
	subscribed(m, err);
}

static void on_answer(struct relay_call *call, const struct relay_message *r,
		      enum err err)
{
	struct move_in *m = container_of(call, struct move_in, call);
	bool yes = r && r->kind == ANSWER_OK, state = r && r->kind == ANSWER_PAYLOAD;

	if (m->state == MOVE_IN_CLAIMING && yes) {
		set_state(m, MOVE_IN_CLAIMED);
		m->events->on_claimed(m->arg, ERR_OK);
	} else if (m->state == MOVE_IN_TAKING && state) {
		on_state(m, r->body);
	} else { /* without an answer it may have been asked all the same */
		fail(m, !r && err != ERR_NOT_FOUND);
	}
}

/* --- the fence --- */

static void on_fence_told(void *arg, enum err err)
{
	struct move_in *m = arg;

	m->held--;
	if (m->state == MOVE_IN_OVER)
		free_if_unused(m);
	else if (err != ERR_OK)
		fail(m, true);
}

static void fence(struct move_in *m)
{
	struct buf bytes = BUF_INIT;

	set_state(m, MOVE_IN_FENCING);
	relay_encode(&(struct relay_message){.type = RELAY_FENCE,
					     .number = m->number,
					     .sid = sid_of(m)},
		     &bytes);
	m->held++;
	adapter_fence(m->node->adapter, owner_of(m), buf_view(&bytes), on_fence_told, m);
	buf_deinit(&bytes);
}

/* From here on what is published to its rooms is for the conn here. */
static void on_fence(struct move_in *m)
{
	if (m->state != MOVE_IN_FENCING)
		return;
	if (!recovery_fence_holds(m->conn)) {
		fail(m, true);
		return;
	}
	for (struct socket *s = m->conn->sockets; s; s = s->conn_next) {
		if (table_get(&s->ns->sockets, socket_id(s))) { /* another came first */
			fail(m, true);
			return;
		}
	}
	set_state(m, MOVE_IN_FENCED);
	m->conn->fenced = true;
	for (struct socket *s = m->conn->sockets; s; s = s->conn_next) {
		rooms_enter(s);
		socket_enter(s);
	}
}

/* --- taking over --- */

static void taken(struct taking *t)
{
	struct slice sid = slice_of(t->sid, ID_LEN);
	struct conn *c = conns_find(t->node, sid);

	if (--t->pending)
		return;
	relay_tell(t->node, slice_of(t->sid, NODE_CODE_LEN),
		   &(struct relay_message){
			   .type = RELAY_TAKEN, .number = t->number, .sid = sid});
	/* Members that are not listed would be a silent hole; the client joins anew. */
	if (t->failed && c)
		conn_close(c, CONN_CLOSE_BACKEND_AWAY);
	free(t);
}

static void on_presence(void *arg, enum err err, uint64_t count)
{
	struct taking *t = arg;

	(void)count;
	if (err != ERR_OK && err != ERR_CLOSED)
		t->failed = true;
	taken(t);
}

static void take_presence(struct node *n, struct conn *c, uint64_t number)
{
	struct taking *t = mem_zalloc(1, sizeof(*t));

	t->node = n;
	t->number = number;
	t->pending = 1;
	memcpy(t->sid, c->id, ID_LEN);
	for (struct socket *s = c->sockets; s; s = s->conn_next)
		t->pending += rooms_take_presence(s, on_presence, t);
	taken(t);
}

static void on_rest(struct move_in *m, struct slice rest)
{
	const struct move_in_events *events = m->events;
	struct node *n = m->node;
	struct conn *c = m->conn;
	uint64_t number = m->number;
	void *arg = m->arg;

	if (m->state != MOVE_IN_FENCED || move_rest_unpack(c, rest) != ERR_OK) {
		fail(m, true);
		return;
	}
	m->conn = NULL;
	m->events = NULL;
	end(m);
	n->metrics.moves_in++;
	conn_arrived(c);
	take_presence(n, c, number);
	events->on_moved(arg, c);
}

/* The owner ended a session that is here already: it has not heard TAKEN, and its
 * applications and the rooms took it for gone. So it is. */
static void on_ended_late(struct node *n, struct slice from, struct slice sid)
{
	struct conn *c = conns_find(n, sid);

	if (c && c->state == CONN_OPEN && session_is_foreign(n, sid) &&
	    slice_starts(sid, from))
		conn_close(c, CONN_CLOSE_TRANSPORT_ERROR);
}

void move_in_on_told(struct node *n, struct slice from, const struct relay_message *r)
{
	struct move_in *m =
		table_get(&n->moves.in, slice_of(&r->number, sizeof(r->number)));

	if (!m && r->type == RELAY_ENDED)
		on_ended_late(n, from, r->sid);
	if (!m)
		return;
	if (r->type == RELAY_FENCE)
		on_fence(m);
	else if (!slice_eq(from, owner_of(m)))
		return; /* not its to say */
	else if (r->type == RELAY_REST)
		on_rest(m, r->body);
	else
		fail(m, false);
}
