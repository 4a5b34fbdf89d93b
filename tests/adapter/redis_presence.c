/* Presence in Redis: leases, the dead and their ghosts, lost data, scripts that vanish.
 */
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "adapter/redis/scripts.h"
#include "harness.h"
#include "proto/mem.h"
#include "test.h"

enum { SHORT_LEASE_MS = 1500 };

static struct server server;

/* Nothing of any test is left in Redis. */
static void check_empty(void)
{
	CHECK(server_ask(&server, "KEYS gh:*") == 0);
}

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

enum { VICTIM_ROOMS = 150, VICTIM_CROWD = 2300 };

/* A process with a node in it that waits for its end. */
static _Noreturn void victim(int ready)
{
	struct setup s = setup_of(&server);
	struct node *n;
	char room[16], sid[ID_LEN + 1];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	s.o.presence_lease_ms = SHORT_LEASE_MS;
	n = node_up(&s, "VVVVVV");
	for (unsigned i = 0; i < VICTIM_ROOMS; i++) {
		snprintf(room, sizeof(room), "r%u", i);
		add(n, room, sid_of(n, i, sid), "u", NULL);
	}
	for (unsigned i = 0; i < VICTIM_CROWD; i++)
		add(n, "crowd", sid_of(n, i, sid), "", NULL);
	add_wait(n, "r0", 9999);
	if (write(ready, "x", 1) != 1)
		_exit(1);
	for (;;)
		step();
}

/* kill -9: its members go with its lease, and one node hears of each. */
static void test_killed(void)
{
	enum { NODES = 3, LOST = VICTIM_ROOMS + VICTIM_CROWD + 1 };
	static const char *const codes[NODES] = {"AAAAAA", "BBBBBB", "CCCCCC"};
	struct setup s = setup_of(&server);
	struct node *nodes[NODES];
	struct pollfd wait;
	size_t lost = 0, first = 0;
	int ends[2];
	pid_t pid;
	char c;

	CHECK(pipe(ends) == 0);
	pid = fork();
	if (pid == 0)
		victim(ends[1]);
	close(ends[1]);
	wait = (struct pollfd){.fd = ends[0], .events = POLLIN};
	CHECK(poll(&wait, 1, WAIT_MS) == 1 && read(ends[0], &c, 1) == 1);
	s.o.presence_lease_ms = SHORT_LEASE_MS;
	for (size_t i = 0; i < NODES; i++) {
		nodes[i] = node_up(&s, codes[i]);
		add_wait(nodes[i], "crowd", 1);
	}
	CHECK(count_of(nodes[0], "crowd") == VICTIM_CROWD + NODES);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(ends[0]);
	WAIT(server_ask(&server, "ZCARD gh:{0}:nodes") == NODES);
	WAIT(nodes[0]->lost.n + nodes[1]->lost.n + nodes[2]->lost.n >= LOST);
	for (size_t i = 0; i < NODES; i++) {
		CHECK(count_of(nodes[i], "crowd") == NODES);
		lost += nodes[i]->lost.n;
		CHECK(nodes[i]->presence_lost == 0);
		for (size_t k = 0; k < NODES; k++)
			first += strings_count(&nodes[k]->lost,
					       i == 0	? "/#r7 VVVVVV00000000000007 u"
					       : i == 1 ? "/#crowd VVVVVV00000000001234 "
							: "/#r0 VVVVVV00000000009999 u");
	}
	CHECK(lost == LOST);
	CHECK(first == 3);
	CHECK(server_ask(&server, "EXISTS gh:{0}:node:VVVVVV:rooms") == 0);
	for (size_t i = 0; i < NODES; i++)
		node_end(nodes[i]);
	check_empty();
}

/* Who asks for a list sees no ghosts, even before the reaper came, and tells of them. */
static void test_list_reaps(void)
{
	enum { GHOSTS = 2500 };
	struct setup s = setup_of(&server);
	struct node *a = node_up(&s, "AAAAAA");
	struct answer got = {0};
	struct adapter_stats stats;

	add_wait(a, "r", 1);
	server_ask(&server, "ZADD gh:{0}:nodes 1 GGGGGG");
	for (unsigned i = 0; i < GHOSTS; i++)
		server_ask(&server, "ZADD gh:{0}:members:/#r 0 GGGGGG%014uuser%u", i, i);
	server_ask(&server, "SADD gh:{0}:node:GGGGGG:rooms /#r");
	/* Nor does it take itself for dead, late as its heartbeat may be. */
	server_ask(&server, "ZADD gh:{0}:nodes 1 AAAAAA 9999999999999 BBBBBB");
	list(a, "r", "", 10, &got);
	WAIT(got.calls);
	CHECK(got.count == 1 && got.members.n == 1 && !got.more);
	CHECK(a->lost.n == GHOSTS);
	CHECK(strings_count(&a->lost, "/#r GGGGGG00000000002499 user2499") == 1);
	adapter_stats_get(a->a, &stats);
	CHECK(stats.ghosts_reaped == GHOSTS);
	server_ask(&server, "DEL gh:{0}:node:GGGGGG:rooms");
	server_ask(&server, "ZREM gh:{0}:nodes GGGGGG BBBBBB");
	answer_clear(&got);
	node_end(a);
	check_empty();
}

/* A node that stood still for longer than its lease is taken for dead; when it goes on it
 * is told, and adds its members again. */
static void test_frozen(void)
{
	struct setup s = setup_of(&server);
	struct node *a, *b;

	s.o.presence_lease_ms = SHORT_LEASE_MS;
	a = node_up(&s, "AAAAAA");
	b = node_up(&s, "BBBBBB");
	add_wait(a, "r", 1);
	add_wait(b, "r", 1);
	add_wait(b, "r", 2);
	CHECK(count_of(a, "r") == 3);
	node_freeze(b);
	WAIT(count_of(a, "r") == 1);
	CHECK(a->lost.n == 2);
	node_thaw(b);
	WAIT(b->presence_lost == 1);
	CHECK(b->lost.n == 0);
	add_wait(b, "r", 1);
	CHECK(count_of(a, "r") == 2);
	node_end(b);
	CHECK(count_of(a, "r") == 1);
	CHECK(a->lost.n == 2 && a->presence_lost == 0);
	node_end(a);
	check_empty();
}

/* Data gone: told of by the heartbeat, or by the next member that is added. */
static void test_flushall(void)
{
	struct setup s = setup_of(&server);
	struct node *a, *b;

	a = node_up(&s, "AAAAAA");
	s.o.presence_lease_ms = SHORT_LEASE_MS;
	b = node_up(&s, "BBBBBB");
	add_wait(a, "r", 1);
	add_wait(b, "r", 1);
	server_ask(&server, "FLUSHALL");
	WAIT(b->presence_lost == 1);
	CHECK(a->presence_lost == 0); /* its lease is long, its next heartbeat far */
	add_wait(a, "r", 2);
	WAIT(a->presence_lost == 1);
	for (unsigned i = 1; i < 3; i++) {
		add_wait(a, "r", i);
		add_wait(b, "r", i);
	}
	CHECK(count_of(a, "r") == 4);
	CHECK(a->presence_lost == 1 && b->presence_lost == 1);
	CHECK(a->lost.n == 0 && b->lost.n == 0);
	node_end(a);
	node_end(b);
	check_empty();
}

/* Cut while this node's members are being removed: they still have to be added again. */
static void test_cut_clearing(void)
{
	enum { N = 3000 }; /* more than one call removes */
	struct setup s = setup_of(&server);
	struct node *a = node_up(&s, "AAAAAA");
	char sid[ID_LEN + 1];

	for (unsigned i = 0; i < N; i++)
		add(a, "r", sid_of(a, i, sid), "u", NULL);
	CHECK(count_of(a, "r") == N);
	server_ask(&server, "ZREM gh:{0}:nodes AAAAAA");
	add_wait(a, "r", N);
	WAIT(server_ask(&server, "ZCARD gh:{0}:members:/#r") < N);
	CHECK(server_ask(&server, "ZCARD gh:{0}:members:/#r") > 0);
	CHECK(server_kill_clients(&server, "AAAAAA-commands") == 1);
	CHECK(a->presence_lost == 0);
	WAIT(a->presence_lost == 1);
	CHECK(server_ask(&server, "ZCARD gh:{0}:members:/#r") == 0);
	node_end(a);
	check_empty();
}

/* What a process of the same code left is not this one's. */
static void test_same_code(void)
{
	struct setup s = setup_of(&server);
	struct node *a;

	server_ask(&server, "ZADD gh:{0}:nodes 9999999999999 AAAAAA");
	server_ask(&server, "SADD gh:{0}:node:AAAAAA:rooms /#r");
	server_ask(&server, "ZADD gh:{0}:members:/#r 0 AAAAAA00000000000007");
	a = node_up(&s, "AAAAAA");
	CHECK(count_of(a, "r") == 0);
	CHECK(a->presence_lost == 0 && a->lost.n == 0);
	node_end(a);
	check_empty();
}

/* Two clusters on one Redis. */
static void test_keys(void)
{
	struct setup s = setup_of(&server);
	struct node *a = node_up(&s, "AAAAAA"), *b, *c;

	s.r.key = "chat:x#1%";
	b = node_up(&s, "BBBBBB");
	c = node_up(&s, "CCCCCC");
	add_wait(a, "r", 1);
	add_wait(b, "r", 1);
	CHECK(count_of(a, "r") == 1);
	CHECK(count_of(b, "r") == 1);
	CHECK(server_ask(&server, "ZCARD %s", "gh:{0}:members:/#r") == 1);
	CHECK(server_ask(&server, "ZCARD %s", "gh:{0}@chat%3Ax%231%25:members:/#r") == 1);
	join(a, "r");
	join(c, "r");
	say(b, "r", "x");
	WAIT(strings_count(&c->heard, "/ rooms=r e:x") == 1);
	say(a, "r", "y");
	WAIT(a->heard.n == 1);
	CHECK(strings_count(&a->heard, "/ rooms=r e:y") == 1);
	CHECK(c->heard.n == 1);
	node_end(a);
	node_end(b);
	node_end(c);
	check_empty();
}

/* A call finds its script gone, and the next one does not, since somebody else has loaded
 * it in between: the first one's second try must not come to lie behind it. */
static void test_script_order(void)
{
	static const char *const texts[] = {redis_script_presence_add,
					    redis_script_presence_remove};
	struct setup s = setup_of(&server);
	struct node *a = node_up(&s, "AAAAAA");
	struct answer in = {0}, out = {0};
	char sid[ID_LEN + 1];

	CHECK(count_of(a, "r") == 0);
	server_ask(&server, "SCRIPT FLUSH");
	add(a, "r", sid_of(a, 1, sid), "u", &in);
	adapter_turn(a->a); /* written; its answer is not read before the next step */
	server_ask(&server, "ECHO it-was-refused-by-now");
	for (size_t i = 0; i < 2; i++)
		server_ask(&server, "SCRIPT LOAD %s", texts[i]);
	drop(a, "r", sid, "u", &out);
	adapter_turn(a->a);
	WAIT(in.calls && out.calls);
	CHECK(in.err == ERR_OK && out.err == ERR_OK);
	CHECK(strings_count(&a->logs, "redis_scripts_gone") == 1);
	CHECK(count_of(a, "r") == 0);
	node_end(a);
	check_empty();
}

/* SCRIPT FLUSH under pipelines of two nodes that load the scripts again for each other:
 * each change is done in the order it was asked for, and publishes do not mind. */
static void test_script_flush(void)
{
	enum { N = 3000 };
	struct setup s = setup_of(&server);
	struct node *nodes[2] = {node_up(&s, "AAAAAA"), node_up(&s, "BBBBBB")};
	struct answer *got = mem_zalloc(2 * (size_t)N, sizeof(*got));
	char sid[ID_LEN + 1], text[16];
	size_t reloads = 0;

	join(nodes[1], "said");
	for (unsigned i = 0; i < N; i++) {
		for (unsigned k = 0; k < 2; k++) {
			/* A room each, so that its count says what was done before. */
			const char *room = k ? "b" : "a";

			sid_of(nodes[k], i / 4, sid);
			if (i % 2 == 0)
				add(nodes[k], room, sid, "u", &got[2 * i + k]);
			else
				drop(nodes[k], room, sid, "u", &got[2 * i + k]);
		}
		snprintf(text, sizeof(text), "%u", i);
		say(nodes[0], "said", text);
		if (i % 10 == 9)
			step();
		if (i % 50 == 25)
			server_ask(&server, "SCRIPT FLUSH");
	}
	for (size_t i = 0; i < 2 * (size_t)N; i++) {
		WAIT(got[i].calls);
		CHECK(got[i].err == ERR_OK);
	}
	for (unsigned k = 0; k < 2; k++) {
		reloads += strings_count(&nodes[k]->logs, "redis_scripts_gone");
		CHECK(nodes[k]->ups == 1 && nodes[k]->presence_lost == 0);
	}
	CHECK(reloads > 10); /* or it tested nothing */
	CHECK(count_of(nodes[0], "a") == 0 && count_of(nodes[0], "b") == 0);
	WAIT(nodes[1]->heard.n == N);
	for (unsigned i = 0; i < N; i++) {
		snprintf(text, sizeof(text), "e:%u", i);
		CHECK(!strcmp(strstr(nodes[1]->heard.v[i], "e:"), text));
	}
	/* Also when the heartbeat finds it out, and at the end. */
	server_ask(&server, "SCRIPT FLUSH");
	node_end(nodes[0]);
	node_end(nodes[1]);
	free(got);
	check_empty();
}

/* Has this node the room in its set, by which it would be cleaned up? */
static bool has_room(const char *code, const char *room)
{
	return server_ask(&server, "SISMEMBER gh:{0}:node:%s:rooms /#%s", code, room);
}

static void add_as(struct node *n, const char *room, const char *sid, const char *user)
{
	struct answer got = {0};

	add(n, room, sid, user, &got);
	WAIT(got.calls);
	CHECK(got.err == ERR_OK);
}

static size_t drop_as(struct node *n, const char *room, const char *sid)
{
	struct answer got = {0};

	drop(n, room, sid, "", &got);
	WAIT(got.calls);
	CHECK(got.err == ERR_OK);
	return got.count;
}

/* The members of a room with node, as in struct answer: "sid user @node,…" in `line`. */
static const char *listed(struct node *n, const char *room, char *line, size_t size)
{
	struct answer got = {0};
	size_t used = 0;

	list(n, room, "", 10, &got);
	WAIT(got.calls);
	CHECK(got.err == ERR_OK && got.count == got.members.n);
	line[0] = '\0';
	for (size_t i = 0; i < got.members.n && used < size; i++)
		used += (size_t)snprintf(line + used, size - used, "%s%s", i ? "," : "",
					 got.members.v[i]);
	answer_clear(&got);
	return line;
}

#define LISTED(n, room, want)                                                            \
	CHECK_SLICE(slice_str(listed(n, room, line, sizeof(line))), slice_str(want), room)

/* A member that moved is the new node's: when the former one leaves or dies it stays, and
 * of nodes that have no member left in a room none has it in its set. */
static void test_moved_from(void)
{
	struct setup s = setup_of(&server);
	struct node *a, *b, *c;
	char line[256];

	c = node_up(&s, "CCCCCC");
	a = node_up(&s, "AAAAAA");
	s.o.presence_lease_ms = SHORT_LEASE_MS;
	b = node_up(&s, "BBBBBB");
	add_wait(b, "r", 1);
	add_wait(b, "r", 2);
	add_as(a, "r", "BBBBBB00000000000001", "v");
	CHECK(has_room("BBBBBB", "r") && has_room("AAAAAA", "r"));
	LISTED(c, "r", "BBBBBB00000000000001 v @AAAAAA,BBBBBB00000000000002 u");
	/* On, before the one in between has died; and one that is a guest twice. */
	add_as(c, "r", "BBBBBB00000000000001", "v");
	CHECK(!has_room("AAAAAA", "r") && has_room("CCCCCC", "r"));
	CHECK(drop_as(a, "r", "BBBBBB00000000000001") == 2);
	add_as(a, "q", "BBBBBB00000000000001", "v");
	add_as(b, "q", "AAAAAA00000000000007", "w");
	/* The node of its id dies. */
	node_freeze(b);
	WAIT(server_ask(&server, "ZCARD gh:{0}:nodes") == 2);
	LISTED(a, "r", "BBBBBB00000000000001 v @CCCCCC");
	LISTED(a, "q", "BBBBBB00000000000001 v @AAAAAA");
	CHECK(!has_room("BBBBBB", "r") && !has_room("BBBBBB", "q"));
	WAIT(a->lost.n + c->lost.n == 2);
	CHECK(strings_count(&a->lost, "/#r BBBBBB00000000000002 u") +
		      strings_count(&c->lost, "/#r BBBBBB00000000000002 u") ==
	      1);
	CHECK(strings_count(&a->lost, "/#q AAAAAA00000000000007 w @BBBBBB") +
		      strings_count(&c->lost, "/#q AAAAAA00000000000007 w @BBBBBB") ==
	      1);
	/* It comes back and clears what it believes to be there of it; the socket moves
	 * on meanwhile, to its own node. */
	add_as(a, "r", "CCCCCC00000000000003", "x");
	node_thaw(b);
	WAIT(b->presence_lost == 1);
	LISTED(b, "r", "BBBBBB00000000000001 v @CCCCCC,CCCCCC00000000000003 x @AAAAAA");
	CHECK(drop_as(b, "r", "BBBBBB00000000000001") == 2);
	add_as(c, "r", "CCCCCC00000000000003", "x");
	CHECK(!has_room("AAAAAA", "r"));
	node_end(b);
	node_end(a);
	LISTED(c, "r", "BBBBBB00000000000001 v @CCCCCC,CCCCCC00000000000003 x");
	CHECK(count_of(c, "q") == 0);
	node_end(c);
	check_empty();
}

/* It goes with the new node, whether that leaves or dies, and comes back if that was a
 * mistake. */
static void test_moved_to(void)
{
	struct setup s = setup_of(&server);
	struct node *a, *b, *c;
	char line[256];

	a = node_up(&s, "AAAAAA");
	c = node_up(&s, "CCCCCC");
	s.o.presence_lease_ms = SHORT_LEASE_MS;
	b = node_up(&s, "BBBBBB");
	add_wait(a, "r", 1);
	add_wait(a, "r", 2);
	add_as(b, "r", "AAAAAA00000000000001", "u");
	add_as(c, "r", "AAAAAA00000000000003", "u");
	node_freeze(b);
	WAIT(server_ask(&server, "ZCARD gh:{0}:nodes") == 2);
	LISTED(a, "r", "AAAAAA00000000000002 u,AAAAAA00000000000003 u @CCCCCC");
	WAIT(a->lost.n + c->lost.n == 1);
	CHECK(strings_count(&a->lost, "/#r AAAAAA00000000000001 u @BBBBBB") +
		      strings_count(&c->lost, "/#r AAAAAA00000000000001 u @BBBBBB") ==
	      1);
	node_thaw(b);
	WAIT(b->presence_lost == 1);
	add_as(b, "r", "AAAAAA00000000000001", "u");
	CHECK(count_of(a, "r") == 3);
	node_end(c);
	CHECK(count_of(a, "r") == 2);
	node_end(b);
	LISTED(a, "r", "AAAAAA00000000000002 u");
	CHECK(a->presence_lost == 0);
	node_end(a);
	check_empty();
}

/* What this node lost, other nodes' included, is what it had, not what it once had. */
static void test_moved_lost(void)
{
	struct setup s = setup_of(&server);
	struct node *a = node_up(&s, "AAAAAA"), *b = node_up(&s, "BBBBBB");
	char line[256];

	add_wait(a, "r", 1);
	add_wait(a, "r", 2);
	add_as(b, "r", "AAAAAA00000000000001", "u");
	add_as(a, "r", "BBBBBB00000000000003", "u");
	/* Others took it for dead, as far as it can tell: it removes all that is its own.
	 */
	server_ask(&server, "ZREM gh:{0}:nodes AAAAAA");
	add_wait(a, "q", 4);
	WAIT(a->presence_lost == 1);
	LISTED(b, "r", "AAAAAA00000000000001 u @BBBBBB");
	CHECK(!has_room("AAAAAA", "r") && has_room("BBBBBB", "r"));
	CHECK(b->lost.n == 0);
	node_end(a);
	node_end(b);
	check_empty();
}

/* Pages go by id, wherever the members are, of each size there can be. */
static void test_moved_pages(void)
{
	enum { N = 60 };
	struct setup s = setup_of(&server);
	struct node *nodes[] = {node_up(&s, "AAAAAA"), node_up(&s, "BBBBBB"),
				node_up(&s, "CCCCCC")};
	char want[N][64], sid[ID_LEN + 1];
	struct answer got = {0};

	for (unsigned i = 0; i < N; i++) {
		unsigned home = i / (N / 2), at = i * i % 3;

		sid_of(nodes[home], i, sid);
		snprintf(want[i], sizeof(want[i]), "%s u\xff%s%s", sid,
			 home == at ? "" : " @", home == at ? "" : nodes[at]->code);
		add_as(nodes[at], "r", sid, "u\xff");
	}
	for (size_t limit = 1; limit < N + 2; limit += limit < 8 ? 1 : 13) {
		char after[ID_LEN + 1] = "";
		size_t seen = 0;

		do {
			answer_clear(&got);
			list(nodes[0], "r", after, limit, &got);
			WAIT(got.calls);
			CHECK(got.count == N);
			CHECK(got.members.n == (limit < N - seen ? limit : N - seen));
			for (size_t i = 0; i < got.members.n; i++)
				CHECK(!strcmp(got.members.v[i], want[seen + i]));
			seen += got.members.n;
			CHECK(got.more == (seen < N));
			if (got.members.n)
				memcpy(after, got.members.v[got.members.n - 1], ID_LEN);
		} while (got.more && got.members.n);
		CHECK(seen == N);
	}
	answer_clear(&got);
	for (size_t i = 0; i < 3; i++)
		node_end(nodes[i]);
	check_empty();
}

/* A dead node as another left it: members at home and guests, more than one call removes,
 * among those who moved away from it and those that moved past it. */
static void leave_ghosts(unsigned each)
{
	server_ask(&server, "ZADD gh:{0}:nodes 1 GGGGGG");
	server_ask(&server, "SADD gh:{0}:node:GGGGGG:rooms /#r");
	for (unsigned i = 0; i < each; i++) {
		server_ask(&server, "ZADD gh:{0}:members:/#r 0 GGGGGG%014uhome", 2 * i);
		server_ask(&server,
			   "ZADD gh:{0}:guests:/#r 0 !GGGGGG%014uAAAAAAmoved "
			   "0 @AAAAAAGGGGGG%014u",
			   2 * i + 1, 2 * i + 1);
		server_ask(&server,
			   "ZADD gh:{0}:guests:/#r 0 !BBBBBB%014uGGGGGGguest "
			   "0 @GGGGGGBBBBBB%014u",
			   i, i);
	}
}

static void check_ghosts(struct node *a, unsigned each)
{
	struct answer got = {0};
	size_t moved = 0;

	CHECK(a->lost.n == 2 * (size_t)each);
	CHECK(strings_find(&a->lost, "/#r GGGGGG", " home") == each);
	CHECK(strings_find(&a->lost, "/#r BBBBBB", " guest @GGGGGG") == each);
	CHECK(strings_count(&a->lost, "/#r BBBBBB00000000000007 guest @GGGGGG") == 1);
	list(a, "r", "", 2 * (size_t)each, &got);
	WAIT(got.calls);
	CHECK(got.count == each + 1 && got.members.n == each + 1);
	moved = strings_find(&got.members, "GGGGGG", " moved @AAAAAA");
	CHECK(moved == each);
	answer_clear(&got);
}

static void test_moved_ghosts(void)
{
	enum { EACH = 1300 };
	struct setup s = setup_of(&server);
	struct node *a;
	struct answer got = {0};

	/* Found by who asks for a list. */
	a = node_up(&s, "AAAAAA");
	add_wait(a, "r", 1);
	leave_ghosts(EACH);
	list(a, "r", "", 10, &got);
	WAIT(got.calls);
	CHECK(got.count == EACH + 1 && got.members.n == 10 && got.more);
	answer_clear(&got);
	check_ghosts(a, EACH);
	server_ask(&server, "DEL gh:{0}:node:GGGGGG:rooms");
	server_ask(&server, "ZREM gh:{0}:nodes GGGGGG");
	node_end(a);
	check_empty();
	/* By the reaper. */
	s.o.presence_lease_ms = SHORT_LEASE_MS;
	a = node_up(&s, "AAAAAA");
	add_wait(a, "r", 1);
	leave_ghosts(EACH);
	WAIT(server_ask(&server, "ZCARD gh:{0}:nodes") == 1);
	WAIT(a->lost.n >= 2 * (size_t)EACH);
	check_ghosts(a, EACH);
	CHECK(server_ask(&server, "EXISTS gh:{0}:node:GGGGGG:rooms") == 0);
	CHECK(a->presence_lost == 0);
	node_end(a);
	check_empty();
}

/* Sockets join, leave and move as chance will have it; what is listed is what is true. */
static void test_moved_at_random(void)
{
	enum { NODES = 3, SIDS = 12, STEPS = 2500 };
	struct setup s = setup_of(&server);
	struct node *nodes[NODES];
	struct answer got = {0};
	unsigned random = 7;
	int at[SIDS]; /* which node has it; -1: none */
	size_t count = 0;
	char sid[ID_LEN + 1], want[64];

	for (size_t i = 0; i < NODES; i++) {
		static const char *const codes[NODES] = {"AAAAAA", "BBBBBB", "CCCCCC"};

		nodes[i] = node_up(&s, codes[i]);
	}
	for (size_t i = 0; i < SIDS; i++)
		at[i] = -1;
	for (unsigned i = 0; i < STEPS; i++) {
		unsigned k, n;
		int *where;

		random = random * 1103515245u + 12345u;
		k = (random >> 16) % SIDS;
		n = (random >> 20) % NODES;
		where = &at[k];
		sid_of(nodes[k % NODES], k, sid);
		if ((random >> 24) % 5 < 2) {
			add(nodes[n], "r", sid, "u", &got);
			count += *where < 0;
			*where = (int)n;
		} else {
			drop(nodes[n], "r", sid, "u", &got);
			count -= *where == (int)n;
			*where = *where == (int)n ? -1 : *where;
		}
		WAIT(got.calls);
		CHECK(got.err == ERR_OK && got.count == count);
		answer_clear(&got);
		for (size_t j = 0; j < NODES && i % 10 == 0; j++) {
			bool any = false;

			for (size_t m = 0; m < SIDS; m++)
				any |= at[m] == (int)j;
			CHECK(has_room(nodes[j]->code, "r") == any);
		}
	}
	list(nodes[0], "r", "", SIDS, &got);
	WAIT(got.calls);
	CHECK(got.members.n == count && count > 0);
	for (size_t k = 0; k < SIDS; k++) {
		size_t home = k % NODES;

		sid_of(nodes[home], (unsigned)k, sid);
		snprintf(want, sizeof(want), "%s u%s%s", sid,
			 at[k] == (int)home ? "" : " @",
			 at[k] < 0 || at[k] == (int)home ? "" : nodes[at[k]]->code);
		CHECK(strings_count(&got.members, want) == (at[k] >= 0));
	}
	answer_clear(&got);
	for (size_t i = 0; i < NODES; i++)
		node_end(nodes[i]);
	check_empty();
}

/* Too many while Redis is away: bounded, and a removal that was refused is made good. */
static void test_full(void)
{
	enum { N = 600 };
	struct setup s = setup_of(&server);
	struct answer *got = mem_zalloc(N, sizeof(*got));
	struct node *a;
	char sid[ID_LEN + 1];
	size_t full = 0;

	s.o.publish_waiting_bytes_max = 65536;
	s.r.reply_timeout_ms = 500;
	a = node_up(&s, "AAAAAA");
	/* More than that at once, while it is there and has answered. */
	CHECK(count_of(a, "r") == 0);
	for (unsigned i = 0; i < N; i++)
		add(a, "r", sid_of(a, i, sid), "u", &got[i]);
	for (unsigned i = 0; i < N; i++) {
		WAIT(got[i].calls);
		CHECK(got[i].err == ERR_OK);
		answer_clear(&got[i]);
	}
	CHECK(count_of(a, "r") == N);
	server_signal(&server, SIGSTOP);
	WAIT(!a->up);
	for (unsigned i = 0; i < N; i++)
		drop(a, "r", sid_of(a, i, sid), "u", &got[i]);
	server_signal(&server, SIGCONT);
	for (unsigned i = 0; i < N; i++) {
		WAIT(got[i].calls);
		CHECK(got[i].err == ERR_OK || got[i].err == ERR_FULL);
		full += got[i].err == ERR_FULL;
	}
	CHECK(full > 0 && full < N);
	WAIT(a->presence_lost == 1); /* everything anew */
	CHECK(count_of(a, "r") == 0);
	free(got);
	node_end(a);
	check_empty();
}

int main(void)
{
	bool ok;

	server_start(&server, NULL);
	test_killed(); /* first: it forks, and no loop is there yet */
	test_list_reaps();
	test_frozen();
	test_flushall();
	test_cut_clearing();
	test_same_code();
	test_keys();
	test_moved_from();
	test_moved_to();
	test_moved_lost();
	test_moved_pages();
	test_moved_ghosts();
	test_moved_at_random();
	test_script_order();
	test_script_flush();
	test_full();
	ok = harness_end();
	server_stop(&server);
	return test_done() || !ok;
}
