/* What adapter.h promises, sentence by sentence, of every adapter. Run with `memory` or
 * `redis`; where a cluster can be one node, `b` is `a`. */
#include <stdlib.h>
#include <unistd.h>

#include "harness.h"
#include "proto/mem.h"
#include "test.h"

struct world {
	struct server *server; /* NULL: memory */
	struct node *a, *b;
};

static struct setup setup(const struct world *w)
{
	return setup_of(w->server);
}

static void begin(struct world *w)
{
	struct setup s = setup(w);

	w->a = node_up(&s, "AAAAAA");
	w->b = w->server ? node_up(&s, "BBBBBB") : w->a;
}

static void end(struct world *w)
{
	CHECK(w->a->downs == 0 && w->b->downs == 0);
	CHECK(w->a->presence_lost == 0 && w->b->presence_lost == 0);
	if (w->b != w->a)
		node_end(w->b);
	node_end(w->a);
	if (w->server) /* nothing is left behind */
		CHECK(server_ask(w->server, "KEYS gh:*") == 0);
}

/* All that was published before has been heard once this comes: to every node. */
static void fence(struct world *w)
{
	static unsigned number;
	char text[32], line[64];

	snprintf(text, sizeof(text), "fence%u", ++number);
	snprintf(line, sizeof(line), "/ e:%s", text);
	publish(w->a, "/", NULL, NULL, 0, text, NULL);
	WAIT(strings_count(&w->a->heard, line) == 1);
	WAIT(strings_count(&w->b->heard, line) == 1);
}

static void test_state(struct world *w)
{
	struct setup s = setup(w);
	struct answer got = {0}, local = {0}, sub = {0}, count = {0};
	struct node *n;

	s.unopened = true;
	n = node_new(&s, "AAAAAA");
	/* Before it is opened it is down: what is asked for waits, but for what is local.
	 */
	publish(n, "/", NULL, NULL, CLUSTER_LOCAL, "local", &local);
	WAIT(local.calls);
	CHECK(local.err == ERR_OK);
	CHECK(strings_count(&n->heard, "/ flags=2 e:local") == 1);
	CHECK(!n->up && n->ups == 0);
	publish(n, "/", NULL, NULL, 0, "early", &got);
	subscribe(n, "/", "r", &sub);
	add(n, "r", "AAAAAA00000000000001", "ann", &count);
	adapter_open(n->a);
	WAIT(n->up);
	CHECK(n->ups == 1 && n->downs == 0 && n->gaps == 0);
	WAIT(got.calls && sub.calls && count.calls);
	CHECK(got.err == ERR_OK && sub.err == ERR_OK);
	CHECK(count.err == ERR_OK && count.count == 1);
	WAIT(strings_count(&n->heard, "/ e:early") == 1);
	node_end(n);
}

static void test_order(struct world *w)
{
	enum { N = 300 };
	char text[16];
	size_t first;

	begin(w);
	join(w->a, "r");
	if (w->b != w->a)
		join(w->b, "r");
	first = w->a->heard.n;
	CHECK(first == 0);
	for (unsigned i = 0; i < N; i++) {
		struct node *from = i % 2 ? w->a : w->b;
		size_t before = from->heard.n;

		snprintf(text, sizeof(text), "%u", i);
		say(from, "r", text);
		CHECK(from->heard.n == before); /* not from within the call */
		if (i % 7 == 0)
			step();
	}
	WAIT(w->a->heard.n == N);
	WAIT(w->b->heard.n == N);
	for (size_t i = 0; i < N && w->a->heard.n == N && w->b->heard.n == N; i++)
		CHECK(!strcmp(w->a->heard.v[i], w->b->heard.v[i]));
	fence(w);
	CHECK(w->a->heard.n == N + 1); /* each came once */
	end(w);
}

static void test_carried(struct world *w)
{
	static const struct {
		const char *nsp, *rooms, *except;
		unsigned flags;
		const char *heard;
	} rows[] = {
		{"/", NULL, NULL, 0, "/ e:x"},
		{"/other", NULL, NULL, 0, "/other e:x"},
		{"/", "r", NULL, 0, "/ rooms=r e:x"},
		{"/", "r", "s,AAAAAA00000000000001", 0,
		 "/ rooms=r except=s,AAAAAA00000000000001 e:x"},
		{"/", "r,s,nobody", NULL, 0, "/ rooms=r,s,nobody e:x"},
		{"/", "nobody,nowhere", NULL, 0, "/ rooms=nobody,nowhere e:x"},
		{"/", NULL, "r", CLUSTER_VOLATILE, "/ except=r flags=1 e:x"},
		{"/", "r", NULL, CLUSTER_VOLATILE, "/ rooms=r flags=1 e:x"},
		{"/other", "r", NULL, 0, "/other rooms=r e:x"},
		{"/", "a#b", NULL, 0, "/ rooms=a#b e:x"},
		{"/", "*", NULL, 0, "/ rooms=* e:x"},
		{"/", "\xc3\xa9 \n", NULL, 0, "/ rooms=\xc3\xa9 \n e:x"},
	};
	struct answer got = {0};

	begin(w);
	join(w->b, "r");
	join(w->b, "a#b");
	join(w->b, "*");
	join(w->b, "\xc3\xa9 \n");
	subscribe(w->b, "/other", "r", &got);
	WAIT(got.calls);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct answer sent = {0};
		size_t before = w->b->heard.n;

		publish(w->a, rows[i].nsp, rows[i].rooms, rows[i].except, rows[i].flags,
			"x", &sent);
		WAIT(sent.calls && w->b->heard.n > before);
		CHECK(sent.err == ERR_OK);
		if (w->b->heard.n > before)
			CHECK_SLICE(slice_str(w->b->heard.v[before]),
				    slice_str(rows[i].heard), "carried");
	}
	fence(w);
	CHECK(w->b->heard.n == sizeof(rows) / sizeof(rows[0]) + 1);
	/* A namespace nobody added, a room nobody subscribed to. */
	publish(w->a, "/unknown", NULL, NULL, 0, "x", NULL);
	publish(w->a, "/unknown", "r", NULL, 0, "x", NULL);
	say(w->a, "s", "x");
	say(w->a, "r ", "x");
	fence(w);
	CHECK(w->b->heard.n == sizeof(rows) / sizeof(rows[0]) + 2);
	end(w);
}

static void test_tell(struct world *w)
{
	enum { N = 200, KINDS = 4 };
	struct answer got[N] = {0}, own = {0}, none = {0};
	struct adapter_stats s;
	struct node *n;
	char text[32], line[64];

	begin(w);
	n = w->b;
	join(n, "r");
	/* In the order they were sent, and in order with publishes. */
	for (unsigned i = 0; i < N; i++) {
		snprintf(text, sizeof(text), "%u", i);
		if (i % KINDS == 1)
			say(w->a, "r", text);
		else if (i % KINDS == 2)
			fence_with(w->a, n->code, text, &got[i]);
		else
			tell(w->a, n->code, text, &got[i]);
		if (i % 7 == 0)
			step();
	}
	WAIT(n->heard.n == N);
	for (unsigned i = 0; i < n->heard.n; i++) {
		if (i % KINDS != 1) {
			WAIT(got[i].calls);
			CHECK(got[i].err == ERR_OK);
		}
		snprintf(line, sizeof(line),
			 i % KINDS == 1 ? "/ rooms=r e:%u" : "told AAAAAA %u", i);
		CHECK_SLICE(slice_str(n->heard.v[i]), slice_str(line), "told in order");
	}
	/* To no other; oneself is a node too. */
	tell(w->a, "AAAAAA", "self", &own);
	tell(w->a, "ZZZZZZ", "nobody", &none);
	WAIT(own.calls && none.calls);
	CHECK(own.err == ERR_OK && none.err == ERR_NOT_FOUND);
	WAIT(strings_count(&w->a->heard, "told AAAAAA self") == 1);
	fence(w);
	CHECK(n->heard.n == N + (n == w->a ? 2 : 1));
	/* Any bytes, none too. */
	tell(n, "AAAAAA", "", NULL);
	tell(n, "AAAAAA", "\x01\xff\xfe\r\n$3 #*", NULL);
	snprintf(line, sizeof(line), "told %s \x01\xff\xfe\r\n$3 #*", n->code);
	WAIT(strings_count(&w->a->heard, line) == 1);
	snprintf(line, sizeof(line), "told %s ", n->code);
	CHECK(strings_count(&w->a->heard, line) == 1);
	adapter_stats_get(w->a->a, &s);
	CHECK(s.told >= 3 && s.told_bytes >= 12);
	CHECK(s.publish_failed == 0 && s.malformed == 0);
	end(w);
}

/* Two nodes publish, and each fences with the other: both hear the same in one order. */
static void test_fence(struct world *w)
{
	enum { N = 400, ALL = N + N / 5 };
	struct answer got[N] = {0}, none = {0}, self = {0};
	char text[32];

	begin(w);
	join(w->a, "r");
	if (w->b != w->a)
		join(w->b, "r");
	for (unsigned i = 0; i < N; i++) {
		struct node *from = i % 2 ? w->a : w->b, *to = i % 2 ? w->b : w->a;

		snprintf(text, sizeof(text), "%u", i);
		say(from, "r", text);
		if (i % 5 == 0)
			fence_with(from, to->code, text, &got[i]);
		if (i % 7 == 0)
			step();
	}
	WAIT(w->a->heard.n == ALL);
	WAIT(w->b->heard.n == ALL);
	for (size_t i = 0; i < ALL && w->a->heard.n == ALL && w->b->heard.n == ALL; i++)
		CHECK(!strcmp(w->a->heard.v[i], w->b->heard.v[i]));
	for (unsigned i = 0; i < N; i += 5) {
		WAIT(got[i].calls);
		CHECK(got[i].err == ERR_OK);
	}
	/* With oneself: once. With a node that is not there. */
	fence_with(w->a, "AAAAAA", "self", &self);
	fence_with(w->a, "ZZZZZZ", "nobody", &none);
	WAIT(self.calls && none.calls);
	CHECK(self.err == ERR_OK && none.err == ERR_NOT_FOUND);
	fence(w);
	CHECK(strings_count(&w->a->heard, "told AAAAAA self") == 1);
	CHECK(w->b == w->a || w->b->heard.n == ALL + 1);
	end(w);
}

static void test_local(struct world *w)
{
	struct answer got[3] = {0};

	begin(w);
	join(w->a, "r");
	publish(w->a, "/", "r", NULL, CLUSTER_LOCAL | CLUSTER_VOLATILE, "1", &got[0]);
	publish(w->a, "/", NULL, "r", CLUSTER_LOCAL, "2", &got[1]);
	publish(w->a, "/", "elsewhere", NULL, CLUSTER_LOCAL, "3", &got[2]);
	CHECK(w->a->heard.n == 0);
	WAIT(got[0].calls && got[1].calls && got[2].calls);
	CHECK(!got[0].err && !got[1].err && !got[2].err);
	fence(w);
	CHECK(w->a->heard.n == 3);
	CHECK(strings_count(&w->a->heard, "/ rooms=r flags=3 e:1") == 1);
	CHECK(strings_count(&w->a->heard, "/ except=r flags=2 e:2") == 1);
	if (w->b != w->a)
		CHECK(w->b->heard.n == 1);
	end(w);
}

static void test_subscribe(struct world *w)
{
	struct answer got = {0}, again = {0}, third = {0};

	begin(w);
	say(w->a, "r", "before");
	fence(w);
	CHECK(strings_count(&w->b->heard, "/ rooms=r e:before") == 0);
	/* What is published once it is answered is heard. */
	join(w->b, "r");
	say(w->a, "r", "in");
	fence(w);
	CHECK(strings_count(&w->b->heard, "/ rooms=r e:in") == 1);
	unsubscribe(w->b, "/", "r");
	fence(w);
	say(w->a, "r", "after");
	fence(w);
	CHECK(strings_count(&w->b->heard, "/ rooms=r e:after") == 0);
	/* Unsubscribing before the answer; and subscribing again at once. */
	subscribe(w->b, "/", "r", &got);
	unsubscribe(w->b, "/", "r");
	unsubscribe(w->b, "/", "r");
	WAIT(got.calls);
	CHECK(got.err == ERR_CLOSED);
	answer_clear(&got);
	subscribe(w->b, "/", "r", &got);
	unsubscribe(w->b, "/", "r");
	subscribe(w->b, "/", "r", &again);
	WAIT(got.calls && again.calls);
	CHECK(got.err == ERR_CLOSED && again.err == ERR_OK);
	unsubscribe(w->b, "/", "r");
	subscribe(w->b, "/", "r", &third);
	say(w->a, "q", "x"); /* does not matter */
	WAIT(third.calls);
	CHECK(third.err == ERR_OK);
	say(w->a, "r", "again");
	fence(w);
	CHECK(strings_count(&w->b->heard, "/ rooms=r e:again") == 1);
	/* Also where it has been live all the time. */
	answer_clear(&got);
	answer_clear(&again);
	unsubscribe(w->b, "/", "r");
	subscribe(w->b, "/", "r", &got);
	unsubscribe(w->b, "/", "r");
	subscribe(w->b, "/", "r", &again);
	WAIT(got.calls && again.calls);
	CHECK(got.err == ERR_CLOSED && again.err == ERR_OK);
	/* Each asked of the backend before it has confirmed the one before. */
	unsubscribe(w->b, "/", "r");
	adapter_turn(w->b->a);
	subscribe(w->b, "/", "r", NULL);
	adapter_turn(w->b->a);
	unsubscribe(w->b, "/", "r");
	adapter_turn(w->b->a);
	say(w->a, "r", "gone");
	fence(w);
	CHECK(strings_count(&w->b->heard, "/ rooms=r e:gone") == 0);
	end(w);
}

/* Rooms come and go faster than they are confirmed; in the end each is what was asked
 * for last, and each answer came once. */
static void test_subscribe_races(struct world *w)
{
	enum { ROOMS = 40, STEPS = 4000 };
	struct answer *got = mem_zalloc(STEPS, sizeof(*got));
	int last[ROOMS]; /* the answer of its last subscribe; -1: not subscribed */
	struct adapter_stats s;
	unsigned random = 1;
	size_t in = 0;
	char room[8], line[32];

	begin(w);
	for (size_t i = 0; i < ROOMS; i++)
		last[i] = -1;
	for (int i = 0; i < STEPS; i++) {
		size_t r;

		random = random * 1103515245u + 12345u;
		r = (random >> 16) % ROOMS;
		snprintf(room, sizeof(room), "r%zu", r);
		if (last[r] < 0) {
			subscribe(w->b, "/", room, &got[i]);
			last[r] = i;
		} else {
			unsubscribe(w->b, "/", room);
			WAIT(got[last[r]].calls == 1);
			CHECK(got[last[r]].err == ERR_OK ||
			      got[last[r]].err == ERR_CLOSED);
			last[r] = -1;
		}
		if ((random >> 8) % 16 == 0)
			step();
	}
	for (size_t i = 0; i < ROOMS; i++) {
		snprintf(room, sizeof(room), "r%zu", i);
		if (last[i] >= 0) {
			WAIT(got[last[i]].calls == 1);
			CHECK(got[last[i]].err == ERR_OK);
			in++;
		}
		say(w->a, room, "end");
	}
	fence(w);
	for (size_t i = 0; i < ROOMS; i++) {
		snprintf(line, sizeof(line), "/ rooms=r%zu e:end", i);
		CHECK(strings_count(&w->b->heard, line) == (last[i] >= 0));
	}
	adapter_stats_get(w->b->a, &s);
	WAIT((adapter_stats_get(w->b->a, &s), s.subscriptions == in));
	free(got);
	end(w);
}

static void test_own_ids(struct world *w)
{
	char mine[ID_LEN + 1];

	begin(w);
	sid_of(w->b, 1, mine);
	say(w->a, mine, "1");
	publish(w->a, "/other", mine, NULL, 0, "2", NULL);
	say(w->a, "CCCCCC00000000000001", "3");
	say(w->a, "BBBBBB0000000000000 ", "4"); /* as long, but no id */
	say(w->a, "BBBBBB0000000000000#", "5");
	fence(w);
	if (w->b != w->a) {
		CHECK(w->b->heard.n == 3);
		CHECK(w->a->heard.n == 1);
		CHECK(strings_count(&w->b->heard, "/ rooms=BBBBBB00000000000001 e:1") ==
		      1);
	} else {
		CHECK(w->a->heard.n == 3);
	}
	/* Subscribed to in so many words, it still comes once. */
	join(w->b, mine);
	say(w->a, mine, "once");
	fence(w);
	CHECK(w->b->heard.n == 5);
	unsubscribe(w->b, "/", mine);
	say(w->a, mine, "still mine");
	fence(w);
	CHECK(w->b->heard.n == 7);
	/* One that looks like an id's room to the pattern, but is none. */
	snprintf(mine, sizeof(mine), "%s#############.", w->b->code);
	join(w->b, mine);
	say(w->a, mine, "odd");
	fence(w);
	CHECK(w->b->heard.n == 9);
	end(w);
}

static void test_presence(struct world *w)
{
	char a1[ID_LEN + 1], a2[ID_LEN + 1], b1[ID_LEN + 1];
	struct answer got = {0};

	begin(w);
	sid_of(w->a, 1, a1);
	sid_of(w->a, 2, a2);
	snprintf(b1, sizeof(b1), "BBBBBB%014u", 1U);
#define COUNT(call, n)                                                                   \
	do {                                                                             \
		answer_clear(&got);                                                      \
		call;                                                                    \
		WAIT(got.calls);                                                         \
		CHECK(got.err == ERR_OK);                                                \
		CHECK(got.count == (n));                                                 \
	} while (0)
	COUNT(list(w->a, "r", "", 10, &got), 0);
	CHECK(got.members.n == 0 && !got.more);
	COUNT(add(w->a, "r", a2, "ann", &got), 1);
	COUNT(add(w->b, "r", b1, "", &got), 2);
	COUNT(add(w->a, "r", a1, "b\xc3\xb6", &got), 3);
	COUNT(add(w->a, "r", a1, "b\xc3\xb6", &got), 3);
	COUNT(add(w->a, "q#q", a1, "", &got), 1);
	COUNT(list(w->b, "r", "", 10, &got), 3);
	CHECK(got.members.n == 3 && !got.more);
	if (got.members.n == 3) {
		CHECK_SLICE(slice_str(got.members.v[0]),
			    SLICE_LIT("AAAAAA00000000000001 b\xc3\xb6"), "1");
		CHECK_SLICE(slice_str(got.members.v[1]),
			    SLICE_LIT("AAAAAA00000000000002 ann"), "2");
		CHECK_SLICE(slice_str(got.members.v[2]),
			    w->b == w->a ? SLICE_LIT("BBBBBB00000000000001  @AAAAAA")
					 : SLICE_LIT("BBBBBB00000000000001 "),
			    "3");
	}
	/* Again with another user: it replaces. */
	COUNT(add(w->a, "r", a2, "eve", &got), 3);
	COUNT(list(w->b, "r", a1, 1, &got), 3);
	CHECK(got.members.n == 1 && got.more);
	CHECK(strings_count(&got.members, "AAAAAA00000000000002 eve") == 1);
	COUNT(drop(w->a, "r", a1, "b\xc3\xb6", &got), 2);
	COUNT(drop(w->a, "r", a1, "b\xc3\xb6", &got), 2);
	COUNT(drop(w->a, "nowhere", a1, "", &got), 0);
	COUNT(drop(w->b, "r", b1, "", &got), 1);
	COUNT(drop(w->a, "r", a2, "eve", &got), 0);
	COUNT(list(w->b, "q#q", "", 0, &got), 1);
	CHECK(got.members.n == 0 && got.more);
	/* Whoever does not want the answer still has it done, in order. */
	add(w->a, "r", a1, "", NULL);
	drop(w->a, "r", a1, "", NULL);
	add(w->a, "r", a2, "", NULL);
	list(w->a, "r", "", 1, NULL);
	COUNT(list(w->a, "r", "", 10, &got), 1);
	CHECK(strings_count(&got.members, "AAAAAA00000000000002 ") == 1);
	answer_clear(&got);
	end(w);
}

/* A socket moves: it is the node's that added it last. */
static void test_presence_moves(struct world *w)
{
	bool alone = w->server == NULL;
	char a1[ID_LEN + 1], a2[ID_LEN + 1];
	struct answer got = {0};

	begin(w);
	sid_of(w->a, 1, a1);
	sid_of(w->a, 2, a2);
	COUNT(add(w->a, "r", a1, "ann", &got), 1);
	COUNT(add(w->a, "r", a2, "eve", &got), 2);
	COUNT(add(w->b, "r", a1, "ann", &got), 2);
	COUNT(add(w->b, "r", a1, "ann", &got), 2);
	COUNT(list(w->a, "r", "", 10, &got), 2);
	CHECK(got.members.n == 2 && !got.more);
	CHECK(strings_count(&got.members, alone ? "AAAAAA00000000000001 ann"
						: "AAAAAA00000000000001 ann @BBBBBB"));
	CHECK(strings_count(&got.members, "AAAAAA00000000000002 eve"));
	if (!alone) /* it has moved, so it is not for this node to remove */
		COUNT(drop(w->a, "r", a1, "ann", &got), 2);
	COUNT(drop(w->b, "r", a1, "ann", &got), 1);
	/* And back. */
	COUNT(add(w->b, "r", a2, "eve", &got), 1);
	COUNT(add(w->a, "r", a2, "eva", &got), 1);
	if (!alone)
		COUNT(drop(w->b, "r", a2, "eve", &got), 1);
	COUNT(list(w->b, "r", "", 10, &got), 1);
	CHECK(strings_count(&got.members, "AAAAAA00000000000002 eva") == 1);
	COUNT(drop(w->a, "r", a2, "", &got), 0);
	/* One whose node is not there at all. */
	COUNT(add(w->a, "r", "ZZZZZZ00000000000001", "zoe", &got), 1);
	COUNT(add(w->a, "r", a1, "ann", &got), 2);
	COUNT(list(w->b, "r", a1, 10, &got), 2);
	CHECK(got.members.n == 1);
	CHECK(strings_count(&got.members, "ZZZZZZ00000000000001 zoe @AAAAAA") == 1);
	answer_clear(&got);
	end(w);
}

static void test_presence_pages(struct world *w)
{
	enum { N = 57, PAGE = 10 };
	char sid[ID_LEN + 1], after[64] = "";
	struct answer got = {0};
	size_t seen = 0;

	begin(w);
	for (unsigned i = 0; i < N; i++) /* in no order */
		add(i % 3 ? w->a : w->b, "r", sid_of(w->a, i * 23 % N, sid), "u", NULL);
	/* By either node, so they may not be in yet. */
	do {
		answer_clear(&got);
		list(w->a, "r", "", 0, &got);
		WAIT(got.calls);
	} while (!got.err && got.count < N);
	do {
		answer_clear(&got);
		list(w->a, "r", after, PAGE, &got);
		WAIT(got.calls);
		CHECK(got.count == N);
		CHECK(got.more == (seen + got.members.n < N));
		for (size_t i = 0; i < got.members.n; i++) {
			char want[64];

			snprintf(want, sizeof(want), "%s u",
				 sid_of(w->a, (unsigned)seen++, sid));
			CHECK(!strncmp(got.members.v[i], want, strlen(want)));
			memcpy(after, got.members.v[i], ID_LEN);
			after[ID_LEN] = '\0';
		}
	} while (got.members.n && got.more);
	CHECK(seen == N);
	/* `after` is whatever a client says. */
	static const struct {
		const char *after;
		size_t n;
	} rows[] = {
		{"A", N},
		{"AAAAAA", N},
		{"AAAAAA0000000000005", 7},
		{"AAAAAA00000000000050", 6},
		{"AAAAAA00000000000050x", 6},
		{"AAAAAA00000000000056", 0},
		{"AAAAAB", 0},
		{"B", 0},
		{"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"
		 "\xff"
		 "\xff\xff",
		 0},
		{"\x01", N},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		answer_clear(&got);
		list(w->a, "r", rows[i].after, 1000, &got);
		WAIT(got.calls);
		CHECK_ROW(got.err == ERR_OK && got.members.n == rows[i].n, rows[i].after);
		CHECK_ROW(got.count == N && !got.more, rows[i].after);
	}
	answer_clear(&got);
	end(w);
}

static void test_full(struct world *w)
{
	enum { N = 30, BIG = 100000 };
	char *text = mem_alloc(BIG + 1);
	struct answer got[N] = {0};
	struct adapter_stats s;
	size_t ok = 0, full = 0;

	memset(text, 'x', BIG);
	text[BIG] = '\0';
	begin(w);
	for (size_t i = 0; i < N; i++) {
		if (i % 6 == 1)
			tell(w->a, "AAAAAA", text, &got[i]);
		else if (i % 6 == 3)
			fence_with(w->a, w->b->code, text, &got[i]);
		else
			publish(w->a, "/", NULL, NULL, i % 2 ? 0 : CLUSTER_LOCAL, text,
				&got[i]);
	}
	adapter_stats_get(w->a->a, &s);
	CHECK(s.publish_waiting > 0);
	CHECK(s.publish_waiting_bytes > BIG && s.publish_waiting_bytes <= 1 << 20);
	for (size_t i = 0; i < N; i++) {
		WAIT(got[i].calls);
		ok += got[i].err == ERR_OK;
		full += got[i].err == ERR_FULL;
	}
	CHECK(ok >= 10 && full >= 10 && ok + full == N);
	fence(w);
	CHECK(w->a->heard.n == ok + 1);
	adapter_stats_get(w->a->a, &s);
	CHECK(s.publish_waiting_bytes == 0 && s.publish_waiting == 0);
	CHECK(s.publish_failed == full);
	free(text);
	end(w);
}

static void test_stats(struct world *w)
{
	struct adapter_stats s, none;

	begin(w);
	adapter_stats_get(w->a->a, &none);
	CHECK(none.up && none.published == 0 && none.received == 0);
	CHECK(none.subscriptions == 0 && none.malformed == 0);
	CHECK(none.connects == (w->server ? 2 : 0));
	join(w->a, "r");
	say(w->a, "r", "x");
	say(w->a, "elsewhere", "x");
	fence(w);
	WAIT((adapter_stats_get(w->a->a, &s), s.published == 3));
	CHECK(s.received == 2 && s.received_bytes > 8);
	CHECK(s.subscriptions == 1 && s.publish_failed == 0 && s.gaps == 0);
	if (w->server)
		WAIT((adapter_stats_get(w->a->a, &s), s.rtt_us > 0));
	unsubscribe(w->a, "/", "r");
	WAIT((adapter_stats_get(w->a->a, &s), s.subscriptions == 0));
	end(w);
}

static void test_close(struct world *w)
{
	struct setup s = setup(w);
	struct answer got[11] = {0}, ghost = {0};
	struct node *n = node_up(&s, "CCCCCC"), *other = NULL;

	if (w->server) {
		other = node_up(&s, "DDDDDD");
		join(other, "r");
	}
	add(n, "r", "CCCCCC00000000000001", "ann", &got[8]);
	WAIT(got[8].calls);
	publish(n, "/", "r", NULL, 0, "bye", &got[0]);
	publish(n, "/", NULL, NULL, CLUSTER_LOCAL, "x", &got[1]);
	subscribe(n, "/", "r", &got[2]);
	add(n, "q", "CCCCCC00000000000002", "", &got[3]);
	list(n, "r", "", 10, &got[4]);
	tell(n, "DDDDDD", "bye", &got[9]);
	node_close(n);
	/* Refused from now on. */
	publish(n, "/", NULL, NULL, 0, "late", &got[5]);
	subscribe(n, "/", "q", &got[6]);
	unsubscribe(n, "/", "q");
	drop(n, "r", "CCCCCC00000000000001", "ann", &got[7]);
	fence_with(n, "DDDDDD", "late", &got[10]);
	WAIT(n->closed);
	CHECK(got[9].calls == 1 && got[9].err == (other ? ERR_OK : ERR_CLOSED));
	CHECK(got[10].calls == 1 && got[10].err == ERR_CLOSED);
	for (size_t i = 0; i < 8; i++) {
		CHECK(got[i].calls == 1);
		CHECK(got[i].err == ERR_CLOSED || (i < 5 && got[i].err == ERR_OK));
	}
	CHECK(strings_count(&n->heard, "/ e:late") == 0);
	node_free(n);
	if (other) {
		list(other, "r", "", 10, &ghost);
		WAIT(ghost.calls);
		CHECK(ghost.count == 0 && ghost.members.n == 0);
		/* What was asked for before the close, while up, still went out. */
		WAIT(strings_count(&other->heard, "/ rooms=r e:bye") == 1);
		WAIT(strings_count(&other->heard, "told CCCCCC bye") == 1);
		CHECK(other->heard.n == 2);
		CHECK(other->lost.n == 0);
		node_end(other);
		CHECK(server_ask(w->server, "KEYS gh:*") == 0);
	}
	/* One that was never opened. */
	s.unopened = true;
	n = node_new(&s, "CCCCCC");
	answer_clear(&got[0]);
	publish(n, "/", NULL, NULL, 0, "x", &got[0]);
	node_close(n);
	WAIT(n->closed);
	CHECK(got[0].calls == 1 && got[0].err == ERR_CLOSED);
	node_free(n);
}

/* Closing from within a callback. */
static struct node *closing;
static void on_done_close(void *arg, enum err err)
{
	*(enum err *)arg = err;
	node_close(closing);
}

static void test_close_inside(struct world *w)
{
	struct setup s = setup(w);
	enum err err = ERR_IO;
	struct answer got = {0};
	struct node *n = node_up(&s, "CCCCCC");

	closing = n;
	adapter_subscribe(n->a, SLICE_LIT("/"), SLICE_LIT("r"), on_done_close, &err);
	publish(n, "/", "r", NULL, 0, "x", &got);
	WAIT(n->closed);
	CHECK(err == ERR_OK);
	CHECK(got.calls == 1);
	node_free(n);
}

int main(int argc, char **argv)
{
	static void (*const tests[])(struct world *) = {
		test_state,   test_order,    test_carried,	  test_tell,
		test_fence,   test_local,    test_subscribe,	  test_subscribe_races,
		test_own_ids, test_presence, test_presence_moves, test_presence_pages,
		test_full,    test_stats,    test_close,	  test_close_inside,
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
