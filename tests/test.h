/* What a test program needs: checks that say where and what, and an exit code.
 *
 * CHECK goes on after a failure, so one run shows all of them; test_done() is the exit
 * code of main. In table tests, CHECK_ROW names the row. */
#ifndef GATEHOUSE_TESTS_TEST_H
#define GATEHOUSE_TESTS_TEST_H

#include <stdio.h>

#include "proto/slice.h"

static int test_checks, test_failures;

#define CHECK(cond) CHECK_ROW(cond, "")

#define CHECK_ROW(cond, row)                                                             \
	do {                                                                             \
		test_checks++;                                                           \
		if (!(cond)) {                                                           \
			test_failures++;                                                 \
			fprintf(stderr, "%s:%d: failed: %s %s\n", __FILE__, __LINE__,    \
				#cond, (row));                                           \
		}                                                                        \
	} while (0)

/* Compare bytes and show both when they differ. */
#define CHECK_SLICE(got, want, row)                                                      \
	do {                                                                             \
		struct slice got_ = (got), want_ = (want);                               \
		test_checks++;                                                           \
		if (!slice_eq(got_, want_)) {                                            \
			test_failures++;                                                 \
			fprintf(stderr,                                                  \
				"%s:%d: %s\n  got  (%zu) %.*s\n  want (%zu) %.*s\n",     \
				__FILE__, __LINE__, (row), got_.n, SLICE_FMT(got_),      \
				want_.n, SLICE_FMT(want_));                              \
		}                                                                        \
	} while (0)

static inline int test_done(void)
{
	fprintf(stderr, "%d checks, %d failed\n", test_checks, test_failures);
	return test_failures || !test_checks ? 1 : 0;
}

#endif
