/* From a request's query to the session it is for: a new one, one of this node, one that
 * is gone, or one of another node, to which the request is then sent on. */
#ifndef GATEHOUSE_GATEWAY_SESSION_H
#define GATEHOUSE_GATEWAY_SESSION_H

#include "gateway/exchange.h"

struct node;

/* Check a request in the order of the reference (engine.io, Server.verify). False:
 * refused with *error. Of another node's session only the form is checked here.
 * `upgrade`: it wants to be a WebSocket. */
bool session_check(const struct node *n, const struct eio_query *q, bool get,
		   bool upgrade, enum eio_error *error);
/* A POST was begun, its body is to come. False: it overlaps another, which ends the
 * session; it is not handed over. */
bool session_post_begin(struct node *n, const struct eio_query *q);
/* It was none. */
void session_post_undo(struct node *n, const struct eio_query *q);
/* The client is gone before its body was complete. */
void session_post_gone(struct node *n, const struct eio_query *q);
/* A request that was checked, and of a POST begun: it is there as a whole. */
void session_get(struct node *n, const struct eio_query *q, struct exchange *x);
void session_post(struct node *n, const struct eio_query *q, struct slice body,
		  bool binary, struct exchange *x);
/* The same of a request that another node sent on: it goes no further. */
void session_get_here(struct node *n, const struct eio_query *q, struct exchange *x);
void session_post_here(struct node *n, const struct eio_query *q, struct slice body,
		       bool binary, struct exchange *x);
/* The client of an exchange that was handed over is gone. It is the caller's again, and
 * not to be answered any more. */
void session_gone(struct node *n, struct exchange *x);

/* May the session be one of another node's? */
bool session_is_foreign(const struct node *n, struct slice sid);

#endif
