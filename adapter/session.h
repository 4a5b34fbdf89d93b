/* Connection state recovery, as adapters offer it (docs/recovery.md): events that are
 * published with CLUSTER_LOGGED get numbers from one counter of the cluster, in the step
 * that logs and publishes them, so that number order, log order and the order in which
 * every node hears them are one. A session is what must be known of a socket to give it
 * on another connection, at any node, what it missed.
 *
 * The one trick: what needs a place in the order of messages (the number at which a join
 * begins, a page of what was missed) is itself sent to the node among the messages it
 * hears (SESSION_JOIN, SESSION_REPLAY: `done` runs there). So what is heard before `done`
 * has numbers up to the one it is told, what is heard after it has greater ones, and
 * nothing must be held back, compared or dropped.
 *
 * A position is an era and a number, as text `<era>-<number>`: the offset that clients
 * echo. An era ends when the backend may have lost data (another run of the server); its
 * numbers stay good if nothing that anybody had seen was lost.
 *
 * Each take of a session raises its generation; what names an older one is refused
 * (ERR_CLOSED) and changes nothing. */
#ifndef GATEHOUSE_ADAPTER_SESSION_H
#define GATEHOUSE_ADAPTER_SESSION_H

#include "proto/err.h"
#include "proto/id.h"

enum {
	/* A private id is the socket's id and characters nobody can guess. */
	PID_LEN = ID_LEN + 24,
	OFFSET_MAX = 48, /* bytes of an offset's text */
	SESSION_ROOMS_MAX = 4096,
	SESSION_SPANS_MAX = 256, /* of one room */
	SESSION_HISTORY_MAX = 1000,
};

/* How much is kept, and for how long. Every node of a cluster has the same. */
struct session_options {
	bool on; /* else there are no numbers, and session operations are not used */
	uint64_t window_ms; /* how long a parked session is kept */
	/* how long one may live without a RENEW: ping interval and timeout, with slack */
	uint64_t renew_ms;
	/* Of a room's log, and of a namespace's, in which the events are that go to
	 * several rooms or to all; 0 events: as the nodes of the cluster say, for who is
	 * none of them. Entries are kept for window + renew at least, unless
	 * these caps are reached. */
	uint64_t log_events_max, log_bytes_max;
	uint64_t nsp_log_events_max, nsp_log_bytes_max;
	/* Of all events, to fill a gap of a node that heard nothing for a while. */
	uint64_t recent_bytes_max;
};

enum session_op {
	/* Generation 1. One of this id that is there is overwritten; the same, with the
	 * same private id, is left as it is. */
	SESSION_NEW,
	/* Into a room; in it already: its place is not moved. As LEAVE it has a number of
	 * its own, so that it is noticed if the backend loses it. */
	SESSION_JOIN,
	SESSION_LEAVE,	/* out of a room, at `number`; of a later stay nothing */
	SESSION_RENEW,	/* it lives, here, and has had all up to `number` */
	SESSION_PARK,	/* its client is gone: it is kept for the window */
	SESSION_END,	/* it is to be kept no longer */
	SESSION_TAKE,	/* this node goes on with it */
	SESSION_REPLAY, /* a page of what came for it after `number` */
	SESSION_OPS
};

/* Borrowed for the call. What an operation does not name is not looked at. */
struct session_request {
	enum session_op op;
	struct slice sid;    /* ID_LEN */
	uint64_t generation; /* not NEW, TAKE */
	struct slice nsp;    /* NEW, TAKE, JOIN, REPLAY */
	struct slice pid;    /* NEW, TAKE: PID_LEN */
	struct slice user;   /* NEW, TAKE; may be empty */
	/* NEW, RENEW: the floor, up to which it needs nothing; LEAVE: the last that is
	 * for it; REPLAY: after which to go on. In the present era. */
	uint64_t number;
	struct slice offset; /* TAKE: what the client says it has, or empty */
	struct slice room;   /* JOIN, LEAVE */
	unsigned flags;	     /* JOIN: kept for the gateway, 0 to 255 */
	/* RENEW: it came here from another node, which heard its events until now. */
	bool arrived;
	size_t history;	  /* JOIN: so many of the room's last events */
	size_t bytes_max; /* JOIN with history, REPLAY: of a page, but for one event */
};

/* When a session was in a room: for events with joined < number <= left. */
struct session_span {
	uint64_t joined, left; /* left: UINT64_MAX, it is in it */
};

struct session_room {
	struct slice name;
	unsigned flags;
	const struct session_span *spans; /* in order; one or more */
	size_t spans_n;
};

struct session_reply {
	uint64_t generation; /* TAKE */
	/* TAKE: it was parked, so that its owner has said good-bye for it. */
	bool parked;
	/* TAKE: after which the client needs events (the later one of floor and offset);
	 * JOIN: where it begins; REPLAY: up to where this page goes */
	uint64_t number;
	const struct session_room *rooms; /* TAKE: the left ones, too */
	size_t rooms_n;
	/* REPLAY, JOIN with history: cluster messages in the order of their numbers, as
	 * they were published (cluster_decode). REPLAY: all of the logs of the namespace,
	 * of the rooms it was in and of its own id; whether it was in one of several
	 * rooms, or is excepted, is the gateway's to see. History: of the room's log
	 * alone. */
	const struct slice *messages;
	size_t messages_n;
	bool end; /* REPLAY: the messages heard from now on are what follows */
};

/* ERR_NOT_FOUND: no such session; of TAKE also: it has ended or expired, another user's,
 * or the pid is not its. ERR_CLOSED: it is another node's by now (or the adapter closes).
 * ERR_LOST of TAKE and REPLAY: a log does not go back so far any more, or the backend has
 * lost data: the client must be told (it is not recovered). A TAKE that fails changes
 * nothing. ERR_TOO_MANY of JOIN: more rooms, or stays in one, than the constants above
 * say; those it left count until its floor has passed them. ERR_UNAVAILABLE, ERR_FULL,
 * ERR_DENIED as of adapter_publish. `r` is NULL on error. */
typedef void adapter_session_fn(void *arg, enum err err, const struct session_reply *r);

/* What others did with a session of this node (adapter_events.on_session). */
enum session_event {
	SESSION_TAKEN,	      /* its client is at another connection: `generation` */
	SESSION_DISCONNECTED, /* a backend wants it away, for good */
	/* A backend wants it in `room`, or out of it. Said again after each RENEW until
	 * it was answered with a JOIN or LEAVE of that room. */
	SESSION_JOINED,
	SESSION_LEFT,
};

#endif
