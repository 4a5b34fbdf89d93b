#include "gateway/tool.h"

#include <stdio.h>
#include <unistd.h>

#include "gateway/node.h"

enum { WAIT_MS = 10000 }; /* for Redis to answer */

/* --- what the adapter reports: but for its log little is of interest --- */

static void on_message(void *ctx, const struct cluster_broadcast *b)
{
	(void)ctx;
	(void)b;
}

static void on_told(void *ctx, struct slice from, struct slice bytes)
{
	(void)ctx;
	(void)from;
	(void)bytes;
}

static void on_state(void *ctx, bool up, bool gap)
{
	struct tool *t = ctx;

	(void)gap;
	t->up |= up;
}

static void on_presence_lost(void *ctx)
{
	(void)ctx;
}

static void on_member_lost(void *ctx, struct slice nsp, struct slice room,
			   const struct adapter_member *m)
{
	(void)ctx;
	(void)nsp;
	(void)room;
	(void)m;
}

static void on_queue(void *ctx, struct slice queue)
{
	(void)ctx;
	(void)queue;
}

static void on_log(void *ctx, enum adapter_log_level level, const char *id,
		   const char *text)
{
	struct tool *t = ctx;

	if (level == ADAPTER_LOG_INFO)
		return;
	buf_clear(&t->log);
	buf_printf(&t->log, "%s %s", id, text);
	if (t->up || t->told)
		return;
	t->told = true;
	fprintf(stderr, "waiting up to %d s for Redis: %s\n", WAIT_MS / 1000,
		buf_cstr(&t->log));
}

static void on_missed(void *ctx)
{
	(void)ctx;
}

static void on_session(void *ctx, enum session_event what, struct slice sid,
		       uint64_t generation, struct slice room)
{
	(void)ctx;
	(void)what;
	(void)sid;
	(void)generation;
	(void)room;
}

static const struct adapter_events events = {
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

static void on_turn(uv_prepare_t *prepare)
{
	struct tool *t = prepare->data;

	while (t->adapter && adapter_turn(t->adapter))
		;
}

static void on_closed(void *arg)
{
	struct tool *t = arg;

	t->adapter = NULL;
	t->closed = true;
}

enum err tool_open(struct tool *t, int argc, char *const *argv, bool logged,
		   struct buf *errors)
{
	/* Applications that configurations of nodes name. */
	static const char *const apps[] = {"rooms", "queues", NULL};
	const struct config *c = &t->config;
	char code[NODE_CODE_LEN + 1] = "";
	uint8_t random[NODE_CODE_LEN];
	struct adapter_redis_options redis;
	struct adapter_options options = {
		.loop = &t->loop,
		.env = &env_system,
		.events = &events,
		.ctx = t,
		.node_code = code,
		.publish_wait_ms_max = WAIT_MS,
		.sessions.on = logged,
	};

	if (config_load_redis(&t->config, argc, argv, environ, apps, errors) != ERR_OK)
		return ERR_SYNTAX;
	options.publish_waiting_bytes_max = c->publish_waiting_bytes_max;
	options.presence_lease_ms = c->presence_lease_ms;
	redis = node_redis_options(c);
	env_random(&env_system, random, sizeof(random));
	id_chars(code, random, NODE_CODE_LEN);
	uv_loop_init(&t->loop);
	uv_prepare_init(&t->loop, &t->prepare);
	t->prepare.data = t;
	uv_prepare_start(&t->prepare, on_turn);
	t->adapter = adapter_redis_new(&options, &redis);
	adapter_open(t->adapter);
	return ERR_OK;
}

void tool_close(struct tool *t)
{
	adapter_close(t->adapter, on_closed, t);
	while (!t->closed)
		uv_run(&t->loop, UV_RUN_NOWAIT);
	uv_close((uv_handle_t *)&t->prepare, NULL);
	uv_run(&t->loop, UV_RUN_DEFAULT);
	uv_loop_close(&t->loop);
}

void tool_deinit(struct tool *t)
{
	config_deinit(&t->config);
	buf_deinit(&t->log);
}

void tool_wait(struct tool *t, size_t under_way)
{
	while (t->under_way > under_way)
		uv_run(&t->loop, UV_RUN_ONCE);
}

void tool_answered(struct tool *t, enum err err)
{
	t->under_way--;
	if (err != ERR_OK && t->err == ERR_OK)
		t->err = err;
}

int tool_failed(struct tool *t, const char *name)
{
	fprintf(stderr, "%s: %s%s%s\n", name, err_text(t->err), t->log.n ? ": " : "",
		t->log.n ? buf_cstr(&t->log) : "");
	return TOOL_CODE_FAILED;
}
