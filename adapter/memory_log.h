/* The logs of the adapter `memory`: numbers for messages that are to be recovered, and
 * the last messages of each room and of each namespace, as many and for as long as
 * session_options say. Time is an argument; nothing waits and nothing calls back. */
#ifndef GATEHOUSE_ADAPTER_MEMORY_LOG_H
#define GATEHOUSE_ADAPTER_MEMORY_LOG_H

#include "adapter/env.h"
#include "adapter/session.h"
#include "proto/buf.h"
#include "proto/list.h"
#include "proto/table.h"

enum { ERA_LEN = 8 };

struct log_entry {
	uint64_t number, ms;
	uint8_t *message;
	size_t n;
};

/* Of one room, or, with the empty room's key, of a namespace. In order of numbers. */
struct room_log {
	struct link by_age; /* of the last entry */
	struct log_entry *v;
	size_t first, n, cap; /* entries are v[first] to v[first + n - 1] */
	uint64_t bytes;
	uint64_t last_ms; /* when the last one came, which may be cut off itself */
	uint64_t cut;	  /* number of the last that a cap has cut off; 0: none */
	struct slice key;
	uint8_t key_bytes[];
};

struct memory_log {
	struct session_options o;
	struct table logs;  /* by `<nsp>#<room>` */
	struct link by_age; /* the one whose last entry is oldest first */
	uint64_t seq;	    /* the last number */
	uint64_t aged;	    /* the highest number of those that were too old */
	uint64_t cuts;	    /* entries cut off by caps */
	char era[ERA_LEN];
	char offset[OFFSET_MAX]; /* text of the last number */
	size_t offset_n;
};

void memory_log_init(struct memory_log *m, const struct session_options *o,
		     const struct env *env, const uint64_t seed[2]);
void memory_log_deinit(struct memory_log *m);
/* Give an encoded message that awaits its offset the next number, which is m->seq then,
 * and keep a copy in the log of that key. `nsp_wide`: the key is a namespace's. */
void memory_log_add(struct memory_log *m, struct slice key, bool nsp_wide,
		    uint64_t now_ms, struct buf *message);
/* The text of the last number, until the next one is given; empty before the first. */
struct slice memory_log_offset(const struct memory_log *m);
/* Forget what is too old in rooms where nothing is said any more. */
void memory_log_expire(struct memory_log *m, uint64_t now_ms);

/* NULL: nothing is kept of it. */
const struct room_log *memory_log_get(const struct memory_log *m, struct slice key);
/* Is all there that came after this number? `l` may be NULL. */
bool memory_log_reaches(const struct memory_log *m, const struct room_log *l,
			uint64_t after);
/* How many entries there are that came after this number. */
size_t room_log_after(const struct room_log *l, uint64_t number);
/* The entry that `left` ones follow, itself counted. */
const struct log_entry *room_log_last(const struct room_log *l, size_t left);

#endif
