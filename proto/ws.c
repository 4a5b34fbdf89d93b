#include "proto/ws.h"

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
