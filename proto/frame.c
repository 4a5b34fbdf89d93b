#include "proto/frame.h"

#include <assert.h>
#include <stdlib.h>

#include "proto/base64.h"
#include "proto/eio.h"
#include "proto/mem.h"
#include "proto/sio_msgpack.h"
#include "proto/ws.h"

enum { V3_MESSAGE = 4 }; /* the type of a binary packet as a byte */

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

/* How a binary frame reaches the client. */
enum wire { WIRE_V4, WIRE_V3, WIRE_V3_BASE64 };

static enum wire wire_of(enum frame_encoding encoding)
{
	switch (encoding) {
	case FRAME_JSON:
	case FRAME_MSGPACK:
		return WIRE_V4;
	case FRAME_JSON_V3:
	case FRAME_MSGPACK_V3:
		return WIRE_V3;
	case FRAME_JSON_V3_BASE64:
	case FRAME_MSGPACK_V3_BASE64:
		return WIRE_V3_BASE64;
	case FRAME_ENCODINGS:
		break;
	}
	assert(false);
	return WIRE_V4;
}

/* The payload of the frame for a binary of `n` bytes. */
static size_t binary_size(enum wire wire, size_t n)
{
	return wire == WIRE_V4 ? n : wire == WIRE_V3 ? 1 + n : 2 + base64_n(n);
}

static uint8_t *put_binary(uint8_t *p, enum wire wire, struct slice bytes)
{
	struct buf text = BUF_INIT;

	p = put_header(p, wire == WIRE_V3_BASE64 ? WS_TEXT : WS_BINARY,
		       binary_size(wire, bytes.n));
	if (wire == WIRE_V3)
		*p++ = V3_MESSAGE;
	if (wire != WIRE_V3_BASE64)
		return put(p, bytes);
	buf_str(&text, "b4");
	base64_encode(bytes, &text);
	p = put(p, buf_view(&text));
	buf_deinit(&text);
	return p;
}

/* One text frame, unless it is empty, and the binaries. */
static struct frame *assemble(enum wire wire, struct slice text,
			      const struct slice *binaries, size_t binaries_n)
{
	struct frame *f;
	uint8_t *p;
	size_t n = text.n ? ws_size(text.n) : 0;

	assert(binaries_n < UINT32_MAX);
	for (size_t i = 0; i < binaries_n; i++)
		n += ws_size(binary_size(wire, binaries[i].n));
	f = frame_new(n, (uint32_t)(text.n > 0) + (uint32_t)binaries_n);
	p = f->bytes;
	if (text.n) {
		p = put_header(p, WS_TEXT, text.n);
		p = put(p, text);
	}
	for (size_t i = 0; i < binaries_n; i++)
		p = put_binary(p, wire, binaries[i]);
	assert(p == f->bytes + f->n);
	return f;
}

enum err frame_ws_sio(const struct sio_packet *packet, enum frame_encoding encoding,
		      struct buf *scratch, struct json_bins *bins, struct frame **out)
{
	enum wire wire = wire_of(encoding);
	struct slice message;
	enum err err;

	buf_clear(scratch);
	bins->n = 0;
	if (encoding >= FRAME_MSGPACK) {
		err = sio_msgpack_encode(packet, scratch);
		message = buf_view(scratch);
		if (!err)
			*out = assemble(wire, SLICE_EMPTY, &message, 1);
	} else {
		buf_byte(scratch, EIO_MESSAGE);
		err = sio_encode(packet, scratch, bins);
		if (!err)
			*out = assemble(wire, buf_view(scratch), bins->v, bins->n);
	}
	buf_clear(scratch);
	bins->n = 0;
	return err;
}
