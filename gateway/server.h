/* HTTP and WebSocket towards clients and operators: the part that wraps libwebsockets
 * (files lws_*.c; no other includes it). It accepts connections on its own listeners,
 * answers HTTP requests, and turns WebSockets into conns. */
#ifndef GATEHOUSE_GATEWAY_SERVER_H
#define GATEHOUSE_GATEWAY_SERVER_H

#include "gateway/listen_sockets.h"
#include "proto/buf.h"
#include "proto/err.h"

struct node;
struct server;

enum server_role {
	SERVER_CLIENTS, /* Socket.IO and the chat page */
	SERVER_OPS,	/* /healthz, /readyz, /metrics (ops.h) */
};

/* Not listening yet. NULL: libwebsockets could not start; the log says why. */
struct server *server_new(struct node *n);
/* Before listening: does this libwebsockets do what lws_ws.c relies on? False: it does
 * not, or the loopback interface does not work. Runs the loop for a moment. */
bool server_self_test(struct server *s);
/* Open the sockets of an address and listen on them. ERR_IO: `error` gets a sentence that
 * says what is wrong. `at` is of the configuration. */
MUST_USE enum err server_listen(struct server *s, const struct config_listen *at,
				enum server_role role, struct buf *error);
/* Listen on a socket that another process opened for clients; it is now the server's, but
 * a unix socket's file is not. Errors as above. */
MUST_USE enum err server_listen_on(struct server *s, const struct config_listen *at,
				   int fd, struct buf *error);
/* Read the files of tlsCert and tlsKey again. Connections go on; handshakes from now on
 * get the new certificate, or the old one if the new one is of no use: the log says so.
 */
void server_reload(struct server *s);
/* Stop listening for these; connections stay. */
void server_close_listeners(struct server *s, enum server_role role);
/* Begin to end everything, once no conn is left. The loop must then run until nothing is
 * left to do, before server_free. */
void server_close(struct server *s);
void server_free(struct server *s);

#endif
