/* Numbers: rows, then the table of powers against long division, reading against the C
 * library, writing against trying every precision. */
#include "proto/number.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "proto/buf.h"
#include "proto/decimal.h"
#include "proto/pow10.h"
#include "test.h"

static uint64_t state = 42;

/* xorshift64 */
static uint64_t random64(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

/* A natural number, the lowest 32 bits first. */
enum { LIMBS = 44, BITS = LIMBS * 32 };

static void times10(uint32_t *x)
{
	uint64_t carry = 0;

	for (int i = 0; i < LIMBS; i++) {
		carry += (uint64_t)x[i] * 10;
		x[i] = (uint32_t)carry;
		carry >>= 32;
	}
}

static void divide10(uint32_t *x)
{
	uint64_t rest = 0;

	for (int i = LIMBS - 1; i >= 0; i--) {
		rest = rest << 32 | x[i];
		x[i] = (uint32_t)(rest / 10);
		rest %= 10;
	}
}

static bool bit_at(const uint32_t *x, int i)
{
	return i >= 0 && (x[i / 32] >> (i % 32) & 1);
}

static int top_bit(const uint32_t *x)
{
	int i = BITS - 1;

	while (!bit_at(x, i))
		i--;
	return i;
}

static struct pow10 top128(const uint32_t *x)
{
	struct pow10 p = {0, 0};
	int top = top_bit(x);

	for (int i = 0; i < 64; i++) {
		p.hi = p.hi << 1 | bit_at(x, top - i);
		p.lo = p.lo << 1 | bit_at(x, top - 64 - i);
	}
	return p;
}

static void test_table(void)
{
	uint32_t x[LIMBS] = {1};

	for (int e = 0; e <= POW10_MAX; e++, times10(x)) {
		struct pow10 want = top128(x), got = pow10_table[e - POW10_MIN];

		CHECK(got.hi == want.hi && got.lo == want.lo);
		CHECK(pow10_log2(e) == top_bit(x));
	}
	/* From 2^(BITS-1) down: floors of floors are the floor of the whole. */
	memset(x, 0, sizeof(x));
	x[LIMBS - 1] = UINT32_C(1) << 31;
	for (int e = -1; e >= POW10_MIN; e--) {
		struct pow10 want, got = pow10_table[e - POW10_MIN];

		divide10(x);
		want = top128(x);
		CHECK(got.hi == want.hi && got.lo == want.lo + 1);
		CHECK(pow10_log2(e) == top_bit(x) - (BITS - 1));
	}
}

static bool same_double(double a, double b)
{
	return a == b && signbit(a) == signbit(b);
}

static void check_read(const char *text)
{
	struct number x;
	size_t n = strlen(text);

	CHECK_ROW(number_parse((const uint8_t *)text, (const uint8_t *)text + n, &x) == n,
		  text);
	CHECK_ROW(same_double(x.d, strtod(text, NULL)), text);
	CHECK_ROW(!x.whole || x.d == (double)x.i, text);
}

static double random_double(void)
{
	uint64_t bits = random64();
	double d;

	switch (random64() % 4) {
	case 0: /* subnormal */
		bits &= ~(UINT64_C(0x7ff) << 52);
		break;
	case 1: /* a power of two or next to it */
		bits = (bits & UINT64_C(0x7ff) << 52) + random64() % 3 - 1;
		break;
	case 2: /* of everyday size */
		bits = (bits & (UINT64_MAX >> 12)) | (1000 + random64() % 80) << 52;
		break;
	default:
		break;
	}
	memcpy(&d, &bits, sizeof(d));
	return isfinite(d) && d != 0 ? fabs(d) : 1;
}

static void test_read(void)
{
	char text[1200];

	for (int i = 0; i < 50000; i++) {
		double d = random_double();
		uint64_t m = random64() >> random64() % 64;

		snprintf(text, sizeof(text), "%.*e", (int)(random64() % 25), d);
		check_read(text);
		snprintf(text, sizeof(text), "-%llue%d", (unsigned long long)m,
			 (int)(random64() % 700) - 360);
		check_read(text);
		snprintf(text, sizeof(text), "%llu%019llu.%llu",
			 (unsigned long long)m | 1,
			 (unsigned long long)(random64() % UINT64_C(1000000000000000000)),
			 (unsigned long long)(random64() >> random64() % 64));
		check_read(text);
	}
	/* Halfway points, written out in full, and what is next to them. */
	for (int i = 0; i < 2000; i++) {
		double d = random_double(), next = nextafter(d, HUGE_VAL), half;
		size_t n;

		/* Their sum must be exact in the long double where there is a wide one.
		 */
		if (LDBL_MANT_DIG < 64 || !isfinite(next) || d < 1e-300)
			continue;
		half = next - d;
		n = (size_t)snprintf(text, sizeof(text), "%.1100Lf",
				     (long double)d + (long double)half / 2);
		if (n >= sizeof(text) - 2)
			continue;
		check_read(text);
		memcpy(text + n, "1", 2);
		check_read(text);
	}
}

/* The shortest by trying every precision: the closest decimal of that many digits or, if
 * that does not read back, its upper neighbour, which below a power of two may. */
static bool reads_back(uint64_t m, int exponent, double d)
{
	char text[48];

	snprintf(text, sizeof(text), "%llue%d", (unsigned long long)m, exponent);
	return strtod(text, NULL) == d;
}

static struct decimal shortest(double d)
{
	for (int digits = 1; digits <= DBL_DECIMAL_DIG; digits++) {
		char text[48];
		uint64_t m = 0;
		int exponent;

		snprintf(text, sizeof(text), "%.*e", digits - 1, d);
		for (const char *p = text; *p != 'e'; p++)
			m = *p == '.' ? m : m * 10 + (uint64_t)(*p - '0');
		exponent = (int)strtol(strchr(text, 'e') + 1, NULL, 10) - digits + 1;
		if (reads_back(m, exponent, d))
			return (struct decimal){m, exponent};
		if (reads_back(m + 1, exponent, d))
			return (struct decimal){m + 1, exponent};
	}
	return (struct decimal){0, 0};
}

static struct decimal without_zeros(struct decimal x)
{
	while (x.m % 10 == 0 && x.m) {
		x.m /= 10;
		x.exponent++;
	}
	return x;
}

static void check_write(double d)
{
	struct decimal got = without_zeros(decimal_of_double(d));
	struct decimal want = without_zeros(shortest(d));
	char row[48];

	snprintf(row, sizeof(row), "%a", d);
	CHECK_ROW(got.m == want.m && got.exponent == want.exponent, row);
	CHECK_ROW(same_double(decimal_to_double(got), d), row);
}

static void test_write(void)
{
	for (int e = -1074; e <= 1023; e++) {
		double d = ldexp(1, e);

		check_write(d);
		check_write(nextafter(d, HUGE_VAL));
		if (e > -1074)
			check_write(nextafter(d, 0));
	}
	check_write(DBL_MAX);
	for (int i = 0; i < 20000; i++)
		check_write(random_double());
}

static void test_format_int(void)
{
	static const int64_t ints[] = {
		0,   1,	   9,	     10, 99,  100,  101,       999,	  1000,	     -1,
		-10, -100, 12345678, -9, -99, 1001, INT64_MAX, INT64_MIN, 1000000007};

	for (size_t i = 0; i < sizeof(ints) / sizeof(ints[0]); i++) {
		char got[NUMBER_TEXT_MAX], want[NUMBER_TEXT_MAX];

		snprintf(want, sizeof(want), "%lld", (long long)ints[i]);
		CHECK_SLICE(slice_of(got, number_format_int(got, ints[i])),
			    slice_str(want), want);
	}
}

static void test_rows(void)
{
	static const struct {
		const char *in, *text;
	} numbers[] = {
		{"1e21", "1e+21"},
		{"123456789012345680000", "123456789012345680000"},
		{"999999999999999900000", "999999999999999900000"},
		{"1.7976931348623157e308", "1.7976931348623157e+308"},
		{"1.7976931348623158e308", "1.7976931348623157e+308"},
		{"2.2250738585072011e-308", "2.225073858507201e-308"},
		{"2.2250738585072014e-308", "2.2250738585072014e-308"},
		{"2.4703282292062327e-324", "0"},
		{"2.4703282292062328e-324", "5e-324"},
		{"0.000001", "0.000001"},
		{"0.0000001", "1e-7"},
		{"0.00000123", "0.00000123"},
		{"123e-20", "1.23e-18"},
		{"0.30000000000000004", "0.30000000000000004"},
		{"1.005", "1.005"},
		{"4.35", "4.35"},
		{"100.000001", "100.000001"},
		{"123456789.123456789", "123456789.12345679"},
		{"5.684341886080801e-14", "5.684341886080801e-14"},
		{"9007199254740991.5", "9007199254740992"},
		{"4503599627370495.5", "4503599627370495.5"},
		{"18014398509481984", "18014398509481984"},
		{"1152921504606846976", "1152921504606847000"},
		{"-1e-7", "-1e-7"},
		{"-123.456", "-123.456"},
		{"0.1e1", "1"},
		{"10000000000000000000000000000000000000000e-40", "1"},
		/* Halfway between 1 and the next double, then a hair above. */
		{"1.00000000000000011102230246251565404236316680908203125", "1"},
		{"1.000000000000000111022302462515654042363166809082031250000001",
		 "1.0000000000000002"},
		{"1e99999999999999999999999", "Infinity"},
		{"1e-99999999999999999999999", "0"},
	};

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		struct slice in = slice_str(numbers[i].in);
		uint8_t *copy = malloc(in.n);
		struct number x = {false, 0, 0};
		char text[NUMBER_TEXT_MAX];

		/* A block of its own: the sanitizer sees a read behind its end. */
		if (!copy)
			abort();
		memcpy(copy, in.p, in.n);
		CHECK_ROW(number_parse(copy, copy + in.n, &x) == in.n, numbers[i].in);
		CHECK_SLICE(slice_of(text, number_format(text, x.d)),
			    slice_str(numbers[i].text), numbers[i].in);
		free(copy);
	}
}

/* Thousands of zeros and digits: no digit may be lost, no exponent off. */
static void test_long_numbers(void)
{
	struct buf b = BUF_INIT;
	struct number x;

	buf_str(&b, "0.");
	for (int i = 0; i < 5000; i++)
		buf_byte(&b, '0');
	buf_str(&b, "15e5001");
	CHECK(number_parse(b.p, b.p + b.n, &x) == b.n && x.d == 1.5);
	buf_clear(&b);
	buf_byte(&b, '3');
	for (int i = 0; i < 5000; i++)
		buf_byte(&b, '0');
	CHECK(number_parse(b.p, b.p + b.n, &x) == b.n && x.d > 1e308);
	buf_str(&b, "e-5000");
	CHECK(number_parse(b.p, b.p + b.n, &x) == b.n && x.whole && x.i == 3);
	/* 2^-1 plus the smallest thing: one digit in 2,000 decides the rounding. */
	buf_clear(&b);
	buf_str(&b, "1.00000000000000011102230246251565404236316680908203125");
	for (int i = 0; i < 2000; i++)
		buf_byte(&b, '0');
	CHECK(number_parse(b.p, b.p + b.n, &x) == b.n && x.d == 1);
	buf_byte(&b, '1');
	CHECK(number_parse(b.p, b.p + b.n, &x) == b.n && x.d == 1.0000000000000002);
	buf_deinit(&b);
}

int main(void)
{
	test_rows();
	test_long_numbers();
	test_table();
	test_read();
	test_write();
	test_format_int();
	return test_done();
}
