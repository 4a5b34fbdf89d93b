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
/* Room for `n` more bytes; returns where they go. They count once buf_commit'ed. */
uint8_t *buf_reserve(struct buf *b, size_t n);
static inline void buf_commit(struct buf *b, size_t n)
{
	b->n += n;
}
void buf_append(struct buf *b, const void *p, size_t n);
static inline void buf_slice(struct buf *b, struct slice s)
{
	buf_append(b, s.p, s.n);
}
void buf_str(struct buf *b, const char *s);
void buf_byte(struct buf *b, uint8_t c);
void buf_printf(struct buf *b, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* A NUL behind the content, not counted in n; returns the content as a string. */
const char *buf_cstr(struct buf *b);

static inline struct slice buf_view(const struct buf *b)
{
	return slice_of(b->p, b->n);
}

#endif
