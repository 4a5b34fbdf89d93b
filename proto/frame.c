#include "proto/frame.h"

#include <assert.h>
#include <stdlib.h>

#include "proto/eio.h"
#include "proto/mem.h"
#include "proto/ws.h"

struct frame *frame_new(size_t n, uint32_t packets)
{
	struct frame *f;

	assert(packets > 0);
	assert(n <= SIZE_MAX - sizeof(*f));
	f = mem_alloc(sizeof(*f) + n);
	f->refs = 1;
	f->packets = packets;
	f->n = n;
	return f;
}

void frame_unref(struct frame *f)
{
	if (!f)
		return;
	assert(f->refs > 0);
	if (--f->refs == 0)
		free(f);
}

static size_t ws_size(size_t payload)
{
	uint8_t header[WS_HEADER_MAX];

	return ws_header(header, WS_TEXT, payload) + payload;
}

static uint8_t *put(uint8_t *p, struct slice s)
{
	if (s.n)
		memcpy(p, s.p, s.n);
	return p + s.n;
}

/* The header goes by way of a buffer of its own, since fewer bytes than WS_HEADER_MAX may
 * be left in the frame. */
static uint8_t *put_header(uint8_t *p, enum ws_opcode opcode, size_t n)
{
	uint8_t header[WS_HEADER_MAX];

	return put(p, slice_of(header, ws_header(header, opcode, n)));
}

struct frame *frame_ws_eio(char type, struct slice data)
{
	struct frame *f = frame_new(ws_size(1 + data.n), 1);
	uint8_t *p = put_header(f->bytes, WS_TEXT, 1 + data.n);

	*p++ = (uint8_t)type;
	p = put(p, data);
	assert(p == f->bytes + f->n);
	return f;
}

enum err frame_ws_sio(const struct sio_packet *packet, struct buf *scratch,
		      struct json_bins *bins, struct frame **out)
{
	enum err err;
	struct frame *f;
	uint8_t *p;
	size_t n;

	buf_clear(scratch);
	bins->n = 0;
	buf_byte(scratch, EIO_MESSAGE);
	err = sio_encode(packet, scratch, bins);
	if (err)
		goto out;
	assert(bins->n < UINT32_MAX);
	n = ws_size(scratch->n);
	for (size_t i = 0; i < bins->n; i++)
		n += ws_size(bins->v[i].n);
	f = frame_new(n, 1 + (uint32_t)bins->n);
	p = put_header(f->bytes, WS_TEXT, scratch->n);
	p = put(p, buf_view(scratch));
	for (size_t i = 0; i < bins->n; i++) {
		p = put_header(p, WS_BINARY, bins->v[i].n);
		p = put(p, bins->v[i]);
	}
	assert(p == f->bytes + f->n);
	*out = f;
out:
	buf_clear(scratch);
	bins->n = 0;
	return err;
}
