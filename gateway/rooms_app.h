/* The built-in application `rooms`: clients join, leave, emit to and list rooms, as far
 * as the namespace's policy allows. Its events, their arguments and answers are in
 * docs/events.md; each answer is {ok:true, …} or {ok:false, error:{code, message}}. */
#ifndef GATEHOUSE_GATEWAY_ROOMS_APP_H
#define GATEHOUSE_GATEWAY_ROOMS_APP_H

#include "adapter/adapter.h"
#include "gateway/namespace.h"

/* X(NAME, code on the wire, what it means) */
#define ROOMS_ERROR_TABLE(X)                                                             \
	X(BAD_REQUEST, "bad_request", "arguments missing or of the wrong type")          \
	X(NOT_ALLOWED, "not_allowed", "the policy of this room does not allow it")       \
	X(NOT_MEMBER, "not_member", "only members of the room may do this")              \
	X(TOO_LONG, "too_long", "the room's name is too long")                           \
	X(TOO_MANY, "too_many", "the socket is in as many rooms as it may be")           \
	X(RESERVED, "reserved", "the name is kept for the server")                       \
	X(UNKNOWN_EVENT, "unknown_event", "no such built-in event")                      \
	X(UNAVAILABLE, "unavailable", "the backend is away; try again later")            \
	X(FULL, "full", "too much is waiting for the backend; try again later")          \
	X(UNCONFIRMED, "unconfirmed",                                                    \
	  "the backend's connection broke; it may or may not have happened")

enum rooms_error {
#define ROOMS_ERROR_ENUM_(name, code, text) ROOMS_ERROR_##name,
	ROOMS_ERROR_TABLE(ROOMS_ERROR_ENUM_)
#undef ROOMS_ERROR_ENUM_
};

extern const struct app_ops rooms_app;

/* This member is gone without a word of its own (its node died, its way back failed):
 * announce its leaving where the room does. */
void rooms_app_on_member_lost(struct namespace *ns, struct slice room,
			      const struct adapter_member *m);

/* A backend wants the socket in a room, whatever the policy says, or out of it. */
void rooms_app_join(struct socket *s, struct slice room);
void rooms_app_leave(struct socket *s, struct slice room);

#endif
