/* The input is what a client sends: messages with the byte 0x1e between them, those that
 * begin with 'b' binary, the others text. Each packet they make is written and read again
 * and is then the same, and its frame holds what was written. */
#include <assert.h>
#include <math.h>
#include <math.h>

#include "fuzz.h"
#include "proto/frame.h"
#include "proto/ws.h"

/* Repeated empty attachments can become many. */
static const struct sio_limits limits = {.attachments_max = 10, .bytes_max = 1 << 16};
static const struct sio_limits again = {.attachments_max = 1 << 16, .bytes_max = 1 << 24};

/* Does an encoded value hold what text has no word for: -0 or Infinity? */
static bool has_lossy_number(struct slice mp)
{
	struct mp_cursor c = mp_cursor_of(mp);
	struct mp_value v;

	while (c.p != c.end) {
		enum err err = mp_read(&c, &v);

		assert(!err);
		if (v.type == MP_DOUBLE && (v.d == 0 || !isfinite(v.d)))
			return true;
	}
	return false;
}

static void check_packet(const struct sio_packet *packet)
{
	assert(packet->type <= SIO_CONNECT_ERROR);
	assert(packet->nsp.n > 0 && packet->nsp.p[0] == '/');
	assert(!memchr(packet->nsp.p, ',', packet->nsp.n));
	assert(!memchr(packet->nsp.p, '?', packet->nsp.n));
	assert(packet->id <= SIO_ACK_ID_MAX);
	assert(packet->has_id || packet->id == 0);
	assert(packet->type != SIO_EVENT || sio_event_ok(packet->data));
	assert(packet->type != SIO_ACK || (packet->data.n && packet->data.p[0] >= 0x90));
	assert(packet->type != SIO_DISCONNECT || packet->data.n == 0);
}

static void check_frame(const struct sio_packet *packet, struct slice text,
			const struct json_bins *bins)
{
	struct buf want = BUF_INIT, message = BUF_INIT, scratch = BUF_INIT;
	struct json_bins working = {NULL, 0, 0};
	struct frame *f;
	enum err err = frame_ws_sio(packet, FRAME_JSON, &scratch, &working, &f);

	assert(!err);
	buf_str(&message, "4");
	buf_slice(&message, text);
	ws_append(&want, WS_TEXT, buf_view(&message));
	for (size_t i = 0; i < bins->n; i++)
		ws_append(&want, WS_BINARY, bins->v[i]);
	assert(slice_eq(frame_view(f), buf_view(&want)));
	assert(f->packets == 1 + bins->n);
	frame_unref(f);
	json_bins_deinit(&working);
	buf_deinit(&want);
	buf_deinit(&message);
	buf_deinit(&scratch);
}

static void round_trip(const struct sio_packet *packet)
{
	struct buf text = BUF_INIT, text2 = BUF_INIT, scratch = BUF_INIT;
	struct json_bins bins = {NULL, 0, 0}, bins2 = {NULL, 0, 0};
	struct sio_decoder *d = sio_decoder_new();
	struct sio_packet packet2;
	bool complete;
	enum err err = sio_encode(packet, &text, &bins);

	assert(!err);
	check_frame(packet, buf_view(&text), &bins);
	err = sio_decode_text(d, &again, buf_view(&text), &scratch, &packet2, &complete);
	assert(!err);
	for (size_t i = 0; i < bins.n; i++) {
		assert(!complete);
		err = sio_decode_binary(d, &again, bins.v[i], &scratch, &packet2,
					&complete);
		assert(!err);
	}
	assert(complete);
	assert(packet2.type == packet->type);
	assert(slice_eq(packet2.nsp, packet->nsp));
	assert(packet2.has_id == packet->has_id && packet2.id == packet->id);
	assert(slice_eq(packet2.data, packet->data) || has_lossy_number(packet->data));
	err = sio_encode(&packet2, &text2, &bins2);
	assert(!err);
	assert(slice_eq(buf_view(&text), buf_view(&text2)));
	assert(bins.n == bins2.n);
	for (size_t i = 0; i < bins.n; i++)
		assert(slice_eq(bins.v[i], bins2.v[i]));
	sio_decoder_free(d);
	json_bins_deinit(&bins);
	json_bins_deinit(&bins2);
	buf_deinit(&text);
	buf_deinit(&text2);
	buf_deinit(&scratch);
}

/* Returns whether the decoder can be used on. */
static bool feed(struct sio_decoder *d, struct slice message, struct buf *scratch)
{
	bool busy = sio_decoder_busy(d), complete = false;
	bool binary = message.n && message.p[0] == 'b';
	struct sio_packet packet;
	enum err err = binary ? sio_decode_binary(d, &limits, slice_skip(message, 1),
						  scratch, &packet, &complete)
			      : sio_decode_text(d, &limits, message, scratch, &packet,
						&complete);

	assert(err == ERR_OK || err == ERR_SYNTAX || err == ERR_TOO_MANY ||
	       err == ERR_TOO_BIG || err == ERR_DEPTH || err == ERR_RANGE);
	assert(!err || !complete);
	assert(busy == binary || err);
	if (err)
		return false;
	assert(complete == !sio_decoder_busy(d));
	if (complete) {
		check_packet(&packet);
		round_trip(&packet);
	}
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sio_decoder *d = sio_decoder_new();
	struct slice rest = slice_of(data, size);
	struct buf scratch = BUF_INIT;
	bool more = true;

	while (more) {
		const uint8_t *mark = rest.n ? memchr(rest.p, 0x1e, rest.n) : NULL;
		size_t n = mark ? (size_t)(mark - rest.p) : rest.n;

		more = feed(d, slice_of(rest.p, n), &scratch) && mark;
		rest = mark ? slice_skip(rest, n + 1) : SLICE_EMPTY;
	}
	sio_decoder_free(d);
	buf_deinit(&scratch);
	return 0;
}
