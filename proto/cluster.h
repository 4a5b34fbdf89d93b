/* The broadcast message of the classic Redis adapter (@socket.io/redis-adapter 8,
 * @socket.io/redis-emitter 5): msgpack [uid, packet, {rooms, except, flags}], published
 * on
 * `<prefix>#<nsp>#<room>#` for exactly one room, else on `<prefix>#<nsp>#`. Readers
 * ignore further elements; the fourth is the event's offset, `<era>-<number>`, which the
 * step that numbers it appends (adapter/session.h). */
#ifndef GATEHOUSE_PROTO_CLUSTER_H
#define GATEHOUSE_PROTO_CLUSTER_H

#include "proto/mp.h"

enum cluster_flags {
	CLUSTER_VOLATILE = 1, /* may be dropped for a receiver that is slow */
	CLUSTER_LOCAL = 2,    /* this node only: never published */
	CLUSTER_LOGGED = 4,   /* to be numbered and logged */
};

/* What a broadcast says, whoever sent it. */
struct cluster_broadcast {
	struct slice nsp;
	const struct slice *rooms; /* none: the whole namespace */
	size_t rooms_n;
	const struct slice *except; /* rooms whose members do not get it */
	size_t except_n;
	unsigned flags;	   /* enum cluster_flags */
	struct slice data; /* encoded array: event name, arguments */
	struct slice uid;  /* who published it; of a Gatehouse node: "gh-" and its code */
	bool foreign;	   /* from a peer that is no Gatehouse node */
	struct slice offset; /* as it was numbered; empty: it was not */
	uint64_t number;     /* in it */
};

enum { CLUSTER_ROOMS_MAX = 4096 };

/* Memory for the room lists of decoded messages; reused from one to the next. */
struct cluster_rooms {
	struct slice *v;
	size_t cap;
	struct buf numbers; /* rooms that came as numbers, written as strings */
};

void cluster_rooms_deinit(struct cluster_rooms *r);

/* Append the message of `b`, published by `b->uid`, without an offset. CLUSTER_LOCAL must
 * not be set. */
void cluster_encode(const struct cluster_broadcast *b, struct buf *out);
/* Decode one message; slices borrow from `message` and `rooms`.
 * A missing nsp is "/"; rooms given as numbers are as JavaScript writes them; absent
 * opts, rooms, except or flags (nil, undefined) are none, and so is opts or flags as an
 * empty array, PHP's word for an empty map. The last of equal keys counts. ERR_SYNTAX,
 * ERR_TRUNCATED, ERR_DEPTH: malformed, or data that sio_event_ok refuses; a message that
 * names rooms in a way not understood is refused rather than sent to all. ERR_NOT_FOUND:
 * well-formed, but not an EVENT packet (type 2), which this version does not handle;
 * ERR_TOO_MANY: more than CLUSTER_ROOMS_MAX rooms, or excepted ones. */
MUST_USE enum err cluster_decode(struct slice message, struct cluster_rooms *rooms,
				 struct cluster_broadcast *b);

/* The number in an offset, which is behind its last `-`. ERR_SYNTAX: it is none. */
MUST_USE enum err cluster_offset(struct slice offset, struct slice *era,
				 uint64_t *number);
/* Let an encoded message count an offset that is still to be appended. */
void cluster_await_offset(struct buf *message);
/* Append it, as the numbering step does. */
void cluster_put_offset(struct buf *message, struct slice offset);

/* Append the channel a broadcast to these rooms goes to. */
void cluster_channel(struct slice prefix, struct slice nsp, const struct slice *rooms,
		     size_t rooms_n, struct buf *out);
/* Append the pattern of the own-id rooms of one node's sockets:
 * `<prefix>#<nsp>#<code>` and one `?` for each further character of an id, and `#`;
 * prefix and nsp escaped for PSUBSCRIBE. */
void cluster_ids_pattern(struct slice prefix, struct slice nsp, struct slice code,
			 struct buf *out);
/* Split a channel name of this prefix. *room is empty for a namespace's own channel.
 * ERR_NOT_FOUND: not a channel of this prefix. A room may hold `#`; a namespace may not.
 */
MUST_USE enum err cluster_parse_channel(struct slice prefix, struct slice channel,
					struct slice *nsp, struct slice *room);

#endif
