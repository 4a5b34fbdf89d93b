/* The histogram of the load generator: edges of buckets, error bounds, percentiles. */
#include "bench/hist.h"

#include <stdlib.h>
#include <string.h>

#include "proto/mem.h"
#include "test.h"

static void test_buckets(void)
{
	static const struct {
		const char *name;
		uint64_t value;
		unsigned bucket;
		uint64_t top;
	} rows[] = {
		{"zero", 0, 0, 0},
		{"one", 1, 1, 1},
		{"last of the first 128", 127, 127, 127},
		{"128", 128, 128, 128},
		{"last exact", 255, 255, 255},
		{"first of two", 256, 256, 257},
		{"second of two", 257, 256, 257},
		{"next pair", 258, 257, 259},
		{"last pair", 511, 383, 511},
		{"first of four", 512, 384, 515},
		{"a microsecond", 1000, 506, 1003},
		{"largest", ((uint64_t)1 << 40) - 1, HIST_BUCKETS - 1,
		 ((uint64_t)1 << 40) - 1},
		{"too large", (uint64_t)1 << 40, HIST_BUCKETS - 1,
		 ((uint64_t)1 << 40) - 1},
		{"much too large", UINT64_MAX, HIST_BUCKETS - 1, ((uint64_t)1 << 40) - 1},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		CHECK_ROW(hist_bucket(rows[i].value) == rows[i].bucket, rows[i].name);
		CHECK_ROW(hist_bucket_top(rows[i].bucket) == rows[i].top, rows[i].name);
	}
}

/* Buckets follow each other without holes, and none is wider than 1/128 of its values. */
static void test_all_buckets(void)
{
	uint64_t below = 0;

	for (unsigned i = 1; i < HIST_BUCKETS; i++) {
		uint64_t first = hist_bucket_top(i - 1) + 1, top = hist_bucket_top(i);

		below += hist_bucket(first) != i || hist_bucket(top) != i;
		below += (top - first) * 128 > first;
	}
	CHECK(below == 0);
}

static void test_percentiles(void)
{
	static const struct {
		const char *name;
		uint64_t values[8];
		size_t n;
		uint64_t p50, p90, p999, max;
	} rows[] = {
		{"none", {0}, 0, 0, 0, 0, 0},
		{"one", {7}, 1, 7, 7, 7, 7},
		{"a zero", {0}, 1, 0, 0, 0, 0},
		{"two", {1, 2}, 2, 1, 2, 2, 2},
		{"an odd one out", {5, 5, 5, 5, 5, 5, 5, 200}, 8, 5, 200, 200, 200},
		{"never above the largest", {1000}, 1, 1000, 1000, 1000, 1000},
		{"unsorted", {30, 10, 20}, 3, 20, 30, 30, 30},
		{"beyond the last bucket",
		 {(uint64_t)1 << 50},
		 1,
		 (uint64_t)1 << 50,
		 (uint64_t)1 << 50,
		 (uint64_t)1 << 50,
		 (uint64_t)1 << 50},
	};
	struct hist *h = mem_zalloc(1, sizeof(*h));

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		memset(h, 0, sizeof(*h));
		for (size_t k = 0; k < rows[i].n; k++)
			hist_add(h, rows[i].values[k]);
		CHECK_ROW(h->n == rows[i].n, rows[i].name);
		CHECK_ROW(hist_percentile(h, 50) == rows[i].p50, rows[i].name);
		CHECK_ROW(hist_percentile(h, 90) == rows[i].p90, rows[i].name);
		CHECK_ROW(hist_percentile(h, 99.9) == rows[i].p999, rows[i].name);
		CHECK_ROW(hist_percentile(h, 100) == rows[i].max, rows[i].name);
	}
	free(h);
}

/* Of 1 to 100,000 microseconds, each percentile is what it is called, within 0.8 %. */
static void test_precision(void)
{
	static const double percents[] = {0, 1, 50, 90, 99, 99.9, 99.99, 100};
	struct hist *h = mem_zalloc(1, sizeof(*h));

	for (uint64_t us = 1; us <= 100000; us++)
		hist_add(h, us * 1000);
	for (size_t i = 0; i < sizeof(percents) / sizeof(percents[0]); i++) {
		double want = percents[i] * 1000 * 1000;
		double got = (double)hist_percentile(h, percents[i]);

		if (percents[i] == 0)
			want = 1000;
		CHECK(got >= want);
		CHECK(got <= want * (1 + 1.0 / 128));
	}
	free(h);
}

static void test_merge(void)
{
	struct hist *a = mem_zalloc(1, sizeof(*a)), *b = mem_zalloc(1, sizeof(*b));
	struct hist *both = mem_zalloc(1, sizeof(*both));

	for (uint64_t i = 0; i < 1000; i++) {
		hist_add(i % 3 ? a : b, i * i);
		hist_add(both, i * i);
	}
	hist_merge(a, b);
	CHECK(memcmp(a, both, sizeof(*a)) == 0);
	free(a);
	free(b);
	free(both);
}

int main(void)
{
	test_buckets();
	test_all_buckets();
	test_percentiles();
	test_precision();
	test_merge();
	return test_done();
}
