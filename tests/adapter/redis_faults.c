/* What Redis and the connections to it can do to an adapter. */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "harness.h"
#include "proto/mem.h"
#include "test.h"

static struct server server;

static struct setup setup(void)
{
	return setup_of(&server);
}

/* The number in the n-th line heard, or -1. */
static long number_heard(const struct node *n, size_t i)
{
	const char *text = strstr(n->heard.v[i], "e:");

	if (!strncmp(n->heard.v[i], "told ", 5))
		return strtol(n->heard.v[i] + 5 + NODE_CODE_LEN, NULL, 10);
	return text ? strtol(text + 2, NULL, 10) : -1;
}

/* Numbered messages from one node to another: each comes at most once and in order; one
 * whose answer was ERR_OK did come, unless `lossy`; one that was not sent did not. */
static void check_heard(const struct node *n, const struct answer *got, size_t total,
			bool lossy)
{
	unsigned *times = mem_zalloc(total, sizeof(*times));
	long last = -1;

	for (size_t i = 0; i < n->heard.n; i++) {
		long number = number_heard(n, i);

		CHECK(number > last);
		last = number;
		if (number >= 0 && (size_t)number < total)
			times[number]++;
	}
	for (size_t i = 0; i < total; i++) {
		CHECK(got[i].calls == 1);
		CHECK(times[i] <= 1);
		if (got[i].err == ERR_OK)
			CHECK(lossy || times[i] == 1);
		else if (got[i].err != ERR_UNCONFIRMED)
			CHECK(times[i] == 0);
	}
	free(times);
}

static void say_number(struct node *n, size_t number, struct answer *got)
{
	char text[32];

	snprintf(text, sizeof(text), "%zu", number);
	publish(n, "/", "r", NULL, 0, text, got);
}

static size_t count_err(const struct answer *got, size_t n, enum err err)
{
	size_t count = 0;

	for (size_t i = 0; i < n; i++)
		count += got[i].calls && got[i].err == err;
	return count;
}

/* The command link is cut again and again under traffic. The subscriptions live on, so
 * nothing is missed; nothing is published twice; what waits goes out in order. */
static void test_commands_cut(void)
{
	enum { N = 6000 };
	struct setup s = setup();
	struct answer *got = mem_zalloc(N, sizeof(*got));
	struct node *a = node_up(&s, "AAAAAA"), *b = node_up(&s, "BBBBBB");
	size_t cuts = 0;

	join(a, "r");
	join(b, "r");
	for (size_t i = 0; i < N; i++) {
		say_number(a, i, &got[i]);
		if (i % 20 == 19)
			step();
		if (i % 1000 == 500)
			cuts += (size_t)server_kill_clients(&server, "AAAAAA-commands");
	}
	for (size_t i = 0; i < N; i++)
		WAIT(got[i].calls);
	WAIT(a->up && b->heard.n > 0 && number_heard(b, b->heard.n - 1) == N - 1);
	CHECK(cuts >= 3);
	CHECK(a->downs == cuts && a->gaps == 0);
	CHECK(b->downs == 0);
	CHECK(count_err(got, N, ERR_OK) + count_err(got, N, ERR_UNCONFIRMED) == N);
	check_heard(b, got, N, false);
	/* The publisher's own subscription was not cut either: one order for both. */
	WAIT(a->heard.n == b->heard.n);
	check_heard(a, got, N, false);
	free(got);
	node_end(a);
	node_end(b);
}

/* The same with tells and fences among the publishes: one order for the three, and still
 * nothing twice. Scripts are flushed all the time, which a fence must not mind. */
static void test_told_while_cut(void)
{
	enum { N = 6000 };
	struct setup s = setup();
	struct answer *got = mem_zalloc(N, sizeof(*got));
	struct node *a = node_up(&s, "AAAAAA"), *b = node_up(&s, "BBBBBB");
	size_t cuts = 0;
	char text[32];

	join(b, "r");
	for (size_t i = 0; i < N; i++) {
		snprintf(text, sizeof(text), "%zu", i);
		if (i % 3 == 0)
			say_number(a, i, &got[i]);
		else if (i % 3 == 1)
			tell(a, "BBBBBB", text, &got[i]);
		else
			fence_with(a, "BBBBBB", text, &got[i]);
		if (i % 20 == 19)
			step();
		if (i % 100 == 50)
			server_ask(&server, "SCRIPT FLUSH");
		if (i % 1000 == 500)
			cuts += (size_t)server_kill_clients(&server, "AAAAAA-commands");
	}
	for (size_t i = 0; i < N; i++)
		WAIT(got[i].calls);
	WAIT(a->up && b->heard.n > 0 && number_heard(b, b->heard.n - 1) == N - 1);
	CHECK(cuts >= 3 && a->downs == cuts && b->downs == 0);
	CHECK(count_err(got, N, ERR_OK) + count_err(got, N, ERR_UNCONFIRMED) == N);
	check_heard(b, got, N, false);
	free(got);
	node_end(a);
	node_end(b);
}

/* Of a node that has lost its subscriptions others are told, until it has them again; and
 * a fence of its own is not half of one. */
static void test_told_while_deaf(void)
{
	struct setup s = setup();
	struct node *a = node_up(&s, "AAAAAA"), *b = node_up(&s, "BBBBBB");
	struct answer told = {0}, fenced = {0}, own = {0}, after = {0}, late = {0};
	struct adapter_stats stats;

	CHECK(server_kill_clients(&server, "BBBBBB-subscriptions") == 1);
	/* Neither node has noticed. */
	tell(a, "BBBBBB", "1", &told);
	fence_with(a, "BBBBBB", "2", &fenced);
	fence_with(b, "AAAAAA", "3", &own);
	adapter_turn(a->a);
	adapter_turn(b->a);
	WAIT(told.calls && fenced.calls && own.calls);
	CHECK(told.err == ERR_NOT_FOUND && fenced.err == ERR_NOT_FOUND);
	CHECK(own.err == ERR_UNAVAILABLE);
	adapter_stats_get(a->a, &stats);
	CHECK(stats.published == 2 && stats.publish_failed == 0);
	adapter_stats_get(b->a, &stats);
	CHECK(stats.published == 0 && stats.publish_failed == 1);
	WAIT(b->downs == 1 && b->up);
	/* At the very moment. */
	tell(a, "BBBBBB", "4", &after);
	WAIT(after.calls && b->heard.n);
	CHECK(after.err == ERR_OK);
	CHECK(b->heard.n == 1 && !strcmp(b->heard.v[0], "told AAAAAA 4"));
	for (size_t i = 0; i < a->heard.n; i++) /* of the second it has the own end */
		CHECK(!strcmp(a->heard.v[i], "told AAAAAA 2"));
	/* Gone for good. */
	node_end(b);
	tell(a, "BBBBBB", "5", &late);
	WAIT(late.calls);
	CHECK(late.err == ERR_NOT_FOUND);
	node_end(a);
}

/* What was written when the connection broke is not known to have arrived. */
static void test_unconfirmed(void)
{
	struct setup s = setup();
	struct answer got = {0}, next = {0}, count = {0};
	struct node *a;
	struct adapter_stats stats;
	char sid[ID_LEN + 1];

	s.r.reply_timeout_ms = 500;
	a = node_up(&s, "AAAAAA");
	server_signal(&server, SIGSTOP);
	say_number(a, 1, &got);
	add(a, "r", sid_of(a, 1, sid), "u", &count);
	step(); /* it is written */
	WAIT(got.calls);
	CHECK(got.err == ERR_UNCONFIRMED);
	CHECK(!a->up);
	CHECK(strings_count(&a->logs, "redis_silent") > 0);
	say_number(a, 2, &next);
	server_signal(&server, SIGCONT);
	WAIT(a->up && next.calls && count.calls);
	CHECK(next.err == ERR_OK);
	CHECK(count.err == ERR_OK &&
	      count.count == 1); /* sent again: that does no harm */
	CHECK(a->presence_lost == 0);
	adapter_stats_get(a->a, &stats);
	CHECK(stats.publish_unconfirmed == 1);
	node_end(a);
}

/* The subscribing link is cut: down, all subscribed again, and up only then, with a gap.
 */
static void test_subscriptions_cut(void)
{
	enum { ROOMS = 3000 };
	struct setup s = setup();
	struct node *a = node_up(&s, "AAAAAA"), *b = node_up(&s, "BBBBBB");
	struct answer *got = mem_zalloc(ROOMS, sizeof(*got));
	struct answer late = {0};
	struct adapter_stats stats;
	char room[16], mine[ID_LEN + 1];

	for (size_t i = 0; i < ROOMS; i++) {
		snprintf(room, sizeof(room), "room%zu", i);
		subscribe(a, "/", room, &got[i]);
	}
	for (size_t i = 0; i < ROOMS; i++)
		WAIT(got[i].calls && got[i].err == ERR_OK);
	CHECK(server_kill_clients(&server, "AAAAAA-subscriptions") == 1);
	WAIT(a->downs == 1);
	CHECK(!a->up);
	unsubscribe(a, "/", "room0");
	subscribe(a, "/", "late", &late);
	while (!a->up)
		step();
	/* At the very moment: */
	CHECK(server_ask(&server, "PUBSUB CHANNELS %s", "socket.io#/#room*") ==
	      ROOMS - 1);
	CHECK(server_ask(&server, "PUBSUB NUMPAT") == 4);
	CHECK(a->gaps == 1 && a->ups == 2);
	adapter_stats_get(a->a, &stats);
	CHECK(stats.gaps == 1 && stats.connects == 3);
	WAIT(late.calls);
	CHECK(late.err == ERR_OK);
	say(b, "room2999", "x");
	say(b, "room0", "x");
	say(b, sid_of(a, 7, mine), "x");
	say(b, "late", "x");
	WAIT(strings_count(&a->heard, "/ rooms=late e:x") == 1);
	CHECK(a->heard.n == 3);
	free(got);
	node_end(a);
	node_end(b);
}

/* kill -9 and a new, empty Redis, under traffic from both sides. */
static void test_killed(void)
{
	enum { N = 3000, KILL = 1000, BACK = 2000 };
	struct setup s = setup();
	struct answer *got = mem_zalloc(N, sizeof(*got));
	struct answer list_got = {0};
	struct node *a, *b;
	char sid[ID_LEN + 1];
	size_t ok;

	s.o.presence_lease_ms = 3000;
	a = node_up(&s, "AAAAAA");
	b = node_up(&s, "BBBBBB");
	join(b, "r");
	add(b, "r", sid_of(b, 1, sid), "u", NULL);
	for (size_t i = 0; i < N; i++) {
		say_number(a, i, &got[i]);
		if (i % 10 == 9)
			step();
		if (i == KILL)
			server_kill(&server);
		if (i == BACK) {
			WAIT(!a->up && !b->up);
			server_start(&server, NULL);
		}
	}
	for (size_t i = 0; i < N; i++)
		WAIT(got[i].calls);
	WAIT(a->up && b->up);
	CHECK(b->gaps == 1 && b->downs == 1 && b->ups == 2);
	/* What b missed is what a published while b was not yet back. */
	say_number(a, N, NULL);
	WAIT(b->heard.n && number_heard(b, b->heard.n - 1) == N);
	ok = count_err(got, N, ERR_OK);
	CHECK(ok > N / 2);
	CHECK(ok + count_err(got, N, ERR_UNCONFIRMED) == N);
	/* All but the last one, which is not among the answers. */
	free(b->heard.v[--b->heard.n]);
	check_heard(b, got, N, true);
	for (size_t i = 0; i < KILL - 200; i++)
		CHECK(got[i].err == ERR_OK && number_heard(b, i) == (long)i);
	WAIT(b->presence_lost == 1);
	CHECK(a->presence_lost == 1);
	add(b, "r", sid_of(b, 1, sid), "u", NULL);
	list(b, "r", "", 10, &list_got);
	WAIT(list_got.calls);
	CHECK(list_got.count == 1);
	answer_clear(&list_got);
	free(got);
	node_end(a);
	node_end(b);
}

/* A Redis that came back with old data: whoever left since is not a member again. */
static void test_old_data(void)
{
	static const char *const load[] = {"--dbfilename", "dump.rdb", NULL};
	struct setup s = setup();
	struct node *a = node_up(&s, "AAAAAA");
	struct answer got = {0};
	char sid[ID_LEN + 1];

	add(a, "r", sid_of(a, 1, sid), "u", NULL);
	add(a, "q", sid_of(a, 1, sid), "u", &got);
	WAIT(got.calls);
	answer_clear(&got);
	server_ask(&server, "SAVE");
	drop(a, "r", sid_of(a, 1, sid), "u", NULL);
	add(a, "r", sid_of(a, 2, sid), "u", &got);
	WAIT(got.calls);
	CHECK(got.count == 1);
	answer_clear(&got);
	server_kill(&server);
	WAIT(!a->up);
	server_start(&server, load);
	CHECK(server_ask(&server, "ZCARD gh:{0}:members:/#r") == 1); /* the old one */
	WAIT(a->up && a->presence_lost == 1);
	add(a, "r", sid_of(a, 2, sid), "u", NULL);
	list(a, "r", "", 10, &got);
	WAIT(got.calls);
	CHECK(got.count == 1 && got.members.n == 1);
	CHECK(strings_count(&got.members, "AAAAAA00000000000002 u") == 1);
	answer_clear(&got);
	node_end(a);
	CHECK(server_ask(&server, "KEYS gh:*") == 0);
	unlink("dump.rdb");
}

/* Away for longer than anything may wait. The server is the same afterwards, so a removal
 * that was given up is made good, and an add that may have arrived is undone. */
static void test_unavailable(void)
{
	struct setup s = setup();
	struct answer pub = {0}, sub = {0}, in = {0}, out = {0}, maybe = {0}, got = {0};
	struct answer told = {0}, fenced = {0};
	struct node *a, *b;
	char sid[ID_LEN + 1];

	s.r.reply_timeout_ms = 500;
	s.o.publish_wait_ms_max = 1500;
	a = node_up(&s, "AAAAAA");
	s.o.publish_wait_ms_max = WAIT_MS;
	b = node_up(&s, "BBBBBB");
	add(a, "r", sid_of(a, 1, sid), "u", &got);
	WAIT(got.calls);
	answer_clear(&got);
	server_signal(&server, SIGSTOP);
	add(a, "r", sid_of(a, 3, sid), "u", &maybe); /* written, not answered */
	step();
	WAIT(!a->up);
	say_number(a, 1, &pub);
	tell(a, "BBBBBB", "x", &told);
	fence_with(a, "BBBBBB", "x", &fenced);
	subscribe(a, "/", "r", &sub);
	drop(a, "r", sid_of(a, 1, sid), "u", &out);
	add(a, "r", sid_of(a, 2, sid), "u", &in);
	WAIT(pub.calls && sub.calls && out.calls && in.calls && maybe.calls);
	CHECK(pub.err == ERR_UNAVAILABLE && sub.err == ERR_UNAVAILABLE);
	CHECK(told.err == ERR_UNAVAILABLE && fenced.err == ERR_UNAVAILABLE);
	CHECK(out.err == ERR_UNAVAILABLE && in.err == ERR_UNAVAILABLE);
	CHECK(maybe.err == ERR_UNAVAILABLE);
	server_signal(&server, SIGCONT);
	WAIT(a->up && b->up);
	WAIT(server_ask(&server, "ZCARD gh:{0}:members:/#r") == 0);
	/* Nobody knows whether what was written arrived: all are asked for again. */
	WAIT(a->presence_lost == 1);
	CHECK(server_ask(&server, "PUBSUB CHANNELS %s", "socket.io#/#r#") == 0);
	join(a, "r"); /* it was not subscribed */
	join(b, "r");
	say_number(b, 2, NULL);
	WAIT(a->heard.n == 1 && b->heard.n == 1);
	CHECK(number_heard(a, 0) == 2);
	node_end(a);
	node_end(b);
}

/* Down: bounded in bytes; local events and the end come all the same. */
static void test_down(void)
{
	enum { N = 40, BIG = 50000 };
	struct setup s = setup();
	struct answer got[N] = {0}, local = {0};
	struct adapter_stats stats;
	struct node *a = node_up(&s, "AAAAAA");
	char *text = mem_alloc(BIG + 1);
	uint64_t began;

	memset(text, 'x', BIG);
	text[BIG] = '\0';
	server_kill(&server);
	WAIT(!a->up);
	for (size_t i = 0; i < N; i++)
		publish(a, "/", NULL, NULL, 0, text, &got[i]);
	publish(a, "/", NULL, NULL, CLUSTER_LOCAL, "local", &local);
	WAIT(local.calls && local.err == ERR_OK);
	CHECK(strings_count(&a->heard, "/ flags=2 e:local") == 1);
	WAIT(count_err(got, N, ERR_FULL) == N - 20);
	for (size_t i = 0; i < 20; i++) /* the first ones have their place */
		CHECK(got[i].calls == 0);
	adapter_stats_get(a->a, &stats);
	CHECK(stats.publish_waiting == 20 && !stats.up);
	CHECK(stats.publish_waiting_bytes <= 1 << 20);
	began = clock_ms();
	node_close(a);
	WAIT(a->closed);
	CHECK(clock_ms() - began < 1000);
	CHECK(count_err(got, N, ERR_CLOSED) == 20);
	node_free(a);
	free(text);
	server_start(&server, NULL);
}

/* Down: a flood of small ones, of which each takes more memory than its bytes. */
static void test_small_waiting(void)
{
	enum { N = 12000, MAX = 1 << 20, COMMAND = 90, OWN = 64 };
	struct setup s = setup();
	struct answer *got = mem_zalloc(N, sizeof(*got)),
		      *local = mem_zalloc(N, sizeof(*local));
	struct adapter_stats stats;
	struct node *a = node_up(&s, "AAAAAA");

	server_kill(&server);
	WAIT(!a->up);
	for (size_t i = 0; i < N; i++) {
		publish(a, "/", NULL, NULL, 0, "x", &got[i]);
		publish(a, "/", NULL, NULL, CLUSTER_LOCAL, "x", &local[i]);
	}
	adapter_stats_get(a->a, &stats);
	CHECK(stats.publish_waiting > 0 && stats.publish_waiting < N);
	CHECK(stats.publish_waiting * (COMMAND + OWN) <= MAX);
	CHECK(stats.publish_waiting_bytes <= MAX);
	WAIT(local[N - 1].calls && got[N - 1].calls);
	CHECK(local[0].err == ERR_OK);
	CHECK(count_err(local, N, ERR_OK) * OWN <= MAX);
	CHECK(count_err(got, N, ERR_FULL) == N - stats.publish_waiting);
	server_start(&server, NULL);
	WAIT(a->up);
	for (size_t i = 0; i < N; i++)
		WAIT(got[i].calls);
	CHECK(count_err(got, N, ERR_OK) == stats.publish_waiting);
	adapter_stats_get(a->a, &stats);
	CHECK(stats.publish_waiting_bytes == 0);
	node_end(a);
	free(got);
	free(local);
}

/* Closing against a Redis that says nothing: within a second, more or less. */
static void test_close_silent(void)
{
	struct setup s = setup();
	struct answer got = {0}, count = {0}, later = {0};
	struct node *a = node_up(&s, "AAAAAA");
	char sid[ID_LEN + 1];
	uint64_t began;

	server_signal(&server, SIGSTOP);
	say_number(a, 1, &got);
	add(a, "r", sid_of(a, 1, sid), "u", &count);
	step();
	began = clock_ms();
	node_close(a);
	drop(a, "r", sid_of(a, 1, sid), "u", &later);
	WAIT(a->closed);
	CHECK(clock_ms() - began >= 900 && clock_ms() - began < 4000);
	CHECK(got.calls == 1 && got.err == ERR_CLOSED);
	CHECK(count.calls == 1 && count.err == ERR_CLOSED);
	CHECK(later.calls == 1 && later.err == ERR_CLOSED);
	node_free(a);
	server_signal(&server, SIGCONT);
	server_ask(&server, "FLUSHALL");
}

/* A failover in between: the two links must not stay with two servers. */
static void test_two_servers(void)
{
	struct server other = {0};
	struct setup s = setup();
	struct node *a;
	char path[128];

	server_start(&other, NULL);
	snprintf(path, sizeof(path), "%s/current", server.dir);
	CHECK(symlink(server.path, path) == 0);
	s.r.path = path;
	a = node_up(&s, "AAAAAA");
	join(a, "r");
	unlink(path);
	CHECK(symlink(other.path, path) == 0);
	CHECK(server_kill_clients(&server, "AAAAAA-subscriptions") == 1);
	WAIT(a->downs == 1);
	WAIT(a->up);
	CHECK(strings_count(&a->logs, "redis_servers_differ") > 0);
	CHECK(server_ask(&server, "PUBSUB NUMPAT") == 0);
	CHECK(server_ask(&other, "PUBSUB NUMPAT") == 2);
	WAIT(a->presence_lost == 1); /* it is not the Redis that knew it */
	say(a, "r", "x");
	WAIT(strings_count(&a->heard, "/ rooms=r e:x") == 1);
	node_end(a);
	unlink(path);
	server_stop(&other);
	server_ask(&server, "FLUSHALL");
}

/* Both ends come back by themselves, however often; with rooms and members in motion. */
static void test_storm(void)
{
	enum { ROUNDS = 12, ROOMS = 60 };
	struct setup s = setup();
	struct node *a = node_up(&s, "AAAAAA"), *b = node_up(&s, "BBBBBB");
	struct answer *sub = mem_zalloc((size_t)ROUNDS * ROOMS, sizeof(*sub));
	struct answer *count = mem_zalloc((size_t)ROUNDS * ROOMS, sizeof(*count));
	struct answer got = {0};
	char room[16], sid[ID_LEN + 1];
	bool in[ROOMS] = {false};

	for (size_t i = 0; i < ROUNDS; i++) {
		for (size_t k = 0; k < ROOMS; k++) {
			size_t at = i * ROOMS + k;

			if ((i + k) % 3 == 0)
				continue;
			snprintf(room, sizeof(room), "s%zu", k);
			sid_of(a, (unsigned)k, sid);
			in[k] = !in[k];
			if (in[k]) {
				subscribe(a, "/", room, &sub[at]);
				add(a, "all", sid, "u", &count[at]);
			} else {
				unsubscribe(a, "/", room);
				drop(a, "all", sid, "u", &count[at]);
			}
			if (k % 7 == 0)
				step();
		}
		server_kill_clients(&server, i % 2 ? "-commands" : "-subscriptions");
		if (i % 5 == 4) {
			WAIT(a->up);
			WAIT(b->up);
		}
	}
	WAIT(a->up && b->up);
	for (size_t i = 0; i < (size_t)ROUNDS * ROOMS; i++) {
		WAIT(count[i].calls || (i / ROOMS + i % ROOMS) % 3 == 0);
		CHECK(count[i].err == ERR_OK);
	}
	list(b, "all", "", 1000, &got);
	WAIT(got.calls);
	for (size_t k = 0; k < ROOMS; k++) {
		char line[32];

		snprintf(line, sizeof(line), "%s u", sid_of(a, (unsigned)k, sid));
		CHECK(strings_count(&got.members, line) == in[k]);
		snprintf(room, sizeof(room), "s%zu", k);
		say(b, room, "end");
	}
	join(a, "last");
	say(b, "last", "x");
	WAIT(strings_count(&a->heard, "/ rooms=last e:x") == 1);
	for (size_t k = 0; k < ROOMS; k++) {
		char line[32];

		snprintf(line, sizeof(line), "/ rooms=s%zu e:end", k);
		CHECK(strings_count(&a->heard, line) == in[k]);
	}
	CHECK(a->presence_lost == 0 && b->lost.n == 0);
	answer_clear(&got);
	free(sub);
	free(count);
	node_end(a);
	node_end(b);
	CHECK(server_ask(&server, "KEYS gh:*") == 0);
}

int main(void)
{
	bool ok;

	server_start(&server, NULL);
	test_commands_cut();
	test_told_while_cut();
	test_told_while_deaf();
	test_unconfirmed();
	test_subscriptions_cut();
	test_killed();
	test_old_data();
	test_unavailable();
	test_down();
	test_small_waiting();
	test_close_silent();
	test_two_servers();
	test_storm();
	ok = harness_end();
	server_stop(&server);
	return test_done() || !ok;
}
