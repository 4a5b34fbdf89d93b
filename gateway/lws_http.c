/* HTTP requests: the operators' pages, and what Engine.IO answers to those that are no
 * WebSocket. */
#include "gateway/log.h"
#include "gateway/lws_internal.h"
#include "gateway/node.h"

enum { HEADER_MAX = 1024, HINT_AGAIN_MS = 60 * 1000 };

static const char *reason_phrase(int status)
{
	switch (status) {
	case 200:
		return "OK";
	case 304:
		return "Not Modified";
	case 400:
		return "Bad Request";
	case 403:
		return "Forbidden";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	default:
		return "Service Unavailable";
	}
}

/* Is what follows the request's headers something else than the next request? lws would
 * take it for one, or hand it to us. */
static bool more_follows(struct lws *wsi)
{
	return lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH) ||
	       lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING) ||
	       lws_hdr_total_length(wsi, WSI_TOKEN_UPGRADE);
}

/* Headers and body in one write, unless the body can wait for the peer to take it. */
int lws_http_respond(struct server *s, struct lws *wsi, bool head,
		     const struct lws_response *r)
{
	struct buf *b = &s->out;
	struct slice body = head || r->status == 304 ? SLICE_EMPTY : r->body;
	bool more = more_follows(wsi);
	/* Of a node that stops: what comes next goes to another, over another connection.
	 */
	bool close = r->close || more || node_is_stopping(s->node);
	/* Where more follows lws is done with the connection when this returns. */
	bool later = r->lasting && body.n && !more;
	bool failed;

	buf_clear(b);
	buf_reserve(b, LWS_PRE);
	buf_commit(b, LWS_PRE);
	buf_printf(b,
		   "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%s"
		   "X-Content-Type-Options: nosniff\r\nConnection: %s\r\n\r\n",
		   r->status, reason_phrase(r->status), r->type, r->body.n,
		   r->headers ? r->headers : "", close ? "close" : "keep-alive");
	if (!later)
		buf_slice(b, body);
	failed = lws_write(wsi, b->p + LWS_PRE, b->n - LWS_PRE,
			   later ? LWS_WRITE_HTTP : LWS_WRITE_HTTP_FINAL) < 0;
	buf_clear(b);
	buf_trim(b, NODE_SCRATCH_KEEP);
	if (failed)
		return -1;
	if (later)
		return lws_files_send(wsi, body, close);
	return close || lws_http_transaction_completed(wsi) ? -1 : 0;
}

/* Copy a header; empty if it is absent or longer than HEADER_MAX. */
static struct slice header(struct lws *wsi, enum lws_token_indexes token,
			   char out[HEADER_MAX])
{
	int n = lws_hdr_copy(wsi, out, HEADER_MAX, token);

	return n > 0 ? slice_of(out, (size_t)n) : SLICE_EMPTY;
}

static struct slice uri(struct lws *wsi, int *method)
{
	char *p = NULL;
	int n = 0;

	*method = lws_http_get_uri_and_method(wsi, &p, &n);
	return p && n > 0 ? slice_of(p, (size_t)n) : SLICE_EMPTY;
}

/* Is it time to give this hint (again)? */
static bool hint_due(struct server *s, enum hint hint)
{
	uint64_t now = env_now_ms(s->node->env);

	if (s->hinted_ms[hint] && now - s->hinted_ms[hint] < HINT_AGAIN_MS)
		return false;
	s->hinted_ms[hint] = now;
	return true;
}

/* --- Engine.IO --- */

/* `path` ends with a slash; the request's may lack it. */
static bool is_engine_path(const struct config *c, struct slice path)
{
	struct slice want = slice_str(c->path);

	return slice_eq(path, want) || slice_eq(path, slice_of(want.p, want.n - 1));
}

/* lws keeps the query in pieces, one an argument. */
static struct eio_query engine_query(struct lws *wsi, char out[LWS_HTTP_HEADERS_MAX])
{
	struct eio_query q;
	size_t used = 0;
	int n;

	for (int i = 0; used + 2 < LWS_HTTP_HEADERS_MAX; i++) {
		n = lws_hdr_copy_fragment(wsi, out + used,
					  (int)(LWS_HTTP_HEADERS_MAX - used),
					  WSI_TOKEN_HTTP_URI_ARGS, i);
		if (n < 0)
			break;
		used += (size_t)n;
		out[used++] = '&';
	}
	eio_parse_query(slice_of(out, used), &q);
	return q;
}

/* The host and port of "scheme://host:port". */
static struct slice origin_host(struct slice origin)
{
	for (size_t i = 0; i + 3 <= origin.n; i++) {
		if (memcmp(origin.p + i, "://", 3) == 0)
			return slice_skip(origin, i + 3);
	}
	return SLICE_EMPTY;
}

/* Browsers always send Origin with a WebSocket; who sends none is no browser, and no page
 * can be used to reach us through it. */
static bool origin_allowed(const struct config *c, struct lws *wsi)
{
	char origin_buf[HEADER_MAX], host_buf[HEADER_MAX];
	struct slice origin = header(wsi, WSI_TOKEN_ORIGIN, origin_buf);
	struct slice host = header(wsi, WSI_TOKEN_HOST, host_buf);

	if (lws_hdr_total_length(wsi, WSI_TOKEN_ORIGIN) == 0)
		return true;
	for (size_t i = 0; i < c->origins.n; i++) {
		struct slice allowed = slice_str(c->origins.v[i]);

		if (slice_eq(allowed, SLICE_LIT("*")) ||
		    (origin.n && slice_eq(allowed, origin)))
			return true;
		if (slice_eq(allowed, SLICE_LIT("same")) && host.n &&
		    slice_eq(origin_host(origin), host))
			return true;
	}
	return false;
}

/* The clients of Socket.IO 2 and older, whichever transport they begin with. */
static void hint_version(struct server *s, int version)
{
	if (version != 0 && version != 4 && hint_due(s, HINT_VERSION))
		log_event(LOG_INFO, "version_refused",
			  "eio=%d msg=the client speaks another Engine.IO protocol than "
			  "4; use the Socket.IO client 3 or newer",
			  version);
}

static void hint_polling(struct server *s, struct slice origin)
{
	if (hint_due(s, HINT_POLLING))
		log_event(LOG_INFO, "polling_refused",
			  "origin=%.*s msg=a client began with long-polling, which is "
			  "not there yet; make it begin with WebSocket: io(url, { "
			  "transports: [\"websocket\"] })",
			  SLICE_FMT(origin));
}

/* Pages of other origins than ours may read it, or their browsers would speak of CORS
 * instead of the error. */
static int engine_error(struct server *s, struct lws *wsi, bool head,
			enum eio_error error)
{
	struct buf body = BUF_INIT, headers = BUF_INIT;
	char origin_buf[HEADER_MAX];
	struct slice origin = header(wsi, WSI_TOKEN_ORIGIN, origin_buf);
	int result;

	if (origin.n && origin_allowed(s->node->config, wsi))
		buf_printf(&headers,
			   "Access-Control-Allow-Origin: %.*s\r\nVary: Origin\r\n",
			   SLICE_FMT(origin));
	s->node->metrics.conns_refused_bad_request++;
	buf_printf(&body, "{\"code\":%d,\"message\":\"%s\"}", (int)error,
		   eio_error_text(error));
	result =
		lws_http_respond(s, wsi, head,
				 &(struct lws_response){.status = eio_error_status(error),
							.type = "application/json",
							.headers = buf_cstr(&headers),
							.body = buf_view(&body),
							.close = true});
	buf_deinit(&headers);
	buf_deinit(&body);
	return result;
}

/* Long-polling is not there yet: its requests get the answer of a reference server whose
 * transports are ["websocket"]. */
static int engine_request(struct server *s, struct lws *wsi, bool head)
{
	char query[LWS_HTTP_HEADERS_MAX];
	char origin[HEADER_MAX];
	struct eio_query q = engine_query(wsi, query);

	hint_version(s, q.version);
	if (q.transport == EIO_POLLING)
		hint_polling(s, header(wsi, WSI_TOKEN_ORIGIN, origin));
	if (q.transport != EIO_WEBSOCKET)
		return engine_error(s, wsi, head, EIO_ERROR_TRANSPORT_UNKNOWN);
	if (q.sid.n)
		return engine_error(s, wsi, head, EIO_ERROR_SID_UNKNOWN);
	return engine_error(s, wsi, head, EIO_ERROR_BAD_REQUEST);
}

static void hint_origin(struct server *s, struct lws *wsi)
{
	char origin_buf[HEADER_MAX], host_buf[HEADER_MAX];
	struct slice origin = header(wsi, WSI_TOKEN_ORIGIN, origin_buf);
	struct slice host = header(wsi, WSI_TOKEN_HOST, host_buf);

	if (hint_due(s, HINT_ORIGIN))
		log_event(LOG_INFO, "origin_refused",
			  "origin=%.*s host=%.*s msg=the setting origins does not allow "
			  "pages from there to connect; add it if they may",
			  SLICE_FMT(origin), SLICE_FMT(host));
}

/* The answer to a failed upgrade is plain text, as the reference has it. */
static int refuse_upgrade(struct server *s, struct lws *wsi, int status, const char *why)
{
	lws_http_respond(s, wsi, false,
			 &(struct lws_response){.status = status,
						.type = "text/html",
						.body = slice_str(why),
						.close = true});
	return -1;
}

int lws_http_upgrade(struct server *s, struct lws *wsi)
{
	struct node *n = s->node;
	char query[LWS_HTTP_HEADERS_MAX];
	struct eio_query q = engine_query(wsi, query);
	enum eio_error error;
	int method;

	if (!is_engine_path(n->config, uri(wsi, &method)))
		return refuse_upgrade(s, wsi, 404, "Not found");
	if (!origin_allowed(n->config, wsi)) {
		n->metrics.conns_refused_origin++;
		hint_origin(s, wsi);
		return refuse_upgrade(s, wsi, 403,
				      "This origin is not allowed to connect");
	}
	if (n->state > NODE_LINGERING) {
		n->metrics.conns_refused_stopping++;
		return refuse_upgrade(s, wsi, 503, "This server is stopping");
	}
	if (n->conns.n >= n->config->max_conns) {
		n->metrics.conns_refused_max++;
		return refuse_upgrade(s, wsi, 503, "Too many connections");
	}
	if (q.transport != EIO_WEBSOCKET)
		error = EIO_ERROR_TRANSPORT_UNKNOWN;
	else if (q.sid.n)
		error = EIO_ERROR_SID_UNKNOWN;
	else if (method != LWSHUMETH_GET)
		error = EIO_ERROR_BAD_METHOD;
	else if (q.version != 4)
		error = EIO_ERROR_BAD_VERSION;
	else
		return 0;
	hint_version(s, q.version);
	n->metrics.conns_refused_bad_request++;
	return refuse_upgrade(s, wsi, 400, eio_error_text(error));
}

/* --- pages --- */

static int client_request(struct server *s, struct lws *wsi, bool head, struct slice path)
{
	int result;

	if (lws_files_request(s, wsi, head, path, &result))
		return result;
	return lws_http_respond(
		s, wsi, head,
		&(struct lws_response){.status = 404,
				       .type = "text/plain; charset=utf-8",
				       .body = SLICE_LIT("not found\n")});
}

static int ops_request(struct server *s, struct lws *wsi, int method, struct slice path)
{
	struct lws_response r = {.status = 200, .type = "text/plain; charset=utf-8"};
	struct buf body = BUF_INIT;
	int result;

	if (slice_eq(path, SLICE_LIT("/healthz"))) {
		buf_str(&body, "ok\n");
	} else if (slice_eq(path, SLICE_LIT("/readyz"))) {
		bool ready = s->node->state == NODE_READY;

		buf_str(&body, ready ? "ready\n"
			       : node_is_stopping(s->node)
				       ? "not ready: stopping\n"
				       : "not ready: the backend was not reached yet\n");
		r.status = ready ? 200 : 503;
	} else if (slice_eq(path, SLICE_LIT("/metrics"))) {
		r.type = "text/plain; version=0.0.4; charset=utf-8";
		node_metrics(s->node, &body);
	} else {
		r.status = 404;
		buf_str(&body, "not found; here are /healthz, /readyz and /metrics\n");
	}
	r.body = buf_view(&body);
	result = lws_http_respond(s, wsi, method == LWSHUMETH_HEAD, &r);
	buf_deinit(&body);
	return result;
}

int lws_http_request(struct server *s, struct lws *wsi, enum server_role role)
{
	int method;
	struct slice path = uri(wsi, &method);

	if (role == SERVER_CLIENTS && is_engine_path(s->node->config, path))
		return engine_request(s, wsi, method == LWSHUMETH_HEAD);
	if (method != LWSHUMETH_GET && method != LWSHUMETH_HEAD)
		return lws_http_respond(
			s, wsi, false,
			&(struct lws_response){.status = 405,
					       .type = "text/plain; charset=utf-8",
					       .headers = "Allow: GET, HEAD\r\n",
					       .body = SLICE_LIT("GET and HEAD only\n"),
					       .close = true});
	return role == SERVER_OPS
		       ? ops_request(s, wsi, method, path)
		       : client_request(s, wsi, method == LWSHUMETH_HEAD, path);
}
