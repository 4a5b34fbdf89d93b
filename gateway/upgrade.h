/* A WebSocket on its way into a session that polls: probe ("2probe", "3probe"), upgrade
 * ("5"), and then it is the session's transport. The session may be another node's; then
 * that one hands it over (move.h).
 *
 * Behaviour is that of engine.io 6.6, lib/socket.ts, _maybeUpgrade: a WebSocket that does
 * anything else is closed, and the session goes on polling. What comes is kept and worked
 * off in upgrades_turn, so nothing here happens inside the transport's own calls. */
#ifndef GATEHOUSE_GATEWAY_UPGRADE_H
#define GATEHOUSE_GATEWAY_UPGRADE_H

#include "gateway/conn.h"
#include "proto/eio.h"

struct upgrade;

/* A transport that can be given to a conn. */
struct upgrade_ops {
	const struct transport_ops *transport;
	/* From now on what happens to it is this conn's. */
	void (*attach)(void *transport, struct conn *c);
};

/* Of a node. */
struct upgrades {
	struct link dirty; /* have something to do */
	struct link due;   /* by time: all have upgradeTimeout */
};

void upgrades_init(struct upgrades *us);
/* The WebSocket of a request for session q->sid is open. It is closed, or given to the
 * session's conn, in a later turn. */
struct upgrade *upgrade_new(struct node *n, const struct eio_query *q,
			    const struct upgrade_ops *ops, void *transport);

/* What the transport reports. */
void upgrade_on_packet(struct upgrade *u, struct slice bytes, bool binary);
void upgrade_on_transport_closed(struct upgrade *u);

/* At the end of a loop turn: true if anything was done. */
bool upgrades_turn(struct node *n);
/* The node stops: their sessions go on polling elsewhere. True if there were any. */
bool upgrades_close_all(struct node *n);
/* Those that take too long; when the next will. */
void upgrades_tick(struct node *n, uint64_t now);
uint64_t upgrades_next(const struct node *n);

#endif
