/* plain-loop HOST PORT send|turn: rooms over WebSocket and nothing else, as bare as epoll
 * allows; what a server that does more is measured against.
 *
 *   send   a message is sent to each member of its room at once
 *   turn   what a turn of the loop has for a member is sent once, at its end
 *
 * A client says "J<room>" to join and is answered "j"; "P<room> <message>" brings the
 * message to all members; "E<message>" is answered "e<message>". A room ends with its
 * number. It trusts its clients, which are our own. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/sha.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "proto/base64.h"
#include "proto/mem.h"
#include "proto/ws.h"

enum {
	ROOMS_MAX = 100000,
	READY_MAX = 512,
	READ_BYTES = 256 * 1024,
	BACKLOG = 4096,
	MASK_BYTES = 4,
};

struct conn {
	int fd;
	bool upgraded, dirty, writing;
	struct buf in, out; /* what is not whole yet, what is not sent yet */
	struct list *room;
	size_t place; /* in it */
};

struct list {
	struct conn **v;
	size_t n, cap;
};

static struct loop {
	int epoll, listener;
	bool once_a_turn;
	struct list rooms[ROOMS_MAX];
	struct list dirty, closed;
} loop;

static void add(struct list *l, struct conn *c)
{
	if (l->n == l->cap) {
		l->cap = l->cap ? 2 * l->cap : 16;
		l->v = mem_realloc(l->v, l->cap * sizeof(struct conn *));
	}
	l->v[l->n++] = c;
}

static void watch(struct conn *c, int op)
{
	struct epoll_event e = {.events = EPOLLIN | (c->writing ? EPOLLOUT : 0u),
				.data.ptr = c};

	if (epoll_ctl(loop.epoll, op, c->fd, &e) != 0)
		perror("plain-loop: epoll_ctl");
}

static void leave(struct conn *c)
{
	struct list *room = c->room;

	if (!room)
		return;
	room->v[c->place] = room->v[--room->n];
	room->v[c->place]->place = c->place;
	c->room = NULL;
}

/* Others of this turn may still point to it: freed at its end. */
static void end(struct conn *c)
{
	if (c->fd < 0)
		return;
	leave(c);
	close(c->fd);
	c->fd = -1;
	add(&loop.closed, c);
}

static void flush(struct conn *c)
{
	ssize_t n = 0;

	if (c->fd < 0)
		return;
	if (c->out.n)
		n = send(c->fd, c->out.p, c->out.n, MSG_NOSIGNAL);
	if (n < 0 && errno != EAGAIN) {
		end(c);
		return;
	}
	if (n > 0) {
		c->out.n -= (size_t)n;
		memmove(c->out.p, c->out.p + n, c->out.n);
	}
	if ((c->out.n > 0) != c->writing) {
		c->writing = c->out.n > 0;
		watch(c, EPOLL_CTL_MOD);
	}
}

static void give(struct conn *c, struct slice frame)
{
	if (!loop.once_a_turn && !c->out.n) {
		ssize_t n = send(c->fd, frame.p, frame.n, MSG_NOSIGNAL);

		if (n == (ssize_t)frame.n)
			return;
		if (n > 0)
			frame = slice_skip(frame, (size_t)n);
	}
	buf_slice(&c->out, frame);
	if (!loop.once_a_turn) {
		flush(c);
	} else if (!c->dirty) {
		c->dirty = true;
		add(&loop.dirty, c);
	}
}

/* --- what clients say --- */

/* The room whose number stands at the end of `name`; NULL: none does, or it is too large.
 */
static struct list *find_room(struct slice name)
{
	size_t number = 0, digits = name.n;

	while (digits && name.p[digits - 1] >= '0' && name.p[digits - 1] <= '9')
		digits--;
	if (digits == name.n)
		return NULL;
	for (; digits < name.n && number < ROOMS_MAX; digits++)
		number = number * 10 + (name.p[digits] - '0');
	return number < ROOMS_MAX ? &loop.rooms[number] : NULL;
}

static void answer(struct conn *c, struct slice text)
{
	static struct buf frame;

	buf_clear(&frame);
	ws_append(&frame, WS_TEXT, text);
	give(c, buf_view(&frame));
}

static void good_bye(struct conn *c)
{
	const uint8_t frame[] = {0x80 | WS_CLOSE, 0};

	leave(c);
	give(c, slice_of(frame, sizeof(frame)));
}

static void join(struct conn *c, struct slice name)
{
	struct list *room = find_room(name);

	if (!room) {
		end(c);
		return;
	}
	leave(c);
	c->room = room;
	c->place = room->n;
	add(room, c);
	answer(c, SLICE_LIT("j"));
}

static void publish(struct conn *c, struct slice text)
{
	static struct buf frame;
	const uint8_t *space = memchr(text.p, ' ', text.n);
	size_t n = space ? (size_t)(space - text.p) : text.n;
	struct list *room = find_room(slice_of(text.p, n));

	if (!space || !room) {
		end(c);
		return;
	}
	buf_clear(&frame);
	ws_append(&frame, WS_TEXT, slice_skip(text, n + 1));
	/* Backwards: who ends gives its place to the last. */
	for (size_t i = room->n; i > 0; i--)
		give(room->v[i - 1], buf_view(&frame));
}

static void on_text(struct conn *c, uint8_t *p, size_t n)
{
	struct slice rest = n ? slice_of(p + 1, n - 1) : SLICE_EMPTY;

	switch (n ? p[0] : 0) {
	case 'J':
		join(c, rest);
		return;
	case 'P':
		publish(c, rest);
		return;
	case 'E':
		p[0] = 'e';
		answer(c, slice_of(p, n));
		return;
	default:
		end(c);
	}
}

/* One frame at the beginning of `p`; how many bytes it was, 0: it is not whole. */
static size_t take_frame(struct conn *c, uint8_t *p, size_t n)
{
	size_t head = 2, payload, total;

	if (n < 2)
		return 0;
	payload = p[1] & 0x7f;
	if (payload == 126) {
		if (n < 4)
			return 0;
		payload = (size_t)(p[2] << 8 | p[3]);
		head = 4;
	}
	total = head + MASK_BYTES + payload;
	if (n < total)
		return 0;
	for (size_t i = 0; i < payload; i++)
		p[head + MASK_BYTES + i] ^= p[head + i % MASK_BYTES];
	switch (p[0] & 0x0f) {
	case WS_TEXT:
		on_text(c, p + head + MASK_BYTES, payload);
		break;
	case WS_CLOSE:
		/* The client is to end it: were it us, the kernel would keep the
		 * client's port in TIME_WAIT and refuse it to the next who comes from
		 * it, which among 19,000 connections are hundreds. */
		good_bye(c);
		break;
	default:
		end(c);
	}
	return total;
}

/* The same for the request to upgrade. */
static size_t take_request(struct conn *c, const uint8_t *p, size_t n)
{
	static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
	static const char header[] = "Sec-WebSocket-Key: ";
	const uint8_t *last = memmem(p, n, "\r\n\r\n", 4), *key, *key_end;
	uint8_t sha[SHA_DIGEST_LENGTH];
	struct buf text = BUF_INIT;

	if (!last)
		return 0;
	key = memmem(p, n, header, sizeof(header) - 1);
	if (!key) {
		end(c);
		return 0;
	}
	key += sizeof(header) - 1;
	key_end = memchr(key, '\r', (size_t)(last + 1 - key));
	buf_append(&text, key, (size_t)(key_end - key));
	buf_str(&text, guid);
	SHA1(text.p, text.n, sha);
	buf_clear(&text);
	buf_str(&text, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
		       "Connection: Upgrade\r\nSec-WebSocket-Accept: ");
	base64_encode(slice_of(sha, sizeof(sha)), &text);
	buf_str(&text, "\r\n\r\n");
	give(c, buf_view(&text));
	buf_deinit(&text);
	c->upgraded = true;
	return (size_t)(last - p) + 4;
}

static void on_readable(struct conn *c)
{
	static uint8_t bytes[READ_BYTES];
	size_t kept = c->in.n, used = 0, n;
	ssize_t got;

	if (kept)
		memcpy(bytes, c->in.p, kept);
	buf_deinit(&c->in);
	got = recv(c->fd, bytes + kept, sizeof(bytes) - kept, 0);
	if (got <= 0) {
		if (got == 0 || errno != EAGAIN)
			end(c);
		got = 0;
	}
	n = kept + (size_t)got;
	while (c->fd >= 0 && used < n) {
		size_t took = c->upgraded ? take_frame(c, bytes + used, n - used)
					  : take_request(c, bytes + used, n - used);

		if (took == 0)
			break;
		used += took;
	}
	if (c->fd >= 0)
		buf_append(&c->in, bytes + used, n - used);
}

/* --- the loop --- */

static void accept_all(void)
{
	const int on = 1;
	int fd;

	while ((fd = accept4(loop.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >=
	       0) {
		struct conn *c = mem_zalloc(1, sizeof(*c));

		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		c->fd = fd;
		watch(c, EPOLL_CTL_ADD);
	}
}

static void end_turn(void)
{
	for (size_t i = 0; i < loop.dirty.n; i++) {
		loop.dirty.v[i]->dirty = false;
		flush(loop.dirty.v[i]);
	}
	loop.dirty.n = 0;
	for (size_t i = 0; i < loop.closed.n; i++) {
		buf_deinit(&loop.closed.v[i]->in);
		buf_deinit(&loop.closed.v[i]->out);
		free(loop.closed.v[i]);
	}
	loop.closed.n = 0;
}

static void turn(void)
{
	struct epoll_event ready[READY_MAX];
	int n = epoll_wait(loop.epoll, ready, READY_MAX, -1);

	for (int i = 0; i < n; i++) {
		struct conn *c = ready[i].data.ptr;

		if (!c) {
			accept_all();
			continue;
		}
		if (c->fd >= 0 && (ready[i].events & EPOLLOUT))
			flush(c);
		if (c->fd >= 0 && (ready[i].events & ~(unsigned)EPOLLOUT))
			on_readable(c);
	}
	end_turn();
}

static bool listen_on(const char *host, const char *port)
{
	struct sockaddr_in at = {.sin_family = AF_INET,
				 .sin_port = htons((uint16_t)atoi(port))};
	struct epoll_event e = {.events = EPOLLIN};
	const int on = 1;

	loop.epoll = epoll_create1(EPOLL_CLOEXEC);
	loop.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	return inet_pton(AF_INET, host, &at.sin_addr) == 1 &&
	       setsockopt(loop.listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ==
		       0 &&
	       bind(loop.listener, (struct sockaddr *)&at, sizeof(at)) == 0 &&
	       listen(loop.listener, BACKLOG) == 0 &&
	       epoll_ctl(loop.epoll, EPOLL_CTL_ADD, loop.listener, &e) == 0;
}

static void raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

int main(int argc, char **argv)
{
	if (argc != 4 || (strcmp(argv[3], "send") != 0 && strcmp(argv[3], "turn") != 0)) {
		fprintf(stderr, "usage: plain-loop HOST PORT send|turn\n");
		return 2;
	}
	loop.once_a_turn = strcmp(argv[3], "turn") == 0;
	raise_file_limit();
	if (!listen_on(argv[1], argv[2])) {
		perror("plain-loop");
		return 1;
	}
	printf("listening\n");
	fflush(stdout);
	for (;;)
		turn();
}
