/* One client of the load program, on the load generator's (bench/client.h): it joins a
 * room, emits numbered events to it, hears those of all members, leaves and closes.
 *
 * Everything arrives through talker_on_ready; what it means for the whole is told to
 * `struct talker_events`. A talker that fails stays failed. */
#ifndef GATEHOUSE_TESTS_LOAD_TALKER_H
#define GATEHOUSE_TESTS_LOAD_TALKER_H

#include "bench/client.h"

enum { ROOM_SIZE_MAX = 64 };

enum talker_state {
	TALKER_IDLE,
	TALKER_COMING, /* up to the answer of room:join */
	TALKER_MEMBER,
	TALKER_LEAVING, /* room:leave sent */
	TALKER_LEFT,
	TALKER_CLOSING, /* WebSocket close sent */
	TALKER_CLOSED,
	TALKER_FAILED,
	TALKER_STATES
};

struct talker {
	struct client client;
	enum talker_state state;
	uint32_t number;    /* of all talkers */
	uint32_t room;	    /* of all rooms */
	uint32_t room_size; /* members, this one too */
	uint32_t first;	    /* number of the room's first member */
	uint32_t emitted, acked;
	uint32_t received;
	uint32_t next[ROOM_SIZE_MAX]; /* by sender in the room: its event due next */
	uint64_t order; /* hash of what was heard, in order: the same for all members */
};

/* What the program hears. */
struct talker_events {
	void (*on_state)(struct talker *t, enum talker_state before);
	/* An event of its own was acknowledged. */
	void (*on_ack)(struct talker *t);
	/* Wrong, but the connection goes on: an event lost, doubled or out of order. */
	void (*on_wrong)(struct talker *t, const char *what);
};

/* Once, before all others: the server, the loop, and who hears. Borrowed. */
void talker_setup(struct net *net, const char *path, const struct talker_events *events);

void talker_init(struct talker *t, uint32_t number, uint32_t room_size, uint32_t talkers);
void talker_deinit(struct talker *t);

/* TALKER_IDLE: begin; it becomes a member by itself. */
void talker_connect(struct talker *t);
/* TALKER_MEMBER: emit the next event to the room. */
void talker_emit(struct talker *t);
/* TALKER_MEMBER, TALKER_LEFT. */
void talker_leave(struct talker *t);
void talker_close(struct talker *t);
/* What epoll says of one of its pipes. */
void talker_on_ready(struct pipe *pipe, uint32_t events);

const char *talker_state_name(enum talker_state state);
/* Why a talker failed; empty if none did. The last one's reason. */
const char *talker_failure(void);

#endif
