#include "gateway/node.h"
#include "gateway/tool_queue.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "adapter/adapter.h"
#include "gateway/config.h"
#include "proto/json.h"
#include "proto/mem.h"

enum {
	UNDER_WAY_MAX = 64,	/* pushes of lines that are not answered */
	PROGRESS_LINES = 10000, /* how often it is said how far it is */
	CODE_FAILED = 1,
	CODE_WRONG = 2,
	WAIT_MS = 10000, /* for Redis to answer */
};

struct tool {
	const struct tool_queue_args *a;
	struct config config;
	uv_loop_t loop;
	uv_prepare_t prepare;
	struct adapter *adapter;
	size_t under_way;
	uint64_t pushed, last_id;
	uint64_t number; /* of the last answer */
	enum err err;	 /* the first */
	struct buf log;	 /* the last thing Redis's connection had to say */
	bool closed;
};

/* --- what the adapter reports: but for its log nothing is of interest --- */

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
	(void)ctx;
	(void)up;
	(void)gap;
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

static void open_adapter(struct tool *t)
{
	const struct config *c = &t->config;
	char code[NODE_CODE_LEN + 1] = "";
	uint8_t random[NODE_CODE_LEN];
	const struct adapter_options options = {
		.loop = &t->loop,
		.env = &env_system,
		.events = &events,
		.ctx = t,
		.node_code = code,
		.publish_waiting_bytes_max = c->publish_waiting_bytes_max,
		.publish_wait_ms_max = WAIT_MS,
		.presence_lease_ms = c->presence_lease_ms,
	};
	const struct adapter_redis_options redis = node_redis_options(c);

	env_random(&env_system, random, sizeof(random));
	id_chars(code, random, NODE_CODE_LEN);
	uv_loop_init(&t->loop);
	uv_prepare_init(&t->loop, &t->prepare);
	t->prepare.data = t;
	uv_prepare_start(&t->prepare, on_turn);
	t->adapter = adapter_redis_new(&options, &redis);
	adapter_open(t->adapter);
}

static void close_adapter(struct tool *t)
{
	adapter_close(t->adapter, on_closed, t);
	while (!t->closed)
		uv_run(&t->loop, UV_RUN_NOWAIT);
	uv_close((uv_handle_t *)&t->prepare, NULL);
	uv_run(&t->loop, UV_RUN_DEFAULT);
	uv_loop_close(&t->loop);
}

/* Until so few requests are under way. */
static void wait_for(struct tool *t, size_t under_way)
{
	while (t->under_way > under_way)
		uv_run(&t->loop, UV_RUN_ONCE);
}

static enum err ask(struct tool *t, struct queue_request r, adapter_queue_fn *done)
{
	r.queue = slice_str(t->a->words[0]);
	t->under_way++;
	adapter_queue(t->adapter, &r, done, t);
	wait_for(t, 0);
	return t->err;
}

static void answered(struct tool *t, enum err err)
{
	t->under_way--;
	if (err != ERR_OK && t->err == ERR_OK)
		t->err = err;
}

static int failed(struct tool *t)
{
	static const char full[] = "the queue holds as much as it may";

	if (t->err == ERR_TOO_MANY)
		fprintf(stderr, "gatehouse queue: %s: %s\n", t->a->words[0], full);
	else
		fprintf(stderr, "gatehouse queue: %s%s%s\n", err_text(t->err),
			t->log.n ? ": " : "", t->log.n ? buf_cstr(&t->log) : "");
	return CODE_FAILED;
}

/* --- output --- */

/* A payload on one line: JSON as JSON, anything else as a JSON string. */
static void put_payload(struct buf *out, struct slice payload, const char *name)
{
	struct buf value = BUF_INIT, text = BUF_INIT;

	if (json_to_mp(payload, NULL, &value) == ERR_OK &&
	    mp_to_json(buf_view(&value), &text, NULL) == ERR_OK) {
		buf_printf(out, "%s", name);
		buf_slice(out, buf_view(&text));
	} else {
		buf_printf(out, "%s", *name ? "\"raw\":" : "");
		json_str(out, payload);
	}
	buf_deinit(&value);
	buf_deinit(&text);
}

static const char *state_text(enum queue_message_state state)
{
	static const char *const texts[] = {
		[QUEUE_MESSAGE_WAITING] = "waiting",
		[QUEUE_MESSAGE_DELAYED] = "delayed",
		[QUEUE_MESSAGE_IN_FLIGHT] = "in flight",
		[QUEUE_MESSAGE_DEAD] = "dead",
	};
	return texts[state];
}

static void message_json(struct buf *out, const struct queue_message *m)
{
	buf_printf(out, "{\"id\":\"%" PRIu64 "\",\"group\":", m->id);
	if (m->group.n)
		json_str(out, m->group);
	else
		buf_str(out, "null");
	buf_printf(out,
		   ",\"state\":\"%s\",\"failures\":%" PRIu64 ",\"lost\":%" PRIu64
		   ",\"error\":",
		   state_text(m->state), m->failures, m->lost);
	if (m->error.n)
		json_str(out, m->error);
	else
		buf_str(out, "null");
	buf_byte(out, ',');
	put_payload(out, m->payload, "\"payload\":");
	buf_str(out, "}\n");
}

static void message_text(struct buf *out, const struct queue_message *m)
{
	buf_printf(out, "%" PRIu64 "  %-9s  failures %" PRIu64 "  lost %" PRIu64, m->id,
		   state_text(m->state), m->failures, m->lost);
	if (m->group.n) {
		buf_str(out, "  group ");
		json_str(out, m->group);
	}
	if (m->error.n) {
		buf_str(out, "  error ");
		json_str(out, m->error);
	}
	buf_str(out, "\n    ");
	put_payload(out, m->payload, "");
	buf_byte(out, '\n');
}

static void on_page(void *arg, enum err err, const struct queue_reply *r)
{
	struct tool *t = arg;
	struct buf out = BUF_INIT;

	answered(t, err);
	for (size_t i = 0; err == ERR_OK && i < r->n; i++) {
		if (t->a->json)
			message_json(&out, &r->messages[i]);
		else
			message_text(&out, &r->messages[i]);
	}
	if (err == ERR_OK && !r->n && !t->a->json)
		buf_str(&out, t->a->command == TOOL_PEEK ? "no messages\n"
							 : "no dead letters\n");
	fwrite(out.p, 1, out.n, stdout);
	buf_deinit(&out);
}

static void stats_json(const char *queue, const struct queue_stats *s)
{
	struct buf out = BUF_INIT;

	buf_str(&out, "{\"queue\":");
	json_str(&out, slice_str(queue));
#define TOOL_STATS_(name) buf_printf(&out, ",\"" #name "\":%" PRIu64, s->name);
	QUEUE_STATS_TABLE(TOOL_STATS_)
#undef TOOL_STATS_
	buf_str(&out, "}\n");
	fwrite(out.p, 1, out.n, stdout);
	buf_deinit(&out);
}

static struct queue_stats last_stats;

static void on_stats(void *arg, enum err err, const struct queue_reply *r)
{
	struct tool *t = arg;

	answered(t, err);
	if (err == ERR_OK)
		last_stats = r->stats;
}

static int depth(struct tool *t)
{
	if (!t->a->json)
		printf("%-24s %10s %10s %10s %10s %10s %12s\n", "queue", "messages",
		       "in flight", "ready", "delayed", "dead", "oldest");
	for (size_t i = 0; i < t->a->words_n; i++) {
		const char *queue = t->a->words[i];
		const struct queue_stats *s = &last_stats;

		t->under_way++;
		adapter_queue(t->adapter,
			      &(struct queue_request){.op = QUEUE_STATS,
						      .queue = slice_str(queue)},
			      on_stats, t);
		wait_for(t, 0);
		if (t->err != ERR_OK)
			return failed(t);
		if (t->a->json)
			stats_json(queue, s);
		else
			printf("%-24s %10" PRIu64 " %10" PRIu64 " %10" PRIu64
			       " %10" PRIu64 " %10" PRIu64 " %10" PRIu64 "ms\n",
			       queue, s->length, s->in_flight, s->ready, s->delayed,
			       s->dead, s->oldest_ms);
	}
	return 0;
}

/* --- push --- */

static void on_pushed(void *arg, enum err err, const struct queue_reply *r)
{
	struct tool *t = arg;

	answered(t, err);
	if (err != ERR_OK)
		return;
	t->pushed++;
	t->last_id = r->number;
	if (t->a->json)
		printf("{\"id\":\"%" PRIu64 "\"}\n", r->number);
}

/* False: it is no JSON, which was said. */
static bool push_one(struct tool *t, struct slice payload, const char *where)
{
	struct buf value = BUF_INIT;
	bool good = t->a->raw || json_to_mp(payload, NULL, &value) == ERR_OK;

	buf_deinit(&value);
	if (!good) {
		fprintf(stderr,
			"gatehouse queue: %s is no JSON, which browsers could read; "
			"quote "
			"a text ('\"text\"'), or say --raw\n",
			where);
		return false;
	}
	t->under_way++;
	adapter_queue(t->adapter,
		      &(struct queue_request){
			      .op = QUEUE_PUSH,
			      .queue = slice_str(t->a->words[0]),
			      .payload = payload,
			      .group = t->a->group ? slice_str(t->a->group) : SLICE_EMPTY,
			      .key = t->a->key ? slice_str(t->a->key) : SLICE_EMPTY,
			      .delay_ms = t->a->delay_ms,
			      .ttl_ms = t->a->ttl_ms},
		      on_pushed, t);
	return true;
}

static int push_lines(struct tool *t)
{
	char *line = NULL, where[32];
	size_t cap = 0, lines = 0;
	bool good = true;
	ssize_t n;

	while (good && t->err == ERR_OK && (n = getline(&line, &cap, stdin)) >= 0) {
		if (n && line[n - 1] == '\n')
			n--;
		snprintf(where, sizeof(where), "line %zu", ++lines);
		good = push_one(t, slice_of(line, (size_t)n), where);
		wait_for(t, UNDER_WAY_MAX - 1);
		if (lines % PROGRESS_LINES == 0)
			fprintf(stderr, "%" PRIu64 " pushed\n", t->pushed);
	}
	wait_for(t, 0);
	free(line);
	if (t->err != ERR_OK || !good)
		fprintf(stderr, "gatehouse queue: %" PRIu64 " were pushed before\n",
			t->pushed);
	else if (!t->a->json)
		printf("%" PRIu64 " pushed\n", t->pushed);
	return t->err != ERR_OK ? failed(t) : good ? 0 : CODE_WRONG;
}

static int push(struct tool *t)
{
	if (strcmp(t->a->words[1], "-") == 0)
		return push_lines(t);
	if (!push_one(t, slice_str(t->a->words[1]), "PAYLOAD"))
		return CODE_WRONG;
	wait_for(t, 0);
	if (t->err != ERR_OK)
		return failed(t);
	if (!t->a->json)
		printf("%" PRIu64 "\n", t->last_id);
	return 0;
}

/* --- dead letters --- */

static void on_number(void *arg, enum err err, const struct queue_reply *r)
{
	struct tool *t = arg;

	answered(t, err);
	if (err == ERR_OK)
		t->number = r->number;
}

/* Those that were dead when it began: what is requeued may die again meanwhile. */
static uint64_t all_dead(struct tool *t, enum queue_op op)
{
	uint64_t n = 0;

	if (ask(t, (struct queue_request){.op = QUEUE_STATS}, on_stats) != ERR_OK)
		return 0;
	do {
		if (ask(t, (struct queue_request){.op = op}, on_number) != ERR_OK)
			return n;
		n += t->number;
		if (t->number == QUEUE_LIMIT_MAX)
			fprintf(stderr, "%" PRIu64 " of %" PRIu64 "\n", n,
				last_stats.dead);
	} while (t->number && n < last_stats.dead);
	return n;
}

static int dead(struct tool *t, enum queue_op op, const char *verb)
{
	struct queue_ref *refs = mem_zalloc(t->a->words_n, sizeof(*refs));
	bool all = strcmp(t->a->words[1], "all") == 0;
	size_t wanted = t->a->words_n - 1;
	uint64_t n;

	for (size_t i = 0; i < wanted; i++)
		refs[i].id = strtoull(t->a->words[i + 1], NULL, 10);
	if (all) {
		n = all_dead(t, op);
	} else {
		ask(t, (struct queue_request){.op = op, .refs = refs, .refs_n = wanted},
		    on_number);
		n = t->number;
	}
	free(refs);
	if (t->err != ERR_OK)
		return failed(t);
	if (t->a->json)
		printf("{\"%s\":%" PRIu64 "}\n", verb, n);
	else
		printf("%" PRIu64 " %s\n", n, verb);
	if (!all && n < wanted) {
		fprintf(stderr,
			"gatehouse queue: %zu of the ids are no dead letters of %s\n",
			wanted - (size_t)n, t->a->words[0]);
		return CODE_FAILED;
	}
	return 0;
}

static int page(struct tool *t, enum queue_op op)
{
	ask(t,
	    (struct queue_request){.op = op, .limit = t->a->limit, .after = t->a->after},
	    on_page);
	return t->err != ERR_OK ? failed(t) : 0;
}

static int run(struct tool *t)
{
	switch (t->a->command) {
	case TOOL_PUSH:
		return push(t);
	case TOOL_PEEK:
		return page(t, QUEUE_PEEK);
	case TOOL_DEPTH:
		return depth(t);
	case TOOL_DEAD_LIST:
		return page(t, QUEUE_DEAD_LIST);
	case TOOL_DEAD_REQUEUE:
		return dead(t, QUEUE_DEAD_REQUEUE, "requeued");
	case TOOL_DEAD_DROP:
		return dead(t, QUEUE_DEAD_DROP, "dropped");
	case TOOL_HELP:
		break;
	}
	return 0;
}

static int with_redis(const struct tool_queue_args *a, struct buf *errors)
{
	/* Applications that configurations of nodes name. */
	static const char *const apps[] = {"rooms", "queues", NULL};
	struct tool t = {.a = a};
	int code = CODE_WRONG;

	if (config_load_redis(&t.config, a->settings_n, a->settings, environ, apps,
			      errors) == ERR_OK) {
		open_adapter(&t);
		code = run(&t);
		close_adapter(&t);
	}
	config_deinit(&t.config);
	buf_deinit(&t.log);
	return code;
}

int tool_queue(int argc, char *const *argv)
{
	struct tool_queue_args a;
	struct buf out = BUF_INIT;
	int code = CODE_WRONG;

	signal(SIGPIPE, SIG_IGN);
	if (tool_queue_read(argc, argv, &a, &out) == ERR_OK) {
		if (a.command == TOOL_HELP) {
			tool_queue_help(&out);
			fputs(buf_cstr(&out), stdout);
			buf_clear(&out);
			code = 0;
		} else {
			code = with_redis(&a, &out);
		}
	}
	if (out.n)
		fputs(buf_cstr(&out), stderr);
	tool_queue_args_deinit(&a);
	buf_deinit(&out);
	return code;
}
