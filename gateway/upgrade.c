#include "gateway/upgrade.h"

#include <assert.h>
#include <stdlib.h>

#include "gateway/move.h"
#include "gateway/node.h"
#include "gateway/polling.h"
#include "gateway/session.h"
#include "proto/mem.h"

enum upgrade_state {
	UPGRADE_CLAIMING, /* the session's node is asked whether it may */
	UPGRADE_CLAIMED,  /* "2probe" and "5" are to come */
	UPGRADE_MOVING,	  /* the session's node hands it over */
	UPGRADE_CLOSING	  /* in the next turn */
};

struct packet_head {
	size_t n;
	bool binary;
};

struct upgrade {
	struct prober prober; /* of a session of this node */
	struct node *node;
	const struct upgrade_ops *ops;
	void *transport; /* NULL: gone */
	enum upgrade_state state;
	struct conn *conn;  /* CLAIMED: the session, if it is this node's */
	struct move_in *in; /* it is another's */
	struct link dirty, due;
	uint64_t due_at;
	struct buf held; /* packets not worked off */
	size_t done;	 /* bytes of `held` that are */
	uint8_t version;
	bool probed;
	bool base64; /* eio_query's */
	char sid[ID_LEN];
};

/* The one place where the state changes. */
static void set_state(struct upgrade *u, enum upgrade_state to)
{
	static const unsigned from[] = {
		[UPGRADE_CLAIMING] = 0,
		[UPGRADE_CLAIMED] = 1u << UPGRADE_CLAIMING,
		[UPGRADE_MOVING] = 1u << UPGRADE_CLAIMED,
		[UPGRADE_CLOSING] = ~0u,
	};

	assert(from[to] & 1u << u->state);
	u->state = to;
}

void upgrades_init(struct upgrades *us)
{
	link_init(&us->dirty);
	link_init(&us->due);
}

static void touch(struct upgrade *u)
{
	if (list_empty(&u->dirty))
		list_push(&u->node->upgrades.dirty, &u->dirty);
}

/* Nothing comes of it. The session hears so at once, the transport in the next turn. */
static void upgrade_close(struct upgrade *u)
{
	if (u->state == UPGRADE_CLOSING)
		return;
	if (u->conn)
		polling_unclaim(u->conn);
	u->conn = NULL;
	if (u->in)
		move_in_cancel(u->in);
	u->in = NULL;
	set_state(u, UPGRADE_CLOSING);
	touch(u);
}

static void upgrade_free(struct upgrade *u)
{
	list_remove(&u->dirty);
	list_remove(&u->due);
	buf_deinit(&u->held);
	free(u);
}

static void on_session_closed(struct prober *p)
{
	struct upgrade *u = container_of(p, struct upgrade, prober);

	u->conn = NULL;
	upgrade_close(u);
}

void upgrade_on_packet(struct upgrade *u, struct slice bytes, bool binary)
{
	struct packet_head head = {bytes.n, binary};

	if (u->state == UPGRADE_CLOSING)
		return;
	/* A client sends no more than "5" and then what it has to say, and the move of a
	 * session takes milliseconds. */
	if (u->held.n + bytes.n > 2 * u->node->config->max_http_buffer_size) {
		upgrade_close(u);
		return;
	}
	buf_append(&u->held, &head, sizeof(head));
	buf_slice(&u->held, bytes);
	touch(u);
}

void upgrade_on_transport_closed(struct upgrade *u)
{
	u->transport = NULL;
	upgrade_close(u);
}

/* --- work --- */

static void set_due(struct upgrade *u)
{
	list_remove(&u->due);
	u->due_at = env_now_ms(u->node->env) + u->node->config->upgrade_timeout_ms;
	list_push(&u->node->upgrades.due, &u->due);
}

static struct slice sid_of(const struct upgrade *u)
{
	return slice_of(u->sid, ID_LEN);
}

static void send_pong(struct upgrade *u)
{
	struct frame *f = frame_ws_eio(EIO_PONG, SLICE_LIT("probe"));

	/* These few bytes cannot choke a transport that has sent none before. */
	if (u->ops->transport->write(u->transport, frame_view(f)) == TRANSPORT_BROKEN)
		upgrade_on_transport_closed(u);
	frame_unref(f);
}

/* Give the transport to the conn, and it what came for it already. */
static void attach(struct upgrade *u, struct conn *c)
{
	struct slice rest = slice_skip(buf_view(&u->held), u->done);

	c->base64 = u->base64;
	conn_set_transport(c, u->ops->transport, u->transport);
	u->ops->attach(u->transport, c);
	u->node->metrics.upgrades++;
	while (rest.n) {
		struct packet_head head;
		struct slice bytes;

		memcpy(&head, rest.p, sizeof(head));
		bytes = slice_of(rest.p + sizeof(head), head.n);
		conn_on_frame(c, bytes, head.binary);
		rest = slice_skip(rest, sizeof(head) + head.n);
	}
	upgrade_free(u);
}

static void on_moved(void *arg, struct conn *c)
{
	struct upgrade *u = arg;

	u->in = NULL;
	if (c)
		attach(u, c);
	else
		upgrade_close(u);
}

static void take(struct upgrade *u)
{
	struct conn *c = u->conn;

	if (u->in) {
		set_state(u, UPGRADE_MOVING);
		set_due(u);
		move_in_take(u->in);
		return;
	}
	if (c->state != CONN_OPEN) { /* it ends in this turn */
		upgrade_close(u);
		return;
	}
	u->conn = NULL;
	polling_detach(c);
	attach(u, c);
}

static void probed(struct upgrade *u)
{
	u->probed = true;
	if (u->in)
		move_in_probed(u->in);
	else
		polling_probed(u->conn);
	send_pong(u);
}

/* One packet; false: no more of them, or the upgrade is gone. */
static bool handle(struct upgrade *u, struct slice bytes, bool binary)
{
	/* Once: each is answered, and costs a message to the session's node. */
	if (!binary && !u->probed && slice_eq(bytes, SLICE_LIT("2probe"))) {
		probed(u);
		return u->state == UPGRADE_CLAIMED;
	}
	if (!binary && bytes.n && bytes.p[0] == EIO_UPGRADE)
		take(u);
	else
		upgrade_close(u);
	return false;
}

static void work(struct upgrade *u)
{
	while (u->state == UPGRADE_CLAIMED && u->done < u->held.n) {
		struct packet_head head;
		struct slice bytes;

		memcpy(&head, u->held.p + u->done, sizeof(head));
		bytes = slice_of(u->held.p + u->done + sizeof(head), head.n);
		u->done += sizeof(head) + head.n;
		if (!handle(u, bytes, head.binary))
			return;
	}
}

/* --- the beginning --- */

static void on_claimed(void *arg, enum err err)
{
	struct upgrade *u = arg;

	if (err != ERR_OK) {
		u->in = NULL;
		upgrade_close(u);
		return;
	}
	set_state(u, UPGRADE_CLAIMED);
	touch(u);
}

static const struct move_in_events move_events = {on_claimed, on_moved};

static void claim(struct upgrade *u)
{
	struct conn *c = conns_find(u->node, sid_of(u));

	if (c && c->state == CONN_OPEN && c->version == u->version && polling_is(c) &&
	    polling_claim(c, &u->prober) == ERR_OK) {
		u->conn = c;
		set_state(u, UPGRADE_CLAIMED);
	} else if (!c && session_is_foreign(u->node, sid_of(u))) {
		u->in = move_in_claim(u->node, sid_of(u), u->version, &move_events, u);
	} else {
		upgrade_close(u);
	}
}

struct upgrade *upgrade_new(struct node *n, const struct eio_query *q,
			    const struct upgrade_ops *ops, void *transport)
{
	struct upgrade *u = mem_zalloc(1, sizeof(*u));

	assert(q->sid.n == ID_LEN);
	u->prober.on_session_closed = on_session_closed;
	u->node = n;
	u->ops = ops;
	u->transport = transport;
	u->version = (uint8_t)q->version;
	u->base64 = q->base64;
	memcpy(u->sid, q->sid.p, ID_LEN);
	link_init(&u->dirty);
	link_init(&u->due);
	set_due(u);
	claim(u);
	return u;
}

bool upgrades_turn(struct node *n)
{
	struct link *l;
	bool any = false;

	while ((l = list_pop(&n->upgrades.dirty))) {
		struct upgrade *u = container_of(l, struct upgrade, dirty);

		any = true;
		if (u->state != UPGRADE_CLOSING) {
			work(u);
			continue;
		}
		if (u->transport)
			u->ops->transport->close(u->transport, CONN_CLOSE_SERVER);
		upgrade_free(u);
	}
	return any;
}

static struct upgrade *first_due(const struct node *n)
{
	struct link *l = list_first(&n->upgrades.due);

	return l ? container_of(l, struct upgrade, due) : NULL;
}

void upgrades_tick(struct node *n, uint64_t now)
{
	struct upgrade *u;

	while ((u = first_due(n)) && u->due_at <= now) {
		list_remove(&u->due);
		upgrade_close(u);
	}
}

bool upgrades_close_all(struct node *n)
{
	struct upgrade *u;
	bool any = false;

	while ((u = first_due(n))) {
		list_remove(&u->due);
		upgrade_close(u);
		any = true;
	}
	return any;
}

uint64_t upgrades_next(const struct node *n)
{
	const struct upgrade *u = first_due(n);

	return u ? u->due_at : UINT64_MAX;
}
