#include "adapter/redis/queues.h"

#include <assert.h>
#include <stdlib.h>

#include "adapter/redis/queue_reply.h"
#include "adapter/redis/scripts.h"
#include "proto/mem.h"

enum { BACKLOG_BYTES_MAX = 1024 * 1024, RETRY_MS = 1000 };

struct op {
	struct redis_call call; /* its link is also that of `waiting` and `again` */
	struct redis_queues *queues;
	enum queue_op kind;
	bool again; /* doing it twice does no harm */
	struct done done;
	uint64_t deadline_ms;
	size_t n;
	uint8_t bytes[]; /* the whole command */
};

static void on_checked(struct redis_call *call, const struct resp *r);
static void on_loaded(struct redis_call *call, const struct resp *r);

static struct op *op_of(struct link *l)
{
	return container_of(l, struct op, call.link);
}

static size_t cost_of(size_t bytes)
{
	return sizeof(struct op) + bytes;
}

void redis_queues_init(struct redis_queues *q, struct redis_core *core,
		       struct redis_link *link, struct redis_pubsub *pubsub)
{
	*q = (struct redis_queues){.core = core, .link = link, .pubsub = pubsub};
	link_init(&q->waiting);
	link_init(&q->again);
	q->check = (struct redis_call){.on_reply = on_checked, .ctx = q};
	q->load = (struct redis_call){.on_reply = on_loaded, .ctx = q};
}

void redis_queues_deinit(struct redis_queues *q)
{
	assert(list_empty(&q->waiting));
	assert(list_empty(&q->again));
	buf_deinit(&q->scratch);
	free(q->page);
}

/* The one place where the state changes. */
static void set_state(struct redis_queues *q, enum redis_queues_state to)
{
	static const unsigned from[] = {
		[QUEUES_AWAY] = ~0u,
		[QUEUES_IDLE] = 1u << QUEUES_AWAY | 1u << QUEUES_CHECKING |
				1u << QUEUES_LOADING | 1u << QUEUES_OPEN,
		[QUEUES_CHECKING] = 1u << QUEUES_IDLE,
		[QUEUES_LOADING] = 1u << QUEUES_CHECKING,
		[QUEUES_OPEN] = 1u << QUEUES_CHECKING | 1u << QUEUES_LOADING,
	};

	assert(from[to] & 1u << q->state);
	q->state = to;
}

/* --- the library --- */

/* The version in its text, so that it is said once. */
static int64_t version(void)
{
	const char *at = strstr(redis_script_queues, "local VERSION = ");

	assert(at);
	return strtoll(at + strlen("local VERSION = "), NULL, 10);
}

static bool is_missing(const struct resp *r)
{
	return r->type == RESP_ERROR &&
	       slice_starts(r->s, SLICE_LIT("ERR Function not found"));
}

static void refused(struct redis_queues *q, struct slice error)
{
	redis_core_complain(q->core, &q->complained_ms, "redis_queues_refused", error);
	if (redis_link_is_passing(error))
		redis_link_refused(q->link, error);
}

static void retry_later(struct redis_queues *q)
{
	set_state(q, QUEUES_IDLE);
	q->retry_ms = redis_core_now(q->core) + RETRY_MS;
}

static void on_loaded(struct redis_call *call, const struct resp *r)
{
	struct redis_queues *q = call->ctx;

	if (!r || q->state != QUEUES_LOADING)
		return;
	if (r->type == RESP_ERROR) {
		retry_later(q);
		refused(q, r->s);
	} else {
		set_state(q, QUEUES_OPEN);
	}
}

static void on_checked(struct redis_call *call, const struct resp *r)
{
	struct redis_queues *q = call->ctx;
	struct buf *out = redis_link_out(q->link);

	if (!r || q->state != QUEUES_CHECKING)
		return;
	if (r->type == RESP_INT && r->i >= version()) {
		set_state(q, QUEUES_OPEN);
		return;
	}
	if (r->type == RESP_ERROR && !is_missing(r)) {
		retry_later(q);
		refused(q, r->s);
		return;
	}
	set_state(q, QUEUES_LOADING);
	resp_command(out, 4);
	resp_word_str(out, "FUNCTION");
	resp_word_str(out, "LOAD");
	resp_word_str(out, "REPLACE");
	resp_word_str(out, redis_script_queues);
	redis_link_expect(q->link, &q->load);
}

static void check(struct redis_queues *q)
{
	struct buf *out = redis_link_out(q->link);

	set_state(q, QUEUES_CHECKING);
	resp_command(out, 3);
	resp_word_str(out, "FCALL");
	resp_word_str(out, "gh_queues_version");
	resp_word_str(out, "0");
	redis_link_expect(q->link, &q->check);
}

/* --- requests --- */

static void finish(struct op *op, enum err err, bool now)
{
	struct redis_queues *q = op->queues;
	struct done done = op->done;

	q->bytes -= cost_of(op->n);
	free(op);
	if (now)
		done_run(done, err);
	else
		redis_core_later(q->core, done, err);
}

static void answered(struct op *op, const struct resp *r)
{
	struct redis_queues *q = op->queues;
	struct done done = op->done;
	struct queue_reply reply;
	size_t n = r->type == RESP_ARRAY ? r->n : 0;

	if (op->kind == QUEUE_TAKE && n > 1 && r->v[1].type == RESP_ARRAY)
		n = r->v[1].n;
	if (n > q->page_cap) {
		q->page = mem_realloc(q->page, n * sizeof(*q->page));
		q->page_cap = n;
	}
	if (!redis_queue_reply(op->kind, r, q->page, &reply)) {
		refused(q, SLICE_LIT("not the expected answer"));
		finish(op, ERR_DENIED, true);
		return;
	}
	q->bytes -= cost_of(op->n);
	free(op);
	if (done.queue)
		done.queue(done.arg, ERR_OK, &reply);
}

/* Redis said no. What it did not do for now is done later. */
static void failed(struct op *op, struct slice error)
{
	struct redis_queues *q = op->queues;

	if (slice_starts(error, SLICE_LIT("FULL"))) {
		finish(op, ERR_TOO_MANY, true);
		return;
	}
	if (redis_link_is_passing(error)) {
		list_push(&q->again, &op->call.link);
		refused(q, error);
		return;
	}
	refused(q, error);
	finish(op,
	       slice_starts(error, SLICE_LIT("BUSY")) ||
			       slice_starts(error, SLICE_LIT("OOM"))
		       ? ERR_UNAVAILABLE
		       : ERR_DENIED,
	       true);
}

static void on_reply(struct redis_call *call, const struct resp *r)
{
	struct op *op = container_of(call, struct op, call);
	struct redis_queues *q = op->queues;

	if (!r) {
		if (q->core->closing || !op->again)
			finish(op, q->core->closing ? ERR_CLOSED : ERR_UNCONFIRMED, true);
		else
			list_push(&q->again, &op->call.link);
	} else if (is_missing(r)) {
		/* Somebody removed the library. What was in flight behind this may find
		 * it again, so a push that came too early is not made up for: the order
		 * holds. */
		if (q->state == QUEUES_OPEN)
			set_state(q, QUEUES_IDLE);
		if (op->kind == QUEUE_PUSH)
			finish(op, ERR_UNAVAILABLE, true);
		else
			list_push(&q->again, &op->call.link);
	} else if (r->type == RESP_ERROR) {
		failed(op, r->s);
	} else {
		answered(op, r);
	}
}

static bool is_harmless(const struct queue_request *r)
{
	return r->op != QUEUE_TAKE && (r->op != QUEUE_PUSH || r->key.n > 0);
}

void redis_queues_ask(struct redis_queues *q, const struct queue_request *r,
		      struct done done)
{
	struct redis_core *c = q->core;
	struct buf key = BUF_INIT, command = BUF_INIT;
	size_t max = c->options.publish_waiting_bytes_max, cost;
	struct op *op;

	redis_pubsub_queue_key(c, r->queue, &key);
	redis_queue_command(&command, buf_view(&key), r);
	cost = cost_of(command.n);
	if (c->closing || cost > max || q->bytes > max - cost) {
		redis_core_later(c, done, c->closing ? ERR_CLOSED : ERR_FULL);
	} else {
		op = mem_alloc(sizeof(*op) + command.n);
		op->call = (struct redis_call){.on_reply = on_reply};
		link_init(&op->call.link);
		op->queues = q;
		op->kind = r->op;
		op->again = is_harmless(r);
		op->done = done;
		op->deadline_ms = redis_core_now(c) + c->options.publish_wait_ms_max;
		op->n = command.n;
		memcpy(op->bytes, command.p, command.n);
		q->bytes += cost;
		list_push(&q->waiting, &op->call.link);
	}
	buf_deinit(&key);
	buf_deinit(&command);
}

void redis_queues_watch(struct redis_queues *q, struct slice queue)
{
	redis_pubsub_watch(q->pubsub, queue);
}

void redis_queues_unwatch(struct redis_queues *q, struct slice queue)
{
	redis_pubsub_unwatch(q->pubsub, queue);
}

void redis_queues_on_ready(struct redis_queues *q)
{
	set_state(q, QUEUES_IDLE);
	q->retry_ms = 0;
}

void redis_queues_on_cut(struct redis_queues *q)
{
	set_state(q, QUEUES_AWAY);
}

void redis_queues_turn(struct redis_queues *q)
{
	struct link *l;

	list_splice(&q->again, &q->waiting);
	list_splice(&q->waiting, &q->again);
	if (q->state == QUEUES_IDLE && !list_empty(&q->waiting) &&
	    redis_core_now(q->core) >= q->retry_ms)
		check(q);
	while (q->state == QUEUES_OPEN &&
	       redis_link_backlog(q->link) < BACKLOG_BYTES_MAX &&
	       (l = list_pop(&q->waiting))) {
		struct op *op = op_of(l);

		buf_append(redis_link_out(q->link), op->bytes, op->n);
		redis_link_expect(q->link, &op->call);
	}
}

void redis_queues_tick(struct redis_queues *q, uint64_t now)
{
	struct link *it, *tmp;

	if (q->state == QUEUES_OPEN && redis_link_backlog(q->link) < BACKLOG_BYTES_MAX)
		return; /* the next turn writes it */
	list_each(it, tmp, &q->waiting)
	{
		struct op *op = op_of(it);

		if (now < op->deadline_ms)
			continue; /* one that is done again has an earlier one */
		list_remove(it);
		finish(op, ERR_UNAVAILABLE, false);
	}
}

void redis_queues_close(struct redis_queues *q)
{
	struct link *l;

	list_splice(&q->again, &q->waiting);
	while ((l = list_pop(&q->again)))
		finish(op_of(l), ERR_CLOSED, false);
}
