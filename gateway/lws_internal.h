/* What the lws_*.c files share. */
#ifndef GATEHOUSE_GATEWAY_LWS_INTERNAL_H
#define GATEHOUSE_GATEWAY_LWS_INTERNAL_H

#include <libwebsockets.h>
#include <uv.h>

#include "gateway/config.h"
#include "gateway/conn.h"
#include "gateway/server.h"
#include "gateway/upgrade.h"
#include "proto/eio.h"

/* All of a request's headers; as in Node, since browsers send an origin's cookies along.
 */
enum { LWS_HTTP_HEADERS_MAX = 16 * 1024 };

/* What somebody who sets a client up has to know of, and what any client can repeat at
 * will: told in the log at most once a minute; the metrics count each. */
enum hint { HINT_VERSION, HINT_ORIGIN, HINT_PROXY_HEADER, HINT_ADDRESS, HINTS_N };

struct accepted;
struct acceptor;
struct tls;

/* What a listener's connections are. */
struct accept_kind {
	enum server_role role;
	bool tls;
	bool proxy; /* begins with a PROXY protocol header */
};

struct server {
	struct node *node;
	struct lws_context *context;
	struct lws_vhost *vhost;
	struct lws_vhost *tls_vhost; /* NULL until a listener has TLS */
	struct tls *tls;	     /* the same */
	struct acceptor *acceptor;
	struct link flow_due; /* struct lws_client that will be stopped */
	uv_prepare_t flow_prepare;
	struct link read_again; /* struct lws_client that may have more to read */
	uv_check_t read_check;
	uint16_t turn;		    /* counts them, to tell one from the next */
	struct listener *listeners; /* singly linked */
	size_t connections;	    /* descriptors of all that lws has, WebSockets too */
	size_t connections_max;	    /* as many as there are descriptors for */
	bool testing;	/* the self-test is all there is: any upgrade is good */
	bool paused;	/* not accepting clients: too many handshakes or connections */
	struct buf out; /* scratch of responses */
	struct link
		polling; /* of struct http_exchange: not answered yet, the oldest first */
	uv_timer_t sweep;	     /* looks after those */
	unsigned handles;	     /* that libuv has to close */
	uint64_t hinted_ms[HINTS_N]; /* 0: not yet */
};

/* A connection from a client, from accept to its end; lws's opaque user data. There is
 * one for each WebSocket, most of which do nothing most of the time: what is rarely
 * needed is allocated then. */
struct lws_client {
	struct server *server;
	struct lws *wsi;
	struct accepted *accepted;	/* NULL once it is a WebSocket */
	struct sending *sending;	/* an answer under way, or NULL */
	struct http_exchange *exchange; /* a request that is not answered, or NULL */
	/* Of a WebSocket: whose it is, one of the two, and neither once we closed it. */
	struct conn *conn;
	struct upgrade *upgrade;
	struct buf *rx;		 /* a message of which more is to come, or NULL */
	struct address *address; /* whose it is while it has no conn, or NULL */
	/* In server.flow_due, which only has those with TLS, or in server.read_again,
	 * which only has those without. */
	struct link due;
	enum server_role role;
	bool receiving;		 /* set while RECEIVE runs */
	uint16_t received, turn; /* bytes of messages in this read, in this turn */
	bool last;		 /* the connection ends with the next answer */
	bool answer_held;	 /* lws_ws_hold_answer */
};

/* --- lws_http.c --- */

struct lws_response {
	int status;
	const char *type;
	const char *headers; /* further header lines, each with its CRLF; NULL: none */
	struct slice body;
	bool lasting; /* the body lives as long as the program, and need not be copied */
	bool close;   /* the connection ends with it */
	bool body_read; /* the request's body was taken, or it has none */
};

/* Answer a request; the callback's return value. `head`: it was a HEAD. */
int lws_http_respond(struct lws_client *c, bool head, const struct lws_response *r);

/* Answer a request; the callback's return value. */
int lws_http_request(struct lws_client *c);
/* Judge a WebSocket upgrade: 0 to go on, else the answer was sent and the connection
 * ends. */
int lws_http_upgrade(struct lws_client *c);
/* Has the client's address as many connections as one may have? Counted and hinted at. */
bool lws_http_address_full(struct lws_client *c);
/* From where a request comes, for the log; the text is valid until the next call. */
const char *lws_http_client_text(struct lws_client *c);

enum { LWS_HEADER_MAX = 1024 };
/* Copy a header; empty if it is absent or longer than LWS_HEADER_MAX. */
struct slice lws_http_header(struct lws *wsi, enum lws_token_indexes token,
			     char out[LWS_HEADER_MAX]);
/* What the request's query asks for, in `out`. */
struct eio_query lws_http_query(struct lws *wsi, char out[LWS_HTTP_HEADERS_MAX]);
/* Browsers always send Origin with a WebSocket or a request of another origin; who sends
 * none is no browser, and no page can be used to reach us through it. False: it is not
 * allowed, which was counted and hinted at. */
bool lws_http_origin_ok(struct lws_client *c);
bool lws_http_origin_allowed(const struct config *c, struct lws *wsi);
/* Is it time to give this hint (again)? */
bool lws_http_hint_due(struct server *s, enum hint hint);

/* --- lws_polling.c --- */

/* Engine.IO over plain HTTP. Each returns the callback's value. */
int lws_polling_request(struct lws_client *c, int method);
void lws_polling_hint_version(struct lws_client *c, int version);
int lws_polling_body(struct lws_client *c, struct slice piece);
int lws_polling_body_complete(struct lws_client *c);
/* The connection is gone. */
void lws_polling_gone(struct lws_client *c);
void lws_polling_init(struct server *s);
void lws_polling_close(struct server *s);

/* --- lws_ops.c --- */

/* Answer an operator's GET or HEAD; the callback's return value. */
int lws_ops_request(struct lws_client *c, bool head, struct slice path);

/* --- lws_files.c --- */

/* Answer with a file of the program, if one is served at `path`. False: there is none;
 * else `*result` is the callback's return value. */
bool lws_files_request(struct lws_client *client, bool head, struct slice path,
		       int *result);
/* Send `body` as the peer takes it, without a copy, after what was written and is still
 * with lws; it may be empty. Then end the connection or not. The callback's return value.
 */
int lws_files_send(struct lws_client *c, struct slice body, bool close);
/* The connection that is being sent a file is writable, or gone. */
int lws_files_on_writable(struct lws_client *c);
void lws_files_on_destroy(struct lws_client *c);

/* --- lws_ws.c --- */

/* lws is to answer an upgrade, and the open packet follows in the same turn: keep the one
 * for the other, so that both leave in one segment. */
void lws_ws_hold_answer(struct lws_client *c);
/* It is gone: free what a WebSocket has. */
void lws_ws_deinit(struct lws_client *c);
/* The callbacks of established WebSockets. */
void lws_ws_event(struct lws_client *c, enum lws_callback_reasons reason, const void *in,
		  size_t n);

/* --- lws_flow.c --- */

void lws_flow_open(struct server *s);
/* Read from it, or leave what comes in the kernel. */
void lws_flow_set(struct lws_client *c, bool on);

/* --- lws_read.c --- */

void lws_read_open(struct server *s);
/* RECEIVE has handed over so many bytes. */
void lws_read_received(struct lws_client *c, size_t n);

/* --- lws_server.c --- */

enum {
	/* Per WebSocket: larger costs memory for each, smaller costs calls for long
	 * messages. Most of what clients send is shorter. Over TLS it must not be below
	 * 164 (docs/libraries.md, flow control). */
	LWS_RX_BUFFER = 256,
};

/* Give lws an accepted connection. NULL: it can't take it, and has closed `fd`. lws tells
 * vhosts apart by port and host name, which says nothing about our listeners; so there is
 * one vhost, or two where some have TLS, and the connection itself knows its role.
 * `accepted` may be NULL. */
struct lws_client *lws_server_adopt(struct server *s, int fd,
				    const struct accept_kind *kind,
				    struct accepted *accepted);
struct lws_vhost *lws_server_new_vhost(struct server *s, bool tls);

/* --- lws_tls.c --- */

/* Before a TLS listener opens; once is enough. False: `error` gets a sentence. */
bool lws_tls_open(struct server *s, struct buf *error);
/* lws has made the vhost's SSL_CTX; the callback's return value. */
int lws_tls_on_context(struct server *s, void *ssl_ctx);
void lws_tls_free(struct server *s);

/* --- lws_accept.c --- */

void lws_acceptor_open(struct server *s);
/* Accept nothing more; what waits for a PROXY header ends. */
void lws_acceptor_stop(struct server *s);
/* Once lws is gone. */
void lws_acceptor_free(struct server *s);

/* A listener accepted `fd`, which is now the acceptor's or lws's. */
void lws_accept(struct server *s, int fd, const struct sockaddr_storage *from,
		const struct accept_kind *kind);
/* Clients' connections whose request is not there yet, which maxHandshakes bounds. */
size_t lws_accept_handshakes(const struct server *s);
/* The connection's first request is here: it is no handshake any more. */
void lws_accept_on_request(struct lws_client *c);
/* It is gone, or a WebSocket, whose conn knows what is to be known. */
void lws_accept_on_end(struct lws_client *c);
/* Who sent the request whose headers are at hand: the connection's peer, or whom its
 * PROXY header or, of a trusted proxy, X-Forwarded-For names. */
struct address lws_accept_client(struct lws_client *c);

/* --- lws_listen.c --- */

/* Stop or go on accepting, as the number of handshakes under way asks for. */
void lws_listen_update(struct server *s);

#endif
