/* More than one read in a turn. lws reads no more of a WebSocket at a time than its
 * receive buffer holds, which is small, since there is one for each; then it waits for
 * the loop to say again that there is something. So of several events that came together
 * each would make a turn of its own, with its own write to every receiver. Who filled the
 * buffer is therefore read from again until nothing is left, before the turn: in libuv's
 * check phase, which is behind its polls.
 *
 * Over TLS lws does so by itself, up to the end of a record, which may be 16 KB. */
#include "gateway/lws_internal.h"
#include "gateway/node.h"

enum {
	/* Others get their turn between: as much as of a TLS record. */
	READS_PER_TURN = 16 * 1024 / LWS_RX_BUFFER,
	/* Of what a read brings that is no message: heads of frames. */
	HEADS_MAX = 32,
};

static void read_once(struct lws_client *c)
{
	struct lws_pollfd readable = {
		.fd = lws_get_socket_fd(c->wsi),
		.events = LWS_POLLIN,
		.revents = LWS_POLLIN,
	};

	c->received = 0;
	lws_service_fd(c->server->context, &readable); /* `c` may be gone */
}

static void on_check(uv_check_t *check)
{
	struct server *s = check->data;
	struct link now, *l;

	link_init(&now);
	for (int i = 1; i < READS_PER_TURN && !list_empty(&s->read_again); i++) {
		list_splice(&now, &s->read_again);
		while ((l = list_pop(&now)))
			read_once(container_of(l, struct lws_client, due));
	}
	while (list_pop(&s->read_again))
		continue; /* its poll will say it again */
	s->turn++;
}

void lws_read_open(struct server *s)
{
	link_init(&s->read_again);
	uv_check_init(s->node->loop, &s->read_check);
	s->read_check.data = s;
	uv_check_start(&s->read_check, on_check);
	uv_unref((uv_handle_t *)&s->read_check);
}

void lws_read_received(struct lws_client *c, size_t n)
{
	if (c->turn != c->server->turn) {
		c->turn = c->server->turn;
		c->received = 0;
	}
	c->received = (uint16_t)(c->received + n);
	if (c->received < LWS_RX_BUFFER - HEADS_MAX || !list_empty(&c->due))
		return;
	if (c->conn && c->conn->state == CONN_OPEN && !c->conn->held &&
	    !lws_is_ssl(c->wsi))
		list_push(&c->server->read_again, &c->due);
}
