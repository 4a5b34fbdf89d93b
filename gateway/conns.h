/* All conns of a node, and the lists that drive them: who has something to send, who is
 * to be pinged, whose time is up. */
#ifndef GATEHOUSE_GATEWAY_CONNS_H
#define GATEHOUSE_GATEWAY_CONNS_H

#include "gateway/conn.h"

struct conns {
	struct link all, dirty, closing;
	/* Each list is ordered by time, since each waits for one interval. */
	struct link ping_due, pong_due, connect_due, backend_due, throttled;
	/* Of version 3: who does not ping till then is gone. */
	struct link silence_due;
	/* Draining: when the next are to leave and when the last; UINT64_MAX: nobody. */
	uint64_t leave_at, leave_end;
	struct table by_id;
	size_t n, polling_n; /* all; those that poll */
	struct buf scratch;  /* several frames written at once; also decoding */
	struct frame *ping, *pong;
};

void conns_init(struct conns *c, const uint64_t seed[2]);
void conns_deinit(struct conns *c);
/* NULL: no conn of this id is here (any more). */
struct conn *conns_find(const struct node *n, struct slice id);
/* At the end of a loop turn: take out what ended, then one write for each conn that has
 * something to send, and again until nothing is left to do. True if applications were
 * called, so that there may be more for the adapter. */
bool conns_turn(struct node *n);
/* Pings, timeouts, throttled conns that may go on, conns that are to leave. */
void conns_tick(struct node *n, uint64_t now);
/* When conns_tick has something to do next; UINT64_MAX: never. */
uint64_t conns_next(const struct node *n);
void conns_close_all(struct node *n, enum conn_close reason);
/* Close all conns, evenly over `ms` from now, the oldest first, so that they do not come
 * to other nodes all together. Those that come meanwhile leave within that time too. */
void conns_drain(struct node *n, uint64_t ms);
/* A conn came from another node and brought its times along. */
void conns_on_arrived(struct conn *c);
/* The backend is up: conns whose CONNECT waited for it go on. */
void conns_on_backend_up(struct node *n);

#endif
