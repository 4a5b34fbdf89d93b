/* Engine.IO payloads: several packets in the body of one request or answer, which is how
 * they travel over HTTP long-polling. The packets to be sent come as WebSocket frames, as
 * an outbox has them; those received go out as if each had come in a WebSocket frame. */
#ifndef GATEHOUSE_PROTO_PAYLOAD_H
#define GATEHOUSE_PROTO_PAYLOAD_H

#include "proto/eio.h"

enum payload_format {
	/* Engine.IO 4: packets with 0x1e between them, binary ones as "b<base64>". */
	PAYLOAD_V4,
	/* Engine.IO 3: "<length>:<packet>" one behind the other, the length in UTF-16
	 * code units, binary ones as "b4<base64>". */
	PAYLOAD_V3_TEXT,
	/* Engine.IO 3, application/octet-stream: a byte that is 0 for a text packet and 1
	 * for a binary one, the digits of the packet's length as bytes 0 to 9, 0xff, the
	 * packet. A binary packet begins with the byte 4. */
	PAYLOAD_V3_BINARY,
};

/* Is one of these frames binary? If so, an Engine.IO 3 client is answered with
 * PAYLOAD_V3_BINARY unless it asked for base64 (eio_query.base64), and without a binary
 * packet always with PAYLOAD_V3_TEXT. */
bool payload_has_binary(struct slice frames);

/* Append frames to a payload: `out` is empty or holds those that came before. `frames` is
 * a run of whole frames, as they go to a client of the format's version: for PAYLOAD_V3_*
 * binary ones begin with the byte 4 (assert). A text frame is one packet. */
void payload_append(struct buf *out, enum payload_format format, struct slice frames);

/* The number of bytes that payload_append would append to an `out` that is not empty. */
size_t payload_size(enum payload_format format, struct slice frames);

/* What an Engine.IO 3 client sent as one WebSocket message, as payload_next has it: a
 * binary one begins with the byte 4, a text one may be "b4<base64>". *packet borrows from
 * `bytes` or `scratch`, which is cleared first. ERR_SYNTAX as payload_next. */
struct payload_packet;
MUST_USE enum err payload_v3_frame(struct slice bytes, bool binary, struct buf *scratch,
				   struct payload_packet *packet);

/* The packets of a received body, one after the other. */
struct payload_reader {
	enum payload_format format;
	struct slice rest; /* borrowed */
	bool begun;
};

struct payload_packet {
	bool binary;
	struct slice
		bytes; /* of text: type and data, as eio_decode takes it; of binary the
			* message alone. Borrows from the body or from `scratch` */
};

void payload_reader_init(struct payload_reader *r, enum payload_format format,
			 struct slice body);

/* Read the next packet. *more is false when there is none, and *packet then not written.
 * `scratch` is cleared first. No packet is larger than the body.
 * ERR_SYNTAX: an empty body (but of PAYLOAD_V3_BINARY), an empty packet, an unknown type,
 * text that is not UTF-8 (the reference reads U+FFFD), bad base64, a bad length or one
 * beyond the end, binary that is no message. The packets before it are good, and the
 * reference handles them before it closes the session; the reader is not used again. */
MUST_USE enum err payload_next(struct payload_reader *r, struct buf *scratch,
			       struct payload_packet *packet, bool *more);

#endif
