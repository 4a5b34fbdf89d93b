/* A conn is an Engine.IO session: what one browser's transport carries. It decodes what
 * comes in, hands packets to its sockets, keeps the outbox and answers the heartbeat.
 *
 * It knows its transport only through `struct transport_ops`, and the transport tells it
 * what happened through the conn_on_* functions. A conn that ends is taken out at the end
 * of the loop turn (conns_turn), never inside a call; until then it ignores everything.
 */
#ifndef GATEHOUSE_GATEWAY_CONN_H
#define GATEHOUSE_GATEWAY_CONN_H

#include "gateway/outbox.h"
#include "proto/address.h"
#include "proto/eio.h"
#include "proto/id.h"
#include "proto/list.h"
#include "proto/table.h"

struct move_in;
struct move_out;
struct node;
struct resume;
struct socket;
struct namespace;

/* Why a conn ends: X(NAME, what applications hear, counter in metrics.h). */
#define CONN_CLOSE_TABLE(X)                                                              \
	X(PEER, "transport close", closes_peer)                                          \
	X(PING_TIMEOUT, "ping timeout", closes_ping_timeout)                             \
	X(CONNECT_TIMEOUT, "connect timeout", closes_connect_timeout)                    \
	X(PARSE_ERROR, "parse error", closes_parse_error)                                \
	X(TRANSPORT_ERROR, "transport error", closes_transport_error)                    \
	X(TOO_BIG, "message too big", closes_too_big)                                    \
	X(SLOW_READER, "slow reader", closes_slow_reader)                                \
	X(BACKEND_AWAY, "backend away", closes_backend_away)                             \
	X(SHUTDOWN, "server shutting down", closes_shutdown)                             \
	X(SERVER, "forced close", closes_server)                                         \
	X(TAKEN, "session taken over", closes_taken)                                     \
	X(MISSED, "missed events", closes_missed)

enum conn_close {
#define CONN_CLOSE_ENUM_(name, text, metric) CONN_CLOSE_##name,
	CONN_CLOSE_TABLE(CONN_CLOSE_ENUM_)
#undef CONN_CLOSE_ENUM_
} __attribute__((packed));

/* How its Socket.IO packets are written. */
enum conn_parser {
	PARSER_AUTO, /* as its first message is: binary is MessagePack */
	PARSER_JSON,
	PARSER_MSGPACK,
} __attribute__((packed));

enum transport_result {
	TRANSPORT_SENT,	  /* taken, and more would be */
	TRANSPORT_CHOKED, /* taken; no more before conn_on_writable */
	TRANSPORT_BROKEN, /* the transport is lost; nothing is called back for it */
};

struct transport_ops {
	/* Send the bytes of whole frames. Takes all of them or is broken. */
	enum transport_result (*write)(void *transport, struct slice bytes);
	/* Read from the peer, or leave what it sends in the kernel. */
	void (*read)(void *transport, bool on);
	/* End it; `reason` chooses the close code. Nothing is called back afterwards. */
	void (*close)(void *transport, enum conn_close reason);
	/* Several frames go in one write up to so many bytes; a larger one goes alone. */
	size_t gather_bytes_max;
	/* Writes of a conn that has ended are kept for `close`, which may send them much
	 * later; so they are offered even if it is choked. */
	bool keeps_last_writes;
};

enum conn_state {
	CONN_ARRIVING, /* comes from another node: it does not send yet (move.h) */
	CONN_OPEN,
	CONN_LEAVING, /* goes to another node: takes no input */
	CONN_HANDED,  /* is at the other node, unless that fails */
	CONN_CLOSING, /* decided; taken out at the end of the turn */
	CONN_CLOSED,  /* its sockets are gone; memory goes next */
} __attribute__((packed));

/* There is one for each client: its enums are bytes, and what each delivery touches comes
 * first, in as few cache lines as can be. */
struct conn {
	struct node *node;
	const struct transport_ops *ops;
	void *transport; /* NULL once it is gone */
	enum conn_state state;
	enum conn_parser parser;
	uint8_t version; /* of Engine.IO: 4, or 3 */
	bool base64;	 /* version 3: its transport can't take binary data */
	bool choked;
	bool fenced; /* ARRIVING: what is sent to it is for here */
	uint16_t holds;
	struct outbox outbox;
	struct link dirty;	     /* in conns.dirty: has something to send */
	struct conn_held *held;	     /* what came while the conn was held, or NULL */
	struct sio_decoder *decoder; /* NULL until an attachment is due */
	struct socket *sockets;	     /* singly linked by conn_next */
	struct resume *resume;	     /* a socket that comes back, or NULL */
	union {
		struct move_in *in;   /* ARRIVING */
		struct move_out *out; /* LEAVING, HANDED */
	} move;
	struct link all;       /* of the node's conns */
	struct link heartbeat; /* in conns.ping_due, pong_due or silence_due */
	struct link waiting;   /* in conns.connect_due, backend_due or closing */
	struct link throttle;  /* in conns.throttled: sent too fast, is held */
	uint64_t heartbeat_at, waiting_at, throttle_at; /* when those are due, ms */
	int64_t rate_credit;				/* thousandths of packets */
	uint32_t rate_at; /* the low half of when that was counted, ms */
	uint16_t sockets_n;
	enum conn_close reason;
	bool awaiting_pong, waiting_backend;
	bool silent; /* CLOSING: nobody hears of it, since it lives at another node */
	bool rooted; /* version 3: it was connected to "/", or refused */
	struct address address; /* of the client */
	bool missed;		/* a socket of it missed events: it is to leave */
	char id[ID_LEN];
};

/* A transport is ready: a new conn, whose open packet is in its outbox. `q` is the
 * handshake's; `upgradable`: the open packet offers WebSocket. One of version 3 is
 * connected to "/" at once, as the reference does. */
struct conn *conn_new(struct node *n, const struct transport_ops *ops, void *transport,
		      const struct eio_query *q, bool upgradable);
/* A conn that comes from another node, with its id there. */
struct conn *conn_arrive(struct node *n, struct slice id, uint8_t version,
			 struct move_in *in);
/* It is here, and open; it still has no transport. */
void conn_arrived(struct conn *c);
/* It goes to another node: what it held is worked off, then move_out_check. */
void conn_leave(struct conn *c, struct move_out *out);
/* It is at the other node: what is sent to it here is not for it any more. */
void conn_handed(struct conn *c);
/* End it at the end of this turn without a word to anybody: it lives elsewhere. */
void conn_drop(struct conn *c);
/* Nothing of an application is under way for one of its sockets. */
void conn_on_idle(struct conn *c);
/* Has it nothing under way? */
bool conn_is_idle(const struct conn *c);

/* The conn has no transport for a while; nothing is called at the one it had. */
void conn_unset_transport(struct conn *c);
/* The conn goes on over this transport. */
void conn_set_transport(struct conn *c, const struct transport_ops *ops, void *transport);

/* Does it take part in what goes on here? */
static inline bool conn_is_live(const struct conn *c)
{
	return c->state == CONN_OPEN || c->state == CONN_LEAVING;
}

static inline struct slice conn_id(const struct conn *c)
{
	return slice_of(c->id, ID_LEN);
}

/* From where the client comes, for the log and for maxConnsPerAddress; once. */
void conn_set_address(struct conn *c, struct address address);
/* What its Socket.IO packets are encoded in. */
enum frame_encoding conn_encoding(const struct conn *c);

/* What the transport reports; the bytes are one whole Engine.IO packet or binary message.
 */
void conn_on_text(struct conn *c, struct slice text);
void conn_on_binary(struct conn *c, struct slice bytes);
/* The same as it came in a WebSocket frame; of version 3 it is still to be taken apart.
 */
void conn_on_frame(struct conn *c, struct slice bytes, bool binary);
void conn_on_writable(struct conn *c);
/* The transport is gone and must not be used any more. */
void conn_on_transport_closed(struct conn *c, enum conn_close reason);

/* End the conn at the end of this turn, once what is in its outbox was offered to the
 * transport. The first reason counts. */
void conn_close(struct conn *c, enum conn_close reason);
const char *conn_close_text(enum conn_close reason);

/* Queue a frame. A conn whose outbox is full drops it if `droppable`, and is closed
 * otherwise. */
void conn_send(struct conn *c, struct frame *f, bool droppable);

/* Keep what comes in until conn_release; holds nest. While held, the conn is not read
 * from once something came, and not closed for missing pongs. */
void conn_hold(struct conn *c);
void conn_release(struct conn *c);

/* Count what a client asked for against eventRate, as if it had sent so many packets; for
 * events that cost more than others. Whoever is over it is held for a moment. */
void conn_charge(struct conn *c, uint32_t packets);

/* For conn_packet.c: hold the conn until the backend is up, but not longer than
 * publishWait; the conn's first socket is connected; a pong came, or a ping, which only
 * clients of version 3 send. */
void conn_wait_backend(struct conn *c);
void conn_on_connected(struct conn *c);
void conn_on_pong(struct conn *c);
void conn_on_ping(struct conn *c);

/* For conns.c, from conns_turn: go on with what was held, then offer the transport what
 * waits (true if packets were handled); take a closing conn out and free it. */
bool conn_work(struct conn *c);
/* It waited for having sent too fast: go on, or wait again. */
void conn_throttle_over(struct conn *c, uint64_t now);
void conn_take_out(struct conn *c);
/* Move the conn to one of the lists of struct conns, by the time `at` it is due. */
void conn_set_heartbeat(struct conn *c, struct link *list, uint64_t at);
void conn_set_waiting(struct conn *c, struct link *list, uint64_t at);

#endif
