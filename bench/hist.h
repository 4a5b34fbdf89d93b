/* A histogram of times: log-linear, so that each of its buckets is at most 1/128 (0.8 %)
 * wide in proportion to its values, from one nanosecond to 18 minutes. Of fixed size and
 * without pointers: it lies in memory that processes share, and is added up by adding. */
#ifndef GATEHOUSE_BENCH_HIST_H
#define GATEHOUSE_BENCH_HIST_H

#include <stdint.h>

enum {
	HIST_SUB_BITS = 7, /* values below 2^8 are exact */
	HIST_VALUE_BITS = 40,
	HIST_BUCKETS = (HIST_VALUE_BITS - HIST_SUB_BITS + 1) << HIST_SUB_BITS,
};

/* All zero is an empty one. */
struct hist {
	uint64_t n;
	uint64_t max; /* exact */
	uint64_t buckets[HIST_BUCKETS];
};

/* Values of 2^40 and more are counted in the last bucket; `max` keeps them. */
void hist_add(struct hist *h, uint64_t value);
void hist_merge(struct hist *into, const struct hist *from);

/* The smallest bucket's upper edge that at least `percent` of all values do not exceed,
 * but never more than the largest value there was. 0 for an empty histogram. */
uint64_t hist_percentile(const struct hist *h, double percent);

/* The bucket of a value, and the largest value of a bucket. */
unsigned hist_bucket(uint64_t value);
uint64_t hist_bucket_top(unsigned bucket);

#endif
