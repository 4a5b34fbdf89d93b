#include "proto/table.h"

#include <assert.h>
#include <stdlib.h>

#include "proto/mem.h"

/* Each conn is in several tables, so a slot is small: of the hash as many bits as tell
 * keys apart before they are compared, and place them in tables of up to 2^32 slots. */
struct table_slot {
	uint32_t hash;
	uint32_t key_n;
	const uint8_t *key;
	void *value; /* NULL: free */
};

static_assert(sizeof(struct table_slot) == 24, "no padding");

enum { TABLE_CAP_MIN = 8 };

static inline uint64_t rotl(uint64_t x, unsigned b)
{
	return (x << b) | (x >> (64 - b));
}

struct sip {
	uint64_t v0, v1, v2, v3;
};

static inline void sip_round(struct sip *s)
{
	s->v0 += s->v1;
	s->v1 = rotl(s->v1, 13) ^ s->v0;
	s->v0 = rotl(s->v0, 32);
	s->v2 += s->v3;
	s->v3 = rotl(s->v3, 16) ^ s->v2;
	s->v0 += s->v3;
	s->v3 = rotl(s->v3, 21) ^ s->v0;
	s->v2 += s->v1;
	s->v1 = rotl(s->v1, 17) ^ s->v2;
	s->v2 = rotl(s->v2, 32);
}

/* SipHash-1-3 (Aumasson and Bernstein, 2012): one round per word, three at the end. */
static uint32_t siphash(const uint64_t seed[2], struct slice key)
{
	struct sip s = {seed[0] ^ 0x736f6d6570736575, seed[1] ^ 0x646f72616e646f6d,
			seed[0] ^ 0x6c7967656e657261, seed[1] ^ 0x7465646279746573};
	uint64_t word, last = (uint64_t)key.n << 56;
	size_t i, tail = key.n & 7;

	for (i = 0; i + 8 <= key.n; i += 8) {
		memcpy(&word, key.p + i, 8);
		s.v3 ^= word;
		sip_round(&s);
		s.v0 ^= word;
	}
	for (size_t j = 0; j < tail; j++)
		last |= (uint64_t)key.p[i + j] << (8 * j);
	s.v3 ^= last;
	sip_round(&s);
	s.v0 ^= last;
	s.v2 ^= 0xff;
	sip_round(&s);
	sip_round(&s);
	sip_round(&s);
	return (uint32_t)(s.v0 ^ s.v1 ^ s.v2 ^ s.v3);
}

void table_init(struct table *t, const uint64_t seed[2])
{
	*t = (struct table){.seed = {seed[0], seed[1]}};
}

void table_deinit(struct table *t)
{
	free(t->slots);
	t->slots = NULL;
	t->n = t->cap = 0;
}

static inline struct slice key_of(const struct table_slot *s)
{
	return slice_of(s->key, s->key_n);
}

/* The slot of the key, or the free one where it would go. */
static size_t find(const struct table *t, uint32_t hash, struct slice key)
{
	size_t i = hash & (t->cap - 1);

	while (t->slots[i].value &&
	       !(t->slots[i].hash == hash && slice_eq(key_of(&t->slots[i]), key)))
		i = (i + 1) & (t->cap - 1);
	return i;
}

static void resize(struct table *t, size_t cap)
{
	struct table_slot *old = t->slots;
	size_t n = t->cap;

	assert(cap <= (size_t)UINT32_MAX + 1);
	t->slots = mem_zalloc(cap, sizeof(*t->slots));
	t->cap = cap;
	for (size_t i = 0; i < n; i++) {
		if (old[i].value)
			t->slots[find(t, old[i].hash, key_of(&old[i]))] = old[i];
	}
	free(old);
}

void *table_get(const struct table *t, struct slice key)
{
	if (t->n == 0)
		return NULL;
	return t->slots[find(t, siphash(t->seed, key), key)].value;
}

void table_add(struct table *t, struct slice key, void *value)
{
	uint32_t hash = siphash(t->seed, key);
	size_t i;

	assert(value);
	assert(key.n <= UINT32_MAX);
	if ((t->n + 1) * 4 > t->cap * 3)
		resize(t, t->cap ? t->cap * 2 : TABLE_CAP_MIN);
	i = find(t, hash, key);
	assert(!t->slots[i].value);
	t->slots[i] = (struct table_slot){hash, (uint32_t)key.n, key.p, value};
	t->n++;
}

void *table_remove(struct table *t, struct slice key)
{
	size_t i, j, mask;
	void *value;

	if (t->n == 0)
		return NULL;
	mask = t->cap - 1;
	i = find(t, siphash(t->seed, key), key);
	value = t->slots[i].value;
	if (!value)
		return NULL;
	/* Close the gap: pull back each follower whose home lies at or before it. */
	for (j = (i + 1) & mask; t->slots[j].value; j = (j + 1) & mask) {
		size_t home = t->slots[j].hash & mask;

		if (((j - home) & mask) >= ((j - i) & mask)) {
			t->slots[i] = t->slots[j];
			i = j;
		}
	}
	t->slots[i] = (struct table_slot){0};
	t->n--;
	if (t->n == 0)
		table_deinit(t);
	else if (t->cap > TABLE_CAP_MIN && t->n * 8 < t->cap)
		resize(t, t->cap / 2);
	return value;
}

void *table_next(const struct table *t, size_t *pos)
{
	while (*pos < t->cap) {
		void *value = t->slots[(*pos)++].value;

		if (value)
			return value;
	}
	return NULL;
}
