#include "proto/number.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	/* Significant decimal digits that can matter: the longest exact halfway point
	 * between two doubles has 767. What follows is worth one sticky digit. */
	DIGITS_MAX = 800,
	DIGITS_FAST = 19,   /* fit a uint64_t */
	POW10_EXACT = 22,   /* 10^22 is the largest power of ten that is a double */
	EXPONENT_MAX = 5000 /* beyond, DIGITS_MAX digits are 0 or Infinity anyway */
};

static const double pow10_exact[POW10_EXACT + 1] = {
	1e0,  1e1,  1e2,  1e3,	1e4,  1e5,  1e6,  1e7,	1e8,  1e9,  1e10, 1e11,
	1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
};

/* A number's text, cut up: its value is `m`, the first DIGITS_FAST significant digits,
 * times 10^exponent, if no more digits were dropped. */
struct decimal {
	const uint8_t *digits, *end; /* digits with perhaps a point among them */
	bool negative, fraction, dropped;
	uint64_t m;
	int64_t exponent;
};

static bool is_digit(const uint8_t *p, const uint8_t *end)
{
	return p < end && (uint8_t)(*p - '0') < 10;
}

/* Digits from `p` on into the decimal; `point` is 1 behind the decimal point. */
static const uint8_t *read_digits(const uint8_t *p, const uint8_t *end, int point,
				  struct decimal *x)
{
	for (; is_digit(p, end); p++) {
		if (x->m < UINT64_C(1000000000000000000)) {
			x->m = x->m * 10 + (uint64_t)(*p - '0');
			x->exponent -= point;
		} else {
			x->dropped = true;
			x->exponent += !point;
		}
	}
	return p;
}

/* NULL if there is no exponent part where an 'e' stands. */
static const uint8_t *read_exponent(const uint8_t *p, const uint8_t *end,
				    struct decimal *x)
{
	bool negative = false;
	int64_t e = 0;

	if (p < end && (*p == '+' || *p == '-'))
		negative = *p++ == '-';
	if (!is_digit(p, end))
		return NULL;
	for (; is_digit(p, end); p++) {
		/* Far beyond what the digits of any text in memory can make up for. */
		if (e < INT64_C(1) << 56)
			e = e * 10 + (*p - '0');
	}
	x->exponent += negative ? -e : e;
	return p;
}

static const uint8_t *read_decimal(const uint8_t *p, const uint8_t *end,
				   struct decimal *x)
{
	*x = (struct decimal){.negative = p < end && *p == '-'};
	p += x->negative;
	if (!is_digit(p, end))
		return NULL;
	x->digits = p;
	p = *p == '0' ? p + 1 : read_digits(p, end, 0, x);
	if (p < end && *p == '.') {
		x->fraction = true;
		if (!is_digit(++p, end))
			return NULL;
		p = read_digits(p, end, 1, x);
	}
	x->end = p;
	if (p < end && (*p | 0x20) == 'e') {
		x->fraction = true;
		p = read_exponent(p + 1, end, x);
	}
	return p;
}

/* m * 10^exponent if that takes one rounding only; see Clinger, "How to read floating
 * point numbers accurately" (1990). */
static bool small_decimal(uint64_t m, int64_t exponent, double *d)
{
	if (m > (uint64_t)NUMBER_WHOLE_MAX || exponent < -POW10_EXACT ||
	    exponent > POW10_EXACT)
		return false;
	*d = exponent < 0 ? (double)m / pow10_exact[-exponent]
			  : (double)m * pow10_exact[exponent];
	return true;
}

/* By the C library, from a copy: what follows the number in the text is not ours to read
 * and may be the end of memory. The process keeps the C locale, whose point is a point.
 */
static double exact_decimal(const struct decimal *x)
{
	char text[DIGITS_MAX + 32];
	size_t n = 0, all = 0;
	int64_t exponent = x->exponent;
	bool sticky = false;

	for (const uint8_t *p = x->digits; p < x->end; p++) {
		if (*p == '.' || (*p == '0' && !n))
			continue;
		all++;
		if (n < DIGITS_MAX)
			text[n++] = (char)*p;
		else
			sticky = sticky || *p != '0';
	}
	/* The exponent belongs to the first DIGITS_FAST digits. */
	if (all > DIGITS_FAST)
		exponent -= (int64_t)n - DIGITS_FAST;
	if (sticky) {
		text[n++] = '1';
		exponent--;
	}
	if (exponent > EXPONENT_MAX)
		exponent = EXPONENT_MAX;
	if (exponent < -EXPONENT_MAX)
		exponent = -EXPONENT_MAX;
	snprintf(text + n, sizeof(text) - n, "e%d", (int)exponent);
	return strtod(text, NULL);
}

size_t number_parse(const uint8_t *p, const uint8_t *end, struct number *n)
{
	struct decimal x;
	const uint8_t *stop = read_decimal(p, end, &x);
	double d;

	if (!stop)
		return 0;
	if (!x.fraction && !x.dropped && x.m <= (uint64_t)NUMBER_WHOLE_MAX &&
	    (x.m || !x.negative)) {
		n->whole = true;
		n->i = x.negative ? -(int64_t)x.m : (int64_t)x.m;
		n->d = (double)n->i;
		return (size_t)(stop - p);
	}
	if (x.m == 0)
		d = 0;
	else if (x.dropped || !small_decimal(x.m, x.exponent, &d))
		d = exact_decimal(&x);
	n->d = x.negative ? -d : d;
	n->whole =
		d <= (double)NUMBER_WHOLE_MAX && d == trunc(d) && (d != 0 || !x.negative);
	n->i = n->whole ? (int64_t)n->d : 0;
	return (size_t)(stop - p);
}

/* Significant digits of a positive double, without trailing zeros, and where the decimal
 * point is: the value is 0.digits * 10^point. */
struct shortest {
	char digits[24];
	int n, point;
};

static void take_whole(struct shortest *s, uint64_t m, int exponent)
{
	s->n = snprintf(s->digits, sizeof(s->digits), "%llu", (unsigned long long)m);
	s->point = s->n + exponent;
	while (s->n > 1 && s->digits[s->n - 1] == '0')
		s->n--;
}

/* Does 0.digits * 10^point read as d? */
static bool reads_back(const struct shortest *s, double d)
{
	char text[48];

	snprintf(text, sizeof(text), "%.*se%d", s->n, s->digits, s->point - s->n);
	return strtod(text, NULL) == d;
}

/* The closest decimal of `precision` digits, or, if that does not read back, the next one
 * above: below a power of two doubles are twice as dense, so there the closest can be
 * outside while a farther one above is inside. */
static bool try_precision(struct shortest *s, double d, int precision)
{
	char text[32];
	uint64_t m = 0;
	int exponent;

	snprintf(text, sizeof(text), "%.*e", precision - 1, d);
	for (const char *p = text; *p != 'e'; p++)
		m = *p == '.' ? m : m * 10 + (uint64_t)(*p - '0');
	exponent = atoi(strchr(text, 'e') + 1) - precision + 1;
	take_whole(s, m, exponent);
	if (reads_back(s, d))
		return true;
	take_whole(s, m + 1, exponent);
	return reads_back(s, d);
}

static void shortest(struct shortest *s, double d)
{
	int precision = d < DBL_MIN ? 1 : DBL_DIG;

	/* Up to 15 digits no two decimals are the same double, so what few decimals
	 * show is the shortest there is. Division by an exact power rounds once. */
	for (int k = 1; k <= 9; k++) {
		double scaled = d * pow10_exact[k];
		uint64_t m;

		if (scaled >= 1e15)
			break;
		m = (uint64_t)(scaled + 0.5);
		if ((double)m / pow10_exact[k] == d) {
			take_whole(s, m, -k);
			return;
		}
	}
	while (!try_precision(s, d, precision))
		precision++;
	assert(precision <= DBL_DECIMAL_DIG);
}

static char *put(char *out, const char *p, int n)
{
	memcpy(out, p, (size_t)n);
	return out + n;
}

static char *put_zeros(char *out, int n)
{
	memset(out, '0', (size_t)n);
	return out + n;
}

/* The layouts of Number::toString, steps 6 to 12. */
static char *put_shortest(char *out, const struct shortest *s)
{
	const char *digits = s->digits;
	int n = s->n, point = s->point;

	if (n <= point && point <= 21)
		return put_zeros(put(out, digits, n), point - n);
	if (0 < point && point <= 21) {
		out = put(out, digits, point);
		*out++ = '.';
		return put(out, digits + point, n - point);
	}
	if (-6 < point && point <= 0) {
		out = put_zeros(put(out, "0.", 2), -point);
		return put(out, digits, n);
	}
	*out++ = digits[0];
	if (n > 1) {
		*out++ = '.';
		out = put(out, digits + 1, n - 1);
	}
	*out++ = 'e';
	*out++ = point > 0 ? '+' : '-';
	return out + number_format_int(out, abs(point - 1));
}

size_t number_format(char *out, double d)
{
	struct shortest s;
	char *p = out;

	if (isnan(d))
		return (size_t)(put(out, "NaN", 3) - out);
	if (fabs(d) <= (double)NUMBER_WHOLE_MAX && d == trunc(d))
		return number_format_int(out, (int64_t)d);
	if (d < 0)
		*p++ = '-';
	if (isinf(d))
		return (size_t)(put(p, "Infinity", 8) - out);
	shortest(&s, fabs(d));
	return (size_t)(put_shortest(p, &s) - out);
}

size_t number_format_int(char *out, int64_t i)
{
	char text[24];
	char *p = text + sizeof(text);
	uint64_t m = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;
	size_t n;

	do {
		*--p = (char)('0' + m % 10);
		m /= 10;
	} while (m);
	if (i < 0)
		*--p = '-';
	n = (size_t)(text + sizeof(text) - p);
	memcpy(out, p, n);
	return n;
}
