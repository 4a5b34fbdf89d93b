/* HTTP requests: WebSocket upgrades, and what all requests share. Engine.IO over plain
 * HTTP is in lws_polling.c, the operators' pages are in lws_ops.c. */
#include "gateway/log.h"
#include "gateway/lws_internal.h"
#include "gateway/node.h"
#include "gateway/session.h"

enum { HINT_AGAIN_MS = 60 * 1000 };

static const char *reason_phrase(int status)
{
	switch (status) {
	case 200:
		return "OK";
	case 204:
		return "No Content";
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
	case 411:
		return "Length Required";
	case 413:
		return "Payload Too Large";
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
int lws_http_respond(struct lws_client *c, bool head, const struct lws_response *r)
{
	struct server *s = c->server;
	struct buf *b = &s->out;
	struct slice body = head || r->status == 304 ? SLICE_EMPTY : r->body;
	bool more = !r->body_read && more_follows(c->wsi);
	/* Of a node that stops: what comes next goes to another, over another connection.
	 */
	bool close = r->close || more || c->last || node_is_stopping(s->node);
	/* Where more follows lws is done with the connection when this returns. */
	bool later = r->lasting && body.n && !more;
	bool failed;

	buf_clear(b);
	buf_reserve(b, LWS_PRE);
	buf_commit(b, LWS_PRE);
	buf_printf(b, "HTTP/1.1 %d %s\r\n", r->status, reason_phrase(r->status));
	if (r->type)
		buf_printf(b, "Content-Type: %s\r\n", r->type);
	buf_printf(b,
		   "Content-Length: %zu\r\n%sX-Content-Type-Options: nosniff\r\n"
		   "Connection: %s\r\n\r\n",
		   r->body.n, r->headers ? r->headers : "",
		   close ? "close" : "keep-alive");
	if (!later)
		buf_slice(b, body);
	failed = lws_write(c->wsi, b->p + LWS_PRE, b->n - LWS_PRE,
			   later ? LWS_WRITE_HTTP : LWS_WRITE_HTTP_FINAL) < 0;
	buf_clear(b);
	buf_trim(b, NODE_SCRATCH_KEEP);
	if (failed)
		return -1;
	if (later || (!more && lws_partial_buffered(c->wsi)))
		return lws_files_send(c, later ? body : SLICE_EMPTY, close);
	return close || lws_http_transaction_completed(c->wsi) ? -1 : 0;
}

struct slice lws_http_header(struct lws *wsi, enum lws_token_indexes token,
			     char out[LWS_HEADER_MAX])
{
	int n = lws_hdr_copy(wsi, out, LWS_HEADER_MAX, token);

	return n > 0 ? slice_of(out, (size_t)n) : SLICE_EMPTY;
}

static struct slice uri(struct lws *wsi, int *method)
{
	char *p = NULL;
	int n = 0;

	*method = lws_http_get_uri_and_method(wsi, &p, &n);
	return p && n > 0 ? slice_of(p, (size_t)n) : SLICE_EMPTY;
}

bool lws_http_hint_due(struct server *s, enum hint hint)
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
struct eio_query lws_http_query(struct lws *wsi, char out[LWS_HTTP_HEADERS_MAX])
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

bool lws_http_origin_allowed(const struct config *c, struct lws *wsi)
{
	char origin_buf[LWS_HEADER_MAX], host_buf[LWS_HEADER_MAX];
	struct slice origin = lws_http_header(wsi, WSI_TOKEN_ORIGIN, origin_buf);
	struct slice host = lws_http_header(wsi, WSI_TOKEN_HOST, host_buf);

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

bool lws_http_origin_ok(struct lws_client *c)
{
	struct server *s = c->server;
	char origin_buf[LWS_HEADER_MAX], host_buf[LWS_HEADER_MAX];
	struct slice origin, host;

	if (lws_http_origin_allowed(s->node->config, c->wsi))
		return true;
	s->node->metrics.conns_refused_origin++;
	if (!lws_http_hint_due(s, HINT_ORIGIN))
		return false;
	origin = lws_http_header(c->wsi, WSI_TOKEN_ORIGIN, origin_buf);
	host = lws_http_header(c->wsi, WSI_TOKEN_HOST, host_buf);
	log_event(
		LOG_INFO, "origin_refused",
		"origin=%.*s host=%.*s address=%s msg=the setting origins does not allow "
		"pages from there to connect; add it if they may",
		SLICE_FMT(origin), SLICE_FMT(host), lws_http_client_text(c));
	return false;
}

const char *lws_http_client_text(struct lws_client *c)
{
	static char text[ADDRESS_TEXT_MAX];
	struct address a = lws_accept_client(c);

	return address_print(&a, text);
}

bool lws_http_address_full(struct lws_client *c)
{
	struct node *n = c->server->node;
	const struct config *config = n->config;
	struct address a = lws_accept_client(c);

	if (config->max_conns_per_address == 0 ||
	    address_book_count(&n->addresses, &a, ADDRESS_CONNS) <
		    config->max_conns_per_address ||
	    address_in(&a, config->trusted, config->trusted_proxies.n))
		return false;
	n->metrics.conns_refused_address++;
	if (lws_http_hint_due(c->server, HINT_ADDRESS))
		log_event(LOG_INFO, "address_refused",
			  "address=%s msg=it has as many connections as "
			  "maxConnsPerAddress allows; if this is a proxy, add it to "
			  "trustedProxies",
			  lws_http_client_text(c));
	return true;
}

/* The answer to a failed upgrade is plain text, as the reference has it. */
static int refuse_upgrade(struct lws_client *c, int status, const char *why)
{
	lws_http_respond(c, false,
			 &(struct lws_response){.status = status,
						.type = "text/html",
						.body = slice_str(why),
						.close = true});
	return -1;
}

int lws_http_upgrade(struct lws_client *c)
{
	struct node *n = c->server->node;
	char query[LWS_HTTP_HEADERS_MAX];
	struct eio_query q = lws_http_query(c->wsi, query);
	enum eio_error error;
	int method;

	if (!is_engine_path(n->config, uri(c->wsi, &method)))
		return refuse_upgrade(c, 404, "Not found");
	if (!lws_http_origin_ok(c))
		return refuse_upgrade(c, 403, "This origin is not allowed to connect");
	if (n->state > NODE_LINGERING) {
		n->metrics.conns_refused_stopping++;
		return refuse_upgrade(c, 503, "This server is stopping");
	}
	if (n->conns.n >= n->config->max_conns) {
		n->metrics.conns_refused_max++;
		return refuse_upgrade(c, 503, "Too many connections");
	}
	/* The session of another node is to become one of this node's. */
	if (!conns_find(n, q.sid) && lws_http_address_full(c))
		return refuse_upgrade(c, 503, "Too many connections from this address");
	if (c->server->testing ||
	    session_check(n, &q, method == LWSHUMETH_GET, true, &error)) {
		if (!q.sid.n)
			lws_ws_hold_answer(c);
		return 0;
	}
	lws_polling_hint_version(c, q.version);
	n->metrics.conns_refused_bad_request++;
	return refuse_upgrade(c, 400, eio_error_text(error));
}

/* --- pages --- */

static int client_request(struct lws_client *c, bool head, struct slice path)
{
	int result;

	if (lws_files_request(c, head, path, &result))
		return result;
	return lws_http_respond(
		c, head,
		&(struct lws_response){.status = 404,
				       .type = "text/plain; charset=utf-8",
				       .body = SLICE_LIT("not found\n")});
}

int lws_http_request(struct lws_client *c)
{
	int method;
	struct slice path = uri(c->wsi, &method);

	if (c->role == SERVER_CLIENTS && is_engine_path(c->server->node->config, path))
		return lws_polling_request(c, method);
	if (method != LWSHUMETH_GET && method != LWSHUMETH_HEAD)
		return lws_http_respond(
			c, false,
			&(struct lws_response){.status = 405,
					       .type = "text/plain; charset=utf-8",
					       .headers = "Allow: GET, HEAD\r\n",
					       .body = SLICE_LIT("GET and HEAD only\n"),
					       .close = true});
	return c->role == SERVER_OPS ? lws_ops_request(c, method == LWSHUMETH_HEAD, path)
				     : client_request(c, method == LWSHUMETH_HEAD, path);
}
