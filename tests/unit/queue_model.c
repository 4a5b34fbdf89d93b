/* Every interleaving of what producers, two consumers and time can do to a queue, with
 * what must hold in each state there is: one message of a group in flight, handed out in
 * order; only the present token counts; nothing is lost or done twice; and from every
 * state all that is left can be worked off.
 *
 * States are reached again from the beginning by the steps that led to them, and those
 * that were met before (queue_store_dump and who holds what) are not gone on from: with
 * two messages the walk is over when there are no new ones, with more after some steps.
 * tests/adapter/queues.c holds Redis to the same behaviour. */
#include <assert.h>
#include <stdlib.h>

#include "adapter/queue_store.h"
#include "proto/mem.h"
#include "test.h"

enum step {
	PUSH_A,
	PUSH_ALONE,
	PUSH_LATE, /* to a, due in a tick */
	TAKE_1,
	TAKE_2,
	DONE_1,
	DONE_2,
	FAIL_1,
	FAIL_2,
	RELEASE_1, /* to the front */
	RELEASE_2, /* after a grace */
	EXTEND_1,
	TICK,
	REAP,
	REQUEUE,
	STEPS
};

enum {
	MESSAGES_MAX = 4,
	DEPTH_MAX = 60,
	TICK_MS = 10,
	TICK_US = 1000 * TICK_MS,
	BACKOFF_MS = 10, /* one tick */
	LEASE_MS = 10,	 /* as well: what has run out, and what has not, is enough */
	FAILURES_MAX = 2,
};

static const uint64_t seed[2] = {1, 2};

struct consumer {
	bool holds; /* or thinks so */
	struct queue_ref ref;
	int message;
};

struct world {
	struct queue_store store;
	uint64_t now_us;
	struct consumer consumers[2];
	uint64_t ids[MESSAGES_MAX];
	uint64_t tokens[MESSAGES_MAX]; /* the last drawn for it */
	bool named[MESSAGES_MAX], done[MESSAGES_MAX], requeued;
	int order[MESSAGES_MAX]; /* when it came to its group; 0: not yet */
	unsigned failures[MESSAGES_MAX];
	int pushed, ordered, messages_max;
	const char *wrong;
};

static void fault(struct world *w, const char *wrong)
{
	if (!w->wrong)
		w->wrong = wrong;
}

static struct queue_reply run(struct world *w, struct queue_request r)
{
	struct queue_reply reply;
	bool wake;

	r.queue = SLICE_LIT("q");
	if (queue_store_run(&w->store, &r, w->now_us, &reply, &wake) != ERR_OK)
		fault(w, "refused");
	return reply;
}

static bool push(struct world *w, bool named, bool late)
{
	static const char *const names[] = {"0", "1", "2", "3"};
	const struct queue_settings settings = {.length_max = 100,
						.bytes_max = 1000,
						.failures_max = FAILURES_MAX,
						.backoff_ms = BACKOFF_MS,
						.backoff_ms_max = BACKOFF_MS};
	int i = w->pushed;

	if (i == w->messages_max)
		return false;
	w->pushed++;
	w->named[i] = named;
	w->ids[i] = run(w, (struct queue_request){.op = QUEUE_PUSH,
						  .payload = slice_str(names[i]),
						  .group = named ? SLICE_LIT("a")
								 : SLICE_EMPTY,
						  .delay_ms = late ? TICK_MS : 0,
						  .settings = &settings})
			    .number;
	if (!late)
		w->order[i] = ++w->ordered;
	return true;
}

static int index_of(const struct world *w, uint64_t id)
{
	for (int i = 0; i < w->pushed; i++) {
		if (w->ids[i] == id)
			return i;
	}
	return -1;
}

/* What was taken must be the first of its group, and nobody else's. */
static void check_taken(struct world *w, const struct queue_message *m)
{
	int i = index_of(w, m->id);
	struct queue_reply seen;

	if (i < 0 || w->done[i]) {
		fault(w, "a message that is done was handed out");
		return;
	}
	if (m->token <= w->tokens[i])
		fault(w, "a token came again");
	w->tokens[i] = m->token;
	if (m->failures != w->failures[i])
		fault(w, "failures were not counted, or lost deliveries were");
	seen = run(w, (struct queue_request){.op = QUEUE_PEEK, .limit = 10});
	for (size_t k = 0; k < seen.n; k++) {
		int other = index_of(w, seen.messages[k].id);

		if (other == i || !w->named[i] || !w->named[other])
			continue;
		if (seen.messages[k].state == QUEUE_MESSAGE_IN_FLIGHT)
			fault(w, "two messages of a group are in flight");
		if (w->order[other] && w->order[i] && w->order[other] < w->order[i])
			fault(w, "a message overtook one of its group");
	}
}

static bool take(struct world *w, int consumer)
{
	struct consumer *c = &w->consumers[consumer];
	struct queue_reply r =
		run(w, (struct queue_request){
			       .op = QUEUE_TAKE, .limit = 1, .lease_ms = LEASE_MS});

	if (!r.n)
		return true;
	c->holds = true;
	c->ref = (struct queue_ref){r.messages[0].id, r.messages[0].token};
	c->message = index_of(w, c->ref.id);
	check_taken(w, &r.messages[0]);
	return true;
}

/* An answer by a consumer; only the present token may count. */
static bool answer(struct world *w, int consumer, enum queue_op op, uint64_t delay_ms)
{
	struct consumer *c = &w->consumers[consumer];
	bool present;
	uint64_t n;

	if (!c->holds)
		return false;
	present = w->tokens[c->message] == c->ref.token;
	n = run(w, (struct queue_request){.op = op,
					  .refs = &c->ref,
					  .refs_n = 1,
					  .lease_ms = LEASE_MS,
					  .delay_ms = delay_ms})
		    .number;
	if (n && !present)
		fault(w, "a late answer counted");
	if (n && w->done[c->message])
		fault(w, "a message was done twice");
	if (n && op == QUEUE_DONE)
		w->done[c->message] = true;
	if (n && op == QUEUE_FAIL) {
		w->failures[c->message]++;
		if ((n == QUEUE_FAILED_DEAD) != (w->failures[c->message] == FAILURES_MAX))
			fault(w, "dead too early or too late");
	}
	if (op != QUEUE_EXTEND)
		c->holds = false;
	return true;
}

static bool requeue(struct world *w)
{
	struct queue_reply r;

	if (w->requeued) /* once, or there would be no end */
		return false;
	r = run(w, (struct queue_request){.op = QUEUE_DEAD_LIST, .limit = 10});
	if (!r.n)
		return false;
	for (size_t k = 0; k < r.n; k++) {
		int i = index_of(w, r.messages[k].id);

		w->failures[i] = 0;
		w->order[i] = ++w->ordered;
	}
	run(w, (struct queue_request){.op = QUEUE_DEAD_REQUEUE});
	w->requeued = true;
	return true;
}

/* False: there is no such step from here. */
static bool go(struct world *w, enum step step)
{
	switch (step) {
	case PUSH_A:
		return push(w, true, false);
	case PUSH_ALONE:
		return push(w, false, false);
	case PUSH_LATE:
		return push(w, true, true);
	case TAKE_1:
		return take(w, 0);
	case TAKE_2:
		return take(w, 1);
	case DONE_1:
		return answer(w, 0, QUEUE_DONE, 0);
	case DONE_2:
		return answer(w, 1, QUEUE_DONE, 0);
	case FAIL_1:
		return answer(w, 0, QUEUE_FAIL, 0);
	case FAIL_2:
		return answer(w, 1, QUEUE_FAIL, 0);
	case RELEASE_1:
		return answer(w, 0, QUEUE_RELEASE, 0);
	case RELEASE_2:
		return answer(w, 1, QUEUE_RELEASE, TICK_MS);
	case EXTEND_1:
		return answer(w, 0, QUEUE_EXTEND, 0);
	case TICK:
		w->now_us += TICK_US;
		return true;
	case REAP:
		run(w, (struct queue_request){.op = QUEUE_REAP, .limit = 1});
		return true;
	case REQUEUE:
		return requeue(w);
	case STEPS:
		break;
	}
	return false;
}

static void begin(struct world *w, int messages_max)
{
	*w = (struct world){.now_us = 1000000, .messages_max = messages_max};
	queue_store_init(&w->store, seed);
}

static void check_kept(struct world *w)
{
	struct queue_stats s = run(w, (struct queue_request){.op = QUEUE_STATS}).stats;
	uint64_t finished = 0;
	const char *wrong = queue_store_check(&w->store, SLICE_LIT("q"));

	for (int i = 0; i < w->pushed; i++)
		finished += w->done[i];
	if (s.length + s.dead + finished != (uint64_t)w->pushed)
		fault(w, "a message is gone, or too many");
	if (wrong)
		fault(w, wrong);
}

/* From here on one consumer works off what there is. */
static void check_ends(struct world *w)
{
	uint64_t length = 1;

	for (int i = 0; i < 3 * MESSAGES_MAX && length; i++) {
		struct queue_reply r = run(
			w, (struct queue_request){
				   .op = QUEUE_TAKE, .limit = 10, .lease_ms = LEASE_MS});
		struct queue_ref refs[10];

		for (size_t k = 0; k < r.n; k++)
			refs[k] =
				(struct queue_ref){r.messages[k].id, r.messages[k].token};
		run(w, (struct queue_request){
			       .op = QUEUE_DONE, .refs = refs, .refs_n = r.n});
		length = run(w, (struct queue_request){.op = QUEUE_STATS}).stats.length;
		w->now_us += TICK_US;
	}
	if (length)
		fault(w, "what is left cannot be worked off");
}

/* What tells this state from others. */
static void put_state(const struct world *w, struct buf *out)
{
	queue_store_dump(&w->store, SLICE_LIT("q"), w->now_us, out);
	for (int k = 0; k < 2; k++) {
		const struct consumer *c = &w->consumers[k];

		buf_printf(out, "%d %d %d\n", c->holds ? c->message : -1,
			   c->holds && w->tokens[c->message] == c->ref.token, w->pushed);
	}
	for (int i = 0; i < w->pushed; i++)
		buf_printf(out, "%d%d ", w->done[i], w->named[i]);
	buf_printf(out, "%d", w->requeued);
}

struct state {
	struct slice text;
	uint8_t steps_n;
	uint8_t steps[DEPTH_MAX];
	uint8_t bytes[];
};

struct walk {
	struct table met;
	struct state **v;
	size_t n, cap;
	int messages_max, depth_max;
};

static void meet(struct walk *walk, const struct world *w, const struct state *from,
		 enum step step)
{
	struct buf text = BUF_INIT;
	struct state *s;

	put_state(w, &text);
	if (!table_get(&walk->met, buf_view(&text))) {
		s = mem_zalloc(1, sizeof(*s) + text.n);
		memcpy(s->bytes, text.p, text.n);
		s->text = slice_of(s->bytes, text.n);
		if (from) {
			memcpy(s->steps, from->steps, DEPTH_MAX);
			s->steps_n = (uint8_t)(from->steps_n + 1);
			s->steps[from->steps_n] = (uint8_t)step;
		}
		table_add(&walk->met, s->text, s);
		if (walk->n == walk->cap) {
			walk->cap = walk->cap ? 2 * walk->cap : 1024;
			walk->v =
				mem_realloc(walk->v, walk->cap * sizeof(struct state *));
		}
		walk->v[walk->n++] = s;
	}
	buf_deinit(&text);
}

static void tell(const struct world *w, const struct state *from, int step)
{
	fprintf(stderr, "%s, after", w->wrong);
	for (size_t i = 0; i < from->steps_n; i++)
		fprintf(stderr, " %d", from->steps[i]);
	fprintf(stderr, " %d\n", step);
}

static void try_step(struct walk *walk, const struct state *from, enum step step)
{
	struct world w;
	bool went;

	assert(from->steps_n < DEPTH_MAX);
	begin(&w, walk->messages_max);
	for (size_t i = 0; i < from->steps_n; i++)
		go(&w, (enum step)from->steps[i]);
	went = go(&w, step);
	if (went) {
		check_kept(&w);
		if (!w.wrong)
			meet(walk, &w, from, step);
		check_ends(&w);
	}
	if (w.wrong)
		tell(&w, from, (int)step);
	CHECK(!w.wrong);
	queue_store_deinit(&w.store);
}

/* Go on from each state, but for those that are `depth_max` steps away. */
static void walk_all(int messages_max, int depth_max)
{
	struct walk walk = {.messages_max = messages_max, .depth_max = depth_max};
	struct world w;

	table_init(&walk.met, seed);
	begin(&w, messages_max);
	meet(&walk, &w, NULL, STEPS);
	queue_store_deinit(&w.store);
	for (size_t i = 0; i < walk.n && test_failures < 10; i++) {
		if (walk.v[i]->steps_n == walk.depth_max)
			break; /* they come in the order of their depth */
		for (int step = 0; step < STEPS; step++)
			try_step(&walk, walk.v[i], (enum step)step);
	}
	fprintf(stderr, "%d messages: %zu states, %d steps deep\n", messages_max, walk.n,
		walk.n ? walk.v[walk.n - 1]->steps_n : 0);
	for (size_t i = 0; i < walk.n; i++)
		free(walk.v[i]);
	free(walk.v);
	table_deinit(&walk.met);
}

int main(void)
{
	walk_all(2, DEPTH_MAX); /* all there are */
	walk_all(3, 9);
	walk_all(4, 7);
	return test_done();
}
