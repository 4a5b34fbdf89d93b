/* Queues in memory: the reference of what queues do, with time as an argument. Nothing
 * waits and nothing calls back. */
#ifndef GATEHOUSE_ADAPTER_QUEUE_STORE_H
#define GATEHOUSE_ADAPTER_QUEUE_STORE_H

#include "adapter/queue.h"
#include "proto/buf.h"
#include "proto/list.h"
#include "proto/table.h"

struct queue_store {
	struct table queues;
	struct link empty; /* queues without messages, by time */
	uint64_t seed[2];
	struct queue_message *page; /* of the last reply */
	size_t page_cap;
};

void queue_store_init(struct queue_store *s, const uint64_t seed[2]);
void queue_store_deinit(struct queue_store *s);
/* Do it. What `reply` shows is valid until the next call. *wake: somebody may take
 * something now who could not before. ERR_TOO_MANY: as adapter_queue_fn. */
MUST_USE enum err queue_store_run(struct queue_store *s, const struct queue_request *r,
				  uint64_t now_us, struct queue_reply *reply, bool *wake);

/* For tests. Whether what is kept of a queue holds together: NULL, or what does not. */
const char *queue_store_check(const struct queue_store *s, struct slice queue);
/* Append what there is and how long it lasts, with payloads as names. */
void queue_store_dump(const struct queue_store *s, struct slice queue, uint64_t now_us,
		      struct buf *out);

#endif
