/* The files of files.h over HTTP: the chat page and the official client. And what the
 * kernel did not take at once of any answer.
 *
 * Files are sent from where they are, a piece at a time as the peer takes it. So a client
 * that asks for much and reads little costs the kernel's buffer and not ours.
 *
 * Meanwhile lws must not look at what the client sends next: it would spin (4.1.6) or end
 * the connection (4.3.5, lws_read_h1: "Unhandled state"). Only flow control keeps it from
 * what it has read already, and from one under flow control it takes no POLLOUT either.
 * So we wait for that ourselves, on a descriptor of our own since libuv has one watcher a
 * descriptor, and hand lws this one event. */
#include <stdlib.h>
#include <unistd.h>

#include "gateway/files.h"
#include "gateway/lws_internal.h"
#include "gateway/node.h"
#include "proto/mem.h"

enum {
	PIECE = 64 * 1024,
	PATIENCE_S = 30, /* a peer that takes nothing in this time is cut */
};

struct sending {
	struct lws_client *client;
	struct slice rest;
	bool close;
	int fd; /* the socket again, for the poll; -1: it did not have to wait yet */
	uv_poll_t poll;
};

static void on_poll(uv_poll_t *poll, int status, int events);

static bool open_poll(struct sending *d)
{
	struct lws_client *c = d->client;

	d->fd = dup(lws_get_socket_fd(c->wsi));
	if (d->fd < 0)
		return false;
	if (uv_poll_init(c->server->node->loop, &d->poll, d->fd) != 0) {
		close(d->fd);
		d->fd = -1;
		return false;
	}
	c->server->connections++;
	lws_listen_update(c->server);
	return true;
}

/* Until the peer has taken what there is, nothing else happens here. */
static int wait_writable(struct sending *d)
{
	if (d->fd < 0 && !open_poll(d))
		return -1;
	lws_set_timeout(d->client->wsi, PENDING_TIMEOUT_HTTP_CONTENT, PATIENCE_S);
	lws_rx_flow_control(d->client->wsi, 0);
	return uv_poll_start(&d->poll, UV_WRITABLE, on_poll);
}

static bool is_taken(const struct sending *d)
{
	return d->rest.n == 0 && !lws_partial_buffered(d->client->wsi);
}

/* As much as the kernel takes. lws keeps the rest of a piece, and sends it first. */
static bool write_pieces(struct sending *d)
{
	struct lws *wsi = d->client->wsi;

	while (d->rest.n && !lws_partial_buffered(wsi)) {
		bool last = d->rest.n <= PIECE;
		size_t n = last ? d->rest.n : PIECE;

		/* lws does not change the bytes, though it takes them as its own. */
		if (lws_write(wsi, (uint8_t *)(uintptr_t)d->rest.p, n,
			      last ? LWS_WRITE_HTTP_FINAL : LWS_WRITE_HTTP) < 0)
			return false;
		d->rest = slice_skip(d->rest, n);
	}
	return true;
}

int lws_files_send(struct lws_client *c, struct slice body, bool close)
{
	struct sending *d;

	if (c->sending)
		return -1; /* lws does not take the next request before this is done */
	d = mem_zalloc(1, sizeof(*d));
	d->client = c;
	d->rest = body;
	d->close = close;
	d->fd = -1;
	c->sending = d;
	return lws_files_on_writable(c);
}

int lws_files_on_writable(struct lws_client *c)
{
	struct sending *d = c->sending;
	bool close;

	if (!d)
		return 0;
	if (!write_pieces(d))
		return -1;
	if (!is_taken(d))
		return wait_writable(d);
	close = d->close;
	lws_files_on_destroy(c);
	return close || lws_http_transaction_completed(c->wsi) ? -1 : 0;
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct sending *d = container_of(poll, struct sending, poll);
	struct lws_client *c = d->client;
	struct lws_pollfd writable = {.fd = lws_get_socket_fd(c->wsi),
				      .events = LWS_POLLOUT,
				      .revents = LWS_POLLOUT};

	(void)events;
	uv_poll_stop(poll);
	if (status < 0) {
		lws_set_timeout(c->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_SYNC);
		return;
	}
	lws_rx_flow_control(c->wsi, 1);
	/* It sends what it has kept, or calls lws_files_on_writable. 1: it has closed it.
	 */
	if (lws_service_fd(c->server->context, &writable) == 0 && c->sending &&
	    wait_writable(c->sending) != 0)
		lws_set_timeout(c->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_SYNC);
}

static void on_poll_closed(uv_handle_t *handle)
{
	free(container_of((uv_poll_t *)handle, struct sending, poll));
}

void lws_files_on_destroy(struct lws_client *c)
{
	struct sending *d = c->sending;

	c->sending = NULL;
	if (!d)
		return;
	if (d->fd < 0) {
		free(d);
		return;
	}
	uv_close((uv_handle_t *)&d->poll, on_poll_closed);
	close(d->fd);
	c->server->connections--;
	lws_listen_update(c->server);
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
