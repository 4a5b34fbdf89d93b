/* CPU time and memory of other processes, as the kernel counts them. */
#ifndef GATEHOUSE_BENCH_USAGE_H
#define GATEHOUSE_BENCH_USAGE_H

#include <stddef.h>
#include <stdint.h>

#include "proto/err.h"

struct usage {
	uint64_t cpu_ns; /* of all its threads, user and system */
	uint64_t rss_bytes;
};

/* Summed over the processes. ERR_NOT_FOUND: one is no more, its id is in *pid. */
MUST_USE enum err usage_read(const int *pids, size_t n, struct usage *sum, int *pid);

#endif
