/* A client comes back: its CONNECT names the private id of a socket it had, and the
 * offset of the last event it got. The conn is held while
 *
 *   TAKING       the session is asked for; from here on it is nobody else's
 *   SUBSCRIBING  to the rooms it was in, and to its own id
 *   REPLAYING    the first page of what it missed is asked for; when it is here, the
 *                CONNECT reply is sent, and then the page: in this order, since the
 * client keeps events that come before it and does not count them DRAINING     its outbox
 * is too full for the next page
 *
 * and with the last page it is live: what this node hears from then on is what follows.
 * Where the session is gone, or a log does not reach back, the client gets a new socket,
 * by which it knows. Where the backend is away its transport is closed, and it tries
 * again. */
#ifndef GATEHOUSE_GATEWAY_RESUME_H
#define GATEHOUSE_GATEWAY_RESUME_H

#include "gateway/recovery.h"

struct resume;

/* Does this CONNECT ask for it? Then the conn is held until it is settled, and `user`
 * taken. */
bool resume_begin(struct conn *c, struct namespace *ns, char *user, uint64_t expires_ms,
		  struct slice auth);
/* The conn of one ends; its outbox has room. */
void resume_on_conn_gone(struct resume *r);
void resume_on_drained(struct resume *r);
/* Has the client read nothing of what it missed since this was asked last? Its pong is
 * not waited for meanwhile. */
bool resume_is_stuck(struct resume *r);
/* recovery_on_missed, recovery_on_session */
void resumes_on_missed(struct node *n);
void resumes_on_session(struct node *n, enum session_event what, struct slice sid,
			uint64_t generation);

#endif
