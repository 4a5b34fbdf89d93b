/* The libwebsockets context: a vhost that does not listen, and another one for TLS; one
 * protocol. */
#include <assert.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/resource.h>

#include "gateway/log.h"
#include "gateway/lws_internal.h"
#include "gateway/node.h"
#include "proto/mem.h"

enum {
	/* One read serves all connections, so it may be large. */
	READ_BUFFER = 64 * 1024,
	/* Else lws cuts each write at the size of the receive buffer. */
	TX_PACKET = 256 * 1024,
	FILES_RESERVED = 128,
};

/* lws would go over to HTTP/2 when asked to ("h2c"), where nothing here holds: who asks
 * for anything but a WebSocket is answered as if it had not. */
static int confirm_upgrade(struct lws_client *c, const char *to)
{
	if (strcasecmp(to, "websocket") == 0)
		return c->role == SERVER_CLIENTS ? lws_http_upgrade(c) : -1;
	lws_http_request(c);
	return -1;
}

static void client_free(struct lws_client *c)
{
	lws_polling_gone(c);
	lws_accept_on_end(c);
	list_remove(&c->due);
	lws_files_on_destroy(c);
	lws_set_opaque_user_data(c->wsi, NULL);
	lws_ws_deinit(c);
	free(c);
}

/* What lws reports of a connection that is ours. */
static int on_client(struct lws_client *c, enum lws_callback_reasons reason, void *in,
		     size_t n)
{
	/* clang-format off */
	switch ((int)reason) {
	/* clang-format on */
	case LWS_CALLBACK_HTTP:
		lws_accept_on_request(c);
		return lws_http_request(c);
	case LWS_CALLBACK_HTTP_WRITEABLE:
		return lws_files_on_writable(c);
	case LWS_CALLBACK_HTTP_BODY:
		return lws_polling_body(c, slice_of(in, n));
	case LWS_CALLBACK_HTTP_BODY_COMPLETION:
		return lws_polling_body_complete(c);
	case LWS_CALLBACK_CLOSED_HTTP:
		lws_polling_gone(c);
		lws_files_on_destroy(c); /* lws has it no more, though it is not freed */
		return 0;
	case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
		lws_accept_on_request(c);
		return confirm_upgrade(c, in);
	case LWS_CALLBACK_ESTABLISHED:
	case LWS_CALLBACK_RECEIVE:
	case LWS_CALLBACK_SERVER_WRITEABLE:
	case LWS_CALLBACK_CLOSED:
		lws_ws_event(c, reason, in, n);
		return 0;
	default:
		return 0;
	}
}

static int callback(struct lws *wsi, enum lws_callback_reasons reason, void *user,
		    void *in, size_t n)
{
	struct lws_context *context = wsi ? lws_get_context(wsi) : NULL;
	struct server *s = context ? lws_context_user(context) : NULL;
	struct lws_client *c;

	if (!s || !s->context)
		return 0;
	c = lws_get_opaque_user_data(wsi);
	/* clang-format off */
	switch ((int)reason) {
	/* clang-format on */
	case LWS_CALLBACK_WSI_CREATE:
		s->connections++;
		return 0;
	case LWS_CALLBACK_OPENSSL_LOAD_EXTRA_SERVER_VERIFY_CERTS:
		return lws_tls_on_context(s, user);
	case LWS_CALLBACK_WSI_DESTROY:
		if (c)
			client_free(c);
		s->connections--;
		lws_listen_update(s);
		return 0;
	case LWS_CALLBACK_RAW_ADOPT:
		return -1; /* "CONNECT host:port" makes lws a tunnel without timeouts */
	default:
		return c ? on_client(c, reason, in, n) : 0;
	}
}

static const struct lws_protocols protocols[] = {
	{.name = "socket.io",
	 .callback = callback,
	 .rx_buffer_size = LWS_RX_BUFFER,
	 .tx_packet_size = TX_PACKET},
	{0},
};

/* What lws says is about single peers, mostly about what they did wrong. */
static void on_lws_log(int level, const char *line)
{
	size_t n = strcspn(line, "\n");

	(void)level;
	log_event(LOG_DEBUG, "libwebsockets", "msg=%.*s", (int)n, line);
}

/* handshakeTimeout is kept, and counted, where connections are accepted (lws_accept.c);
 * lws's own, in whole seconds, comes only after it. */
static unsigned lws_handshake_s(const struct config *c)
{
	return (unsigned)(c->handshake_timeout_ms / 1000 + 2);
}

struct lws_vhost *lws_server_new_vhost(struct server *s, bool tls)
{
	/* All zero: no pings of lws's own, which would put each WebSocket on a list that
	 * is kept sorted by walking it. */
	static const struct lws_retry_bo no_pings;
	unsigned handshake_s = lws_handshake_s(s->node->config);
	struct lws_context_creation_info info = {
		.port = CONTEXT_PORT_NO_LISTEN_SERVER,
		.vhost_name = tls ? "gatehouse tls" : "gatehouse",
		.protocols = protocols,
		.retry_and_idle_policy = &no_pings,
		.options = LWS_SERVER_OPTION_VALIDATE_UTF8 |
			   (tls ? LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT |
					    LWS_SERVER_OPTION_CREATE_VHOST_SSL_CTX
				: 0),
		/* Over HTTP/2 raw writes and flow control do not do what they do here. */
		.alpn = "http/1.1",
		.timeout_secs = handshake_s,
		.timeout_secs_ah_idle = handshake_s, /* the one that counts: 10 s else */
		.keepalive_timeout = 5,
	};

	return lws_create_vhost(s->context, &info);
}

/* Of the descriptors some are for others than clients: operators, Redis, files that are
 * read again. Who finds none left waits in the kernel's queue, as with handshakes. */
static size_t connections_max(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
		return SIZE_MAX;
	return limit.rlim_cur / 2 > FILES_RESERVED ? limit.rlim_cur - FILES_RESERVED
						   : limit.rlim_cur / 2;
}

struct server *server_new(struct node *n)
{
	struct server *s = mem_zalloc(1, sizeof(*s));
	void *loops[] = {n->loop};
	struct lws_context_creation_info info = {
		.options =
			LWS_SERVER_OPTION_EXPLICIT_VHOSTS | LWS_SERVER_OPTION_LIBUV |
			LWS_SERVER_OPTION_VALIDATE_UTF8 |
			(n->config->tls_cert ? LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT : 0),
		.foreign_loops = loops,
		.user = s,
		.pcontext = &s->context, /* NULL once it is gone */
		.pt_serv_buf_size = READ_BUFFER,
		.max_http_header_data = LWS_HTTP_HEADERS_MAX,
		.max_http_header_pool =
			0, /* as many as needed; maxHandshakes bounds them */
		.timeout_secs = lws_handshake_s(n->config), /* of a TLS handshake */
	};

	s->node = n;
	s->connections_max = connections_max();
	lws_acceptor_open(s);
	lws_flow_open(s);
	lws_read_open(s);
	lws_polling_init(s);
	lws_set_log_level(LLL_ERR | LLL_WARN, on_lws_log);
	s->context = lws_create_context(&info);
	if (s->context)
		s->vhost = lws_server_new_vhost(s, false);
	if (!s->vhost) {
		log_event(LOG_ERROR, "lws_failed",
			  "msg=libwebsockets could not start; is libwebsockets-evlib-uv "
			  "installed?");
		server_close(s);
		free(s);
		return NULL;
	}
	return s;
}

struct lws_client *lws_server_adopt(struct server *s, int fd,
				    const struct accept_kind *kind,
				    struct accepted *accepted)
{
	struct lws *wsi = lws_adopt_socket_vhost(kind->tls ? s->tls_vhost : s->vhost, fd);
	struct lws_client *c;

	if (!wsi)
		return NULL;
	c = mem_zalloc(1, sizeof(*c));
	c->server = s;
	c->wsi = wsi;
	c->role = kind->role;
	c->accepted = accepted;
	link_init(&c->due);
	lws_set_opaque_user_data(wsi, c);
	return c;
}

void server_close(struct server *s)
{
	server_close_listeners(s, SERVER_CLIENTS);
	server_close_listeners(s, SERVER_OPS);
	lws_acceptor_stop(s);
	lws_polling_close(s);
	if (s->context)
		lws_context_destroy(s->context);
}

void server_free(struct server *s)
{
	/* On a loop it does not own lws may leave the end of its end to us; a handle that
	 * it closed late is closed by now. */
	if (s->context)
		lws_context_destroy(s->context);
	assert(!s->context);
	lws_acceptor_free(s);
	lws_tls_free(s);
	buf_deinit(&s->out);
	free(s);
}
