/* What queue.h promises, of every adapter: `memory` or `redis`. Where it can be, what
 * asks and what watches are two nodes. On `redis` a run of random requests is also made
 * on `memory`, and must come out the same. */
#include <stdlib.h>

#include "harness.h"
#include "proto/mem.h"
#include "test.h"

enum { LONG_MS = 600000, SHORT_MS = 40, KEYS_MAX = 64 };

struct world {
	struct server *server; /* NULL: memory */
	struct node *a, *b;
	char queue[16]; /* a new one for each test */
};

static void begin(struct world *w)
{
	static unsigned number;
	struct setup s = setup_of(w->server);

	s.o.publish_waiting_bytes_max = 64 << 20;
	snprintf(w->queue, sizeof(w->queue), "q%u", ++number);
	w->a = node_up(&s, "AAAAAA");
	w->b = w->server ? node_up(&s, "BBBBBB") : w->a;
}

static void end(struct world *w)
{
	if (w->b != w->a)
		node_end(w->b);
	node_end(w->a);
}

/* Ask and wait for it. */
static struct queue_got ask(struct world *w, struct queue_request r)
{
	struct queue_got got = {0};

	if (!r.queue.n)
		r.queue = slice_str(w->queue);
	queue_ask(w->a, &r, &got);
	WAIT(got.calls);
	return got;
}

static uint64_t number_of(struct world *w, struct queue_request r)
{
	struct queue_got got = ask(w, r);
	uint64_t n = got.r.number;
	char row[32];

	snprintf(row, sizeof(row), "op %d: %d", (int)r.op, (int)got.err);
	CHECK_ROW(got.err == ERR_OK, row);
	queue_got_clear(&got);
	return n;
}

static struct queue_request push_of(const char *payload, const char *group)
{
	return (struct queue_request){.op = QUEUE_PUSH,
				      .payload = slice_str(payload),
				      .group = slice_str(group)};
}

static uint64_t push(struct world *w, const char *payload, const char *group)
{
	return number_of(w, push_of(payload, group));
}

static struct queue_got take(struct world *w, size_t limit, uint64_t lease_ms)
{
	return ask(w, (struct queue_request){.op = QUEUE_TAKE,
					     .consumer = SLICE_LIT("worker"),
					     .lease_ms = lease_ms,
					     .limit = limit});
}

/* One that must be there, or none ("" as payload). */
static struct queue_ref take_one(struct world *w, uint64_t lease_ms, const char *payload)
{
	struct queue_got got = take(w, 1, lease_ms);
	struct queue_ref ref = {0, 0};

	CHECK_ROW(got.r.n == (*payload ? 1 : 0), payload);
	if (got.r.n) {
		CHECK_SLICE(got.r.messages[0].payload, slice_str(payload), "taken");
		ref = (struct queue_ref){got.r.messages[0].id, got.r.messages[0].token};
	}
	queue_got_clear(&got);
	return ref;
}

/* The same, once it can be had. */
static struct queue_ref take_when_due(struct world *w, uint64_t lease_ms,
				      const char *payload)
{
	uint64_t until = clock_ms() + WAIT_MS;
	struct queue_ref ref = {0, 0};

	while (!ref.id && clock_ms() < until) {
		struct queue_got got = take(w, 1, lease_ms);

		if (got.r.n) {
			CHECK_SLICE(got.r.messages[0].payload, slice_str(payload), "due");
			ref = (struct queue_ref){got.r.messages[0].id,
						 got.r.messages[0].token};
		}
		queue_got_clear(&got);
	}
	CHECK_ROW(ref.id, payload);
	return ref;
}

static uint64_t with_ref(struct world *w, enum queue_op op, struct queue_ref ref)
{
	return number_of(w, (struct queue_request){.op = op,
						   .refs = &ref,
						   .refs_n = 1,
						   .lease_ms = LONG_MS,
						   .why = SLICE_LIT("it broke")});
}

static uint64_t done(struct world *w, struct queue_ref ref)
{
	return with_ref(w, QUEUE_DONE, ref);
}

/* Until a lease has run out. */
static void reap_one(struct world *w)
{
	const struct queue_request r = {.op = QUEUE_REAP, .limit = 10};
	uint64_t until = clock_ms() + WAIT_MS, n = 0;

	while (!n && clock_ms() < until)
		n = number_of(w, r);
	CHECK(n == 1);
}

static struct queue_stats stats(struct world *w)
{
	struct queue_got got = ask(w, (struct queue_request){.op = QUEUE_STATS});
	struct queue_stats s = got.r.stats;

	CHECK(got.err == ERR_OK);
	queue_got_clear(&got);
	return s;
}

/* Settings are the queue's from now on; `payload` is pushed with them. */
static uint64_t push_with(struct world *w, const char *payload, const char *group,
			  struct queue_settings settings)
{
	struct queue_request r = push_of(payload, group);

	r.settings = &settings;
	return number_of(w, r);
}

static struct queue_settings plain(void)
{
	struct queue_settings s = queue_settings_default;

	s.backoff_ms = s.backoff_ms_max = 0;
	return s;
}

/* --- tests --- */

static void test_order(struct world *w)
{
	struct queue_ref a1, b1, x;
	struct queue_got got;

	begin(w);
	push(w, "a1", "a");
	push(w, "a2", "a");
	push(w, "x", "");
	push(w, "b1", "b");
	push(w, "y", "");
	/* Groups in the order they became ready, one message of each in flight. */
	got = take(w, 3, LONG_MS);
	CHECK(got.r.n == 3 && got.r.wait_ms == 0);
	CHECK_SLICE(got.r.messages[0].payload, SLICE_LIT("a1"), "");
	CHECK_SLICE(got.r.messages[0].group, SLICE_LIT("a"), "");
	CHECK_SLICE(got.r.messages[1].payload, SLICE_LIT("x"), "");
	CHECK_SLICE(got.r.messages[1].group, SLICE_EMPTY, "");
	CHECK_SLICE(got.r.messages[2].payload, SLICE_LIT("b1"), "");
	a1 = (struct queue_ref){got.r.messages[0].id, got.r.messages[0].token};
	x = (struct queue_ref){got.r.messages[1].id, got.r.messages[1].token};
	b1 = (struct queue_ref){got.r.messages[2].id, got.r.messages[2].token};
	CHECK(a1.id < x.id && x.id < b1.id && a1.token < x.token);
	queue_got_clear(&got);
	push(w, "b2", "b");
	push(w, "a3", "a");
	CHECK(stats(w).in_flight == 3 && stats(w).length == 7 && stats(w).ready == 1);
	done(w, take_one(w, LONG_MS, "y"));
	take_one(w, LONG_MS, "");
	CHECK(done(w, b1) == 1 && done(w, a1) == 1 && done(w, x) == 1);
	/* b was done with first, so it is its turn first. */
	done(w, take_one(w, LONG_MS, "b2"));
	done(w, take_one(w, LONG_MS, "a2"));
	done(w, take_one(w, LONG_MS, "a3"));
	take_one(w, LONG_MS, "");
	CHECK(stats(w).length == 0 && stats(w).bytes == 0);
	CHECK(stats(w).pushed == 7 && stats(w).done == 7);
	end(w);
}

static void test_payloads(struct world *w)
{
	char big[20000];
	struct queue_request r = {.op = QUEUE_PUSH};
	struct queue_got got;

	begin(w);
	memset(big, 'x', sizeof(big));
	big[0] = '\0';
	big[1] = '\n';
	big[2] = (char)0xff;
	r.payload = slice_of(big, sizeof(big));
	r.group = slice_of("\0\r\n:#@\xff", 7);
	number_of(w, r);
	r.payload = SLICE_EMPTY;
	number_of(w, r);
	got = take(w, 10, LONG_MS);
	CHECK(got.r.n == 1);
	CHECK_SLICE(got.r.messages[0].payload, slice_of(big, sizeof(big)), "big");
	CHECK_SLICE(got.r.messages[0].group, r.group, "group");
	done(w, (struct queue_ref){got.r.messages[0].id, got.r.messages[0].token});
	queue_got_clear(&got);
	got = take(w, 10, LONG_MS);
	CHECK(got.r.n == 1 && got.r.messages[0].payload.n == 0);
	queue_got_clear(&got);
	CHECK(stats(w).bytes == 8);
	end(w);
}

/* An answer that comes when another consumer has the message changes nothing. */
static void test_late_ack(struct world *w)
{
	struct queue_ref first, second;

	begin(w);
	push(w, "m", "g");
	push(w, "n", "g");
	first = take_one(w, 1, "m");
	second = take_when_due(w, LONG_MS, "m");
	CHECK(first.id == second.id && first.token != second.token);
	CHECK(done(w, first) == 0);
	CHECK(with_ref(w, QUEUE_FAIL, first) == QUEUE_FAILED_LATE);
	CHECK(with_ref(w, QUEUE_RELEASE, first) == 0);
	CHECK(with_ref(w, QUEUE_EXTEND, first) == 0);
	CHECK(stats(w).in_flight == 1 && stats(w).failed == 0 && stats(w).lost == 1);
	take_one(w, LONG_MS, ""); /* n must wait for m */
	CHECK(done(w, second) == 1);
	CHECK(done(w, second) == 0); /* twice is once */
	CHECK(done(w, take_one(w, LONG_MS, "n")) == 1);
	end(w);
}

/* A push does not end the back-off of its group. */
static void test_fail_then_push(struct world *w)
{
	struct queue_settings s = queue_settings_default;
	struct queue_ref ref;
	struct queue_got got;

	begin(w);
	s.backoff_ms = s.backoff_ms_max = LONG_MS;
	push_with(w, "m", "g", s);
	ref = take_one(w, LONG_MS, "m");
	CHECK(with_ref(w, QUEUE_FAIL, ref) == QUEUE_FAILED_AGAIN);
	push(w, "n", "g");
	got = take(w, 5, LONG_MS);
	CHECK(got.r.n == 0 && got.r.wait_ms > LONG_MS / 2 && got.r.wait_ms <= LONG_MS);
	queue_got_clear(&got);
	CHECK(stats(w).delayed == 1 && stats(w).ready == 0 && stats(w).failed == 1);
	push(w, "o", "other"); /* others go on */
	CHECK(done(w, take_one(w, LONG_MS, "o")) == 1);
	end(w);
}

static void test_backoff(struct world *w)
{
	struct queue_settings s = queue_settings_default;
	struct queue_ref ref;
	struct queue_got got;

	begin(w);
	s.backoff_ms = SHORT_MS;
	s.backoff_ms_max = LONG_MS;
	push_with(w, "m", "g", s);
	ref = take_one(w, LONG_MS, "m");
	with_ref(w, QUEUE_FAIL, ref);
	ref = take_when_due(w, LONG_MS, "m");
	with_ref(w, QUEUE_FAIL, ref);
	got = take(w, 1, LONG_MS); /* it has doubled */
	CHECK(got.r.n || (got.r.wait_ms > 0 && got.r.wait_ms <= 2L * SHORT_MS));
	queue_got_clear(&got);
	end(w);
}

/* A worker that dies with a message leaves it to the next, at the front, and that is no
 * failure. */
static void test_worker_dies_after_take(struct world *w)
{
	struct queue_settings s = plain();
	struct queue_ref ref;
	struct queue_got got;

	begin(w);
	s.failures_max = 1;
	push_with(w, "m", "g", s);
	push(w, "n", "g");
	for (int i = 0; i < 3; i++) {
		ref = i == 0 ? take_one(w, 1, "m") : take_when_due(w, 1, "m");
		CHECK(ref.id);
	}
	push(w, "z", "");
	reap_one(w);
	got = take(w, 1, LONG_MS);
	CHECK(got.r.n == 1);
	CHECK_SLICE(got.r.messages[0].payload, SLICE_LIT("m"), "at the front");
	CHECK(got.r.messages[0].failures == 0 && got.r.messages[0].lost == 3);
	ref = (struct queue_ref){got.r.messages[0].id, got.r.messages[0].token};
	queue_got_clear(&got);
	CHECK(done(w, ref) == 1);
	CHECK(stats(w).lost == 3 && stats(w).dead == 0);
	end(w);
}

/* A worker that was stopped for longer than its lease, and goes on. */
static void test_paused_workers_done(struct world *w)
{
	struct queue_ref first, second;

	begin(w);
	push(w, "m", "");
	first = take_one(w, 1, "m");
	/* Nobody took it meanwhile: its answer is as good as in time. */
	CHECK(done(w, first) == 1);
	push(w, "n", "");
	first = take_one(w, 1, "n");
	second = take_when_due(w, LONG_MS, "n");
	CHECK(done(w, second) == 1);
	CHECK(done(w, first) == 0);
	push(w, "o", "");
	first = take_one(w, 1, "o");
	reap_one(w);
	CHECK(done(w, first) == 0); /* it is for the next one now */
	CHECK(done(w, take_one(w, LONG_MS, "o")) == 1);
	end(w);
}

/* What is due becomes so by being asked for, and needs nobody else. */
static void test_delayed_without_a_node(struct world *w)
{
	struct queue_request r = push_of("late", "g");
	struct queue_got got;

	begin(w);
	r.delay_ms = SHORT_MS;
	number_of(w, r);
	r.payload = SLICE_LIT("much later");
	r.delay_ms = LONG_MS;
	number_of(w, r);
	push(w, "now", "g");
	CHECK(stats(w).delayed == 2 && stats(w).length == 3);
	CHECK(done(w, take_one(w, LONG_MS, "now")) == 1);
	got = take(w, 1, LONG_MS);
	CHECK(got.r.n == 1 || got.r.wait_ms <= SHORT_MS);
	if (got.r.n)
		with_ref(w, QUEUE_RELEASE,
			 (struct queue_ref){got.r.messages[0].id,
					    got.r.messages[0].token});
	queue_got_clear(&got);
	CHECK(done(w, take_when_due(w, LONG_MS, "late")) == 1);
	CHECK(stats(w).delayed == 1);
	end(w);
}

static void test_expiry(struct world *w)
{
	struct queue_request r = push_of("gone", "g");
	struct queue_got got;
	struct queue_ref ref;

	begin(w);
	push(w, "first", "g");
	r.ttl_ms = 1;
	number_of(w, r);
	r.group = SLICE_EMPTY;
	number_of(w, r);
	r.ttl_ms = LONG_MS;
	r.payload = SLICE_LIT("stays");
	r.group = SLICE_LIT("g");
	number_of(w, r);
	ref = take_one(w, LONG_MS, "first");
	CHECK(done(w, ref) == 1);
	WAIT(clock_ms()); /* one step at least */
	got = take(w, 9, LONG_MS);
	for (uint64_t until = clock_ms() + 50; got.r.n != 1 && clock_ms() < until;) {
		/* Redis's clock had not gone on by a millisecond. */
		for (size_t i = 0; i < got.r.n; i++)
			with_ref(w, QUEUE_RELEASE,
				 (struct queue_ref){got.r.messages[i].id,
						    got.r.messages[i].token});
		queue_got_clear(&got);
		got = take(w, 9, LONG_MS);
	}
	CHECK(got.r.n == 1);
	CHECK_SLICE(got.r.messages[0].payload, SLICE_LIT("stays"), "");
	queue_got_clear(&got);
	CHECK(stats(w).expired == 2 && stats(w).length == 1);
	end(w);
}

static void test_dead_letters(struct world *w)
{
	struct queue_settings s = plain();
	struct queue_got got;
	struct queue_ref ref;
	uint64_t m, x;

	begin(w);
	s.failures_max = 2;
	m = push_with(w, "m", "g", s);
	push(w, "n", "g");
	x = push(w, "x", "");
	ref = take_one(w, LONG_MS, "m");
	CHECK(with_ref(w, QUEUE_FAIL, ref) == QUEUE_FAILED_AGAIN);
	ref = take_one(w, LONG_MS, "m"); /* at once, before x: no back-off */
	CHECK(with_ref(w, QUEUE_FAIL, ref) == QUEUE_FAILED_DEAD);
	ref = take_one(w, LONG_MS, "x");
	with_ref(w, QUEUE_FAIL, ref);
	ref = take_one(w, LONG_MS, "x");
	CHECK(with_ref(w, QUEUE_FAIL, ref) == QUEUE_FAILED_DEAD);
	CHECK(stats(w).dead == 2 && stats(w).length == 1 && stats(w).died == 2);
	got = ask(w, (struct queue_request){.op = QUEUE_DEAD_LIST, .limit = 10});
	CHECK(got.r.n == 2);
	CHECK(got.r.messages[0].id == m && got.r.messages[1].id == x);
	CHECK(got.r.messages[0].failures == 2);
	CHECK(got.r.messages[0].state == QUEUE_MESSAGE_DEAD);
	CHECK_SLICE(got.r.messages[0].error, SLICE_LIT("it broke"), "");
	CHECK_SLICE(got.r.messages[0].payload, SLICE_LIT("m"), "");
	CHECK_SLICE(got.r.messages[0].group, SLICE_LIT("g"), "");
	queue_got_clear(&got);
	got = ask(w,
		  (struct queue_request){.op = QUEUE_DEAD_LIST, .limit = 10, .after = m});
	CHECK(got.r.n == 1 && got.r.messages[0].id == x);
	queue_got_clear(&got);
	/* Requeued, it comes behind what is there. */
	CHECK(with_ref(w, QUEUE_DEAD_REQUEUE, (struct queue_ref){m, 0}) == 1);
	CHECK(with_ref(w, QUEUE_DEAD_REQUEUE, (struct queue_ref){m, 0}) == 0);
	CHECK(done(w, take_one(w, LONG_MS, "n")) == 1);
	got = take(w, 1, LONG_MS);
	CHECK(got.r.n == 1 && got.r.messages[0].failures == 0 &&
	      got.r.messages[0].id == m);
	ref = (struct queue_ref){m, got.r.messages[0].token};
	queue_got_clear(&got);
	CHECK(done(w, ref) == 1);
	CHECK(number_of(w, (struct queue_request){.op = QUEUE_DEAD_DROP}) == 1);
	CHECK(stats(w).dead == 0 && stats(w).length == 0 && stats(w).bytes == 0);
	end(w);
}

static void test_caps(struct world *w)
{
	struct queue_settings s = plain();
	struct queue_request r = push_of("12345", "");
	struct queue_got got;
	struct queue_ref ref;

	begin(w);
	s.length_max = 2;
	s.failures_max = 1;
	push_with(w, "12345", "", s);
	push(w, "12345", "");
	got = ask(w, r);
	CHECK(got.err == ERR_TOO_MANY);
	queue_got_clear(&got);
	/* A dead letter counts: nothing is thrown away for room. */
	ref = take_one(w, LONG_MS, "12345");
	CHECK(with_ref(w, QUEUE_FAIL, ref) == QUEUE_FAILED_DEAD);
	got = ask(w, r);
	CHECK(got.err == ERR_TOO_MANY);
	queue_got_clear(&got);
	CHECK(number_of(w, (struct queue_request){.op = QUEUE_DEAD_DROP}) == 1);
	s.length_max = 100;
	s.bytes_max = 20;
	r.settings = &s;
	number_of(w, r);
	number_of(w, r);
	got = ask(w, r);
	CHECK(got.err == ERR_TOO_MANY);
	queue_got_clear(&got);
	CHECK(stats(w).length == 3);
	CHECK(stats(w).bytes == 18);
	end(w);
}

static void test_idempotency(struct world *w)
{
	struct queue_settings s = plain();
	struct queue_request r = push_of("m", "");
	struct queue_got got;
	uint64_t id;

	begin(w);
	s.length_max = 1;
	r.settings = &s;
	r.key = SLICE_LIT("once");
	id = number_of(w, r);
	/* Also when the queue is full: it was accepted. */
	CHECK(number_of(w, r) == id);
	/* A refusal does not use its key up. */
	r.key = SLICE_LIT("refused");
	got = ask(w, r);
	CHECK(got.err == ERR_TOO_MANY);
	queue_got_clear(&got);
	CHECK(done(w, take_one(w, LONG_MS, "m")) == 1);
	CHECK(number_of(w, r) != id);
	r.key = SLICE_LIT("once");
	CHECK(number_of(w, r) == id); /* processed already: not again */
	CHECK(stats(w).pushed == 2 && stats(w).length == 1);
	CHECK(done(w, take_one(w, LONG_MS, "m")) == 1);
	r.key = SLICE_LIT("short");
	r.keep_ms = 1;
	s.length_max = 100;
	id = number_of(w, r);
	CHECK(done(w, take_one(w, LONG_MS, "m")) == 1);
	WAIT(number_of(w, r) != id);
	end(w);
}

static void test_release(struct world *w)
{
	struct queue_ref refs[2];
	struct queue_got got;
	struct queue_request r = {.op = QUEUE_RELEASE, .refs = refs, .refs_n = 2};

	begin(w);
	push(w, "m", "g");
	push(w, "n", "h");
	push(w, "z", "");
	refs[0] = take_one(w, LONG_MS, "m");
	refs[1] = take_one(w, LONG_MS, "n");
	CHECK(number_of(w, r) == 2);
	got = take(w, 3, LONG_MS); /* to the front, in their order */
	CHECK(got.r.n == 3);
	CHECK_SLICE(got.r.messages[0].payload, SLICE_LIT("m"), "");
	CHECK_SLICE(got.r.messages[1].payload, SLICE_LIT("n"), "");
	CHECK(got.r.messages[0].lost == 1 && got.r.messages[0].failures == 0);
	refs[0] = (struct queue_ref){got.r.messages[0].id, got.r.messages[0].token};
	queue_got_clear(&got);
	r.delay_ms = LONG_MS; /* for a while it waits for the one who left */
	r.refs_n = 1;
	CHECK(number_of(w, r) == 1);
	take_one(w, LONG_MS, "");
	CHECK(stats(w).delayed == 1);
	end(w);
}

static void test_extend(struct world *w)
{
	struct queue_ref ref;
	struct queue_got got;

	begin(w);
	push(w, "m", "");
	ref = take_one(w, 300, "m");
	CHECK(with_ref(w, QUEUE_EXTEND, ref) == 1);
	got = take(w, 1, LONG_MS);
	CHECK(got.r.n == 0 && got.r.wait_ms > LONG_MS / 2);
	queue_got_clear(&got);
	CHECK(done(w, ref) == 1);
	CHECK(with_ref(w, QUEUE_EXTEND, ref) == 0);
	end(w);
}

static void test_peek(struct world *w)
{
	struct queue_request r = push_of("later", "");
	struct queue_got got;
	uint64_t a;

	begin(w);
	a = push(w, "a", "g");
	push(w, "b", "g");
	r.delay_ms = LONG_MS;
	number_of(w, r);
	take_one(w, LONG_MS, "a");
	got = ask(w, (struct queue_request){.op = QUEUE_PEEK, .limit = 10});
	CHECK(got.r.n == 3);
	CHECK(got.r.messages[0].id == a);
	CHECK(got.r.messages[0].state == QUEUE_MESSAGE_IN_FLIGHT);
	CHECK(got.r.messages[1].state == QUEUE_MESSAGE_WAITING);
	CHECK(got.r.messages[2].state == QUEUE_MESSAGE_DELAYED);
	queue_got_clear(&got);
	got = ask(w, (struct queue_request){.op = QUEUE_PEEK, .limit = 1, .after = a});
	CHECK(got.r.n == 1);
	CHECK_SLICE(got.r.messages[0].payload, SLICE_LIT("b"), "");
	queue_got_clear(&got);
	end(w);
}

static void test_wake(struct world *w)
{
	struct queue_ref ref;

	begin(w);
	queue_watch(w->b, w->queue);
	push(w, "m", "g");
	WAIT(strings_count(&w->b->woken, w->queue) >= 1);
	ref = take_one(w, LONG_MS, "m");
	push(w, "n", "g"); /* wakes nobody: m is in flight */
	strings_clear(&w->b->woken);
	CHECK(done(w, ref) == 1);
	WAIT(strings_count(&w->b->woken, w->queue) >= 1);
	queue_unwatch(w->b, w->queue);
	strings_clear(&w->b->woken);
	push(w, "o", "other");
	/* Another's wake comes on the same way behind it. */
	queue_watch(w->b, "fence");
	number_of(w, (struct queue_request){.op = QUEUE_PUSH,
					    .queue = SLICE_LIT("fence"),
					    .payload = SLICE_LIT("f")});
	WAIT(strings_count(&w->b->woken, "fence") >= 1);
	CHECK(strings_count(&w->b->woken, w->queue) == 0);
	queue_watch(w->b, w->queue); /* anew */
	push(w, "p", "another");
	WAIT(strings_count(&w->b->woken, w->queue) >= 1);
	end(w);
}

/* A consumer that died with 10,000 groups: each call gives some back, and nobody else
 * waits for all of them. */
static void test_dead_consumer_with_10000_groups(struct world *w)
{
	enum { N = 10000, PAGE = 1000 };
	uint64_t again = 0;
	char group[16];

	begin(w);
	for (unsigned i = 0; i < N; i++) {
		struct queue_request r = {.op = QUEUE_PUSH,
					  .queue = slice_str(w->queue),
					  .payload = SLICE_LIT("m")};

		snprintf(group, sizeof(group), "g%u", i);
		r.group = slice_str(group);
		queue_ask(w->a, &r, NULL);
		if (i % PAGE == 0)
			step();
	}
	WAIT(stats(w).length == N);
	for (unsigned i = 0; i < N / PAGE; i++) {
		struct queue_got got = take(w, PAGE, 1);

		CHECK(got.r.n > 0);
		queue_got_clear(&got);
	}
	while (again < N) {
		struct queue_got got = take(w, PAGE, LONG_MS);

		CHECK(got.err == ERR_OK);
		for (size_t i = 0; i < got.r.n; i++) {
			struct queue_ref ref = {got.r.messages[i].id,
						got.r.messages[i].token};
			struct queue_request r = {.op = QUEUE_DONE,
						  .queue = slice_str(w->queue),
						  .refs = &ref,
						  .refs_n = 1};

			queue_ask(w->a, &r, NULL);
		}
		again += got.r.n;
		if (!got.r.n && got.r.wait_ms < 0)
			break;
		queue_got_clear(&got);
	}
	CHECK(again == N);
	WAIT(stats(w).length == 0);
	CHECK(stats(w).in_flight == 0 && stats(w).done == N);
	end(w);
}

static void test_unknown(struct world *w)
{
	begin(w);
	take_one(w, LONG_MS, "");
	CHECK(done(w, (struct queue_ref){1, 2}) == 0);
	CHECK(with_ref(w, QUEUE_FAIL, (struct queue_ref){1, 2}) == QUEUE_FAILED_LATE);
	CHECK(number_of(w, (struct queue_request){.op = QUEUE_DEAD_REQUEUE}) == 0);
	CHECK(stats(w).length == 0 && stats(w).oldest_ms == 0);
	end(w);
}

static void test_close(struct world *w)
{
	struct setup s = setup_of(w->server);
	struct queue_request r = push_of("m", "");
	struct queue_got got[2] = {{0}, {0}};
	struct node *n;

	s.unopened = true; /* so that it waits */
	n = node_new(&s, "CCCCCC");
	r.queue = SLICE_LIT("closing");
	queue_ask(n, &r, &got[0]);
	node_close(n);
	queue_ask(n, &r, &got[1]);
	WAIT(n->closed);
	CHECK(got[0].calls == 1 && got[0].err == ERR_CLOSED);
	CHECK(got[1].calls == 1 && got[1].err == ERR_CLOSED);
	node_free(n);
}

static void test_full(struct world *w)
{
	struct setup s = setup_of(w->server);
	char big[50000] = "";
	struct queue_request r = {.op = QUEUE_PUSH,
				  .queue = SLICE_LIT("full"),
				  .payload = slice_of(big, sizeof(big))};
	struct queue_got got[3] = {{0}, {0}, {0}};
	struct node *n;

	s.o.publish_waiting_bytes_max = 120000;
	s.unopened = true;
	n = node_new(&s, "CCCCCC");
	for (int i = 0; i < 3; i++)
		queue_ask(n, &r, &got[i]);
	adapter_open(n->a);
	WAIT(got[0].calls && got[1].calls && got[2].calls);
	CHECK(got[0].err == ERR_OK && got[1].err == ERR_OK && got[2].err == ERR_FULL);
	for (int i = 0; i < 3; i++)
		queue_got_clear(&got[i]);
	node_end(n);
}

/* --- the same on both --- */

struct twin {
	struct node *nodes[2];
	uint64_t ids[2][512];
	size_t n;
	struct queue_ref held[2][64];
	size_t held_n;
};

static size_t index_of(const struct twin *t, int k, uint64_t id)
{
	for (size_t i = 0; i < t->n; i++) {
		if (t->ids[k][i] == id)
			return i;
	}
	return SIZE_MAX;
}

static void both(struct twin *t, struct queue_request r, size_t held, size_t message,
		 struct queue_got got[2])
{
	for (int k = 0; k < 2; k++) {
		struct queue_ref ref = {0, 0};

		if (held != SIZE_MAX)
			ref = t->held[k][held];
		else if (message != SIZE_MAX)
			ref.id = t->ids[k][message];
		r.refs = &ref;
		r.refs_n = held != SIZE_MAX || message != SIZE_MAX;
		got[k] = (struct queue_got){0};
		queue_ask(t->nodes[k], &r, &got[k]);
		WAIT(got[k].calls);
	}
}

static bool alike(const struct twin *t, const struct queue_got got[2])
{
	if (got[0].err != got[1].err || got[0].r.n != got[1].r.n)
		return false;
	for (size_t i = 0; i < got[0].r.n; i++) {
		const struct queue_message *a = &got[0].r.messages[i],
					   *b = &got[1].r.messages[i];

		if (index_of(t, 0, a->id) != index_of(t, 1, b->id) ||
		    a->failures != b->failures || a->lost != b->lost ||
		    a->state != b->state || !slice_eq(a->group, b->group) ||
		    !slice_eq(a->payload, b->payload) || !slice_eq(a->error, b->error))
			return false;
	}
	return true;
}

static struct queue_request random_request(struct twin *t, unsigned *held,
					   size_t *message)
{
	static const enum queue_op ops[] = {
		QUEUE_PUSH, QUEUE_PUSH,	   QUEUE_PUSH,	    QUEUE_TAKE,
		QUEUE_TAKE, QUEUE_DONE,	   QUEUE_DONE,	    QUEUE_FAIL,
		QUEUE_FAIL, QUEUE_RELEASE, QUEUE_EXTEND,    QUEUE_DEAD_REQUEUE,
		QUEUE_PEEK, QUEUE_STATS,   QUEUE_DEAD_LIST, QUEUE_DEAD_DROP,
	};
	static const char *const groups[] = {"a", "b", "c", ""};
	static struct queue_settings s;
	struct queue_request r = {.op = ops[(size_t)rand() % 16], .limit = 3};

	s = plain();
	s.failures_max = 2;
	s.length_max = 12;
	r.queue = SLICE_LIT("twins");
	r.lease_ms = LONG_MS;
	r.settings = r.op == QUEUE_PUSH ? &s : NULL;
	r.group = slice_str(groups[rand() % 4]);
	r.payload = SLICE_LIT("p");
	r.why = SLICE_LIT("w");
	r.limit = 1 + (size_t)rand() % 3;
	*held = (r.op == QUEUE_DONE || r.op == QUEUE_FAIL || r.op == QUEUE_RELEASE ||
		 r.op == QUEUE_EXTEND)
			? (unsigned)rand()
			: UINT32_MAX;
	if (*held != UINT32_MAX && t->held_n == 0)
		r.op = QUEUE_STATS, *held = UINT32_MAX;
	else if (*held != UINT32_MAX)
		*held %= (unsigned)t->held_n;
	*message = (r.op == QUEUE_DEAD_REQUEUE || r.op == QUEUE_DEAD_DROP) && t->n
			   ? (size_t)rand() % t->n
			   : SIZE_MAX;
	return r;
}

static void test_twins(struct world *w)
{
	struct setup redis = setup_of(w->server), memory = setup_of(NULL);
	struct twin t = {0};
	const char *given = getenv("SEED");
	unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)clock_ms();

	if (!w->server)
		return;
	fprintf(stderr, "twins: SEED=%u\n", seed);
	srand(seed);
	t.nodes[0] = node_up(&redis, "AAAAAA");
	t.nodes[1] = node_up(&memory, "AAAAAA");
	for (int i = 0; i < 1500 && test_failures == 0 && t.n < 500; i++) {
		struct queue_got got[2];
		unsigned held;
		size_t message;
		struct queue_request r = random_request(&t, &held, &message);

		both(&t, r, held == UINT32_MAX ? SIZE_MAX : held, message, got);
		if (r.op == QUEUE_PUSH && !got[0].err && !got[1].err) {
			t.ids[0][t.n] = got[0].r.number;
			t.ids[1][t.n++] = got[1].r.number;
		} else if (r.op != QUEUE_STATS) {
			CHECK(got[0].r.number == got[1].r.number);
		}
		CHECK(alike(&t, got));
		got[0].r.stats.oldest_ms = got[1].r.stats.oldest_ms = 0;
		CHECK(!memcmp(&got[0].r.stats, &got[1].r.stats, sizeof(got[0].r.stats)));
		for (size_t k = 0; r.op == QUEUE_TAKE && k < got[0].r.n; k++) {
			/* An old one is forgotten, or kept and late later. */
			size_t at = t.held_n < 64 ? t.held_n++ : (size_t)rand() % 64;

			for (int j = 0; j < 2; j++)
				t.held[j][at] =
					(struct queue_ref){got[j].r.messages[k].id,
							   got[j].r.messages[k].token};
		}
		if (test_failures)
			fprintf(stderr, "step %d, op %d\n", i, (int)r.op);
		queue_got_clear(&got[0]);
		queue_got_clear(&got[1]);
	}
	node_end(t.nodes[0]);
	node_end(t.nodes[1]);
}

/* --- what only Redis does --- */

static void test_library_removed(struct world *w)
{
	struct queue_ref ref;

	if (!w->server)
		return;
	begin(w);
	push(w, "m", "");
	ref = take_one(w, LONG_MS, "m");
	server_ask(w->server, "FUNCTION FLUSH");
	CHECK(done(w, ref) == 1); /* loaded again, and done again */
	push(w, "n", "");
	take_one(w, LONG_MS, "n");
	end(w);
}

/* An older library is replaced, a newer one left alone: of nodes of two versions neither
 * takes the other's away for long. */
static void test_library_versions(struct world *w)
{
	static const char library[] =
		"#!lua name=gatehouse\n"
		"redis.register_function('gh_queues_version', function() return %d end)\n"
		"redis.register_function('gh_push', function() return '7' end)\n";
	char text[sizeof(library) + 16];

	if (!w->server)
		return;
	snprintf(text, sizeof(text), library, 0);
	server_ask(w->server, "FUNCTION LOAD REPLACE %s", text);
	begin(w);
	CHECK(push(w, "m", "") > 7);
	end(w);
	snprintf(text, sizeof(text), library, 999);
	server_ask(w->server, "FUNCTION LOAD REPLACE %s", text);
	begin(w);
	CHECK(push(w, "m", "") == 7);
	end(w);
	server_ask(w->server, "FUNCTION FLUSH");
}

/* The connection breaks with requests in flight: a done is done all the same, a push is
 * made once or said to be unconfirmed. */
static void test_cut(struct world *w)
{
	struct queue_request r = push_of("m", "g");
	struct queue_got got[20];
	unsigned ok = 0, unconfirmed = 0;
	uint64_t pushed;

	if (!w->server)
		return;
	begin(w);
	push(w, "first", "");
	r.queue = slice_str(w->queue);
	for (int round = 0; round < 20; round++) {
		got[round] = (struct queue_got){0};
		if (round % 2)
			r.key = slice_str(round % 4 == 1 ? "k1" : "k2");
		else
			r.key = SLICE_EMPTY;
		queue_ask(w->a, &r, &got[round]);
		if (round == 10) {
			step();
			server_kill_clients(w->server, "AAAAAA-commands");
		}
	}
	for (int i = 0; i < 20; i++) {
		WAIT(got[i].calls);
		CHECK(got[i].err == ERR_OK ||
		      (got[i].err == ERR_UNCONFIRMED && i % 2 == 0));
		ok += i % 2 == 0 && got[i].err == ERR_OK;
		unconfirmed += got[i].err == ERR_UNCONFIRMED;
		queue_got_clear(&got[i]);
	}
	WAIT(w->a->up);
	pushed = stats(w).pushed - 1;
	CHECK(pushed >= ok + 2 && pushed <= ok + unconfirmed + 2);
	end(w);
}

int main(int argc, char **argv)
{
	static void (*const tests[])(struct world *) = {
		test_order,
		test_payloads,
		test_late_ack,
		test_fail_then_push,
		test_backoff,
		test_worker_dies_after_take,
		test_paused_workers_done,
		test_delayed_without_a_node,
		test_expiry,
		test_dead_letters,
		test_caps,
		test_idempotency,
		test_release,
		test_extend,
		test_peek,
		test_wake,
		test_dead_consumer_with_10000_groups,
		test_unknown,
		test_close,
		test_full,
		test_twins,
		test_library_removed,
		test_library_versions,
		test_cut,
	};
	struct server server = {0};
	struct world w = {0};
	bool ok;

	if (argc != 2 ||
	    (strcmp(argv[1], "memory") != 0 && strcmp(argv[1], "redis") != 0)) {
		fprintf(stderr, "usage: %s memory|redis\n", argv[0]);
		return 2;
	}
	if (!strcmp(argv[1], "redis")) {
		server_start(&server, NULL);
		w.server = &server;
	}
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		tests[i](&w);
	ok = harness_end();
	if (w.server)
		server_stop(&server);
	return test_done() || !ok;
}
