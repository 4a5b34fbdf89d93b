/* A borrowed range of bytes. A `struct slice` parameter is valid until the call
 * returns; who needs it longer copies it. `p` may be NULL if `n` is 0. */
#ifndef GATEHOUSE_PROTO_SLICE_H
#define GATEHOUSE_PROTO_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
	const uint8_t *p;
	size_t n;
};

#define SLICE_EMPTY ((struct slice){NULL, 0})
/* Of a string literal, without its NUL. SLICE_INIT is for static tables. */
#define SLICE_INIT(s)                                                                    \
	{                                                                                \
		(const uint8_t *)("" s ""), sizeof(s) - 1                                \
	}
#define SLICE_LIT(s) ((struct slice)SLICE_INIT(s))

static inline struct slice slice_of(const void *p, size_t n)
{
	return (struct slice){p, n};
}

static inline struct slice slice_str(const char *s)
{
	return (struct slice){(const uint8_t *)s, strlen(s)};
}

static inline bool slice_eq(struct slice a, struct slice b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* As strcmp; a prefix sorts first. */
static inline int slice_cmp(struct slice a, struct slice b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int c = n ? memcmp(a.p, b.p, n) : 0;

	return c ? c : (a.n > b.n) - (a.n < b.n);
}

static inline bool slice_starts(struct slice s, struct slice prefix)
{
	return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}

/* `s` without its first `n` bytes; n must not exceed s.n. */
static inline struct slice slice_skip(struct slice s, size_t n)
{
	return (struct slice){n ? s.p + n : s.p, s.n - n};
}

/* For printf's "%.*s". */
#define SLICE_FMT(s) (int)(s).n, (const char *)(s).p

#endif
