/* HTTP long-polling as a conn's transport: a GET that hangs until there is something to
 * send, POSTs with what the client sends. It knows nothing of HTTP: a request is an
 * exchange. Behaviour is that of engine.io 6.6, lib/transports/polling.ts and socket.ts.
 *
 * What the conn sends while no GET hangs waits in its outbox (the conn is choked). A POST
 * is answered when its packets were handled, so that a conn that is held holds its client
 * back. Where the reference sends a last packet to a client that does not poll just now
 * (an orderly close), the rest waits for its next GET after the conn is gone, for
 * POLLING_LINGER_MS. */
#ifndef GATEHOUSE_GATEWAY_POLLING_H
#define GATEHOUSE_GATEWAY_POLLING_H

#include "gateway/conn.h"
#include "gateway/exchange.h"

/* Of a node: what its polling conns wait for. */
struct pollings {
	struct link
		release;    /* hanging GETs to be let go, since an upgrade is under way */
	struct link linger; /* what conns that are gone still have to say */
	struct table lingering;
};

void pollings_init(struct pollings *p, const uint64_t seed[2]);
void pollings_deinit(struct pollings *p);
/* What is due; and when the next is (UINT64_MAX: nothing). */
void pollings_tick(struct node *n, uint64_t now);
uint64_t pollings_next(const struct node *n);
/* Is there nothing left to say to clients that are to come once more? */
bool pollings_done(const struct node *n);
/* The node stops: nobody is waited for long. */
void pollings_hurry(struct node *n);

/* A new session whose open packet answers `x`. */
void polling_open(struct node *n, const struct eio_query *q, struct exchange *x);
/* Does the conn poll? */
bool polling_is(const struct conn *c);
/* Requests of a conn that polls. */
void polling_get(struct conn *c, struct exchange *x);
/* A POST was begun at this node; false: it overlaps another, and the conn ends. */
bool polling_post_begin(struct conn *c);
void polling_post_undo(struct conn *c);
/* `begun`: that was said before. */
void polling_post(struct conn *c, struct slice body, bool binary, bool begun,
		  struct exchange *x);
/* The client of an exchange that waits is gone: the session ends, as in the reference.
 * The exchange is its owner's again. */
void polling_on_gone(struct exchange *x);
/* Let a GET that hangs go with nothing: its client is to come by another way. */
void polling_release(struct exchange *x);
/* A request of a session that has ended, if something is left to say: a GET hears it, a
 * POST is ignored. True: answered. */
bool polling_linger(struct node *n, struct slice sid, bool get, struct exchange *x);

/* --- for upgrades --- */

/* Who is about to take the session over; embedded there. */
struct prober {
	/* The session has ended; the conn is about to go. */
	void (*on_session_closed)(struct prober *p);
};

/* A WebSocket for the session is there. ERR_EXISTS: so is another. */
MUST_USE enum err polling_claim(struct conn *c, struct prober *p);
/* It works: the client waits for its GET to return before it goes over. */
void polling_probed(struct conn *c);
/* It came to nothing. */
void polling_unclaim(struct conn *c);
/* Whose upgrade is under way; NULL: none is. */
struct prober *polling_prober(const struct conn *c);
/* Give the transport up: exchanges are answered, and the conn has none until
 * conn_set_transport. The prober hears nothing of it. */
void polling_detach(struct conn *c);

#endif
