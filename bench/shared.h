/* Memory that the processes of a load share. The parent says which phase it is; each
 * process works, writes only its own part, and says when it is done with the phase. */
#ifndef GATEHOUSE_BENCH_SHARED_H
#define GATEHOUSE_BENCH_SHARED_H

#include <stdatomic.h>
#include <time.h>

#include "bench/client.h"
#include "bench/hist.h"
#include "bench/options.h"

enum bench_phase {
	BENCH_PHASE_CONNECT, /* until all clients are members or failed */
	BENCH_PHASE_RUN,     /* messages are sent */
	BENCH_PHASE_STOP,    /* no more are sent; how many were is final */
	BENCH_PHASE_SETTLE,  /* until all have arrived */
	BENCH_PHASE_COUNT,   /* what is missing */
	BENCH_PHASE_CLOSE,
	BENCH_PHASE_END,
};

/* X(NAME, key of JSON) */
#define BENCH_COUNT_TABLE(X)                                                             \
	X(STARTED, "started")	/* clients */                                            \
	X(MEMBERS, "connected") /* of them became members */                             \
	X(FAILED, "failed")                                                              \
	X(GONE, "closed")	  /* said good-bye at the end */                         \
	X(RECEIVERS, "receivers") /* those still connected */                            \
	X(SENT, "sent")		  /* messages */                                         \
	X(SETTLED, "settled")	  /* receivers' places in their streams, summed */       \
	X(DELIVERED, "delivered") /* different ones */                                   \
	X(LOST, "lost")                                                                  \
	X(DOUBLED, "doubled")                                                            \
	X(REORDERED, "reordered")                                                        \
	X(MISROUTED, "misrouted") /* came to a room they were not sent to */             \
	X(GIVEN_UP, "given_up")	  /* waited for longer than --timeout */                 \
	X(ACKED, "acked")                                                                \
	X(OTHER, "other_events") /* hold no message of this run */                       \
	X(PINGS, "pings")                                                                \
	X(REQUESTS, "http_requests")                                                     \
	X(BYTES_IN, "bytes_in")

enum bench_count {
#define BENCH_COUNT_ENUM_(name, key) BENCH_COUNT_##name,
	BENCH_COUNT_TABLE(BENCH_COUNT_ENUM_)
#undef BENCH_COUNT_ENUM_
		BENCH_COUNTS_N
};

enum { BENCH_ERROR_TEXT_MAX = 256 };

struct bench_part {
	_Atomic int done; /* the last phase it finished; -1 */
	_Atomic uint64_t counts[BENCH_COUNTS_N];
	/* The rest is read when the process has ended. */
	uint64_t first_ns, last_ns; /* a message was sent, one arrived; 0: none */
	uint64_t errors[CLIENT_ERRORS_N];
	char error_texts[CLIENT_ERRORS_N][BENCH_ERROR_TEXT_MAX]; /* each one's first */
	struct hist connect, latency;				 /* nanoseconds */
};

struct bench_shared {
	_Atomic int phase;
	/* When connecting and sending began, for what is due when. */
	_Atomic uint64_t connect_ns, run_ns;
	struct bench_part parts[];
};

static inline uint64_t bench_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

#endif
