/* Between doubles and decimals of up to 19 digits, correctly rounded both ways, in a few
 * multiplications. number.c knows the texts. */
#ifndef GATEHOUSE_PROTO_DECIMAL_H
#define GATEHOUSE_PROTO_DECIMAL_H

#include <stdint.h>

/* m * 10^exponent */
struct decimal {
	uint64_t m;
	int exponent;
};

/* The nearest double, ties to even; Infinity beyond the largest. m must not be 0. */
double decimal_to_double(struct decimal x);

/* The decimal of the fewest digits that reads back as `d` and, among those, the closest.
 * `d` is finite and above 0. m may end in zeros. */
struct decimal decimal_of_double(double d);

#endif
