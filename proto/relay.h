/* What Gatehouse nodes tell one another (adapter_tell): a request of a client that
 * reached another node than its session's, the answer to it, and a session that moves to
 * the node that holds its WebSocket. One format for all; what a type does not use is 0 or
 * empty. gateway/relay.h and gateway/move.h say what each means. */
#ifndef GATEHOUSE_PROTO_RELAY_H
#define GATEHOUSE_PROTO_RELAY_H

#include "proto/buf.h"
#include "proto/err.h"

enum relay_type {
	RELAY_GET,    /* the owner is asked: a GET of the session `sid` */
	RELAY_POST,   /* the same with its body */
	RELAY_CLAIM,  /* a WebSocket wants to take the session over */
	RELAY_PROBED, /* it works: let hanging GETs go */
	RELAY_TAKE,   /* the client has upgraded: hand the session over */
	RELAY_ANSWER, /* to a GET, POST, CLAIM or TAKE, with its number */
	RELAY_GONE,   /* the client behind any of these is gone */
	RELAY_PING,   /* are you there? */
	RELAY_PONG,
	RELAY_FENCE,   /* adapter_fence: up to here the old owner delivers */
	RELAY_REST,    /* what the old owner had not sent yet */
	RELAY_TAKEN,   /* the new owner has everything */
	RELAY_ENDED,   /* the session that is claimed or moving has ended at its owner */
	RELAY_RELEASE, /* let the GET go: the node its client hangs at stops */
	RELAY_TYPES
};

struct relay_message {
	enum relay_type type;
	uint8_t version; /* of Engine.IO */
	uint8_t kind;	 /* RELAY_ANSWER: enum answer_kind */
	uint8_t error;	 /* RELAY_ANSWER: enum eio_error */
	bool binary;	 /* the body is not text; of a client of version 3: no base64 */
	uint64_t number; /* of the request, drawn by who asks; unique for its node */
	struct slice sid;
	struct slice body;
};

/* Append it. */
void relay_encode(const struct relay_message *m, struct buf *out);
/* ERR_SYNTAX, ERR_TRUNCATED, ERR_RANGE: not of this format. *m borrows from `bytes`. */
MUST_USE enum err relay_decode(struct slice bytes, struct relay_message *m);

#endif
