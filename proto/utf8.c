#include "proto/utf8.h"

#include <assert.h>
#include <endian.h>

struct utf8_step utf8_step(const uint8_t *p, const uint8_t *end)
{
	const struct utf8_step bad = {UTF8_BAD, 1, 0xfffd};
	uint8_t lead = *p, lo = 0x80, hi = 0xbf, n, i;
	struct utf8_step s = {UTF8_CHAR, 1, lead};

	assert(p < end);
	if (lead < 0x80)
		return s;
	if (lead < 0xc2 || lead > 0xf4)
		return bad;
	n = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
	/* Overlong forms and what lies beyond U+10FFFF show in the second byte. */
	if (lead == 0xe0)
		lo = 0xa0;
	else if (lead == 0xf0)
		lo = 0x90;
	else if (lead == 0xf4)
		hi = 0x8f;
	s.cp = lead & (0x7fu >> n);
	for (i = 1; i < n; i++) {
		if (p + i == end || p[i] < lo || p[i] > hi)
			break;
		s.cp = s.cp << 6 | (p[i] & 0x3f);
		lo = 0x80;
		hi = 0xbf;
	}
	if (lead == 0xed && i > 1 && p[1] >= 0xa0) {
		/* Not well-formed from its second byte on, unless whole: a surrogate. */
		if (i < n)
			return bad;
		s.kind = UTF8_SURROGATE;
	} else if (i < n) {
		return (struct utf8_step){UTF8_BAD, i, 0xfffd};
	}
	s.n = n;
	return s;
}

bool utf8_ok(struct slice s)
{
	const uint8_t *p = s.p, *end;

	if (!s.n)
		return true; /* p may be NULL */
	end = s.p + s.n;
	while (p < end) {
		struct utf8_step step = utf8_step(p, end);

		if (step.kind != UTF8_CHAR)
			return false;
		p += step.n;
	}
	return true;
}

size_t utf8_utf16_n(struct slice s)
{
	size_t n = 0;

	/* One for each first byte of a sequence, and one more for the longest. */
	for (size_t i = 0; i < s.n; i++)
		n += (size_t)((s.p[i] & 0xc0) != 0x80) + (size_t)(s.p[i] >= 0xf0);
	return n;
}

size_t utf8_put(uint8_t *p, uint32_t cp)
{
	assert(cp <= 0x10ffff);
	if (cp < 0x80) {
		p[0] = (uint8_t)cp;
		return 1;
	}
	if (cp < 0x800) {
		p[0] = (uint8_t)(0xc0 | cp >> 6);
		p[1] = (uint8_t)(0x80 | (cp & 0x3f));
		return 2;
	}
	if (cp < 0x10000) {
		p[0] = (uint8_t)(0xe0 | cp >> 12);
		p[1] = (uint8_t)(0x80 | (cp >> 6 & 0x3f));
		p[2] = (uint8_t)(0x80 | (cp & 0x3f));
		return 3;
	}
	p[0] = (uint8_t)(0xf0 | cp >> 18);
	p[1] = (uint8_t)(0x80 | (cp >> 12 & 0x3f));
	p[2] = (uint8_t)(0x80 | (cp >> 6 & 0x3f));
	p[3] = (uint8_t)(0x80 | (cp & 0x3f));
	return 4;
}

#define EACH_BYTE(x) (UINT64_C(0x0101010101010101) * (x))

/* The high bit of each byte of `v` that is not plain ASCII of a JSON string. Borrows can
 * mark a byte above a marked one too, so only the lowest mark is to be trusted. */
static inline uint64_t special_bytes(uint64_t v)
{
	uint64_t quote = v ^ EACH_BYTE('"'), backslash = v ^ EACH_BYTE('\\');

	return (v | (v - EACH_BYTE(0x20)) | (quote - EACH_BYTE(1)) |
		(backslash - EACH_BYTE(1))) &
	       EACH_BYTE(0x80);
}

static const uint8_t *ascii_span(const uint8_t *p, const uint8_t *end)
{
	while (end - p >= 8) {
		uint64_t v, marks;

		memcpy(&v, p, sizeof(v));
		marks = special_bytes(le64toh(v));
		if (marks)
			return p + __builtin_ctzll(marks) / 8;
		p += 8;
	}
	while (p < end && *p >= 0x20 && *p < 0x80 && *p != '"' && *p != '\\')
		p++;
	return p;
}

static inline bool follows(uint8_t c)
{
	return (c & 0xc0) == 0x80;
}

/* The length of the well-formed sequence of two bytes or more at `p`, or 0. The same as
 * utf8_step finds, by fewer branches: text that is not ASCII goes through here. */
static inline size_t sequence(const uint8_t *p, const uint8_t *end)
{
	size_t left = (size_t)(end - p);

	if (*p < 0xc2)
		return 0;
	if (*p < 0xe0)
		return left >= 2 && follows(p[1]) ? 2 : 0;
	if (*p < 0xf0) {
		if (left < 3 || !follows(p[1]) || !follows(p[2]))
			return 0;
		/* No overlong forms, no surrogates. */
		return (*p != 0xe0 || p[1] >= 0xa0) && (*p != 0xed || p[1] < 0xa0) ? 3
										   : 0;
	}
	if (left < 4 || !follows(p[1]) || !follows(p[2]) || !follows(p[3]))
		return 0;
	/* No overlong forms, nothing beyond U+10FFFF. */
	return (*p != 0xf0 || p[1] >= 0x90) && (*p < 0xf4 || (*p == 0xf4 && p[1] < 0x90))
		       ? 4
		       : 0;
}

const uint8_t *utf8_json_span(const uint8_t *p, const uint8_t *end)
{
	for (;;) {
		p = ascii_span(p, end);
		if (p == end || *p < 0x80)
			return p;
		/* Text that is not ASCII rarely has just one such character. */
		do {
			size_t n = sequence(p, end);

			if (!n)
				return p;
			p += n;
		} while (p < end && *p >= 0x80);
	}
}
