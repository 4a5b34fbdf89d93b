#include "gateway/node.h"

#include <assert.h>
#include <malloc.h>
#include <stdlib.h>

#include "gateway/broadcast.h"
#include "gateway/log.h"
#include "gateway/process.h"
#include "gateway/queue_feeds.h"
#include "gateway/rooms.h"
#include "gateway/rooms_app.h"
#include "proto/mem.h"

enum {
	TURN_MAX_MS = 15000, /* how long the longest turn is remembered at least */
	/* What a renewal may be late: a busy loop, the way to the backend. */
	RENEW_SLACK_MS = 15000,
};

/* The one place where the state changes. It only goes on; who was told to stop may skip
 * lingering, but nothing after it. */
static void set_state(struct node *n, enum node_state state)
{
	assert(state > n->state);
	assert(state <= NODE_DRAINING || state == n->state + 1);
	n->state = state;
}

/* --- what the adapter reports --- */

static void on_message(void *ctx, const struct cluster_broadcast *b)
{
	broadcast_deliver(ctx, b);
}

static void on_told(void *ctx, struct slice from, struct slice bytes)
{
	relay_on_told(ctx, from, bytes);
}

static void on_state(void *ctx, bool up, bool gap)
{
	struct node *n = ctx;

	n->backend_up = up;
	if (!up) {
		log_event(LOG_WARN, "backend_down",
			  "msg=publishes wait, connected clients stay");
		return;
	}
	log_event(LOG_INFO, "backend_up", "gap=%s", gap ? "yes" : "no");
	if (n->state == NODE_STARTING)
		set_state(n, NODE_READY);
	conns_on_backend_up(n);
}

static void on_presence_lost(void *ctx)
{
	struct node *n = ctx;

	log_event(LOG_INFO, "presence_announced_again", "node=%s", n->code);
	for (size_t i = 0; i < n->config->namespaces_n; i++)
		rooms_announce_presence(&n->namespaces[i]);
}

static void on_member_lost(void *ctx, struct slice nsp, struct slice room,
			   const struct adapter_member *m)
{
	struct node *n = ctx;
	struct namespace *ns = node_namespace(n, nsp);

	if (ns)
		rooms_app_on_member_lost(ns, room, m);
}

static void on_queue(void *ctx, struct slice queue)
{
	struct node *n = ctx;

	for (size_t i = 0; i < n->apps_n; i++) {
		if (n->apps[i].ops->on_queue)
			n->apps[i].ops->on_queue(n->apps[i].state, queue);
	}
}

static void on_log(void *ctx, enum adapter_log_level level, const char *id,
		   const char *text)
{
	static const enum log_level levels[] = {
		[ADAPTER_LOG_INFO] = LOG_INFO,
		[ADAPTER_LOG_WARN] = LOG_WARN,
		[ADAPTER_LOG_ERROR] = LOG_ERROR,
	};

	(void)ctx;
	log_event(levels[level], id, "%s", text);
}

static void on_missed(void *ctx)
{
	recovery_on_missed(ctx);
}

static void on_session(void *ctx, enum session_event what, struct slice sid,
		       uint64_t generation, struct slice room)
{
	recovery_on_session(ctx, what, sid, generation, room);
}

static const struct adapter_events adapter_events = {
	.on_message = on_message,
	.on_told = on_told,
	.on_state = on_state,
	.on_presence_lost = on_presence_lost,
	.on_member_lost = on_member_lost,
	.on_missed = on_missed,
	.on_session = on_session,
	.on_queue = on_queue,
	.on_log = on_log,
};

struct adapter_redis_options node_redis_options(const struct config *c)
{
	return (struct adapter_redis_options){
		.host = c->redis_at.host,
		.port = c->redis_at.port,
		.path = c->redis_at.path,
		.username = c->redis_at.username,
		.password = c->redis_at.password,
		.db = c->redis_at.db,
		.key = c->redis_key,
		.reply_timeout_ms = c->redis_reply_timeout_ms,
		.backoff_ms_min = c->redis_backoff_ms_min,
		.backoff_ms_max = c->redis_backoff_ms_max,
	};
}

static struct session_options session_options(const struct config *c)
{
	struct session_options o = {
		.window_ms = c->recovery_window_ms,
		.renew_ms = c->ping_interval_ms + c->ping_timeout_ms + RENEW_SLACK_MS,
		.log_events_max = c->log_events,
		.log_bytes_max = c->log_bytes,
		.nsp_log_events_max = c->namespace_log_events,
		.nsp_log_bytes_max = c->namespace_log_bytes,
		.recent_bytes_max = c->recent_bytes,
	};

	for (size_t i = 0; i < c->namespaces_n; i++)
		o.on |= c->namespaces[i].recovery;
	return o;
}

static struct adapter *new_adapter(struct node *n)
{
	const struct config *c = n->config;
	const struct adapter_options options = {
		.loop = n->loop,
		.env = n->env,
		.events = &adapter_events,
		.ctx = n,
		.node_code = n->code,
		.publish_waiting_bytes_max = c->publish_waiting_bytes_max,
		.publish_wait_ms_max = c->publish_wait_ms,
		.presence_lease_ms = c->presence_lease_ms,
		.sessions = session_options(c),
	};
	const struct adapter_redis_options redis = node_redis_options(c);

	return c->redis ? adapter_redis_new(&options, &redis)
			: adapter_memory_new(&options);
}

/* --- the loop --- */

/* How long a node that stops waits, once its conns are gone, for clients that hang here
 * for other nodes' sessions, and for those that are to fetch a last word. */
enum { DRAINED_MS = 2000 };

static void drain(struct node *n)
{
	log_event(LOG_INFO, "draining", "conns=%zu time_ms=%llu", n->conns.n,
		  (unsigned long long)n->config->drain_time_ms);
	set_state(n, NODE_DRAINING);
	n->drain_at = UINT64_MAX;
	conns_drain(n, n->config->drain_time_ms);
	pollings_hurry(n);
	relays_release(n);
	n->stop_events->on_drain(n->stop_arg);
}

static void tick(struct node *n)
{
	uint64_t now = env_now_ms(n->env);

	if (n->drain_at <= now)
		drain(n);
	conns_tick(n, now);
	pollings_tick(n, now);
	upgrades_tick(n, now);
	relays_tick(n, now);
	moves_tick(n, now);
	recoveries_tick(n, now);
	acks_tick(n, now);
	for (size_t i = 0; i < n->apps_n; i++) {
		if (n->apps[i].ops->tick)
			n->apps[i].ops->tick(n->apps[i].state, now);
	}
}

static uint64_t apps_next(const struct node *n)
{
	uint64_t at = UINT64_MAX;

	for (size_t i = 0; i < n->apps_n; i++) {
		const struct app *app = &n->apps[i];
		uint64_t next = app->ops->next ? app->ops->next(app->state) : UINT64_MAX;

		at = next < at ? next : at;
	}
	return at;
}

static void on_timer(uv_timer_t *timer)
{
	struct node *n = timer->data;

	n->timer_at = UINT64_MAX;
	tick(n); /* what it queued leaves in this turn's prepare */
}

/* One timer for everything that is due some time; it is set anew only when the earliest
 * of those moved. */
static void set_timer(struct node *n)
{
	const uint64_t times[] = {pollings_next(n), upgrades_next(n), relays_next(n),
				  moves_next(n),    acks_next(n),     apps_next(n),
				  n->drain_at,	    n->drained_at,    recoveries_next(n)};
	uint64_t at = conns_next(n), now;

	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++)
		at = times[i] < at ? times[i] : at;
	if (at == n->timer_at)
		return;
	n->timer_at = at;
	if (at == UINT64_MAX) {
		uv_timer_stop(&n->timer);
		return;
	}
	now = env_now_ms(n->env);
	uv_update_time(n->loop);
	uv_timer_start(&n->timer, on_timer, at > now ? at - now : 0, 0);
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct node *n = handle->data;

	if (--n->closing_handles)
		return;
	set_state(n, NODE_STOPPED);
	n->stop_events->on_stopped(n->stop_arg);
}

static void on_adapter_closed(void *arg)
{
	struct node *n = arg;

	n->adapter = NULL;
	n->closing_handles = 3;
	uv_close((uv_handle_t *)&n->check, on_handle_closed);
	uv_close((uv_handle_t *)&n->prepare, on_handle_closed);
	uv_close((uv_handle_t *)&n->timer, on_handle_closed);
}

/* Is somebody left who is to hear something yet, and may that take longer? */
static bool waits_for_others(struct node *n)
{
	uint64_t now = env_now_ms(n->env);

	if (pollings_done(n) && relays_done(n))
		return false;
	if (n->drained_at == UINT64_MAX)
		n->drained_at = now + DRAINED_MS;
	return now < n->drained_at;
}

/* True once, when the last conn is gone: the adapter has something to do. */
static bool drained(struct node *n)
{
	if (n->state != NODE_DRAINING)
		return false;
	if (n->conns.n)
		n->drained_at = UINT64_MAX; /* one has come by an upgrade */
	if (n->conns.n || waits_for_others(n))
		return false;
	if (upgrades_close_all(n))
		return true; /* in the next round they are gone */
	relays_give_up(n);
	n->drained_at = UINT64_MAX;
	set_state(n, NODE_CLOSING);
	adapter_close(n->adapter, on_adapter_closed, n);
	return true;
}

static void turn(struct node *n)
{
	bool more;

	do {
		more = n->adapter && adapter_turn(n->adapter);
		more |= rooms_turn(n);
		more |= upgrades_turn(n);
		more |= conns_turn(n);
		sockets_free_dead(n);
		more |= drained(n);
	} while (more || !list_empty(&n->room_ops));
	set_timer(n);
}

/* Runs when what woke the loop up was handled; the loop's time is from before that. */
static void on_check(uv_check_t *check)
{
	struct node *n = check->data;

	n->woke_ms = uv_now(n->loop);
}

/* In whole milliseconds of one clock, so that short turns are 0 or 1 and the sum is
 * right. It costs a look at the clock, and no system call. */
static void count_turn(struct node *n)
{
	uint64_t now = uv_hrtime() / 1000000, ms;

	if (n->woke_ms == 0)
		return;
	ms = now > n->woke_ms ? now - n->woke_ms : 0;
	metrics_count_turn(&n->metrics, ms);
	if (now - n->turn_max_at_ms >= TURN_MAX_MS) {
		/* Nothing woke the loop for two such times: what was is over. */
		n->turn_max_before_ms =
			(now - n->turn_max_at_ms) / 2 < TURN_MAX_MS ? n->turn_max_ms : 0;
		n->turn_max_ms = 0;
		n->turn_max_at_ms = now;
	}
	if (ms > n->turn_max_ms)
		n->turn_max_ms = ms;
}

static void on_prepare(uv_prepare_t *prepare)
{
	struct node *n = prepare->data;

	turn(n);
	count_turn(n);
}

/* --- what operators see --- */

static void on_metrics(void *arg, struct buf *out)
{
	struct node *n = arg;

	node_measure(n);
	metrics_write(&n->metrics, GATEHOUSE_VERSION,
		      n->adapter ? n->adapter->ops->name : "none", n->code, out);
	queue_feeds_metrics_write(&n->metrics, n->config, out);
}

/* That it answers says it all. */
static const char *unhealthy(void *arg)
{
	(void)arg;
	return NULL;
}

static const char *unready(void *arg)
{
	const struct node *n = arg;

	if (n->state == NODE_READY)
		return NULL;
	return node_is_stopping(n) ? "stopping" : "the backend was not reached yet";
}

/* --- start and stop --- */

static void open_apps(struct node *n, const struct app_ops *const *apps)
{
	while (apps[n->apps_n])
		n->apps_n++;
	n->apps = mem_zalloc(n->apps_n, sizeof(*n->apps));
	for (size_t i = 0; i < n->apps_n; i++) {
		n->apps[i].ops = apps[i];
		n->apps[i].state = apps[i]->open(n);
	}
}

struct node *node_new(uv_loop_t *loop, const struct env *env, const struct config *config,
		      const struct app_ops *const *apps)
{
	struct node *n = mem_zalloc(1, sizeof(*n));
	uint8_t random[NODE_CODE_LEN];

	n->loop = loop;
	n->env = env;
	n->config = config;
	n->timer_at = UINT64_MAX;
	n->drain_at = UINT64_MAX;
	n->drained_at = UINT64_MAX;
	n->start_wall_ms = env_wall_ms(env);
	link_init(&n->acks);
	link_init(&n->room_ops);
	link_init(&n->dead_sockets);
	env_random(env, n->seed, sizeof(n->seed));
	env_random(env, random, sizeof(random));
	id_chars(n->code, random, NODE_CODE_LEN);
	address_book_init(&n->addresses, n->seed);
	conns_init(&n->conns, n->seed);
	pollings_init(&n->pollings, n->seed);
	upgrades_init(&n->upgrades);
	relays_init(&n->relays, n->seed);
	moves_init(&n->moves, n->seed);
	recoveries_init(&n->recoveries, n->seed);
	open_apps(n, apps);
	n->namespaces = mem_zalloc(config->namespaces_n, sizeof(*n->namespaces));
	for (size_t i = 0; i < config->namespaces_n; i++)
		namespace_init(&n->namespaces[i], n, &config->namespaces[i]);
	n->adapter = new_adapter(n);
	for (size_t i = 0; i < config->namespaces_n; i++)
		adapter_add_namespace(n->adapter, n->namespaces[i].name);
	n->ops = (struct ops_source){unhealthy, unready, on_metrics, n};
	uv_prepare_init(loop, &n->prepare);
	n->prepare.data = n;
	uv_check_init(loop, &n->check);
	n->check.data = n;
	uv_timer_init(loop, &n->timer);
	n->timer.data = n;
	return n;
}

void node_start(struct node *n)
{
	uv_prepare_start(&n->prepare, on_prepare);
	uv_check_start(&n->check, on_check);
	adapter_open(n->adapter);
}

void node_stop(struct node *n, const struct node_stop_events *events, void *arg)
{
	bool linger = n->state == NODE_READY && n->config->drain_delay_ms;

	assert(!node_is_stopping(n));
	n->stop_events = events;
	n->stop_arg = arg;
	/* Nobody sends clients to a node that never was ready. */
	if (linger) {
		set_state(n, NODE_LINGERING);
		n->drain_at = env_now_ms(n->env) + n->config->drain_delay_ms;
		return;
	}
	drain(n);
}

void node_free(struct node *n)
{
	assert(n->state == NODE_STOPPED);
	sockets_free_dead(n);
	for (size_t i = 0; i < n->config->namespaces_n; i++)
		namespace_deinit(&n->namespaces[i]);
	free(n->namespaces);
	for (size_t i = 0; i < n->apps_n; i++)
		n->apps[i].ops->close(n->apps[i].state);
	free(n->apps);
	conns_deinit(&n->conns);
	address_book_deinit(&n->addresses);
	pollings_deinit(&n->pollings);
	relays_deinit(&n->relays);
	moves_deinit(&n->moves);
	recoveries_deinit(&n->recoveries);
	buf_deinit(&n->decode);
	buf_deinit(&n->encode);
	buf_deinit(&n->text);
	json_bins_deinit(&n->bins);
	free(n);
}

/* --- services --- */

struct namespace *node_namespace(struct node *n, struct slice name)
{
	for (size_t i = 0; i < n->config->namespaces_n; i++) {
		if (slice_eq(n->namespaces[i].name, name))
			return &n->namespaces[i];
	}
	return NULL;
}

struct app *node_app(struct node *n, struct slice name)
{
	for (size_t i = 0; i < n->apps_n; i++) {
		if (slice_eq(slice_str(n->apps[i].ops->name), name))
			return &n->apps[i];
	}
	return NULL;
}

void node_new_id(struct node *n, char id[ID_LEN])
{
	if (n->id_random_n == 0) {
		env_random(n->env, n->id_random, sizeof(n->id_random));
		n->id_random_n = sizeof(n->id_random);
	}
	n->id_random_n -= ID_RANDOM_LEN;
	memcpy(id, n->code, NODE_CODE_LEN);
	id_chars(id + NODE_CODE_LEN, n->id_random + n->id_random_n, ID_RANDOM_LEN);
}

enum err node_frame(struct node *n, const struct sio_packet *packet,
		    enum frame_encoding encoding, struct frame **out)
{
	enum err err = frame_ws_sio(packet, encoding, &n->text, &n->bins, out);

	buf_clear(&n->text);
	buf_trim(&n->text, NODE_SCRATCH_KEEP);
	return err;
}

void node_measure(struct node *n)
{
	struct metrics *m = &n->metrics;
	struct adapter_stats s = {0};

	if (n->adapter)
		adapter_stats_get(n->adapter, &s);
	m->conns_polling = n->conns.polling_n;
	m->conns_websocket = n->conns.n - n->conns.polling_n;
	m->backend_up = s.up;
	m->backend_connects = s.connects;
	m->backend_gaps = s.gaps;
	m->backend_published = s.published;
	m->backend_publish_failed = s.publish_failed;
	m->backend_publish_unconfirmed = s.publish_unconfirmed;
	m->backend_publish_waiting_bytes = s.publish_waiting_bytes;
	m->backend_received = s.received;
	m->backend_received_bytes = s.received_bytes;
	m->backend_gap_events = s.gap_events;
	m->backend_log_cut = s.log_cut;
	m->backend_eras = s.eras;
	m->backend_told = s.told;
	m->backend_told_bytes = s.told_bytes;
	m->backend_malformed = s.malformed + n->malformed;
	m->backend_ghosts = s.ghosts_reaped;
	m->backend_subscriptions = s.subscriptions;
	m->backend_rtt_us = s.rtt_us;
	m->heap_bytes = mallinfo2().uordblks;
	m->turn_max_ms = n->turn_max_ms > n->turn_max_before_ms ? n->turn_max_ms
								: n->turn_max_before_ms;
	m->process_start_ms = n->start_wall_ms;
	m->workers = 1;
	m->worker_conns_max = n->conns.n;
	process_measure(m, n->conns.n);
	for (size_t i = 0; i < n->apps_n; i++) {
		if (n->apps[i].ops->measure)
			n->apps[i].ops->measure(n->apps[i].state);
	}
}
