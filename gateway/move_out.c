/* The node that a session leaves: move.h. Also what is common to both sides. */
#include <assert.h>
#include <stdlib.h>

#include "gateway/exchange.h"
#include "gateway/log.h"
#include "gateway/move.h"
#include "gateway/move_state.h"
#include "gateway/node.h"
#include "gateway/polling.h"
#include "gateway/recovery.h"
#include "gateway/relay.h"
#include "proto/mem.h"

enum {
	/* How long it is remembered that a session went elsewhere. Clients do not ask any
	 * more; this is for those that are mistaken. */
	GONE_MS = 30 * 1000,
	/* The new node gives up first. */
	SLACK_MS = 2000,
};

enum move_out_state {
	MOVE_OUT_CLAIMED,
	MOVE_OUT_LEAVING, /* asked for, its conn still has something under way */
	MOVE_OUT_TOLD,	  /* the new node knows what it is */
	MOVE_OUT_HANDED,  /* past the fence */
	MOVE_OUT_OVER,
};

struct move_out {
	struct prober prober;
	struct conn *conn;
	enum move_out_state state;
	uint64_t number; /* of the CLAIM, then of the TAKE */
	bool answered;	 /* the CLAIM */
	struct link due;
	uint64_t due_at;
	char code[NODE_CODE_LEN]; /* where it goes */
};

/* A session that went. */
struct gone {
	struct link link;
	uint64_t until;
	char id[ID_LEN];
};

void moves_init(struct moves *m, const uint64_t seed[2])
{
	table_init(&m->in, seed);
	table_init(&m->gone_by_id, seed);
	link_init(&m->out);
	link_init(&m->gone);
}

static void gone_free(struct moves *m, struct gone *g)
{
	list_remove(&g->link);
	table_remove(&m->gone_by_id, slice_of(g->id, ID_LEN));
	free(g);
}

void moves_deinit(struct moves *m)
{
	struct link *l;

	while ((l = list_first(&m->gone)))
		gone_free(m, container_of(l, struct gone, link));
	table_deinit(&m->in);
	table_deinit(&m->gone_by_id);
}

bool moves_gone(const struct node *n, struct slice sid)
{
	return table_get(&n->moves.gone_by_id, sid) != NULL;
}

static void remember_gone(struct node *n, struct slice id)
{
	struct gone *g;

	if (moves_gone(n, id))
		return;
	g = mem_zalloc(1, sizeof(*g));
	g->until = env_now_ms(n->env) + GONE_MS;
	memcpy(g->id, id.p, ID_LEN);
	list_push(&n->moves.gone, &g->link);
	table_add(&n->moves.gone_by_id, slice_of(g->id, ID_LEN), g);
}

/* --- one move --- */

/* The one place where the state changes. */
static void set_state(struct move_out *m, enum move_out_state to)
{
	assert(to == m->state + 1 || to == MOVE_OUT_OVER);
	m->state = to;
}

static void set_due(struct move_out *m)
{
	struct node *n = m->conn->node;

	list_remove(&m->due);
	m->due_at = env_now_ms(n->env) + n->config->upgrade_timeout_ms + SLACK_MS;
	list_push(&n->moves.out, &m->due);
}

static void move_out_free(struct move_out *m)
{
	set_state(m, MOVE_OUT_OVER);
	list_remove(&m->due);
	free(m);
}

static struct slice code_of(const struct move_out *m)
{
	return slice_of(m->code, NODE_CODE_LEN);
}

static void tell_ended(const struct move_out *m)
{
	relay_tell(m->conn->node, code_of(m),
		   &(struct relay_message){.type = RELAY_ENDED,
					   .number = m->number,
					   .sid = conn_id(m->conn)});
}

static void answer(struct node *n, struct slice code, uint64_t number,
		   enum answer_kind kind, struct slice body)
{
	relay_tell(n, code,
		   &(struct relay_message){.type = RELAY_ANSWER,
					   .number = number,
					   .kind = (uint8_t)kind,
					   .error = EIO_ERROR_SID_UNKNOWN,
					   .body = body});
}

static void on_session_closed(struct prober *p)
{
	struct move_out *m = container_of(p, struct move_out, prober);

	tell_ended(m);
	move_out_free(m);
}

void move_out_on_conn_gone(struct move_out *m)
{
	tell_ended(m);
	move_out_free(m);
}

void moves_tick(struct node *n, uint64_t now)
{
	struct link *l;

	while ((l = list_first(&n->moves.out))) {
		struct move_out *m = container_of(l, struct move_out, due);

		if (m->due_at > now)
			break;
		if (m->state == MOVE_OUT_CLAIMED) {
			polling_unclaim(m->conn);
			move_out_free(m);
		} else {
			log_event(LOG_WARN, "move_failed",
				  "conn=%.*s to=%.*s msg=the node that was to take the "
				  "session over did not finish; it ends",
				  ID_LEN, m->conn->id, NODE_CODE_LEN, m->code);
			n->metrics.moves_failed++;
			conn_close(m->conn, CONN_CLOSE_TRANSPORT_ERROR);
		}
	}
	while ((l = list_first(&n->moves.gone))) {
		struct gone *g = container_of(l, struct gone, link);

		if (g->until > now)
			break;
		gone_free(&n->moves, g);
	}
}

uint64_t moves_next(const struct node *n)
{
	const struct link *out = list_first(&n->moves.out);
	const struct link *gone = list_first(&n->moves.gone);
	uint64_t at = UINT64_MAX;

	if (out)
		at = container_of((struct link *)(uintptr_t)out, struct move_out, due)
			     ->due_at;
	if (gone) {
		uint64_t until =
			container_of((struct link *)(uintptr_t)gone, struct gone, link)
				->until;

		at = until < at ? until : at;
	}
	return at;
}

/* --- what the new node asks --- */

static void claimed(struct move_out *m)
{
	m->answered = true;
	answer(m->conn->node, code_of(m), m->number, ANSWER_OK, SLICE_EMPTY);
}

static void on_claim(struct node *n, struct slice from, const struct relay_message *r)
{
	struct conn *c = conns_find(n, r->sid);
	struct move_out *m = mem_zalloc(1, sizeof(*m));

	m->prober.on_session_closed = on_session_closed;
	m->conn = c;
	m->number = r->number;
	memcpy(m->code, from.p, NODE_CODE_LEN);
	link_init(&m->due);
	if (!c || c->state != CONN_OPEN || !polling_is(c) || c->version != r->version ||
	    polling_claim(c, &m->prober) != ERR_OK) {
		free(m);
		answer(n, from, r->number, ANSWER_ERROR, SLICE_EMPTY);
		return;
	}
	set_due(m);
	if (!c->resume) /* else its outbox could not drain */
		claimed(m);
}

static struct move_out *claim_of(const struct conn *c)
{
	struct prober *p =
		c->state == CONN_OPEN && polling_is(c) ? polling_prober(c) : NULL;

	return p && p->on_session_closed == on_session_closed
		       ? container_of(p, struct move_out, prober)
		       : NULL;
}

void move_out_on_resumed(struct conn *c)
{
	struct move_out *m = claim_of(c);

	if (m && !m->answered)
		claimed(m);
}

/* The move of that node's that is under way for this session. */
static struct move_out *find(const struct node *n, struct slice from, struct slice sid)
{
	struct conn *c = conns_find(n, sid);
	struct move_out *m = c ? claim_of(c) : NULL;

	if (c && (c->state == CONN_LEAVING || c->state == CONN_HANDED))
		m = c->move.out;
	return m && slice_eq(code_of(m), from) ? m : NULL;
}

bool move_out_is_told(const struct conn *c)
{
	return c->state == CONN_HANDED ||
	       (c->state == CONN_LEAVING && c->move.out->state >= MOVE_OUT_TOLD);
}

/* The client has probed its WebSocket. */
static void on_probed(struct node *n, struct slice from, const struct relay_message *r)
{
	struct move_out *m = find(n, from, r->sid);

	if (m && m->number == r->number && m->state == MOVE_OUT_CLAIMED)
		polling_probed(m->conn);
}

static void on_take(struct node *n, struct slice from, const struct relay_message *r)
{
	struct move_out *m = find(n, from, r->sid);

	if (!m || m->state != MOVE_OUT_CLAIMED) {
		answer(n, from, r->number, ANSWER_ERROR, SLICE_EMPTY);
		return;
	}
	if (m->conn->missed) { /* it is to leave; here it is known why */
		answer(n, from, r->number, ANSWER_ERROR, SLICE_EMPTY);
		conn_close(m->conn, CONN_CLOSE_MISSED);
		return;
	}
	m->number = r->number;
	set_state(m, MOVE_OUT_LEAVING);
	set_due(m);
	polling_detach(m->conn);
	conn_leave(m->conn, m);
}

void move_out_check(struct move_out *m)
{
	struct buf state = BUF_INIT;

	if (m->state != MOVE_OUT_LEAVING || !conn_is_idle(m->conn))
		return;
	set_state(m, MOVE_OUT_TOLD);
	move_state_pack(m->conn, &state);
	answer(m->conn->node, code_of(m), m->number, ANSWER_PAYLOAD, buf_view(&state));
	buf_deinit(&state);
}

static void on_fence(struct node *n, struct slice from, const struct relay_message *r)
{
	struct move_out *m = find(n, from, r->sid);
	struct buf rest = BUF_INIT;

	if (!m || m->number != r->number || m->state != MOVE_OUT_TOLD)
		return;
	if (!recovery_fence_holds(m->conn)) {
		conn_close(m->conn, CONN_CLOSE_MISSED);
		return;
	}
	set_state(m, MOVE_OUT_HANDED);
	move_rest_pack(m->conn, &rest);
	relay_tell(n, from,
		   &(struct relay_message){.type = RELAY_REST,
					   .number = m->number,
					   .body = buf_view(&rest)});
	buf_deinit(&rest);
	conn_handed(m->conn);
}

static void on_taken(struct node *n, struct slice from, const struct relay_message *r)
{
	struct move_out *m = find(n, from, r->sid);
	struct conn *c;

	if (!m || m->number != r->number || m->state != MOVE_OUT_HANDED)
		return;
	c = m->conn;
	move_out_free(m);
	n->metrics.moves_out++;
	remember_gone(n, conn_id(c));
	conn_drop(c);
}

/* The new node's client is gone, or it gave up. */
static void on_gone(struct node *n, struct slice from, const struct relay_message *r)
{
	struct move_out *m = find(n, from, r->sid);
	struct conn *c;

	if (!m || m->number != r->number)
		return;
	c = m->conn;
	if (m->state == MOVE_OUT_CLAIMED) {
		polling_unclaim(c);
		move_out_free(m);
		return;
	}
	conn_close(c, CONN_CLOSE_PEER);
}

void move_on_told(struct node *n, struct slice from, const struct relay_message *m)
{
	bool own = slice_eq(from, slice_str(n->code));

	switch (m->type) {
	case RELAY_CLAIM:
		on_claim(n, from, m);
		break;
	case RELAY_PROBED:
		on_probed(n, from, m);
		break;
	case RELAY_TAKE:
		on_take(n, from, m);
		break;
	case RELAY_FENCE:
		if (own)
			move_in_on_told(n, from, m);
		else
			on_fence(n, from, m);
		break;
	case RELAY_TAKEN:
		on_taken(n, from, m);
		break;
	case RELAY_GONE:
		on_gone(n, from, m);
		break;
	case RELAY_REST:
	case RELAY_ENDED:
		move_in_on_told(n, from, m);
		break;
	case RELAY_GET:
	case RELAY_POST:
	case RELAY_ANSWER:
	case RELAY_PING:
	case RELAY_PONG:
	case RELAY_RELEASE:
	case RELAY_TYPES:
		break;
	}
}
