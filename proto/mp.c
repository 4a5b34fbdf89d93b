#include "proto/mp.h"

#include <assert.h>
#include <endian.h>
#include <math.h>

/* What follows the bytes 0xc0 to 0xdf: `width` bytes that hold the value or, for what has
 * a length, the length. A `fixed` length stands in no byte. */
/* clang-format off */
static const struct form {
	uint8_t type, width, fixed;
} forms[32] = {
	/* c0 */ {MP_NIL, 0, 0},   {0xff, 0, 0},     {MP_BOOL, 0, 0},   {MP_BOOL, 0, 0},
	/* c4 */ {MP_BIN, 1, 0},   {MP_BIN, 2, 0},   {MP_BIN, 4, 0},    {MP_EXT, 1, 0},
	/* c8 */ {MP_EXT, 2, 0},   {MP_EXT, 4, 0},   {MP_DOUBLE, 4, 0}, {MP_DOUBLE, 8, 0},
	/* cc */ {MP_UINT, 1, 0},  {MP_UINT, 2, 0},  {MP_UINT, 4, 0},   {MP_UINT, 8, 0},
	/* d0 */ {MP_INT, 1, 0},   {MP_INT, 2, 0},   {MP_INT, 4, 0},    {MP_INT, 8, 0},
	/* d4 */ {MP_EXT, 0, 1},   {MP_EXT, 0, 2},   {MP_EXT, 0, 4},    {MP_EXT, 0, 8},
	/* d8 */ {MP_EXT, 0, 16},  {MP_STR, 1, 0},   {MP_STR, 2, 0},    {MP_STR, 4, 0},
	/* dc */ {MP_ARRAY, 2, 0}, {MP_ARRAY, 4, 0}, {MP_MAP, 2, 0},    {MP_MAP, 4, 0},
};
/* clang-format on */

static uint64_t load(const uint8_t *p, size_t width)
{
	uint16_t x2;
	uint32_t x4;
	uint64_t x8;

	switch (width) {
	case 1:
		return *p;
	case 2:
		memcpy(&x2, p, sizeof(x2));
		return be16toh(x2);
	case 4:
		memcpy(&x4, p, sizeof(x4));
		return be32toh(x4);
	case 8:
		memcpy(&x8, p, sizeof(x8));
		return be64toh(x8);
	default:
		return 0;
	}
}

static double load_double(uint64_t x, size_t width)
{
	if (width == 4) {
		uint32_t bits = (uint32_t)x;
		float f;

		memcpy(&f, &bits, sizeof(f));
		return (double)f;
	} else {
		double d;

		memcpy(&d, &x, sizeof(d));
		return d;
	}
}

/* Field by field: a value put together elsewhere and copied is read back in larger pieces
 * than it was written in, a stall that was half the time spent on short strings. */
static enum err finish_bytes(struct mp_cursor *c, const uint8_t *p, uint64_t n,
			     struct mp_value *v, enum mp_type type, int8_t ext)
{
	if ((uint64_t)(c->end - p) < n)
		return ERR_TRUNCATED;
	v->type = type;
	v->ext = ext;
	v->bytes.p = p;
	v->bytes.n = (size_t)n;
	c->p = p + n;
	return ERR_OK;
}

static enum err finish_count(struct mp_cursor *c, const uint8_t *p, uint64_t count,
			     struct mp_value *v, enum mp_type type)
{
	uint64_t elements = type == MP_MAP ? count * 2 : count;

	if ((uint64_t)(c->end - p) < elements)
		return ERR_TRUNCATED;
	v->type = type;
	v->ext = 0;
	v->count = (uint32_t)count;
	c->p = p;
	return ERR_OK;
}

/* A value that begins with 0xc0 to 0xdf. */
static enum err read_wide(struct mp_cursor *c, struct mp_value *v)
{
	uint8_t tag = *c->p;
	const struct form *form = &forms[tag - 0xc0];
	const uint8_t *p = c->p + 1;
	struct mp_value t = {.type = form->type};
	uint64_t x;

	if (tag == 0xc1)
		return ERR_SYNTAX;
	if (c->end - p < form->width)
		return ERR_TRUNCATED;
	x = load(p, form->width);
	p += form->width;
	switch (t.type) {
	case MP_STR:
	case MP_BIN:
		return finish_bytes(c, p, x, v, t.type, 0);
	case MP_EXT:
		if (p == c->end)
			return ERR_TRUNCATED;
		return finish_bytes(c, p + 1, form->fixed ? form->fixed : x, v, MP_EXT,
				    (int8_t)*p);
	case MP_ARRAY:
	case MP_MAP:
		return finish_count(c, p, x, v, t.type);
	case MP_BOOL:
		t.b = tag == 0xc3;
		break;
	case MP_DOUBLE:
		t.d = load_double(x, form->width);
		break;
	case MP_INT: {
		unsigned shift = 64 - 8u * form->width;

		assert(form->width > 0);
		t.i = (int64_t)(x << shift) >> shift;
		break;
	}
	case MP_UINT:
		if (x > INT64_MAX) {
			t.u = x;
		} else {
			t.type = MP_INT;
			t.i = (int64_t)x;
		}
		break;
	case MP_NIL:
		break;
	}
	*v = t;
	c->p = p;
	return ERR_OK;
}

enum err mp_read(struct mp_cursor *c, struct mp_value *v)
{
	uint8_t tag;

	if (c->p == c->end)
		return ERR_TRUNCATED;
	assert(c->p < c->end);
	tag = *c->p;
	if (tag < 0x80 || tag >= 0xe0) {
		v->type = MP_INT;
		v->ext = 0;
		v->i = tag < 0x80 ? tag : tag - 0x100;
		c->p++;
		return ERR_OK;
	}
	if (tag >= 0xc0)
		return read_wide(c, v);
	if (tag >= 0xa0)
		return finish_bytes(c, c->p + 1, tag & 0x1f, v, MP_STR, 0);
	return finish_count(c, c->p + 1, tag & 0x0f, v, tag < 0x90 ? MP_MAP : MP_ARRAY);
}

enum err mp_skip(struct mp_cursor *c)
{
	uint64_t left[MP_DEPTH_MAX]; /* elements to come, per open array or map */
	const uint8_t *start = c->p;
	unsigned depth = 0;

	do {
		struct mp_value v;
		enum err err = mp_read(c, &v);

		if (!err && depth == MP_DEPTH_MAX &&
		    (v.type == MP_ARRAY || v.type == MP_MAP))
			err = ERR_DEPTH;
		if (err) {
			c->p = start;
			return err;
		}
		if (v.type == MP_ARRAY || v.type == MP_MAP) {
			if (v.count) {
				left[depth++] = (uint64_t)v.count << (v.type == MP_MAP);
				continue;
			}
		}
		while (depth && --left[depth - 1] == 0)
			depth--;
	} while (depth);
	return ERR_OK;
}

enum err mp_take(struct mp_cursor *c, struct slice *value)
{
	const uint8_t *start = c->p;
	enum err err = mp_skip(c);

	if (!err)
		*value = slice_of(start, (size_t)(c->p - start));
	return err;
}

static enum err read_type(struct mp_cursor *c, enum mp_type type, struct mp_value *v)
{
	const uint8_t *start = c->p;
	enum err err = mp_read(c, v);

	if (!err && v->type != type) {
		c->p = start;
		err = ERR_SYNTAX;
	}
	return err;
}

enum err mp_read_array(struct mp_cursor *c, uint32_t *count)
{
	struct mp_value v;
	enum err err = read_type(c, MP_ARRAY, &v);

	if (!err)
		*count = v.count;
	return err;
}

enum err mp_read_map(struct mp_cursor *c, uint32_t *count)
{
	struct mp_value v;
	enum err err = read_type(c, MP_MAP, &v);

	if (!err)
		*count = v.count;
	return err;
}

enum err mp_read_str(struct mp_cursor *c, struct slice *s)
{
	struct mp_value v;
	enum err err = read_type(c, MP_STR, &v);

	if (!err)
		*s = v.bytes;
	return err;
}

enum err mp_map_get(struct slice map, struct slice key, struct slice *value)
{
	struct mp_cursor c = mp_cursor_of(map);
	struct slice found = SLICE_EMPTY;
	uint32_t count;
	enum err err = mp_read_map(&c, &count);

	for (; !err && count; count--) {
		struct slice k, name, val;

		if ((err = mp_take(&c, &k)) || (err = mp_take(&c, &val)))
			break;
		if (!mp_get_str(k, &name) && slice_eq(name, key))
			found = val;
	}
	if (err)
		return err;
	if (!found.n)
		return ERR_NOT_FOUND;
	*value = found;
	return ERR_OK;
}

enum err mp_get_int(struct slice value, int64_t min, int64_t max, int64_t *i)
{
	struct mp_cursor c = mp_cursor_of(value);
	struct mp_value v;

	assert(min <= max);
	if (mp_read(&c, &v) || c.p != c.end)
		return ERR_SYNTAX;
	if (v.type == MP_UINT)
		return ERR_RANGE;
	if (v.type == MP_DOUBLE) {
		/* -2^63 is a double, 2^63 - 1 is not: the bound above is open. */
		if (!(v.d >= (double)INT64_MIN && v.d < -(double)INT64_MIN) ||
		    v.d != trunc(v.d))
			return ERR_RANGE;
		v.i = (int64_t)v.d;
	} else if (v.type != MP_INT) {
		return ERR_SYNTAX;
	}
	if (v.i < min || v.i > max)
		return ERR_RANGE;
	*i = v.i;
	return ERR_OK;
}

enum err mp_take_int(struct mp_cursor *c, int64_t min, int64_t max, int64_t *i)
{
	struct slice value;
	enum err err = mp_take(c, &value);

	return err ? err : mp_get_int(value, min, max, i);
}

enum err mp_get_str(struct slice value, struct slice *s)
{
	struct mp_cursor c = mp_cursor_of(value);
	struct slice str;

	if (mp_read_str(&c, &str) || c.p != c.end)
		return ERR_SYNTAX;
	*s = str;
	return ERR_OK;
}

static int pack_write(void *data, const char *p, size_t n)
{
	buf_append(data, p, n);
	return 0;
}

void mp_packer(msgpack_packer *pk, struct buf *b)
{
	msgpack_packer_init(pk, b, pack_write);
}

void mp_pack_str(msgpack_packer *pk, struct slice s)
{
	assert(s.n <= UINT32_MAX);
	msgpack_pack_str(pk, s.n);
	msgpack_pack_str_body(pk, s.p, s.n);
}

void mp_pack_bin(msgpack_packer *pk, struct slice s)
{
	msgpack_pack_bin(pk, s.n);
	msgpack_pack_bin_body(pk, s.p, s.n);
}

void mp_pack_raw(msgpack_packer *pk, struct slice encoded)
{
	assert(pk->callback == pack_write);
	buf_slice(pk->data, encoded);
}
