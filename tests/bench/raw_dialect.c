#include "tests/bench/raw_dialect.h"

void dialect_frame(struct client *c, enum wire_opcode opcode, struct slice payload)
{
	wire_frame(&c->ws.out, opcode, 0x5ca1ab1eu + c->number, payload);
}

static void send_text(struct client *c, struct buf *text)
{
	dialect_frame(c, WIRE_TEXT, buf_view(text));
	buf_deinit(text);
}

void dialect_enter(struct client *c, const struct client_context *x)
{
	if (c->state == CLIENT_MEMBER)
		return;
	c->state = CLIENT_MEMBER;
	x->ops->on_member(c);
}

static void deliver(struct client *c, const struct client_context *x, struct slice text)
{
	if (c->state == CLIENT_MEMBER)
		x->ops->on_event(c, text);
}

static void acknowledge(struct client *c, const struct client_context *x)
{
	if (c->state == CLIENT_MEMBER)
		x->ops->on_ack(c, c->polling->acked++, SLICE_EMPTY);
}

static void deliver_or_acknowledge(struct client *c, const struct client_context *x,
				   struct slice text)
{
	/* Of an echo the sender is the only member, of all else it waits for no ack. */
	if (c->polling->echoes)
		acknowledge(c, x);
	else
		deliver(c, x, text);
}

/* --- plain: plain_loop.c, and Bun's topics by the same words --- */

static void plain_path(struct slice room, bool outside, struct buf *out)
{
	(void)room;
	(void)outside;
	buf_byte(out, '/');
}

static bool plain_greet(struct client *c, struct slice room)
{
	struct buf text = BUF_INIT;

	if (c->outside)
		return false;
	buf_byte(&text, 'J');
	buf_slice(&text, room);
	send_text(c, &text);
	return true;
}

static void plain_send(struct client *c, const struct asked *asked)
{
	struct buf text = BUF_INIT;

	buf_byte(&text, asked->is_echo ? 'E' : 'P');
	if (!asked->is_echo) {
		buf_slice(&text, asked->room);
		buf_byte(&text, ' ');
	}
	buf_slice(&text, asked->message);
	send_text(c, &text);
}

static void plain_on_text(struct client *c, const struct client_context *x,
			  struct slice text)
{
	if (slice_eq(text, SLICE_LIT("j")))
		dialect_enter(c, x);
	else if (slice_starts(text, SLICE_LIT("e")))
		acknowledge(c, x);
	else
		deliver(c, x, text);
}

/* --- nchan: the room is in the path, and all that is said is published to it --- */

static void nchan_path(struct slice room, bool outside, struct buf *out)
{
	buf_str(out, outside ? "/pub/" : "/pubsub/");
	buf_slice(out, room);
}

static bool nchan_greet(struct client *c, struct slice room)
{
	(void)c;
	(void)room;
	return false;
}

static void nchan_send(struct client *c, const struct asked *asked)
{
	c->polling->echoes = asked->is_echo;
	dialect_frame(c, WIRE_TEXT, asked->message);
}

/* It tells publishers what became of each message; that is none. */
static bool is_nchan_receipt(struct slice text)
{
	return slice_starts(text, SLICE_LIT("queued messages:"));
}

static void nchan_on_text(struct client *c, const struct client_context *x,
			  struct slice text)
{
	if (!is_nchan_receipt(text))
		deliver_or_acknowledge(c, x, text);
}

/* --- nats: its text protocol, in binary messages whose ends mean nothing --- */

static bool nats_greet(struct client *c, struct slice room)
{
	struct buf text = BUF_INIT;

	buf_str(&text, "CONNECT {\"verbose\":false,\"pedantic\":false}\r\n");
	if (!c->outside) {
		buf_str(&text, "SUB ");
		buf_slice(&text, room);
		buf_str(&text, " 1\r\n");
	}
	buf_str(&text, "PING\r\n");
	dialect_frame(c, WIRE_BINARY, buf_view(&text));
	buf_deinit(&text);
	return true;
}

static void nats_send(struct client *c, const struct asked *asked)
{
	struct buf text = BUF_INIT;

	c->polling->echoes = asked->is_echo;
	buf_str(&text, "PUB ");
	buf_slice(&text, asked->room);
	buf_printf(&text, " %zu\r\n", asked->message.n);
	buf_slice(&text, asked->message);
	buf_str(&text, "\r\n");
	dialect_frame(c, WIRE_BINARY, buf_view(&text));
	buf_deinit(&text);
}

/* How many bytes follow a line "MSG <subject> <sid> <bytes>". */
static size_t nats_payload(struct slice line)
{
	size_t n = 0, at = line.n;

	while (at && line.p[at - 1] != ' ')
		at--;
	for (; at < line.n && line.p[at] >= '0' && line.p[at] <= '9'; at++)
		n = n * 10 + (line.p[at] - '0');
	return n;
}

/* One line, and what follows it; how many bytes, 0: not whole yet. */
static size_t nats_take(struct client *c, const struct client_context *x, struct slice in)
{
	const uint8_t *end = memmem(in.p, in.n, "\r\n", 2);
	struct slice line;
	size_t n, payload;

	if (!end)
		return 0;
	line = slice_of(in.p, (size_t)(end - in.p));
	n = line.n + 2;
	if (slice_starts(line, SLICE_LIT("MSG "))) {
		payload = nats_payload(line);
		if (in.n < n + payload + 2)
			return 0;
		deliver_or_acknowledge(c, x, slice_of(in.p + n, payload));
		return n + payload + 2;
	}
	if (slice_starts(line, SLICE_LIT("PONG")))
		dialect_enter(c, x);
	else if (slice_starts(line, SLICE_LIT("PING")))
		dialect_frame(c, WIRE_BINARY, SLICE_LIT("PONG\r\n"));
	else if (slice_starts(line, SLICE_LIT("-ERR")))
		client_fail(c, x, CLIENT_ERROR_REFUSED, "NATS says -ERR");
	return n;
}

static void nats_on_text(struct client *c, const struct client_context *x,
			 struct slice text)
{
	struct buf joined = c->fragments;
	size_t n;

	c->fragments = BUF_INIT;
	if (joined.n) {
		buf_slice(&joined, text);
		text = buf_view(&joined);
	}
	while (!dialect_is_over(c) && (n = nats_take(c, x, text)))
		text = slice_skip(text, n);
	if (!dialect_is_over(c))
		buf_slice(&c->fragments, text);
	buf_deinit(&joined);
}

/* --- http: fixed_body.c; an echo is a GET and a POST, as with long-polling --- */

static bool http_greet(struct client *c, struct slice room)
{
	(void)room;
	c->polling->waits = 1;
	wire_get(&c->ws.out, "localhost", "/", "");
	return true;
}

static void http_send(struct client *c, const struct asked *asked)
{
	c->polling->waits += 2;
	wire_get(&c->ws.out, "localhost", "/",
		 "?EIO=4&transport=polling&sid=01234567890123456789");
	wire_post(&c->polling->post.out, "localhost", "/",
		  "?EIO=4&transport=polling&sid=01234567890123456789", asked->message);
}

static void http_on_text(struct client *c, const struct client_context *x,
			 struct slice text)
{
	(void)text;
	c->polling->waits--;
	if (c->state != CLIENT_MEMBER)
		dialect_enter(c, x);
	else if (c->polling->waits % 2 == 0)
		acknowledge(c, x);
}

static const struct dialect dialects[] = {
	{"plain", true, plain_path, plain_greet, plain_send, plain_on_text},
	{"nchan", true, nchan_path, nchan_greet, nchan_send, nchan_on_text},
	{"nats", true, plain_path, nats_greet, nats_send, nats_on_text},
	{"http", false, plain_path, http_greet, http_send, http_on_text},
};

const struct dialect *dialect_find(const char *name)
{
	for (size_t i = 0; i < sizeof(dialects) / sizeof(dialects[0]); i++) {
		if (strcmp(dialects[i].name, name) == 0)
			return &dialects[i];
	}
	return NULL;
}
