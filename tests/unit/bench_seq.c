/* Lost, doubled, reordered: what the load generator makes of streams of numbers. */
#include "bench/seq.h"

#include "test.h"

enum { NUMBERS_MAX = 12, END = -1 };

static void test_streams(void)
{
	static const struct {
		const char *name;
		int numbers[NUMBERS_MAX];
		uint64_t sent, lost, doubled, reordered, next;
	} rows[] = {
		{"in order", {0, 1, 2, 3, END}, 4, 0, 0, 0, 4},
		{"nothing", {END}, 3, 3, 0, 0, 0},
		{"nothing was sent", {END}, 0, 0, 0, 0, 0},
		{"one left out", {0, 1, 3, END}, 4, 1, 0, 0, 4},
		{"the first left out", {1, 2, END}, 3, 1, 0, 0, 3},
		{"the last left out", {0, 1, END}, 3, 1, 0, 0, 2},
		{"doubled", {0, 1, 1, 2, END}, 3, 0, 1, 0, 3},
		{"the first doubled", {0, 0, END}, 1, 0, 1, 0, 1},
		{"doubled later", {0, 1, 2, 0, END}, 3, 0, 1, 0, 3},
		{"three times", {0, 0, 0, END}, 1, 0, 2, 0, 1},
		{"swapped", {0, 2, 1, 3, END}, 4, 0, 0, 1, 4},
		{"swapped at the start", {1, 0, END}, 2, 0, 0, 1, 2},
		{"backwards", {3, 2, 1, 0, END}, 4, 0, 0, 3, 4},
		{"late and doubled", {0, 2, 1, 1, END}, 3, 0, 1, 1, 3},
		{"lost, doubled and swapped", {0, 2, 2, 4, 3, END}, 5, 1, 1, 1, 5},
		{"late by nearly the window", {0, 256, 1, END}, 257, 254, 0, 1, 257},
		{"late by more than the window", {0, 257, 1, END}, 258, 256, 1, 0, 258},
		{"a long hole forgets",
		 {0, 1, 1000, 999, 1000, END},
		 1001,
		 997,
		 1,
		 1,
		 1001},
		{"over the window's edge", {255, 256, 255, 0, END}, 257, 255, 2, 0, 257},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct seq s = {0};
		uint64_t doubled = 0, reordered = 0;

		for (size_t k = 0; rows[i].numbers[k] != END; k++) {
			enum seq_verdict v = seq_take(&s, (uint64_t)rows[i].numbers[k]);

			doubled += v == SEQ_DOUBLE;
			reordered += v == SEQ_LATE;
		}
		CHECK_ROW(seq_lost(&s, rows[i].sent) == rows[i].lost, rows[i].name);
		CHECK_ROW(doubled == rows[i].doubled, rows[i].name);
		CHECK_ROW(reordered == rows[i].reordered, rows[i].name);
		CHECK_ROW(s.next == rows[i].next, rows[i].name);
	}
}

/* Many times around the window. */
static void test_long(void)
{
	struct seq s = {0};
	uint64_t late = 0, wrong = 0;

	for (uint64_t i = 0; i < 100000; i += 2) {
		wrong += seq_take(&s, i + 1) != SEQ_NEW;
		late += seq_take(&s, i) == SEQ_LATE;
		wrong += seq_take(&s, i) != SEQ_DOUBLE;
	}
	CHECK(wrong == 0);
	CHECK(late == 50000);
	CHECK(seq_lost(&s, 100000) == 0);
}

int main(void)
{
	test_streams();
	test_long();
	return test_done();
}
