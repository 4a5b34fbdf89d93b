#include "tests/bench/raw_client.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "bench/client.h"
#include "bench/wire.h"
#include "proto/mem.h"

enum { READ_BYTES = 256 * 1024 };

/* What these clients keep beside `struct client`. */
struct polling {
	uint64_t acked;	  /* echoes, which come back in order */
	struct pipe post; /* of http: the second connection */
	unsigned waits;	  /* of http: answers that are due */
	bool echoes;	  /* nchan, nats: what comes answers an echo */
};

/* An event of --emit or --echo: ["name","room","message"]. */
struct asked {
	bool is_echo;
	struct slice room, message;
};

struct dialect {
	const char *name;
	bool is_websocket;
	/* The path to ask for, behind the one of the URL. */
	void (*path)(struct slice room, bool outside, struct buf *out);
	/* What to say when it is up; false: nothing, it is a member. */
	bool (*greet)(struct client *c, struct slice room);
	void (*send)(struct client *c, const struct client_context *x,
		     const struct asked *asked);
	void (*on_text)(struct client *c, const struct client_context *x,
			struct slice text);
};

static const struct dialect *dialect;

/* --- endings, as in bench/client.c --- */

static bool is_over(const struct client *c)
{
	return c->state == CLIENT_FAILED || c->state == CLIENT_GONE;
}

static void release(struct client *c)
{
	pipe_close(&c->ws);
	pipe_close(&c->polling->post);
	buf_deinit(&c->fragments);
}

static void gone(struct client *c, const struct client_context *x)
{
	release(c);
	c->state = CLIENT_GONE;
	x->ops->on_gone(c);
}

void client_fail(struct client *c, const struct client_context *x,
		 enum client_error error, const char *text)
{
	if (is_over(c))
		return;
	if (c->state == CLIENT_CLOSING) {
		gone(c, x);
		return;
	}
	release(c);
	c->state = CLIENT_FAILED;
	x->ops->on_failed(c, error, text);
}

static void fail_errno(struct client *c, const struct client_context *x, enum err err,
		       enum client_error error)
{
	client_fail(c, x, err == ERR_FULL ? CLIENT_ERROR_RESOURCES : error,
		    strerror(errno));
}

void client_init(struct client *c, uint32_t number, enum client_transport transport)
{
	*c = (struct client){.number = number, .transport = transport};
	pipe_init(&c->ws, c);
	c->polling = mem_zalloc(1, sizeof(*c->polling));
	pipe_init(&c->polling->post, c);
}

void client_deinit(struct client *c)
{
	release(c);
	free(c->polling);
	c->polling = NULL;
}

/* --- sending --- */

static void flush(struct client *c, const struct client_context *x, struct pipe *p)
{
	if (pipe_flush(p, x->net) != ERR_OK)
		fail_errno(c, x, ERR_IO, CLIENT_ERROR_IO);
}

static void send_frame(struct client *c, enum wire_opcode opcode, struct slice payload)
{
	wire_frame(&c->ws.out, opcode, 0x5ca1ab1eu + c->number, payload);
}

static void send_text(struct client *c, struct buf *text)
{
	send_frame(c, WIRE_TEXT, buf_view(text));
	buf_deinit(text);
}

void client_flush(struct client *c, const struct client_context *x)
{
	if (!is_over(c))
		flush(c, x, &c->ws);
	if (!is_over(c) && c->polling->post.state == PIPE_UP)
		flush(c, x, &c->polling->post);
}

size_t client_backlog(const struct client *c)
{
	return c->ws.out.n + c->polling->post.out.n;
}

/* The text between the next two quotes of *rest. */
static struct slice next_string(struct slice *rest)
{
	const uint8_t *begin = memchr(rest->p, '"', rest->n), *end;

	assert(begin);
	*rest = slice_skip(*rest, (size_t)(begin - rest->p) + 1);
	end = memchr(rest->p, '"', rest->n);
	assert(end);
	begin = rest->p;
	*rest = slice_skip(*rest, (size_t)(end - begin) + 1);
	return slice_of(begin, (size_t)(end - begin));
}

void client_send(struct client *c, struct slice packet)
{
	struct asked asked = {0};

	assert(c->state == CLIENT_MEMBER);
	asked.is_echo = slice_eq(next_string(&packet), SLICE_LIT("echo"));
	asked.room = next_string(&packet);
	asked.message = next_string(&packet);
	dialect->send(c, NULL, &asked);
}

/* --- what arrives --- */

static void become_member(struct client *c, const struct client_context *x)
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

static void plain_send(struct client *c, const struct client_context *x,
		       const struct asked *asked)
{
	struct buf text = BUF_INIT;

	(void)x;
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
		become_member(c, x);
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

static void nchan_send(struct client *c, const struct client_context *x,
		       const struct asked *asked)
{
	(void)x;
	c->polling->echoes = asked->is_echo;
	send_frame(c, WIRE_TEXT, asked->message);
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
	send_frame(c, WIRE_BINARY, buf_view(&text));
	buf_deinit(&text);
	return true;
}

static void nats_send(struct client *c, const struct client_context *x,
		      const struct asked *asked)
{
	struct buf text = BUF_INIT;

	(void)x;
	c->polling->echoes = asked->is_echo;
	buf_str(&text, "PUB ");
	buf_slice(&text, asked->room);
	buf_printf(&text, " %zu\r\n", asked->message.n);
	buf_slice(&text, asked->message);
	buf_str(&text, "\r\n");
	send_frame(c, WIRE_BINARY, buf_view(&text));
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
		become_member(c, x);
	else if (slice_starts(line, SLICE_LIT("PING")))
		send_frame(c, WIRE_BINARY, SLICE_LIT("PONG\r\n"));
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
	while (!is_over(c) && (n = nats_take(c, x, text)))
		text = slice_skip(text, n);
	if (!is_over(c))
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

static void http_send(struct client *c, const struct client_context *x,
		      const struct asked *asked)
{
	(void)x;
	c->polling->waits += 2;
	wire_get(&c->ws.out, "localhost", "/",
		 "?EIO=4&transport=polling&sid=01234567890123456789");
	wire_post(&c->polling->post.out, "localhost", "/",
		  "?EIO=4&transport=polling&sid=01234567890123456789", asked->message);
}

static void http_on_answer(struct client *c, const struct client_context *x)
{
	x->ops->on_answer(c);
	c->polling->waits--;
	if (c->state != CLIENT_MEMBER)
		become_member(c, x);
	else if (c->polling->waits % 2 == 0)
		acknowledge(c, x);
}

static const struct dialect dialects[] = {
	{"plain", true, plain_path, plain_greet, plain_send, plain_on_text},
	{"nchan", true, nchan_path, nchan_greet, nchan_send, nchan_on_text},
	{"nats", true, plain_path, nats_greet, nats_send, nats_on_text},
	{"http", false, plain_path, http_greet, http_send, NULL},
};

bool raw_client_speak(const char *name)
{
	for (size_t i = 0; i < sizeof(dialects) / sizeof(dialects[0]); i++) {
		if (strcmp(dialects[i].name, name) == 0)
			dialect = &dialects[i];
	}
	return dialect != NULL;
}

/* --- WebSocket and HTTP --- */

static struct slice room_of(struct client *c, const struct client_context *x,
			    struct buf *packet)
{
	bool replies;
	struct slice rest;

	if (!x->ops->join(c, packet, &replies))
		return SLICE_EMPTY;
	rest = buf_view(packet);
	next_string(&rest);
	return next_string(&rest);
}

static void greet(struct client *c, const struct client_context *x)
{
	struct buf packet = BUF_INIT;
	struct slice room = room_of(c, x, &packet);

	c->upgraded = true;
	c->state = CLIENT_JOINING;
	if (!dialect->greet(c, room))
		become_member(c, x);
	buf_deinit(&packet);
}

static void on_frame(struct client *c, const struct client_context *x,
		     const struct wire_frame *f)
{
	switch (f->opcode) {
	case WIRE_CLOSE:
		client_fail(c, x, CLIENT_ERROR_CLOSED, "WebSocket closed");
		return;
	case WIRE_PING:
		send_frame(c, WIRE_PONG, f->payload);
		return;
	case WIRE_PONG:
		return;
	case WIRE_TEXT:
	case WIRE_BINARY:
	case WIRE_MORE:
		if (!f->last)
			client_fail(c, x, CLIENT_ERROR_PROTOCOL, "a fragment");
		else
			dialect->on_text(c, x, f->payload);
	}
}

static size_t take_response(struct client *c, const struct client_context *x,
			    struct slice in)
{
	struct wire_response r;
	enum err err = wire_response(in, &r);

	if (err == ERR_TRUNCATED)
		return 0;
	if (err != ERR_OK || (dialect->is_websocket ? !r.websocket : r.status != 200)) {
		client_fail(c, x, CLIENT_ERROR_HTTP, "not the answer asked for");
		return 0;
	}
	if (dialect->is_websocket)
		greet(c, x);
	else
		http_on_answer(c, x);
	return r.bytes;
}

static size_t take_frame(struct client *c, const struct client_context *x,
			 struct slice in)
{
	struct wire_frame f;
	enum err err = wire_take_frame(in, &f);

	if (err == ERR_TRUNCATED)
		return 0;
	if (err != ERR_OK) {
		client_fail(c, x, CLIENT_ERROR_PROTOCOL, "bad frame");
		return 0;
	}
	on_frame(c, x, &f);
	return f.bytes;
}

static void on_bytes(struct client *c, const struct client_context *x, struct pipe *p,
		     struct slice in)
{
	struct buf joined = p->in;

	p->in = BUF_INIT;
	if (joined.n) {
		buf_slice(&joined, in);
		in = buf_view(&joined);
	}
	while (in.n && !is_over(c)) {
		size_t n = dialect->is_websocket && c->upgraded ? take_frame(c, x, in)
								: take_response(c, x, in);

		if (n == 0)
			break;
		in = slice_skip(in, n);
	}
	if (!is_over(c)) {
		buf_slice(&p->in, in);
		client_flush(c, x);
	}
	buf_deinit(&joined);
}

static void on_readable(struct client *c, const struct client_context *x, struct pipe *p)
{
	static uint8_t bytes[READ_BYTES];
	ssize_t n = recv(p->fd, bytes, sizeof(bytes), 0);

	if (n > 0) {
		x->ops->on_bytes((size_t)n);
		on_bytes(c, x, p, slice_of(bytes, (size_t)n));
	} else if (n == 0 || errno != EAGAIN) {
		client_fail(c, x, CLIENT_ERROR_CLOSED,
			    n ? strerror(errno) : "end of stream");
	}
}

void client_on_ready(struct client *c, const struct client_context *x, struct pipe *p,
		     uint32_t events)
{
	enum err err = ERR_OK;

	if (p->state == PIPE_CONNECTING && pipe_connected(p) != ERR_OK) {
		fail_errno(c, x, ERR_IO, CLIENT_ERROR_CONNECT);
		return;
	}
	if (p->state == PIPE_UP && p->out.n)
		err = pipe_flush(p, x->net);
	if (err != ERR_OK)
		fail_errno(c, x, err, CLIENT_ERROR_IO);
	else if (p->state == PIPE_UP && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		on_readable(c, x, p);
}

/* --- beginning and end --- */

void client_connect(struct client *c, const struct client_context *x)
{
	struct buf packet = BUF_INIT, path = BUF_INIT;
	enum err err;

	assert(c->state == CLIENT_IDLE);
	c->state = CLIENT_OPENING;
	dialect->path(room_of(c, x, &packet), c->outside, &path);
	if (dialect->is_websocket)
		wire_upgrade(&c->ws.out, x->net->host, buf_cstr(&path), "");
	else
		(void)dialect->greet(c, SLICE_EMPTY);
	buf_deinit(&packet);
	buf_deinit(&path);
	err = pipe_connect(&c->ws, x->net, c->number);
	if (err == ERR_OK && !dialect->is_websocket)
		err = pipe_connect(&c->polling->post, x->net, c->number);
	if (err != ERR_OK)
		fail_errno(c, x, err, CLIENT_ERROR_CONNECT);
}

void client_close(struct client *c, const struct client_context *x)
{
	const uint8_t normal[2] = {1000 >> 8, 1000 & 255};

	if (is_over(c) || c->state == CLIENT_CLOSING)
		return;
	if (c->state != CLIENT_MEMBER || !dialect->is_websocket) {
		gone(c, x);
		return;
	}
	c->state = CLIENT_CLOSING;
	send_frame(c, WIRE_CLOSE, slice_of(normal, sizeof(normal)));
	client_flush(c, x);
}
