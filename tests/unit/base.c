/* The base: buf, list, table, id. */
#include <stdlib.h>

#include "proto/buf.h"
#include "proto/id.h"
#include "proto/list.h"
#include "proto/table.h"
#include "test.h"

static void test_buf(void)
{
	struct buf b = BUF_INIT;

	CHECK_SLICE(slice_str(buf_cstr(&b)), SLICE_EMPTY,
		    "empty buffer is an empty string");
	for (int i = 0; i < 1000; i++)
		buf_printf(&b, "%d,", i);
	CHECK(b.n == 10 * 2 + 90 * 3 + 900 * 4);
	CHECK(slice_starts(buf_view(&b), SLICE_LIT("0,1,2,")));
	buf_trim(&b, 64);
	CHECK(b.n == 3890);
	buf_clear(&b);
	buf_trim(&b, 64);
	CHECK(b.p == NULL && b.cap == 0);
	buf_append(&b, NULL, 0);
	CHECK(b.n == 0);
	buf_deinit(&b);
}

static void test_list(void)
{
	struct link list, other, a, b, c;

	link_init(&list);
	link_init(&other);
	list_push(&list, &a);
	list_push(&list, &b);
	list_push(&other, &c);
	list_remove(&a);
	CHECK(list_empty(&a));
	list_remove(&a);
	list_splice(&other, &list);
	CHECK(list_empty(&list));
	CHECK(list_pop(&other) == &c);
	CHECK(list_pop(&other) == &b);
	CHECK(list_pop(&other) == NULL);
}

struct entry {
	char key[16];
	struct slice s;
};

/* Against a plain array, with keys dense enough to collide and be removed mid-chain. */
static void test_table(void)
{
	enum { N = 3000 };
	const uint64_t seed[2] = {1, 2};
	struct table t;
	struct entry *e = calloc(N, sizeof(*e));
	bool *in = calloc(N, sizeof(*in));
	size_t n = 0, pos = 0, seen = 0;
	unsigned random = 7;

	table_init(&t, seed);
	CHECK(table_get(&t, SLICE_LIT("x")) == NULL);
	CHECK(table_remove(&t, SLICE_LIT("x")) == NULL);
	for (int i = 0; i < N; i++) {
		snprintf(e[i].key, sizeof(e[i].key), "key%d", i);
		e[i].s = slice_str(e[i].key);
	}
	for (int step = 0; step < 100000; step++) {
		size_t i;

		random = random * 1103515245u + 12345u;
		i = (random >> 8) % N;
		if (in[i]) {
			CHECK(table_remove(&t, e[i].s) == &e[i]);
			n--;
		} else {
			table_add(&t, e[i].s, &e[i]);
			n++;
		}
		in[i] = !in[i];
	}
	CHECK(t.n == n);
	for (int i = 0; i < N; i++)
		CHECK(table_get(&t, e[i].s) == (in[i] ? &e[i] : NULL));
	while (table_next(&t, &pos))
		seen++;
	CHECK(seen == n);
	for (int i = 0; i < N; i++)
		table_remove(&t, e[i].s);
	CHECK(t.n == 0 && t.slots == NULL);
	table_deinit(&t);
	free(e);
	free(in);
}

static void test_id(void)
{
	uint8_t random[ID_LEN];
	char id[ID_LEN];

	for (size_t i = 0; i < sizeof(random); i++)
		random[i] = (uint8_t)(i * 37);
	id_chars(id, random, sizeof(random));
	CHECK(id_is(slice_of(id, sizeof(id))));
	CHECK(!id_is(slice_of(id, sizeof(id) - 1)));
	id[3] = '#';
	CHECK(!id_is(slice_of(id, sizeof(id))));
	id[3] = '\0';
	CHECK(!id_is(slice_of(id, sizeof(id))));
}

int main(void)
{
	test_buf();
	test_list();
	test_table();
	test_id();
	return test_done();
}
