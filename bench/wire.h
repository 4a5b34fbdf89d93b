/* The client's side of HTTP and WebSocket, as bytes: requests, responses, masked frames.
 * No code of the gateway's, so that a mistake of the gateway's cannot hide in a shared
 * one. */
#ifndef GATEHOUSE_BENCH_WIRE_H
#define GATEHOUSE_BENCH_WIRE_H

#include "proto/buf.h"
#include "proto/err.h"

enum { WIRE_BODY_MAX = 16 << 20 };

struct wire_response {
	int status;
	bool close;	   /* the server will close the connection */
	bool websocket;	   /* 101 with the right Sec-WebSocket-Accept */
	struct slice body; /* borrowed */
	size_t bytes;	   /* of all of it */
};

/* Read the response at the beginning of `in`. ERR_TRUNCATED: it is not whole yet.
 * ERR_SYNTAX: it is none, or a 200 whose body has no Content-Length (of other statuses
 * such a body is left out); ERR_TOO_BIG. */
MUST_USE enum err wire_response(struct slice in, struct wire_response *r);

/* `query` begins with '?'. */
void wire_get(struct buf *out, const char *host, const char *path, const char *query);
void wire_post(struct buf *out, const char *host, const char *path, const char *query,
	       struct slice body);
void wire_upgrade(struct buf *out, const char *host, const char *path, const char *query);

enum wire_opcode {
	WIRE_MORE = 0,
	WIRE_TEXT = 1,
	WIRE_BINARY = 2,
	WIRE_CLOSE = 8,
	WIRE_PING = 9,
	WIRE_PONG = 10
};

/* Append a masked frame. */
void wire_frame(struct buf *out, enum wire_opcode opcode, uint32_t mask,
		struct slice payload);

struct wire_frame {
	enum wire_opcode opcode;
	bool last; /* FIN */
	struct slice payload;
	size_t bytes;
};

/* Read the frame of a server at the beginning of `in`. ERR_TRUNCATED: it is not whole
 * yet. ERR_SYNTAX: masked, or with bits nobody asked for. ERR_TOO_BIG. */
MUST_USE enum err wire_take_frame(struct slice in, struct wire_frame *f);

#endif
