/* When a worker that ended is started again: at once the first time, then after a wait
 * that doubles, and as if nothing had been once it lived long enough. */
#ifndef GATEHOUSE_GATEWAY_RESTART_H
#define GATEHOUSE_GATEWAY_RESTART_H

#include <stdint.h>

enum {
	RESTART_MS_MIN = 1000,
	RESTART_MS_MAX = 30000,
	RESTART_LIVED_MS = 60000, /* who lived that long has proved itself */
};

struct restart {
	uint64_t wait_ms;  /* the last one; all zero at first */
	unsigned failures; /* how often it ended since it last proved itself */
};

/* It ended after that long: how long to wait. */
uint64_t restart_wait(struct restart *r, uint64_t lived_ms);

#endif
