#include "adapter/redis/wire.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/list.h"
#include "proto/mem.h"

enum { WIRE_READ_BYTES = 64 * 1024, WIRE_KEEP_BYTES = 256 * 1024 };

enum wire_state {
	WIRE_RESOLVING,	 /* no handle yet */
	WIRE_CONNECTING, /* a handle that connects to `address` */
	WIRE_NEXT,	 /* that failed; its handle closes, then the next address */
	WIRE_OPEN,
	WIRE_BROKEN,
	WIRE_CLOSED, /* no owner any more */
};

struct wire {
	enum wire_state state;
	bool has_handle, sending;
	uv_loop_t *loop;
	const struct wire_events *events;
	void *ctx;
	size_t *handles;
	union {
		uv_handle_t handle;
		uv_stream_t stream;
		uv_tcp_t tcp;
		uv_pipe_t pipe;
	};
	uv_getaddrinfo_t resolve;
	uv_connect_t connect;
	uv_write_t write;
	struct addrinfo *addresses, *address;
	uint64_t due_ms;	 /* of the whole try, as last told */
	uint64_t address_due_ms; /* 0: not known yet */
	struct buf sent;	 /* what `write` is sending */
	char in[WIRE_READ_BYTES];
};

static void connect_next(struct wire *w);

static void wire_free(struct wire *w)
{
	if (w->addresses)
		uv_freeaddrinfo(w->addresses);
	buf_deinit(&w->sent);
	free(w);
}

static void broken(struct wire *w, const char *what, int code)
{
	char why[160];

	assert(w->state != WIRE_CLOSED);
	w->state = WIRE_BROKEN;
	if (w->has_handle && w->stream.type != UV_UNKNOWN_HANDLE)
		uv_read_stop(&w->stream);
	snprintf(why, sizeof(why), "%s: %s", what, uv_strerror(code));
	w->events->on_broken(w->ctx, why);
}

static void on_handle_closed(uv_handle_t *h)
{
	struct wire *w = h->data;

	w->has_handle = false;
	(*w->handles)--;
	if (w->state == WIRE_CLOSED)
		wire_free(w);
	else
		connect_next(w);
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
	struct wire *w = h->data;

	(void)suggested;
	*buf = uv_buf_init(w->in, sizeof(w->in));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct wire *w = stream->data;

	if (w->state != WIRE_OPEN || n == 0)
		return;
	if (n < 0)
		broken(w, "connection lost", (int)n);
	else
		w->events->on_read(w->ctx, (const uint8_t *)buf->base, (size_t)n);
}

/* Go on with the next address, if there is one. */
static void connect_failed(struct wire *w, int status)
{
	if (!w->address || !w->address->ai_next) {
		broken(w, "cannot connect", status);
		return;
	}
	w->state = WIRE_NEXT;
	w->address = w->address->ai_next;
	w->address_due_ms = 0;
	uv_close(&w->handle, on_handle_closed);
}

static void on_connected(uv_connect_t *req, int status)
{
	struct wire *w = req->data;

	if (w->state == WIRE_CLOSED || w->state == WIRE_NEXT) /* its handle closes */
		return;
	assert(w->state == WIRE_CONNECTING);
	if (status) {
		connect_failed(w, status);
		return;
	}
	w->state = WIRE_OPEN;
	status = uv_read_start(&w->stream, on_alloc, on_read);
	if (status)
		broken(w, "cannot read", status);
	else
		w->events->on_open(w->ctx);
}

static void adopt_handle(struct wire *w)
{
	w->handle.data = w;
	w->connect.data = w;
	w->has_handle = true;
	(*w->handles)++;
	w->state = WIRE_CONNECTING;
}

/* Connect to `address`. */
static void connect_next(struct wire *w)
{
	int status = uv_tcp_init(w->loop, &w->tcp);

	if (status) {
		broken(w, "cannot make a socket", status);
		return;
	}
	adopt_handle(w);
	status = uv_tcp_connect(&w->connect, &w->tcp, w->address->ai_addr, on_connected);
	if (status) { /* at once: no route to it, for one */
		connect_failed(w, status);
		return;
	}
	/* Both fail only where the socket itself did, which shows soon enough. */
	(void)uv_tcp_nodelay(&w->tcp, 1);
	(void)uv_tcp_keepalive(&w->tcp, 1, 60);
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *addresses)
{
	struct wire *w = req->data;

	w->addresses = w->address = addresses;
	if (w->state == WIRE_CLOSED)
		wire_free(w);
	else if (status || !addresses)
		broken(w, "cannot resolve the host", status ? status : UV_EAI_NODATA);
	else
		connect_next(w);
}

struct wire *wire_open(uv_loop_t *loop, const struct wire_target *target,
		       const struct wire_events *events, void *ctx, size_t *handles,
		       const char **why)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	struct wire *w = mem_alloc(sizeof(*w));
	char port[8];
	int status;

	/* Not all of it: the read buffer need not be zeroed. */
	memset(w, 0, offsetof(struct wire, in));
	w->loop = loop;
	w->events = events;
	w->ctx = ctx;
	w->handles = handles;
	w->write.data = w;
	if (target->host) {
		snprintf(port, sizeof(port), "%u", (unsigned)target->port);
		w->resolve.data = w;
		status = uv_getaddrinfo(loop, &w->resolve, on_resolved, target->host,
					port, &hints);
	} else {
		status = uv_pipe_init(loop, &w->pipe, 0);
		if (!status) {
			adopt_handle(w);
			uv_pipe_connect(&w->connect, &w->pipe, target->path,
					on_connected);
		}
	}
	if (!status)
		return w;
	*why = uv_strerror(status);
	wire_free(w);
	return NULL;
}

void wire_tick(struct wire *w, uint64_t now, uint64_t due_ms)
{
	size_t left = 0;

	if (w->state != WIRE_CONNECTING || !w->address || now >= due_ms)
		return;
	for (const struct addrinfo *a = w->address; a; a = a->ai_next)
		left++;
	/* Of what is left: resolving took some, and a refusal took less than its share.
	 */
	if (w->address_due_ms == 0 || w->due_ms != due_ms) {
		w->due_ms = due_ms;
		w->address_due_ms = now + (due_ms - now) / left;
	}
	if (left > 1 && now >= w->address_due_ms)
		connect_failed(w, UV_ETIMEDOUT);
}

static void on_written(uv_write_t *req, int status)
{
	struct wire *w = req->data;

	w->sending = false;
	buf_clear(&w->sent);
	buf_trim(&w->sent, WIRE_KEEP_BYTES);
	if (w->state == WIRE_OPEN && status)
		broken(w, "cannot write", status);
}

bool wire_send(struct wire *w, struct buf *out)
{
	struct buf rest;
	uv_buf_t piece;
	int n;

	if (w->state != WIRE_OPEN)
		return false;
	if (w->sending || out->n == 0)
		return true;
	/* Directly from the loop's turn; mostly it all goes with one system call. */
	piece = uv_buf_init((char *)out->p, (unsigned)out->n);
	n = uv_try_write(&w->stream, &piece, 1);
	if (n < 0 && n != UV_EAGAIN)
		return false;
	if (n < 0)
		n = 0;
	if ((size_t)n == out->n) {
		buf_clear(out);
		buf_trim(out, WIRE_KEEP_BYTES);
		return true;
	}
	rest = *out;
	*out = w->sent;
	w->sent = rest;
	w->sending = true;
	piece = uv_buf_init((char *)w->sent.p + n, (unsigned)(w->sent.n - (size_t)n));
	return uv_write(&w->write, &w->stream, &piece, 1, on_written) == 0;
}

size_t wire_backlog(const struct wire *w)
{
	return w->sending ? uv_stream_get_write_queue_size(&w->stream) : 0;
}

void wire_close(struct wire *w)
{
	enum wire_state before = w->state;

	assert(before != WIRE_CLOSED);
	w->state = WIRE_CLOSED;
	if (w->has_handle) {
		if (before != WIRE_NEXT) /* else it closes already */
			uv_close(&w->handle, on_handle_closed);
	} else if (before == WIRE_RESOLVING) {
		uv_cancel((uv_req_t *)&w
				  ->resolve); /* on_resolved frees it, sooner or later */
	} else {
		wire_free(w);
	}
}
