/* What a session is, as one node tells another when it moves (move.h): encoded, and put
 * together again. What comes may be from anybody who can publish in Redis: it is checked
 * for its form, not for its truth. */
#ifndef GATEHOUSE_GATEWAY_MOVE_STATE_H
#define GATEHOUSE_GATEWAY_MOVE_STATE_H

#include "gateway/conn.h"

/* Its sockets with their rooms, its timers, an event of which attachments are due. */
void move_state_pack(const struct conn *c, struct buf *out);
/* Make `c`, a conn that arrives, what `state` says. Its sockets are in no room yet:
 * `want_room` is called for each, with its recovery_flags. ERR_SYNTAX and so on: it is
 * not what was packed. */
typedef void move_want_room_fn(void *arg, struct socket *s, struct slice room,
			       unsigned flags);
MUST_USE enum err move_state_unpack(struct conn *c, struct slice state,
				    move_want_room_fn *want_room, void *arg);

/* What was not sent, and which sockets are left, with the answers their clients owe. */
void move_rest_pack(const struct conn *c, struct buf *out);
/* Drop the sockets that are left no more, and put what was not sent before what has come
 * since. */
MUST_USE enum err move_rest_unpack(struct conn *c, struct slice rest);

#endif
