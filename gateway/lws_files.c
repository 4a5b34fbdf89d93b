/* The files of files.h over HTTP: the chat page and the official client.
 *
 * They are sent from where they are, a piece at a time as the peer takes it. So a client
 * that asks for much and reads little costs the kernel's buffer and not ours. */
#include <stdlib.h>

#include "gateway/files.h"
#include "gateway/lws_internal.h"
#include "gateway/node.h"
#include "proto/mem.h"

enum {
	PIECE = 64 * 1024,
	PIECE_S = 30, /* a peer that takes less than a piece in this time is cut */
};

struct sending {
	struct slice rest;
	bool close;
};

static void wait_writable(struct lws *wsi)
{
	lws_set_timeout(wsi, PENDING_TIMEOUT_HTTP_CONTENT, PIECE_S);
	lws_callback_on_writable(wsi);
}

int lws_files_send(struct lws_client *c, struct slice body, bool close)
{
	struct sending *d;

	if (c->sending)
		return -1; /* lws does not take the next request before this is done */
	d = mem_zalloc(1, sizeof(*d));
	d->rest = body;
	d->close = close;
	c->sending = d;
	wait_writable(c->wsi);
	return 0;
}

int lws_files_on_writable(struct lws_client *c)
{
	struct sending *d = c->sending;
	bool last, close;
	size_t n;

	if (!d)
		return 0;
	last = d->rest.n <= PIECE;
	n = last ? d->rest.n : PIECE;
	/* lws does not change the bytes, though it takes them as its own. */
	if (lws_write(c->wsi, (uint8_t *)(uintptr_t)d->rest.p, n,
		      last ? LWS_WRITE_HTTP_FINAL : LWS_WRITE_HTTP) < 0)
		return -1;
	d->rest = slice_skip(d->rest, n);
	if (!last) {
		wait_writable(c->wsi);
		return 0;
	}
	close = d->close;
	lws_files_on_destroy(c);
	return close || lws_http_transaction_completed(c->wsi) ? -1 : 0;
}

void lws_files_on_destroy(struct lws_client *c)
{
	free(c->sending);
	c->sending = NULL;
}

/* Does If-None-Match name this tag? A weak tag counts. */
static bool has_etag(struct lws *wsi, const char *etag)
{
	char have[1024];

	return lws_hdr_copy(wsi, have, sizeof(have), WSI_TOKEN_HTTP_IF_NONE_MATCH) > 0 &&
	       strstr(have, etag);
}

static int send_file(struct lws_client *c, bool head, const struct file *f,
		     const char *more_headers)
{
	struct buf headers = BUF_INIT;
	int result;

	buf_printf(&headers, "ETag: %s\r\n%s", f->etag, more_headers);
	result = lws_http_respond(
		c, head,
		&(struct lws_response){.status = has_etag(c->wsi, f->etag) ? 304 : 200,
				       .type = f->type,
				       .headers = buf_cstr(&headers),
				       .body = slice_of(f->p, f->n),
				       .lasting = true});
	buf_deinit(&headers);
	return result;
}

/* The name of what is asked for below the setting `path`; empty: it is not there. */
static struct slice below(const struct config *c, struct slice path)
{
	struct slice root = slice_str(c->path);

	return slice_starts(path, root) ? slice_skip(path, root.n) : SLICE_EMPTY;
}

bool lws_files_request(struct lws_client *client, bool head, struct slice path,
		       int *result)
{
	const struct config *c = client->server->node->config;
	const struct file *f;

	if (c->serve_client && (f = file_find(client_files, below(c, path)))) {
		/* Modules and source maps are fetched with CORS, and anybody may read
		 * them. */
		*result = send_file(client, head, f,
				    "Cache-Control: public, max-age=0\r\n"
				    "Access-Control-Allow-Origin: *\r\n");
		return true;
	}
	if (c->page && (f = file_find(page_files, path))) {
		*result =
			send_file(client, head, f,
				  "Cache-Control: no-cache\r\n"
				  "Content-Security-Policy: default-src 'self'; "
				  "connect-src 'self' ws: wss:; frame-ancestors 'none'; "
				  "base-uri 'none'; form-action 'none'\r\n"
				  "Referrer-Policy: no-referrer\r\n");
		return true;
	}
	return false;
}
