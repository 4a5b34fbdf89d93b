#include "gateway/tool_queue.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "gateway/tool.h"
#include "proto/json.h"
#include "proto/mem.h"

enum {
	UNDER_WAY_MAX = 64,	/* pushes of lines that are not answered */
	PROGRESS_LINES = 10000, /* how often it is said how far it is */
};

struct queue_tool {
	struct tool base;
	const struct tool_queue_args *a;
	uint64_t pushed, last_id;
	uint64_t number; /* of the last answer */
};

static enum err ask(struct queue_tool *t, struct queue_request r, adapter_queue_fn *done)
{
	r.queue = slice_str(t->a->words[0]);
	t->base.under_way++;
	adapter_queue(t->base.adapter, &r, done, t);
	tool_wait(&t->base, 0);
	return t->base.err;
}

static int failed(struct queue_tool *t)
{
	if (t->base.err != ERR_TOO_MANY)
		return tool_failed(&t->base, "gatehouse queue");
	fprintf(stderr, "gatehouse queue: %s: the queue holds as much as it may\n",
		t->a->words[0]);
	return TOOL_CODE_FAILED;
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
	struct queue_tool *t = arg;
	struct buf out = BUF_INIT;

	tool_answered(&t->base, err);
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
	struct queue_tool *t = arg;

	tool_answered(&t->base, err);
	if (err == ERR_OK)
		last_stats = r->stats;
}

static int depth(struct queue_tool *t)
{
	if (!t->a->json)
		printf("%-24s %10s %10s %10s %10s %10s %12s\n", "queue", "messages",
		       "in flight", "ready", "delayed", "dead", "oldest");
	for (size_t i = 0; i < t->a->words_n; i++) {
		const char *queue = t->a->words[i];
		const struct queue_stats *s = &last_stats;

		t->base.under_way++;
		adapter_queue(t->base.adapter,
			      &(struct queue_request){.op = QUEUE_STATS,
						      .queue = slice_str(queue)},
			      on_stats, t);
		tool_wait(&t->base, 0);
		if (t->base.err != ERR_OK)
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
	struct queue_tool *t = arg;

	tool_answered(&t->base, err);
	if (err != ERR_OK)
		return;
	t->pushed++;
	t->last_id = r->number;
	if (t->a->json)
		printf("{\"id\":\"%" PRIu64 "\"}\n", r->number);
}

/* False: it is no JSON, which was said. */
static bool push_one(struct queue_tool *t, struct slice payload, const char *where)
{
	struct buf value = BUF_INIT;
	bool good = t->a->raw || json_to_mp(payload, NULL, &value) == ERR_OK;

	buf_deinit(&value);
	if (!good) {
		fprintf(stderr,
			"gatehouse queue: %s is not JSON, so browsers could not read "
			"it; quote a text ('\"text\"'), or say --raw\n",
			where);
		return false;
	}
	t->base.under_way++;
	adapter_queue(t->base.adapter,
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

static int push_lines(struct queue_tool *t)
{
	char *line = NULL, where[32];
	size_t cap = 0, lines = 0;
	bool good = true;
	ssize_t n;

	while (good && t->base.err == ERR_OK && (n = getline(&line, &cap, stdin)) >= 0) {
		if (n && line[n - 1] == '\n')
			n--;
		snprintf(where, sizeof(where), "line %zu", ++lines);
		good = push_one(t, slice_of(line, (size_t)n), where);
		tool_wait(&t->base, UNDER_WAY_MAX - 1);
		if (lines % PROGRESS_LINES == 0)
			fprintf(stderr, "%" PRIu64 " pushed\n", t->pushed);
	}
	tool_wait(&t->base, 0);
	free(line);
	if (t->base.err != ERR_OK || !good)
		fprintf(stderr, "gatehouse queue: %" PRIu64 " were pushed before\n",
			t->pushed);
	else if (!t->a->json)
		printf("%" PRIu64 " pushed\n", t->pushed);
	return t->base.err != ERR_OK ? failed(t) : good ? 0 : TOOL_CODE_WRONG;
}

static int push(struct queue_tool *t)
{
	if (strcmp(t->a->words[1], "-") == 0)
		return push_lines(t);
	if (!push_one(t, slice_str(t->a->words[1]), "PAYLOAD"))
		return TOOL_CODE_WRONG;
	tool_wait(&t->base, 0);
	if (t->base.err != ERR_OK)
		return failed(t);
	if (!t->a->json)
		printf("%" PRIu64 "\n", t->last_id);
	return 0;
}

/* --- dead letters --- */

static void on_number(void *arg, enum err err, const struct queue_reply *r)
{
	struct queue_tool *t = arg;

	tool_answered(&t->base, err);
	if (err == ERR_OK)
		t->number = r->number;
}

/* Those that were dead when it began: what is requeued may die again meanwhile. */
static uint64_t all_dead(struct queue_tool *t, enum queue_op op)
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

static int dead(struct queue_tool *t, enum queue_op op, const char *verb)
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
	if (t->base.err != ERR_OK)
		return failed(t);
	if (t->a->json)
		printf("{\"%s\":%" PRIu64 "}\n", verb, n);
	else
		printf("%" PRIu64 " %s\n", n, verb);
	if (!all && n < wanted) {
		fprintf(stderr,
			"gatehouse queue: %s has no dead letters of %zu of these "
			"ids\n",
			t->a->words[0], wanted - (size_t)n);
		return TOOL_CODE_FAILED;
	}
	return 0;
}

static int page(struct queue_tool *t, enum queue_op op)
{
	ask(t,
	    (struct queue_request){.op = op, .limit = t->a->limit, .after = t->a->after},
	    on_page);
	return t->base.err != ERR_OK ? failed(t) : 0;
}

static int run(struct queue_tool *t)
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
	struct queue_tool t = {.a = a};
	int code = TOOL_CODE_WRONG;

	if (tool_open(&t.base, a->settings_n, a->settings, false, errors) == ERR_OK) {
		code = run(&t);
		tool_close(&t.base);
	}
	tool_deinit(&t.base);
	return code;
}

int tool_queue(int argc, char *const *argv)
{
	struct tool_queue_args a;
	struct buf out = BUF_INIT;
	int code = TOOL_CODE_WRONG;

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
