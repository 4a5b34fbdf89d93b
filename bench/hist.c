#include "bench/hist.h"

#include <assert.h>
#include <math.h>

#define SUB ((uint64_t)1 << HIST_SUB_BITS)

unsigned hist_bucket(uint64_t value)
{
	unsigned shift;

	if (value < 2 * SUB)
		return (unsigned)value;
	if (value >> HIST_VALUE_BITS)
		return HIST_BUCKETS - 1;
	shift = 63 - (unsigned)__builtin_clzll(value) - HIST_SUB_BITS;
	return (unsigned)(shift * SUB + (value >> shift));
}

uint64_t hist_bucket_top(unsigned bucket)
{
	unsigned shift;

	assert(bucket < HIST_BUCKETS);
	if (bucket < 2 * SUB)
		return bucket;
	shift = (unsigned)(bucket / SUB - 1);
	return ((bucket - shift * SUB + 1) << shift) - 1;
}

void hist_add(struct hist *h, uint64_t value)
{
	h->n++;
	h->buckets[hist_bucket(value)]++;
	if (value > h->max)
		h->max = value;
}

void hist_merge(struct hist *into, const struct hist *from)
{
	into->n += from->n;
	if (from->max > into->max)
		into->max = from->max;
	for (unsigned i = 0; i < HIST_BUCKETS; i++)
		into->buckets[i] += from->buckets[i];
}

uint64_t hist_percentile(const struct hist *h, double percent)
{
	uint64_t rank = (uint64_t)ceil(percent / 100 * (double)h->n), seen = 0;

	if (h->n == 0)
		return 0;
	if (rank == 0)
		rank = 1;
	for (unsigned i = 0; i < HIST_BUCKETS - 1; i++) {
		seen += h->buckets[i];
		if (seen >= rank)
			return hist_bucket_top(i) < h->max ? hist_bucket_top(i) : h->max;
	}
	return h->max;
}
