/* Allocation that does not fail: the process aborts when memory is out, so whatever a
 * peer can size must meet a cap before it gets here. Free with free(). */
#ifndef GATEHOUSE_PROTO_MEM_H
#define GATEHOUSE_PROTO_MEM_H

#include <stddef.h>

/* `size` bytes, not initialised. A size of 0 gives a pointer that can be freed. */
void *mem_alloc(size_t size) __attribute__((malloc, returns_nonnull));
/* `count * size` bytes, zeroed; aborts if the product overflows. */
void *mem_zalloc(size_t count, size_t size) __attribute__((malloc, returns_nonnull));
/* As realloc; `p` may be NULL. */
void *mem_realloc(void *p, size_t size) __attribute__((returns_nonnull));
/* A copy of `n` bytes at `p` with a NUL behind them. */
char *mem_strndup(const void *p, size_t n) __attribute__((malloc, returns_nonnull));

#endif
