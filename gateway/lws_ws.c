/* WebSockets as transports of conns. */
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "gateway/lws_internal.h"
#include "gateway/node.h"
#include "proto/mem.h"

static void drop_rx(struct lws_client *w)
{
	if (!w->rx)
		return;
	buf_deinit(w->rx);
	free(w->rx);
	w->rx = NULL;
}

static void drop_address(struct lws_client *w)
{
	free(w->address);
	w->address = NULL;
}

void lws_ws_deinit(struct lws_client *w)
{
	drop_rx(w);
	drop_address(w);
}

/* The conn is done with it; lws is still to say good-bye. */
static void let_go(struct lws_client *w)
{
	w->conn = NULL;
	w->upgrade = NULL;
	lws_ws_deinit(w);
}

/* A segment less is 4 µs of the 60 that a client takes to come in, against half a one for
 * the two calls. A unix socket has no such option, and needs none. */
static void cork(const struct lws_client *w, int on)
{
	setsockopt(lws_get_socket_fd(w->wsi), IPPROTO_TCP, TCP_CORK, &on, sizeof(on));
}

void lws_ws_hold_answer(struct lws_client *w)
{
	w->answer_held = true;
	cork(w, 1);
}

/* Once for a client, in the function that runs for each message. */
static __attribute__((noinline)) void let_answer_go(struct lws_client *w)
{
	w->answer_held = false;
	cork(w, 0);
}

/* Most of what is sent needs nothing of lws, which takes longer for it than we do. What
 * the kernel did not take, and every error, is lws's; and in the self-test all, since it
 * is lws that is tested there. */
static struct slice send_now(const struct lws_client *w, struct slice bytes)
{
	ssize_t n;

	if (lws_partial_buffered(w->wsi) || lws_is_ssl(w->wsi) || w->server->testing)
		return bytes;
	n = send(lws_get_socket_fd(w->wsi), bytes.p, bytes.n, MSG_NOSIGNAL);
	return n > 0 ? slice_skip(bytes, (size_t)n) : bytes;
}

/* LWS_WRITE_HTTP on a WebSocket sends the bytes as they are, and keeps what the kernel
 * did not take; nothing documents it. Frames are built once and shared (frame.h), so this
 * is what makes fan-out cheap; tests/conformance would see it break. */
static enum transport_result ws_write(void *transport, struct slice bytes)
{
	struct lws_client *w = transport;
	struct slice rest = send_now(w, bytes);
	/* lws does not change the bytes of a raw write, though it takes them as its own.
	 */
	uint8_t *p = (uint8_t *)(uintptr_t)rest.p;

	if (rest.n && lws_write(w->wsi, p, rest.n, LWS_WRITE_HTTP) < (int)rest.n) {
		let_go(w);
		lws_set_timeout(w->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_SYNC);
		return TRANSPORT_BROKEN;
	}
	if (w->answer_held)
		let_answer_go(w);
	if (!rest.n || !lws_partial_buffered(w->wsi))
		return TRANSPORT_SENT;
	lws_callback_on_writable(w->wsi);
	return TRANSPORT_CHOKED;
}

static void ws_read(void *transport, bool on)
{
	struct lws_client *w = transport;

	lws_flow_set(w, on);
}

static enum lws_close_status close_status(enum conn_close reason)
{
	switch (reason) {
	case CONN_CLOSE_PARSE_ERROR:
	case CONN_CLOSE_TRANSPORT_ERROR:
		return LWS_CLOSE_STATUS_PROTOCOL_ERR;
	case CONN_CLOSE_TOO_BIG:
		return LWS_CLOSE_STATUS_MESSAGE_TOO_LARGE;
	case CONN_CLOSE_SHUTDOWN:
		return LWS_CLOSE_STATUS_GOINGAWAY;
	case CONN_CLOSE_BACKEND_AWAY:
		return LWS_CLOSE_STATUS_UNEXPECTED_CONDITION;
	case CONN_CLOSE_PEER:
	case CONN_CLOSE_SERVER:
	case CONN_CLOSE_TAKEN:
	case CONN_CLOSE_MISSED:
	case CONN_CLOSE_CONNECT_TIMEOUT:
		return LWS_CLOSE_STATUS_NORMAL;
	case CONN_CLOSE_PING_TIMEOUT:
	case CONN_CLOSE_SLOW_READER:
		break;
	}
	return LWS_CLOSE_STATUS_NOSTATUS; /* it does not listen: drop the connection */
}

static void ws_close(void *transport, enum conn_close reason)
{
	struct lws_client *w = transport;
	struct lws *wsi = w->wsi;
	enum lws_close_status status = close_status(reason);

	let_go(w);
	if (status != LWS_CLOSE_STATUS_NOSTATUS) {
		/* The peer's answer must be read, or lws waits for it in vain: 5 s. */
		lws_rx_flow_control(wsi, 1);
		lws_close_reason(wsi, status, NULL, 0);
	}
	lws_set_timeout(wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_SYNC);
}

static const struct transport_ops ws_ops = {
	.write = ws_write,
	.read = ws_read,
	.close = ws_close,
	.gather_bytes_max = (size_t)64 * 1024,
};

static void attach(void *transport, struct conn *c)
{
	struct lws_client *w = transport;

	w->upgrade = NULL;
	w->conn = c;
	if (c->address.family == ADDRESS_NONE) /* it comes from another node */
		conn_set_address(c, *w->address);
	drop_address(w);
}

static const struct upgrade_ops upgrade_ops = {&ws_ops, attach};

static void deliver(struct lws_client *w, struct slice bytes)
{
	bool binary = lws_frame_is_binary(w->wsi);

	if (w->upgrade)
		upgrade_on_packet(w->upgrade, bytes, binary);
	else
		conn_on_frame(w->conn, bytes, binary);
}

static void too_big(struct lws_client *w)
{
	if (w->conn)
		conn_close(w->conn, CONN_CLOSE_TOO_BIG);
	else
		upgrade_on_packet(w->upgrade, SLICE_EMPTY, true); /* what it refuses */
}

/* lws hands over pieces of at most its receive buffer's size. A message that fits in one
 * is passed on without a copy. */
static void on_receive(struct lws_client *w, struct slice piece)
{
	size_t rest = lws_remaining_packet_payload(w->wsi);
	size_t before = w->rx ? w->rx->n : 0;

	if (w->conn && w->conn->state != CONN_OPEN)
		return;
	if (before + piece.n + rest > w->server->node->config->max_http_buffer_size) {
		too_big(w);
		return;
	}
	if (rest || !lws_is_final_fragment(w->wsi)) {
		if (!w->rx)
			w->rx = mem_zalloc(1, sizeof(*w->rx));
		buf_reserve(w->rx, piece.n + rest);
		buf_slice(w->rx, piece);
		return;
	}
	if (before == 0) {
		deliver(w, piece);
		return;
	}
	buf_slice(w->rx, piece);
	deliver(w, buf_view(w->rx));
	drop_rx(w);
}

static void on_established(struct lws_client *w)
{
	char query[LWS_HTTP_HEADERS_MAX];
	struct eio_query q = lws_http_query(w->wsi, query);
	struct address address = lws_accept_client(w);
	struct node *n = w->server->node;

	lws_accept_on_end(w);
	if (q.sid.n) {
		w->address = mem_alloc(sizeof(*w->address));
		*w->address = address;
		w->upgrade = upgrade_new(n, &q, &upgrade_ops, w);
		return;
	}
	w->conn = conn_new(n, &ws_ops, w, &q, false);
	conn_set_address(w->conn, address);
}

static void on_closed(struct lws_client *w)
{
	struct conn *c = w->conn;
	struct upgrade *u = w->upgrade;

	let_go(w);
	if (c)
		conn_on_transport_closed(c, CONN_CLOSE_PEER);
	else
		upgrade_on_transport_closed(u);
}

void lws_ws_event(struct lws_client *w, enum lws_callback_reasons reason, const void *in,
		  size_t n)
{
	if (reason == LWS_CALLBACK_ESTABLISHED)
		on_established(w);
	else if (!w->conn && !w->upgrade)
		return; /* closed by us; lws is still saying good-bye */
	else if (reason == LWS_CALLBACK_RECEIVE) {
		w->receiving = true;
		on_receive(w, slice_of(in, n)); /* which never ends the connection */
		w->receiving = false;
		lws_read_received(w, n);
	} else if (reason == LWS_CALLBACK_SERVER_WRITEABLE && w->conn)
		conn_on_writable(w->conn);
	else if (reason == LWS_CALLBACK_CLOSED)
		on_closed(w);
}
