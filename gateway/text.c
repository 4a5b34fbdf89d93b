#include "gateway/text.h"

size_t text_char(struct slice s, uint32_t *code)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	uint32_t c;
	size_t n;

	if (s.n == 0)
		return 0;
	c = s.p[0];
	n = c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
	if (n > s.n || (n > 1 && (c < 0xc2 || c > 0xf4)))
		return 0;
	if (n > 1)
		c &= 0x7fU >> n;
	for (size_t i = 1; i < n; i++) {
		if ((s.p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s.p[i] & 0x3f);
	}
	if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	if (code)
		*code = c;
	return n;
}

bool text_is_control(uint32_t code)
{
	return code < 0x20 || (code >= 0x7f && code <= 0x9f);
}

bool text_is_plain(struct slice s)
{
	while (s.n) {
		uint32_t code;
		size_t n = text_char(s, &code);

		if (n == 0 || text_is_control(code))
			return false;
		s = slice_skip(s, n);
	}
	return true;
}

static void quote_control(struct buf *out, uint32_t code)
{
	switch (code) {
	case '\n':
		buf_str(out, "\\n");
		return;
	case '\r':
		buf_str(out, "\\r");
		return;
	case '\t':
		buf_str(out, "\\t");
		return;
	default:
		buf_printf(out, "\\u%04x", code);
	}
}

void text_quote(struct buf *out, struct slice s, size_t max)
{
	const size_t whole = s.n;

	buf_byte(out, '"');
	while (s.n) {
		uint32_t code = 0;
		size_t n = text_char(s, &code);

		if (whole - s.n + (n ? n : 1) > max) {
			buf_str(out, "…");
			break;
		}
		if (n == 0) {
			buf_str(out, "\uFFFD");
			n = 1;
		} else if (text_is_control(code)) {
			quote_control(out, code);
		} else {
			if (code == '"' || code == '\\')
				buf_byte(out, '\\');
			buf_append(out, s.p, n);
		}
		s = slice_skip(s, n);
	}
	buf_byte(out, '"');
}
