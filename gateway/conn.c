#include "gateway/conn.h"

#include <assert.h>
#include <stdlib.h>

#include "gateway/conn_packet.h"
#include "gateway/log.h"
#include "gateway/move.h"
#include "gateway/node.h"
#include "gateway/resume.h"
#include "gateway/socket.h"
#include "proto/mem.h"
#include "proto/payload.h"

enum {
	/* A throttled conn is looked at again after this long, or one packet's time. */
	CONN_THROTTLE_MS = 20,
};

/* Packets that came while the conn was held: each a length and a kind, then its bytes. */
struct conn_held {
	struct buf packets;
	size_t done; /* bytes of `packets` already worked off */
};

struct held_head {
	size_t n;
	bool binary;
};

const char *conn_close_text(enum conn_close reason)
{
	static const char *const texts[] = {
#define CONN_CLOSE_TEXT_(name, text, metric) [CONN_CLOSE_##name] = (text),
		CONN_CLOSE_TABLE(CONN_CLOSE_TEXT_)
#undef CONN_CLOSE_TEXT_
	};
	return texts[reason];
}

static void count_close(struct metrics *m, enum conn_close reason)
{
	switch (reason) {
#define CONN_CLOSE_COUNT_(name, text, metric)                                            \
	case CONN_CLOSE_##name:                                                          \
		m->metric++;                                                             \
		break;
		CONN_CLOSE_TABLE(CONN_CLOSE_COUNT_)
#undef CONN_CLOSE_COUNT_
	}
}

/* The one place where the state changes. */
static void set_state(struct conn *c, enum conn_state to)
{
	static const unsigned from[] = {
		[CONN_ARRIVING] = 0,
		[CONN_OPEN] = 1u << CONN_ARRIVING,
		[CONN_LEAVING] = 1u << CONN_OPEN,
		[CONN_HANDED] = 1u << CONN_LEAVING,
		[CONN_CLOSING] = 1u << CONN_ARRIVING | 1u << CONN_OPEN |
				 1u << CONN_LEAVING | 1u << CONN_HANDED,
		[CONN_CLOSED] = 1u << CONN_CLOSING,
	};

	assert(from[to] & 1u << c->state);
	c->state = to;
}

static void send_open(struct conn *c, bool upgradable)
{
	const struct config *config = c->node->config;
	struct eio_open open = {
		.sid = conn_id(c),
		.upgrade_websocket = upgradable,
		.ping_interval_ms = config->ping_interval_ms,
		.ping_timeout_ms = config->ping_timeout_ms,
		.max_payload = config->max_http_buffer_size,
	};
	struct buf text = BUF_INIT;
	struct frame *f;

	eio_encode_open(&open, &text);
	f = frame_ws_eio(EIO_OPEN, slice_skip(buf_view(&text), 1));
	buf_deinit(&text);
	conn_send(c, f, false);
	frame_unref(f);
}

void conn_set_heartbeat(struct conn *c, struct link *list, uint64_t at)
{
	struct link *after;

	list_remove(&c->heartbeat);
	/* Its place is the end, but for a conn that brings its times along. */
	for (after = list->prev; after != list; after = after->prev) {
		if (container_of(after, struct conn, heartbeat)->heartbeat_at <= at)
			break;
	}
	list_push(after->next, &c->heartbeat);
	c->heartbeat_at = at;
}

void conn_set_waiting(struct conn *c, struct link *list, uint64_t at)
{
	struct link *after;

	list_remove(&c->waiting);
	for (after = list->prev; after != list; after = after->prev) {
		if (container_of(after, struct conn, waiting)->waiting_at <= at)
			break;
	}
	list_push(after->next, &c->waiting);
	c->waiting_at = at;
}

static struct conn *conn_alloc(struct node *n, enum conn_state state, uint8_t version)
{
	struct conn *c = mem_zalloc(1, sizeof(*c));

	c->node = n;
	c->state = state;
	c->version = version;
	outbox_init(&c->outbox);
	link_init(&c->dirty);
	link_init(&c->heartbeat);
	link_init(&c->waiting);
	link_init(&c->throttle);
	list_push(&n->conns.all, &c->all);
	n->conns.n++;
	c->rate_at = (uint32_t)env_now_ms(n->env);
	return c;
}

void conn_set_address(struct conn *c, struct address address)
{
	assert(c->address.family == ADDRESS_NONE);
	c->address = address;
	if (c->node->config->max_conns_per_address)
		address_book_add(&c->node->addresses, &address, ADDRESS_CONNS);
}

enum frame_encoding conn_encoding(const struct conn *c)
{
	enum frame_encoding first =
		c->parser == PARSER_MSGPACK ? FRAME_MSGPACK : FRAME_JSON;
	int wire = c->version == 4 ? 0 : c->base64 ? 2 : 1;

	static_assert(FRAME_JSON_V3 == FRAME_JSON + 1 &&
			      FRAME_JSON_V3_BASE64 == FRAME_JSON + 2 &&
			      FRAME_MSGPACK_V3 == FRAME_MSGPACK + 1 &&
			      FRAME_MSGPACK_V3_BASE64 == FRAME_MSGPACK + 2,
		      "each parser's in the order of `wire`");
	return (enum frame_encoding)((int)first + wire);
}

static enum conn_parser configured_parser(const struct config *config)
{
	if (strcmp(config->parser, "json") == 0)
		return PARSER_JSON;
	return strcmp(config->parser, "msgpack") == 0 ? PARSER_MSGPACK : PARSER_AUTO;
}

static void set_first_heartbeat(struct conn *c, uint64_t now)
{
	const struct config *config = c->node->config;

	if (c->version == 4)
		conn_set_heartbeat(c, &c->node->conns.ping_due,
				   now + config->ping_interval_ms);
	else
		conn_set_heartbeat(c, &c->node->conns.silence_due,
				   now + config->ping_interval_ms +
					   config->ping_timeout_ms);
}

/* The CONNECT that clients of version 3 leave to the server. It can have to wait, like
 * one that was sent. */
static void connect_root(struct conn *c)
{
	static const struct slice connect = SLICE_INIT("\x82\xa4type\x00\xa3nsp\xa1/");

	if (c->parser == PARSER_MSGPACK)
		conn_on_binary(c, connect);
	else
		conn_on_text(c, SLICE_LIT("40"));
}

struct conn *conn_new(struct node *n, const struct transport_ops *ops, void *transport,
		      const struct eio_query *q, bool upgradable)
{
	struct conn *c = conn_alloc(n, CONN_OPEN, (uint8_t)q->version);
	uint64_t now = env_now_ms(n->env);

	c->ops = ops;
	c->transport = transport;
	n->metrics.conns_opened++;
	node_new_id(n, c->id);
	table_add(&n->conns.by_id, conn_id(c), c);
	c->rate_credit = (int64_t)n->config->event_rate * 2000;
	c->base64 = q->base64;
	c->parser = configured_parser(n->config);
	/* It hears of "/" before it has said anything. */
	if (c->version == 3 && c->parser == PARSER_AUTO)
		c->parser = PARSER_JSON;
	set_first_heartbeat(c, now);
	conn_set_waiting(c, &n->conns.connect_due, now + n->config->connect_timeout_ms);
	send_open(c, upgradable);
	if (c->version == 3)
		connect_root(c);
	return c;
}

static enum transport_result nowhere_write(void *transport, struct slice bytes)
{
	(void)transport;
	(void)bytes;
	return TRANSPORT_CHOKED;
}

static void nowhere_read(void *transport, bool on)
{
	(void)transport;
	(void)on;
}

static void nowhere_close(void *transport, enum conn_close reason)
{
	(void)transport;
	(void)reason;
}

static const struct transport_ops nowhere = {
	.write = nowhere_write, .read = nowhere_read, .close = nowhere_close};

void conn_unset_transport(struct conn *c)
{
	c->ops = &nowhere;
	c->transport = NULL;
	c->choked = true;
}

/* --- moving --- */

struct conn *conn_arrive(struct node *n, struct slice id, uint8_t version,
			 struct move_in *in)
{
	struct conn *c = conn_alloc(n, CONN_ARRIVING, version);

	assert(id.n == ID_LEN);
	memcpy(c->id, id.p, ID_LEN);
	table_add(&n->conns.by_id, conn_id(c), c);
	conn_unset_transport(c);
	c->rooted = true; /* what it held was worked off */
	c->move.in = in;
	return c;
}

void conn_arrived(struct conn *c)
{
	set_state(c, CONN_OPEN);
	c->move.in = NULL;
	conns_on_arrived(c);
	recovery_on_arrived(c);
}

void conn_leave(struct conn *c, struct move_out *out)
{
	set_state(c, CONN_LEAVING);
	c->move.out = out;
	list_remove(&c->heartbeat);
	if (!c->waiting_backend)
		list_remove(&c->waiting);
	conn_on_idle(c);
}

void conn_handed(struct conn *c)
{
	set_state(c, CONN_HANDED);
	outbox_deinit(&c->outbox);
	for (struct socket *s = c->sockets; s; s = s->conn_next)
		acks_stop(s);
}

void conn_on_idle(struct conn *c)
{
	if (c->state == CONN_LEAVING && list_empty(&c->dirty))
		list_push(&c->node->conns.dirty, &c->dirty);
}

bool conn_is_idle(const struct conn *c)
{
	for (const struct socket *s = c->sockets; s; s = s->conn_next) {
		if (s->begun || !list_empty(&s->ops))
			return false;
	}
	return !c->held && !c->holds;
}

void conn_set_transport(struct conn *c, const struct transport_ops *ops, void *transport)
{
	assert(c->state == CONN_OPEN);
	c->ops = ops;
	c->transport = transport;
	conn_on_writable(c);
	if (c->held)
		ops->read(transport, false);
}

static void begin_end(struct conn *c)
{
	set_state(c, CONN_CLOSING);
	list_remove(&c->heartbeat);
	list_remove(&c->throttle);
	list_remove(&c->waiting);
	list_push(&c->node->conns.closing, &c->waiting);
}

void conn_close(struct conn *c, enum conn_close reason)
{
	if (c->state >= CONN_CLOSING)
		return;
	if (c->state == CONN_ARRIVING) { /* its owner is the other node */
		conn_drop(c);
		return;
	}
	c->reason = reason;
	count_close(&c->node->metrics, reason);
	if (c->state != CONN_OPEN)
		move_out_on_conn_gone(c->move.out);
	begin_end(c);
}

/* Those that nobody has met. Their ids are subscribed to by name, and before this turn
 * ends another connection may come back as one of them. */
static void drop_unentered(struct conn *c)
{
	struct socket *s = c->sockets, *next;

	for (; s; s = next) {
		next = s->conn_next;
		if (!s->entered)
			socket_drop(s);
	}
}

void conn_drop(struct conn *c)
{
	if (c->state >= CONN_CLOSING)
		return;
	c->silent = true;
	if (c->state == CONN_ARRIVING && c->move.in)
		move_in_on_conn_gone(c->move.in);
	begin_end(c);
	drop_unentered(c);
}

void conn_on_transport_closed(struct conn *c, enum conn_close reason)
{
	c->transport = NULL;
	conn_close(c, reason);
}

/* --- sending --- */

void conn_send(struct conn *c, struct frame *f, bool droppable)
{
	struct node *n = c->node;

	if (!conn_is_live(c) && !(c->state == CONN_ARRIVING && c->fenced))
		return;
	if (outbox_push(&c->outbox, f, n->config->outbox_bytes_max) != ERR_OK) {
		if (droppable)
			n->metrics.outbox_dropped++;
		else
			conn_close(c, CONN_CLOSE_SLOW_READER);
		return;
	}
	if (!c->choked && list_empty(&c->dirty))
		list_push(&n->conns.dirty, &c->dirty);
}

/* Offer the transport the first frames as one piece of bytes; `*taken`: how many. */
static enum transport_result write_some(struct conn *c, uint32_t *taken)
{
	struct buf *scratch = &c->node->conns.scratch;
	struct metrics *m = &c->node->metrics;
	struct slice bytes = frame_view(outbox_at(&c->outbox, 0));
	uint64_t packets = outbox_at(&c->outbox, 0)->packets;
	enum transport_result result;
	uint32_t n = 1;

	/* One frame goes out from the buffer all its receivers share. */
	if (c->outbox.count > 1 && bytes.n < c->ops->gather_bytes_max) {
		buf_clear(scratch);
		buf_slice(scratch, bytes);
		for (; n < c->outbox.count; n++) {
			struct frame *f = outbox_at(&c->outbox, n);

			if (scratch->n + f->n > c->ops->gather_bytes_max)
				break;
			buf_slice(scratch, frame_view(f));
			packets += f->packets;
		}
		bytes = buf_view(scratch);
	}
	result = c->ops->write(c->transport, bytes);
	*taken = n;
	m->writes++;
	m->packets_out += packets;
	m->bytes_out += bytes.n;
	return result;
}

static void flush(struct conn *c)
{
	while (c->outbox.count && !c->choked && c->transport) {
		uint32_t taken;

		switch (write_some(c, &taken)) {
		case TRANSPORT_SENT:
			break;
		case TRANSPORT_CHOKED:
			c->choked = true;
			break;
		case TRANSPORT_BROKEN:
			c->transport = NULL;
			conn_close(c, CONN_CLOSE_PEER);
			return;
		}
		outbox_pop(&c->outbox, taken);
	}
	if (c->resume)
		resume_on_drained(c->resume);
}

void conn_on_writable(struct conn *c)
{
	c->choked = false;
	if (c->state == CONN_OPEN && c->outbox.count && list_empty(&c->dirty))
		list_push(&c->node->conns.dirty, &c->dirty);
}

/* --- holding --- */

static void free_held(struct conn *c)
{
	if (!c->held)
		return;
	buf_deinit(&c->held->packets);
	free(c->held);
	c->held = NULL;
}

static void keep(struct conn *c, struct slice bytes, bool binary)
{
	struct held_head head = {bytes.n, binary};

	if (!c->held) {
		c->held = mem_zalloc(1, sizeof(*c->held));
		c->ops->read(c->transport, false);
	}
	buf_append(&c->held->packets, &head, sizeof(head));
	buf_slice(&c->held->packets, bytes);
}

/* Work off what was kept, until held again. Runs from conns_turn alone, so that no packet
 * is handled while another one is. */
static void resume(struct conn *c)
{
	struct conn_held *h = c->held;

	while (h->done < h->packets.n && !c->holds && conn_is_live(c)) {
		struct held_head head;
		struct slice bytes;

		memcpy(&head, h->packets.p + h->done, sizeof(head));
		bytes = slice_of(h->packets.p + h->done + sizeof(head), head.n);
		if (!conn_packet(c, bytes, head.binary))
			break;
		h->done += sizeof(head) + head.n;
	}
	if (h->done == h->packets.n && conn_is_live(c)) {
		free_held(c);
		c->ops->read(c->transport, true);
		conn_on_idle(c);
	}
}

void conn_hold(struct conn *c)
{
	c->holds++;
	assert(c->holds);
}

void conn_release(struct conn *c)
{
	assert(c->holds);
	if (--c->holds == 0 && (c->held || c->state == CONN_LEAVING) && conn_is_live(c) &&
	    list_empty(&c->dirty))
		list_push(&c->node->conns.dirty, &c->dirty);
}

void conn_wait_backend(struct conn *c)
{
	assert(!c->waiting_backend);
	c->waiting_backend = true;
	conn_hold(c);
	conn_set_waiting(c, &c->node->conns.backend_due,
			 env_now_ms(c->node->env) + c->node->config->publish_wait_ms);
}

/* --- receiving --- */

/* Credit for the time that has passed. A token bucket in thousandths of a packet that
 * holds two seconds' worth. */
static void refill(struct conn *c, uint64_t now)
{
	int64_t rate = (int64_t)c->node->config->event_rate;

	/* Who was silent for 50 days gets less than it could have. */
	c->rate_credit += (int64_t)((uint32_t)now - c->rate_at) * rate;
	if (c->rate_credit > rate * 2000)
		c->rate_credit = rate * 2000;
	c->rate_at = (uint32_t)now;
}

static void throttle(struct conn *c, uint64_t now)
{
	uint64_t pause = 1000 / c->node->config->event_rate;

	list_push(&c->node->conns.throttled, &c->throttle);
	c->throttle_at = now + (pause < CONN_THROTTLE_MS ? CONN_THROTTLE_MS : pause);
}

/* Who empties the bucket is held for a moment. */
void conn_charge(struct conn *c, uint32_t packets)
{
	struct node *n = c->node;
	uint64_t now;

	if (n->config->event_rate == 0 || !conn_is_live(c))
		return;
	c->rate_credit -= 1000 * (int64_t)packets;
	if (c->rate_credit >= 0)
		return;
	now = env_now_ms(n->env);
	refill(c, now);
	if (c->rate_credit < 0 && list_empty(&c->throttle)) {
		n->metrics.throttled++;
		conn_hold(c);
		throttle(c, now);
	}
}

/* Much may have come before it could be stopped, a TLS record full of packets: that is
 * paid for before it is worked off. */
void conn_throttle_over(struct conn *c, uint64_t now)
{
	refill(c, now);
	if (c->rate_credit < 0)
		throttle(c, now);
	else
		conn_release(c);
}

static void on_packet(struct conn *c, struct slice bytes, bool binary)
{
	struct metrics *m = &c->node->metrics;

	if (c->state != CONN_OPEN)
		return;
	m->packets_in++;
	m->bytes_in += bytes.n;
	if (c->held || c->holds || !conn_packet(c, bytes, binary))
		keep(c, bytes, binary);
	conn_charge(c, 1);
}

void conn_on_text(struct conn *c, struct slice text)
{
	on_packet(c, text, false);
}

void conn_on_binary(struct conn *c, struct slice bytes)
{
	on_packet(c, bytes, true);
}

void conn_on_frame(struct conn *c, struct slice bytes, bool binary)
{
	struct payload_packet packet = {.binary = binary, .bytes = bytes};
	struct buf scratch = BUF_INIT;

	if (c->version == 3 &&
	    payload_v3_frame(bytes, binary, &scratch, &packet) != ERR_OK)
		conn_close(c, CONN_CLOSE_PARSE_ERROR);
	else
		on_packet(c, packet.bytes, packet.binary);
	buf_deinit(&scratch);
}

void conn_on_connected(struct conn *c)
{
	if (c->waiting_backend)
		return;
	list_remove(&c->waiting);
	c->waiting_at = 0;
}

void conn_on_pong(struct conn *c)
{
	struct node *n = c->node;

	if (!c->awaiting_pong || !conn_is_live(c))
		return;
	c->awaiting_pong = false;
	recovery_on_pong(c);
	c->heartbeat_at = env_now_ms(n->env) + n->config->ping_interval_ms;
	if (c->state == CONN_OPEN) /* one that leaves takes the time along */
		conn_set_heartbeat(c, &n->conns.ping_due, c->heartbeat_at);
}

void conn_on_ping(struct conn *c)
{
	struct node *n = c->node;

	if (!conn_is_live(c))
		return;
	c->heartbeat_at = env_now_ms(n->env) + n->config->ping_interval_ms +
			  n->config->ping_timeout_ms;
	if (c->state == CONN_OPEN)
		conn_set_heartbeat(c, &n->conns.silence_due, c->heartbeat_at);
	conn_send(c, n->conns.pong, false);
	sockets_check_expiry(c);
}

/* --- ending --- */

/* Its sockets end; what they and their applications have to say goes out. */
static void end_aloud(struct conn *c)
{
	char address[ADDRESS_TEXT_MAX];

	while (c->sockets)
		socket_close(c->sockets, conn_close_text(c->reason));
	if (c->ops->keeps_last_writes)
		c->choked = false;
	if (c->reason != CONN_CLOSE_SLOW_READER)
		flush(c);
	if (log_enabled(LOG_DEBUG))
		log_event(LOG_DEBUG, "conn_closed", "conn=%.*s address=%s reason=%s",
			  ID_LEN, c->id, address_print(&c->address, address),
			  conn_close_text(c->reason));
}

void conn_take_out(struct conn *c)
{
	struct node *n = c->node;

	set_state(c, CONN_CLOSED);
	if (c->resume)
		resume_on_conn_gone(c->resume);
	table_remove(&n->conns.by_id, conn_id(c));
	if (!c->silent)
		end_aloud(c);
	while (c->sockets)
		socket_drop(c->sockets);
	if (c->transport)
		c->ops->close(c->transport, c->reason);
	if (n->config->max_conns_per_address)
		address_book_remove(&n->addresses, &c->address, ADDRESS_CONNS);
	free_held(c);
	sio_decoder_free(c->decoder);
	outbox_deinit(&c->outbox);
	list_remove(&c->dirty);
	list_remove(&c->all);
	n->conns.n--;
	free(c);
}

bool conn_work(struct conn *c)
{
	bool resumed = c->held && !c->holds;

	if (resumed)
		resume(c);
	if (c->state == CONN_OPEN)
		flush(c);
	else if (c->state == CONN_LEAVING && c->resume)
		resume_on_drained(c->resume);
	else if (c->state == CONN_LEAVING)
		move_out_check(c->move.out);
	return resumed;
}
