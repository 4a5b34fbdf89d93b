/* One client: TCP, HTTP, Engine.IO 4 over WebSocket, polling, or polling and then
 * WebSocket, and one namespace of Socket.IO 5 in JSON, up to the answer of one join.
 * After that, events and acks go both ways.
 *
 * Everything arrives through client_on_ready; what it means is told to `struct
 * client_ops`, whose functions may send but not free. A client that failed stays failed.
 * Who has something to send appends it with client_send and ends with client_flush, so
 * that several packets are one write. */
#ifndef GATEHOUSE_BENCH_CLIENT_H
#define GATEHOUSE_BENCH_CLIENT_H

#include "bench/net.h"

enum client_transport { CLIENT_WEBSOCKET, CLIENT_POLLING, CLIENT_UPGRADE };

enum client_state {
	CLIENT_IDLE,
	CLIENT_OPENING,	 /* up to the open packet */
	CLIENT_ENTERING, /* CONNECT sent */
	CLIENT_PROBING,	 /* on its way from polling to WebSocket */
	CLIENT_JOINING,
	CLIENT_MEMBER,
	CLIENT_CLOSING, /* said good-bye */
	CLIENT_GONE,
	CLIENT_FAILED,
};

/* X(name, key of JSON, text): what can go wrong with a client. */
#define CLIENT_ERROR_TABLE(X)                                                            \
	X(CONNECT, "connect", "TCP connection failed")                                   \
	X(RESOURCES, "resources", "no file descriptor or port left here")                \
	X(HTTP, "http", "HTTP answer other than asked for")                              \
	X(PROTOCOL, "protocol", "packets that make no sense")                            \
	X(REFUSED, "refused", "refused by the application")                              \
	X(TIMEOUT, "timeout", "no answer in time")                                       \
	X(CLOSED, "closed", "closed by the server")                                      \
	X(IO, "io", "connection broken")

enum client_error {
#define CLIENT_ERROR_ENUM_(name, key, text) CLIENT_ERROR_##name,
	CLIENT_ERROR_TABLE(CLIENT_ERROR_ENUM_)
#undef CLIENT_ERROR_ENUM_
		CLIENT_ERRORS_N
};

struct client {
	enum client_state state;
	enum client_transport transport;
	uint32_t number;
	bool outside;	   /* joins nothing; its owner says so before it connects */
	bool upgraded;	   /* the WebSocket has got its answer */
	bool on_websocket; /* that is where packets go now */
	struct pipe ws;
	struct buf fragments;	 /* of one message */
	struct polling *polling; /* NULL: none */
};

struct client_ops {
	void (*on_member)(struct client *c);
	/* `c` is in CLIENT_FAILED. `text` says more. */
	void (*on_failed)(struct client *c, enum client_error error, const char *text);
	void (*on_gone)(struct client *c);
	/* A Socket.IO packet behind its type and namespace: an event, or an ack with its
	 * id. Only to members. */
	void (*on_event)(struct client *c, struct slice data);
	void (*on_ack)(struct client *c, uint64_t id, struct slice data);
	void (*on_ping)(struct client *c);
	/* A round trip of HTTP is over. */
	void (*on_answer)(struct client *c);
	void (*on_bytes)(size_t in);
	/* The packet that joins, appended; false: this client joins nothing. *replies: an
	 * ack comes, its id does not matter. */
	bool (*join)(struct client *c, struct buf *out, bool *replies);
};

/* What all clients of a process share. */
struct client_context {
	struct net *net;
	const struct client_ops *ops;
	const char *path;
	struct slice nsp;  /* "" or "/name,": how packets of the namespace begin */
	struct slice auth; /* JSON for the CONNECT packet, or empty */
};

void client_init(struct client *c, uint32_t number, enum client_transport transport);
void client_deinit(struct client *c);

/* CLIENT_IDLE: begin. It may fail inside the call. */
void client_connect(struct client *c, const struct client_context *x);
/* CLIENT_MEMBER, and its handlers: queue a Socket.IO packet ("42…"). */
void client_send(struct client *c, struct slice packet);
void client_flush(struct client *c, const struct client_context *x);
/* How many bytes wait to be sent. */
size_t client_backlog(const struct client *c);
/* Say good-bye, if it is a member; on_gone follows, perhaps inside the call. */
void client_close(struct client *c, const struct client_context *x);
/* Give up with an error of the caller's. */
void client_fail(struct client *c, const struct client_context *x,
		 enum client_error error, const char *text);
/* What epoll says of a pipe whose owner is `c`. */
void client_on_ready(struct client *c, const struct client_context *x, struct pipe *p,
		     uint32_t events);

const char *client_state_name(enum client_state state);
const char *client_error_key(enum client_error error);
const char *client_error_text(enum client_error error);

#endif
