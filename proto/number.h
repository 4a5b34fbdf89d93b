/* Numbers as JavaScript reads and writes them: JSON's grammar rounded to the nearest
 * double, and Number::toString, whose text is the shortest that reads back as the same
 * double and, of those, the closest (ECMA-262, section 6.1.6.1.20). */
#ifndef GATEHOUSE_PROTO_NUMBER_H
#define GATEHOUSE_PROTO_NUMBER_H

#include "proto/slice.h"

/* The longest text, with room to spare: -1.2345678901234567e-308. */
enum { NUMBER_TEXT_MAX = 32 };

/* Up to here every whole number is a double: 2^53. */
#define NUMBER_WHOLE_MAX (INT64_C(1) << 53)

struct number {
	bool whole; /* `i` holds it: at most 2^53 in magnitude and not -0 */
	int64_t i;
	double d; /* always set */
};

/* Read the JSON number `p` begins with, as far as it goes. Returns its length, or 0 if
 * there is none (`n` is then unchanged). Too large is Infinity, as in JSON.parse. */
size_t number_parse(const uint8_t *p, const uint8_t *end, struct number *n);

/* Write at `out` (room for NUMBER_TEXT_MAX); returns the length. Not NUL-terminated. */
size_t number_format(char *out, double d);
size_t number_format_int(char *out, int64_t i);

#endif
