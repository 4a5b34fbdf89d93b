/* A growing byte buffer that owns its memory. It never fails (mem.h); who appends what
 * a peer sent has checked a limit before. */
#ifndef GATEHOUSE_PROTO_BUF_H
#define GATEHOUSE_PROTO_BUF_H

#include "proto/slice.h"

struct buf {
	uint8_t *p;
	size_t n;   /* bytes in use */
	size_t cap; /* bytes allocated */
};

#define BUF_INIT ((struct buf){NULL, 0, 0})

void buf_deinit(struct buf *b);
/* Forget the content, keep the memory. */
static inline void buf_clear(struct buf *b)
{
	b->n = 0;
}
/* Give back memory above `keep` bytes if the buffer is empty; for scratch buffers that
 * one large message has blown up. */
void buf_trim(struct buf *b, size_t keep);
/* Make room for `n` more bytes; called by buf_reserve when there is none. */
void buf_grow(struct buf *b, size_t n);
/* Room for `n` more bytes; returns where they go. They count once buf_commit'ed. */
static inline uint8_t *buf_reserve(struct buf *b, size_t n)
{
	if (n > b->cap - b->n || !b->p)
		buf_grow(b, n);
	return b->p + b->n;
}
static inline void buf_commit(struct buf *b, size_t n)
{
	b->n += n;
}
static inline void buf_append(struct buf *b, const void *p, size_t n)
{
	if (n == 0)
		return;
	memcpy(buf_reserve(b, n), p, n);
	b->n += n;
}
static inline void buf_slice(struct buf *b, struct slice s)
{
	buf_append(b, s.p, s.n);
}
static inline void buf_str(struct buf *b, const char *s)
{
	buf_append(b, s, strlen(s));
}
static inline void buf_byte(struct buf *b, uint8_t c)
{
	*buf_reserve(b, 1) = c;
	b->n++;
}
void buf_printf(struct buf *b, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* A NUL behind the content, not counted in n; returns the content as a string. */
const char *buf_cstr(struct buf *b);

static inline struct slice buf_view(const struct buf *b)
{
	return slice_of(b->p, b->n);
}

#endif
