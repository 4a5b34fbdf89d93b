/* One connection of the load program: TCP, the WebSocket handshake, Engine.IO, one
 * namespace, one room. Raw sockets and no code of the gateway's but the growing buffer,
 * so that a mistake of the gateway's cannot hide in a shared one.
 *
 * Everything arrives through client_on_ready; what it means for the whole is told to
 * `struct client_events`. A client that fails stays failed. */
#ifndef GATEHOUSE_TESTS_LOAD_CLIENT_H
#define GATEHOUSE_TESTS_LOAD_CLIENT_H

#include <netinet/in.h>

#include "proto/buf.h"

enum { ROOM_SIZE_MAX = 64 };

enum client_state {
	CLIENT_IDLE,
	CLIENT_CONNECTING, /* TCP */
	CLIENT_UPGRADING,  /* HTTP request sent */
	CLIENT_OPENING,	   /* the open packet is due */
	CLIENT_ENTERING,   /* CONNECT sent */
	CLIENT_JOINING,	   /* room:join sent */
	CLIENT_MEMBER,
	CLIENT_LEAVING, /* room:leave sent */
	CLIENT_LEFT,
	CLIENT_CLOSING, /* WebSocket close sent */
	CLIENT_CLOSED,
	CLIENT_FAILED,
	CLIENT_STATES
};

struct client {
	int fd;
	enum client_state state;
	uint32_t number;    /* of all clients */
	uint32_t room;	    /* of all rooms */
	uint32_t room_size; /* members, this one too */
	uint32_t first;	    /* number of the room's first member */
	uint32_t emitted, acked;
	uint32_t received;
	uint32_t next[ROOM_SIZE_MAX]; /* by sender in the room: its event due next */
	uint64_t order; /* hash of what was heard, in order: the same for all members */
	struct buf in, out;
	bool want_write;
};

/* What the program hears. */
struct client_events {
	void (*on_state)(struct client *c, enum client_state before);
	/* An event of its own was acknowledged. */
	void (*on_ack)(struct client *c);
	/* Wrong, but the connection goes on: an event lost, doubled or out of order. */
	void (*on_wrong)(struct client *c, const char *what);
};

struct client_options {
	int epoll;
	struct sockaddr_in server;
	const char *host; /* for the Host header */
	const char *path;
	uint32_t sources; /* addresses 127.0.0.1… to connect from */
	const struct client_events *events;
};

void client_init(struct client *c, uint32_t number, uint32_t room_size, uint32_t clients);
void client_deinit(struct client *c);

/* CLIENT_IDLE: begin; it becomes a member by itself. */
void client_connect(struct client *c, const struct client_options *o);
/* CLIENT_MEMBER: emit the next event to the room. */
void client_emit(struct client *c, const struct client_options *o);
/* CLIENT_MEMBER, CLIENT_LEFT. */
void client_leave(struct client *c, const struct client_options *o);
void client_close(struct client *c, const struct client_options *o);
/* What epoll says of c->fd. */
void client_on_ready(struct client *c, const struct client_options *o, uint32_t events);

const char *client_state_name(enum client_state state);
/* Why a client failed; empty if none did. The last one's reason. */
const char *client_failure(void);

#endif
