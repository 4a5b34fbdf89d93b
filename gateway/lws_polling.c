/* Engine.IO over plain HTTP: the requests of long-polling, their checks, CORS, and what
 * they are answered with. A request becomes an exchange; whoever answers that need not
 * know of lws.
 *
 * Traps of lws that shape this file: with a GET that hangs, lws spins when the client
 * closes half of the connection or pipelines, unless it does not read meanwhile; so a
 * client that is gone has to be looked for (sweep). A POST without a length never
 * completes. Each piece of a body renews lws's timeout. What follows a body in the same
 * read is handed over with it (4.3.5). */
#include <poll.h>
#include <stdlib.h>
#include <zlib.h>

#include "gateway/exchange.h"
#include "gateway/log.h"
#include "gateway/lws_internal.h"
#include "gateway/node.h"
#include "gateway/polling.h"
#include "gateway/session.h"
#include "proto/mem.h"

enum {
	SWEEP_MS = 2000,
	SWEEP_BATCH = 256,
	/* As the reference: smaller bodies are not worth it. */
	COMPRESS_MIN = 1024,
	GZIP_WINDOW = 15 + 16, /* zlib's way to say: the largest, as gzip */
};

struct http_exchange {
	struct exchange base;
	struct lws_client *client; /* NULL: gone, or never to be answered there */
	struct link link;	   /* in server.polling */
	uint64_t since_ms;
	struct eio_query query; /* its sid is `sid` */
	bool post, binary;
	bool complete; /* the whole request is here */
	bool inside;   /* lws is still calling: what respond returned goes to it */
	int result;
	size_t length; /* of a POST's body */
	struct buf body;
	char sid[ID_LEN];
};

/* --- headers --- */

static void cors_headers(struct lws_client *c, struct buf *headers)
{
	const struct config *config = c->server->node->config;
	char origin_buf[LWS_HEADER_MAX];
	struct slice origin = lws_http_header(c->wsi, WSI_TOKEN_ORIGIN, origin_buf);

	if (!config->cors)
		return;
	if (!config->cors_credentials && config_has_origin(config, SLICE_LIT("*"))) {
		buf_str(headers, "Access-Control-Allow-Origin: *\r\n");
		return;
	}
	buf_str(headers, "Vary: Origin\r\n");
	if (!origin.n || !lws_http_origin_allowed(config, c->wsi))
		return;
	buf_printf(headers, "Access-Control-Allow-Origin: %.*s\r\n", SLICE_FMT(origin));
	if (config->cors_credentials)
		buf_str(headers, "Access-Control-Allow-Credentials: true\r\n");
}

static int respond(struct lws_client *c, bool head, struct lws_response *r,
		   const char *headers)
{
	struct buf all = BUF_INIT;
	int result;

	cors_headers(c, &all);
	buf_str(&all, headers);
	r->headers = buf_cstr(&all);
	result = lws_http_respond(c, head, r);
	buf_deinit(&all);
	return result;
}

/* Browsers ask before a request of another origin that is not simple; any node may
 * answer, since the answer is about origins and not about sessions. */
static int preflight(struct lws_client *c)
{
	char asked_buf[LWS_HEADER_MAX];
	struct slice asked =
		lws_http_header(c->wsi, WSI_TOKEN_HTTP_AC_REQUEST_HEADERS, asked_buf);
	struct buf headers = BUF_INIT;
	int result;

	buf_str(&headers, "Access-Control-Allow-Methods: GET, POST\r\n"
			  "Access-Control-Max-Age: 600\r\n");
	if (asked.n)
		buf_printf(&headers,
			   "Access-Control-Allow-Headers: %.*s\r\n"
			   "Vary: Access-Control-Request-Headers\r\n",
			   SLICE_FMT(asked));
	result = respond(c, false, &(struct lws_response){.status = 204},
			 buf_cstr(&headers));
	buf_deinit(&headers);
	return result;
}

/* --- hints --- */

void lws_polling_hint_version(struct lws_client *c, int version)
{
	if (version != 0 && version != 4 &&
	    !(version == 3 && c->server->node->config->allow_eio3) &&
	    lws_http_hint_due(c->server, HINT_VERSION))
		log_event(LOG_INFO, "version_refused",
			  "eio=%d address=%s msg=the client speaks another Engine.IO "
			  "protocol than 4; use the Socket.IO client 3 or newer, or "
			  "allow version 3 with the setting allowEIO3",
			  version, lws_http_client_text(c));
}

/* --- answers --- */

static int respond_error(struct lws_client *c, bool head, enum eio_error error,
			 bool body_read)
{
	struct buf body = BUF_INIT;
	int result;

	buf_printf(&body, "{\"code\":%d,\"message\":\"%s\"}", (int)error,
		   eio_error_text(error));
	result = respond(c, head,
			 &(struct lws_response){.status = eio_error_status(error),
						.type = "application/json",
						.body = buf_view(&body),
						.body_read = body_read},
			 "Cache-Control: no-store\r\n");
	buf_deinit(&body);
	return result;
}

static int respond_empty(struct lws_client *c, int status, bool body_read, bool close)
{
	return respond(c, false,
		       &(struct lws_response){
			       .status = status, .close = close, .body_read = body_read},
		       "Cache-Control: no-store\r\n");
}

static struct slice trim(struct slice s)
{
	while (s.n && (s.p[0] == ' ' || s.p[0] == '\t'))
		s = slice_skip(s, 1);
	while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
		s.n--;
	return s;
}

/* Cut `s` at the first `c`, as far as there is one. */
static struct slice cut(struct slice s, char c, struct slice *rest)
{
	const uint8_t *at = s.n ? memchr(s.p, c, s.n) : NULL;
	struct slice head = at ? slice_of(s.p, (size_t)(at - s.p)) : s;

	*rest = at ? slice_skip(s, head.n + 1) : SLICE_EMPTY;
	return trim(head);
}

/* "q=0", "q=0.000": not at all. */
static bool is_zero(struct slice weight)
{
	if (weight.n < 3 || (weight.p[0] | 0x20) != 'q' || weight.p[1] != '=')
		return false;
	for (size_t i = 2; i < weight.n; i++) {
		if (weight.p[i] != '0' && weight.p[i] != '.')
			return false;
	}
	return true;
}

/* RFC 9110, 12.5.3. */
static bool accepts_gzip(struct lws *wsi)
{
	char buf[LWS_HEADER_MAX];
	struct slice rest = lws_http_header(wsi, WSI_TOKEN_HTTP_ACCEPT_ENCODING, buf);
	bool any = false;

	while (rest.n) {
		struct slice weight, coding = cut(cut(rest, ',', &rest), ';', &weight);

		if (coding.n == 4 && strncasecmp((const char *)coding.p, "gzip", 4) == 0)
			return !is_zero(trim(weight));
		any |= slice_eq(coding, SLICE_LIT("*")) && !is_zero(trim(weight));
	}
	return any;
}

/* False: it did not get smaller. Fast rather than small, since the loop waits. */
static bool gzip(struct slice body, struct buf *out)
{
	z_stream z = {0};
	size_t room;
	bool good;

	if (deflateInit2(&z, Z_BEST_SPEED, Z_DEFLATED, GZIP_WINDOW, 8,
			 Z_DEFAULT_STRATEGY) != Z_OK)
		return false;
	room = deflateBound(&z, body.n);
	z.next_in = (uint8_t *)(uintptr_t)body.p; /* zlib does not change it */
	z.avail_in = (unsigned)body.n;
	z.next_out = buf_reserve(out, room);
	z.avail_out = (unsigned)room;
	good = deflate(&z, Z_FINISH) == Z_STREAM_END && z.total_out < body.n;
	if (good)
		buf_commit(out, z.total_out);
	deflateEnd(&z);
	return good;
}

static int respond_payload(struct lws_client *c, const struct answer *a)
{
	const struct config *config = c->server->node->config;
	struct buf headers = BUF_INIT, zipped = BUF_INIT;
	struct lws_response r = {
		.status = 200,
		.type = a->binary ? "application/octet-stream"
				  : "text/plain; charset=UTF-8",
		.body = a->body,
		.body_read = true,
	};
	int result;

	buf_str(&headers, "Cache-Control: no-store\r\n");
	if (a->sid.n && config->cookie)
		buf_printf(&headers,
			   "Set-Cookie: %s=%.*s; Path=/; HttpOnly; SameSite=Lax\r\n",
			   config->cookie, SLICE_FMT(a->sid));
	if (config->http_compression && a->body.n >= COMPRESS_MIN &&
	    a->body.n < UINT32_MAX && accepts_gzip(c->wsi) && gzip(a->body, &zipped)) {
		buf_str(&headers, "Content-Encoding: gzip\r\nVary: Accept-Encoding\r\n");
		r.body = buf_view(&zipped);
	}
	result = respond(c, false, &r, buf_cstr(&headers));
	buf_deinit(&headers);
	buf_deinit(&zipped);
	return result;
}

static int respond_answer(struct lws_client *c, const struct answer *a)
{
	switch (a->kind) {
	case ANSWER_PAYLOAD:
		return respond_payload(c, a);
	case ANSWER_OK:
		/* Not text/plain, which some browsers of old offer to download. */
		return respond(c, false,
			       &(struct lws_response){.status = 200,
						      .type = "text/html",
						      .body = SLICE_LIT("ok"),
						      .body_read = true},
			       "Cache-Control: no-store\r\n");
	case ANSWER_ERROR:
		return respond_error(c, false, a->error, true);
	case ANSWER_BAD:
		return respond_empty(c, 400, true, true);
	case ANSWER_AWAY:
		return respond_empty(c, 503, true, false);
	case ANSWER_KINDS:
		break;
	}
	return -1;
}

/* --- exchanges --- */

static void exchange_free(struct http_exchange *x)
{
	if (x->client)
		x->client->exchange = NULL;
	list_remove(&x->link);
	buf_deinit(&x->body);
	free(x);
}

static void on_answer(struct exchange *base, const struct answer *a)
{
	struct http_exchange *x = container_of(base, struct http_exchange, base);
	struct lws_client *c = x->client;
	bool inside = x->inside;
	int result;

	if (!inside) {
		/* Before anything else: lws does not even see the end of the
		 * connection without. */
		lws_rx_flow_control(c->wsi, 1);
	}
	result = respond_answer(c, a);
	if (inside) {
		x->result = result;
		c->exchange = NULL;
		x->client = NULL;
		return;
	}
	exchange_free(x);
	if (result)
		lws_set_timeout(c->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_SYNC);
}

static const struct exchange_ops http_ops = {on_answer};

/* Hand the request over. It is answered now, or it hangs: then lws is kept from reading,
 * and from ending it. */
static int dispatch(struct http_exchange *x)
{
	struct lws_client *c = x->client;
	struct node *n = c->server->node;
	int result;

	x->complete = true;
	x->inside = true;
	if (x->post)
		session_post(n, &x->query, buf_view(&x->body), x->binary, &x->base);
	else
		session_get(n, &x->query, &x->base);
	x->inside = false;
	if (!x->client) {
		result = x->result;
		exchange_free(x);
		return result;
	}
	buf_deinit(&x->body);
	lws_set_timeout(c->wsi, NO_PENDING_TIMEOUT, 0);
	lws_rx_flow_control(c->wsi, 0);
	return 0;
}

void lws_polling_gone(struct lws_client *c)
{
	struct http_exchange *x = c->exchange;

	if (!x)
		return;
	x->client = NULL;
	c->exchange = NULL;
	if (x->complete)
		session_gone(c->server->node, &x->base);
	else if (x->post)
		session_post_gone(c->server->node, &x->query);
	exchange_free(x);
}

/* --- requests --- */

static struct http_exchange *exchange_new(struct lws_client *c, const struct eio_query *q)
{
	struct http_exchange *x = mem_zalloc(1, sizeof(*x));

	x->base.ops = &http_ops;
	x->base.address = lws_accept_client(c);
	x->client = c;
	x->since_ms = env_now_ms(c->server->node->env);
	x->query = *q;
	if (q->sid.n)
		memcpy(x->sid, q->sid.p, ID_LEN); /* checked: it has an id's length */
	x->query.sid = slice_of(x->sid, q->sid.n);
	c->exchange = x;
	list_push(&c->server->polling, &x->link);
	return x;
}

static bool has_token(struct lws *wsi, enum lws_token_indexes token, const char *word)
{
	char value[LWS_HEADER_MAX];

	return lws_hdr_copy(wsi, value, sizeof(value), token) > 0 &&
	       strncasecmp(value, word, strlen(word)) == 0;
}

/* The length of a POST's body; false: it was refused, and *result is for lws. */
static bool post_length(struct lws_client *c, size_t *length, int *result)
{
	char value[32];
	char *end = NULL;
	unsigned long long n = 0;

	if (lws_hdr_copy(c->wsi, value, sizeof(value), WSI_TOKEN_HTTP_CONTENT_LENGTH) > 0)
		n = strtoull(value, &end, 10);
	if (!end || *end || value[0] < '0' || value[0] > '9' ||
	    lws_hdr_total_length(c->wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING)) {
		*result = respond_empty(c, 411, false, true);
		return false;
	}
	if (n > c->server->node->config->max_http_buffer_size) {
		*result = respond_empty(c, 413, false, true);
		return false;
	}
	*length = (size_t)n;
	return true;
}

static void on_ignored_answer(struct exchange *x, const struct answer *a)
{
	(void)a;
	free(x);
}

/* It ends the session, as any malformed body. lws 4.1 ends the connection at once, so the
 * answer cannot wait for the session's. */
static int on_empty_post(struct lws_client *c, const struct eio_query *q)
{
	static const struct exchange_ops ops = {on_ignored_answer};
	struct exchange *x = mem_zalloc(1, sizeof(*x));

	x->ops = &ops;
	session_post(c->server->node, q, SLICE_EMPTY, false, x);
	return respond_empty(c, 400, false, true);
}

static int on_post(struct lws_client *c, const struct eio_query *q)
{
	struct http_exchange *x;
	size_t length;
	int result;

	if (!post_length(c, &length, &result))
		return result;
	if (!session_post_begin(c->server->node, q))
		return respond_empty(c, 400, false, true);
	if (length == 0)
		return on_empty_post(c, q);
	x = exchange_new(c, q);
	x->post = true;
	x->length = length;
	x->binary = has_token(c->wsi, WSI_TOKEN_HTTP_CONTENT_TYPE,
			      "application/octet-stream");
	return 0;
}

/* Of POSTs that are pipelined lws hands over the head of the second as its body (4.3.5:
 * of one behind a GET). No payload begins like a request, so it can be told, and must be:
 * lws does not know any more what is what. */
static bool is_out_of_step(const struct http_exchange *x, struct slice piece)
{
	return x->body.n == 0 && (slice_starts(piece, SLICE_LIT("POST ")) ||
				  slice_starts(piece, SLICE_LIT("GET ")));
}

/* lws (4.3.5) has handed over all that came, and would wait for more. The body is there,
 * so it is answered; what follows it is lost, so the connection ends with the answer. */
static int on_too_much(struct lws_client *c)
{
	c->last = true;
	return dispatch(c->exchange);
}

int lws_polling_body(struct lws_client *c, struct slice piece)
{
	struct http_exchange *x = c->exchange;
	size_t missing;

	if (x && !x->complete && is_out_of_step(x, piece)) {
		/* The session need not suffer: this POST has never been. */
		session_post_undo(c->server->node, &x->query);
		c->exchange = NULL;
		x->client = NULL;
		exchange_free(x);
		return -1;
	}
	if (!x || x->complete)
		return -1;
	missing = x->length - x->body.n;
	if (piece.n <= missing) {
		buf_slice(&x->body, piece);
		return 0;
	}
	buf_slice(&x->body, slice_of(piece.p, missing));
	return on_too_much(c);
}

int lws_polling_body_complete(struct lws_client *c)
{
	if (!c->exchange || c->exchange->complete)
		return -1;
	return dispatch(c->exchange);
}

/* lws would take the body of a request that hangs for what it is not. */
static bool has_body(struct lws *wsi)
{
	char length[LWS_HEADER_MAX];

	return lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING) ||
	       (lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH) &&
		!slice_eq(lws_http_header(wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH, length),
			  SLICE_LIT("0")));
}

static int on_get(struct lws_client *c, const struct eio_query *q)
{
	struct node *n = c->server->node;

	if (has_body(c->wsi))
		return respond_empty(c, 400, false, true);
	if (q->sid.n == 0 && n->state > NODE_LINGERING) {
		n->metrics.conns_refused_stopping++;
		return respond_empty(c, 503, false, true);
	}
	if (q->sid.n == 0 && n->conns.n >= n->config->max_conns) {
		n->metrics.conns_refused_max++;
		return respond_empty(c, 503, false, true);
	}
	if (q->sid.n == 0 && lws_http_address_full(c))
		return respond_empty(c, 503, false, true);
	return dispatch(exchange_new(c, q));
}

int lws_polling_request(struct lws_client *c, int method)
{
	char query[LWS_HTTP_HEADERS_MAX];
	struct eio_query q = lws_http_query(c->wsi, query);
	bool head = method == LWSHUMETH_HEAD;
	enum eio_error error;

	if (method == LWSHUMETH_OPTIONS && c->server->node->config->cors)
		return preflight(c);
	if (!session_check(c->server->node, &q, method == LWSHUMETH_GET, false, &error)) {
		lws_polling_hint_version(c, q.version);
		c->server->node->metrics.conns_refused_bad_request += q.sid.n == 0;
		return respond_error(c, head, error, false);
	}
	if (!lws_http_origin_ok(c))
		return respond_error(c, head, EIO_ERROR_FORBIDDEN, false);
	if (method == LWSHUMETH_GET)
		return on_get(c, &q);
	if (method == LWSHUMETH_POST)
		return on_post(c, &q);
	return respond(c, head,
		       &(struct lws_response){.status = 405,
					      .type = "text/plain; charset=utf-8",
					      .body = SLICE_LIT("GET and POST only\n"),
					      .close = true},
		       "Allow: GET, POST, OPTIONS\r\n");
}

/* --- clients that are gone, or take too long --- */

static void drop(struct http_exchange *x)
{
	struct lws *wsi = x->client->wsi;

	lws_polling_gone(x->client);
	lws_set_timeout(wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_SYNC);
}

/* lws does not read from these, so it does not see that their peers are gone. Those go to
 * `over`. */
static void look_at(struct http_exchange **exchanges, struct pollfd *fds, size_t n,
		    struct link *over)
{
	if (n == 0 || poll(fds, n, 0) <= 0)
		return;
	for (size_t i = 0; i < n; i++) {
		if (!(fds[i].revents & (POLLRDHUP | POLLHUP | POLLERR)))
			continue;
		list_remove(&exchanges[i]->link);
		list_push(over, &exchanges[i]->link);
	}
}

static void on_sweep(uv_timer_t *timer)
{
	struct server *s = timer->data;
	uint64_t now = env_now_ms(s->node->env);
	struct http_exchange *exchanges[SWEEP_BATCH];
	struct pollfd fds[SWEEP_BATCH];
	struct link seen, over, *l;
	size_t n = 0;

	link_init(&seen);
	link_init(&over);
	while ((l = list_first(&s->polling))) {
		struct http_exchange *x = container_of(l, struct http_exchange, link);
		bool late = now - x->since_ms > s->node->config->request_timeout_ms;

		list_remove(l);
		list_push(!x->complete && late ? &over : &seen, l);
		if (!x->complete)
			continue;
		exchanges[n] = x;
		fds[n++] = (struct pollfd){.fd = lws_get_socket_fd(x->client->wsi),
					   .events = POLLRDHUP};
		if (n == SWEEP_BATCH) {
			look_at(exchanges, fds, n, &over);
			n = 0;
		}
	}
	look_at(exchanges, fds, n, &over);
	/* Dropping one may end another by way of its session, which leaves its list then:
	 * no pointer to one outlives a drop. */
	while ((l = list_first(&over)))
		drop(container_of(l, struct http_exchange, link));
	list_splice(&s->polling, &seen);
}

void lws_polling_init(struct server *s)
{
	link_init(&s->polling);
	uv_timer_init(s->node->loop, &s->sweep);
	s->sweep.data = s;
	uv_unref((uv_handle_t *)&s->sweep);
	uv_timer_start(&s->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
}

void lws_polling_close(struct server *s)
{
	uv_close((uv_handle_t *)&s->sweep, NULL);
}
