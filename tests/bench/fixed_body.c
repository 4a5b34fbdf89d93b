/* fixed-body HOST PORT: libwebsockets on libuv, as the gateway uses them, answering every
 * GET and POST with the same body. What long-polling is measured against. */
#include <arpa/inet.h>
#include <libwebsockets.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { BACKLOG = 4096 };

static const char body[] = "43[{\"ok\":true}]";

/* Head and body in one write, which is the least there is. */
static int answer(struct lws *wsi)
{
	unsigned char bytes[LWS_PRE + 512];
	unsigned char *begin = bytes + LWS_PRE, *p = begin, *end = bytes + sizeof(bytes);
	size_t n = sizeof(body) - 1;

	if (lws_add_http_common_headers(wsi, HTTP_STATUS_OK, "text/plain; charset=UTF-8",
					n, &p, end) ||
	    lws_finalize_http_header(wsi, &p, end))
		return 1;
	memcpy(p, body, n);
	p += n;
	if (lws_write(wsi, begin, (size_t)(p - begin), LWS_WRITE_HTTP_FINAL) !=
	    (int)(p - begin))
		return 1;
	return lws_http_transaction_completed(wsi) ? -1 : 0;
}

static int on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user,
		    void *in, size_t n)
{
	switch ((int)reason) {
	case LWS_CALLBACK_HTTP:
		/* Of a POST the body comes first. */
		if (lws_hdr_total_length(wsi, WSI_TOKEN_POST_URI) > 0)
			return 0;
		return answer(wsi);
	case LWS_CALLBACK_HTTP_BODY:
		return 0;
	case LWS_CALLBACK_HTTP_BODY_COMPLETION:
		return answer(wsi);
	default:
		return lws_callback_http_dummy(wsi, reason, user, in, n);
	}
}

/* On this address alone: libwebsockets itself would listen on all there are. */
static int listen_on(const char *host, const char *port)
{
	struct sockaddr_in at = {.sin_family = AF_INET,
				 .sin_port = htons((uint16_t)strtol(port, NULL, 10))};
	const int on = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (inet_pton(AF_INET, host, &at.sin_addr) != 1 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
	    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0 ||
	    bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0 ||
	    listen(fd, BACKLOG) != 0) {
		perror("fixed-body");
		exit(1);
	}
	return fd;
}

static void on_acceptable(uv_poll_t *poll, int status, int events)
{
	int listener, fd;

	(void)status;
	(void)events;
	if (uv_fileno((uv_handle_t *)poll, &listener) != 0)
		return;
	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
		(void)lws_adopt_socket_vhost(poll->data, fd); /* closes it if it fails */
}

static struct lws_vhost *new_vhost(uv_loop_t *uv)
{
	static const struct lws_protocols protocols[] = {
		{.name = "http", .callback = on_event, .rx_buffer_size = 4096},
		{.name = NULL},
	};
	/* No timers of its own for each connection. */
	static const lws_retry_bo_t no_pings = {0};
	void *loops[] = {uv};
	struct lws_context_creation_info info = {
		.port = CONTEXT_PORT_NO_LISTEN_SERVER,
		.protocols = protocols,
		.options = LWS_SERVER_OPTION_EXPLICIT_VHOSTS | LWS_SERVER_OPTION_LIBUV,
		.retry_and_idle_policy = &no_pings,
		.keepalive_timeout = 60,
		.foreign_loops = loops,
	};
	struct lws_context *context;

	lws_set_log_level(LLL_ERR, NULL);
	context = lws_create_context(&info);
	return context ? lws_create_vhost(context, &info) : NULL;
}

int main(int argc, char **argv)
{
	uv_loop_t *uv = uv_default_loop();
	uv_poll_t poll;

	if (argc != 3) {
		fprintf(stderr, "usage: fixed-body HOST PORT\n");
		return 2;
	}
	uv_poll_init(uv, &poll, listen_on(argv[1], argv[2]));
	poll.data = new_vhost(uv);
	if (!poll.data || uv_poll_start(&poll, UV_READABLE, on_acceptable) != 0)
		return 1;
	printf("listening\n");
	fflush(stdout);
	uv_run(uv, UV_RUN_DEFAULT);
	return 0;
}
