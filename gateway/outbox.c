#include "gateway/outbox.h"

#include <assert.h>
#include <stdlib.h>

#include "proto/mem.h"

void outbox_init(struct outbox *o)
{
	*o = (struct outbox){.cap = OUTBOX_INLINE};
}

static struct frame **slots(const struct outbox *o)
{
	/* The union's array is read through a const outbox, but frames are counted. */
	return o->cap == OUTBOX_INLINE ? (struct frame **)(uintptr_t)o->few : o->ring;
}

struct frame *outbox_at(const struct outbox *o, uint32_t i)
{
	assert(i < o->count);
	return slots(o)[(o->head + i) & (o->cap - 1)];
}

static void grow(struct outbox *o)
{
	uint32_t cap = o->cap * 4;
	struct frame **ring = mem_alloc(cap * sizeof(struct frame *));

	for (uint32_t i = 0; i < o->count; i++)
		ring[i] = outbox_at(o, i);
	if (o->cap > OUTBOX_INLINE)
		free(o->ring);
	o->ring = ring;
	o->cap = cap;
	o->head = 0;
}

enum err outbox_push(struct outbox *o, struct frame *f, size_t bytes_max)
{
	if (o->count && (o->bytes > bytes_max || f->n > bytes_max - o->bytes))
		return ERR_FULL;
	if (o->count == o->cap)
		grow(o);
	slots(o)[(o->head + o->count) & (o->cap - 1)] = frame_ref(f);
	o->count++;
	o->bytes += f->n;
	return ERR_OK;
}

void outbox_prepend(struct outbox *o, struct frame *f)
{
	if (o->count == o->cap)
		grow(o);
	o->head = (o->head + o->cap - 1) & (o->cap - 1);
	slots(o)[o->head] = frame_ref(f);
	o->count++;
	o->bytes += f->n;
}

void outbox_pop(struct outbox *o, uint32_t n)
{
	assert(n <= o->count);
	for (uint32_t i = 0; i < n; i++) {
		struct frame *f = outbox_at(o, i);

		o->bytes -= f->n;
		frame_unref(f);
	}
	o->head = (o->head + n) & (o->cap - 1);
	o->count -= n;
	if (o->count == 0 && o->cap > OUTBOX_INLINE) {
		free(o->ring);
		outbox_init(o);
	}
}

void outbox_deinit(struct outbox *o)
{
	outbox_pop(o, o->count);
}
