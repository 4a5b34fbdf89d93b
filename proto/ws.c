#include "proto/ws.h"

#include <assert.h>

enum { WS_FIN = 0x80, WS_N_SHORT = 125, WS_N_16 = 126, WS_N_64 = 127 };

/* The length `n` in `width` bytes behind the first two. */
static size_t put_length(uint8_t *out, uint8_t tag, uint64_t n, size_t width)
{
	out[1] = tag;
	for (size_t i = width; i > 0; i--, n >>= 8)
		out[1 + i] = (uint8_t)n;
	return 2 + width;
}

size_t ws_header(uint8_t out[WS_HEADER_MAX], enum ws_opcode opcode, uint64_t n)
{
	out[0] = (uint8_t)(WS_FIN | opcode);
	if (n <= WS_N_SHORT)
		return put_length(out, (uint8_t)n, 0, 0);
	return n <= UINT16_MAX ? put_length(out, WS_N_16, n, 2)
			       : put_length(out, WS_N_64, n, 8);
}

void ws_append(struct buf *out, enum ws_opcode opcode, struct slice payload)
{
	uint8_t *p = buf_reserve(out, WS_HEADER_MAX + payload.n);

	buf_commit(out, ws_header(p, opcode, payload.n));
	buf_slice(out, payload);
}

struct ws_view ws_take(struct slice *frames)
{
	const uint8_t *p = frames->p;
	size_t width = 0;
	uint64_t n;
	struct ws_view view;

	assert(frames->n >= 2);
	assert(p[0] & WS_FIN);
	n = p[1];
	assert(n <= WS_N_64);
	if (n > WS_N_SHORT)
		width = n == WS_N_16 ? 2 : 8;
	assert(frames->n >= 2 + width);
	for (size_t i = 0; i < width; i++)
		n = (i ? n << 8 : 0) | p[2 + i];
	*frames = slice_skip(*frames, 2 + width);
	assert(n <= frames->n);
	view.opcode = (enum ws_opcode)(p[0] & ~WS_FIN);
	view.payload = slice_of(frames->p, (size_t)n);
	*frames = slice_skip(*frames, (size_t)n);
	return view;
}
