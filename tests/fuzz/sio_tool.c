/* Our side of sio_differential.mjs and sio_msgpack_differential.mjs. Reads requests from
 * standard input, each an operation, a length of four bytes (big-endian) and that many
 * bytes, and answers each on standard output with a length and that many bytes. Inside,
 * what has a length stands behind it.
 *
 *   d  messages, each 't' or 'b' and its bytes, for one decoder. The answer says of each
 *      'w' (more is due), 'p' and the packet, or 'e' and the error, which is the last.
 *   e  a packet → 0, its text and its attachments; or the error
 *   m  a message of the msgpack parser → 'p' and the packet, or 'e' and the error
 *   w  a packet → 0 and its message of the msgpack parser, or the error
 *
 * A packet is its type, 1 if it has an id or 0, the id in eight bytes, nsp, data. */
#include <stdio.h>
#include <stdlib.h>

#include "proto/sio_msgpack.h"

static const struct sio_limits limits = {.attachments_max = 10, .bytes_max = 1000000};

static uint64_t load(const uint8_t *p, size_t width)
{
	uint64_t x = 0;

	for (size_t i = 0; i < width; i++)
		x = x << 8 | p[i];
	return x;
}

static void put(struct buf *b, uint64_t x, size_t width)
{
	for (size_t i = width; i > 0; i--)
		buf_byte(b, (uint8_t)(x >> (8 * (i - 1))));
}

static void put_bytes(struct buf *b, struct slice s)
{
	put(b, s.n, 4);
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

static struct slice take_bytes(struct slice *in)
{
	return take(in, (size_t)load(take(in, 4).p, 4));
}

static void put_packet(struct buf *out, const struct sio_packet *packet)
{
	put(out, packet->type, 1);
	put(out, packet->has_id, 1);
	put(out, packet->id, 8);
	put_bytes(out, packet->nsp);
	put_bytes(out, packet->data);
}

static void decode(struct slice in, struct buf *out)
{
	struct sio_decoder *d = sio_decoder_new();
	struct buf scratch = BUF_INIT;
	enum err err = ERR_OK;

	while (in.n && !err) {
		bool binary = take(&in, 1).p[0] == 'b', complete = false;
		struct slice s = take_bytes(&in);
		struct sio_packet packet;

		err = binary ? sio_decode_binary(d, &limits, s, &scratch, &packet,
						 &complete)
			     : sio_decode_text(d, &limits, s, &scratch, &packet,
					       &complete);
		buf_byte(out, err ? 'e' : complete ? 'p' : 'w');
		if (err)
			put(out, err, 1);
		else if (complete)
			put_packet(out, &packet);
	}
	sio_decoder_free(d);
	buf_deinit(&scratch);
}

static void decode_msgpack(struct slice in, struct buf *out)
{
	struct sio_packet packet;
	enum err err = sio_msgpack_decode(&limits, in, &packet);

	buf_byte(out, err ? 'e' : 'p');
	if (err)
		put(out, err, 1);
	else
		put_packet(out, &packet);
}

static struct sio_packet take_packet(struct slice in)
{
	struct sio_packet packet = {.type = take(&in, 1).p[0]};

	packet.has_id = take(&in, 1).p[0];
	packet.id = load(take(&in, 8).p, 8);
	packet.nsp = take_bytes(&in);
	packet.data = take_bytes(&in);
	return packet;
}

static void encode_msgpack(struct slice in, struct buf *out)
{
	struct sio_packet packet = take_packet(in);
	struct buf bytes = BUF_INIT;
	enum err err = sio_msgpack_encode(&packet, &bytes);

	put(out, err, 1);
	buf_slice(out, buf_view(&bytes));
	buf_deinit(&bytes);
}

static void encode(struct slice in, struct buf *out)
{
	struct sio_packet packet = take_packet(in);
	struct buf text = BUF_INIT;
	struct json_bins bins = {NULL, 0, 0};
	enum err err;

	err = sio_encode(&packet, &text, &bins);
	put(out, err, 1);
	if (!err) {
		put_bytes(out, buf_view(&text));
		for (size_t i = 0; i < bins.n; i++)
			put_bytes(out, bins.v[i]);
	}
	buf_deinit(&text);
	json_bins_deinit(&bins);
}

static bool answer(uint8_t op, struct slice in, struct buf *out)
{
	switch (op) {
	case 'd':
		decode(in, out);
		return true;
	case 'e':
		encode(in, out);
		return true;
	case 'm':
		decode_msgpack(in, out);
		return true;
	case 'w':
		encode_msgpack(in, out);
		return true;
	default:
		return false;
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
		size_t n = (size_t)load(head + 1, 4);
		/* Its own block, so that the sanitizer sees a read behind its end. */
		uint8_t *in = malloc(n ? n : 1);
		struct buf out = BUF_INIT, framed = BUF_INIT;

		if (!in || !get(in, n) || !answer(head[0], slice_of(in, n), &out)) {
			fprintf(stderr, "request ends too early, or is none\n");
			return 1;
		}
		put_bytes(&framed, buf_view(&out));
		if (fwrite(framed.p, 1, framed.n, stdout) != framed.n)
			return 1;
		free(in);
		buf_deinit(&out);
		buf_deinit(&framed);
	}
	return fflush(stdout) ? 1 : 0;
}
