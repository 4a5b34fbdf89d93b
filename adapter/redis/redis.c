/* The adapter that joins nodes through Redis: two links, one for commands and one that
 * subscribes, and on them pubsub, publishes, presence and queues. This file is what holds
 * them together: when the adapter is up, the loop's turn, the timer, and the end. */
#include <assert.h>
#include <stdlib.h>

#include "adapter/redis/presence.h"
#include "adapter/redis/publish.h"
#include "adapter/redis/queues.h"
#include "adapter/redis/sessions.h"
#include "proto/mem.h"

enum { TICK_MS_MIN = 10, TICK_MS_MAX = 100, CLOSE_MS = 1000 };

enum redis_state {
	REDIS_NEW,     /* not opened */
	REDIS_OPEN,    /* connected or trying to */
	REDIS_CLOSING, /* leaving, for CLOSE_MS at most */
	REDIS_ENDING,  /* links closed; waiting for libuv */
};

struct redis {
	struct redis_core core;
	enum redis_state state;
	struct redis_link commands, subscriptions;
	struct redis_scripts scripts;
	struct redis_pubsub pubsub;
	struct redis_publisher publisher;
	struct redis_presence presence;
	struct redis_queues queues;
	struct redis_library library; /* of rooms */
	struct redis_stream stream;
	struct redis_sessions sessions;
	uv_timer_t timer;
	bool timer_held; /* by libuv */
	uint64_t tick_ms, ticked_ms;
	bool ever_up, deaf; /* was up before; has lost its subscriptions since */
	uint64_t close_ms;  /* CLOSING: deadline */
	void (*closed)(void *arg);
	void *closed_arg;
	char *host, *path, *username, *password;
};

static struct redis *redis_of(struct adapter *a)
{
	return container_of(a, struct redis, core.base);
}

static void on_tick(uv_timer_t *t);

static void redis_open(struct adapter *a)
{
	struct redis *r = redis_of(a);

	assert(r->state == REDIS_NEW);
	r->state = REDIS_OPEN;
	redis_link_open(&r->commands);
	redis_link_open(&r->subscriptions);
	r->ticked_ms = redis_core_now(&r->core);
	uv_timer_start(&r->timer, on_tick, 0, r->tick_ms);
}

static void redis_add_namespace(struct adapter *a, struct slice nsp)
{
	redis_pubsub_add_namespace(&redis_of(a)->pubsub, nsp);
}

static void redis_publish(struct adapter *a, const struct cluster_broadcast *b,
			  adapter_done_fn *done, void *arg)
{
	redis_publisher_publish(&redis_of(a)->publisher, b, done_plain(done, arg));
}

static void redis_tell(struct adapter *a, struct slice node_code, struct slice bytes,
		       adapter_done_fn *done, void *arg)
{
	redis_publisher_tell(&redis_of(a)->publisher, node_code, bytes,
			     done_plain(done, arg));
}

static void redis_fence(struct adapter *a, struct slice node_code, struct slice bytes,
			adapter_done_fn *done, void *arg)
{
	redis_publisher_fence(&redis_of(a)->publisher, node_code, bytes,
			      done_plain(done, arg));
}

static void redis_subscribe(struct adapter *a, struct slice nsp, struct slice room,
			    adapter_done_fn *done, void *arg)
{
	redis_pubsub_subscribe(&redis_of(a)->pubsub, nsp, room, done_plain(done, arg));
}

static void redis_unsubscribe(struct adapter *a, struct slice nsp, struct slice room)
{
	redis_pubsub_unsubscribe(&redis_of(a)->pubsub, nsp, room);
}

static void redis_add(struct adapter *a, struct slice nsp, struct slice room,
		      const struct adapter_member *m, adapter_count_fn *done, void *arg)
{
	redis_presence_add(&redis_of(a)->presence, nsp, room, m, done_count(done, arg));
}

static void redis_remove(struct adapter *a, struct slice nsp, struct slice room,
			 const struct adapter_member *m, adapter_count_fn *done,
			 void *arg)
{
	redis_presence_remove(&redis_of(a)->presence, nsp, room, m,
			      done_count(done, arg));
}

static void redis_list(struct adapter *a, struct slice nsp, struct slice room,
		       struct slice after, size_t limit, adapter_members_fn *done,
		       void *arg)
{
	redis_presence_list(&redis_of(a)->presence, nsp, room, after, limit,
			    done_members(done, arg));
}

static void redis_queue(struct adapter *a, const struct queue_request *r,
			adapter_queue_fn *done, void *arg)
{
	redis_queues_ask(&redis_of(a)->queues, r, done_queue(done, arg));
}

static void redis_queue_watch(struct adapter *a, struct slice queue)
{
	redis_queues_watch(&redis_of(a)->queues, queue);
}

static void redis_queue_unwatch(struct adapter *a, struct slice queue)
{
	redis_queues_unwatch(&redis_of(a)->queues, queue);
}

static void redis_session(struct adapter *a, const struct session_request *r,
			  adapter_session_fn *done, void *arg)
{
	redis_sessions_ask(&redis_of(a)->sessions, r, done_session(done, arg));
}

static uint64_t redis_position(const struct adapter *a, struct slice *offset)
{
	return redis_stream_position(&((const struct redis *)(const void *)a)->stream,
				     offset);
}

static void set_up(struct redis *r, bool up)
{
	struct redis_core *c = &r->core;
	bool gap = up && r->ever_up && r->deaf;

	if (c->stats.up == up)
		return;
	c->stats.up = up;
	if (up) {
		r->ever_up = true;
		r->deaf = false;
		c->stats.gaps += gap;
	}
	if (up)
		redis_core_log(c, ADAPTER_LOG_INFO, "redis_up", "gap=%d", gap);
	else
		redis_core_log(c, ADAPTER_LOG_WARN, "redis_down", "waiting_ms_max=%llu",
			       (unsigned long long)c->options.publish_wait_ms_max);
	if (!c->closing)
		c->base.events->on_state(c->base.ctx, up, gap);
}

/* Down is said at once (on_cut); up when both links are ready, to the same server, and
 * all subscriptions live. */
static void check_up(struct redis *r)
{
	if (r->commands.state != REDIS_LINK_READY ||
	    r->subscriptions.state != REDIS_LINK_READY)
		return;
	if (strcmp(r->commands.run_id, r->subscriptions.run_id) != 0) {
		/* One has reached another server than the other, as in a failover: what
		 * is published on one side is not heard on the other. */
		redis_link_fail(&r->commands, "redis_servers_differ",
				"error=\"the two connections reached two servers\"");
		redis_link_fail(&r->subscriptions, "redis_servers_differ",
				"error=\"the two connections reached two servers\"");
		return;
	}
	if (!redis_pubsub_restored(&r->pubsub))
		return;
	redis_stream_on_restored(&r->stream);
	if (redis_stream_is_live(&r->stream))
		set_up(r, true);
}

static void on_stream_reply(void *ctx, uint64_t token, uint64_t number, bool end,
			    const struct slice *messages, size_t n)
{
	redis_sessions_on_reply(&((struct redis *)ctx)->sessions, token, number, end,
				messages, n);
}

static const struct redis_stream_events stream_events = {on_stream_reply};

static void on_commands_greet(void *ctx)
{
	redis_scripts_load(&((struct redis *)ctx)->scripts);
}

static void on_commands_ready(void *ctx)
{
	struct redis *r = ctx;

	redis_presence_on_ready(&r->presence);
	redis_queues_on_ready(&r->queues);
	redis_library_on_ready(&r->library);
}

static void on_commands_cut(void *ctx)
{
	struct redis *r = ctx;

	redis_presence_on_cut(&r->presence);
	redis_queues_on_cut(&r->queues);
	redis_library_on_cut(&r->library);
	/* Numbered messages are not delivered until it is up again, so what comes among
	 * them now would come before those it stands behind. */
	redis_stream_on_cut(&r->stream);
	redis_sessions_on_deaf(&r->sessions);
	set_up(r, false);
}

static void on_subscriptions_ready(void *ctx)
{
	redis_pubsub_on_ready(&((struct redis *)ctx)->pubsub);
}

static void on_subscriptions_cut(void *ctx)
{
	struct redis *r = ctx;

	r->deaf = true;
	redis_pubsub_on_cut(&r->pubsub);
	redis_stream_on_cut(&r->stream);
	redis_sessions_on_deaf(&r->sessions);
	set_up(r, false);
}

static void on_subscriptions_push(void *ctx, const struct resp *reply)
{
	redis_pubsub_on_push(&((struct redis *)ctx)->pubsub, reply);
}

static const struct redis_link_hooks commands_hooks = {
	.on_greet = on_commands_greet,
	.on_ready = on_commands_ready,
	.on_cut = on_commands_cut,
};

static const struct redis_link_hooks subscriptions_hooks = {
	.on_ready = on_subscriptions_ready,
	.on_cut = on_subscriptions_cut,
	.on_push = on_subscriptions_push,
};

static void redis_free(struct redis *r)
{
	redis_sessions_deinit(&r->sessions);
	redis_stream_deinit(&r->stream);
	redis_queues_deinit(&r->queues);
	redis_presence_deinit(&r->presence);
	redis_publisher_deinit(&r->publisher);
	redis_pubsub_deinit(&r->pubsub);
	redis_link_deinit(&r->commands);
	redis_link_deinit(&r->subscriptions);
	buf_deinit(&r->core.key);
	free(r->host);
	free(r->path);
	free(r->username);
	free(r->password);
	free(r);
}

static void on_timer_closed(uv_handle_t *h)
{
	((struct redis *)h->data)->timer_held = false;
}

/* Every answer that is still due becomes ERR_CLOSED. */
static void end(struct redis *r)
{
	r->state = REDIS_ENDING;
	redis_link_close(&r->commands);
	redis_link_close(&r->subscriptions);
	redis_publisher_close(&r->publisher);
	redis_presence_abandon(&r->presence);
	redis_queues_close(&r->queues);
	redis_sessions_close(&r->sessions);
	uv_close((uv_handle_t *)&r->timer, on_timer_closed);
}

static bool has_published(const struct redis *r)
{
	if ((r->queues.bytes || r->sessions.bytes) && r->core.stats.up)
		return false;
	return r->publisher.unanswered == 0 &&
	       ((list_empty(&r->publisher.waiting) && list_empty(&r->publisher.again)) ||
		!r->core.stats.up);
}

static void check_closed(struct redis *r)
{
	if (r->state == REDIS_CLOSING &&
	    ((r->presence.state == PRESENCE_LEFT && has_published(r)) ||
	     redis_core_now(&r->core) >= r->close_ms))
		end(r);
}

/* True: it is gone. Not from libuv's callbacks, since the caller of turn may be in the
 * middle of one, and turns come until `closed`. */
static bool check_gone(struct redis *r)
{
	if (r->state != REDIS_ENDING || r->timer_held || r->commands.handles ||
	    r->subscriptions.handles || !list_empty(&r->core.later))
		return false;
	r->closed(r->closed_arg);
	redis_free(r);
	return true;
}

static void on_tick(uv_timer_t *t)
{
	struct redis *r = t->data;
	uint64_t now = redis_core_now(&r->core);

	/* A process that was stopped, or starved, has not listened. (Not for less: a loop
	 * that is always late must still notice a dead server.) */
	if (now - r->ticked_ms > r->commands.o.reply_timeout_ms / 2) {
		redis_link_forgive(&r->commands, now);
		redis_link_forgive(&r->subscriptions, now);
	}
	r->ticked_ms = now;
	redis_link_tick(&r->commands, now);
	redis_link_tick(&r->subscriptions, now);
	redis_pubsub_tick(&r->pubsub, now);
	redis_publisher_tick(&r->publisher, r->core.stats.up, now);
	redis_presence_tick(&r->presence, now);
	redis_queues_tick(&r->queues, now);
	redis_sessions_tick(&r->sessions, r->core.stats.up, now);
	check_closed(r);
}

static bool redis_turn(struct adapter *a)
{
	struct redis *r = redis_of(a);
	bool ran = redis_core_answer(&r->core), was_up = r->core.stats.up;

	if (r->state == REDIS_OPEN)
		check_up(r);
	if (r->state != REDIS_ENDING) {
		ran |= redis_pubsub_turn(&r->pubsub);
		ran |= redis_publisher_turn(&r->publisher, r->core.stats.up);
		redis_stream_turn(&r->stream);
		redis_sessions_turn(&r->sessions, r->core.stats.up);
		redis_presence_turn(&r->presence);
		redis_queues_turn(&r->queues);
		redis_link_flush(&r->commands);
		redis_link_flush(&r->subscriptions);
		check_closed(r);
	}
	ran |= !list_empty(&r->core.later) || r->core.stats.up != was_up;
	return check_gone(r) || ran;
}

static void redis_stats(const struct adapter *a, struct adapter_stats *s)
{
	const struct redis *r = (const void *)a; /* its first member's first */

	*s = r->core.stats;
	s->subscriptions = redis_pubsub_count(&r->pubsub);
}

static void redis_close(struct adapter *a, void (*closed)(void *arg), void *arg)
{
	struct redis *r = redis_of(a);

	assert(r->state == REDIS_NEW || r->state == REDIS_OPEN);
	r->core.closing = true;
	r->closed = closed;
	r->closed_arg = arg;
	redis_pubsub_close(&r->pubsub);
	/* While up, what was asked for before still goes out. */
	if (!r->core.stats.up)
		redis_publisher_close(&r->publisher);
	redis_presence_close(&r->presence);
	r->close_ms = redis_core_now(&r->core) + CLOSE_MS;
	r->state = REDIS_CLOSING;
}

static const struct adapter_ops redis_ops = {
	.name = "redis",
	.open = redis_open,
	.add_namespace = redis_add_namespace,
	.publish = redis_publish,
	.tell = redis_tell,
	.fence = redis_fence,
	.subscribe = redis_subscribe,
	.unsubscribe = redis_unsubscribe,
	.presence_add = redis_add,
	.presence_remove = redis_remove,
	.presence_list = redis_list,
	.queue = redis_queue,
	.queue_watch = redis_queue_watch,
	.queue_unwatch = redis_queue_unwatch,
	.session = redis_session,
	.position = redis_position,
	.turn = redis_turn,
	.stats = redis_stats,
	.close = redis_close,
};

static char *copy(const char *s)
{
	return s ? mem_strndup(s, strlen(s)) : NULL;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Often enough for the shortest of the times it watches over. */
static uint64_t tick_ms(const struct adapter_options *o,
			const struct adapter_redis_options *x)
{
	uint64_t ms = least(least(x->reply_timeout_ms / 8, x->backoff_ms_min / 2),
			    least(o->presence_lease_ms / 12, o->publish_wait_ms_max / 8));

	return ms < TICK_MS_MIN ? TICK_MS_MIN : least(ms, TICK_MS_MAX);
}

static void init_links(struct redis *r, const struct adapter_redis_options *x)
{
	struct redis_link_options link = {
		.name = "commands",
		.target = {.host = r->host, .port = x->port, .path = r->path},
		.username = r->username,
		.password = r->password,
		.db = x->db,
		.reply_timeout_ms = x->reply_timeout_ms,
		.backoff_ms_min = x->backoff_ms_min,
		.backoff_ms_max = x->backoff_ms_max,
	};

	redis_link_init(&r->commands, &r->core, &link, &commands_hooks, r);
	link.name = "subscriptions";
	redis_link_init(&r->subscriptions, &r->core, &link, &subscriptions_hooks, r);
}

struct adapter *adapter_redis_new(const struct adapter_options *o,
				  const struct adapter_redis_options *x)
{
	struct redis *r = mem_zalloc(1, sizeof(*r));

	assert(strlen(o->node_code) == NODE_CODE_LEN);
	assert(x->host || x->path);
	assert(x->reply_timeout_ms > 0);
	assert(x->backoff_ms_min <= x->backoff_ms_max);
	assert(o->presence_lease_ms > 0);
	r->core.base = (struct adapter){
		.ops = &redis_ops, .events = o->events, .ctx = o->ctx, .env = o->env};
	memcpy(r->core.base.node_code, o->node_code, NODE_CODE_LEN + 1);
	r->core.options = *o;
	r->core.options.node_code = r->core.base.node_code;
	buf_str(&r->core.key, x->key);
	link_init(&r->core.later);
	env_random(o->env, r->core.seed, sizeof(r->core.seed));
	r->host = copy(x->host);
	r->path = copy(x->path);
	r->username = copy(x->username);
	r->password = copy(x->password);
	init_links(r, x);
	redis_scripts_init(&r->scripts, &r->commands);
	redis_pubsub_init(&r->pubsub, &r->core, &r->subscriptions);
	redis_library_init(&r->library, &r->core, &r->commands, redis_script_rooms,
			   "gh_rooms_version", "redis_rooms_refused");
	redis_stream_init(&r->stream, &r->core, &r->commands, &r->pubsub, &r->library,
			  &stream_events, r);
	if (o->sessions.on)
		redis_pubsub_set_stream(&r->pubsub, &r->stream);
	redis_sessions_init(&r->sessions, &r->core, &r->commands, &r->stream);
	redis_publisher_init(&r->publisher, &r->core, &r->commands, &r->pubsub,
			     &r->stream);
	redis_presence_init(&r->presence, &r->core, &r->commands, &r->scripts);
	redis_queues_init(&r->queues, &r->core, &r->commands, &r->pubsub);
	r->tick_ms = tick_ms(o, x);
	uv_timer_init(o->loop, &r->timer);
	r->timer.data = r;
	r->timer_held = true;
	return &r->core.base;
}
