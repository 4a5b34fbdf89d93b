/* fixed-body HOST PORT: libwebsockets on libuv, as the gateway uses them, answering every
 * GET and POST with the same body. What long-polling is measured against. */
#include <libwebsockets.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

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

int main(int argc, char **argv)
{
	static const struct lws_protocols protocols[] = {
		{.name = "http", .callback = on_event, .rx_buffer_size = 4096},
		{.name = NULL},
	};
	/* No timers of its own for each connection. */
	static const lws_retry_bo_t no_pings = {0};
	struct lws_context_creation_info info = {
		.protocols = protocols,
		.options = LWS_SERVER_OPTION_LIBUV,
		.retry_and_idle_policy = &no_pings,
		.keepalive_timeout = 60,
		.gid = -1,
		.uid = -1,
	};
	uv_loop_t *uv = uv_default_loop();
	void *loops[] = {uv};
	struct lws_context *context;

	if (argc != 3) {
		fprintf(stderr, "usage: fixed-body HOST PORT\n");
		return 2;
	}
	lws_set_log_level(LLL_ERR, NULL);
	info.iface = argv[1];
	info.port = (int)strtol(argv[2], NULL, 10);
	info.foreign_loops = loops;
	context = lws_create_context(&info);
	if (!context)
		return 1;
	printf("listening\n");
	fflush(stdout);
	uv_run(uv, UV_RUN_DEFAULT);
	lws_context_destroy(context);
	return 0;
}
