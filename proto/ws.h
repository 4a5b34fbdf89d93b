/* WebSocket frames a server sends (RFC 6455, section 5): FIN set, not masked, never
 * fragmented. */
#ifndef GATEHOUSE_PROTO_WS_H
#define GATEHOUSE_PROTO_WS_H

#include "proto/buf.h"

enum ws_opcode { WS_TEXT = 1, WS_BINARY = 2, WS_CLOSE = 8, WS_PING = 9, WS_PONG = 10 };

enum { WS_HEADER_MAX = 10 };

/* Write the header of a frame with `n` payload bytes; returns its length (2, 4, 10). */
size_t ws_header(uint8_t out[WS_HEADER_MAX], enum ws_opcode opcode, uint64_t n);
/* Append header and payload. */
void ws_append(struct buf *out, enum ws_opcode opcode, struct slice payload);

/* Take the first of a run of frames that ws_header began. The run is ours: that it is
 * complete is asserted. */
struct ws_view {
	enum ws_opcode opcode;
	struct slice payload; /* borrowed */
};
struct ws_view ws_take(struct slice *frames);

#endif
