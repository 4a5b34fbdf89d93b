/* The queues of the adapter `memory`: requests wait for the next turn and then run on a
 * queue_store, in the order they were made. */
#ifndef GATEHOUSE_ADAPTER_MEMORY_QUEUES_H
#define GATEHOUSE_ADAPTER_MEMORY_QUEUES_H

#include "adapter/done.h"
#include "adapter/queue_store.h"
#include "proto/list.h"

struct memory_queues {
	struct adapter *adapter;
	struct queue_store store;
	struct link jobs;
	size_t bytes, bytes_max; /* of requests that wait */
	struct table watches;
	struct link woken;
};

void memory_queues_init(struct memory_queues *m, struct adapter *a, size_t bytes_max,
			const uint64_t seed[2]);
void memory_queues_deinit(struct memory_queues *m);
void memory_queues_ask(struct memory_queues *m, const struct queue_request *r,
		       struct done done);
void memory_queues_watch(struct memory_queues *m, struct slice queue);
void memory_queues_unwatch(struct memory_queues *m, struct slice queue);
/* Run what waits; `closing`: answer it with ERR_CLOSED. True if there was something. */
bool memory_queues_turn(struct memory_queues *m, bool closing);

#endif
