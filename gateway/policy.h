/* What clients may do with rooms and queues, by namespace and name. Nothing is allowed
 * that no rule allows. */
#ifndef GATEHOUSE_GATEWAY_POLICY_H
#define GATEHOUSE_GATEWAY_POLICY_H

#include "proto/slice.h"

/* Does a namespace want a token? */
enum policy_auth {
	POLICY_AUTH_NONE,     /* tokens are not looked at */
	POLICY_AUTH_OPTIONAL, /* a token names the user; a bad one is refused; none is
				 fine */
	POLICY_AUTH_REQUIRED, /* no good token, no connection */
};

enum policy_who {
	POLICY_NOBODY,
	POLICY_MEMBERS, /* sockets in the room */
	POLICY_USERS,	/* sockets whose user is known */
	POLICY_ANYBODY,
};

/* Which users POLICY_USERS means: those whose name one of the patterns matches, in which
 * `*` is any run of characters. None: all users. */
struct policy_names {
	char **patterns;
	size_t n;
};

enum policy_action { POLICY_JOIN, POLICY_EMIT, POLICY_LIST, POLICY_ACTIONS };

struct policy_room {
	/* Pattern of room names: `*` is any run of characters, `{user}` the socket's user
	 * (a socket without one matches no such pattern). */
	char *match;
	enum policy_who may[POLICY_ACTIONS];
	struct policy_names named[POLICY_ACTIONS];
	char **events; /* names of events that may be emitted; none: any */
	size_t events_n;
	bool stamp;    /* events carry {from, user, at} as their last argument */
	bool announce; /* members hear room:joined and room:left */
	bool presence; /* room:members works, joins are told the count */
};

/* What a rule for queues says in numbers:
 * X(field, key, unit, min, max, default, what it is) */
/* clang-format off */
#define POLICY_QUEUE_TABLE(X)                                                             \
	X(length_max, "maxLength", COUNT, 1, 100000000, "100000",                         \
	  "Messages the queue holds, dead letters among them; then pushes are refused")   \
	X(bytes_max, "maxBytes", BYTES, 1024, 1099511627776, "64MB",                      \
	  "Bytes they may have together")                                                 \
	X(payload_max, "maxPayload", BYTES, 1, 104857600, "256KiB",                       \
	  "Bytes of one message that a client pushes, as JSON")                           \
	X(failures_max, "failures", COUNT, 1, 1000, "5",                                  \
	  "With so many failures a message is a dead letter")                             \
	X(backoff_ms, "backoff", MS, 0, 86400000, "1s",                                   \
	  "How long a group waits after the first failure of a message; doubles with each") \
	X(backoff_ms_max, "backoffMax", MS, 0, 604800000, "60s",                          \
	  "The longest such wait")                                                        \
	X(lease_ms, "lease", MS, 1000, 3600000, "15s",                                    \
	  "How long the messages of a killed node stay with it before others get them")   \
	X(grace_ms, "grace", MS, 0, 600000, "2s",                                         \
	  "How long the messages of a client that is gone wait for it before others get them") \
	X(ack_timeout_ms, "ackTimeout", MS, 100, 86400000, "60s",                         \
	  "How long a client may take to acknowledge; longer is a failure")               \
	X(prefetch_max, "maxPrefetch", COUNT, 1, 1000, "100",                             \
	  "Messages a client may ask to have at once")                                    \
	X(delay_ms_max, "maxDelay", MS, 0, 31536000000, "86400s",                         \
	  "How long a client may delay a message")                                        \
	X(ttl_ms, "ttl", MS, 0, 31536000000, "0s",                                        \
	  "After so long messages of clients expire, unless they say sooner; 0: never")
/* clang-format on */

enum policy_queue_action { POLICY_PUSH, POLICY_CONSUME, POLICY_QUEUE_ACTIONS };

/* POLICY_MEMBERS does not occur. */
struct policy_queue {
	char *match; /* as of a room */
	enum policy_who may[POLICY_QUEUE_ACTIONS];
	struct policy_names named[POLICY_QUEUE_ACTIONS];
#define POLICY_QUEUE_FIELD_(field, key, unit, min, max, def, help) uint64_t field;
	POLICY_QUEUE_TABLE(POLICY_QUEUE_FIELD_)
#undef POLICY_QUEUE_FIELD_
};

/* The first rule whose pattern matches, or NULL. `user` may be empty. */
const struct policy_room *policy_find(const struct policy_room *rooms, size_t n,
				      struct slice room, struct slice user);
/* `rule` may be NULL: nothing is allowed. */
bool policy_allows(const struct policy_room *rule, enum policy_action action, bool member,
		   struct slice user);
bool policy_event_ok(const struct policy_room *rule, struct slice event);
const struct policy_queue *policy_find_queue(const struct policy_queue *queues, size_t n,
					     struct slice queue, struct slice user);
bool policy_allows_queue(const struct policy_queue *rule, enum policy_queue_action action,
			 struct slice user);
/* Does `pattern` match? Linear in both lengths but for `*`, without recursion. */
bool policy_match(const char *pattern, struct slice room, struct slice user);

#endif
