/* The first byte chooses a format, the rest is a body. The packets read are put into
 * frames and written as payloads of each format, which hold the same packets. */
#include <assert.h>

#include "fuzz.h"
#include "proto/payload.h"
#include "proto/utf8.h"
#include "proto/ws.h"

/* A conn's version decides what its binary frames begin with. */
static void put_frame(struct buf *frames, enum payload_format format,
		      const struct payload_packet *packet)
{
	struct buf bytes = BUF_INIT;

	if (packet->binary && format != PAYLOAD_V4)
		buf_byte(&bytes, 4);
	buf_slice(&bytes, packet->bytes);
	ws_append(frames, packet->binary ? WS_BINARY : WS_TEXT, buf_view(&bytes));
	buf_deinit(&bytes);
}

static void check_packet(const struct payload_packet *packet, size_t body_n)
{
	struct eio_packet eio;

	assert(packet->bytes.n <= body_n);
	if (packet->binary)
		return;
	assert(utf8_ok(packet->bytes));
	assert(eio_decode(packet->bytes, &eio) == ERR_OK);
}

/* Read a whole body; its packets as frames for a client of `out_format`. A text packet
 * with the separator in it, which version 3 may have, can't be one of version 4. */
static enum err to_frames(enum payload_format format, struct slice body,
			  enum payload_format out_format, struct buf *frames)
{
	struct payload_reader r;
	struct payload_packet packet;
	struct buf scratch = BUF_INIT;
	bool more = true;
	enum err err;

	payload_reader_init(&r, format, body);
	while (!(err = payload_next(&r, &scratch, &packet, &more)) && more) {
		check_packet(&packet, body.n);
		if (packet.binary || out_format != PAYLOAD_V4 ||
		    !memchr(packet.bytes.p, 0x1e, packet.bytes.n))
			put_frame(frames, out_format, &packet);
	}
	assert(err == ERR_OK || err == ERR_SYNTAX);
	buf_deinit(&scratch);
	return err;
}

static void round_trip(enum payload_format format, struct slice body,
		       enum payload_format out_format)
{
	struct buf frames = BUF_INIT, again = BUF_INIT, out = BUF_INIT;
	enum err err;

	/* What comes before an error counts. */
	to_frames(format, body, out_format, &frames);
	if (frames.n) {
		size_t n = payload_size(out_format, buf_view(&frames));

		payload_append(&out, out_format, buf_view(&frames));
		assert(out.n == n - (out_format == PAYLOAD_V4));
		err = to_frames(out_format, buf_view(&out), out_format, &again);
		assert(!err);
		assert(slice_eq(buf_view(&frames), buf_view(&again)));
	}
	buf_deinit(&frames);
	buf_deinit(&again);
	buf_deinit(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	for (int out = PAYLOAD_V4; out <= PAYLOAD_V3_BINARY; out++)
		round_trip((enum payload_format)(data[0] % 3),
			   slice_of(data + 1, size - 1), (enum payload_format)out);
	return 0;
}
