#include "proto/buf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/mem.h"

enum { BUF_CAP_MIN = 64 };

void buf_deinit(struct buf *b)
{
	free(b->p);
	*b = BUF_INIT;
}

void buf_trim(struct buf *b, size_t keep)
{
	if (b->n == 0 && b->cap > keep)
		buf_deinit(b);
}

void buf_grow(struct buf *b, size_t n)
{
	size_t need = b->n + n, cap = b->cap < BUF_CAP_MIN ? BUF_CAP_MIN : b->cap;

	assert(need >= n);
	while (cap < need)
		cap *= 2;
	b->p = mem_realloc(b->p, cap);
	b->cap = cap;
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	assert(n >= 0);
	va_start(ap, fmt);
	vsnprintf((char *)buf_reserve(b, (size_t)n + 1), (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->n += (size_t)n;
}

const char *buf_cstr(struct buf *b)
{
	*buf_reserve(b, 1) = '\0';
	return (const char *)b->p;
}
