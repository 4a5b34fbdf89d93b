/* The powers of ten that doubles need, to 128 bits: the one table by which decimal.c
 * reads and writes numbers. tests/unit/number.c computes it anew. */
#ifndef GATEHOUSE_PROTO_POW10_H
#define GATEHOUSE_PROTO_POW10_H

#include <stdint.h>

/* Below, 19 digits are 0; above, the smallest double's last digit. */
enum { POW10_MIN = -342, POW10_MAX = 324 };

/* The highest 128 bits of 10^e: floor(10^e * 2^(127 - floor(log2(10^e)))), and one more
 * below 10^0, so that what divides by a power of ten is not below the exact quotient.
 * They are exact from 10^0 to 10^55. */
struct pow10 {
	uint64_t hi, lo;
};

extern const struct pow10 pow10_table[POW10_MAX - POW10_MIN + 1];

/* floor(x / 2^n), also where C leaves the shift to the implementation. */
static inline int pow10_floor_shift(int x, int n)
{
	return x < 0 ? ~(~x >> n) : x >> n;
}

/* floor(log2(10^e)), exact for all e of the table and well beyond. */
static inline int pow10_log2(int e)
{
	return pow10_floor_shift(e * 1741647, 19);
}

#endif
