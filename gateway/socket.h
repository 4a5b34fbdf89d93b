/* A socket is a conn's presence in one namespace: it has an id, a user, rooms, and acks
 * that are due from the client. Applications (app.h) work with sockets.
 *
 * A socket ends with socket_close: applications hear on_disconnect, what waits for it is
 * told ERR_CLOSED, it leaves its rooms. Its memory goes at the end of the loop turn. */
#ifndef GATEHOUSE_GATEWAY_SOCKET_H
#define GATEHOUSE_GATEWAY_SOCKET_H

#include "gateway/app.h"
#include "proto/id.h"
#include "proto/list.h"
#include "proto/sio.h"

struct app;
struct conn;
struct namespace;
struct node;
struct recovery;

struct socket {
	struct conn *conn;
	uint64_t mark; /* the last broadcast that met this socket */
	struct namespace *ns;
	struct socket *conn_next;  /* the conn's next socket */
	struct recovery *recovery; /* NULL: none (recovery.h) */
	char *user;		   /* NULL: none */
	uint64_t expires_ms;	   /* wall clock; 0: never */
	struct link members;	   /* of struct member: the rooms it is in */
	struct link ops;	   /* of struct room_op: joins under way */
	struct link acks;	   /* of struct ack: due from the client */
	uint32_t rooms_n;
	uint32_t serial; /* no other of this node has it */
	uint16_t begun;	 /* answers of applications that are under way */
	bool closing;
	bool entered; /* in the namespace's table */
	bool missed;  /* it missed events: it gets nothing until it comes back */
	bool guest;   /* its id is another node's; subscribed to by name */
	char id[ID_LEN];
};

/* To find a socket again later, when it may be gone; one that came back is another,
 * though it has the same id. */
struct socket_ref {
	struct namespace *ns;
	uint32_t serial;
	char id[ID_LEN];
};

static inline struct slice socket_id(const struct socket *s)
{
	return slice_of(s->id, ID_LEN);
}

static inline struct slice socket_user(const struct socket *s)
{
	return s->user ? slice_str(s->user) : SLICE_EMPTY;
}

/* Connect a conn to a namespace: the CONNECT reply is queued, then applications hear of
 * it. Takes `user`. `auth` is borrowed. */
void socket_open(struct conn *c, struct namespace *ns, char *user, uint64_t expires_ms,
		 struct slice auth);
/* A socket that is closing already is left alone. */
void socket_close(struct socket *s, const char *reason);
/* At the end of a loop turn: free what was closed in it. */
void sockets_free_dead(struct node *n);
/* Tell the client that it is disconnected from the namespace, then socket_close. */
void socket_disconnect(struct socket *s, const char *reason);
/* Disconnect the conn's sockets whose token has expired. */
void sockets_check_expiry(struct conn *c);

void socket_on_event(struct socket *s, const struct sio_packet *packet);
void socket_on_ack(struct socket *s, const struct sio_packet *packet);

/* Send an event: `data` is an encoded array of name and arguments. ERR_SYNTAX and so on
 * if it is not (mp_to_json). */
MUST_USE enum err socket_emit(struct socket *s, struct slice data);
/* The ack of event `ack_id`: `data` is an encoded array of the arguments. */
MUST_USE enum err socket_ack(struct socket *s, uint64_t ack_id, struct slice data);

/* Send an event and ask the client for its ack, which goes to the application's
 * on_answer once, with `tag`, at most SOCKET_TAG_MAX bytes by which it knows what it had
 * asked. An answer to an id that is not due is ignored. On error, as socket_emit or
 * ERR_CLOSED of a socket that is closing, nothing was asked. */
enum { SOCKET_TAG_MAX = 255 };
MUST_USE enum err socket_emit_ack(struct socket *s, struct slice data,
				  uint64_t timeout_ms, struct app *app, struct slice tag);

struct socket_ref socket_ref(const struct socket *s);
/* NULL: it is gone. */
struct socket *socket_get(const struct socket_ref *ref);
/* An application answers this socket later: it does not move to another node before
 * socket_end, which does nothing if it is gone. */
struct socket_ref socket_begin(struct socket *s);
void socket_end(const struct socket_ref *ref);

/* --- for resume.c and move_state.c --- */

/* The CONNECT reply; then that it is here, for applications. */
void socket_send_connected(struct socket *s);
void socket_introduce(struct socket *s, struct slice auth);
/* A socket that comes from another node, or back; it hears nothing before socket_enter.
 * Takes `user`. */
struct socket *socket_arrive(struct conn *c, struct namespace *ns, struct slice id,
			     char *user, uint64_t expires_ms);
void socket_enter(struct socket *s);
/* It lives at another node: nobody hears of its end here. */
void socket_drop(struct socket *s);
/* Answers due do not time out here any more: another node waits for them. */
void acks_stop(struct socket *s);
/* The answers due: pack them, and take one that was packed. */
struct ack;
void acks_pack(const struct socket *s, msgpack_packer *pk);
MUST_USE enum err acks_unpack(struct socket *s, struct mp_cursor *c);
/* Likewise what applications know of it. */
void apps_pack(const struct socket *s, msgpack_packer *pk);
MUST_USE enum err apps_unpack(struct socket *s, struct mp_cursor *c);

/* Each answer of an application's questions that is due, with the time left for it. `fn`
 * asks and answers nothing. */
void acks_each(const struct node *n, const struct app *app,
	       void (*fn)(void *arg, struct socket *s, struct slice tag,
			  uint64_t left_ms),
	       void *arg);

/* Acks that are overdue; and when the next one is (UINT64_MAX: none). */
void acks_tick(struct node *n, uint64_t now);
uint64_t acks_next(const struct node *n);

#endif
