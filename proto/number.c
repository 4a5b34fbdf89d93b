#include "proto/number.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/decimal.h"

enum {
	/* Significant decimal digits that can matter: the longest exact halfway point
	 * between two doubles has 767. What follows is worth one sticky digit. */
	DIGITS_MAX = 800,
	DIGITS_FAST = 19,   /* fit a uint64_t */
	EXPONENT_MAX = 5000 /* beyond, DIGITS_MAX digits are 0 or Infinity anyway */
};

/* A number's text, cut up: its value is `m`, the first DIGITS_FAST significant digits,
 * times 10^exponent, if no more digits were dropped. */
struct parts {
	const uint8_t *digits, *end; /* digits with perhaps a point among them */
	bool negative, fraction, dropped;
	uint64_t m;
	int64_t exponent;
};

static bool is_digit(const uint8_t *p, const uint8_t *end)
{
	return p < end && (uint8_t)(*p - '0') < 10;
}

/* Digits from `p` on into `x`; `point` is 1 behind the decimal point. */
static const uint8_t *read_digits(const uint8_t *p, const uint8_t *end, int point,
				  struct parts *x)
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
static const uint8_t *read_exponent(const uint8_t *p, const uint8_t *end, struct parts *x)
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

static const uint8_t *read_decimal(const uint8_t *p, const uint8_t *end, struct parts *x)
{
	*x = (struct parts){.negative = p < end && *p == '-'};
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

static int clamp_exponent(int64_t e)
{
	if (e > EXPONENT_MAX)
		return EXPONENT_MAX;
	return e < -EXPONENT_MAX ? -EXPONENT_MAX : (int)e;
}

/* By the C library, from a copy: what follows the number in the text is not ours to read
 * and may be the end of memory. The process keeps the C locale, whose point is a point.
 */
static double exact_decimal(const struct parts *x)
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
	snprintf(text + n, sizeof(text) - n, "e%d", clamp_exponent(exponent));
	return strtod(text, NULL);
}

static double magnitude(const struct parts *x)
{
	struct decimal low = {x->m, clamp_exponent(x->exponent)};
	struct decimal high = {x->m + 1, low.exponent};
	double d;

	if (x->m == 0)
		return 0;
	d = decimal_to_double(low);
	/* More digits rarely matter: what lies between two decimals that are the same
	 * double is that double too. */
	if (x->dropped && decimal_to_double(high) != d)
		d = exact_decimal(x);
	return d;
}

size_t number_parse(const uint8_t *p, const uint8_t *end, struct number *n)
{
	struct parts x;
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
	d = magnitude(&x);
	n->d = x.negative ? -d : d;
	n->whole =
		d <= (double)NUMBER_WHOLE_MAX && d == trunc(d) && (d != 0 || !x.negative);
	n->i = n->whole ? (int64_t)n->d : 0;
	return (size_t)(stop - p);
}

/* Digits and where the decimal point is: the value is 0.digits * 10^point. */
struct layout {
	char digits[24];
	int n, point;
};

static void layout_of(struct layout *s, double d)
{
	struct decimal x = decimal_of_double(d);

	s->n = (int)number_format_int(s->digits, (int64_t)x.m);
	s->point = s->n + x.exponent;
	while (s->n > 1 && s->digits[s->n - 1] == '0')
		s->n--;
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
static char *put_layout(char *out, const struct layout *s)
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
	struct layout s;
	char *p = out;

	if (isnan(d))
		return (size_t)(put(out, "NaN", 3) - out);
	if (fabs(d) <= (double)NUMBER_WHOLE_MAX && d == trunc(d))
		return number_format_int(out, (int64_t)d);
	if (d < 0)
		*p++ = '-';
	if (isinf(d))
		return (size_t)(put(p, "Infinity", 8) - out);
	layout_of(&s, fabs(d));
	return (size_t)(put_layout(p, &s) - out);
}

size_t number_format_int(char *out, int64_t i)
{
	/* Two digits at a time halve the divisions. */
	static const char pairs[] = "00010203040506070809101112131415161718192021222324"
				    "25262728293031323334353637383940414243444546474849"
				    "50515253545556575859606162636465666768697071727374"
				    "75767778798081828384858687888990919293949596979899";
	uint64_t m = i < 0 ? 0 - (uint64_t)i : (uint64_t)i, limit = 10;
	size_t n = i < 0 ? 2 : 1;
	char *p;

	for (; m >= limit; limit *= 10)
		n++;
	if (i < 0)
		*out = '-';
	p = out + n;
	for (; m >= 100; m /= 100)
		memcpy(p -= 2, pairs + m % 100 * 2, 2);
	if (m >= 10)
		memcpy(p - 2, pairs + m * 2, 2);
	else
		p[-1] = (char)('0' + m);
	return n;
}
