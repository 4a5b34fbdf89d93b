/* What Redis does for connection state recovery, as adapter/session.h says it: numbers,
 * one log, sessions; without limits, expiry and loss. For the bus, which decides when. */
#ifndef GATEHOUSE_TESTS_SIM_STORE_H
#define GATEHOUSE_TESTS_SIM_STORE_H

#include "adapter/session.h"
#include "proto/buf.h"
#include "proto/id.h"
#include "proto/list.h"

struct store {
	uint64_t seq;
	struct link log; /* of struct store_entry, in order */
	struct link sessions;
};

struct store_entry {
	struct link link;
	uint64_t number;
	struct buf key;	    /* <nsp>#<room> */
	struct buf message; /* with its offset */
};

/* A request that waits, and what became of it; memory of its own. */
struct store_call {
	struct session_request request;
	struct buf text; /* what its slices show */
	enum err err;
	struct session_reply reply;
	struct session_room *rooms;
	struct slice *messages;
	struct buf kept;		    /* names, messages, spans */
	char taken_from[NODE_CODE_LEN + 1]; /* a node that is to hear of SESSION_TAKEN */
};

void store_init(struct store *s);
void store_deinit(struct store *s);
/* Number and log a message of three elements; it gets its offset. */
const struct store_entry *store_publish(struct store *s, struct slice key,
					struct slice message);
/* Is there a session of that socket? */
bool store_knows(struct store *s, struct slice sid);
struct store_call *store_call_new(const struct session_request *r);
void store_call_free(struct store_call *c);
/* Carry it out for the node `code`; again, if its answer was lost. */
void store_do(struct store *s, struct store_call *c, const char *code);

#endif
