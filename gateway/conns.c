#include "gateway/conns.h"

#include <assert.h>

#include "gateway/node.h"
#include "gateway/resume.h"
#include "gateway/recovery.h"
#include "gateway/socket.h"
#include "proto/eio.h"

enum {
	CONNS_SCRATCH_KEEP = 256 * 1024,
	/* Many that leave do so in waves this far apart. */
	CONNS_WAVE_MS = 50,
	/* So far from the end of a list a conn looks for its place. */
	CONNS_NEAR_END = 64,
};

void conns_init(struct conns *c, const uint64_t seed[2])
{
	*c = (struct conns){.scratch = BUF_INIT, .leave_at = UINT64_MAX};
	table_init(&c->by_id, seed);
	link_init(&c->all);
	link_init(&c->dirty);
	link_init(&c->closing);
	link_init(&c->ping_due);
	link_init(&c->pong_due);
	link_init(&c->silence_due);
	link_init(&c->connect_due);
	link_init(&c->backend_due);
	link_init(&c->throttled);
	c->ping = frame_ws_eio(EIO_PING, SLICE_EMPTY);
	c->pong = frame_ws_eio(EIO_PONG, SLICE_EMPTY);
}

void conns_deinit(struct conns *c)
{
	assert(list_empty(&c->all));
	table_deinit(&c->by_id);
	buf_deinit(&c->scratch);
	frame_unref(c->ping);
	frame_unref(c->pong);
}

struct conn *conns_find(const struct node *n, struct slice id)
{
	return table_get(&n->conns.by_id, id);
}

bool conns_turn(struct node *n)
{
	struct conns *cs = &n->conns;
	struct link *l;
	bool any = false;

	while (!list_empty(&cs->closing) || !list_empty(&cs->dirty)) {
		while ((l = list_pop(&cs->closing))) {
			conn_take_out(container_of(l, struct conn, waiting));
			any = true;
		}
		if ((l = list_pop(&cs->dirty))) {
			any |= conn_work(container_of(l, struct conn, dirty));
		}
	}
	buf_clear(&cs->scratch);
	buf_trim(&cs->scratch, CONNS_SCRATCH_KEEP);
	return any;
}

void conns_close_all(struct node *n, enum conn_close reason)
{
	struct link *l, *tmp;

	list_each(l, tmp, &n->conns.all)
		conn_close(container_of(l, struct conn, all), reason);
}

void conns_drain(struct node *n, uint64_t ms)
{
	uint64_t now = env_now_ms(n->env);

	n->conns.leave_at = now;
	n->conns.leave_end = now + ms;
}

/* Close the oldest. How many, and when the next, is worked out anew each time from what
 * remains: a late tick, or clients that left by themselves, then change the pace a little
 * instead of making a burst at the end. */
static void let_leave(struct node *n, uint64_t now)
{
	struct conns *cs = &n->conns;
	uint64_t left = cs->leave_end > now ? cs->leave_end - now : 0;
	uint64_t wait = cs->n ? left / cs->n : 0;
	uint64_t count = cs->n;
	struct link *l, *tmp;

	if (wait < CONNS_WAVE_MS)
		wait = CONNS_WAVE_MS;
	if (wait < left)
		count = (cs->n * wait + left - 1) / left;
	list_each(l, tmp, &cs->all)
	{
		struct conn *c = container_of(l, struct conn, all);

		if (count == 0)
			break;
		if (c->state != CONN_OPEN)
			continue; /* it ended in this turn */
		conn_close(c, CONN_CLOSE_SHUTDOWN);
		count--;
	}
	cs->leave_at = now + wait;
}

void conns_on_backend_up(struct node *n)
{
	struct link *l;

	while ((l = list_pop(&n->conns.backend_due))) {
		struct conn *c = container_of(l, struct conn, waiting);

		c->waiting_backend = false;
		c->waiting_at = 0;
		if (c->sockets_n == 0)
			c->waiting_at =
				env_now_ms(n->env) + n->config->connect_timeout_ms;
		/* One that leaves takes the time along. */
		if (c->waiting_at && c->state == CONN_OPEN)
			conn_set_waiting(c, &n->conns.connect_due, c->waiting_at);
		conn_release(c);
	}
}

static bool heartbeat_due(struct link *list, uint64_t now, struct conn **c)
{
	if (list_empty(list))
		return false;
	*c = container_of(list->next, struct conn, heartbeat);
	return (*c)->heartbeat_at <= now;
}

static bool waiting_due(struct link *list, uint64_t now, struct conn **c)
{
	if (list_empty(list))
		return false;
	*c = container_of(list->next, struct conn, waiting);
	return (*c)->waiting_at <= now;
}

static bool throttle_due(const struct conns *cs, uint64_t now, struct conn **c)
{
	if (list_empty(&cs->throttled))
		return false;
	*c = container_of(cs->throttled.next, struct conn, throttle);
	return (*c)->throttle_at <= now;
}

static void ping(struct conn *c, uint64_t now)
{
	struct node *n = c->node;

	c->awaiting_pong = true;
	conn_set_heartbeat(c, &n->conns.pong_due, now + n->config->ping_timeout_ms);
	sockets_check_expiry(c);
	recovery_on_ping(c);
	conn_send(c, n->conns.ping, false);
}

/* Conns whose pong, or of version 3 whose ping, did not come. */
static void close_silent(struct node *n, struct link *list, uint64_t now)
{
	struct conn *c;

	while (heartbeat_due(list, now, &c)) {
		if (c->holds && !(c->resume && resume_is_stuck(c->resume)))
			/* it may lie unread */
			conn_set_heartbeat(c, list, now + n->config->ping_timeout_ms);
		else
			conn_close(c, CONN_CLOSE_PING_TIMEOUT);
	}
}

static bool heartbeat_fits(const struct link *list, uint64_t at)
{
	const struct link *l = list->prev;

	for (int i = 0; i < CONNS_NEAR_END && l != list; i++, l = l->prev) {
		const struct conn *c =
			container_of((struct link *)(uintptr_t)l, struct conn, heartbeat);

		if (c->heartbeat_at <= at)
			return true;
	}
	return l == list;
}

static bool waiting_fits(const struct link *list, uint64_t at)
{
	const struct link *l = list->prev;

	for (int i = 0; i < CONNS_NEAR_END && l != list; i++, l = l->prev) {
		const struct conn *c =
			container_of((struct link *)(uintptr_t)l, struct conn, waiting);

		if (c->waiting_at <= at)
			return true;
	}
	return l == list;
}

/* Its place in the lists is near their end, since clients upgrade soon. Where it is not,
 * a ping, or more time, costs less than to look for it among many. */
void conns_on_arrived(struct conn *c)
{
	struct conns *cs = &c->node->conns;
	const struct config *config = c->node->config;
	uint64_t now = env_now_ms(c->node->env);
	struct link *list = c->version == 3    ? &cs->silence_due
			    : c->awaiting_pong ? &cs->pong_due
					       : &cs->ping_due;

	if (heartbeat_fits(list, c->heartbeat_at))
		conn_set_heartbeat(c, list, c->heartbeat_at);
	else if (c->version == 3)
		conn_set_heartbeat(c, list,
				   now + config->ping_interval_ms +
					   config->ping_timeout_ms);
	else
		ping(c, now);
	if (c->waiting_at && waiting_fits(&cs->connect_due, c->waiting_at))
		conn_set_waiting(c, &cs->connect_due, c->waiting_at);
	else if (c->waiting_at)
		conn_set_waiting(c, &cs->connect_due, now + config->connect_timeout_ms);
}

void conns_tick(struct node *n, uint64_t now)
{
	struct conns *cs = &n->conns;
	struct conn *c;

	while (heartbeat_due(&cs->ping_due, now, &c))
		ping(c, now);
	close_silent(n, &cs->pong_due, now);
	close_silent(n, &cs->silence_due, now);
	while (waiting_due(&cs->connect_due, now, &c))
		conn_close(c, CONN_CLOSE_CONNECT_TIMEOUT);
	while (waiting_due(&cs->backend_due, now, &c))
		conn_close(c, CONN_CLOSE_BACKEND_AWAY);
	while (throttle_due(cs, now, &c)) {
		list_remove(&c->throttle);
		conn_throttle_over(c, now);
	}
	if (cs->leave_at <= now)
		let_leave(n, now);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t first_heartbeat(const struct link *list)
{
	return list_empty(list)
		       ? UINT64_MAX
		       : container_of(list->next, struct conn, heartbeat)->heartbeat_at;
}

static uint64_t first_waiting(const struct link *list)
{
	return list_empty(list)
		       ? UINT64_MAX
		       : container_of(list->next, struct conn, waiting)->waiting_at;
}

uint64_t conns_next(const struct node *n)
{
	const struct conns *cs = &n->conns;
	uint64_t at =
		earlier(first_heartbeat(&cs->ping_due), first_heartbeat(&cs->pong_due));

	at = earlier(at, first_heartbeat(&cs->silence_due));
	if (cs->n)
		at = earlier(at, cs->leave_at);
	at = earlier(at, first_waiting(&cs->connect_due));
	at = earlier(at, first_waiting(&cs->backend_due));
	if (!list_empty(&cs->throttled))
		at = earlier(at, container_of(cs->throttled.next, struct conn, throttle)
					 ->throttle_at);
	return at;
}
