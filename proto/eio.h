/* Engine.IO v4 packets (https://socket.io/docs/v4/engine-io-protocol/). On WebSocket a
 * text frame is one packet, its first character the type; a binary frame is a message. */
#ifndef GATEHOUSE_PROTO_EIO_H
#define GATEHOUSE_PROTO_EIO_H

#include "proto/buf.h"
#include "proto/err.h"

enum eio_type {
	EIO_OPEN = '0',
	EIO_CLOSE = '1',
	EIO_PING = '2',
	EIO_PONG = '3',
	EIO_MESSAGE = '4',
	EIO_UPGRADE = '5',
	EIO_NOOP = '6',
};

struct eio_packet {
	enum eio_type type;
	struct slice data; /* borrowed */
};

/* Decode a text frame. ERR_SYNTAX: empty, or the type is none of the above. */
MUST_USE enum err eio_decode(struct slice text, struct eio_packet *packet);

struct eio_open {
	struct slice sid;	/* of the url-safe alphabet: not escaped */
	bool upgrade_websocket; /* is "websocket" offered as an upgrade? */
	uint64_t ping_interval_ms, ping_timeout_ms, max_payload;
};

/* Append the open packet: "0" and exactly sid, upgrades, pingInterval, pingTimeout,
 * maxPayload, in this order. */
void eio_encode_open(const struct eio_open *open, struct buf *out);

/* What the handshake's query string asks for. */
struct eio_query {
	int version; /* EIO; 0 if missing or not a number */
	enum eio_transport {
		EIO_TRANSPORT_UNKNOWN,
		EIO_POLLING,
		EIO_WEBSOCKET
	} transport;
	struct slice sid; /* empty if missing; borrowed */
	bool base64;	  /* b64: an Engine.IO 3 client that can't take binary data */
};

/* Parse "EIO=4&transport=websocket&…" (the part behind '?'); the last of a repeated key
 * counts, unknown keys are ignored. Never fails: what is missing is 0. */
void eio_parse_query(struct slice query, struct eio_query *q);

/* The reference's error codes: X(code, NAME, text, http status). */
#define EIO_ERROR_TABLE(X)                                                               \
	X(0, TRANSPORT_UNKNOWN, "Transport unknown", 400)                                \
	X(1, SID_UNKNOWN, "Session ID unknown", 400)                                     \
	X(2, BAD_METHOD, "Bad handshake method", 400)                                    \
	X(3, BAD_REQUEST, "Bad request", 400)                                            \
	X(4, FORBIDDEN, "Forbidden", 403)                                                \
	X(5, BAD_VERSION, "Unsupported protocol version", 400)

enum eio_error {
#define EIO_ERROR_ENUM_(code, name, text, status) EIO_ERROR_##name = (code),
	EIO_ERROR_TABLE(EIO_ERROR_ENUM_)
#undef EIO_ERROR_ENUM_
};

const char *eio_error_text(enum eio_error error);
int eio_error_status(enum eio_error error);

#endif
