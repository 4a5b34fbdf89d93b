/* Redis answers, but not as on a good day: its disk is full, a script keeps it busy, it
 * was away for longer than a lease, its clock jumped. */
#include <stdlib.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"
#include "proto/mem.h"
#include "test.h"

enum { SHORT_LEASE_MS = 1500 };

static struct server server;

static size_t count_of(struct node *n, const char *room)
{
	struct answer got = {0};
	size_t count;

	list(n, room, "", 10, &got);
	WAIT(got.calls);
	CHECK(got.err == ERR_OK);
	count = got.count;
	answer_clear(&got);
	return count;
}

static void add_wait(struct node *n, const char *room, unsigned i)
{
	char sid[ID_LEN + 1];
	struct answer got = {0};

	add(n, room, sid_of(n, i, sid), "u", &got);
	WAIT(got.calls);
	CHECK(got.err == ERR_OK);
}

static void run_for(uint64_t ms)
{
	uint64_t end = clock_ms() + ms;

	while (clock_ms() < end)
		step();
}

/* How often Redis has answered with an error of this kind. */
static long long errors_of(const char *kind)
{
	return server_ask(&server, "EVAL %s 0 %s",
			  "return tonumber(string.match(redis.call('INFO', 'errorstats'),"
			  "'errorstat_' .. ARGV[1] .. ':count=(%d+)') or 0)",
			  kind);
}

/* A disk that is full: Redis refuses to write, and PING with it, but messages flow. */
static void test_misconf(void)
{
	struct setup s = setup_of(&server);
	struct answer got = {0}, fenced = {0};
	struct node *a, *b;
	char path[128];

	s.r.reply_timeout_ms = 400; /* so it probes often */
	a = node_up(&s, "AAAAAA");
	b = node_up(&s, "BBBBBB");
	join(b, "r");
	/* What it would rename its dump to is a directory. */
	snprintf(path, sizeof(path), "%s/blocked", server.dir);
	CHECK(mkdir(path, 0700) == 0);
	server_ask(&server, "CONFIG SET dbfilename blocked save %s", "3600 1");
	server_ask(&server, "BGSAVE");
	WAIT(errors_of("MISCONF") > 20); /* some of them are probes' */
	CHECK(a->up && a->downs == 0 && b->downs == 0);
	publish(a, "/", "r", NULL, 0, "x", &got);
	WAIT(got.calls);
	CHECK(got.err == ERR_OK);
	WAIT(strings_count(&b->heard, "/ rooms=r e:x") == 1);
	fence_with(a, "BBBBBB", "y", &fenced);
	WAIT(fenced.calls && b->heard.n == 2);
	CHECK(fenced.err == ERR_OK);
	rmdir(path);
	server_ask(&server, "CONFIG SET save %s dbfilename dump.rdb", "");
	node_end(a);
	node_end(b);
	server_ask(&server, "FLUSHALL");
}

/* Away for longer than the leases: whoever is back first must not take the others, who
 * try to come back too, for dead. */
static void test_away_longer_than_lease(void)
{
	struct setup s = setup_of(&server);
	struct node *a, *b;

	s.o.presence_lease_ms = SHORT_LEASE_MS;
	s.r.reply_timeout_ms = 500;
	a = node_up(&s, "AAAAAA");
	s.r.backoff_ms_min = s.r.backoff_ms_max = 400; /* the second to return */
	b = node_up(&s, "BBBBBB");
	add_wait(a, "r", 1);
	add_wait(b, "r", 1);
	server_ask(&server, "SAVE");
	server_kill(&server);
	WAIT(!a->up && !b->up);
	run_for(2 * (uint64_t)SHORT_LEASE_MS);
	server_start(&server, NULL);
	CHECK(server_ask(&server, "ZCARD gh:{0}:members:/#r") == 2);
	WAIT(a->up);
	list(a, "r", "", 10, NULL);
	WAIT(b->up);
	WAIT(a->presence_lost == 1 && b->presence_lost == 1);
	add_wait(a, "r", 1);
	add_wait(b, "r", 1);
	CHECK(count_of(a, "r") == 2);
	CHECK(a->lost.n == 0 && b->lost.n == 0);
	/* The dead are found all the same, a little later. */
	server_ask(&server, "ZADD gh:{0}:nodes 1 GGGGGG");
	server_ask(&server, "SADD gh:{0}:node:GGGGGG:rooms /#r");
	server_ask(&server, "ZADD gh:{0}:members:/#r 0 GGGGGG%014uuser", 7U);
	WAIT(a->lost.n + b->lost.n == 1);
	node_end(a);
	node_end(b);
	CHECK(server_ask(&server, "KEYS gh:*") == 0);
}

/* The machine slept, or its clock was set: all leases ran out at once. Nobody is dead. */
static void test_clock_jumped(void)
{
	struct setup s = setup_of(&server);
	struct node *a, *b;

	s.o.presence_lease_ms = SHORT_LEASE_MS;
	a = node_up(&s, "AAAAAA");
	b = node_up(&s, "BBBBBB");
	add_wait(a, "r", 1);
	add_wait(b, "r", 1);
	server_ask(&server, "ZADD gh:{0}:nodes 1 AAAAAA 1 BBBBBB");
	CHECK(count_of(a, "r") == 2);
	WAIT(a->presence_lost == 1 || b->presence_lost == 1);
	run_for(SHORT_LEASE_MS);
	CHECK(a->lost.n == 0 && b->lost.n == 0);
	/* Told of by an addition, before any heartbeat. */
	server_ask(&server, "ZADD gh:{0}:nodes 1 AAAAAA 1 BBBBBB");
	add_wait(a, "r", 2);
	list(a, "r", "", 10, NULL);
	run_for(SHORT_LEASE_MS);
	CHECK(a->lost.n == 0 && b->lost.n == 0);
	node_end(a);
	node_end(b);
	CHECK(server_ask(&server, "KEYS gh:*") == 0);
}

/* Members that the gateway added without waiting for the answer, as it does after
 * on_presence_lost, are not forgotten when Redis goes away again before they are in. */
static void test_silent_adds(void)
{
	struct setup s = setup_of(&server);
	struct answer again = {0};
	struct node *a;
	char sid[ID_LEN + 1];

	s.r.reply_timeout_ms = 500;
	s.o.publish_wait_ms_max = 300;
	a = node_up(&s, "AAAAAA");
	add_wait(a, "r", 1);
	server_signal(&server, SIGSTOP);
	add(a, "r", sid_of(a, 1, sid), "u", &again); /* a member joins again: written */
	step();
	WAIT(!a->up);
	add(a, "r", sid_of(a, 2, sid), "u", NULL); /* never written */
	WAIT(again.calls);
	CHECK(again.err == ERR_UNAVAILABLE);
	run_for(600);
	server_signal(&server, SIGCONT);
	WAIT(a->up);
	/* Neither may vanish unsaid: the gateway is asked for all of them. */
	WAIT(a->presence_lost == 1);
	node_end(a);
	server_ask(&server, "FLUSHALL");
}

/* Nothing may wait: fails at once while Redis is away, but not while it is there. */
static void test_no_wait(void)
{
	enum { N = 200, CALLS = 3 * N };
	struct setup s = setup_of(&server);
	struct answer *got = mem_zalloc(CALLS, sizeof(*got)), *next = got;
	struct node *a;
	char room[16], sid[ID_LEN + 1];
	size_t failed = 0;

	s.o.publish_wait_ms_max = 0;
	a = node_up(&s, "AAAAAA");
	for (unsigned i = 0; i < N; i++) {
		snprintf(room, sizeof(room), "n%u", i);
		publish(a, "/", NULL, NULL, 0, "x", next++);
		subscribe(a, "/", room, next++);
		add(a, "r", sid_of(a, i, sid), "u", next++);
		step();
	}
	for (size_t i = 0; i < CALLS; i++) {
		WAIT(got[i].calls);
		failed += got[i].err != ERR_OK;
	}
	CHECK(failed == 0);
	server_kill(&server);
	WAIT(!a->up);
	memset(got, 0, 3 * sizeof(*got));
	publish(a, "/", NULL, NULL, 0, "x", &got[0]);
	subscribe(a, "/", "away", &got[1]);
	add(a, "r", sid_of(a, 0, sid), "u", &got[2]);
	for (size_t i = 0; i < 3; i++) {
		WAIT(got[i].calls);
		CHECK(got[i].err == ERR_UNAVAILABLE);
	}
	node_end(a);
	free(got);
	server_start(&server, NULL);
}

/* Closed while down, with something local still to be said: the timer may come before the
 * next turn. */
static void test_close_before_turn(void)
{
	struct setup s = setup_of(&server);
	struct answer got = {0};
	struct node *a;

	server_kill(&server);
	a = node_new(&s, "AAAAAA");
	publish(a, "/", NULL, NULL, CLUSTER_LOCAL, "x", &got);
	node_close(a);
	node_freeze(a);
	run_for(300);
	node_thaw(a);
	WAIT(a->closed);
	CHECK(got.calls == 1 && got.err == ERR_CLOSED);
	node_free(a);
	server_start(&server, NULL);
}

/* Somebody's script runs for long: what Redis refuses meanwhile may be sent later. */
static void test_busy(void)
{
	struct setup s = setup_of(&server);
	struct answer got = {0}, after = {0}, fenced = {0};
	redisContext *other = redisConnectUnix(server.path);
	redisReply *reply = NULL;
	struct node *a;

	s.r.reply_timeout_ms = 2000;
	a = node_up(&s, "AAAAAA");
	server_ask(&server, "CONFIG SET busy-reply-threshold 10");
	redisAppendCommand(other, "EVAL %s 0", "while true do end");
	CHECK(redisBufferWrite(other, &(int){0}) == REDIS_OK);
	run_for(300);
	publish(a, "/", NULL, NULL, 0, "x", &got);
	fence_with(a, "ZZZZZZ", "x", &fenced);
	WAIT(got.calls && fenced.calls);
	CHECK(got.err == ERR_UNAVAILABLE && fenced.err == ERR_UNAVAILABLE);
	run_for(1500); /* probes are refused, too */
	freeReplyObject(redisCommand(server.ctl, "SCRIPT KILL"));
	redisGetReply(other, (void **)&reply);
	freeReplyObject(reply);
	redisFree(other);
	publish(a, "/", NULL, NULL, 0, "y", &after);
	WAIT(after.calls);
	CHECK(after.err == ERR_OK);
	CHECK(a->downs == 0);
	server_ask(&server, "CONFIG SET busy-reply-threshold 5000");
	node_end(a);
}

int main(void)
{
	static const char *const more[] = {"--enable-protected-configs", "yes", NULL};
	bool ok;

	server_start(&server, more);
	test_misconf();
	test_away_longer_than_lease();
	test_clock_jumped();
	test_silent_adds();
	test_no_wait();

	test_close_before_turn();
	test_busy();
	ok = harness_end();
	server_stop(&server);
	return test_done() || !ok;
}
