/* One process of a load: its clients, on a loop of its own. */
#ifndef GATEHOUSE_BENCH_LOAD_H
#define GATEHOUSE_BENCH_LOAD_H

#include "bench/shared.h"

struct bench_plan {
	const struct bench_options *options;
	struct net net;
	struct net publish_net; /* with --publish-to */
	uint32_t run;		/* tells its messages from others' */
	unsigned processes;
	int nudge; /* eventfd that wakes process 0, which has the publisher of fanout */
	struct bench_shared *shared;
};

/* Connections of all processes together. */
uint32_t bench_conns(const struct bench_options *o);

/* Do the work of process `index`, until the phase says that it is over. */
void bench_load(const struct bench_plan *plan, unsigned index);

#endif
