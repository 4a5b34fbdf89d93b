/* Socket.IO packets in the encoding of socket.io-msgpack-parser: each is one binary
 * Engine.IO message, a map of type, nsp, data and id. A payload is MessagePack inside
 * Gatehouse too, so it passes as it is, once it was checked. */
#ifndef GATEHOUSE_PROTO_SIO_MSGPACK_H
#define GATEHOUSE_PROTO_SIO_MSGPACK_H

#include "proto/sio.h"

/* Decode a binary message. *packet borrows from `bytes`. What it holds is what a packet
 * of JSON text could: sio_encode takes it. Keys not known (the client's options) are
 * passed over, a value that is undefined is missing, of equal keys the last counts.
 * Stricter than the reference: it takes strings that are not UTF-8, deep nesting,
 * reserved event names. ERR_SYNTAX, ERR_TRUNCATED: not exactly one map; a string that is
 * not UTF-8; a map key that is a map, an array or an ext; type, nsp, id or data missing,
 * of another kind or not allowed, as sio_decode_text. ERR_TOO_MANY: more binaries than
 * attachments are allowed, or other clients could not be sent them. ERR_TOO_BIG,
 * ERR_DEPTH. */
MUST_USE enum err sio_msgpack_decode(const struct sio_limits *limits, struct slice bytes,
				     struct sio_packet *packet);

/* Append a packet. `packet->data` is one encoded value or empty. Errors, *out then as it
 * was: ERR_SYNTAX, ERR_TRUNCATED, ERR_DEPTH: it is not. */
MUST_USE enum err sio_msgpack_encode(const struct sio_packet *packet, struct buf *out);

#endif
