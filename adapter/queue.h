/* Queues, as adapters offer them: what is pushed is kept until one consumer has processed
 * it. Messages of one group are handed out one at a time and in order, groups in the
 * order they became ready. docs/queues.md has the rules; queue_store.c is the reference
 * (adapter `memory`), redis/lua/queues.lua the same in Redis.
 *
 * A group is idle (no message is to be handed out), ready, held (a consumer has its first
 * message, under a lease), or delayed (after a failure, or after a consumer left).
 * Every take draws a token; done, fail, release and extend count only with the present
 * one, so a late answer changes nothing. Messages without a group are each their own.
 *
 * What is asked may be done twice when Redis was away: then an answer is ERR_UNCONFIRMED
 * only where doing it again could do harm (a push without a key, a take). */
#ifndef GATEHOUSE_ADAPTER_QUEUE_H
#define GATEHOUSE_ADAPTER_QUEUE_H

#include "proto/err.h"
#include "proto/slice.h"

enum queue_op {
	QUEUE_PUSH,
	QUEUE_TAKE,
	QUEUE_DONE,
	QUEUE_FAIL,
	QUEUE_RELEASE, /* give back without a failure: the consumer is gone */
	QUEUE_EXTEND,
	QUEUE_REAP, /* give back what consumers hold whose lease has run out */
	QUEUE_PEEK,
	QUEUE_DEAD_LIST,
	QUEUE_DEAD_REQUEUE,
	QUEUE_DEAD_DROP,
	QUEUE_STATS,
	QUEUE_OPS
};

/* The queue remembers them for who gives none (NULL). */
struct queue_settings {
	uint64_t length_max, bytes_max; /* dead letters count */
	uint64_t failures_max;		/* with so many a message is a dead letter */
	uint64_t backoff_ms, backoff_ms_max;
};
extern const struct queue_settings queue_settings_default;

struct queue_ref {
	uint64_t id, token;
};

/* Borrowed for the call. What an operation does not name is not looked at. */
struct queue_request {
	enum queue_op op;
	struct slice queue;
	const struct queue_settings *settings; /* PUSH, TAKE */
	/* PUSH; empty group and key: none; keep_ms: how long the key is, 0: a day; 0
	 * ttl_ms: it does not expire */
	struct slice payload, group, key;
	uint64_t delay_ms, ttl_ms, keep_ms; /* RELEASE: delay_ms */
	struct slice consumer;		    /* TAKE: for who looks */
	uint64_t lease_ms;		    /* TAKE, EXTEND */
	/* TAKE, REAP: groups; PEEK, DEAD_LIST: messages; 1 to QUEUE_LIMIT_MAX */
	size_t limit;
	/* DONE, RELEASE, EXTEND: one or more; FAIL: one; DEAD_*: their ids, none: all,
	 * QUEUE_LIMIT_MAX in one call */
	const struct queue_ref *refs;
	size_t refs_n;
	struct slice why; /* FAIL */
	uint64_t after;	  /* PEEK, DEAD_LIST: the id behind which to begin */
};
enum { QUEUE_LIMIT_MAX = 1000, QUEUE_WHY_MAX = 1000 };

enum queue_message_state {
	QUEUE_MESSAGE_WAITING,
	QUEUE_MESSAGE_DELAYED,
	QUEUE_MESSAGE_IN_FLIGHT,
	QUEUE_MESSAGE_DEAD,
};

struct queue_message {
	uint64_t id, token;	 /* token: of TAKE */
	uint64_t failures, lost; /* times it failed, times its consumer was lost */
	struct slice group, payload;
	struct slice error;		/* PEEK, DEAD_LIST */
	enum queue_message_state state; /* PEEK, DEAD_LIST */
};

/* X(name): as in the answer of gh_stats. */
#define QUEUE_STATS_TABLE(X)                                                             \
	X(length)                                                                        \
	X(in_flight)                                                                     \
	X(ready)                                                                         \
	X(delayed)                                                                       \
	X(dead)                                                                          \
	X(oldest_ms)                                                                     \
	X(bytes)                                                                         \
	X(pushed)                                                                        \
	X(done)                                                                          \
	X(failed)                                                                        \
	X(lost)                                                                          \
	X(expired)                                                                       \
	X(died)

struct queue_stats {
#define QUEUE_STATS_FIELD_(name) uint64_t name;
	QUEUE_STATS_TABLE(QUEUE_STATS_FIELD_)
#undef QUEUE_STATS_FIELD_
};

/* Of a FAIL, in `number`. */
enum queue_failed { QUEUE_FAILED_LATE, QUEUE_FAILED_AGAIN, QUEUE_FAILED_DEAD };

struct queue_reply {
	/* PUSH: the id; FAIL: enum queue_failed; else how many it concerned */
	uint64_t number;
	/* TAKE: ask again in so many ms though nothing is pushed; -1: no need to */
	int64_t wait_ms;
	const struct queue_message *messages;
	size_t n;
	struct queue_stats stats;
};

/* ERR_TOO_MANY: the queue is at its cap of messages or bytes; nothing was pushed. Else as
 * of adapter_publish. `r` is NULL on error. */
typedef void adapter_queue_fn(void *arg, enum err err, const struct queue_reply *r);

#endif
