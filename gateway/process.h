/* What the system knows of this process, as every Prometheus client tells it: the metrics
 * process_*. */
#ifndef GATEHOUSE_GATEWAY_PROCESS_H
#define GATEHOUSE_GATEWAY_PROCESS_H

#include "gateway/metrics.h"

/* Fill in the fields process_*, all but the start. `conns`: how many connections are
 * among the open files. */
void process_measure(struct metrics *m, uint64_t conns);

#endif
