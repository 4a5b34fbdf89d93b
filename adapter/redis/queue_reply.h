/* What the functions of lua/queues.lua are asked and what they answer, as RESP. */
#ifndef GATEHOUSE_ADAPTER_REDIS_QUEUE_REPLY_H
#define GATEHOUSE_ADAPTER_REDIS_QUEUE_REPLY_H

#include "adapter/queue.h"
#include "adapter/redis/resp.h"

/* Append the whole command; `key`: of the queue. */
void redis_queue_command(struct buf *out, struct slice key,
			 const struct queue_request *r);
/* Read an answer that is no error into `reply`; `page` has room for as many messages as
 * `r` has elements, at least. False: it is not shaped as it should be. */
bool redis_queue_reply(enum queue_op op, const struct resp *r, struct queue_message *page,
		       struct queue_reply *reply);

#endif
