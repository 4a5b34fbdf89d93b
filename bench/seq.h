/* What came of a stream of numbered messages: each number once and in order, or not. */
#ifndef GATEHOUSE_BENCH_SEQ_H
#define GATEHOUSE_BENCH_SEQ_H

#include <stdint.h>

enum { SEQ_WINDOW = 256 };

/* All zero: nothing came yet, and number 0 is due. */
struct seq {
	uint64_t next;			/* one above the highest that came */
	uint64_t unique;		/* different ones that came */
	uint64_t seen[SEQ_WINDOW / 64]; /* by number modulo the window */
};

enum seq_verdict {
	SEQ_NEW,    /* higher than all before it; those left out may still come */
	SEQ_LATE,   /* after a higher one, for the first time: reordered */
	SEQ_DOUBLE, /* again, or more than SEQ_WINDOW behind, where nobody remembers */
};

enum seq_verdict seq_take(struct seq *s, uint64_t number);

/* How many of the first `sent` did not come. */
uint64_t seq_lost(const struct seq *s, uint64_t sent);

#endif
