#include "adapter/redis/queues.h"

#include <assert.h>
#include <stdlib.h>

#include "adapter/redis/queue_reply.h"
#include "adapter/redis/scripts.h"
#include "proto/mem.h"

enum { BACKLOG_BYTES_MAX = 1024 * 1024 };

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
	redis_library_init(&q->library, core, link, redis_script_queues,
			   "gh_queues_version", "redis_queues_refused");
}

void redis_queues_deinit(struct redis_queues *q)
{
	assert(list_empty(&q->waiting));
	assert(list_empty(&q->again));
	buf_deinit(&q->scratch);
	free(q->page);
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
		redis_library_refused(&q->library, SLICE_LIT("not the expected answer"));
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
		redis_library_refused(&q->library, error);
		return;
	}
	redis_library_refused(&q->library, error);
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
	} else if (redis_library_missing(&q->library, r)) {
		/* What was in flight behind this may find it again, so a push that came
		 * too early is not made up for: the order holds. */
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
	redis_library_on_ready(&q->library);
}

void redis_queues_on_cut(struct redis_queues *q)
{
	redis_library_on_cut(&q->library);
}

void redis_queues_turn(struct redis_queues *q)
{
	struct link *l;

	list_splice(&q->again, &q->waiting);
	list_splice(&q->waiting, &q->again);
	if (list_empty(&q->waiting) || !redis_library_want(&q->library))
		return;
	while (redis_link_backlog(q->link) < BACKLOG_BYTES_MAX &&
	       (l = list_pop(&q->waiting))) {
		struct op *op = op_of(l);

		buf_append(redis_link_out(q->link), op->bytes, op->n);
		redis_link_expect(q->link, &op->call);
	}
}

void redis_queues_tick(struct redis_queues *q, uint64_t now)
{
	struct link *it, *tmp;

	if (q->library.state == LIBRARY_OPEN &&
	    redis_link_backlog(q->link) < BACKLOG_BYTES_MAX)
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
