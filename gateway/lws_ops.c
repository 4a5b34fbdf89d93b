/* The operators' pages over HTTP. */
#include "gateway/lws_internal.h"
#include "gateway/node.h"

/* 200 and `well`, or 503 and why not. */
static void state(const char *why_not, const char *well, struct lws_response *r,
		  struct buf *body)
{
	if (why_not)
		buf_printf(body, "not %s: %s\n", well, why_not);
	else
		buf_printf(body, "%s\n", well);
	r->status = why_not ? 503 : 200;
}

int lws_ops_request(struct lws_client *c, bool head, struct slice path)
{
	struct lws_response r = {.status = 200, .type = "text/plain; charset=utf-8"};
	const struct ops_source *ops = &c->server->node->ops;
	struct buf body = BUF_INIT;
	int result;

	if (slice_eq(path, SLICE_LIT("/healthz"))) {
		state(ops->unhealthy(ops->arg), "ok", &r, &body);
	} else if (slice_eq(path, SLICE_LIT("/readyz"))) {
		state(ops->unready(ops->arg), "ready", &r, &body);
	} else if (slice_eq(path, SLICE_LIT("/metrics"))) {
		r.type = "text/plain; version=0.0.4; charset=utf-8";
		ops->metrics(ops->arg, &body);
	} else {
		r.status = 404;
		buf_str(&body, "not found; here are /healthz, /readyz and /metrics\n");
	}
	r.body = buf_view(&body);
	result = lws_http_respond(c, head, &r);
	buf_deinit(&body);
	return result;
}
