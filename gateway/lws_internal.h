/* What the lws_*.c files share. */
#ifndef GATEHOUSE_GATEWAY_LWS_INTERNAL_H
#define GATEHOUSE_GATEWAY_LWS_INTERNAL_H

#include <libwebsockets.h>
#include <uv.h>

#include "gateway/conn.h"
#include "gateway/server.h"
#include "proto/eio.h"

/* All of a request's headers; as in Node, since browsers send an origin's cookies along.
 */
enum { LWS_HTTP_HEADERS_MAX = 16 * 1024 };

/* What somebody who sets a client up has to know of, and what any client can repeat at
 * will: told in the log at most once a minute; the metrics count each. */
enum hint { HINT_POLLING, HINT_VERSION, HINT_ORIGIN, HINTS_N };

struct server {
	struct node *node;
	struct lws_context *context;
	struct lws_vhost *vhost;
	struct listener *listeners; /* singly linked */
	size_t connections;	    /* all that lws has, WebSockets included */
	bool paused;	/* not accepting, since too many handshakes are under way */
	struct buf out; /* scratch of responses */
	uint64_t hinted_ms[HINTS_N]; /* 0: not yet */
};

/* --- lws_http.c --- */

struct lws_response {
	int status;
	const char *type;
	const char *headers; /* further header lines, each with its CRLF; NULL: none */
	struct slice body;
	bool lasting; /* the body lives as long as the program, and need not be copied */
	bool close;   /* the connection ends with it */
};

/* Answer a request; the callback's return value. `head`: it was a HEAD. */
int lws_http_respond(struct server *s, struct lws *wsi, bool head,
		     const struct lws_response *r);

/* Answer a request; the callback's return value. */
int lws_http_request(struct server *s, struct lws *wsi, enum server_role role);
/* Judge a WebSocket upgrade: 0 to go on, else the answer was sent and the connection
 * ends. */
int lws_http_upgrade(struct server *s, struct lws *wsi);

/* --- lws_files.c --- */

/* Answer with a file of the program, if one is served at `path`. False: there is none;
 * else `*result` is the callback's return value. */
bool lws_files_request(struct server *s, struct lws *wsi, bool head, struct slice path,
		       int *result);
/* The headers were sent: send `body` as the peer takes it, without a copy, and then end
 * the connection or not. The callback's return value. */
int lws_files_send(struct lws *wsi, struct slice body, bool close);
/* The connection that is being sent a file is writable, or gone. */
int lws_files_on_writable(struct lws *wsi);
void lws_files_on_destroy(struct lws *wsi);

/* --- lws_ws.c --- */

/* The callbacks of established WebSockets. */
int lws_ws_event(struct server *s, struct lws *wsi, enum lws_callback_reasons reason,
		 const void *in, size_t n);

/* --- lws_server.c --- */

/* Give lws an accepted connection; it closes `fd` if it can't take it. lws tells vhosts
 * apart by port and host name, which says nothing about our listeners; so there is one
 * vhost, and the connection itself knows its role until it is a WebSocket. */
bool lws_server_adopt(struct server *s, int fd, enum server_role role);

/* --- lws_listen.c --- */

/* Stop or go on accepting, as the number of handshakes under way asks for. */
void lws_listen_update(struct server *s);

#endif
