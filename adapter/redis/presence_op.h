/* What the gateway asks of presence: members added, removed and listed. A queue that
 * keeps its order until each is answered; presence.c says when it may be written.
 * Also what both files use of each other. */
#ifndef GATEHOUSE_ADAPTER_REDIS_PRESENCE_OP_H
#define GATEHOUSE_ADAPTER_REDIS_PRESENCE_OP_H

#include "adapter/redis/presence.h"

/* Write what waits, as far as the connection takes it. */
void presence_ops_write(struct redis_presence *p);
/* What was written and is to be written again comes first. */
void presence_ops_requeue(struct redis_presence *p);
/* Drop the removals of which nobody waits to hear: all members are being removed. */
void presence_ops_forget_owed(struct redis_presence *p);
/* A member as Redis holds it, at home or as a guest. */
struct adapter_member presence_member_of(struct slice s);

/* Tell of members that this node removed for a dead one; `gone` is an array of them. */
void presence_announce(struct redis_presence *p, struct slice room,
		       const struct resp *gone);
/* Are the others given time to come back? */
bool presence_spares(const struct redis_presence *p);
/* This node's lease had run out, or was gone. */
void presence_forgotten(struct redis_presence *p);
/* Redis refused a script; said once in a while. */
void presence_complain(struct redis_presence *p, struct slice error);

#endif
