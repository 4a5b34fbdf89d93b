/* What operators ask: health, readiness, metrics. Who has the answers, a node or the
 * supervisor of several, gives them through this to the server (server.h), which serves
 * /healthz, /readyz and /metrics. */
#ifndef GATEHOUSE_GATEWAY_OPS_H
#define GATEHOUSE_GATEWAY_OPS_H

#include "proto/buf.h"

struct ops_source {
	/* NULL: all is well; else in a few words why not. */
	const char *(*unhealthy)(void *arg);
	const char *(*unready)(void *arg);
	/* Append the exposition. */
	void (*metrics)(void *arg, struct buf *out);
	void *arg;
};

#endif
