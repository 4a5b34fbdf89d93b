#include "gateway/polling.h"

#include <assert.h>
#include <stdlib.h>

#include "gateway/node.h"
#include "proto/mem.h"
#include "proto/payload.h"

enum {
	GATHER_MAX = 1024 * 1024,
	/* As the reference: while an upgrade is under way a GET hangs no longer. */
	RELEASE_MS = 100,
	/* How long the last words wait for the client's next GET. */
	LINGER_MS = 30 * 1000,
	LINGER_STOPPING_MS = 1000,
};

struct polling {
	struct conn *conn;
	struct exchange *get, *post;
	struct link release;
	uint64_t release_at;
	bool posting;	       /* a POST was begun or waits */
	bool greeted;	       /* the open packet was sent */
	bool probed;	       /* the WebSocket of `prober` works */
	struct prober *prober; /* of the upgrade under way, or NULL */
	struct buf last;       /* frames written when the conn had ended already */
};

/* The last words of a conn, frames as they were in its outbox. */
struct last_words {
	struct link link;
	uint64_t until;
	uint8_t version;
	bool base64;
	struct buf frames;
	char id[ID_LEN];
};

/* --- what is due by time --- */

void pollings_init(struct pollings *p, const uint64_t seed[2])
{
	link_init(&p->release);
	link_init(&p->linger);
	table_init(&p->lingering, seed);
}

static void linger_free(struct node *n, struct last_words *l)
{
	list_remove(&l->link);
	table_remove(&n->pollings.lingering, slice_of(l->id, ID_LEN));
	buf_deinit(&l->frames);
	free(l);
}

void pollings_deinit(struct pollings *p)
{
	struct link *l;

	assert(list_empty(&p->release));
	while ((l = list_pop(&p->linger))) { /* nobody came for them */
		struct last_words *w = container_of(l, struct last_words, link);

		buf_deinit(&w->frames);
		free(w);
	}
	table_deinit(&p->lingering);
}

static struct polling *release_first(const struct node *n)
{
	struct link *l = list_first(&n->pollings.release);

	return l ? container_of(l, struct polling, release) : NULL;
}

static struct last_words *linger_first(const struct node *n)
{
	struct link *l = list_first(&n->pollings.linger);

	return l ? container_of(l, struct last_words, link) : NULL;
}

/* --- answers --- */

/* What a payload of these frames is written in. */
static enum payload_format format_of(uint8_t version, bool base64, struct slice frames)
{
	if (version == 4)
		return PAYLOAD_V4;
	return base64 || !payload_has_binary(frames) ? PAYLOAD_V3_TEXT
						     : PAYLOAD_V3_BINARY;
}

/* Take the exchange out of where it waits. */
static struct exchange *taken(struct exchange **at)
{
	struct exchange *x = *at;

	*at = NULL;
	x->polling = NULL;
	return x;
}

static void answer_get(struct polling *p, const struct answer *a)
{
	list_remove(&p->release);
	p->conn->choked = true;
	exchange_answer(taken(&p->get), a);
}

static void answer_post(struct polling *p, enum answer_kind kind)
{
	p->posting = false;
	exchange_answer(taken(&p->post), &(struct answer){.kind = kind});
}

static void answer_noop(struct polling *p)
{
	struct slice noop = p->conn->version == 4 ? SLICE_LIT("6") : SLICE_LIT("1:6");

	answer_get(p, &(struct answer){.kind = ANSWER_PAYLOAD, .body = noop});
}

void pollings_tick(struct node *n, uint64_t now)
{
	struct polling *p;
	struct last_words *l;

	while ((p = release_first(n)) && p->release_at <= now)
		answer_noop(p);
	while ((l = linger_first(n)) && l->until <= now)
		linger_free(n, l);
}

uint64_t pollings_next(const struct node *n)
{
	const struct polling *p = release_first(n);
	const struct last_words *l = linger_first(n);
	uint64_t at = p ? p->release_at : UINT64_MAX;

	return l && l->until < at ? l->until : at;
}

bool pollings_done(const struct node *n)
{
	return list_empty(&n->pollings.linger);
}

void pollings_hurry(struct node *n)
{
	uint64_t until = env_now_ms(n->env) + LINGER_STOPPING_MS;
	struct link *l, *tmp;

	list_each(l, tmp, &n->pollings.linger)
	{
		struct last_words *last = container_of(l, struct last_words, link);

		if (last->until > until)
			last->until = until;
	}
}

/* --- the transport --- */

static enum transport_result polling_write(void *transport, struct slice frames)
{
	struct polling *p = transport;
	struct buf body = BUF_INIT;
	struct answer a = {.kind = ANSWER_PAYLOAD};
	enum payload_format format;

	if (p->conn->state != CONN_OPEN) {
		buf_slice(&p->last, frames);
		return TRANSPORT_SENT;
	}
	assert(p->get);
	format = format_of(p->conn->version, p->conn->base64, frames);
	payload_append(&body, format, frames);
	a.body = buf_view(&body);
	a.binary = format == PAYLOAD_V3_BINARY;
	if (!p->greeted) {
		p->greeted = true;
		a.sid = conn_id(p->conn);
	}
	answer_get(p, &a);
	buf_deinit(&body);
	return TRANSPORT_CHOKED;
}

static void polling_read(void *transport, bool on)
{
	struct polling *p = transport;

	if (on && p->post)
		answer_post(p, ANSWER_OK);
}

/* Does the reference end this with a close packet that waits for the client's next GET?
 */
static bool is_orderly(enum conn_close reason)
{
	switch (reason) {
	case CONN_CLOSE_SERVER:
	case CONN_CLOSE_TAKEN:
	case CONN_CLOSE_MISSED:
	case CONN_CLOSE_SHUTDOWN:
	case CONN_CLOSE_BACKEND_AWAY:
	case CONN_CLOSE_CONNECT_TIMEOUT:
		return true;
	case CONN_CLOSE_PEER:
	case CONN_CLOSE_PING_TIMEOUT:
	case CONN_CLOSE_PARSE_ERROR:
	case CONN_CLOSE_TRANSPORT_ERROR:
	case CONN_CLOSE_TOO_BIG:
	case CONN_CLOSE_SLOW_READER:
		break;
	}
	return false;
}

/* Is it because of what the client sent? */
static bool is_clients_fault(enum conn_close reason)
{
	return reason == CONN_CLOSE_PARSE_ERROR || reason == CONN_CLOSE_TRANSPORT_ERROR ||
	       reason == CONN_CLOSE_TOO_BIG;
}

static void keep_last_words(struct polling *p)
{
	struct node *n = p->conn->node;
	struct last_words *l = mem_zalloc(1, sizeof(*l));

	memcpy(l->id, p->conn->id, ID_LEN);
	l->version = p->conn->version;
	l->base64 = p->conn->base64;
	l->frames = p->last;
	p->last = BUF_INIT;
	l->until = env_now_ms(n->env) +
		   (node_is_stopping(n) ? LINGER_STOPPING_MS : LINGER_MS);
	list_push(&n->pollings.linger, &l->link);
	table_add(&n->pollings.lingering, slice_of(l->id, ID_LEN), l);
}

/* What is left, or that it is the end: with the next GET, if something was left. Clients
 * that are told both at once close first, keep the events without counting their offsets,
 * and get them again when they are back. */
static void answer_last(struct exchange *x, enum payload_format format,
			struct slice frames)
{
	static const struct slice close = SLICE_INIT("\x81\x01"
						     "1");
	struct buf body = BUF_INIT;

	payload_append(&body, format, frames.n ? frames : close);
	exchange_answer(x, &(struct answer){.kind = ANSWER_PAYLOAD,
					    .body = buf_view(&body),
					    .binary = format == PAYLOAD_V3_BINARY});
	buf_deinit(&body);
}

static void polling_free(struct polling *p)
{
	p->conn->node->conns.polling_n--;
	list_remove(&p->release);
	buf_deinit(&p->last);
	free(p);
}

static void polling_close(void *transport, enum conn_close reason)
{
	struct polling *p = transport;
	bool rest = false;

	if (p->prober)
		p->prober->on_session_closed(p->prober);
	if (p->post)
		answer_post(p, is_clients_fault(reason) ? ANSWER_BAD : ANSWER_OK);
	if (p->get && reason == CONN_CLOSE_PEER) {
		answer_noop(p); /* the client said good-bye, it need not be told */
	} else if (p->get) {
		answer_last(
			taken(&p->get),
			format_of(p->conn->version, p->conn->base64, buf_view(&p->last)),
			buf_view(&p->last));
		rest = p->last.n > 0;
		buf_deinit(&p->last);
	} else {
		rest = is_orderly(reason);
	}
	if (rest)
		keep_last_words(p);
	polling_free(p);
}

static const struct transport_ops polling_ops = {
	.write = polling_write,
	.read = polling_read,
	.close = polling_close,
	.gather_bytes_max = GATHER_MAX,
	.keeps_last_writes = true,
};

bool polling_is(const struct conn *c)
{
	return c->ops == &polling_ops;
}

static struct polling *polling_of(const struct conn *c)
{
	assert(polling_is(c));
	return c->transport;
}

/* --- requests --- */

void polling_open(struct node *n, const struct eio_query *q, struct exchange *x)
{
	struct polling *p = mem_zalloc(1, sizeof(*p));

	link_init(&p->release);
	n->conns.polling_n++;
	p->get = x;
	x->polling = p;
	p->conn = conn_new(n, &polling_ops, p, q,
			   config_has_transport(n->config, EIO_WEBSOCKET));
	conn_set_address(p->conn, x->address);
}

void polling_get(struct conn *c, struct exchange *x)
{
	struct polling *p = polling_of(c);

	if (p->get) {
		conn_close(c, CONN_CLOSE_TRANSPORT_ERROR); /* overlap */
		exchange_answer(x, &(struct answer){.kind = ANSWER_BAD});
		return;
	}
	p->get = x; /* also if it ends in this turn: then it hears so */
	x->polling = p;
	if (p->probed) {
		p->release_at = env_now_ms(c->node->env) + RELEASE_MS;
		list_push(&c->node->pollings.release, &p->release);
	}
	conn_on_writable(c);
}

/* Hand over the packets of a payload until one ends the conn. */
static enum err take_packets(struct conn *c, enum payload_format format,
			     struct slice body)
{
	struct buf scratch = BUF_INIT;
	struct payload_reader reader;
	struct payload_packet packet;
	enum err err = ERR_OK;
	bool more = true;

	payload_reader_init(&reader, format, body);
	while (c->state == CONN_OPEN) {
		err = payload_next(&reader, &scratch, &packet, &more);
		if (err != ERR_OK || !more)
			break;
		if (packet.binary)
			conn_on_binary(c, packet.bytes);
		else
			conn_on_text(c, packet.bytes);
	}
	buf_deinit(&scratch);
	return err;
}

bool polling_post_begin(struct conn *c)
{
	struct polling *p = polling_of(c);

	if (p->posting)
		conn_close(c, CONN_CLOSE_TRANSPORT_ERROR);
	p->posting = true;
	return c->state == CONN_OPEN;
}

void polling_post_undo(struct conn *c)
{
	polling_of(c)->posting = false;
}

void polling_post(struct conn *c, struct slice body, bool binary, bool begun,
		  struct exchange *x)
{
	struct polling *p = polling_of(c);
	enum payload_format format = c->version == 4 ? PAYLOAD_V4
				     : binary	     ? PAYLOAD_V3_BINARY
						     : PAYLOAD_V3_TEXT;

	if (c->state != CONN_OPEN) { /* it ends in this turn */
		exchange_answer(x, &(struct answer){.kind = is_clients_fault(c->reason)
								    ? ANSWER_BAD
								    : ANSWER_OK});
		return;
	}
	/* An overlap, or a type that version 4 does not have. */
	if (p->posting != begun || (binary && c->version == 4)) {
		conn_close(c, CONN_CLOSE_TRANSPORT_ERROR);
		exchange_answer(x, &(struct answer){.kind = ANSWER_BAD});
		return;
	}
	p->posting = true;
	p->post = x;
	x->polling = p;
	if (take_packets(c, format, body) != ERR_OK)
		conn_close(c, CONN_CLOSE_PARSE_ERROR);
	/* Else it is answered when what was kept is worked off, or with the end. */
	if (c->state == CONN_OPEN && !c->held)
		answer_post(p, ANSWER_OK);
}

void polling_on_gone(struct exchange *x)
{
	struct polling *p = x->polling;

	if (!p)
		return;
	x->polling = NULL;
	if (p->get == x) {
		list_remove(&p->release);
		p->get = NULL;
		p->conn->choked = true;
	} else {
		p->post = NULL;
	}
	conn_close(p->conn, CONN_CLOSE_TRANSPORT_ERROR);
}

void polling_release(struct exchange *x)
{
	struct polling *p = x->polling;

	if (p && p->get == x && p->conn->state == CONN_OPEN)
		answer_noop(p);
}

bool polling_linger(struct node *n, struct slice sid, bool get, struct exchange *x)
{
	struct last_words *l = table_get(&n->pollings.lingering, sid);

	if (!l)
		return false;
	if (!get) {
		exchange_answer(x, &(struct answer){.kind = ANSWER_OK});
		return true;
	}
	answer_last(x, format_of(l->version, l->base64, buf_view(&l->frames)),
		    buf_view(&l->frames));
	if (l->frames.n)
		buf_deinit(&l->frames);
	else
		linger_free(n, l);
	return true;
}

/* --- upgrade --- */

enum err polling_claim(struct conn *c, struct prober *prober)
{
	struct polling *p = polling_of(c);

	if (p->prober)
		return ERR_EXISTS;
	p->prober = prober;
	return ERR_OK;
}

void polling_probed(struct conn *c)
{
	struct polling *p = polling_of(c);

	p->probed = true;
	if (p->get && !c->outbox.count)
		answer_noop(p);
}

void polling_unclaim(struct conn *c)
{
	struct polling *p = polling_of(c);

	p->prober = NULL;
	p->probed = false;
	list_remove(&p->release);
}

struct prober *polling_prober(const struct conn *c)
{
	return polling_of(c)->prober;
}

void polling_detach(struct conn *c)
{
	struct polling *p = polling_of(c);

	if (p->post)
		answer_post(p, ANSWER_OK);
	if (p->get)
		answer_noop(p);
	conn_unset_transport(c);
	polling_free(p);
}
