#include "gateway/address_book.h"

#include <assert.h>
#include <stdlib.h>

#include "proto/mem.h"

struct entry {
	uint32_t counts[ADDRESS_USES_N];
	uint8_t key[ADDRESS_KEY_MAX];
	uint8_t key_n;
};

void address_book_init(struct address_book *b, const uint64_t seed[2])
{
	table_init(&b->entries, seed);
}

void address_book_deinit(struct address_book *b)
{
	struct entry *e;
	size_t pos = 0;

	while ((e = table_next(&b->entries, &pos)))
		free(e);
	table_deinit(&b->entries);
}

uint32_t address_book_count(const struct address_book *b, const struct address *a,
			    enum address_use use)
{
	uint8_t key[ADDRESS_KEY_MAX];
	struct slice k = address_key(a, key);
	const struct entry *e = k.n ? table_get(&b->entries, k) : NULL;

	return e ? e->counts[use] : 0;
}

void address_book_add(struct address_book *b, const struct address *a,
		      enum address_use use)
{
	uint8_t key[ADDRESS_KEY_MAX];
	struct slice k = address_key(a, key);
	struct entry *e;

	if (k.n == 0)
		return;
	e = table_get(&b->entries, k);
	if (!e) {
		e = mem_zalloc(1, sizeof(*e));
		memcpy(e->key, k.p, k.n);
		e->key_n = (uint8_t)k.n;
		table_add(&b->entries, slice_of(e->key, e->key_n), e);
	}
	e->counts[use]++;
}

void address_book_remove(struct address_book *b, const struct address *a,
			 enum address_use use)
{
	uint8_t key[ADDRESS_KEY_MAX];
	struct slice k = address_key(a, key);
	struct entry *e;

	if (k.n == 0)
		return;
	e = table_get(&b->entries, k);
	assert(e && e->counts[use]);
	e->counts[use]--;
	for (size_t i = 0; i < ADDRESS_USES_N; i++) {
		if (e->counts[i])
			return;
	}
	table_remove(&b->entries, k);
	free(e);
}
