/* Flow control over TLS. lws reads on as long as OpenSSL has something of a record left,
 * and an order from inside RECEIVE to stop makes it go round in that loop for ever
 * (4.1.6) or close the connection (4.3.5). So such an order is carried out when lws is
 * done: in libuv's prepare phase, before anything else can be read. Until then comes what
 * is left of the record, 16 KB at most. */
#include "gateway/lws_internal.h"
#include "gateway/node.h"

static void stop_reading(struct lws_client *c)
{
	list_remove(&c->due);
	lws_rx_flow_control(c->wsi, 0);
}

static void on_prepare(uv_prepare_t *prepare)
{
	struct server *s = prepare->data;
	struct link *it, *tmp;

	list_each(it, tmp, &s->flow_due)
		stop_reading(container_of(it, struct lws_client, due));
}

void lws_flow_open(struct server *s)
{
	link_init(&s->flow_due);
	uv_prepare_init(s->node->loop, &s->flow_prepare);
	s->flow_prepare.data = s;
	uv_prepare_start(&s->flow_prepare, on_prepare);
	uv_unref((uv_handle_t *)&s->flow_prepare);
}

void lws_flow_set(struct lws_client *c, bool on)
{
	list_remove(&c->due);
	if (!on && c->receiving && lws_is_ssl(c->wsi))
		list_push(&c->server->flow_due, &c->due);
	else
		lws_rx_flow_control(c->wsi, on);
}
