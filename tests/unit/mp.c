/* MessagePack: the cursor on every kind of value, cut short at every byte, and on random
 * bytes against msgpack-c's own reader. */
#include <math.h>
#include <msgpack/unpack.h>
#include <stdlib.h>

#include "proto/mp.h"
#include "test.h"

/* Bytes in a block of their own, so that the sanitizer sees a read behind their end. */
static uint8_t *copy_of(const void *p, size_t n)
{
	uint8_t *copy = malloc(n ? n : 1);

	if (!copy)
		abort();
	memcpy(copy, p, n);
	return copy;
}

static const struct row {
	const char *name;
	struct slice in; /* one whole value */
	enum mp_type type;
	int64_t number; /* value, count, truth, or extension type */
	double d;
	struct slice bytes;
} rows[] = {
#define IN(s) SLICE_INIT(s)
#define SCALAR(name, in, type, number)                                                   \
	{                                                                                \
		name, IN(in), type, number, 0,                                           \
		{                                                                        \
			NULL, 0                                                          \
		}                                                                        \
	}
#define DOUBLE(name, in, d)                                                              \
	{                                                                                \
		name, IN(in), MP_DOUBLE, 0, d,                                           \
		{                                                                        \
			NULL, 0                                                          \
		}                                                                        \
	}
#define BYTES(name, in, type, bytes)                                                     \
	{                                                                                \
		name, IN(in), type, 0, 0, IN(bytes)                                      \
	}
#define EXT(name, in, ext, bytes)                                                        \
	{                                                                                \
		name, IN(in), MP_EXT, ext, 0, IN(bytes)                                  \
	}
	SCALAR("fixint 0", "\x00", MP_INT, 0),
	SCALAR("fixint 127", "\x7f", MP_INT, 127),
	SCALAR("fixint -1", "\xff", MP_INT, -1),
	SCALAR("fixint -32", "\xe0", MP_INT, -32),
	SCALAR("nil", "\xc0", MP_NIL, 0),
	SCALAR("false", "\xc2", MP_BOOL, 0),
	SCALAR("true", "\xc3", MP_BOOL, 1),
	SCALAR("uint 8", "\xcc\xff", MP_INT, 255),
	SCALAR("uint 16", "\xcd\xff\xfe", MP_INT, 65534),
	SCALAR("uint 32", "\xce\xff\xff\xff\xff", MP_INT, 4294967295),
	SCALAR("uint 64", "\xcf\x7f\xff\xff\xff\xff\xff\xff\xff", MP_INT, INT64_MAX),
	SCALAR("uint 64 high", "\xcf\xff\xff\xff\xff\xff\xff\xff\xff", MP_UINT, -1),
	SCALAR("int 8", "\xd0\x80", MP_INT, -128),
	SCALAR("int 8 above 0", "\xd0\x7f", MP_INT, 127),
	SCALAR("int 16", "\xd1\x80\x00", MP_INT, -32768),
	SCALAR("int 32", "\xd2\x80\x00\x00\x00", MP_INT, INT32_MIN),
	SCALAR("int 64", "\xd3\x80\x00\x00\x00\x00\x00\x00\x00", MP_INT, INT64_MIN),
	DOUBLE("float 32", "\xca\x3f\xc0\x00\x00", 1.5),
	DOUBLE("float 64", "\xcb\xbf\xf8\x00\x00\x00\x00\x00\x00", -1.5),
	BYTES("fixstr empty", "\xa0", MP_STR, ""),
	BYTES("fixstr",
	      "\xa3"
	      "abc",
	      MP_STR, "abc"),
	BYTES("str 8", "\xd9\x02hi", MP_STR, "hi"),
	BYTES("str 16", "\xda\x00\x02hi", MP_STR, "hi"),
	BYTES("str 32", "\xdb\x00\x00\x00\x02hi", MP_STR, "hi"),
	BYTES("bin 8", "\xc4\x02\x00\xff", MP_BIN, "\x00\xff"),
	BYTES("bin 16", "\xc5\x00\x01x", MP_BIN, "x"),
	BYTES("bin 32", "\xc6\x00\x00\x00\x01x", MP_BIN, "x"),
	EXT("fixext 1", "\xd4\x05x", 5, "x"),
	EXT("fixext 2", "\xd5\xffxy", -1, "xy"),
	EXT("fixext 4", "\xd6\xff\x00\x00\x00\x01", -1, "\x00\x00\x00\x01"),
	EXT("fixext 8",
	    "\xd7\x80"
	    "12345678",
	    -128, "12345678"),
	EXT("fixext 16",
	    "\xd8\x01"
	    "0123456789abcdef",
	    1, "0123456789abcdef"),
	EXT("ext 8 empty", "\xc7\x00\x07", 7, ""),
	EXT("ext 8", "\xc7\x03\x07xyz", 7, "xyz"),
	EXT("ext 16", "\xc8\x00\x03\x07xyz", 7, "xyz"),
	EXT("ext 32", "\xc9\x00\x00\x00\x03\x07xyz", 7, "xyz"),
	SCALAR("fixarray empty", "\x90", MP_ARRAY, 0),
	SCALAR("fixarray", "\x92\x01\x91\xc0", MP_ARRAY, 2),
	SCALAR("array 16", "\xdc\x00\x01\xc0", MP_ARRAY, 1),
	SCALAR("array 32", "\xdd\x00\x00\x00\x01\xc0", MP_ARRAY, 1),
	SCALAR("fixmap empty", "\x80", MP_MAP, 0),
	SCALAR("fixmap",
	       "\x82\xa1"
	       "a\x01\xa1"
	       "b\x92\x01\x02",
	       MP_MAP, 2),
	SCALAR("map 16", "\xde\x00\x01\xa0\xc0", MP_MAP, 1),
	SCALAR("map 32", "\xdf\x00\x00\x00\x01\xa0\xc0", MP_MAP, 1),
	SCALAR("nested", "\x91\x91\x91\x81\xc0\x90", MP_ARRAY, 1),
};

static void check_value(const struct row *row, const struct mp_value *v)
{
	CHECK_ROW(v->type == row->type, row->name);
	switch (v->type) {
	case MP_NIL:
		break;
	case MP_BOOL:
		CHECK_ROW(v->b == (row->number == 1), row->name);
		break;
	case MP_INT:
	case MP_UINT:
		CHECK_ROW(v->i == row->number, row->name);
		break;
	case MP_DOUBLE:
		CHECK_ROW(v->d == row->d, row->name);
		break;
	case MP_EXT:
		CHECK_ROW(v->ext == row->number, row->name);
		CHECK_SLICE(v->bytes, row->bytes, row->name);
		break;
	case MP_STR:
	case MP_BIN:
		CHECK_SLICE(v->bytes, row->bytes, row->name);
		break;
	case MP_ARRAY:
	case MP_MAP:
		CHECK_ROW(v->count == row->number, row->name);
		break;
	}
}

static void test_read(void)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *row = &rows[i];
		uint8_t *in = copy_of(row->in.p, row->in.n);
		struct mp_cursor c = mp_cursor_of(slice_of(in, row->in.n));
		struct mp_value v = {.type = MP_NIL};
		struct slice taken = SLICE_EMPTY;
		bool container = row->type == MP_ARRAY || row->type == MP_MAP;

		CHECK_ROW(mp_read(&c, &v) == ERR_OK, row->name);
		check_value(row, &v);
		CHECK_ROW(container || c.p == c.end, row->name);
		c = mp_cursor_of(slice_of(in, row->in.n));
		CHECK_ROW(mp_take(&c, &taken) == ERR_OK, row->name);
		CHECK_SLICE(taken, slice_of(in, row->in.n), row->name);
		CHECK_ROW(c.p == c.end, row->name);
		free(in);
	}
}

/* Every value, cut at every byte: an error that changes nothing. */
static void test_cut(void)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (size_t n = 0; n < rows[i].in.n; n++) {
			uint8_t *in = copy_of(rows[i].in.p, n);
			struct mp_cursor c = mp_cursor_of(slice_of(in, n));
			struct mp_value v = {.type = MP_BOOL, .ext = 42};
			struct slice taken = SLICE_LIT("as before");
			enum err err = mp_read(&c, &v);

			if (err) {
				CHECK_ROW(err == ERR_TRUNCATED, rows[i].name);
				CHECK_ROW(c.p == in, rows[i].name);
				CHECK_ROW(v.type == MP_BOOL && v.ext == 42, rows[i].name);
			}
			c.p = in;
			CHECK_ROW(mp_take(&c, &taken) == ERR_TRUNCATED, rows[i].name);
			CHECK_ROW(c.p == in, rows[i].name);
			CHECK_SLICE(taken, SLICE_LIT("as before"), rows[i].name);
			free(in);
		}
	}
}

/* Counts and lengths far beyond the input. */
static void test_claims(void)
{
	static const struct slice claims[] = {
		SLICE_INIT("\xdd\xff\xff\xff\xff"),
		SLICE_INIT("\xdf\xff\xff\xff\xff"),
		SLICE_INIT("\xdf\x80\x00\x00\x00"),
		SLICE_INIT("\xdb\xff\xff\xff\xff"),
		SLICE_INIT("\xc6\xff\xff\xff\xff"),
		SLICE_INIT("\xc9\xff\xff\xff\xff\x01"),
		SLICE_INIT("\xdc\x00\x02\xc0"),
		SLICE_INIT("\x82\xc0\xc0\xc0"),
	};

	for (size_t i = 0; i < sizeof(claims) / sizeof(claims[0]); i++) {
		struct mp_cursor c = mp_cursor_of(claims[i]);
		struct mp_value v;

		CHECK(mp_read(&c, &v) == ERR_TRUNCATED);
		CHECK(mp_skip(&c) == ERR_TRUNCATED);
	}
}

static void test_depth(void)
{
	uint8_t deep[MP_DEPTH_MAX + 1];
	struct mp_cursor c;

	memset(deep, 0x91, sizeof(deep));
	deep[MP_DEPTH_MAX - 1] = 0x90;
	c = mp_cursor_of(slice_of(deep, MP_DEPTH_MAX));
	CHECK(mp_skip(&c) == ERR_OK);
	CHECK(c.p == c.end);
	deep[MP_DEPTH_MAX - 1] = 0x91;
	deep[MP_DEPTH_MAX] = 0xc0;
	c = mp_cursor_of(slice_of(deep, sizeof(deep)));
	CHECK(mp_skip(&c) == ERR_OK);
	deep[MP_DEPTH_MAX] = 0x90;
	c = mp_cursor_of(slice_of(deep, sizeof(deep)));
	CHECK(mp_skip(&c) == ERR_DEPTH);
	CHECK(c.p == deep);
}

static void test_typed(void)
{
	struct mp_cursor c = mp_cursor_of(SLICE_LIT("\x92\xa1x\x81\xc0\xc3\xc1"));
	struct slice s = SLICE_EMPTY;
	struct mp_value v;
	uint32_t n = 7;

	CHECK(mp_read_map(&c, &n) == ERR_SYNTAX && n == 7);
	CHECK(mp_read_str(&c, &s) == ERR_SYNTAX && !s.p);
	CHECK(mp_read_array(&c, &n) == ERR_OK && n == 2);
	CHECK(mp_read_array(&c, &n) == ERR_SYNTAX && n == 2);
	CHECK(mp_read_str(&c, &s) == ERR_OK);
	CHECK_SLICE(s, SLICE_LIT("x"), "");
	CHECK(mp_read_map(&c, &n) == ERR_OK && n == 1);
	CHECK(mp_skip(&c) == ERR_OK);
	CHECK(mp_skip(&c) == ERR_OK);
	CHECK(mp_read(&c, &v) == ERR_SYNTAX);
	CHECK(mp_skip(&c) == ERR_SYNTAX);
	c.p++;
	CHECK(mp_read_array(&c, &n) == ERR_TRUNCATED);
	CHECK(mp_read_map(&c, &n) == ERR_TRUNCATED);
	CHECK(mp_read_str(&c, &s) == ERR_TRUNCATED);
}

static void test_map_get(void)
{
	struct slice map = SLICE_LIT("\x85\x01\xc3\xa1"
				     "a\x01\xa1"
				     "b\x92\xa1"
				     "a\x07\xa1"
				     "a\x02\x91\xa1"
				     "c\x03");
	struct slice v = SLICE_EMPTY;

	CHECK(mp_map_get(map, SLICE_LIT("a"), &v) == ERR_OK);
	CHECK_SLICE(v, SLICE_LIT("\x02"), "the last one wins");
	CHECK(mp_map_get(map, SLICE_LIT("b"), &v) == ERR_OK);
	CHECK_SLICE(v,
		    SLICE_LIT("\x92\xa1"
			      "a\x07"),
		    "");
	CHECK(mp_map_get(map, SLICE_LIT("c"), &v) == ERR_NOT_FOUND);
	CHECK(mp_map_get(map, SLICE_LIT(""), &v) == ERR_NOT_FOUND);
	CHECK(mp_map_get(SLICE_LIT("\x91\xa1"
				   "a"),
			 SLICE_LIT("a"), &v) == ERR_SYNTAX);
	CHECK(mp_map_get(SLICE_EMPTY, SLICE_LIT("a"), &v) == ERR_TRUNCATED);
	for (size_t n = 0; n < map.n; n++)
		CHECK(mp_map_get(slice_of(map.p, n), SLICE_LIT("a"), &v) ==
		      ERR_TRUNCATED);
}

static void test_get_int(void)
{
	static const struct {
		struct slice in;
		int64_t min, max;
		enum err err;
		int64_t i;
	} ints[] = {
		{SLICE_INIT("\x05"), 0, 5, ERR_OK, 5},
		{SLICE_INIT("\x05"), 0, 4, ERR_RANGE, 0},
		{SLICE_INIT("\xff"), 0, 4, ERR_RANGE, 0},
		{SLICE_INIT("\xd0\xff"), -1, 4, ERR_OK, -1},
		{SLICE_INIT("\xcb\x40\x08\x00\x00\x00\x00\x00\x00"), 0, 9, ERR_OK, 3},
		{SLICE_INIT("\xcb\x80\x00\x00\x00\x00\x00\x00\x00"), 0, 9, ERR_OK, 0},
		{SLICE_INIT("\xca\x40\x40\x00\x00"), 0, 9, ERR_OK, 3},
		{SLICE_INIT("\xcb\x40\x09\x00\x00\x00\x00\x00\x00"), 0, 9, ERR_RANGE, 0},
		{SLICE_INIT("\xcb\x43\xe0\x00\x00\x00\x00\x00\x00"), INT64_MIN, INT64_MAX,
		 ERR_RANGE, 0},
		{SLICE_INIT("\xcb\xc3\xe0\x00\x00\x00\x00\x00\x00"), INT64_MIN, INT64_MAX,
		 ERR_OK, INT64_MIN},
		{SLICE_INIT("\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00"), INT64_MIN, INT64_MAX,
		 ERR_RANGE, 0},
		{SLICE_INIT("\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00"), INT64_MIN, INT64_MAX,
		 ERR_RANGE, 0},
		{SLICE_INIT("\xcf\x80\x00\x00\x00\x00\x00\x00\x00"), INT64_MIN, INT64_MAX,
		 ERR_RANGE, 0},
		{SLICE_INIT("\xa1\x35"), 0, 9, ERR_SYNTAX, 0},
		{SLICE_INIT("\xc3"), 0, 9, ERR_SYNTAX, 0},
		{SLICE_INIT("\x05\x05"), 0, 9, ERR_SYNTAX, 0},
		{SLICE_INIT("\xcd\x05"), 0, 9, ERR_SYNTAX, 0},
		{SLICE_INIT(""), 0, 9, ERR_SYNTAX, 0},
	};

	for (size_t i = 0; i < sizeof(ints) / sizeof(ints[0]); i++) {
		char row[16];
		int64_t got = 0;

		snprintf(row, sizeof(row), "int row %zu", i);
		CHECK_ROW(mp_get_int(ints[i].in, ints[i].min, ints[i].max, &got) ==
				  ints[i].err,
			  row);
		CHECK_ROW(got == ints[i].i, row);
	}
}

static void test_get_str(void)
{
	struct slice s = SLICE_EMPTY;

	CHECK(mp_get_str(SLICE_LIT("\xa2hi"), &s) == ERR_OK);
	CHECK_SLICE(s, SLICE_LIT("hi"), "");
	CHECK(mp_get_str(SLICE_LIT("\xa2hi\xc0"), &s) == ERR_SYNTAX);
	CHECK(mp_get_str(SLICE_LIT("\xa2h"), &s) == ERR_SYNTAX);
	CHECK(mp_get_str(SLICE_LIT("\xc4\x01h"), &s) == ERR_SYNTAX);
	CHECK_SLICE(s, SLICE_LIT("hi"), "unchanged by errors");
}

static void test_pack(void)
{
	struct buf b = BUF_INIT, raw = BUF_INIT;
	msgpack_packer pk, pk_raw;

	mp_packer(&pk, &b);
	msgpack_pack_array(&pk, 3);
	mp_pack_str(&pk, SLICE_LIT("hi"));
	mp_pack_str(&pk, SLICE_EMPTY);
	msgpack_pack_int(&pk, -1);
	CHECK_SLICE(buf_view(&b), SLICE_LIT("\x93\xa2hi\xa0\xff"), "");
	mp_packer(&pk_raw, &raw);
	msgpack_pack_array(&pk_raw, 1);
	mp_pack_raw(&pk_raw, buf_view(&b));
	CHECK_SLICE(buf_view(&raw), SLICE_LIT("\x91\x93\xa2hi\xa0\xff"), "");
	buf_deinit(&b);
	buf_deinit(&raw);
}

static bool same(struct mp_cursor *c, const msgpack_object *o);

static bool same_array(struct mp_cursor *c, uint32_t count, const msgpack_object *o)
{
	if (o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size != count)
		return false;
	for (uint32_t i = 0; i < count; i++)
		if (!same(c, &o->via.array.ptr[i]))
			return false;
	return true;
}

static bool same_map(struct mp_cursor *c, uint32_t count, const msgpack_object *o)
{
	if (o->type != MSGPACK_OBJECT_MAP || o->via.map.size != count)
		return false;
	for (uint32_t i = 0; i < count; i++)
		if (!same(c, &o->via.map.ptr[i].key) || !same(c, &o->via.map.ptr[i].val))
			return false;
	return true;
}

static bool same_int(int64_t i, const msgpack_object *o)
{
	if (i < 0)
		return o->type == MSGPACK_OBJECT_NEGATIVE_INTEGER && o->via.i64 == i;
	return o->type == MSGPACK_OBJECT_POSITIVE_INTEGER && o->via.u64 == (uint64_t)i;
}

static bool same_double(double d, const msgpack_object *o)
{
	if (o->type != MSGPACK_OBJECT_FLOAT32 && o->type != MSGPACK_OBJECT_FLOAT64)
		return false;
	return o->via.f64 == d || (isnan(o->via.f64) && isnan(d));
}

/* Does the cursor, from `c` on, read what msgpack-c read as `o`? */
static bool same(struct mp_cursor *c, const msgpack_object *o)
{
	struct mp_value v;

	if (mp_read(c, &v))
		return false;
	switch (v.type) {
	case MP_NIL:
		return o->type == MSGPACK_OBJECT_NIL;
	case MP_BOOL:
		return o->type == MSGPACK_OBJECT_BOOLEAN && o->via.boolean == v.b;
	case MP_INT:
		return same_int(v.i, o);
	case MP_UINT:
		return o->type == MSGPACK_OBJECT_POSITIVE_INTEGER && o->via.u64 == v.u;
	case MP_DOUBLE:
		return same_double(v.d, o);
	case MP_STR:
		return o->type == MSGPACK_OBJECT_STR &&
		       slice_eq(v.bytes, slice_of(o->via.str.ptr, o->via.str.size));
	case MP_BIN:
		return o->type == MSGPACK_OBJECT_BIN &&
		       slice_eq(v.bytes, slice_of(o->via.bin.ptr, o->via.bin.size));
	case MP_EXT:
		return o->type == MSGPACK_OBJECT_EXT && o->via.ext.type == v.ext &&
		       slice_eq(v.bytes, slice_of(o->via.ext.ptr, o->via.ext.size));
	case MP_ARRAY:
		return same_array(c, v.count, o);
	case MP_MAP:
		return same_map(c, v.count, o);
	}
	return false;
}

/* Random bytes, biased towards headers. Whatever the cursor steps over, msgpack-c reads
 * as the same value; what it refuses, msgpack-c refuses too or finds too deep. */
static void test_oracle(void)
{
	unsigned random = 1;
	int whole = 0;

	for (int round = 0; round < 200000; round++) {
		uint8_t bytes[24], *in;
		msgpack_unpacked result;
		struct mp_cursor c;
		msgpack_unpack_return ret;
		size_t off = 0, n;

		random = random * 1103515245u + 12345u;
		n = 1 + (random >> 16) % sizeof(bytes);
		for (size_t i = 0; i < n; i++) {
			random = random * 1103515245u + 12345u;
			bytes[i] = (uint8_t)(random >> 16);
			if (random >> 28 & 1)
				bytes[i] = (uint8_t)(0x80 | (bytes[i] & 0x73));
			else if (random >> 29 & 1)
				bytes[i] &= 0x03;
		}
		in = copy_of(bytes, n);
		/* It would allocate what a header claims. */
		c = mp_cursor_of(slice_of(in, n));
		if (mp_skip(&c) == ERR_OK) {
			struct mp_cursor again = mp_cursor_of(slice_of(in, n));

			msgpack_unpacked_init(&result);
			ret = msgpack_unpack_next(&result, (const char *)in, n, &off);
			CHECK(ret == MSGPACK_UNPACK_SUCCESS ||
			      ret == MSGPACK_UNPACK_EXTRA_BYTES);
			CHECK(off == (size_t)(c.p - in));
			CHECK(same(&again, &result.data));
			CHECK(again.p == c.p);
			msgpack_unpacked_destroy(&result);
			whole++;
		}
		free(in);
	}
	CHECK(whole > 10000);
}

int main(void)
{
	test_read();
	test_cut();
	test_claims();
	test_depth();
	test_typed();
	test_map_get();
	test_get_int();
	test_get_str();
	test_pack();
	test_oracle();
	return test_done();
}
