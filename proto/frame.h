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
/* A Socket.IO packet as WebSocket frames: a text frame "4…" and one binary frame for each
 * attachment. Errors as sio_encode; *out is written on success, one reference. `scratch`
 * and `bins` are working memory, cleared first, so `packet` must not borrow from them;
 * they hold nothing afterwards. */
MUST_USE enum err frame_ws_sio(const struct sio_packet *packet, struct buf *scratch,
			       struct json_bins *bins, struct frame **out);

#endif
