/* What clients may do with rooms, by namespace and room name. Nothing is allowed that no
 * rule allows. */
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

enum policy_action { POLICY_JOIN, POLICY_EMIT, POLICY_LIST, POLICY_ACTIONS };

struct policy_room {
	/* Pattern of room names: `*` is any run of characters, `{user}` the socket's user
	 * (a socket without one matches no such pattern). */
	char *match;
	enum policy_who may[POLICY_ACTIONS];
	char **events; /* names of events that may be emitted; none: any */
	size_t events_n;
	bool stamp;    /* events carry {from, user, at} as their last argument */
	bool announce; /* members hear room:joined and room:left */
	bool presence; /* room:members works, joins are told the count */
};

/* The first rule whose pattern matches, or NULL. `user` may be empty. */
const struct policy_room *policy_find(const struct policy_room *rooms, size_t n,
				      struct slice room, struct slice user);
/* `rule` may be NULL: nothing is allowed. */
bool policy_allows(const struct policy_room *rule, enum policy_action action, bool member,
		   struct slice user);
bool policy_event_ok(const struct policy_room *rule, struct slice event);
/* Does `pattern` match? Linear in both lengths but for `*`, without recursion. */
bool policy_match(const char *pattern, struct slice room, struct slice user);

#endif
