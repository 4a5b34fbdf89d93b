/* Text to value. One pass: values are appended as they are read. How many elements an
 * array has is known at its end only; its header is then one byte of the right kind, and
 * those that need three or five bytes are widened together in one sweep at the end, so
 * that each byte moves at most once however deep arrays are nested. */
#include "proto/json.h"

#include <assert.h>
#include <stdlib.h>

#include "proto/mem.h"
#include "proto/number.h"
#include "proto/utf8.h"

enum {
	WIDE_FEW = 16,	  /* wide headers before memory is needed to note them */
	FIX_COUNT = 16,	  /* counts below fit the one-byte header */
	HEAD_MAX = 5,	  /* the longest header of a string, array or map */
	SCALAR_MAX = 9,	  /* the longest number */
	SHORT_DIGITS = 15 /* far below 2^53 */
};

/* A header at `at` bytes into the output that must grow. */
struct wide {
	size_t at;
	uint32_t count;
	bool map;
};

struct parser {
	const uint8_t *p, *end;
	struct buf *out;
	const struct json_bins *bins;
	size_t bin_bytes; /* of attachments, that placeholders may still ask for */
	unsigned depth;
	struct wide *wide;
	size_t wide_n, wide_cap;
	struct wide few[WIDE_FEW];
};

/* What the object being read would stand for if it is a placeholder. */
struct placeholder {
	bool is, has_num;
	size_t num;
};

static enum err read_value(struct parser *s);

static void skip_space(struct parser *s)
{
	while (s->p < s->end &&
	       (*s->p == ' ' || *s->p == '\n' || *s->p == '\r' || *s->p == '\t'))
		s->p++;
}

/* Step over `c`, which may stand behind white space. */
static bool take_char(struct parser *s, uint8_t c)
{
	if (s->p == s->end || *s->p != c) {
		skip_space(s);
		if (s->p == s->end || *s->p != c)
			return false;
	}
	s->p++;
	return true;
}

static size_t put_be(uint8_t *p, uint8_t tag, uint64_t x, size_t width)
{
	p[0] = tag;
	for (size_t i = width; i > 0; i--, x >>= 8)
		p[i] = (uint8_t)x;
	return width + 1;
}

static size_t put_str_head(uint8_t *p, size_t n)
{
	if (n < 0x20) {
		*p = (uint8_t)(0xa0 | n);
		return 1;
	}
	if (n < 0x100)
		return put_be(p, 0xd9, n, 1);
	return n < 0x10000 ? put_be(p, 0xda, n, 2) : put_be(p, 0xdb, n, 4);
}

static bool read_hex4(struct parser *s, uint32_t *unit)
{
	uint32_t x = 0;

	if (s->end - s->p < 4)
		return false;
	for (int i = 0; i < 4; i++) {
		uint8_t c = s->p[i], digit = (uint8_t)(c - '0');

		if (digit > 9) {
			digit = (uint8_t)((c | 0x20) - 'a');
			if (digit > 5)
				return false;
			digit = (uint8_t)(digit + 10);
		}
		x = x << 4 | digit;
	}
	s->p += 4;
	*unit = x;
	return true;
}

/* Behind "\u": a character, from two escapes if they are a surrogate pair. */
static bool read_unicode(struct parser *s, uint32_t *cp)
{
	const uint8_t *mark;
	uint32_t low;

	if (!read_hex4(s, cp))
		return false;
	if ((*cp & 0xfc00) != 0xd800 || s->end - s->p < 2 || s->p[0] != '\\' ||
	    s->p[1] != 'u')
		return true;
	mark = s->p;
	s->p += 2;
	if (!read_hex4(s, &low))
		return false;
	if ((low & 0xfc00) == 0xdc00)
		*cp = 0x10000 + ((*cp & 0x3ff) << 10 | (low & 0x3ff));
	else
		s->p = mark;
	return true;
}

/* Behind a backslash: the character it stands for. */
static bool read_escape(struct parser *s, uint32_t *cp)
{
	if (s->p == s->end)
		return false;
	switch (*s->p++) {
	case '"':
		*cp = '"';
		return true;
	case '\\':
		*cp = '\\';
		return true;
	case '/':
		*cp = '/';
		return true;
	case 'b':
		*cp = '\b';
		return true;
	case 'f':
		*cp = '\f';
		return true;
	case 'n':
		*cp = '\n';
		return true;
	case 'r':
		*cp = '\r';
		return true;
	case 't':
		*cp = '\t';
		return true;
	case 'u':
		return read_unicode(s, cp);
	default:
		return false;
	}
}

/* How long the string that begins at `p` can be: up to its closing quote. */
static bool string_bound(const uint8_t *p, const uint8_t *end, size_t *n)
{
	size_t i = 0, all = (size_t)(end - p);

	while (i < all && p[i] != '"')
		i += p[i] == '\\' ? 2 : 1;
	if (i >= all)
		return false;
	*n = i;
	return true;
}

/* The rest of a string whose first escape is at `stop`. It gets shorter by escapes only,
 * so the header can be no longer than that of the text. */
static enum err read_escaped(struct parser *s, const uint8_t *stop)
{
	size_t bound, head, n = 0;
	uint8_t *start, *o;

	if (!string_bound(s->p, s->end, &bound))
		return ERR_SYNTAX;
	start = buf_reserve(s->out, HEAD_MAX + bound);
	head = put_str_head(start, bound);
	o = start + head;
	for (;;) {
		size_t plain = (size_t)(stop - s->p);
		uint32_t cp;

		memcpy(o + n, s->p, plain);
		n += plain;
		assert(stop < s->end);
		s->p = stop + 1;
		if (*stop == '"')
			break;
		if (*stop != '\\' || !read_escape(s, &cp))
			return ERR_SYNTAX;
		n += utf8_put(o + n, cp);
		assert(n <= bound);
		stop = utf8_json_span(s->p, s->end);
	}
	head = put_str_head(start, n);
	if (start + head != o)
		memmove(start + head, o, n);
	buf_commit(s->out, head + n);
	return ERR_OK;
}

/* Behind the opening quote. */
static enum err read_string(struct parser *s)
{
	const uint8_t *stop = utf8_json_span(s->p, s->end);
	size_t n = (size_t)(stop - s->p), head;
	uint8_t *o;

	if (stop == s->end)
		return ERR_SYNTAX;
	if (*stop != '"')
		return *stop == '\\' ? read_escaped(s, stop) : ERR_SYNTAX;
	o = buf_reserve(s->out, HEAD_MAX + n);
	head = put_str_head(o, n);
	memcpy(o + head, s->p, n);
	buf_commit(s->out, head + n);
	s->p = stop + 1;
	return ERR_OK;
}

static void put_int(struct buf *out, int64_t i)
{
	uint8_t *o = buf_reserve(out, SCALAR_MAX);
	uint64_t m = (uint64_t)i;
	size_t n;

	if (i >= -0x20 && i < 0x80) {
		*o = (uint8_t)i;
		n = 1;
	} else if (i >= 0) {
		n = m < 0x100	      ? put_be(o, 0xcc, m, 1)
		    : m < 0x10000     ? put_be(o, 0xcd, m, 2)
		    : m <= UINT32_MAX ? put_be(o, 0xce, m, 4)
				      : put_be(o, 0xcf, m, 8);
	} else {
		n = i >= INT8_MIN    ? put_be(o, 0xd0, m, 1)
		    : i >= INT16_MIN ? put_be(o, 0xd1, m, 2)
		    : i >= INT32_MIN ? put_be(o, 0xd2, m, 4)
				     : put_be(o, 0xd3, m, 8);
	}
	buf_commit(out, n);
}

/* Most numbers are whole and short. False, with nothing read, if this one is not. */
static bool read_short_int(struct parser *s)
{
	const uint8_t *p = s->p, *end = s->end, *first;
	bool negative = *p == '-';
	int64_t i = 0;

	p += negative;
	if (end - p > SHORT_DIGITS + 1)
		end = p + SHORT_DIGITS + 1;
	for (first = p; p < end && (uint8_t)(*p - '0') < 10; p++)
		i = i * 10 + (*p - '0');
	/* What may follow a number that is over; -0 and leading zeros are for others. */
	if (p == end || (*p != ',' && *p != ']' && *p != '}') || p == first ||
	    (*first == '0' && (negative || p - first > 1)))
		return false;
	put_int(s->out, negative ? -i : i);
	s->p = p;
	return true;
}

static enum err read_number(struct parser *s)
{
	struct number x;
	size_t n = number_parse(s->p, s->end, &x);
	uint64_t bits;

	if (!n)
		return ERR_SYNTAX;
	s->p += n;
	if (x.whole) {
		put_int(s->out, x.i);
		return ERR_OK;
	}
	memcpy(&bits, &x.d, sizeof(bits));
	buf_commit(s->out, put_be(buf_reserve(s->out, SCALAR_MAX), 0xcb, bits, 8));
	return ERR_OK;
}

static enum err read_word(struct parser *s, struct slice word, uint8_t tag)
{
	if (!slice_starts(slice_of(s->p, (size_t)(s->end - s->p)), word))
		return ERR_SYNTAX;
	s->p += word.n;
	buf_byte(s->out, tag);
	return ERR_OK;
}

/* The header reserved `at` bytes into the output. */
static void close_container(struct parser *s, size_t at, uint32_t count, bool map)
{
	uint8_t tag = map ? 0x80 : 0x90;

	if (count < FIX_COUNT) {
		s->out->p[at] = (uint8_t)(tag | count);
		return;
	}
	s->out->p[at] = tag;
	if (s->wide_n == s->wide_cap) {
		struct wide *old = s->wide == s->few ? NULL : s->wide;

		s->wide_cap *= 2;
		s->wide = mem_realloc(old, s->wide_cap * sizeof(*s->wide));
		if (!old)
			memcpy(s->wide, s->few, sizeof(s->few));
	}
	s->wide[s->wide_n++] = (struct wide){at, count, map};
}

/* Behind the opening bracket. */
static enum err read_array(struct parser *s)
{
	size_t at = s->out->n;
	uint32_t count = 0;

	buf_byte(s->out, 0);
	if (!take_char(s, ']')) {
		do {
			enum err err = read_value(s);

			if (err)
				return err;
			count++;
		} while (take_char(s, ','));
		if (!take_char(s, ']'))
			return ERR_SYNTAX;
	}
	close_container(s, at, count, false);
	return ERR_OK;
}

/* An object's value begins at `at` and its key, a string, at `key`: is it one of the two
 * members of a placeholder? The last of equal keys counts, as in JavaScript. */
static void note_member(const struct parser *s, struct placeholder *ph, size_t key,
			size_t at)
{
	const struct buf *out = s->out;
	struct slice name = slice_of(out->p + key + 1, at - key - 1);
	struct slice value = slice_of(out->p + at, out->n - at);
	int64_t num;

	/* Both names are short: their header is one byte. */
	if (slice_eq(name, SLICE_LIT("_placeholder"))) {
		ph->is = value.p[0] == 0xc3;
	} else if (slice_eq(name, SLICE_LIT("num"))) {
		ph->has_num = mp_get_int(value, 0, UINT32_MAX, &num) == ERR_OK;
		ph->num = ph->has_num ? (size_t)num : 0;
	}
}

/* Replace what was written from `at` on by the attachment. */
static enum err put_attachment(struct parser *s, const struct placeholder *ph, size_t at)
{
	struct slice bin;
	uint8_t *o;
	size_t head;

	if (!ph->has_num || ph->num >= s->bins->n)
		return ERR_RANGE;
	bin = s->bins->v[ph->num];
	if (bin.n > s->bin_bytes)
		return ERR_RANGE;
	assert(bin.n <= UINT32_MAX);
	s->bin_bytes -= bin.n;
	s->out->n = at;
	o = buf_reserve(s->out, HEAD_MAX + bin.n);
	head = bin.n < 0x100	 ? put_be(o, 0xc4, bin.n, 1)
	       : bin.n < 0x10000 ? put_be(o, 0xc5, bin.n, 2)
				 : put_be(o, 0xc6, bin.n, 4);
	buf_commit(s->out, head);
	buf_slice(s->out, bin);
	return ERR_OK;
}

static enum err read_member(struct parser *s, struct placeholder *ph)
{
	size_t key = s->out->n, at;
	enum err err;

	if (!take_char(s, '"'))
		return ERR_SYNTAX;
	err = read_string(s);
	if (err)
		return err;
	if (!take_char(s, ':'))
		return ERR_SYNTAX;
	at = s->out->n;
	err = read_value(s);
	if (!err && s->bins)
		note_member(s, ph, key, at);
	return err;
}

/* Behind the opening brace. */
static enum err read_object(struct parser *s)
{
	size_t at = s->out->n, wide_n = s->wide_n;
	struct placeholder ph = {false, false, 0};
	uint32_t count = 0;

	buf_byte(s->out, 0);
	if (!take_char(s, '}')) {
		do {
			enum err err = read_member(s, &ph);

			if (err)
				return err;
			count++;
		} while (take_char(s, ','));
		if (!take_char(s, '}'))
			return ERR_SYNTAX;
	}
	if (ph.is) {
		s->wide_n = wide_n;
		return put_attachment(s, &ph, at);
	}
	close_container(s, at, count, true);
	return ERR_OK;
}

/* Behind the bracket or brace `open`. */
static enum err read_container(struct parser *s, uint8_t open)
{
	enum err err;

	if (s->depth == MP_DEPTH_MAX)
		return ERR_DEPTH;
	s->depth++;
	err = open == '[' ? read_array(s) : read_object(s);
	s->depth--;
	return err;
}

static enum err read_value(struct parser *s)
{
	uint8_t c;

	skip_space(s);
	if (s->p == s->end)
		return ERR_SYNTAX;
	c = *s->p;
	switch (c) {
	case '"':
		s->p++;
		return read_string(s);
	case '[':
	case '{':
		s->p++;
		return read_container(s, c);
	case 't':
		return read_word(s, SLICE_LIT("true"), 0xc3);
	case 'f':
		return read_word(s, SLICE_LIT("false"), 0xc2);
	case 'n':
		return read_word(s, SLICE_LIT("null"), 0xc0);
	default:
		return read_short_int(s) ? ERR_OK : read_number(s);
	}
}

static int wide_order(const void *a, const void *b)
{
	size_t x = ((const struct wide *)a)->at, y = ((const struct wide *)b)->at;

	return (x > y) - (x < y);
}

static size_t wide_extra(const struct wide *w)
{
	return w->count < 0x10000 ? 2 : 4;
}

/* Give the noted headers their size, from the last to the first. */
static void widen(struct parser *s)
{
	size_t extra = 0, end = s->out->n;

	if (!s->wide_n)
		return;
	qsort(s->wide, s->wide_n, sizeof(*s->wide), wide_order);
	for (size_t i = 0; i < s->wide_n; i++)
		extra += wide_extra(&s->wide[i]);
	buf_reserve(s->out, extra);
	buf_commit(s->out, extra);
	for (size_t i = s->wide_n; i > 0; i--) {
		const struct wide *w = &s->wide[i - 1];
		uint8_t *at = s->out->p + w->at, *to;
		size_t width = wide_extra(w);

		assert(w->at < end);
		memmove(at + 1 + extra, at + 1, end - w->at - 1);
		extra -= width;
		to = at + extra;
		put_be(to, (uint8_t)((w->map ? 0xde : 0xdc) + (width == 4)), w->count,
		       width);
		end = w->at;
	}
	assert(extra == 0);
}

enum err json_to_mp(struct slice json, const struct json_bins *bins, struct buf *out)
{
	struct parser s = {.p = json.p, .out = out, .bins = bins};
	size_t start = out->n;
	enum err err;

	if (json.n > JSON_BYTES_MAX)
		return ERR_TOO_BIG;
	if (json.n == 0)
		return ERR_SYNTAX;
	s.end = json.p + json.n;
	s.wide = s.few;
	s.wide_cap = WIDE_FEW;
	for (size_t i = 0; bins && i < bins->n; i++)
		s.bin_bytes += bins->v[i].n;
	err = read_value(&s);
	if (!err) {
		skip_space(&s);
		if (s.p != s.end)
			err = ERR_SYNTAX;
	}
	if (err)
		out->n = start;
	else
		widen(&s);
	if (s.wide != s.few)
		free(s.wide);
	return err;
}

void json_bins_deinit(struct json_bins *b)
{
	free(b->v);
	*b = (struct json_bins){NULL, 0, 0};
}
