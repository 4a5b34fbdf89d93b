/* The dialects of servers that speak no Socket.IO, as values: what to say to join, to
 * publish and to echo, and what comes back. raw_client.c carries it. */
#ifndef GATEHOUSE_TESTS_BENCH_RAW_DIALECT_H
#define GATEHOUSE_TESTS_BENCH_RAW_DIALECT_H

#include "bench/client.h"
#include "bench/wire.h"

/* What these clients keep beside `struct client`. */
struct polling {
	uint64_t acked;	  /* echoes, which come back in order */
	struct pipe post; /* of http: the second connection */
	unsigned waits;	  /* of http: answers that are due */
	bool echoes;	  /* nchan, nats: what comes answers an echo */
};

/* An event of --emit or --echo: ["name","room","message"]. */
struct asked {
	bool is_echo;
	struct slice room, message;
};

struct dialect {
	const char *name;
	bool is_websocket;
	/* The path to ask for, behind the one of the URL. */
	void (*path)(struct slice room, bool outside, struct buf *out);
	/* What to say when it is up; false: nothing, it is a member. */
	bool (*greet)(struct client *c, struct slice room);
	void (*send)(struct client *c, const struct asked *asked);
	/* A message of WebSocket, or the body of an answer of HTTP. */
	void (*on_text)(struct client *c, const struct client_context *x,
			struct slice text);
};

static inline bool dialect_is_over(const struct client *c)
{
	return c->state == CLIENT_FAILED || c->state == CLIENT_GONE;
}

/* Queue a frame. */
void dialect_frame(struct client *c, enum wire_opcode opcode, struct slice payload);
/* It is where it was to get, if it was not before. */
void dialect_enter(struct client *c, const struct client_context *x);

/* NULL: there is none of this name. */
const struct dialect *dialect_find(const char *name);

#endif
