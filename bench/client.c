#include "bench/client.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "bench/wire.h"
#include "proto/eio.h"
#include "proto/mem.h"

enum { READ_BYTES = 256 * 1024, SID_MAX = 64, QUERY_MAX = 160, SEPARATOR = 0x1e };

/* A session's HTTP connections. */
struct polling {
	struct pipe get, post;
	bool getting, posting; /* a request is under way */
	bool answered;	       /* 3probe came: the upgrade waits for the GET alone */
	char sid[SID_MAX];
	struct buf body; /* what the next POST carries */
};

void client_init(struct client *c, uint32_t number, enum client_transport transport)
{
	*c = (struct client){.number = number, .transport = transport};
	pipe_init(&c->ws, c);
}

static void release(struct client *c)
{
	pipe_close(&c->ws);
	buf_deinit(&c->fragments);
	if (c->polling) {
		pipe_close(&c->polling->get);
		pipe_close(&c->polling->post);
		buf_deinit(&c->polling->body);
	}
}

void client_deinit(struct client *c)
{
	release(c);
	free(c->polling);
	c->polling = NULL;
}

static bool is_over(const struct client *c)
{
	return c->state == CLIENT_FAILED || c->state == CLIENT_GONE;
}

static void gone(struct client *c, const struct client_context *x)
{
	release(c);
	c->state = CLIENT_GONE;
	x->ops->on_gone(c);
}

/* The polling part stays: events of its pipes may still be in the caller's hands. */
void client_fail(struct client *c, const struct client_context *x,
		 enum client_error error, const char *text)
{
	if (is_over(c))
		return;
	if (c->state == CLIENT_CLOSING) {
		gone(c, x); /* what the server makes of a good-bye is all the same */
		return;
	}
	release(c);
	c->state = CLIENT_FAILED;
	x->ops->on_failed(c, error, text);
}

static void fail(struct client *c, const struct client_context *x,
		 enum client_error error, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

static void fail(struct client *c, const struct client_context *x,
		 enum client_error error, const char *fmt, ...)
{
	char text[256];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	client_fail(c, x, error, text);
}

static void fail_errno(struct client *c, const struct client_context *x, enum err err,
		       enum client_error error)
{
	fail(c, x, err == ERR_FULL ? CLIENT_ERROR_RESOURCES : error, "%s while %s",
	     strerror(errno), client_state_name(c->state));
}

/* --- sending --- */

static bool connect_pipe(struct client *c, const struct client_context *x, struct pipe *p)
{
	enum err err = pipe_connect(p, x->net, c->number);

	if (err != ERR_OK)
		fail_errno(c, x, err, CLIENT_ERROR_CONNECT);
	return err == ERR_OK;
}

static void flush(struct client *c, const struct client_context *x, struct pipe *p)
{
	if (p->state == PIPE_NONE && !connect_pipe(c, x, p))
		return;
	if (pipe_flush(p, x->net) != ERR_OK)
		fail_errno(c, x, ERR_IO, CLIENT_ERROR_IO);
}

static void send_ws(struct client *c, enum wire_opcode opcode, struct slice payload)
{
	/* Any mask does; RFC 6455 wants them unguessable for the sake of proxies, which
	 * there are none of where a load generator should be. */
	wire_frame(&c->ws.out, opcode, 0x5ca1ab1eu + c->number, payload);
}

static void poll_query(const struct polling *p, char out[QUERY_MAX])
{
	snprintf(out, QUERY_MAX, "?EIO=4&transport=polling%s%s", *p->sid ? "&sid=" : "",
		 p->sid);
}

static void get(struct client *c, const struct client_context *x)
{
	struct polling *p = c->polling;
	char query[QUERY_MAX];

	assert(!p->getting);
	p->getting = true;
	poll_query(p, query);
	wire_get(&p->get.out, x->net->host, x->path, query);
	flush(c, x, &p->get);
}

static void post(struct client *c, const struct client_context *x)
{
	struct polling *p = c->polling;
	char query[QUERY_MAX];

	if (p->posting || !p->body.n)
		return;
	p->posting = true;
	poll_query(p, query);
	wire_post(&p->post.out, x->net->host, x->path, query, buf_view(&p->body));
	buf_clear(&p->body);
	flush(c, x, &p->post);
}

/* Queue an Engine.IO packet. */
static void send_packet(struct client *c, struct slice packet)
{
	if (c->on_websocket) {
		send_ws(c, WIRE_TEXT, packet);
		return;
	}
	if (c->polling->body.n)
		buf_byte(&c->polling->body, SEPARATOR);
	buf_slice(&c->polling->body, packet);
}

void client_send(struct client *c, struct slice packet)
{
	assert(c->state == CLIENT_MEMBER);
	send_packet(c, packet);
}

void client_flush(struct client *c, const struct client_context *x)
{
	if (is_over(c))
		return;
	if (c->on_websocket)
		flush(c, x, &c->ws);
	else if (c->polling)
		post(c, x);
}

size_t client_backlog(const struct client *c)
{
	if (c->on_websocket || !c->polling)
		return c->ws.out.n;
	return c->polling->body.n + c->polling->post.out.n;
}

/* --- packets --- */

static void become_member(struct client *c, const struct client_context *x)
{
	c->state = CLIENT_MEMBER;
	x->ops->on_member(c);
}

/* In the namespace, and on the transport it is to stay on. */
static void join(struct client *c, const struct client_context *x)
{
	struct buf packet = BUF_INIT;
	bool replies = false, joins;

	c->state = CLIENT_JOINING;
	joins = !c->outside && x->ops->join(c, &packet, &replies);
	if (joins)
		send_packet(c, buf_view(&packet));
	buf_deinit(&packet);
	if (!joins || !replies)
		become_member(c, x);
}

static void probe(struct client *c, const struct client_context *x)
{
	char query[QUERY_MAX];

	c->state = CLIENT_PROBING;
	snprintf(query, sizeof(query), "?EIO=4&transport=websocket&sid=%s",
		 c->polling->sid);
	wire_upgrade(&c->ws.out, x->net->host, x->path, query);
	flush(c, x, &c->ws);
}

static void enter(struct client *c, const struct client_context *x)
{
	struct buf packet = BUF_INIT;

	c->state = CLIENT_ENTERING;
	buf_str(&packet, "40");
	buf_slice(&packet, x->nsp);
	buf_slice(&packet, x->auth);
	send_packet(c, buf_view(&packet));
	buf_deinit(&packet);
}

/* Take the session's id from the open packet: url-safe characters, never escaped. */
static bool read_sid(struct client *c, struct slice open)
{
	static const char key[] = "\"sid\":\"";
	const uint8_t *at = memmem(open.p, open.n, key, sizeof(key) - 1), *end;
	size_t n;

	if (!at)
		return false;
	at += sizeof(key) - 1;
	end = memchr(at, '"', open.n - (size_t)(at - open.p));
	n = end ? (size_t)(end - at) : 0;
	if (n == 0 || n >= SID_MAX)
		return false;
	if (c->polling) {
		memcpy(c->polling->sid, at, n);
		c->polling->sid[n] = 0;
	}
	return true;
}

static void on_ack(struct client *c, const struct client_context *x, struct slice data)
{
	uint64_t id = 0;

	while (data.n && data.p[0] >= '0' && data.p[0] <= '9') {
		id = id * 10 + (data.p[0] - '0');
		data = slice_skip(data, 1);
	}
	/* How Gatehouse says no. What other servers' acks mean they alone know. */
	if (slice_starts(data, SLICE_LIT("[{\"ok\":false")))
		fail(c, x, CLIENT_ERROR_REFUSED, "%.*s",
		     (int)(data.n < 160 ? data.n : 160), (const char *)data.p);
	else if (c->state == CLIENT_JOINING)
		become_member(c, x);
	else if (c->state == CLIENT_MEMBER)
		x->ops->on_ack(c, id, data);
}

static void on_sio(struct client *c, const struct client_context *x, struct slice packet)
{
	struct slice data = packet.n ? slice_skip(packet, 1) : packet;

	if (!slice_starts(data, x->nsp) || (!x->nsp.n && data.n && data.p[0] == '/'))
		return; /* of a namespace that is not ours */
	data = slice_skip(data, x->nsp.n);
	switch (packet.n ? packet.p[0] : 0) {
	case '0':
		if (c->state != CLIENT_ENTERING)
			fail(c, x, CLIENT_ERROR_PROTOCOL, "CONNECT twice");
		else if (c->transport == CLIENT_UPGRADE)
			probe(c, x);
		else
			join(c, x);
		return;
	case '1':
		fail(c, x, CLIENT_ERROR_CLOSED, "DISCONNECT while %s",
		     client_state_name(c->state));
		return;
	case '2':
	case '5':
		if (c->state == CLIENT_MEMBER)
			x->ops->on_event(c, data);
		return;
	case '3':
	case '6':
		on_ack(c, x, data);
		return;
	case '4':
		fail(c, x, CLIENT_ERROR_REFUSED, "CONNECT_ERROR %.*s",
		     (int)(data.n < 160 ? data.n : 160), (const char *)data.p);
		return;
	default:
		fail(c, x, CLIENT_ERROR_PROTOCOL, "unknown packet of Socket.IO");
	}
}

static void on_packet(struct client *c, const struct client_context *x, struct slice text)
{
	struct eio_packet packet;

	if (eio_decode(text, &packet) != ERR_OK) {
		fail(c, x, CLIENT_ERROR_PROTOCOL, "unknown packet of Engine.IO");
		return;
	}
	switch (packet.type) {
	case EIO_OPEN:
		if (c->state != CLIENT_OPENING || !read_sid(c, packet.data))
			fail(c, x, CLIENT_ERROR_PROTOCOL, "bad open packet");
		else
			enter(c, x);
		return;
	case EIO_CLOSE:
		if (c->state == CLIENT_CLOSING)
			gone(c, x);
		else
			fail(c, x, CLIENT_ERROR_CLOSED, "close packet while %s",
			     client_state_name(c->state));
		return;
	case EIO_PING:
		send_packet(c, SLICE_LIT("3"));
		x->ops->on_ping(c);
		return;
	case EIO_MESSAGE:
		on_sio(c, x, packet.data);
		return;
	case EIO_PONG:
	case EIO_UPGRADE:
	case EIO_NOOP:
		return;
	}
}

/* --- WebSocket --- */

/* The GET that was under way has come back: from here on everything goes by WebSocket. */
static void change_over(struct client *c, const struct client_context *x)
{
	struct polling *p = c->polling;

	send_ws(c, WIRE_TEXT, SLICE_LIT("5"));
	c->on_websocket = true;
	pipe_close(&p->get);
	pipe_close(&p->post);
	buf_deinit(&p->body);
	join(c, x);
	client_flush(c, x);
}

static void try_change_over(struct client *c, const struct client_context *x)
{
	struct polling *p = c->polling;

	if (p->answered && !p->getting && !p->posting && !p->body.n)
		change_over(c, x);
}

static void on_text(struct client *c, const struct client_context *x, struct slice text)
{
	if (c->on_websocket) {
		on_packet(c, x, text);
	} else if (slice_eq(text, SLICE_LIT("3probe"))) {
		c->polling->answered = true;
		try_change_over(c, x);
	}
}

static void on_close_frame(struct client *c, const struct client_context *x,
			   struct slice payload)
{
	if (c->state == CLIENT_CLOSING)
		gone(c, x);
	else
		fail(c, x, CLIENT_ERROR_CLOSED, "WebSocket closed with %d while %s",
		     payload.n >= 2 ? payload.p[0] << 8 | payload.p[1] : 0,
		     client_state_name(c->state));
}

static void on_frame(struct client *c, const struct client_context *x,
		     const struct wire_frame *f)
{
	switch (f->opcode) {
	case WIRE_CLOSE:
		on_close_frame(c, x, f->payload);
		return;
	case WIRE_PING:
		send_ws(c, WIRE_PONG, f->payload);
		return;
	case WIRE_PONG:
	case WIRE_BINARY: /* an attachment */
		return;
	case WIRE_TEXT:
		if (f->last) {
			on_text(c, x, f->payload);
			return;
		}
		buf_clear(&c->fragments);
		break;
	case WIRE_MORE:
		break;
	}
	if (c->fragments.n + f->payload.n > WIRE_BODY_MAX) {
		fail(c, x, CLIENT_ERROR_PROTOCOL, "a message above %d bytes",
		     WIRE_BODY_MAX);
		return;
	}
	buf_slice(&c->fragments, f->payload);
	if (f->last) {
		struct buf whole = c->fragments;

		c->fragments = BUF_INIT;
		on_text(c, x, buf_view(&whole));
		buf_deinit(&whole);
	}
}

/* The answer to the upgrade; how many bytes it was. */
static size_t on_upgrade_answer(struct client *c, const struct client_context *x,
				struct slice in)
{
	struct wire_response r;
	enum err err = wire_response(in, &r);

	if (err == ERR_TRUNCATED)
		return 0;
	if (err != ERR_OK || !r.websocket) {
		fail(c, x, CLIENT_ERROR_HTTP, "no WebSocket: status %d %.*s",
		     err == ERR_OK ? r.status : 0, err == ERR_OK ? (int)r.body.n : 0,
		     (const char *)r.body.p);
		return 0;
	}
	x->ops->on_answer(c);
	c->upgraded = true;
	if (c->transport == CLIENT_UPGRADE) {
		send_ws(c, WIRE_TEXT, SLICE_LIT("2probe"));
		flush(c, x, &c->ws);
	} else {
		c->on_websocket = true;
	}
	return r.bytes;
}

/* --- what arrives --- */

static void take_frames(struct client *c, const struct client_context *x,
			struct slice *in)
{
	while (!is_over(c)) {
		struct wire_frame f;
		enum err err = wire_take_frame(*in, &f);

		if (err == ERR_TRUNCATED)
			return;
		if (err != ERR_OK) {
			fail(c, x, CLIENT_ERROR_PROTOCOL, "bad frame: %s", err_text(err));
			return;
		}
		*in = slice_skip(*in, f.bytes);
		on_frame(c, x, &f);
	}
}

/* Gives back what is not whole yet. */
static struct slice on_ws_bytes(struct client *c, const struct client_context *x,
				struct slice in)
{
	if (!c->upgraded) {
		size_t n = on_upgrade_answer(c, x, in);

		if (n == 0)
			return in;
		in = slice_skip(in, n);
	}
	take_frames(c, x, &in);
	if (!is_over(c))
		client_flush(c, x);
	return in;
}

/* The packets of a polled body. */
static void on_payload(struct client *c, const struct client_context *x,
		       struct slice body)
{
	while (body.n && !is_over(c)) {
		const uint8_t *end = memchr(body.p, SEPARATOR, body.n);
		size_t n = end ? (size_t)(end - body.p) : body.n;

		if (n && body.p[0] != 'b')
			on_packet(c, x, slice_of(body.p, n));
		body = slice_skip(body, end ? n + 1 : n);
	}
}

static void on_polled(struct client *c, const struct client_context *x, struct slice body)
{
	struct polling *p = c->polling;

	p->getting = false;
	on_payload(c, x, body);
	if (is_over(c) || c->on_websocket)
		return;
	post(c, x); /* answers to what came */
	if (is_over(c))
		return;
	if (p->answered)
		try_change_over(c, x);
	else if (c->state != CLIENT_CLOSING)
		get(c, x);
}

static void on_posted(struct client *c, const struct client_context *x)
{
	c->polling->posting = false;
	if (c->state == CLIENT_CLOSING && !c->polling->body.n) {
		gone(c, x);
		return;
	}
	post(c, x);
	if (!is_over(c) && c->state == CLIENT_PROBING)
		try_change_over(c, x);
}

static struct slice on_http_bytes(struct client *c, const struct client_context *x,
				  struct pipe *p, struct slice in)
{
	bool is_get = p == &c->polling->get;
	struct wire_response r;
	enum err err = wire_response(in, &r);

	if (err == ERR_TRUNCATED)
		return in;
	if (err != ERR_OK || r.status != 200 ||
	    !(is_get ? c->polling->getting : c->polling->posting)) {
		fail(c, x, CLIENT_ERROR_HTTP, "status %d to %s: %.*s",
		     err == ERR_OK ? r.status : 0, is_get ? "GET" : "POST",
		     err == ERR_OK && r.body.n < 160 ? (int)r.body.n : 0,
		     (const char *)r.body.p);
		return in;
	}
	x->ops->on_answer(c);
	if (r.close)
		pipe_close(p); /* the next request has a connection of its own */
	if (is_get)
		on_polled(c, x, r.body);
	else
		on_posted(c, x);
	return slice_skip(in, r.bytes);
}

/* The end of a connection. A server may close one for requests when none is under way. */
static void on_end(struct client *c, const struct client_context *x, struct pipe *p,
		   const char *why)
{
	struct polling *s = c->polling;
	bool idle = p != &c->ws && !(p == &s->get ? s->getting : s->posting);

	if (c->state == CLIENT_CLOSING)
		gone(c, x);
	else if (idle)
		pipe_close(p);
	else
		fail(c, x, CLIENT_ERROR_CLOSED, "%s while %s", why,
		     client_state_name(c->state));
}

static void on_readable(struct client *c, const struct client_context *x, struct pipe *p)
{
	static uint8_t bytes[READ_BYTES];
	ssize_t n = recv(p->fd, bytes, sizeof(bytes), 0);
	struct buf joined = p->in; /* what it was waiting to complete */
	struct slice in, rest;

	if (n <= 0) {
		if (n == 0 || errno != EAGAIN)
			on_end(c, x, p, n ? strerror(errno) : "end of stream");
		return;
	}
	x->ops->on_bytes((size_t)n);
	in = slice_of(bytes, (size_t)n);
	p->in = BUF_INIT;
	if (joined.n) {
		buf_slice(&joined, in);
		in = buf_view(&joined);
	}
	rest = p == &c->ws ? on_ws_bytes(c, x, in) : on_http_bytes(c, x, p, in);
	if (!is_over(c) && p->state == PIPE_UP && rest.n)
		buf_slice(&p->in, rest);
	buf_deinit(&joined);
}

/* --- public --- */

static struct polling *polling_new(struct client *c)
{
	struct polling *p = mem_zalloc(1, sizeof(*p));

	pipe_init(&p->get, c);
	pipe_init(&p->post, c);
	return p;
}

void client_connect(struct client *c, const struct client_context *x)
{
	assert(c->state == CLIENT_IDLE);
	c->state = CLIENT_OPENING;
	if (c->transport == CLIENT_WEBSOCKET) {
		wire_upgrade(&c->ws.out, x->net->host, x->path,
			     "?EIO=4&transport=websocket");
		connect_pipe(c, x, &c->ws);
	} else {
		c->polling = polling_new(c);
		get(c, x);
	}
}

void client_close(struct client *c, const struct client_context *x)
{
	const uint8_t normal[2] = {1000 >> 8, 1000 & 255};

	if (is_over(c) || c->state == CLIENT_CLOSING)
		return;
	if (c->state != CLIENT_MEMBER) {
		gone(c, x);
		return;
	}
	c->state = CLIENT_CLOSING;
	if (c->on_websocket)
		send_ws(c, WIRE_CLOSE, slice_of(normal, sizeof(normal)));
	else
		send_packet(c, SLICE_LIT("1"));
	client_flush(c, x);
}

void client_on_ready(struct client *c, const struct client_context *x, struct pipe *p,
		     uint32_t events)
{
	enum err err = ERR_OK;

	if (p->state == PIPE_CONNECTING) {
		err = pipe_connected(p);
		if (err != ERR_OK) {
			fail_errno(c, x, err, CLIENT_ERROR_CONNECT);
			return;
		}
	}
	if (p->state == PIPE_UP && p->out.n)
		err = pipe_flush(p, x->net);
	if (err != ERR_OK) {
		fail_errno(c, x, err, CLIENT_ERROR_IO);
		return;
	}
	if (p->state == PIPE_UP && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		on_readable(c, x, p);
}
