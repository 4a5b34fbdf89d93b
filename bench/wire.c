#include "bench/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum { HEAD_MAX = 16384, LINE_MAX_ = 1024 };

/* The key of RFC 6455's example and the answer it must get. */
#define WS_KEY	  "dGhlIHNhbXBsZSBub25jZQ=="
#define WS_ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

/* --- HTTP --- */

struct head {
	bool has_length, chunked;
	uint64_t length;
};

/* One header line, without its end. */
static enum err read_header(const char *line, struct wire_response *r, struct head *head)
{
	const char *colon = strchr(line, ':'), *value;
	char *end;

	if (!colon)
		return ERR_SYNTAX;
	value = colon + 1 + strspn(colon + 1, " \t");
	if (strncasecmp(line, "content-length:", 15) == 0) {
		head->length = strtoull(value, &end, 10);
		head->has_length = end != value && !*end;
		return head->has_length ? ERR_OK : ERR_SYNTAX;
	}
	if (strncasecmp(line, "transfer-encoding:", 18) == 0)
		head->chunked = true;
	else if (strncasecmp(line, "connection:", 11) == 0)
		r->close = strcasecmp(value, "close") == 0;
	else if (strncasecmp(line, "sec-websocket-accept:", 21) == 0)
		r->websocket = strcmp(value, WS_ACCEPT) == 0;
	return ERR_OK;
}

static enum err read_lines(struct slice text, struct wire_response *r, struct head *head)
{
	char line[LINE_MAX_];

	for (bool first = true; text.n > 0; first = false) {
		const uint8_t *end = memmem(text.p, text.n, "\r\n", 2);
		size_t n = (size_t)(end - text.p), kept = n;
		enum err err = ERR_OK;

		if (kept >= sizeof(line))
			kept = sizeof(line) - 1; /* of a header nobody looks at */
		memcpy(line, text.p, kept);
		line[kept] = 0;
		if (first) {
			if (sscanf(line, "HTTP/1.%*1[01] %d", &r->status) != 1)
				return ERR_SYNTAX;
		} else {
			err = read_header(line, r, head);
		}
		if (err != ERR_OK)
			return err;
		text = slice_skip(text, n + 2);
	}
	return ERR_OK;
}

enum err wire_response(struct slice in, struct wire_response *r)
{
	const uint8_t *end =
		memmem(in.p, in.n < HEAD_MAX ? in.n : HEAD_MAX, "\r\n\r\n", 4);
	struct wire_response found = {0};
	struct head head = {0};
	size_t head_n;
	enum err err;

	if (in.n >= 5 && memcmp(in.p, "HTTP/", 5) != 0)
		return ERR_SYNTAX;
	if (!end)
		return in.n < HEAD_MAX ? ERR_TRUNCATED : ERR_TOO_BIG;
	head_n = (size_t)(end - in.p) + 4;
	err = read_lines(slice_of(in.p, head_n - 2), &found, &head);
	if (err != ERR_OK)
		return err;
	if (found.status != 101 && (head.chunked || !head.has_length)) {
		if (found.status == 200)
			return ERR_SYNTAX;
		found.close = true; /* that it failed is enough to know */
		head.length = 0;
	}
	if (head.length > WIRE_BODY_MAX)
		return ERR_TOO_BIG;
	if (found.status == 101)
		head.length = 0;
	else
		found.websocket = false;
	if (in.n - head_n < head.length)
		return ERR_TRUNCATED;
	found.body = slice_of(in.p + head_n, (size_t)head.length);
	found.bytes = head_n + (size_t)head.length;
	*r = found;
	return ERR_OK;
}

void wire_get(struct buf *out, const char *host, const char *path, const char *query)
{
	buf_printf(out, "GET %s%s HTTP/1.1\r\nHost: %s\r\n\r\n", path, query, host);
}

void wire_post(struct buf *out, const char *host, const char *path, const char *query,
	       struct slice body)
{
	buf_printf(
		out,
		"POST %s%s HTTP/1.1\r\nHost: %s\r\n"
		"Content-Type: text/plain;charset=UTF-8\r\nContent-Length: %zu\r\n\r\n",
		path, query, host, body.n);
	buf_slice(out, body);
}

void wire_upgrade(struct buf *out, const char *host, const char *path, const char *query)
{
	buf_printf(out,
		   "GET %s%s HTTP/1.1\r\nHost: %s\r\n"
		   "Connection: Upgrade\r\nUpgrade: websocket\r\n"
		   "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " WS_KEY "\r\n\r\n",
		   path, query, host);
}

/* --- WebSocket --- */

void wire_frame(struct buf *out, enum wire_opcode opcode, uint32_t mask,
		struct slice payload)
{
	uint8_t key[4];
	uint8_t *p;

	memcpy(key, &mask, sizeof(key));
	buf_byte(out, (uint8_t)(0x80 | opcode));
	if (payload.n < 126) {
		buf_byte(out, (uint8_t)(0x80 | payload.n));
	} else {
		size_t width = payload.n <= UINT16_MAX ? 2 : 8;

		buf_byte(out, width == 2 ? 0x80 | 126 : 0x80 | 127);
		for (size_t i = width; i > 0; i--)
			buf_byte(out, (uint8_t)((uint64_t)payload.n >> 8 * (i - 1)));
	}
	buf_append(out, key, sizeof(key));
	p = buf_reserve(out, payload.n);
	for (size_t i = 0; i < payload.n; i++)
		p[i] = payload.p[i] ^ key[i % 4];
	buf_commit(out, payload.n);
}

enum err wire_take_frame(struct slice in, struct wire_frame *f)
{
	size_t width = 0;
	uint64_t n;

	if (in.n < 2)
		return ERR_TRUNCATED;
	if (in.p[0] & 0x70 || in.p[1] & 0x80)
		return ERR_SYNTAX;
	n = in.p[1];
	if (n > 125)
		width = n == 126 ? 2 : 8;
	if (in.n < 2 + width)
		return ERR_TRUNCATED;
	for (size_t i = 0; i < width; i++)
		n = (i ? n << 8 : 0) | in.p[2 + i];
	if (n > WIRE_BODY_MAX)
		return ERR_TOO_BIG;
	if (in.n - 2 - width < n)
		return ERR_TRUNCATED;
	f->opcode = (enum wire_opcode)(in.p[0] & 0x0f);
	f->last = in.p[0] & 0x80;
	f->payload = slice_of(in.p + 2 + width, (size_t)n);
	f->bytes = 2 + width + (size_t)n;
	return ERR_OK;
}
