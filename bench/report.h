/* What came of a load: progress while it runs, a table and JSON at its end. */
#ifndef GATEHOUSE_BENCH_REPORT_H
#define GATEHOUSE_BENCH_REPORT_H

#include "bench/shared.h"
#include "bench/usage.h"

struct bench_result {
	const struct bench_options *options;
	unsigned processes;
	uint32_t conns;
	bool interrupted;
	uint64_t connect_ns, run_ns; /* how long these phases were */
	/* Of the server's processes: before and after connecting, before and after the
	 * messages, before and after all said good-bye. */
	struct usage before, connected, run, end, open, closed;
	uint64_t own_cpu_ns; /* what the load itself took from run to end */
	uint64_t counts[BENCH_COUNTS_N];
	uint64_t errors[CLIENT_ERRORS_N];
	const char *error_texts[CLIENT_ERRORS_N]; /* of the first; NULL: none */
	struct hist connect, latency;
};

/* Add up what the processes have left in their parts. */
void bench_result_merge(struct bench_result *r, const struct bench_shared *shared);
/* Is everything as it should be: nothing lost, doubled, reordered, misrouted, failed? */
bool bench_result_ok(const struct bench_result *r);

void bench_report_table(const struct bench_result *r, struct buf *out);
void bench_report_json(const struct bench_result *r, struct buf *out);
/* One line about now; `counts` are all processes' together. */
void bench_report_progress(const struct bench_options *o, uint32_t conns,
			   enum bench_phase phase, double seconds,
			   const uint64_t counts[BENCH_COUNTS_N], struct buf *out);

#endif
