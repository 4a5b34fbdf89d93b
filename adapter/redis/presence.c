#include "adapter/redis/presence.h"

#include <assert.h>

#include "adapter/redis/presence_op.h"

enum {
	REAP_ROOMS = 64,     /* in one call of a script, which blocks Redis: */
	REAP_MEMBERS = 1000, /* about a millisecond */
	BEATS_PER_LEASE = 3,
	RETRY_MS = 1000 /* after Redis refused a script */
};

static void on_beat_reply(struct redis_call *call, const struct resp *r);
static void on_clear_reply(struct redis_call *call, const struct resp *r);
static void on_reap_reply(struct redis_call *call, const struct resp *r);

void redis_presence_init(struct redis_presence *p, struct redis_core *core,
			 struct redis_link *link, struct redis_scripts *scripts)
{
	*p = (struct redis_presence){.core = core, .link = link, .scripts = scripts};
	link_init(&p->waiting);
	link_init(&p->again);
	p->beat = (struct redis_call){.on_reply = on_beat_reply, .ctx = p};
	p->clear = (struct redis_call){.on_reply = on_clear_reply, .ctx = p};
	p->reap = (struct redis_call){.on_reply = on_reap_reply, .ctx = p};
	buf_str(&p->prefix, "gh:{0}");
	redis_core_put_mark(core, &p->prefix);
	buf_byte(&p->prefix, ':');
	buf_slice(&p->nodes, buf_view(&p->prefix));
	buf_str(&p->nodes, "nodes");
	buf_printf(&p->node_rooms, "%.*snode:%s:rooms", SLICE_FMT(buf_view(&p->prefix)),
		   core->base.node_code);
}

void redis_presence_deinit(struct redis_presence *p)
{
	assert(list_empty(&p->waiting));
	assert(list_empty(&p->again));
	assert(p->bytes == 0);
	buf_deinit(&p->prefix);
	buf_deinit(&p->nodes);
	buf_deinit(&p->node_rooms);
	buf_deinit(&p->scratch);
}

/* The one place where the state changes. */
static void set_state(struct redis_presence *p, enum redis_presence_state to)
{
	static const unsigned from[] = {
		[PRESENCE_AWAY] = 1u << PRESENCE_CHECKING | 1u << PRESENCE_CLEARING |
				  1u << PRESENCE_OPEN,
		[PRESENCE_CHECKING] = 1u << PRESENCE_AWAY,
		[PRESENCE_CLEARING] = 1u << PRESENCE_CHECKING | 1u << PRESENCE_OPEN,
		[PRESENCE_OPEN] = 1u << PRESENCE_CHECKING | 1u << PRESENCE_CLEARING,
		[PRESENCE_LEAVING] = 1u << PRESENCE_CHECKING | 1u << PRESENCE_CLEARING |
				     1u << PRESENCE_OPEN,
		[PRESENCE_LEFT] = 1u << PRESENCE_AWAY | 1u << PRESENCE_LEAVING,
	};

	assert(from[to] & 1u << p->state);
	p->state = to;
}

void presence_announce(struct redis_presence *p, struct slice room,
		       const struct resp *gone)
{
	struct redis_core *c = p->core;
	const uint8_t *hash = room.n ? memchr(room.p, '#', room.n) : NULL;
	struct slice nsp;

	if (!hash || gone->type != RESP_ARRAY)
		return;
	nsp = slice_of(room.p, (size_t)(hash - room.p));
	room = slice_skip(room, nsp.n + 1);
	for (size_t i = 0; i < gone->n; i++) {
		struct adapter_member m = presence_member_of(gone->v[i].s);

		c->stats.ghosts_reaped++;
		if (!c->closing)
			c->base.events->on_member_lost(c->base.ctx, nsp, room, &m);
	}
}

bool presence_spares(const struct redis_presence *p)
{
	return redis_core_now(p->core) < p->spare_ms;
}

static void spare(struct redis_presence *p)
{
	p->spare_ms = redis_core_now(p->core) + p->core->options.presence_lease_ms;
}

void presence_forgotten(struct redis_presence *p)
{
	if (p->state == PRESENCE_OPEN || p->state == PRESENCE_CHECKING)
		set_state(p, PRESENCE_CLEARING);
}

void presence_complain(struct redis_presence *p, struct slice error)
{
	redis_core_complain(p->core, &p->complained_ms, "redis_presence_refused", error);
}

/* For the calls of our own: true if `r` is an answer to work with. */
static bool is_answer(struct redis_presence *p, const struct resp *r)
{
	if (!r)
		return false;
	if (redis_scripts_missing(r)) {
		redis_scripts_reload(p->scripts);
		return false;
	}
	if (r->type == RESP_ERROR) {
		presence_complain(p, r->s);
		p->retry_ms = redis_core_now(p->core) + RETRY_MS;
		if (redis_link_is_passing(r->s))
			redis_link_refused(p->link, r->s);
		return false;
	}
	return r->type == RESP_ARRAY;
}

static void on_beat_reply(struct redis_call *call, const struct resp *r)
{
	struct redis_presence *p = call->ctx;
	bool known;

	p->beating = false;
	if (r && redis_scripts_missing(r)) {
		p->beat_ms = redis_core_now(p->core);
	} else if (r && r->type == RESP_ERROR) {
		spare(p);
		if (p->beat_ms > redis_core_now(p->core) + RETRY_MS)
			p->beat_ms = redis_core_now(p->core) + RETRY_MS;
	}
	if (!is_answer(p, r) || r->n < 2)
		return;
	known = r->v[0].i != 0;
	p->reap_due |= r->v[1].s.n > 0;
	if (p->state == PRESENCE_OPEN) {
		if (!known || p->doubtful)
			presence_forgotten(p);
	} else if (p->state == PRESENCE_CHECKING) {
		/* The first time something may be left of a node of the same name. */
		if (!known || p->doubtful || !p->ever ||
		    strcmp(p->run_id, p->link->run_id) != 0)
			presence_forgotten(p);
		else
			set_state(p, PRESENCE_OPEN);
	}
}

static void on_clear_reply(struct redis_call *call, const struct resp *r)
{
	struct redis_presence *p = call->ctx;
	struct redis_core *c = p->core;
	bool lost = p->ever;

	p->clearing = false;
	if (!is_answer(p, r) || r->n < 3 || r->v[1].i)
		return; /* the next turn goes on */
	if (p->state == PRESENCE_LEAVING) {
		set_state(p, PRESENCE_LEFT);
		return;
	}
	if (p->state != PRESENCE_CLEARING)
		return;
	set_state(p, PRESENCE_OPEN);
	p->doubtful = false;
	memcpy(p->run_id, p->link->run_id, sizeof(p->run_id));
	p->ever = true;
	if (!lost)
		return;
	redis_core_log(c, ADAPTER_LOG_WARN, "presence_lost",
		       "hint=\"Redis held other members of this node than it has; adding "
		       "them again\"");
	if (!c->closing)
		c->base.events->on_presence_lost(c->base.ctx);
}

static void on_reap_reply(struct redis_call *call, const struct resp *r)
{
	struct redis_presence *p = call->ctx;
	const struct resp *removed;
	uint64_t before = p->core->stats.ghosts_reaped;

	p->reaping = false;
	if (!is_answer(p, r) || r->n < 3)
		return;
	p->reap_due = r->v[1].i != 0;
	removed = &r->v[2];
	for (size_t i = 0; i + 1 < removed->n; i += 2)
		presence_announce(p, removed->v[i].s, &removed->v[i + 1]);
	if (r->v[0].s.n)
		redis_core_log(
			p->core, ADAPTER_LOG_INFO, "node_reaped",
			"node=%.*s members=%llu more=%d", SLICE_FMT(r->v[0].s),
			(unsigned long long)(p->core->stats.ghosts_reaped - before),
			p->reap_due);
}

static void send_beat(struct redis_presence *p)
{
	struct buf *out = redis_link_out(p->link);
	uint64_t lease = p->core->options.presence_lease_ms;

	p->beating = true;
	p->beat_ms = redis_core_now(p->core) + lease / BEATS_PER_LEASE;
	redis_scripts_call(p->scripts, SCRIPT_HEARTBEAT, 1, 2);
	resp_word(out, buf_view(&p->nodes));
	resp_word_str(out, p->core->base.node_code);
	resp_word_u64(out, lease);
	redis_link_expect(p->link, &p->beat);
}

static void send_reap(struct redis_presence *p, struct redis_call *call, const char *what)
{
	struct buf *out = redis_link_out(p->link);

	redis_scripts_call(p->scripts, SCRIPT_REAP, 1, 5);
	resp_word(out, buf_view(&p->nodes));
	resp_word(out, buf_view(&p->prefix));
	resp_word_str(out, p->core->base.node_code);
	resp_word_str(out, what);
	resp_word_u64(out, REAP_ROOMS);
	resp_word_u64(out, REAP_MEMBERS);
	redis_link_expect(p->link, call);
}

void redis_presence_on_ready(struct redis_presence *p)
{
	if (p->state == PRESENCE_LEFT)
		return;
	set_state(p, PRESENCE_CHECKING);
	if (p->ever)
		spare(p);
	p->beat_ms = redis_core_now(p->core);
}

void redis_presence_on_cut(struct redis_presence *p)
{
	if (p->state == PRESENCE_LEFT)
		return;
	/* What a clearing has removed so far must be added again. */
	p->doubtful |= p->state == PRESENCE_CLEARING;
	set_state(p, p->state == PRESENCE_LEAVING ? PRESENCE_LEFT : PRESENCE_AWAY);
}

static void go_on(struct redis_presence *p)
{
	if (redis_core_now(p->core) < p->retry_ms)
		return;
	if (p->state == PRESENCE_LEAVING && !p->clearing) {
		p->clearing = true;
		send_reap(p, &p->clear, "leave");
	}
	if (p->state == PRESENCE_CLEARING && !p->clearing) {
		/* What it removes need not be removed again. Those that wait may be: they
		 * come after it. */
		presence_ops_forget_owed(p);
		p->clearing = true;
		send_reap(p, &p->clear, "mine");
	}
	if (p->state == PRESENCE_OPEN && p->reap_due && !p->reaping &&
	    !presence_spares(p)) {
		p->reaping = true;
		send_reap(p, &p->reap, "dead");
	}
}

void redis_presence_turn(struct redis_presence *p)
{
	if (redis_scripts_loading(p->scripts))
		return;
	presence_ops_requeue(p);
	if (p->state == PRESENCE_AWAY || p->state == PRESENCE_LEFT)
		return;
	if (!p->beating && p->state != PRESENCE_LEAVING &&
	    redis_core_now(p->core) >= p->beat_ms)
		send_beat(p);
	go_on(p);
	if (p->state == PRESENCE_OPEN)
		presence_ops_write(p);
}

void redis_presence_close(struct redis_presence *p)
{
	redis_presence_abandon(p);
	if (p->state != PRESENCE_LEFT)
		set_state(p,
			  p->state == PRESENCE_AWAY ? PRESENCE_LEFT : PRESENCE_LEAVING);
}
