/* Our side of differential.mjs. Reads requests from standard input, each an operation,
 * a length of four bytes (big-endian) and that many bytes, and answers each on standard
 * output with a byte, the error (0: none), a length and that many bytes.
 *
 *   j  JSON text → MessagePack
 *   m  MessagePack → JSON text; the answer holds the text's length, the text and its
 *      attachments, each behind its length
 *   n  a double, eight bytes → Number::toString */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/json.h"
#include "proto/number.h"

static uint32_t load32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void put32(struct buf *b, size_t x)
{
	for (int shift = 24; shift >= 0; shift -= 8)
		buf_byte(b, (uint8_t)(x >> shift));
}

static void put_bytes(struct buf *b, struct slice s)
{
	put32(b, s.n);
	buf_slice(b, s);
}

static enum err answer_m(struct slice in, struct buf *out)
{
	struct json_bins bins = {NULL, 0, 0};
	struct buf text = BUF_INIT;
	enum err err = mp_to_json(in, &text, &bins);

	if (!err) {
		put_bytes(out, buf_view(&text));
		for (size_t i = 0; i < bins.n; i++)
			put_bytes(out, bins.v[i]);
	}
	buf_deinit(&text);
	json_bins_deinit(&bins);
	return err;
}

static enum err answer_n(struct slice in, struct buf *out)
{
	uint64_t bits = 0;
	double d;

	assert(in.n == sizeof(bits));
	for (size_t i = 0; i < in.n; i++)
		bits = bits << 8 | in.p[i];
	memcpy(&d, &bits, sizeof(d));
	buf_commit(out, number_format((char *)buf_reserve(out, NUMBER_TEXT_MAX), d));
	return ERR_OK;
}

static enum err answer(uint8_t op, struct slice in, struct buf *out)
{
	switch (op) {
	case 'j':
		return json_to_mp(in, NULL, out);
	case 'm':
		return answer_m(in, out);
	case 'n':
		return answer_n(in, out);
	default:
		fprintf(stderr, "operation %d: must be j, m or n\n", op);
		exit(1);
	}
}

static bool get(void *p, size_t n)
{
	return fread(p, 1, n, stdin) == n;
}

int main(void)
{
	uint8_t head[5];

	while (get(head, sizeof(head))) {
		size_t n = load32(head + 1);
		/* Its own block, so that the sanitizer sees a read behind its end. */
		uint8_t *in = malloc(n ? n : 1);
		struct buf out = BUF_INIT, framed = BUF_INIT;

		if (!in || !get(in, n)) {
			fprintf(stderr, "request ends too early\n");
			return 1;
		}
		buf_byte(&framed, (uint8_t)answer(head[0], slice_of(in, n), &out));
		put_bytes(&framed, buf_view(&out));
		if (fwrite(framed.p, 1, framed.n, stdout) != framed.n)
			return 1;
		free(in);
		buf_deinit(&out);
		buf_deinit(&framed);
	}
	return fflush(stdout) ? 1 : 0;
}
