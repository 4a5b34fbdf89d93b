/* Requests of clients that reached another node than their session's.
 *
 * The id of a session begins with the code of the node that made it, so every node knows
 * the owner. It sends the request on (adapter_tell); the owner handles it as if it had
 * come to itself and answers the same way. A request is sent once: what may have got lost
 * on the way is answered with 503, and the client starts a new session.
 *
 * An owner that is gone is noticed at once, since nobody hears what it is told; one that
 * is cut off, or hangs, by its silence, after presenceLease. To notice it while a GET
 * hangs, nodes that others wait for are asked for a sign of life every second. */
#ifndef GATEHOUSE_GATEWAY_RELAY_H
#define GATEHOUSE_GATEWAY_RELAY_H

#include "gateway/exchange.h"
#include "proto/id.h"
#include "proto/list.h"
#include "proto/relay.h"
#include "proto/table.h"

struct node;
struct relay_peer;

/* Of a node. */
struct relays {
	uint64_t number;     /* of the last request sent */
	struct table calls;  /* struct relay_call by number */
	struct table peers;  /* struct relay_peer by code: others that are waited for */
	struct table remote; /* struct remote_exchange: requests from others, by node and
				number */
	uint64_t check_ms;   /* when to look after the peers next */
};

/* A request to another node that waits for its answer; embedded in what asked. */
struct relay_call {
	uint64_t number;
	struct relay_peer *peer;
	struct link of_peer;
	/* `m`: the answer; NULL: there will be none, `err` says why: ERR_NOT_FOUND: that
	 * node is gone, ERR_TIMEOUT: it is silent, else as adapter_tell. The call is over
	 * and its memory the owner's. Not called inside relay_ask. */
	void (*on_answer)(struct relay_call *c, const struct relay_message *m,
			  enum err err);
};

void relays_init(struct relays *r, const uint64_t seed[2]);
void relays_deinit(struct relays *r);
void relays_tick(struct node *n, uint64_t now);
uint64_t relays_next(const struct node *n);

/* Ask node `code`; m->number is drawn. */
void relay_ask(struct node *n, struct relay_call *c, struct slice code,
	       struct relay_message *m);
/* Forget about the answer. */
void relay_forget(struct node *n, struct relay_call *c);
/* Tell a node something that needs no answer. */
void relay_tell(struct node *n, struct slice code, const struct relay_message *m);
/* What another node said; adapter_events.on_told. */
void relay_on_told(struct node *n, struct slice from, struct slice bytes);

/* Send a request on; its answer comes to `x`. */
void relay_get(struct node *n, const struct eio_query *q, struct exchange *x);
void relay_post(struct node *n, const struct eio_query *q, struct slice body, bool binary,
		struct exchange *x);
/* Its client is gone. */
void relay_on_gone(struct node *n, struct exchange *x);

/* This node stops: clients whose GETs hang here for sessions of other nodes are to come
 * to those by another way. Is none left? */
void relays_release(struct node *n);
bool relays_done(const struct node *n);
/* Wait for nobody any more. */
void relays_give_up(struct node *n);

#endif
