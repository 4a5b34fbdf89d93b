/* One encoded message: immutable, counted, shared by all its receivers. It holds the
 * bytes a transport writes as they are: for WebSocket the complete frame, and for an
 * event with attachments all of its frames in a row, so a receiver's queue holds either
 * the whole event or nothing of it. */
#ifndef GATEHOUSE_PROTO_FRAME_H
#define GATEHOUSE_PROTO_FRAME_H

#include "proto/sio.h"

struct frame {
	uint32_t refs;
	uint32_t packets; /* Engine.IO packets in it */
	size_t n;
	uint8_t bytes[];
};

/* A frame of `n` uninitialised bytes, one reference, to be filled before it is shared. */
struct frame *frame_new(size_t n, uint32_t packets);
static inline struct frame *frame_ref(struct frame *f)
{
	f->refs++;
	return f;
}
/* NULL is allowed. */
void frame_unref(struct frame *f);
static inline struct slice frame_view(const struct frame *f)
{
	return slice_of(f->bytes, f->n);
}

/* An Engine.IO packet (type and data) as one WebSocket text frame. */
struct frame *frame_ws_eio(char type, struct slice data);

/* What a client takes. JSON: a text frame "4…" and one binary frame for each attachment.
 * MSGPACK: one binary frame. For an Engine.IO 3 client (V3) binary frames begin with a
 * type too, the byte 4; BASE64 is for one that can't take them, with text frames "b4…"
 * instead. */
enum frame_encoding {
	FRAME_JSON,
	FRAME_JSON_V3,
	FRAME_JSON_V3_BASE64,
	FRAME_MSGPACK,
	FRAME_MSGPACK_V3,
	FRAME_MSGPACK_V3_BASE64,
	FRAME_ENCODINGS
};

/* A Socket.IO packet as WebSocket frames. Errors as sio_encode, or as sio_msgpack_encode;
 * *out is written on success, one reference. `scratch` and `bins` are working memory,
 * cleared first, so `packet` must not borrow from them; they hold nothing afterwards. */
MUST_USE enum err frame_ws_sio(const struct sio_packet *packet,
			       enum frame_encoding encoding, struct buf *scratch,
			       struct json_bins *bins, struct frame **out);

#endif
