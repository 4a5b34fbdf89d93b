/* Reading: D. Lemire, "Number parsing at a gigabyte per second" (2021), and N. Mushtak,
 * D. Lemire, "Fast number parsing without fallback" (2023), which proves that 128 bits of
 * a power of ten are enough. Writing: R. Giulietti, "The Schubfach way to render doubles"
 * (2020). */
#include "proto/decimal.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "proto/pow10.h"

__extension__ typedef unsigned __int128 u128;

enum {
	MANTISSA_BITS = 52, /* stored ones */
	EXPONENT_BIAS = 1023,
	EXPONENT_TOP = 2047, /* of Infinity */
	/* Bits of a product below the mantissa that count: one to round by, and one more,
	 * as the highest may be 0. */
	ROUND_BITS = 2
};

#define HIDDEN_BIT (UINT64_C(1) << MANTISSA_BITS)

static const struct pow10 *pow10_of(int e)
{
	assert(e >= POW10_MIN);
	assert(e <= POW10_MAX);
	return &pow10_table[e - POW10_MIN];
}

static double double_of(uint64_t mantissa, int exponent)
{
	uint64_t bits = (mantissa & (HIDDEN_BIT - 1)) | (uint64_t)exponent
								<< MANTISSA_BITS;
	double d;

	memcpy(&d, &bits, sizeof(d));
	return d;
}

/* w * 10^e, its highest 128 bits. The second multiplication matters only where the first
 * left the bits below the mantissa all ones, so that a carry could reach it. */
static u128 scale(uint64_t w, const struct pow10 *power)
{
	const uint64_t below = UINT64_MAX >> (MANTISSA_BITS + 1 + ROUND_BITS);
	u128 product = (u128)w * power->hi;

	if (((uint64_t)(product >> 64) & below) == below)
		product += (u128)w * power->lo >> 64;
	return product;
}

/* Drop the rounding bits: half up, but half exactly to even. */
static uint64_t round_off(uint64_t m)
{
	return (m + (m & 1)) >> 1;
}

double decimal_to_double(struct decimal x)
{
	int zeros, top, exponent, shift;
	uint64_t hi, m;
	u128 product;

	assert(x.m);
	if (x.exponent < POW10_MIN)
		return 0;
	if (x.exponent > 308)
		return HUGE_VAL;
	zeros = __builtin_clzll(x.m);
	product = scale(x.m << zeros, pow10_of(x.exponent));
	hi = (uint64_t)(product >> 64);
	top = (int)(hi >> 63);
	shift = top + 64 - MANTISSA_BITS - 1 - ROUND_BITS;
	m = hi >> shift; /* 53 bits and one to round by */
	exponent = pow10_log2(x.exponent) + 63 + top - zeros + EXPONENT_BIAS;
	if (exponent <= 0) {
		if (exponent <= -63)
			return 0;
		m = round_off(m >> (1 - exponent));
		/* Rounding up may have made the smallest normal double. */
		return double_of(m, m >= HIDDEN_BIT);
	}
	/* Halfway between two doubles exactly: only these powers can make it so. */
	if ((uint64_t)product <= 1 && x.exponent >= -4 && x.exponent <= 23 &&
	    (m & 3) == 1 && m << shift == hi)
		m--;
	m = round_off(m);
	if (m == HIDDEN_BIT << 1) {
		m = HIDDEN_BIT;
		exponent++;
	}
	return exponent >= EXPONENT_TOP ? HUGE_VAL : double_of(m, exponent);
}

/* floor(x * g / 2^128), whose last bit is also set if anything was cut off: that keeps
 * comparisons right where equality matters. */
static uint64_t scale_to_odd(struct pow10 g, uint64_t x)
{
	u128 product = (u128)x * g.hi + ((u128)x * g.lo >> 64);

	return (uint64_t)(product >> 64) | ((uint64_t)product > 1);
}

/* The paper's g: above the power also where the table is below. */
static struct pow10 upper_power(int e)
{
	struct pow10 g = *pow10_of(e);

	assert(g.lo != UINT64_MAX);
	g.lo += e >= 0;
	return g;
}

struct decimal decimal_of_double(double d)
{
	uint64_t bits, c, s, tens, v, low, high;
	int stored, q, k, shift;
	bool closer, odd, below, above;
	struct pow10 g;

	assert(d > 0);
	assert(isfinite(d));
	memcpy(&bits, &d, sizeof(bits));
	stored = (int)(bits >> MANTISSA_BITS);
	c = bits & (HIDDEN_BIT - 1);
	/* Below a power of two doubles are twice as dense. */
	closer = c == 0 && stored > 1;
	if (stored)
		c |= HIDDEN_BIT;
	q = (stored ? stored : 1) - EXPONENT_BIAS - MANTISSA_BITS;
	/* d = c * 2^q. k: the largest for which 10^k is not above the width of the
	 * interval that reads back as d, floor(log10(2^q)), or of 3/4 of that where it is
	 * closer. */
	k = pow10_floor_shift(q * 1262611 - (closer ? 524031 : 0), 22);
	shift = q + pow10_log2(-k) + 1;
	g = upper_power(-k);
	/* d and the ends of the interval, times 4 / 10^k. The ends are in it if c is
	 * even. */
	odd = c & 1;
	v = scale_to_odd(g, c << 2 << shift);
	low = scale_to_odd(g, ((c << 2) - 2 + closer) << shift) + odd;
	high = scale_to_odd(g, ((c << 2) + 2) << shift) - odd;
	s = v >> 2;
	/* One digit less, if a multiple of 10^(k + 1) is inside; two cannot be. */
	tens = s / 10;
	below = low <= 40 * tens;
	above = 40 * tens + 40 <= high;
	if (s >= 10 && below != above)
		return (struct decimal){tens + above, k + 1};
	below = low <= 4 * s;
	above = 4 * s + 4 <= high;
	if (below != above)
		return (struct decimal){s + above, k};
	/* Both: the closer, and of equals the even one. */
	above = v > 4 * s + 2 || (v == 4 * s + 2 && (s & 1));
	return (struct decimal){s + above, k};
}
