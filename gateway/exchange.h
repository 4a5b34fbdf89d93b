/* One HTTP request of a session that waits for its answer. Who answers does not know
 * where the client is: at this node (lws_polling.c), or at another, which sent the
 * request on (relay.c). */
#ifndef GATEHOUSE_GATEWAY_EXCHANGE_H
#define GATEHOUSE_GATEWAY_EXCHANGE_H

#include "proto/address.h"
#include "proto/eio.h"

struct exchange;
struct polling;
struct relayed;

enum answer_kind {
	ANSWER_PAYLOAD, /* 200, `body` is an Engine.IO payload */
	ANSWER_OK,	/* 200, "ok": a POST was taken */
	ANSWER_ERROR,	/* `error` with its status and its body */
	ANSWER_BAD,	/* 400 without a body: the session is gone by it */
	ANSWER_AWAY,	/* 503: the request may or may not have been handled */
	ANSWER_KINDS
};

struct answer {
	enum answer_kind kind;
	enum eio_error error;
	struct slice body; /* borrowed */
	bool binary;	   /* ANSWER_PAYLOAD: not text, which only Engine.IO 3 has */
	struct slice sid;  /* ANSWER_PAYLOAD: of the session that it begins; else empty */
};

struct exchange_ops {
	/* Answer it, once. It is gone afterwards. */
	void (*answer)(struct exchange *x, const struct answer *a);
};

/* Embedded as the first member of each kind. */
struct exchange {
	const struct exchange_ops *ops;
	/* Where it waits, one of the two, or neither. */
	struct polling *polling;
	struct relayed *relayed;
	struct address address; /* of the client, if it is at this node */
};

static inline void exchange_answer(struct exchange *x, const struct answer *a)
{
	x->ops->answer(x, a);
}

static inline void exchange_error(struct exchange *x, enum eio_error error)
{
	exchange_answer(x, &(struct answer){.kind = ANSWER_ERROR, .error = error});
}

#endif
