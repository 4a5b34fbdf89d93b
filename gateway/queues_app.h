/* The built-in application `queues`: clients push to queues and consume from them, as far
 * as the namespace's policy allows. Its events, their arguments and answers are in
 * docs/queues.md; each answer is {ok:true, …} or {ok:false, error:{code, message}}. */
#ifndef GATEHOUSE_GATEWAY_QUEUES_APP_H
#define GATEHOUSE_GATEWAY_QUEUES_APP_H

#include "gateway/app.h"

/* X(NAME, code on the wire, what it means) */
#define QUEUES_ERROR_TABLE(X)                                                            \
	X(BAD_REQUEST, "bad_request", "arguments missing or of the wrong type")          \
	X(NOT_ALLOWED, "not_allowed", "the policy of this queue does not allow it")      \
	X(TOO_LONG, "too_long",                                                          \
	  "the name of the queue, the group or the key is too "                          \
	  "long")                                                                        \
	X(TOO_BIG, "too_big", "the payload is larger than this queue takes")             \
	X(TOO_MANY, "too_many", "the socket consumes from as many queues as it may")     \
	X(QUEUE_FULL, "queue_full", "the queue holds as much as it may")                 \
	X(NOT_CONSUMING, "not_consuming", "the socket does not consume from this queue") \
	X(UNKNOWN_EVENT, "unknown_event", "no such built-in event")                      \
	X(UNAVAILABLE, "unavailable", "the backend is away; try again later")            \
	X(FULL, "full", "too much is waiting for the backend; try again later")          \
	X(UNCONFIRMED, "unconfirmed",                                                    \
	  "the backend's connection broke; it may or may not have happened")

enum queues_error {
#define QUEUES_ERROR_ENUM_(name, code, text) QUEUES_ERROR_##name,
	QUEUES_ERROR_TABLE(QUEUES_ERROR_ENUM_)
#undef QUEUES_ERROR_ENUM_
};

extern const struct app_ops queues_app;

#endif
