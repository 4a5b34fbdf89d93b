#include "gateway/session.h"

#include "gateway/move.h"
#include "gateway/node.h"
#include "gateway/polling.h"
#include "gateway/relay.h"

bool session_is_foreign(const struct node *n, struct slice sid)
{
	return n->config->redis && id_is(sid) && !slice_starts(sid, slice_str(n->code));
}

/* Of a session that is here: does the request fit it? */
static bool fits(const struct conn *c, const struct eio_query *q, bool upgrade)
{
	return (upgrade || (polling_is(c) && q->transport == EIO_POLLING)) &&
	       c->version == q->version;
}

static bool check_sid(const struct node *n, const struct eio_query *q, bool upgrade,
		      enum eio_error *error)
{
	const struct conn *c = conns_find(n, q->sid);

	if (c) {
		*error = EIO_ERROR_BAD_REQUEST;
		return fits(c, q, upgrade);
	}
	*error = EIO_ERROR_SID_UNKNOWN;
	if (session_is_foreign(n, q->sid))
		return q->transport == EIO_POLLING || upgrade;
	if (moves_gone(n, q->sid))
		*error = EIO_ERROR_BAD_REQUEST;
	return !upgrade && table_get(&n->pollings.lingering, q->sid);
}

bool session_check(const struct node *n, const struct eio_query *q, bool get,
		   bool upgrade, enum eio_error *error)
{
	if (!config_has_transport(n->config, q->transport)) {
		*error = EIO_ERROR_TRANSPORT_UNKNOWN;
		return false;
	}
	*error = EIO_ERROR_BAD_REQUEST; /* the reference opens it and closes it */
	if (upgrade && q->transport != EIO_WEBSOCKET)
		return false;
	if (q->sid.n)
		return check_sid(n, q, upgrade, error);
	*error = EIO_ERROR_BAD_METHOD;
	if (!get)
		return false;
	*error = EIO_ERROR_BAD_REQUEST;
	if (q->transport == EIO_WEBSOCKET && !upgrade)
		return false;
	*error = EIO_ERROR_BAD_VERSION;
	return q->version == 4 || (q->version == 3 && n->config->allow_eio3);
}

static struct conn *polling_conn(const struct node *n, const struct eio_query *q)
{
	struct conn *c = conns_find(n, q->sid);

	return c && fits(c, q, false) ? c : NULL;
}

bool session_post_begin(struct node *n, const struct eio_query *q)
{
	struct conn *c = polling_conn(n, q);

	return !c || polling_post_begin(c);
}

void session_post_undo(struct node *n, const struct eio_query *q)
{
	struct conn *c = polling_conn(n, q);

	if (c)
		polling_post_undo(c);
}

void session_post_gone(struct node *n, const struct eio_query *q)
{
	struct conn *c = polling_conn(n, q);

	if (c)
		conn_close(c, CONN_CLOSE_TRANSPORT_ERROR);
}

void session_gone(struct node *n, struct exchange *x)
{
	if (x->polling)
		polling_on_gone(x);
	else if (x->relayed)
		relay_on_gone(n, x);
}

/* Requests may wait for their bodies, so the session is looked up again. */
void session_get_here(struct node *n, const struct eio_query *q, struct exchange *x)
{
	struct conn *c = conns_find(n, q->sid);

	if (c && fits(c, q, false))
		polling_get(c, x);
	else if (!c && polling_linger(n, q->sid, true, x))
		return;
	else
		exchange_error(x, c || moves_gone(n, q->sid) ? EIO_ERROR_BAD_REQUEST
							     : EIO_ERROR_SID_UNKNOWN);
}

static void post_here(struct node *n, const struct eio_query *q, struct slice body,
		      bool binary, bool begun, struct exchange *x)
{
	struct conn *c = conns_find(n, q->sid);

	if (c && fits(c, q, false))
		polling_post(c, body, binary, begun, x);
	else if (!c && polling_linger(n, q->sid, false, x))
		return;
	else
		exchange_error(x, c || moves_gone(n, q->sid) ? EIO_ERROR_BAD_REQUEST
							     : EIO_ERROR_SID_UNKNOWN);
}

void session_post_here(struct node *n, const struct eio_query *q, struct slice body,
		       bool binary, struct exchange *x)
{
	post_here(n, q, body, binary, false, x);
}

static bool is_elsewhere(const struct node *n, struct slice sid)
{
	return session_is_foreign(n, sid) && !conns_find(n, sid);
}

/* False: this node has ended so far that nobody can be asked any more. */
static bool can_ask(const struct node *n, struct exchange *x)
{
	if (n->state < NODE_CLOSING)
		return true;
	exchange_answer(x, &(struct answer){.kind = ANSWER_AWAY});
	return false;
}

void session_get(struct node *n, const struct eio_query *q, struct exchange *x)
{
	if (q->sid.n == 0)
		polling_open(n, q, x);
	else if (!is_elsewhere(n, q->sid))
		session_get_here(n, q, x);
	else if (can_ask(n, x))
		relay_get(n, q, x);
}

void session_post(struct node *n, const struct eio_query *q, struct slice body,
		  bool binary, struct exchange *x)
{
	if (!is_elsewhere(n, q->sid))
		post_here(n, q, body, binary, true, x);
	else if (can_ask(n, x))
		relay_post(n, q, body, binary, x);
}
