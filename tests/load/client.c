#include "client.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_BYTES = 64 * 1024, WS_TEXT = 1, WS_CLOSE = 8 };

/* The key of RFC 6455's example and the answer it must get. */
#define WS_KEY	  "dGhlIHNhbXBsZSBub25jZQ=="
#define WS_ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

static char failure[256];

const char *client_failure(void)
{
	return failure;
}

const char *client_state_name(enum client_state state)
{
	static const char *const names[CLIENT_STATES] = {
		"idle",	  "connecting", "upgrading", "opening", "entering", "joining",
		"member", "leaving",	"left",	     "closing", "closed",   "failed",
	};
	return names[state];
}

void client_init(struct client *c, uint32_t number, uint32_t room_size, uint32_t clients)
{
	*c = (struct client){.fd = -1, .number = number, .room = number / room_size};
	c->first = c->room * room_size;
	c->room_size = clients - c->first < room_size ? clients - c->first : room_size;
	c->order = 14695981039346656037u;
}

void client_deinit(struct client *c)
{
	if (c->fd >= 0)
		close(c->fd);
	buf_deinit(&c->in);
	buf_deinit(&c->out);
}

static void set_state(struct client *c, const struct client_options *o,
		      enum client_state state)
{
	enum client_state before = c->state;

	assert(before != CLIENT_FAILED);
	c->state = state;
	o->events->on_state(c, before);
}

static void fail(struct client *c, const struct client_options *o, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void fail(struct client *c, const struct client_options *o, const char *fmt, ...)
{
	va_list args;

	if (c->state == CLIENT_FAILED)
		return;
	va_start(args, fmt);
	vsnprintf(failure, sizeof(failure), fmt, args);
	va_end(args);
	close(c->fd);
	c->fd = -1;
	set_state(c, o, CLIENT_FAILED);
}

/* --- sending --- */

static void watch(struct client *c, const struct client_options *o, int op, bool write)
{
	struct epoll_event e = {.events = EPOLLIN | (write ? EPOLLOUT : 0u),
				.data.ptr = c};

	c->want_write = write;
	if (epoll_ctl(o->epoll, op, c->fd, &e) != 0)
		fail(c, o, "epoll_ctl: %s", strerror(errno));
}

static void flush(struct client *c, const struct client_options *o)
{
	ssize_t n = send(c->fd, c->out.p, c->out.n, MSG_NOSIGNAL);

	if (n < 0 && errno != EAGAIN) {
		fail(c, o, "send: %s", strerror(errno));
		return;
	}
	if (n > 0) {
		c->out.n -= (size_t)n;
		memmove(c->out.p, c->out.p + n, c->out.n);
	}
	if ((c->out.n > 0) != c->want_write)
		watch(c, o, EPOLL_CTL_MOD, c->out.n > 0);
}

/* Queue a masked frame and try to send it. */
static void send_frame(struct client *c, const struct client_options *o, uint8_t opcode,
		       struct slice payload)
{
	const uint8_t mask[4] = {0x12, (uint8_t)c->number, (uint8_t)c->emitted, 0x78};
	uint8_t *p;

	assert(payload.n < 65536);
	buf_byte(&c->out, 0x80 | opcode);
	if (payload.n < 126) {
		buf_byte(&c->out, 0x80 | (uint8_t)payload.n);
	} else {
		buf_byte(&c->out, 0x80 | 126);
		buf_byte(&c->out, (uint8_t)(payload.n >> 8));
		buf_byte(&c->out, (uint8_t)payload.n);
	}
	buf_append(&c->out, mask, sizeof(mask));
	p = buf_reserve(&c->out, payload.n);
	for (size_t i = 0; i < payload.n; i++)
		p[i] = payload.p[i] ^ mask[i % 4];
	buf_commit(&c->out, payload.n);
	flush(c, o);
}

static void send_text(struct client *c, const struct client_options *o, const char *fmt,
		      ...) __attribute__((format(printf, 3, 4)));

static void send_text(struct client *c, const struct client_options *o, const char *fmt,
		      ...)
{
	char text[256];
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	assert(n > 0 && (size_t)n < sizeof(text));
	send_frame(c, o, WS_TEXT, slice_of(text, (size_t)n));
}

void client_connect(struct client *c, const struct client_options *o)
{
	struct sockaddr_in from = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK + c->number % o->sources),
	};
	const int on = 1;

	assert(c->state == CLIENT_IDLE);
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	set_state(c, o, CLIENT_CONNECTING);
	/* The port is chosen at connect, where the destination counts too. */
	if (c->fd < 0 ||
	    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on)) ||
	    bind(c->fd, (struct sockaddr *)&from, sizeof(from)) ||
	    (connect(c->fd, (const struct sockaddr *)&o->server, sizeof(o->server)) &&
	     errno != EINPROGRESS)) {
		fail(c, o, "connect: %s", strerror(errno));
		return;
	}
	watch(c, o, EPOLL_CTL_ADD, true);
}

void client_emit(struct client *c, const struct client_options *o)
{
	uint32_t k = c->emitted++;

	assert(c->state == CLIENT_MEMBER);
	send_text(c, o, "42%u[\"room:emit\",\"open:load:%u\",\"m\",%u,%u]", k, c->room,
		  c->number - c->first, k);
}

void client_leave(struct client *c, const struct client_options *o)
{
	assert(c->state == CLIENT_MEMBER);
	set_state(c, o, CLIENT_LEAVING);
	send_text(c, o, "420[\"room:leave\",\"open:load:%u\"]", c->room);
}

void client_close(struct client *c, const struct client_options *o)
{
	const uint8_t normal[2] = {1000 >> 8, 1000 & 255};

	assert(c->state == CLIENT_LEFT);
	set_state(c, o, CLIENT_CLOSING);
	send_frame(c, o, WS_CLOSE, slice_of(normal, sizeof(normal)));
}

/* --- packets --- */

/* An event another member, or this one, emitted to the room: [42]["m",sender,k]. */
static void on_event(struct client *c, const struct client_options *o, const char *text)
{
	unsigned sender, k;
	char end[2];

	if (sscanf(text, "[\"m\",%u,%u%1[]]", &sender, &k, end) != 3 ||
	    sender >= c->room_size) {
		fail(c, o, "unexpected event %.80s", text);
		return;
	}
	if (k != c->next[sender])
		o->events->on_wrong(c, k < c->next[sender] ? "doubled or out of order"
							   : "lost or out of order");
	c->next[sender] = k + 1;
	c->received++;
	c->order = (c->order ^ (sender << 16 ^ k)) * 1099511628211u;
}

static void on_ack(struct client *c, const struct client_options *o, const char *text)
{
	unsigned id;
	char end[2];

	if (sscanf(text, "%u[{\"ok\":true%1[,}]", &id, end) != 2) {
		fail(c, o, "refused: %.120s", text);
		return;
	}
	if (c->state == CLIENT_JOINING) {
		set_state(c, o, CLIENT_MEMBER);
	} else if (c->state == CLIENT_LEAVING) {
		set_state(c, o, CLIENT_LEFT);
	} else if (c->state == CLIENT_MEMBER && id == c->acked && id < c->emitted) {
		c->acked++;
		o->events->on_ack(c);
	} else {
		fail(c, o, "ack %u is not due", id);
	}
}

static void on_text(struct client *c, const struct client_options *o, const char *text)
{
	if (text[0] == '2' && !text[1]) {
		send_text(c, o, "3");
	} else if (c->state == CLIENT_OPENING && text[0] == '0') {
		set_state(c, o, CLIENT_ENTERING);
		send_text(c, o, "40");
	} else if (c->state == CLIENT_ENTERING && strncmp(text, "40{\"sid\":", 9) == 0) {
		set_state(c, o, CLIENT_JOINING);
		send_text(c, o, "420[\"room:join\",\"open:load:%u\"]", c->room);
	} else if (c->state >= CLIENT_JOINING && c->state <= CLIENT_LEAVING &&
		   strncmp(text, "42[", 3) == 0) {
		on_event(c, o, text + 2);
	} else if (strncmp(text, "43", 2) == 0) {
		on_ack(c, o, text + 2);
	} else {
		fail(c, o, "unexpected packet %.80s", text);
	}
}

/* --- frames --- */

static void on_frame(struct client *c, const struct client_options *o, uint8_t opcode,
		     struct slice payload)
{
	char text[1024];

	if (opcode == (0x80 | WS_CLOSE)) {
		if (c->state != CLIENT_CLOSING)
			fail(c, o, "closed by the server with %d",
			     payload.n >= 2 ? payload.p[0] << 8 | payload.p[1] : 0);
		return;
	}
	if (opcode != (0x80 | WS_TEXT) || payload.n >= sizeof(text)) {
		fail(c, o, "unexpected frame 0x%02x of %zu bytes", opcode, payload.n);
		return;
	}
	memcpy(text, payload.p, payload.n);
	text[payload.n] = 0;
	on_text(c, o, text);
}

/* Bytes of the first frame in `in`, 0: it is not whole yet. Sent by a server: not masked.
 */
static size_t frame_size(struct slice in, size_t *header)
{
	size_t n;

	if (in.n < 2)
		return 0;
	n = in.p[1];
	*header = 2;
	if (n == 126) {
		if (in.n < 4)
			return 0;
		n = (size_t)in.p[2] << 8 | in.p[3];
		*header = 4;
	}
	return in.n < *header + n ? 0 : *header + n;
}

/* The end of the HTTP response; 0: it is not whole yet. */
static size_t read_response(struct client *c, const struct client_options *o)
{
	const char *text = buf_cstr(&c->in);
	const char *end = strstr(text, "\r\n\r\n");

	if (!end)
		return 0;
	if (strncmp(text, "HTTP/1.1 101 ", 13) != 0 || !strstr(text, WS_ACCEPT)) {
		fail(c, o, "upgrade refused: %.*s", (int)strcspn(text, "\r"), text);
		return 0;
	}
	set_state(c, o, CLIENT_OPENING);
	return (size_t)(end - text) + 4;
}

static void on_bytes(struct client *c, const struct client_options *o)
{
	struct slice in = buf_view(&c->in);
	size_t header, n;

	if (c->state == CLIENT_UPGRADING)
		in = slice_skip(in, read_response(c, o));
	while (c->state != CLIENT_UPGRADING && c->state != CLIENT_FAILED &&
	       (n = frame_size(in, &header))) {
		on_frame(c, o, in.p[0], slice_of(in.p + header, n - header));
		in = slice_skip(in, n);
	}
	memmove(c->in.p, in.p, in.n);
	c->in.n = in.n;
	if (!c->in.n)
		buf_deinit(&c->in); /* ten thousand of them lie idle */
}

static void on_readable(struct client *c, const struct client_options *o)
{
	uint8_t bytes[READ_BYTES];
	ssize_t n = recv(c->fd, bytes, sizeof(bytes), 0);

	if (n > 0) {
		buf_append(&c->in, bytes, (size_t)n);
		on_bytes(c, o);
	} else if (n == 0 && c->state == CLIENT_CLOSING) {
		close(c->fd);
		c->fd = -1;
		set_state(c, o, CLIENT_CLOSED);
	} else if (n == 0 || errno != EAGAIN) {
		fail(c, o, "connection lost while %s: %s", client_state_name(c->state),
		     n ? strerror(errno) : "end of stream");
	}
}

static void on_connected(struct client *c, const struct client_options *o)
{
	int error = 0;
	socklen_t n = sizeof(error);

	getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &n);
	if (error) {
		fail(c, o, "connect: %s", strerror(error));
		return;
	}
	set_state(c, o, CLIENT_UPGRADING);
	buf_printf(&c->out,
		   "GET %s?EIO=4&transport=websocket HTTP/1.1\r\nHost: %s\r\n"
		   "Connection: Upgrade\r\nUpgrade: websocket\r\n"
		   "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " WS_KEY "\r\n\r\n",
		   o->path, o->host);
	flush(c, o);
}

void client_on_ready(struct client *c, const struct client_options *o, uint32_t events)
{
	if (c->state == CLIENT_CONNECTING)
		on_connected(c, o);
	else if ((events & EPOLLOUT) && c->out.n)
		flush(c, o);
	if (c->state != CLIENT_FAILED && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		on_readable(c, o);
}
