/* WebSockets as transports of conns. */
#include <stdlib.h>

#include "gateway/lws_internal.h"
#include "gateway/node.h"
#include "proto/mem.h"

/* A WebSocket and its conn; lws's opaque user data. */
struct ws {
	struct lws *wsi;
	struct conn *conn;
	struct buf rx; /* a message of which more is to come */
};

static void ws_free(struct ws *w)
{
	lws_set_opaque_user_data(w->wsi, NULL);
	buf_deinit(&w->rx);
	free(w);
}

/* LWS_WRITE_HTTP on a WebSocket sends the bytes as they are, and keeps what the kernel
 * did not take; nothing documents it. Frames are built once and shared (frame.h), so this
 * is what makes fan-out cheap; tests/conformance would see it break. */
static enum transport_result ws_write(void *transport, struct slice bytes)
{
	struct ws *w = transport;
	/* lws does not change the bytes of a raw write, though it takes them as its own.
	 */
	uint8_t *p = (uint8_t *)(uintptr_t)bytes.p;

	if (lws_write(w->wsi, p, bytes.n, LWS_WRITE_HTTP) < (int)bytes.n) {
		struct lws *wsi = w->wsi;

		ws_free(w);
		lws_set_timeout(wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_SYNC);
		return TRANSPORT_BROKEN;
	}
	if (!lws_partial_buffered(w->wsi))
		return TRANSPORT_SENT;
	lws_callback_on_writable(w->wsi);
	return TRANSPORT_CHOKED;
}

static void ws_read(void *transport, bool on)
{
	struct ws *w = transport;

	lws_rx_flow_control(w->wsi, on);
}

static enum lws_close_status close_status(enum conn_close reason)
{
	switch (reason) {
	case CONN_CLOSE_PARSE_ERROR:
		return LWS_CLOSE_STATUS_PROTOCOL_ERR;
	case CONN_CLOSE_TOO_BIG:
		return LWS_CLOSE_STATUS_MESSAGE_TOO_LARGE;
	case CONN_CLOSE_SHUTDOWN:
		return LWS_CLOSE_STATUS_GOINGAWAY;
	case CONN_CLOSE_BACKEND_AWAY:
		return LWS_CLOSE_STATUS_UNEXPECTED_CONDITION;
	case CONN_CLOSE_PEER:
	case CONN_CLOSE_SERVER:
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
	struct ws *w = transport;
	struct lws *wsi = w->wsi;
	enum lws_close_status status = close_status(reason);

	ws_free(w);
	if (status != LWS_CLOSE_STATUS_NOSTATUS) {
		/* The peer's answer must be read, or lws waits for it in vain: 5 s. */
		lws_rx_flow_control(wsi, 1);
		lws_close_reason(wsi, status, NULL, 0);
	}
	lws_set_timeout(wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_SYNC);
}

static const struct transport_ops ws_ops = {ws_write, ws_read, ws_close};

static void deliver(struct ws *w, struct slice bytes)
{
	if (lws_frame_is_binary(w->wsi))
		conn_on_binary(w->conn, bytes);
	else
		conn_on_text(w->conn, bytes);
}

/* lws hands over pieces of at most its receive buffer's size. A message that fits in one
 * is passed on without a copy. */
static void on_receive(struct server *s, struct ws *w, struct slice piece)
{
	size_t rest = lws_remaining_packet_payload(w->wsi);

	if (w->conn->state != CONN_OPEN)
		return;
	if (w->rx.n + piece.n + rest > s->node->config->max_http_buffer_size) {
		conn_close(w->conn, CONN_CLOSE_TOO_BIG);
		return;
	}
	if (rest || !lws_is_final_fragment(w->wsi)) {
		buf_reserve(&w->rx, piece.n + rest);
		buf_slice(&w->rx, piece);
		return;
	}
	if (w->rx.n == 0) {
		deliver(w, piece);
		return;
	}
	buf_slice(&w->rx, piece);
	deliver(w, buf_view(&w->rx));
	buf_deinit(&w->rx);
}

static int on_established(struct server *s, struct lws *wsi)
{
	struct ws *w = mem_zalloc(1, sizeof(*w));

	w->wsi = wsi;
	lws_set_opaque_user_data(wsi, w);
	w->conn = conn_new(s->node, &ws_ops, w);
	return 0;
}

int lws_ws_event(struct server *s, struct lws *wsi, enum lws_callback_reasons reason,
		 const void *in, size_t n)
{
	struct ws *w = lws_get_opaque_user_data(wsi);
	struct conn *c;

	if (reason == LWS_CALLBACK_ESTABLISHED)
		return on_established(s, wsi);
	if (!w)
		return 0; /* closed by us; lws is still saying good-bye */
	if (reason == LWS_CALLBACK_RECEIVE) {
		on_receive(s, w, slice_of(in, n));
	} else if (reason == LWS_CALLBACK_SERVER_WRITEABLE) {
		conn_on_writable(w->conn);
	} else if (reason == LWS_CALLBACK_CLOSED) {
		c = w->conn;
		ws_free(w);
		conn_on_transport_closed(c, CONN_CLOSE_PEER);
	}
	return 0;
}
