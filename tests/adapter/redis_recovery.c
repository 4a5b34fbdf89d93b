/* What Redis and the connections to it can do to numbered events and to sessions. */
#include <stdlib.h>

#include "harness.h"
#include "proto/mem.h"
#include "test.h"

static struct server server;

static struct setup setup(void)
{
	struct setup s = setup_of(&server);

	s.o.sessions.on = true;
	s.o.publish_waiting_bytes_max = 16 << 20;
	return s;
}

static struct session_request in_r(const struct who *who, enum session_op op)
{
	struct session_request r = session_of(who, op);

	r.room = SLICE_LIT("r");
	return r;
}

/* A session of a socket of `n` that is in "r". */
static struct who meet(struct node *n)
{
	static unsigned number;
	struct who who = {.generation = 1};
	struct session_request r;
	struct slice offset;

	sid_of(n, ++number, who.sid);
	snprintf(who.pid, sizeof(who.pid), "%s%024u", who.sid, number);
	r = in_r(&who, SESSION_NEW);
	r.number = adapter_position(n->a, &offset);
	CHECK(session_result(n, r) == ERR_OK);
	CHECK(session_result(n, in_r(&who, SESSION_JOIN)) == ERR_OK);
	return who;
}

/* Logged events "from" to "to" in a room of "/". */
static void events(struct node *n, const char *room, unsigned from, unsigned to,
		   struct answer *got)
{
	char text[16];

	for (unsigned i = from; i <= to; i++) {
		snprintf(text, sizeof(text), "%u", i);
		publish(n, "/", room, NULL, CLUSTER_LOGGED, text, got ? &got[i] : NULL);
	}
}

static void event(struct node *n, const char *room, unsigned i)
{
	struct answer got = {0};
	char text[16];

	snprintf(text, sizeof(text), "%u", i);
	publish(n, "/", room, NULL, CLUSTER_LOGGED, text, &got);
	WAIT(got.calls);
	CHECK(got.err == ERR_OK);
}

/* Where the numbers are, in the order of messages. */
static uint64_t position(struct node *n, char text[OFFSET_MAX + 1])
{
	struct slice offset;
	uint64_t number = adapter_position(n->a, &offset);

	snprintf(text, OFFSET_MAX + 1, "%.*s", SLICE_FMT(offset));
	return number;
}

static size_t heard_text(const struct node *n, const char *room, unsigned i)
{
	char start[32], part[24];
	size_t count = 0;

	snprintf(start, sizeof(start), "/ rooms=%s e:%u", room, i);
	snprintf(part, sizeof(part), "e:%u", i);
	for (size_t k = 0; k < n->heard.n; k++)
		count += !strncmp(n->heard.v[k], start, strlen(start)) &&
			 (n->heard.v[k][strlen(start)] == ' ' ||
			  !n->heard.v[k][strlen(start)]);
	return count;
}

/* Each of 1 to n came once, and their numbers rise. */
static void check_all(const struct node *n, size_t count)
{
	unsigned *times = mem_zalloc(count + 1, sizeof(*times));
	uint64_t last = 0;

	for (size_t i = 0; i < n->heard.n; i++) {
		const char *text = strstr(n->heard.v[i], " e:");
		uint64_t number = number_in(n->heard.v[i]);
		unsigned long k = text ? strtoul(text + 3, NULL, 10) : 0;

		CHECK(number > last);
		last = number;
		if (k <= count)
			times[k]++;
	}
	for (size_t i = 1; i <= count; i++)
		CHECK(times[i] == 1);
	free(times);
}

static bool all_ok(const struct answer *got, size_t n)
{
	for (size_t i = 1; i <= n; i++) {
		if (got[i].calls != 1 || got[i].err != ERR_OK)
			return false;
	}
	return true;
}

/* One in "r", where event 1 of `b` was heard, and where that was. */
static struct who meet_and_hear(struct node *a, struct node *b,
				char offset[OFFSET_MAX + 1])
{
	struct who who;

	join(a, "r");
	who = meet(a);
	event(b, "r", 1);
	WAIT(heard_text(a, "r", 1) == 1);
	position(a, offset);
	return who;
}

/* --- gaps --- */

/* Gap fill with two rooms: what came while the subscriptions were cut comes once, in the
 * order of all numbers, and only of rooms that are heard. */
static void test_gap_fill(void)
{
	enum { ROUNDS = 5, EACH = 200 };
	struct setup s = setup();
	struct node *a = node_up(&s, "GAPAAA"), *b = node_up(&s, "GAPBBB");
	unsigned k = 0;

	join(a, "r");
	join(a, "q");
	for (unsigned round = 0; round < ROUNDS; round++) {
		CHECK(server_kill_clients(&server, "GAPAAA-subscriptions") == 1);
		for (unsigned i = 0; i < EACH; i++) {
			k++;
			events(b, k % 2 ? "r" : "q", k, k, NULL);
			events(b, "elsewhere", 1, 1, NULL);
			if (i % 10 == 0)
				step();
		}
		WAIT(a->downs == round + 1 && a->up);
		WAIT(heard_text(a, "q", k) == 1);
	}
	check_all(a, k);
	CHECK(a->heard.n == k);
	CHECK(a->missed == 0 && b->missed == 0);
	node_end(a);
	node_end(b);
}

/* A gap that is larger than what Redis keeps of all messages is told, once. */
static void test_gap_not_filled(void)
{
	struct setup s = setup();
	struct node *a, *b;

	s.o.sessions.recent_bytes_max = 2000;
	a = node_up(&s, "LOSAAA");
	b = node_up(&s, "LOSBBB");
	join(a, "r");
	join(b, "r");
	event(b, "r", 1);
	WAIT(heard_text(a, "r", 1) == 1);
	node_freeze(a); /* it comes back when all is over */
	CHECK(server_kill_clients(&server, "LOSAAA-subscriptions") == 1);
	events(b, "r", 2, 300, NULL);
	WAIT(heard_text(b, "r", 300) == 1);
	node_thaw(a);
	WAIT(a->up && a->missed == 1);
	CHECK(heard_text(a, "r", 2) == 0);
	event(b, "r", 301);
	WAIT(heard_text(a, "r", 301) == 1);
	CHECK(a->missed == 1 && b->missed == 0);
	node_end(a);
	node_end(b);
}

/* --- publishes --- */

/* Publish cut in mid-flight, with many calls on the way: each event comes once, and is
 * confirmed. */
static void test_publish_cut(void)
{
	enum { N = 12000, BURST = 1000 };
	struct setup s = setup();
	struct answer *got = mem_zalloc(N + 1, sizeof(*got));
	struct node *a = node_up(&s, "CUTAAA"), *b = node_up(&s, "CUTBBB");
	int cuts = 0;

	join(b, "r");
	for (unsigned k = 1; k <= N; k += BURST) {
		events(a, "r", k, k + BURST - 1, got);
		step();
		cuts += server_kill_clients(&server, "CUTAAA-commands");
		WAIT(got[k + BURST - 1].calls);
	}
	WAIT(got[N].calls && heard_text(b, "r", N) == 1);
	CHECK(cuts >= 3);
	CHECK(all_ok(got, N));
	check_all(b, N);
	CHECK(a->missed == 0 && b->missed == 0);
	free(got);
	node_end(a);
	node_end(b);
}

/* The library is removed in mid-pipeline, and another node may load it again between two
 * calls of this one: nothing is lost, doubled or reordered. */
static void test_function_flush(void)
{
	enum { N = 12000, BURST = 1000 };
	struct setup s = setup();
	struct answer *got = mem_zalloc(N + 1, sizeof(*got));
	struct node *a = node_up(&s, "FLUAAA"), *b = node_up(&s, "FLUBBB");

	join(b, "r");
	for (unsigned k = 1; k <= N; k += BURST) {
		events(a, "r", k, k + BURST - 1, got);
		events(b, "elsewhere", 1, 3, NULL);
		server_ask(&server, "FUNCTION FLUSH");
		WAIT(got[k + BURST - 1].calls);
	}
	WAIT(got[N].calls && heard_text(b, "r", N) == 1);
	CHECK(all_ok(got, N));
	check_all(b, N);
	CHECK(a->downs == 0 && a->missed == 0 && b->missed == 0);
	free(got);
	node_end(a);
	node_end(b);
}

/* Send one as a node does. How many there are in its room's log; -1: not done, since what
 * was before it was not. */
static long long once(unsigned number, unsigned before)
{
	redisReply *r = redisCommand(server.ctl,
				     "FCALL gh_publish 1 gh:{0} %s e ONCEAA %u %u %s c "
				     "/#once %s",
				     "", number, before, "", "\x94\x01\x01\x01");
	bool done = r && r->type == REDIS_REPLY_ARRAY;

	CHECK(done || (r && r->str && !strncmp(r->str, "AHEAD", 5)));
	freeReplyObject(r);
	return done ? server_ask(&server, "LLEN gh:{0}:log:/#once") - 1 : -1;
}

/* Each publish of a node is done once, in whatever calls it comes again; and what was
 * sent behind a call that was not done is not done, either. */
static void test_done_once(void)
{
	struct setup s = setup();
	struct node *a = node_up(&s, "ONCAAA");

	CHECK(once(3, 2) == -1); /* 1 and 2 were not done */
	CHECK(server_ask(&server, "EXISTS gh:{0}:pub:ONCEAA") == 0);
	CHECK(once(1, 0) == 1 && once(2, 1) == 2 && once(3, 2) == 3);
	CHECK(once(1, 0) == 3 && once(2, 1) == 3); /* again, and not to be done */
	CHECK(once(3, 0) == 3);
	CHECK(once(5, 4) == -1 && once(5, 0) == 4); /* 4 was given up */
	node_end(a);
}

/* --- lost data --- */

static void restart(struct node *a, struct node *b, const char *const *more)
{
	unsigned downs = a->downs;

	server_kill(&server);
	WAIT(a->downs == downs + 1 && !a->up && !b->up);
	server_start(&server, more);
	WAIT(a->up && b->up);
}

/* Restart with AOF: another era, and all that was said before still counts. */
static void test_restart_with_aof(void)
{
	static const char *const aof[] = {"--appendonly", "yes", "--appendfsync",
					  "always", NULL};
	struct setup s = setup();
	struct node *a, *b;
	char before[OFFSET_MAX + 1], after[OFFSET_MAX + 1];
	struct session_request r;
	struct session_got got;
	struct who who;

	server_kill(&server);
	server_start(&server, aof);
	a = node_up(&s, "AOFAAA");
	b = node_up(&s, "AOFBBB");
	who = meet_and_hear(a, b, before);
	event(b, "r", 2);
	WAIT(heard_text(a, "r", 2) == 1);
	CHECK(session_result(a, in_r(&who, SESSION_PARK)) == ERR_OK);
	restart(a, b, aof);
	event(b, "r", 3);
	WAIT(heard_text(a, "r", 3) == 1);
	position(a, after);
	CHECK(strncmp(before, after, 8) != 0); /* the era */
	r = in_r(&who, SESSION_TAKE);
	r.offset = slice_str(before);
	got = session_wait(b, r);
	CHECK(got.err == ERR_OK && got.r.parked);
	r = in_r(&who, SESSION_REPLAY);
	r.generation = got.r.generation;
	r.number = got.r.number;
	session_got_clear(&got);
	got = session_wait(b, r);
	CHECK(got.err == ERR_OK && got.r.end && got.messages.n == 2);
	session_got_clear(&got);
	CHECK(a->missed == 0 && b->missed == 0);
	node_end(a);
	node_end(b);
	server_stop(&server);
	server = (struct server){0};
	server_start(&server, NULL);
}

/* How often a function of Redis was called. */
static long long function_calls(void)
{
	return server_ask(&server, "EVAL %s 0",
			  "return tonumber(string.match(redis.call('INFO', "
			  "'commandstats'), 'cmdstat_fcall:calls=(%d+)') or 0)");
}

/* Restart without AOF: all is gone, and each node is told once. */
static void test_restart_without_aof(void)
{
	struct setup s = setup();
	struct node *a = node_up(&s, "NOAAAA"), *b = node_up(&s, "NOABBB");
	struct session_request r;
	long long calls;
	struct who who;

	join(a, "r");
	who = meet(a);
	event(b, "r", 1);
	WAIT(heard_text(a, "r", 1) == 1);
	restart(a, b, NULL);
	WAIT(a->missed == 1 && b->missed == 1);
	a->number = b->number = 0; /* they begin anew */
	r = in_r(&who, SESSION_TAKE);
	CHECK(session_result(b, r) == ERR_NOT_FOUND);
	event(b, "r", 2);
	WAIT(heard_text(a, "r", 2) == 1);
	event(a, "r", 3);
	WAIT(heard_text(a, "r", 3) == 1);
	/* They agree: nobody finds a loss again, however often each looks. */
	calls = function_calls();
	WAIT(function_calls() >= calls + 4);
	CHECK(a->missed == 1 && b->missed == 1);
	node_end(a);
	node_end(b);
}

/* What Redis would have if it crashed now. */
static void save(void)
{
	server_ask(&server, "SAVE");
}

/* Seq reused: the server comes back with older data, as a replica that lagged would be,
 * and hands out numbers again that somebody has. Nothing of before counts any more. */
static void test_seq_reused(void)
{
	struct setup s = setup();
	struct node *a = node_up(&s, "SEQAAA"), *b = node_up(&s, "SEQBBB");
	char offset[OFFSET_MAX + 1], again[OFFSET_MAX + 1];
	struct session_request r;
	struct who who, other;
	uint64_t number;

	join(a, "r");
	join(b, "r");
	who = meet(a);
	other = meet(a);
	CHECK(session_result(a, in_r(&who, SESSION_PARK)) == ERR_OK);
	CHECK(session_result(a, in_r(&other, SESSION_PARK)) == ERR_OK);
	event(b, "r", 1);
	save();
	event(b, "r", 2);
	event(b, "r", 3);
	WAIT(heard_text(a, "r", 3) == 1 && heard_text(b, "r", 3) == 1);
	number = position(a, offset);
	restart(a, b, NULL);
	WAIT(a->missed == 1 && b->missed == 1);
	a->number = b->number = 0; /* they begin anew */
	event(b, "r", 4);
	WAIT(heard_text(a, "r", 4) == 1);
	CHECK(position(a, again) < number && strncmp(offset, again, 8) != 0);
	r = in_r(&who, SESSION_TAKE);
	r.offset = slice_str(offset);
	CHECK(session_result(b, r) == ERR_LOST);
	r = in_r(&other, SESSION_TAKE);
	CHECK(session_result(b, r) == ERR_LOST);
	who = meet(b); /* new ones are fine */
	CHECK(session_result(b, in_r(&who, SESSION_PARK)) == ERR_OK);
	CHECK(session_result(a, in_r(&who, SESSION_TAKE)) == ERR_OK);
	CHECK(a->missed == 1 && b->missed == 1);
	node_end(a);
	node_end(b);
}

/* The same where nothing is published: that it is in a room, or no longer, was confirmed,
 * and the older data knows nothing of it. */
static void test_member_lost(void)
{
	static const enum session_op ops[] = {SESSION_JOIN, SESSION_LEAVE};

	for (size_t i = 0; i < 2; i++) {
		struct setup s = setup();
		struct node *a = node_up(&s, "MEMAAA"), *b = node_up(&s, "MEMBBB");
		struct who who = meet(a);
		struct session_request r = in_r(&who, ops[i]);
		char offset[OFFSET_MAX + 1];

		r.room = ops[i] == SESSION_JOIN ? SLICE_LIT("late") : SLICE_LIT("r");
		r.number = position(a, offset);
		save();
		CHECK(session_result(a, r) == ERR_OK);
		restart(a, b, NULL);
		WAIT(a->missed == 1 && b->missed == 1);
		CHECK(session_result(b, in_r(&who, SESSION_TAKE)) == ERR_LOST);
		node_end(a);
		node_end(b);
	}
}

/* As a node does that had more than this server, to which others are connected already.
 */
static void lose(const char *era, const char *known)
{
	redisReply *run = redisCommand(server.ctl, "HGET gh:{0}:head run");

	CHECK(run && run->type == REDIS_REPLY_STRING);
	server_ask(&server, "FCALL gh_sync 1 gh:{0} %s %s nobody 1 %s %s %s", run->str,
		   era, known, "", "");
	freeReplyObject(run);
}

/* Data turns out to be lost while a node is live: it is told before it hears, or can say,
 * a number of the era that follows. */
static void test_lost_while_live(void)
{
	struct setup s = setup();
	struct node *a = node_up(&s, "LIVAAA"), *b = node_up(&s, "LIVBBB");
	char before[OFFSET_MAX + 1], after[OFFSET_MAX + 1], known[OFFSET_MAX + 4];
	struct session_request r;
	long long calls;
	struct who who;

	who = meet_and_hear(a, b, before);
	snprintf(known, sizeof(known), "%s000", before);
	lose("lost0001", known);
	event(b, "r", 2);
	WAIT(heard_text(a, "r", 2) == 1);
	CHECK(a->missed == 1 && !strcmp(a->missed_at, before));
	position(a, after);
	CHECK(!strncmp(after, "lost0001-", 9));
	WAIT(b->missed == 1);
	/* The next look finds nothing new. */
	calls = function_calls();
	WAIT(function_calls() >= calls + 4);
	CHECK(a->missed == 1 && b->missed == 1);
	r = in_r(&who, SESSION_TAKE);
	r.offset = slice_str(before);
	CHECK(session_result(b, r) == ERR_LOST);
	/* Without an event nobody is live who does not know, either. */
	position(a, before);
	snprintf(known, sizeof(known), "%s000", before);
	lose("lost0002", known);
	WAIT(a->missed == 2 && b->missed == 2);
	CHECK(!strcmp(a->missed_at, before));
	node_end(a);
	node_end(b);
}

/* Failover to a lagging replica that lacks nothing anybody had: what was said before
 * still counts. */
static void test_failover(void)
{
	struct setup s = setup();
	struct node *a = node_up(&s, "FAIAAA"), *b = node_up(&s, "FAIBBB");
	char offset[OFFSET_MAX + 1];
	struct session_request r;
	struct session_got got;
	struct who who;

	who = meet_and_hear(a, b, offset);
	event(b, "r", 2);
	WAIT(heard_text(a, "r", 2) == 1);
	CHECK(session_result(a, in_r(&who, SESSION_PARK)) == ERR_OK);
	save();
	restart(a, b, NULL);
	event(b, "r", 3);
	r = in_r(&who, SESSION_TAKE);
	r.offset = slice_str(offset);
	got = session_wait(b, r);
	CHECK(got.err == ERR_OK);
	r = in_r(&who, SESSION_REPLAY);
	r.generation = got.r.generation;
	r.number = got.r.number;
	session_got_clear(&got);
	got = session_wait(b, r);
	CHECK(got.err == ERR_OK && got.r.end && got.messages.n == 2);
	session_got_clear(&got);
	CHECK(a->missed == 0 && b->missed == 0);
	node_end(a);
	node_end(b);
}

/* Log expired is not log empty: one that is gone by its age held nothing a session needs,
 * one that was cut did. */
static void test_log_expired(void)
{
	struct setup s = setup();
	struct node *a = node_up(&s, "EXPAAA");
	struct session_request r;
	struct session_got got;
	struct who who = meet(a);

	event(a, "r", 1);
	r = in_r(&who, SESSION_REPLAY);
	got = session_wait(a, r);
	CHECK(got.err == ERR_OK && got.messages.n == 1);
	session_got_clear(&got);
	CHECK(server_ask(&server, "PTTL gh:{0}:log:/#r") >
	      (long long)(s.o.sessions.window_ms + s.o.sessions.renew_ms));
	CHECK(server_ask(&server, "DEL gh:{0}:log:/#r") == 1);
	got = session_wait(a, r);
	CHECK(got.err == ERR_OK && got.messages.n == 0 && got.r.end);
	session_got_clear(&got);
	node_end(a);
	s.o.sessions.log_events_max = 4;
	a = node_up(&s, "EXPBBB");
	who = meet(a);
	for (unsigned i = 1; i <= 6; i++)
		event(a, "r", i);
	r = in_r(&who, SESSION_REPLAY);
	CHECK(session_result(a, r) == ERR_LOST);
	node_end(a);
}

static const char *owner_of(const struct who *who)
{
	static char owner[NODE_CODE_LEN + 1];
	redisReply *r =
		redisCommand(server.ctl, "HGET gh:{0}:session:%s owner", who->sid);

	CHECK(r && r->type == REDIS_REPLY_STRING && r->len == NODE_CODE_LEN);
	memcpy(owner, r->str, sizeof(owner));
	freeReplyObject(r);
	return owner;
}

static bool has_field(const struct who *who, const char *field)
{
	return server_ask(&server, "HEXISTS gh:{0}:session:%s %s", who->sid, field) == 1;
}

/* What a backend wants of a session that is connected is told its node, with each renewal
 * again, until it has done it. */
static void test_wishes(void)
{
	struct setup s = setup();
	struct node *a = node_up(&s, "WISAAA"), *b = node_up(&s, "WISBBB");
	struct who who = meet(a), other = meet(a);
	struct session_request r;
	struct session_got got;
	char offset[OFFSET_MAX + 1];
	uint64_t joined;

	CHECK(server_ask(&server, "FCALL gh_join 1 gh:{0} %s in", who.sid) == 1);
	CHECK(server_ask(&server, "FCALL gh_leave 1 gh:{0} %s r", who.sid) == 1);
	WAIT(a->sessions.n == 2);
	CHECK(strstr(a->sessions.v[0], "joined") && strstr(a->sessions.v[1], "left"));
	CHECK(has_field(&who, "w:in") && has_field(&who, "w:r"));
	CHECK(!has_field(&who, "r:in")); /* nobody told its client */
	CHECK(session_result(a, in_r(&who, SESSION_RENEW)) == ERR_OK);
	WAIT(a->sessions.n == 4);
	r = in_r(&who, SESSION_JOIN);
	r.room = SLICE_LIT("in");
	CHECK(session_result(a, r) == ERR_OK);
	r = in_r(&who, SESSION_LEAVE);
	r.number = position(a, offset);
	CHECK(session_result(a, r) == ERR_OK);
	CHECK(!has_field(&who, "w:in") && !has_field(&who, "w:r"));
	CHECK(session_result(a, in_r(&who, SESSION_RENEW)) == ERR_OK);
	/* A node it has moved to hears of what the other was told. */
	CHECK(server_ask(&server, "FCALL gh_join 1 gh:{0} %s late", who.sid) == 1);
	WAIT(a->sessions.n == 5);
	r = in_r(&who, SESSION_RENEW);
	r.arrived = true;
	CHECK(session_result(b, r) == ERR_OK);
	WAIT(b->sessions.n == 1);
	CHECK(strstr(b->sessions.v[0], "joined") && strstr(b->sessions.v[0], " late"));
	CHECK(a->sessions.n == 5);
	/* Who takes it is told that it is in that room: since it was wanted, */
	CHECK(server_ask(&server, "FCALL gh_join 1 gh:{0} %s r", other.sid) == 1);
	CHECK(!has_field(&other, "w:r")); /* it is already */
	CHECK(server_ask(&server, "FCALL gh_join 1 gh:{0} %s late", other.sid) == 1);
	event(a, "late", 1);
	got = session_wait(b, in_r(&other, SESSION_TAKE));
	CHECK(got.err == ERR_OK && got.rooms.n == 2);
	other.generation = got.r.generation;
	r = in_r(&other, SESSION_REPLAY);
	r.number = got.r.number;
	session_got_clear(&got);
	got = session_wait(b, r);
	CHECK(got.err == ERR_OK && got.messages.n == 1);
	session_got_clear(&got);
	CHECK(!has_field(&other, "w:late") && !has_field(&other, "wishes"));
	/* or from now on, where its client has something newer: it was connected, and its
	 * node did not do it. */
	CHECK(server_ask(&server, "FCALL gh_join 1 gh:{0} %s last", other.sid) == 1);
	event(a, "r", 2);
	WAIT(position(b, offset) >= (joined = position(a, offset)));
	r = in_r(&other, SESSION_TAKE);
	r.offset = slice_str(offset);
	got = session_wait(b, r);
	CHECK(got.err == ERR_OK && got.rooms.n == 3 && got.r.number == joined);
	session_got_clear(&got);
	node_end(a);
	node_end(b);
}

/* Events of a session go to the node that it went to last, although one that it left may
 * still renew it. */
static void test_late_renewal(void)
{
	struct setup s = setup();
	struct node *a = node_up(&s, "OWNAAA"), *b = node_up(&s, "OWNBBB");
	struct who who = meet(a);
	struct session_request r = in_r(&who, SESSION_RENEW);

	r.arrived = true;
	CHECK(session_result(b, r) == ERR_OK && !strcmp(owner_of(&who), "OWNBBB"));
	CHECK(session_result(a, in_r(&who, SESSION_RENEW)) == ERR_OK);
	CHECK(!strcmp(owner_of(&who), "OWNBBB"));
	node_end(a);
	node_end(b);
}

int main(void)
{
	static void (*const tests[])(void) = {
		test_gap_fill,
		test_gap_not_filled,
		test_publish_cut,
		test_function_flush,
		test_done_once,
		test_restart_with_aof,
		test_restart_without_aof,
		test_seq_reused,
		test_member_lost,
		test_lost_while_live,
		test_failover,
		test_log_expired,
		test_wishes,
		test_late_renewal,
	};
	bool ok;

	server_start(&server, NULL);
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		tests[i]();
	ok = harness_end();
	server_stop(&server);
	return test_done() || !ok;
}
