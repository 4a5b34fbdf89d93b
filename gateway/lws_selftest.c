/* Does this libwebsockets send raw bytes on a WebSocket as they are (lws_ws.c)? Nothing
 * documents that it does, and the package may be upgraded under us; so one WebSocket is
 * opened to ourselves before anybody else may come, and its first frame is looked at. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/lws_internal.h"
#include "gateway/node.h"

enum { SELFTEST_MS = 5000 };

/* A connected pair on the loopback interface; lws wants TCP. */
static bool tcp_pair(int fds[2])
{
	struct sockaddr_in at = {.sin_family = AF_INET};
	socklen_t n = sizeof(at);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	fds[0] = fds[1] = -1;
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (listener >= 0 && bind(listener, (struct sockaddr *)&at, sizeof(at)) == 0 &&
	    listen(listener, 1) == 0 &&
	    getsockname(listener, (struct sockaddr *)&at, &n) == 0) {
		fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fds[0] >= 0 && connect(fds[0], (struct sockaddr *)&at, n) == 0)
			fds[1] = accept4(listener, NULL, NULL,
					 SOCK_NONBLOCK | SOCK_CLOEXEC);
	}
	if (listener >= 0)
		close(listener);
	if (fds[1] < 0 && fds[0] >= 0)
		close(fds[0]);
	return fds[1] >= 0;
}

static bool send_request(const struct server *s, int fd)
{
	struct buf request = BUF_INIT;
	ssize_t sent;

	buf_printf(&request,
		   "GET %s?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\n"
		   "Connection: Upgrade\r\nUpgrade: websocket\r\n"
		   "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
		   "AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
		   s->node->config->path);
	sent = send(fd, request.p, request.n, MSG_NOSIGNAL);
	buf_deinit(&request);
	return sent > 0;
}

/* What follows the handshake's headers; false: not there yet. */
static bool first_frame(const struct buf *in, struct slice *frame)
{
	const uint8_t *end = in->n ? memmem(in->p, in->n, "\r\n\r\n", 4) : NULL;

	if (!end)
		return false;
	*frame = slice_skip(buf_view(in), (size_t)(end - in->p) + 4);
	return frame->n >= 2 && frame->n >= (size_t)(frame->p[1] & 0x7f) + 2;
}

/* An open packet shorter than 126 bytes: FIN and text, length, "0{". */
static bool is_open_packet(struct slice frame)
{
	return frame.p[0] == 0x81 && frame.n == (size_t)frame.p[1] + 2 && frame.n > 4 &&
	       frame.p[2] == '0' && frame.p[3] == '{';
}

static bool read_open_packet(struct server *s, int fd)
{
	uint64_t deadline = env_now_ms(s->node->env) + SELFTEST_MS;
	struct buf in = BUF_INIT;
	struct slice frame;
	bool good = false;

	while (env_now_ms(s->node->env) < deadline) {
		ssize_t n;

		uv_run(s->node->loop, UV_RUN_NOWAIT);
		conns_turn(s->node);
		n = recv(fd, buf_reserve(&in, 1024), 1024, MSG_DONTWAIT);
		if (n == 0)
			break;
		if (n > 0)
			buf_commit(&in, (size_t)n);
		if (first_frame(&in, &frame)) {
			good = is_open_packet(frame);
			break;
		}
	}
	buf_deinit(&in);
	return good;
}

bool server_self_test(struct server *s)
{
	const struct accept_kind kind = {.role = SERVER_CLIENTS};
	int fds[2];
	bool good;

	if (!tcp_pair(fds))
		return false;
	s->testing = true;
	good = lws_server_adopt(s, fds[1], &kind, NULL) && send_request(s, fds[0]) &&
	       read_open_packet(s, fds[0]);
	close(fds[0]);
	s->testing = false;
	conns_close_all(s->node, CONN_CLOSE_PEER);
	conns_turn(s->node);
	s->node->metrics = (struct metrics){0};
	return good;
}
