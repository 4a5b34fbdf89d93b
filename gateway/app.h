/* An application is what answers clients: it hears that sockets connect, what they emit
 * and that they leave. The built-in room events (rooms_app.c) are one; a test's echo
 * server is another; workers will be a third. A namespace names the applications that
 * serve it; an event goes to each in turn until one takes it.
 *
 * A socket may come from another node, whose client polled there and now has its
 * WebSocket here, and it may leave for one likewise (move.h): on_connect was there,
 * on_disconnect will be where it is then. Its user, rooms and questions come along. What
 * else an application knows of a socket it packs there and unpacks here, or keeps in a
 * store that all nodes share.
 *
 * Sockets are borrowed: a `struct socket *` is valid from on_connect until on_disconnect
 * returns. Who waits for something in between says so (socket_begin), keeps the socket's
 * id and asks for it again. */
#ifndef GATEHOUSE_GATEWAY_APP_H
#define GATEHOUSE_GATEWAY_APP_H

#include "proto/mp.h"

struct socket;
struct node;

struct app_event {
	struct slice name; /* of the event; a number is its decimal string */
	struct slice data; /* encoded array: name, arguments; borrowed for the call */
	bool wants_ack;
	uint64_t ack_id; /* for socket_ack, once, at any time while the socket lives */
};

struct app_ops {
	const char *name; /* as in the configuration */
	/* `node` outlives the application. */
	void *(*open)(struct node *node);
	void (*close)(void *app);
	/* The client has its CONNECT reply in its outbox. `auth`: what it sent with its
	 * CONNECT, an encoded map or empty. */
	void (*on_connect)(void *app, struct socket *s, struct slice auth);
	/* True: taken (answered now or later). False: not this application's. */
	bool (*on_event)(void *app, struct socket *s, const struct app_event *e);
	/* The client's answer to socket_emit_ack, once: ERR_OK and `args`, an encoded
	 * array; ERR_TIMEOUT; or ERR_CLOSED when the socket ends first (`s` is then about
	 * to go). The socket may have moved to this node since. NULL: it asks no
	 * questions. */
	void (*on_answer)(void *app, struct socket *s, struct slice tag, enum err err,
			  struct slice args);
	/* The socket is out of its rooms afterwards; nothing reaches it any more. */
	void (*on_disconnect)(void *app, struct socket *s, const char *reason);

	/* --- the following may be NULL --- */

	/* The socket leaves for another node: append one encoded value for there, and
	 * true; false: there is nothing to say. */
	bool (*pack)(void *app, const struct socket *s, msgpack_packer *pk);
	/* It came, and this was packed. Others wrote it: ERR_SYNTAX fails the move. */
	enum err (*unpack)(void *app, struct socket *s, struct slice value);
	/* It is at the other node: forget it. */
	void (*on_moved)(void *app, struct socket *s);
	/* The adapter's on_queue. */
	void (*on_queue)(void *app, struct slice queue);
	/* When it wants to be ticked (UINT64_MAX: not), and that it is. */
	uint64_t (*next)(const void *app);
	void (*tick)(void *app, uint64_t now);
	/* Bring its gauges in the node's metrics up to date. */
	void (*measure)(void *app);
};

/* Answers in the form of the built-in events: {ok:false, error:{code, message}} */
void app_ack_error(struct socket *s, uint64_t ack_id, const char *code,
		   const char *message);

#endif
