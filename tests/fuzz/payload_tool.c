/* Our side of payload_differential.mjs. Reads requests from standard input, each an
 * operation, a format as a byte, a length of four bytes (big-endian) and that many bytes,
 * and answers each on standard output with a length and that many bytes.
 *
 *   d  a body. The answer says of each packet 't' or 'b', its length in four bytes and
 * its bytes, and ends with 'e' if one was refused. e  packets as d answers them → the
 * payload */
#include <stdio.h>
#include <stdlib.h>

#include "proto/payload.h"
#include "proto/ws.h"

static uint32_t load(const uint8_t p[4])
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void put_bytes(struct buf *b, struct slice s)
{
	for (int shift = 24; shift >= 0; shift -= 8)
		buf_byte(b, (uint8_t)(s.n >> shift));
	buf_slice(b, s);
}

static struct slice take(struct slice *in, size_t n)
{
	struct slice head = slice_of(in->p, n);

	if (n > in->n) {
		fprintf(stderr, "request ends too early\n");
		exit(1);
	}
	*in = slice_skip(*in, n);
	return head;
}

static void decode(enum payload_format format, struct slice body, struct buf *out)
{
	struct payload_reader r;
	struct payload_packet packet;
	struct buf scratch = BUF_INIT;
	bool more = true;

	payload_reader_init(&r, format, body);
	while (more) {
		if (payload_next(&r, &scratch, &packet, &more)) {
			buf_byte(out, 'e');
			break;
		}
		if (more) {
			buf_byte(out, packet.binary ? 'b' : 't');
			put_bytes(out, packet.bytes);
		}
	}
	buf_deinit(&scratch);
}

static void encode(enum payload_format format, struct slice in, struct buf *out)
{
	struct buf frames = BUF_INIT, bytes = BUF_INIT;

	while (in.n) {
		bool binary = take(&in, 1).p[0] == 'b';

		buf_clear(&bytes);
		if (binary && format != PAYLOAD_V4)
			buf_byte(&bytes, 4);
		buf_slice(&bytes, take(&in, load(take(&in, 4).p)));
		ws_append(&frames, binary ? WS_BINARY : WS_TEXT, buf_view(&bytes));
	}
	payload_append(out, format, buf_view(&frames));
	buf_deinit(&frames);
	buf_deinit(&bytes);
}

static bool get(void *p, size_t n)
{
	return fread(p, 1, n, stdin) == n;
}

int main(void)
{
	uint8_t head[6];

	while (get(head, sizeof(head))) {
		size_t n = load(head + 2);
		/* Its own block, so that the sanitizer sees a read behind its end. */
		uint8_t *in = malloc(n ? n : 1);
		struct buf out = BUF_INIT, framed = BUF_INIT;

		if (!in || !get(in, n) || head[1] > PAYLOAD_V3_BINARY) {
			fprintf(stderr, "request ends too early, or of no format\n");
			return 1;
		}
		if (head[0] == 'd')
			decode((enum payload_format)head[1], slice_of(in, n), &out);
		else
			encode((enum payload_format)head[1], slice_of(in, n), &out);
		put_bytes(&framed, buf_view(&out));
		if (fwrite(framed.p, 1, framed.n, stdout) != framed.n)
			return 1;
		free(in);
		buf_deinit(&out);
		buf_deinit(&framed);
	}
	return fflush(stdout) ? 1 : 0;
}
