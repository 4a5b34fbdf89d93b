#include "proto/base64.h"

static const char alphabet[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(struct slice bytes, struct buf *out)
{
	size_t n = base64_n(bytes.n), i = 0;
	uint8_t *p = buf_reserve(out, n);

	for (; bytes.n - i >= 3; i += 3) {
		uint32_t bits = (uint32_t)bytes.p[i] << 16 |
				(uint32_t)bytes.p[i + 1] << 8 | bytes.p[i + 2];

		*p++ = (uint8_t)alphabet[bits >> 18];
		*p++ = (uint8_t)alphabet[bits >> 12 & 63];
		*p++ = (uint8_t)alphabet[bits >> 6 & 63];
		*p++ = (uint8_t)alphabet[bits & 63];
	}
	if (i < bytes.n) {
		bool two = bytes.n - i == 2;
		uint32_t bits = (uint32_t)bytes.p[i] << 16 |
				(two ? (uint32_t)bytes.p[i + 1] << 8 : 0);

		*p++ = (uint8_t)alphabet[bits >> 18];
		*p++ = (uint8_t)alphabet[bits >> 12 & 63];
		*p++ = (uint8_t)(two ? alphabet[bits >> 6 & 63] : '=');
		*p = '=';
	}
	buf_commit(out, n);
}

/* Six bits, or what is none. */
enum { PADDING = 64, SPACE, BAD };

static uint8_t value_of(uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return (uint8_t)(c - 'A');
	if (c >= 'a' && c <= 'z')
		return (uint8_t)(c - 'a' + 26);
	if (c >= '0' && c <= '9')
		return (uint8_t)(c - '0' + 52);
	switch (c) {
	case '+':
	case '-':
		return 62;
	case '/':
	case '_':
		return 63;
	case '=':
		return PADDING;
	case ' ':
	case '\t':
	case '\r':
	case '\n':
		return SPACE;
	default:
		return BAD;
	}
}

enum err base64_decode(struct slice text, struct buf *out)
{
	size_t start = out->n, digits = 0, padding = 0;
	uint8_t *p = buf_reserve(out, text.n / 4 * 3 + 3);
	uint32_t bits = 0;

	for (size_t i = 0; i < text.n; i++) {
		uint8_t value = value_of(text.p[i]);

		if (value == SPACE)
			continue;
		if (value == PADDING) {
			padding++;
			continue;
		}
		if (value == BAD || padding)
			goto bad;
		bits = bits << 6 | value;
		/* The second digit completes a byte, the third and the fourth one each.
		 */
		if (++digits % 4 != 1)
			*p++ = (uint8_t)(bits >> (6 - 2 * ((digits - 1) % 4)));
	}
	if (digits % 4 == 1 || (padding && (padding > 2 || (digits + padding) % 4)))
		goto bad;
	buf_commit(out, (size_t)(p - (out->p + start)));
	return ERR_OK;
bad:
	return ERR_SYNTAX;
}
