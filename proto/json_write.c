/* Value to text: what notepack.io 3.0.1 makes of the bytes, as JSON.stringify writes it
 * once Socket.IO has replaced binaries by placeholders. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "proto/date.h"
#include "proto/json.h"
#include "proto/mem.h"
#include "proto/number.h"
#include "proto/utf8.h"

enum {
	ESCAPE_MAX = 6, /* \u001f */
	BINS_FEW = 8	/* attachments a first allocation has room for */
};

/* Extension types notepack knows. */
enum { EXT_NOTEPACK2 = 0, EXT_TIMESTAMP = -1 };

/* The first byte of a value whose length is fixed, which notepack tells apart from one of
 * the same length in the general form. */
enum { TAG_EXT8 = 0xc7, TAG_FIXEXT1 = 0xd4, TAG_FIXEXT4 = 0xd6, TAG_FIXEXT8 = 0xd7 };

struct writer {
	struct mp_cursor c;
	struct buf *out;
	struct json_bins *bins;
	unsigned depth;
};

static enum err write_value(struct writer *w);

/* Write what cannot stand in a JSON string as it is; returns the bytes of input that
 * took. Room for ESCAPE_MAX. */
static size_t put_escape(uint8_t **out, const uint8_t *p, const uint8_t *end)
{
	static const char hex[] = "0123456789abcdef";
	/* By control character: the letter of its short form. */
	static const char letters[0x20] = {
		['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};
	struct utf8_step s = utf8_step(p, end);
	uint8_t *o = *out;

	if (s.kind == UTF8_BAD) {
		*out = o + utf8_put(o, s.cp);
		return s.n;
	}
	*o++ = '\\';
	if (s.cp == '"' || s.cp == '\\') {
		*o++ = (uint8_t)s.cp;
	} else if (s.cp < 0x20 && letters[s.cp]) {
		*o++ = (uint8_t)letters[s.cp];
	} else {
		*o++ = 'u';
		for (int shift = 12; shift >= 0; shift -= 4)
			*o++ = (uint8_t)hex[s.cp >> shift & 0xf];
	}
	*out = o;
	return s.n;
}

void json_str(struct buf *out, struct slice s)
{
	const uint8_t *p = s.p, *end = s.n ? s.p + s.n : s.p;
	uint8_t *o = buf_reserve(out, s.n + 2);

	*o++ = '"';
	while (p < end) {
		const uint8_t *stop = utf8_json_span(p, end);
		size_t n = (size_t)(stop - p);

		memcpy(o, p, n);
		o += n;
		p = stop;
		if (p == end)
			break;
		out->n = (size_t)(o - out->p);
		o = buf_reserve(out, ESCAPE_MAX + (size_t)(end - p) + 1);
		p += put_escape(&o, p, end);
	}
	*o++ = '"';
	out->n = (size_t)(o - out->p);
}

static void write_int(struct buf *out, int64_t i)
{
	char *o = (char *)buf_reserve(out, NUMBER_TEXT_MAX);

	if (i >= -NUMBER_WHOLE_MAX && i <= NUMBER_WHOLE_MAX)
		buf_commit(out, number_format_int(o, i));
	else
		buf_commit(out, number_format(o, (double)i));
}

static void write_double(struct buf *out, double d)
{
	if (!isfinite(d)) {
		buf_str(out, "null");
		return;
	}
	buf_commit(out, number_format((char *)buf_reserve(out, NUMBER_TEXT_MAX), d));
}

static void write_date(struct buf *out, double ms)
{
	char text[DATE_TEXT_MAX];
	size_t n = date_format(text, ms);

	if (n)
		json_str(out, slice_of(text, n));
	else
		buf_str(out, "null");
}

static void bins_push(struct json_bins *b, struct slice bytes)
{
	if (b->n == b->cap) {
		b->cap = b->cap ? b->cap * 2 : BINS_FEW;
		b->v = mem_realloc(b->v, b->cap * sizeof(*b->v));
	}
	b->v[b->n++] = bytes;
}

/* `levels`: how much deeper than here the text gets. */
static enum err write_bin(struct writer *w, struct slice bytes, unsigned levels)
{
	uint8_t *o;

	if (!w->bins)
		return ERR_DENIED;
	if (w->depth + levels > MP_DEPTH_MAX)
		return ERR_DEPTH;
	buf_str(w->out, "{\"_placeholder\":true,\"num\":");
	o = buf_reserve(w->out, NUMBER_TEXT_MAX);
	buf_commit(w->out, number_format_int((char *)o, (int64_t)w->bins->n));
	buf_byte(w->out, '}');
	bins_push(w->bins, bytes);
	return ERR_OK;
}

static uint32_t load32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Milliseconds of a timestamp; false if `tag` begins none that notepack knows. The sums
 * are JavaScript's, in doubles and in its order, so that they round alike. */
static bool timestamp(uint8_t tag, int8_t type, struct slice b, double *ms)
{
	if (type == EXT_NOTEPACK2 && tag == TAG_FIXEXT8) {
		*ms = (double)(int32_t)load32(b.p) * 0x1p32 + (double)load32(b.p + 4);
		return true;
	}
	if (type != EXT_TIMESTAMP)
		return false;
	if (tag == TAG_FIXEXT4) {
		*ms = (double)load32(b.p) * 1e3;
		return true;
	}
	if (tag == TAG_FIXEXT8) {
		uint32_t hi = load32(b.p);
		double s = (double)(hi & 3) * 0x1p32 + (double)load32(b.p + 4);

		*ms = s * 1e3 + (double)(hi >> 2) / 1e6;
		return true;
	}
	if (tag == TAG_EXT8 && b.n == 12) {
		double s = (double)(int32_t)load32(b.p + 4) * 0x1p32 +
			   (double)load32(b.p + 8);

		*ms = s * 1e3 + (double)load32(b.p) / 1e6;
		return true;
	}
	return false;
}

static bool is_undefined(struct mp_cursor c)
{
	return c.end - c.p >= 2 && c.p[0] == TAG_FIXEXT1 && c.p[1] == EXT_NOTEPACK2;
}

static enum err write_ext(struct writer *w, uint8_t tag, const struct mp_value *v)
{
	enum err err;
	double ms;

	if (timestamp(tag, v->ext, v->bytes, &ms)) {
		write_date(w->out, ms);
		return ERR_OK;
	}
	if (v->ext == EXT_NOTEPACK2 && tag == TAG_FIXEXT1) {
		buf_str(w->out, "null");
		return ERR_OK;
	}
	/* notepack 2 wrote an ArrayBuffer so, always with a length. */
	if (v->ext == EXT_NOTEPACK2 && tag < TAG_FIXEXT1)
		return write_bin(w, v->bytes, 1);
	buf_byte(w->out, '[');
	write_int(w->out, v->ext);
	buf_byte(w->out, ',');
	err = write_bin(w, v->bytes, 2);
	buf_byte(w->out, ']');
	return err;
}

static enum err write_array(struct writer *w, uint32_t count)
{
	buf_byte(w->out, '[');
	for (uint32_t i = 0; i < count; i++) {
		enum err err;

		if (i)
			buf_byte(w->out, ',');
		err = write_value(w);
		if (err)
			return err;
	}
	buf_byte(w->out, ']');
	return ERR_OK;
}

/* A key, as JavaScript turns what is no string into a property name. */
static enum err write_key(struct writer *w)
{
	struct mp_value v;
	enum err err = mp_read(&w->c, &v);

	if (err)
		return err;
	switch (v.type) {
	case MP_STR:
	case MP_BIN:
		json_str(w->out, v.bytes);
		return ERR_OK;
	case MP_ARRAY:
	case MP_MAP:
	case MP_EXT:
		return ERR_SYNTAX;
	case MP_NIL:
		buf_str(w->out, "\"null\"");
		return ERR_OK;
	case MP_BOOL:
		buf_str(w->out, v.b ? "\"true\"" : "\"false\"");
		return ERR_OK;
	case MP_INT:
	case MP_UINT:
	case MP_DOUBLE: {
		double d = v.type == MP_INT    ? (double)v.i
			   : v.type == MP_UINT ? (double)v.u
					       : v.d;
		char text[NUMBER_TEXT_MAX];

		json_str(w->out, slice_of(text, number_format(text, d)));
		return ERR_OK;
	}
	}
	assert(false);
	return ERR_SYNTAX;
}

static enum err write_map(struct writer *w, uint32_t count)
{
	bool first = true;

	buf_byte(w->out, '{');
	for (; count; count--) {
		size_t mark = w->out->n;
		enum err err;

		if (!first)
			buf_byte(w->out, ',');
		err = write_key(w);
		if (err)
			return err;
		buf_byte(w->out, ':');
		if (is_undefined(w->c)) {
			err = mp_skip(&w->c);
			w->out->n = mark;
		} else {
			err = write_value(w);
			first = false;
		}
		if (err)
			return err;
	}
	buf_byte(w->out, '}');
	return ERR_OK;
}

static enum err write_container(struct writer *w, const struct mp_value *v)
{
	enum err err;

	if (w->depth == MP_DEPTH_MAX)
		return ERR_DEPTH;
	w->depth++;
	err = v->type == MP_MAP ? write_map(w, v->count) : write_array(w, v->count);
	w->depth--;
	return err;
}

static enum err write_value(struct writer *w)
{
	const uint8_t *tag = w->c.p;
	struct mp_value v;
	enum err err = mp_read(&w->c, &v);

	if (err)
		return err;
	switch (v.type) {
	case MP_NIL:
		buf_str(w->out, "null");
		return ERR_OK;
	case MP_BOOL:
		buf_str(w->out, v.b ? "true" : "false");
		return ERR_OK;
	case MP_INT:
		write_int(w->out, v.i);
		return ERR_OK;
	case MP_UINT:
		write_double(w->out, (double)v.u);
		return ERR_OK;
	case MP_DOUBLE:
		write_double(w->out, v.d);
		return ERR_OK;
	case MP_STR:
		json_str(w->out, v.bytes);
		return ERR_OK;
	case MP_BIN:
		return write_bin(w, v.bytes, 1);
	case MP_EXT:
		return write_ext(w, *tag, &v);
	case MP_ARRAY:
	case MP_MAP:
		return write_container(w, &v);
	}
	assert(false);
	return ERR_SYNTAX;
}

enum err mp_to_json(struct slice mp, struct buf *out, struct json_bins *bins)
{
	struct writer w = {.c = mp_cursor_of(mp), .out = out, .bins = bins};
	size_t start = out->n, bins_n = bins ? bins->n : 0;
	enum err err = write_value(&w);

	if (!err && w.c.p != w.c.end)
		err = ERR_SYNTAX;
	if (err) {
		out->n = start;
		if (bins)
			bins->n = bins_n;
	}
	return err;
}
