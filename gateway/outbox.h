/* What waits to be sent to one client: a ring of frame references, bounded in bytes. It
 * does no I/O: the conn takes frames out when its transport can write. An empty outbox
 * owns no memory. */
#ifndef GATEHOUSE_GATEWAY_OUTBOX_H
#define GATEHOUSE_GATEWAY_OUTBOX_H

#include "proto/frame.h"

enum { OUTBOX_INLINE = 2 };

struct outbox {
	union {
		struct frame *few[OUTBOX_INLINE]; /* while cap == OUTBOX_INLINE */
		struct frame **ring;
	};
	uint32_t head, count, cap;
	size_t bytes; /* of the frames in it */
};

void outbox_init(struct outbox *o);
/* Drops what is in it. */
void outbox_deinit(struct outbox *o);
/* Queue `f`, taking a reference of its own. ERR_FULL: it would be more than `bytes_max`
 * (a single frame is always taken by an empty outbox); the outbox is unchanged and the
 * caller decides between dropping and closing. */
MUST_USE enum err outbox_push(struct outbox *o, struct frame *f, size_t bytes_max);
/* Queue `f` before all others, whatever the limit. */
void outbox_prepend(struct outbox *o, struct frame *f);
/* The frame at position `i` of those queued, borrowed. */
struct frame *outbox_at(const struct outbox *o, uint32_t i);
/* Drop the first `n` frames. */
void outbox_pop(struct outbox *o, uint32_t n);

#endif
