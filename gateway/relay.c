#include "gateway/relay.h"

#include <assert.h>
#include <stdlib.h>

#include "gateway/move.h"
#include "gateway/node.h"
#include "gateway/polling.h"
#include "gateway/session.h"
#include "proto/mem.h"

enum {
	CHECK_MS = 1000, /* between signs of life */
	REMOTE_KEY_LEN = NODE_CODE_LEN + sizeof(uint64_t),
};

/* A node that is waited for. */
struct relay_peer {
	struct link calls;
	uint64_t heard_ms; /* or when it began to be waited for */
	char code[NODE_CODE_LEN];
};

/* A client's request that was sent on. */
struct relayed {
	struct relay_call call;
	struct node *node;
	struct exchange *x;
};

/* A request that came from another node. */
struct remote_exchange {
	struct exchange base;
	struct node *node;
	uint8_t key[REMOTE_KEY_LEN]; /* code of that node, its number */
	char sid[ID_LEN];
};

static struct slice number_key(const uint64_t *number)
{
	return slice_of(number, sizeof(*number));
}

static struct slice peer_code(const struct relay_peer *p)
{
	return slice_of(p->code, NODE_CODE_LEN);
}

void relays_init(struct relays *r, const uint64_t seed[2])
{
	*r = (struct relays){.check_ms = UINT64_MAX};
	table_init(&r->calls, seed);
	table_init(&r->peers, seed);
	table_init(&r->remote, seed);
}

void relays_deinit(struct relays *r)
{
	size_t pos = 0;
	void *v;

	/* Their clients are gone with the server. */
	while ((v = table_next(&r->remote, &pos)))
		free(v);
	for (pos = 0; (v = table_next(&r->peers, &pos));)
		free(v);
	table_deinit(&r->calls);
	table_deinit(&r->peers);
	table_deinit(&r->remote);
}

/* --- asking --- */

static void peer_drop_if_unused(struct node *n, struct relay_peer *p)
{
	if (!list_empty(&p->calls))
		return;
	table_remove(&n->relays.peers, peer_code(p));
	free(p);
	if (n->relays.peers.n == 0)
		n->relays.check_ms = UINT64_MAX;
}

static struct relay_peer *peer_of(struct node *n, struct slice code)
{
	struct relay_peer *p = table_get(&n->relays.peers, code);
	uint64_t now = env_now_ms(n->env);

	if (p)
		return p;
	p = mem_zalloc(1, sizeof(*p));
	memcpy(p->code, code.p, NODE_CODE_LEN);
	link_init(&p->calls);
	p->heard_ms = now;
	table_add(&n->relays.peers, peer_code(p), p);
	if (n->relays.check_ms == UINT64_MAX)
		n->relays.check_ms = now + CHECK_MS;
	return p;
}

void relay_forget(struct node *n, struct relay_call *c)
{
	if (!c->peer)
		return;
	table_remove(&n->relays.calls, number_key(&c->number));
	list_remove(&c->of_peer);
	peer_drop_if_unused(n, c->peer);
	c->peer = NULL;
}

static void finish(struct node *n, struct relay_call *c, const struct relay_message *m,
		   enum err err)
{
	relay_forget(n, c);
	c->on_answer(c, m, err);
}

/* Those that are asked in answer to that are not lost with it. */
static void lose_all(struct node *n, struct slice code, enum err err)
{
	struct relay_peer *p = table_get(&n->relays.peers, code);
	char copy[NODE_CODE_LEN];
	struct link *l;
	size_t count = 0;

	if (!p)
		return;
	memcpy(copy, code.p, NODE_CODE_LEN);
	for (l = p->calls.next; l != &p->calls; l = l->next)
		count++;
	for (; count && (p = table_get(&n->relays.peers, slice_of(copy, NODE_CODE_LEN)));
	     count--)
		finish(n, container_of(list_first(&p->calls), struct relay_call, of_peer),
		       NULL, err);
}

/* --- what becomes of what was told --- */

struct told {
	struct node *node;
	uint64_t number;  /* a call; 0: none */
	char sid[ID_LEN]; /* whose answer it is */
	bool answer;
	char code[NODE_CODE_LEN];
};

static void on_told_done(void *arg, enum err err)
{
	struct told *t = arg;
	struct node *n = t->node;
	struct relay_call *call;
	struct conn *c;

	if (err != ERR_OK && t->number &&
	    (call = table_get(&n->relays.calls, number_key(&t->number))))
		finish(n, call, NULL, err);
	/* What the answer held is lost, and so the session is. */
	if (err != ERR_OK && t->answer && (c = conns_find(n, slice_of(t->sid, ID_LEN))) &&
	    polling_is(c))
		conn_close(c, CONN_CLOSE_TRANSPORT_ERROR);
	if (err == ERR_NOT_FOUND)
		lose_all(n, slice_of(t->code, NODE_CODE_LEN), err);
	free(t);
}

static struct told *told_new(struct node *n, struct slice code)
{
	struct told *t = mem_zalloc(1, sizeof(*t));

	assert(code.n == NODE_CODE_LEN);
	t->node = n;
	memcpy(t->code, code.p, NODE_CODE_LEN);
	return t;
}

static void tell(struct node *n, struct slice code, const struct relay_message *m,
		 struct told *t)
{
	struct buf bytes = BUF_INIT;

	relay_encode(m, &bytes);
	adapter_tell(n->adapter, code, buf_view(&bytes), on_told_done, t);
	buf_deinit(&bytes);
}

void relay_tell(struct node *n, struct slice code, const struct relay_message *m)
{
	tell(n, code, m, told_new(n, code));
}

void relay_ask(struct node *n, struct relay_call *c, struct slice code,
	       struct relay_message *m)
{
	struct told *t = told_new(n, code);

	c->number = m->number = t->number = ++n->relays.number;
	c->peer = peer_of(n, code);
	list_push(&c->peer->calls, &c->of_peer);
	table_add(&n->relays.calls, number_key(&c->number), c);
	tell(n, code, m, t);
}

/* --- signs of life --- */

void relays_tick(struct node *n, uint64_t now)
{
	struct relay_peer *p, *silent;
	size_t pos;

	if (n->relays.check_ms > now)
		return;
	n->relays.check_ms = now + CHECK_MS;
	do { /* the table must not change while it is gone through */
		silent = NULL;
		for (pos = 0; (p = table_next(&n->relays.peers, &pos)) && !silent;) {
			if (now - p->heard_ms > n->config->presence_lease_ms)
				silent = p;
		}
		if (silent)
			lose_all(n, peer_code(silent), ERR_TIMEOUT);
	} while (silent);
	for (pos = 0; (p = table_next(&n->relays.peers, &pos));)
		relay_tell(n, peer_code(p), &(struct relay_message){.type = RELAY_PING});
}

uint64_t relays_next(const struct node *n)
{
	return n->relays.check_ms;
}

/* --- requests sent on --- */

static enum eio_error known_error(uint8_t error)
{
	return error <= EIO_ERROR_BAD_VERSION ? (enum eio_error)error
					      : EIO_ERROR_SID_UNKNOWN;
}

static void on_answer(struct relay_call *call, const struct relay_message *m,
		      enum err err)
{
	struct relayed *r = container_of(call, struct relayed, call);
	struct exchange *x = r->x;
	struct metrics *metrics = &r->node->metrics;

	free(r);
	x->relayed = NULL;
	if (m && m->kind < ANSWER_KINDS) {
		exchange_answer(x, &(struct answer){.kind = (enum answer_kind)m->kind,
						    .error = known_error(m->error),
						    .binary = m->binary,
						    .body = m->body});
	} else if (err == ERR_NOT_FOUND || err == ERR_TIMEOUT) {
		metrics->relays_lost++;
		exchange_error(x, EIO_ERROR_SID_UNKNOWN);
	} else {
		metrics->relays_lost++;
		exchange_answer(x, &(struct answer){.kind = ANSWER_AWAY});
	}
}

static void release(struct node *n, const struct relay_call *c)
{
	relay_tell(n, peer_code(c->peer),
		   &(struct relay_message){.type = RELAY_RELEASE, .number = c->number});
}

static void send_on(struct node *n, enum relay_type type, const struct eio_query *q,
		    struct slice body, bool binary, struct exchange *x)
{
	struct relayed *r = mem_zalloc(1, sizeof(*r));

	r->node = n;
	r->x = x;
	r->call.on_answer = on_answer;
	x->relayed = r;
	n->metrics.relays_out++;
	relay_ask(n, &r->call, slice_of(q->sid.p, NODE_CODE_LEN),
		  &(struct relay_message){.type = type,
					  .sid = q->sid,
					  .version = (uint8_t)q->version,
					  .binary = binary,
					  .body = body});
	if (type == RELAY_GET && n->state > NODE_LINGERING)
		release(n, &r->call); /* it came after relays_release */
}

void relay_get(struct node *n, const struct eio_query *q, struct exchange *x)
{
	send_on(n, RELAY_GET, q, SLICE_EMPTY, false, x);
}

void relay_post(struct node *n, const struct eio_query *q, struct slice body, bool binary,
		struct exchange *x)
{
	send_on(n, RELAY_POST, q, body, binary, x);
}

void relay_on_gone(struct node *n, struct exchange *x)
{
	struct relayed *r = x->relayed;

	relay_tell(n, peer_code(r->call.peer),
		   &(struct relay_message){.type = RELAY_GONE, .number = r->call.number});
	relay_forget(n, &r->call);
	x->relayed = NULL;
	free(r);
}

/* --- a node that stops --- */

void relays_release(struct node *n)
{
	struct relay_call *c;
	size_t pos = 0;

	while ((c = table_next(&n->relays.calls, &pos)))
		release(n, c);
}

bool relays_done(const struct node *n)
{
	return n->relays.calls.n == 0;
}

void relays_give_up(struct node *n)
{
	const struct relay_peer *p;
	size_t pos;

	while (pos = 0, (p = table_next(&n->relays.peers, &pos)))
		lose_all(n, peer_code(p), ERR_CLOSED);
}

/* --- requests from others --- */

static void remote_key(uint8_t key[REMOTE_KEY_LEN], struct slice code, uint64_t number)
{
	memcpy(key, code.p, NODE_CODE_LEN);
	memcpy(key + NODE_CODE_LEN, &number, sizeof(number));
}

static void on_remote_answer(struct exchange *base, const struct answer *a)
{
	struct remote_exchange *x = container_of(base, struct remote_exchange, base);
	struct node *n = x->node;
	struct slice code = slice_of(x->key, NODE_CODE_LEN);
	struct told *t = told_new(n, code);
	struct relay_message m = {.type = RELAY_ANSWER,
				  .kind = (uint8_t)a->kind,
				  .error = (uint8_t)a->error,
				  .binary = a->binary,
				  .body = a->body};

	memcpy(&m.number, x->key + NODE_CODE_LEN, sizeof(m.number));
	t->answer = true;
	memcpy(t->sid, x->sid, ID_LEN);
	tell(n, code, &m, t);
	table_remove(&n->relays.remote, slice_of(x->key, REMOTE_KEY_LEN));
	free(x);
}

static const struct exchange_ops remote_ops = {on_remote_answer};

static void on_request(struct node *n, struct slice from, const struct relay_message *m)
{
	struct eio_query q = {
		.version = m->version, .transport = EIO_POLLING, .sid = m->sid};
	struct remote_exchange *x;
	uint8_t key[REMOTE_KEY_LEN];

	remote_key(key, from, m->number);
	if (!id_is(m->sid) || table_get(&n->relays.remote, slice_of(key, REMOTE_KEY_LEN)))
		return;
	x = mem_zalloc(1, sizeof(*x));
	x->base.ops = &remote_ops;
	x->node = n;
	memcpy(x->key, key, REMOTE_KEY_LEN);
	memcpy(x->sid, m->sid.p, ID_LEN);
	table_add(&n->relays.remote, slice_of(x->key, REMOTE_KEY_LEN), x);
	n->metrics.relays_in++;
	if (m->type == RELAY_GET)
		session_get_here(n, &q, &x->base);
	else
		session_post_here(n, &q, m->body, m->binary, &x->base);
}

static void on_gone(struct node *n, struct slice from, const struct relay_message *m)
{
	struct remote_exchange *x;
	uint8_t key[REMOTE_KEY_LEN];

	remote_key(key, from, m->number);
	x = table_remove(&n->relays.remote, slice_of(key, REMOTE_KEY_LEN));
	if (!x) {
		move_on_told(n, from, m); /* it may be a CLAIM or TAKE */
		return;
	}
	session_gone(n, &x->base);
	free(x);
}

static void on_release(struct node *n, struct slice from, const struct relay_message *m)
{
	struct remote_exchange *x;
	uint8_t key[REMOTE_KEY_LEN];

	remote_key(key, from, m->number);
	x = table_get(&n->relays.remote, slice_of(key, REMOTE_KEY_LEN));
	if (x)
		polling_release(&x->base);
}

static void on_answered(struct node *n, struct slice from, const struct relay_message *m)
{
	struct relay_call *c = table_get(&n->relays.calls, number_key(&m->number));

	if (c && slice_eq(peer_code(c->peer), from))
		finish(n, c, m, ERR_OK);
}

void relay_on_told(struct node *n, struct slice from, struct slice bytes)
{
	struct relay_peer *p = table_get(&n->relays.peers, from);
	struct relay_message m;

	if (relay_decode(bytes, &m) != ERR_OK) {
		n->malformed++;
		return;
	}
	if (p)
		p->heard_ms = env_now_ms(n->env);
	switch (m.type) {
	case RELAY_GET:
	case RELAY_POST:
		on_request(n, from, &m);
		break;
	case RELAY_ANSWER:
		on_answered(n, from, &m);
		break;
	case RELAY_GONE:
		on_gone(n, from, &m);
		break;
	case RELAY_RELEASE:
		on_release(n, from, &m);
		break;
	case RELAY_PING:
		relay_tell(n, from, &(struct relay_message){.type = RELAY_PONG});
		break;
	case RELAY_CLAIM:
	case RELAY_PROBED:
	case RELAY_TAKE:
	case RELAY_FENCE:
	case RELAY_REST:
	case RELAY_TAKEN:
	case RELAY_ENDED:
		move_on_told(n, from, &m);
		break;
	case RELAY_PONG:
	case RELAY_TYPES:
		break;
	}
}
