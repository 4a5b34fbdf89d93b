/* A hash table from byte strings to pointers, for keys that clients choose: SipHash-1-3
 * with a secret seed, so nobody can aim at one bucket. Open addressing, linear probing,
 * at most 3/4 full; a removal closes the gap, so there are no tombstones.
 *
 * The table borrows its keys: they live in the values and must not change while they
 * are in it. Adding or removing while iterating is not allowed. */
#ifndef GATEHOUSE_PROTO_TABLE_H
#define GATEHOUSE_PROTO_TABLE_H

#include "proto/slice.h"

struct table_slot;

struct table {
	struct table_slot *slots;
	size_t n;   /* entries */
	size_t cap; /* slots, a power of two, or 0 */
	uint64_t seed[2];
};

/* `seed`: 16 secret random bytes, the same for all tables of a process will do. */
void table_init(struct table *t, const uint64_t seed[2]);
/* Frees the slots, not the values. */
void table_deinit(struct table *t);
/* NULL if absent. */
void *table_get(const struct table *t, struct slice key);
/* `key` must not be in the table (assert); `value` is not NULL. */
void table_add(struct table *t, struct slice key, void *value);
/* The value removed, or NULL if the key was absent. Shrinks when mostly empty. */
void *table_remove(struct table *t, struct slice key);
/* Iterate: start with *pos = 0, NULL at the end. Any order. */
void *table_next(const struct table *t, size_t *pos);

#endif
