/* A session that moves from the node it polled to the node that holds its WebSocket.
 *
 * The new node B asks the owner A (messages of proto/relay.h):
 *
 *   B → A  PROBE    may I? A lets hanging GETs go from now on, as for a WebSocket of its
 * own B → A  TAKE     the client has upgraded. A takes no input any more, works off what
 * it has, A → B  ANSWER   and says what the session is: its sockets, their rooms, timers
 *   B               subscribes to these rooms and to the own ids of the sockets
 *   B → A,B FENCE   one point in the order of all messages: A delivers what comes before
 * it, B what comes after it A → B  REST     what A had not sent, the questions (acks)
 * clients still owe an answer B               is the owner: sends that, then what came
 * since the fence; takes presence over B → A  TAKEN    A forgets the session, without a
 * word to applications or rooms
 *
 * So nothing is lost, doubled or out of order, and nobody but the two nodes notices. Ids
 * stay as they are. Where it fails (a node dies, Redis is away, it takes longer than
 * upgradeTimeout) the client's WebSocket is closed, and it begins a new session: never a
 * silent hole. Until TAKEN the session is A's to end, for applications and presence; B
 * drops its half without a word. For a while A remembers that the session went. */
#ifndef GATEHOUSE_GATEWAY_MOVE_H
#define GATEHOUSE_GATEWAY_MOVE_H

#include "gateway/conn.h"
#include "proto/relay.h"

struct move_in;
struct move_out;

/* Of a node. */
struct moves {
	struct table in;  /* struct move_in by number */
	struct link out;  /* struct move_out by time */
	struct link gone; /* sessions that went elsewhere, by time */
	struct table gone_by_id;
};

void moves_init(struct moves *m, const uint64_t seed[2]);
void moves_deinit(struct moves *m);
void moves_tick(struct node *n, uint64_t now);
uint64_t moves_next(const struct node *n);
/* Has this session gone to another node lately? */
bool moves_gone(const struct node *n, struct slice sid);
/* What another node, or this one through a fence, said of a move. */
void move_on_told(struct node *n, struct slice from, const struct relay_message *m);

/* --- the new node --- */

struct move_in_events {
	/* May the session be taken over? ERR_OK, or not; then the move is over. */
	void (*on_claimed)(void *arg, enum err err);
	/* The move is over: a conn that waits for its transport, or NULL. */
	void (*on_moved)(void *arg, struct conn *c);
};

struct move_in *move_in_claim(struct node *n, struct slice sid, uint8_t version,
			      const struct move_in_events *events, void *arg);
/* The client has probed, or upgraded; after on_claimed. */
void move_in_probed(struct move_in *m);
void move_in_take(struct move_in *m);
/* The WebSocket is gone; no event follows. */
void move_in_cancel(struct move_in *m);
/* Its conn ends. */
void move_in_on_conn_gone(struct move_in *m);
/* One of the sockets that are to come is at another connection now (resume.h): its
 * session does not come. At once, for who wants its id. */
void move_in_let_go(struct node *n, const struct namespace *ns, struct slice sid);
/* FENCE, REST, ENDED. */
void move_in_on_told(struct node *n, struct slice from, const struct relay_message *r);

/* --- the old node --- */

/* Its conn has nothing under way any more, or so it seems. */
void move_out_check(struct move_out *m);
/* Does the new node know what it is? What changes here now, it does not hear of. */
bool move_out_is_told(const struct conn *c);
/* Its conn ends. */
void move_out_on_conn_gone(struct move_out *m);
/* The conn has no socket any more that comes back (resume.h): it may be claimed. */
void move_out_on_resumed(struct conn *c);

#endif
