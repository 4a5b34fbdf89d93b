/* A packet that is taken can be sent on: as JSON text, and as MessagePack, which reads as
 * the same packet. */
#include <assert.h>

#include "fuzz.h"
#include "proto/sio_msgpack.h"

static const struct sio_limits limits = {.attachments_max = 10, .bytes_max = 1 << 16};

static void check_json(const struct sio_packet *packet)
{
	bool may_attach = packet->type == SIO_EVENT || packet->type == SIO_ACK;
	struct buf text = BUF_INIT;
	struct json_bins bins = {NULL, 0, 0};
	enum err err = sio_encode(packet, &text, &bins);

	assert(!err || (err == ERR_DENIED && !may_attach));
	assert(bins.n <= limits.attachments_max);
	json_bins_deinit(&bins);
	buf_deinit(&text);
}

static void check_again(const struct sio_packet *packet)
{
	/* A name longer than this is written with a longer head. */
	static const struct sio_limits more = {.attachments_max = 10,
					       .bytes_max = 1 << 17};
	struct buf out = BUF_INIT;
	struct sio_packet again;
	enum err err = sio_msgpack_encode(packet, &out);

	assert(!err);
	err = sio_msgpack_decode(&more, buf_view(&out), &again);
	assert(!err);
	assert(again.type == packet->type);
	assert(slice_eq(again.nsp, packet->nsp) || packet->nsp.n == 0);
	assert(again.has_id == packet->has_id);
	assert(again.id == packet->id);
	assert(slice_eq(again.data, packet->data));
	buf_deinit(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sio_packet packet;
	enum err err = sio_msgpack_decode(&limits, slice_of(data, size), &packet);

	assert(err == ERR_OK || err == ERR_SYNTAX || err == ERR_TRUNCATED ||
	       err == ERR_TOO_MANY || err == ERR_TOO_BIG || err == ERR_DEPTH);
	if (err)
		return 0;
	assert(packet.type <= SIO_CONNECT_ERROR);
	assert(packet.id <= SIO_ACK_ID_MAX);
	assert(packet.type != SIO_EVENT || sio_event_ok(packet.data));
	check_json(&packet);
	check_again(&packet);
	return 0;
}
