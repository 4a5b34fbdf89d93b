/* Socket.IO v5 packets in their JSON encoding
 * (https://socket.io/docs/v4/socket-io-protocol/): text, and for binaries a number of raw
 * attachments that follow it. Inside Gatehouse a packet's payload is MessagePack with its
 * binaries in place; this file turns one into the other.
 *
 * Malformed input is refused where socket.io-parser 4.2 throws; the caller closes the
 * conn, as the reference does. */
#ifndef GATEHOUSE_PROTO_SIO_H
#define GATEHOUSE_PROTO_SIO_H

#include "proto/json.h"

enum sio_type {
	SIO_CONNECT,
	SIO_DISCONNECT,
	SIO_EVENT,
	SIO_ACK,
	SIO_CONNECT_ERROR,
	SIO_BINARY_EVENT, /* on the wire only: decoded as SIO_EVENT */
	SIO_BINARY_ACK,	  /* on the wire only: decoded as SIO_ACK */
};

/* Highest ack id: 2^53 - 1, what a JavaScript number holds exactly. */
#define SIO_ACK_ID_MAX ((uint64_t)9007199254740991)

struct sio_packet {
	enum sio_type type;
	struct slice nsp; /* without the query some clients append ("/a?b=c" is "/a") */
	bool has_id;
	uint64_t id;
	struct slice data;  /* encoded value; empty if the packet had none. A decoded
			     * EVENT or ACK has one: an array */
	struct slice query; /* what was cut off nsp, without '?'; not written again */
};

/* A packet being put together. One per conn; small while idle. */
struct sio_decoder;

struct sio_limits {
	size_t attachments_max; /* of one packet */
	size_t bytes_max;	/* of one packet, text and attachments together */
};

struct sio_decoder *sio_decoder_new(void);
/* NULL is allowed. */
void sio_decoder_free(struct sio_decoder *d);

/* Feed the text of one Engine.IO message. *complete tells whether *packet was written;
 * its slices live until `scratch` changes, which holds what they show and which the call
 * clears first. Attachments are waited for only if the text is well-formed.
 * ERR_SYNTAX: unknown type, bad attachment count, namespace that is not UTF-8, bad JSON,
 * payload not allowed for the type, reserved event name, ack id above SIO_ACK_ID_MAX, or
 * text while attachments are due. ERR_TOO_MANY: more attachments than the limit.
 * ERR_TOO_BIG, ERR_DEPTH; ERR_RANGE as json_to_mp. After an error the decoder may only be
 * freed. */
MUST_USE enum err sio_decode_text(struct sio_decoder *d, const struct sio_limits *limits,
				  struct slice text, struct buf *scratch,
				  struct sio_packet *packet, bool *complete);
/* Feed one binary message. ERR_SYNTAX: none was due. Else as sio_decode_text. */
MUST_USE enum err sio_decode_binary(struct sio_decoder *d,
				    const struct sio_limits *limits, struct slice bytes,
				    struct buf *scratch, struct sio_packet *packet,
				    bool *complete);
/* Are attachments due? */
bool sio_decoder_busy(const struct sio_decoder *d);
/* What it was fed with of the packet that is being put together, to feed another decoder
 * with: piece 0 is its text, the others are attachments. False: there is no such piece.
 */
bool sio_decoder_fed(const struct sio_decoder *d, size_t i, struct slice *piece);

/* Is `name` an event name applications may use? The reserved ones are connect,
 * connect_error, disconnect, disconnecting, newListener, removeListener. */
bool sio_event_name_ok(struct slice name);

/* Is `data` an encoded array that begins with an event's name: a string applications may
 * use, or a finite number? What follows the name is not looked at. Official clients close
 * the connection over an event of which this does not hold. */
bool sio_event_ok(struct slice data);

/* May a packet of this type have this payload (empty: none)? */
bool sio_payload_ok(enum sio_type type, struct slice data);

/* Append the text of a packet (without Engine.IO's "4") to `text` and its attachments,
 * which borrow from packet->data, to `bins`, which must be empty (assert), since the
 * first is number 0. `packet->data` is an encoded value or empty. Types BINARY_* are
 * chosen by what the data holds; pass SIO_EVENT or SIO_ACK (others: ERR_DENIED if the
 * data holds a binary). Errors as mp_to_json, both outputs then as before. */
MUST_USE enum err sio_encode(const struct sio_packet *packet, struct buf *text,
			     struct json_bins *bins);

#endif
