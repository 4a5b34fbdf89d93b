#include "tests/bench/raw_client.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "proto/mem.h"
#include "tests/bench/raw_dialect.h"

enum { READ_BYTES = 256 * 1024 };

static const struct dialect *dialect;

bool raw_client_speak(const char *name)
{
	dialect = dialect_find(name);
	return dialect != NULL;
}

/* --- endings, as in bench/client.c --- */

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
	if (dialect_is_over(c))
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

void client_flush(struct client *c, const struct client_context *x)
{
	if (!dialect_is_over(c))
		flush(c, x, &c->ws);
	if (!dialect_is_over(c) && c->polling->post.state == PIPE_UP)
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
	dialect->send(c, &asked);
}

/* --- what arrives --- */

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
		dialect_enter(c, x);
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
		dialect_frame(c, WIRE_PONG, f->payload);
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
	x->ops->on_answer(c);
	if (dialect->is_websocket)
		greet(c, x);
	else
		dialect->on_text(c, x, r.body);
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
	while (in.n && !dialect_is_over(c)) {
		size_t n = dialect->is_websocket && c->upgraded ? take_frame(c, x, in)
								: take_response(c, x, in);

		if (n == 0)
			break;
		in = slice_skip(in, n);
	}
	if (!dialect_is_over(c)) {
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

	if (dialect_is_over(c) || c->state == CLIENT_CLOSING)
		return;
	if (c->state != CLIENT_MEMBER || !dialect->is_websocket) {
		gone(c, x);
		return;
	}
	c->state = CLIENT_CLOSING;
	dialect_frame(c, WIRE_CLOSE, slice_of(normal, sizeof(normal)));
	client_flush(c, x);
}
