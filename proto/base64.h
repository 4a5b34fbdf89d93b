/* Base64 (RFC 4648), as binary packets travel in Engine.IO's text payloads. */
#ifndef GATEHOUSE_PROTO_BASE64_H
#define GATEHOUSE_PROTO_BASE64_H

#include "proto/buf.h"
#include "proto/err.h"

/* The length that `n` bytes have in base64, padding included. */
static inline size_t base64_n(size_t n)
{
	return n / 3 * 4 + (n % 3 ? 4 : 0);
}

/* Append, in the standard alphabet and with padding. */
void base64_encode(struct slice bytes, struct buf *out);
/* Append what `text` says. As lenient as clients are different: either alphabet, with
 * padding or without it, and white space anywhere, since some write lines of 76
 * characters. ERR_SYNTAX: anything else; *out is then as before. */
MUST_USE enum err base64_decode(struct slice text, struct buf *out);

#endif
