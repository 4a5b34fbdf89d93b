/* What session.h promises, of every adapter: `memory` or `redis`. Where a cluster can be
 * one node, `b` is `a`. Numbers go on from test to test, so they are only compared. */
#include <inttypes.h>
#include <stdlib.h>

#include "harness.h"
#include "proto/mem.h"
#include "test.h"

enum { SOON_MS = 100 };

struct world {
	struct server *server; /* NULL: memory */
	struct node *a, *b;
};

static struct setup setup(const struct world *w)
{
	struct setup s = setup_of(w->server);

	s.o.sessions.on = true;
	return s;
}

/* A node's code is its own for ever: its publishes are counted by it. */
static void begin_with(struct world *w, const struct setup *s)
{
	static unsigned number;
	char a[NODE_CODE_LEN + 1], b[NODE_CODE_LEN + 1];

	number++;
	snprintf(a, sizeof(a), "A%05u", number % 100000);
	snprintf(b, sizeof(b), "B%05u", number % 100000);
	w->a = node_up(s, a);
	w->b = w->server ? node_up(s, b) : w->a;
}

static void begin(struct world *w)
{
	struct setup s = setup(w);

	begin_with(w, &s);
}

static void end(struct world *w)
{
	CHECK(w->a->downs == 0 && w->b->downs == 0);
	CHECK(w->a->missed == 0 && w->b->missed == 0);
	if (w->b != w->a)
		node_end(w->b);
	node_end(w->a);
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

static uint64_t number_of(struct node *n, struct session_request r)
{
	struct session_got got = session_wait(n, r);
	uint64_t number = got.r.number;

	CHECK(got.err == ERR_OK);
	session_got_clear(&got);
	return number;
}

/* A session of a socket of `n` that begins here. */
static struct who meet(struct node *n)
{
	static unsigned number;
	struct who who = {.generation = 1};
	struct session_request r;
	struct slice offset;

	sid_of(n, ++number, who.sid);
	snprintf(who.pid, sizeof(who.pid), "%s%024u", who.sid, number);
	r = session_of(&who, SESSION_NEW);
	who.floor = r.number = adapter_position(n->a, &offset);
	CHECK(session_result(n, r) == ERR_OK);
	return who;
}

static struct session_request of_room(const struct who *who, enum session_op op,
				      const char *room)
{
	struct session_request r = session_of(who, op);

	r.room = slice_str(room);
	return r;
}

static uint64_t enter(struct node *n, const struct who *who, const char *room)
{
	return number_of(n, of_room(who, SESSION_JOIN, room));
}

/* Where the numbers are now, in the order of messages at `n`. A join may count as one. */
static uint64_t now(struct node *n)
{
	struct who who = meet(n);
	uint64_t number = enter(n, &who, "now");

	CHECK(session_result(n, session_of(&who, SESSION_END)) == ERR_OK);
	return number;
}

/* Where it left. */
static uint64_t leave(struct node *n, const struct who *who, const char *room)
{
	struct session_request r = of_room(who, SESSION_LEAVE, room);

	r.number = now(n);
	CHECK(session_result(n, r) == ERR_OK);
	return r.number;
}

static void renew(struct node *n, struct who *who)
{
	struct session_request r = session_of(who, SESSION_RENEW);

	who->floor = r.number = now(n);
	CHECK(session_result(n, r) == ERR_OK);
}

static void park(struct node *n, const struct who *who)
{
	CHECK(session_result(n, session_of(who, SESSION_PARK)) == ERR_OK);
}

/* Logged, to "/". */
static void event(struct node *n, const char *rooms, const char *text)
{
	struct answer got = {0};

	publish(n, "/", rooms, NULL, CLUSTER_LOGGED, text, &got);
	WAIT(got.calls);
	CHECK(got.err == ERR_OK);
}

/* Events "1" to "n", handed over without waiting for each. */
static void events(struct node *n, const char *rooms, unsigned count)
{
	enum { BURST = 1000 };
	char text[16];
	struct answer got;

	for (unsigned i = 1; i <= count; i++) {
		snprintf(text, sizeof(text), "%u", i);
		got = (struct answer){0};
		publish(n, "/", rooms, NULL, CLUSTER_LOGGED, text,
			i % BURST == 0 || i == count ? &got : NULL);
		if (i % BURST && i != count)
			continue;
		WAIT(got.calls);
		CHECK(got.err == ERR_OK);
	}
}

static struct session_got take(struct node *n, struct who *who, const char *offset)
{
	struct session_request r = session_of(who, SESSION_TAKE);
	struct session_got got;

	r.offset = slice_str(offset);
	got = session_wait(n, r);
	if (got.err == ERR_OK) {
		CHECK(got.r.generation == who->generation + 1);
		who->generation = got.r.generation;
	}
	return got;
}

static uint64_t taken(struct node *n, struct who *who, const char *offset)
{
	struct session_got got = take(n, who, offset);
	uint64_t number = got.r.number;

	CHECK(got.err == ERR_OK);
	session_got_clear(&got);
	return number;
}

static enum err not_taken(struct node *n, struct who *who, const char *offset)
{
	struct session_got got = take(n, who, offset);
	enum err err = got.err;

	session_got_clear(&got);
	return err;
}

static struct session_got replay(struct node *n, const struct who *who, uint64_t after,
				 size_t bytes_max)
{
	struct session_request r = session_of(who, SESSION_REPLAY);

	r.number = after;
	r.bytes_max = bytes_max;
	return session_wait(n, r);
}

/* The texts of messages, with spaces between. */
static struct buf texts(const struct strings *lines)
{
	struct buf out = BUF_INIT;

	for (size_t i = 0; i < lines->n; i++) {
		const char *text = strstr(lines->v[i], " e:") + 3;

		buf_printf(&out, "%s%.*s", i ? " " : "", (int)strcspn(text, " "), text);
	}
	return out;
}

static void check_texts(const struct strings *lines, const char *want, const char *row)
{
	struct buf got = texts(lines);

	CHECK_SLICE(buf_view(&got), slice_str(want), row);
	buf_deinit(&got);
}

/* The one page of all that came after `after`. */
static void check_missed(struct node *n, const struct who *who, uint64_t after,
			 const char *want, const char *row)
{
	struct session_got got = replay(n, who, after, PAGE_MAX);

	CHECK_ROW(got.err == ERR_OK && got.r.end, row);
	check_texts(&got.messages, want, row);
	session_got_clear(&got);
}

/* The offset's text of a number of the present era. */
static const char *offset_text(struct node *n, uint64_t number, char out[OFFSET_MAX])
{
	struct slice offset, era = SLICE_EMPTY;
	uint64_t at;

	adapter_position(n->a, &offset);
	CHECK(cluster_offset(offset, &era, &at) == ERR_OK);
	snprintf(out, OFFSET_MAX, "%.*s-%llu", SLICE_FMT(era),
		 (unsigned long long)number);
	return out;
}

/* --- numbers --- */

static void test_off(struct world *w)
{
	struct setup s = setup_of(w->server);
	struct slice offset = SLICE_LIT("untouched");

	begin_with(w, &s);
	publish(w->a, "/", NULL, NULL, 0, "x", NULL);
	WAIT(strings_count(&w->a->heard, "/ e:x") == 1);
	CHECK(adapter_position(w->a->a, &offset) == 0);
	CHECK(offset.n == 0);
	end(w);
}

/* One counter for all, which is the order in which all hear. */
static void test_numbers(struct world *w)
{
	enum { N = 300, NUMBERED = N / 5 * 4 };
	static const char *const rooms[] = {"r", NULL, "r,q", "q", NULL};
	static const unsigned flags[] = {CLUSTER_LOGGED, CLUSTER_LOGGED, CLUSTER_LOGGED,
					 CLUSTER_LOGGED, 0};
	struct slice offset;
	uint64_t last = 0;
	size_t numbered = 0;
	char text[16];

	begin(w);
	join(w->a, "r");
	join(w->a, "q");
	if (w->b != w->a) {
		join(w->b, "r");
		join(w->b, "q");
	}
	for (unsigned i = 0; i < N; i++) {
		struct node *from = i % 3 ? w->a : w->b;

		snprintf(text, sizeof(text), "%u", i);
		publish(from, "/", rooms[i % 5], NULL, flags[i % 5], text, NULL);
		if (i % 7 == 0)
			step();
	}
	WAIT(w->a->heard.n == N);
	WAIT(w->b->heard.n == N);
	for (size_t i = 0; i < N && w->a->heard.n == N && w->b->heard.n == N; i++) {
		uint64_t number = number_in(w->a->heard.v[i]);

		CHECK_SLICE(slice_str(w->a->heard.v[i]), slice_str(w->b->heard.v[i]),
			    "both");
		if (!number)
			continue;
		numbered++;
		CHECK(!last || number == last + 1);
		last = number;
	}
	CHECK(numbered == NUMBERED);
	CHECK(adapter_position(w->a->a, &offset) == last);
	CHECK(adapter_position(w->b->a, &offset) == last);
	/* Volatile ones as well, if they are to be logged. What is local has none. */
	publish(w->a, "/", NULL, NULL, CLUSTER_LOGGED | CLUSTER_VOLATILE, "v", NULL);
	publish(w->a, "/", NULL, NULL, CLUSTER_LOCAL | CLUSTER_VOLATILE, "l", NULL);
	fence(w);
	CHECK(strings_find(&w->b->heard, "/ flags=1 e:v n=", "") == 1);
	CHECK(strings_count(&w->a->heard, "/ flags=3 e:l") == 1);
	CHECK(adapter_position(w->a->a, &offset) == last + 1);
	end(w);
}

/* --- joins --- */

/* What is heard before the answer has numbers up to the one it names, what is heard
 * after it has greater ones. */
static void check_place(const struct session_got *got)
{
	const struct strings *heard = &got->node->heard;

	for (size_t i = 0; i < heard->n; i++) {
		uint64_t number = number_in(heard->v[i]);

		if (number)
			CHECK((number <= got->r.number) == (i < got->heard));
	}
}

static void test_gap_free_join(struct world *w)
{
	enum { JOINS = 40, EACH = 25, HEARD = 2 * JOINS * EACH };
	struct session_got got[JOINS] = {0};
	char room[16];
	struct who who;

	begin(w);
	join(w->a, "r");
	who = meet(w->a);
	for (unsigned i = 0; i < JOINS * EACH; i++) {
		say(i % 2 ? w->a : w->b, "r", "plain");
		publish(i % 3 ? w->a : w->b, "/", "r", NULL, CLUSTER_LOGGED, "x", NULL);
		if (i % EACH == EACH / 2) {
			struct session_request r;

			snprintf(room, sizeof(room), "r%u", i / EACH);
			r = of_room(&who, SESSION_JOIN, room);
			session_ask(w->a, &r, &got[i / EACH]);
		}
		if (i % 9 == 0)
			step();
	}
	for (size_t i = 0; i < JOINS; i++)
		WAIT(got[i].calls);
	WAIT(w->a->heard.n == HEARD);
	for (size_t i = 0; i < JOINS; i++) {
		CHECK(got[i].err == ERR_OK);
		check_place(&got[i]);
		session_got_clear(&got[i]);
	}
	end(w);
}

static void test_history_with_a_join(struct world *w)
{
	struct session_request r;
	struct session_got got;
	struct who who;
	size_t all;

	begin(w);
	who = meet(w->a);
	events(w->b, "history", 30);
	event(w->a, "other", "o");
	event(w->a, "history,other", "both"); /* is in the namespace's log */
	event(w->a, NULL, "n");
	r = of_room(&who, SESSION_JOIN, "history");
	r.history = 5;
	got = session_wait(w->a, r);
	CHECK(got.err == ERR_OK);
	check_texts(&got.messages, "26 27 28 29 30", "the last ones");
	all = got.bytes;
	session_got_clear(&got);
	/* Again: by bytes; one comes whatever its size; more than there are. */
	r.bytes_max = all - 1;
	got = session_wait(w->a, r);
	check_texts(&got.messages, "27 28 29 30", "one byte less");
	session_got_clear(&got);
	r.bytes_max = 1;
	got = session_wait(w->a, r);
	check_texts(&got.messages, "30", "one byte");
	session_got_clear(&got);
	r.bytes_max = PAGE_MAX;
	r.history = SESSION_HISTORY_MAX;
	got = session_wait(w->a, r);
	CHECK(got.messages.n == 30);
	session_got_clear(&got);
	/* A room nothing was said in. */
	r.room = SLICE_LIT("history nobody made");
	got = session_wait(w->a, r);
	CHECK(got.err == ERR_OK && got.messages.n == 0);
	session_got_clear(&got);
	end(w);
}

static void check_room(const struct session_got *got, const char *line)
{
	size_t n = strings_count(&got->rooms, line);

	CHECK_ROW(n == 1, line);
	for (size_t i = 0; n != 1 && i < got->rooms.n; i++)
		fprintf(stderr, "  has %s\n", got->rooms.v[i]);
}

/* A line of rooms, in printf's words; spans are "joined-left". */
#define CHECK_ROOM(got, ...)                                                             \
	do {                                                                             \
		char line_[160];                                                         \
		snprintf(line_, sizeof(line_), __VA_ARGS__);                             \
		check_room(got, line_);                                                  \
	} while (0)

/* A join of what is joined does not move where it began. */
static void test_rejoin_then_drop(struct world *w)
{
	struct session_request r;
	struct session_got got;
	struct who who;
	uint64_t first;

	begin(w);
	who = meet(w->a);
	event(w->a, "rejoin", "before");
	r = of_room(&who, SESSION_JOIN, "rejoin");
	r.flags = 255;
	first = number_of(w->a, r);
	event(w->a, "rejoin", "1");
	CHECK(number_of(w->a, r) > first);
	event(w->a, "rejoin", "2");
	park(w->a, &who);
	event(w->a, "rejoin", "3");
	got = take(w->b, &who, "");
	CHECK(got.err == ERR_OK && got.r.parked && got.r.number == who.floor);
	CHECK(got.rooms.n == 1);
	CHECK_ROOM(&got, "rejoin 255 %" PRIu64 "-", first);
	session_got_clear(&got);
	check_missed(w->b, &who, first, "1 2 3", "rejoin");
	end(w);
}

/* The spans of a room say when it was in it, so that the gateway sees what is for it. */
static void test_leave_then_drop(struct world *w)
{
	struct session_got got;
	uint64_t in, out, again;
	struct who who;

	begin(w);
	who = meet(w->a);
	in = enter(w->a, &who, "leave");
	event(w->a, "leave", "1");
	out = leave(w->a, &who, "leave");
	event(w->a, "leave", "2");
	leave(w->a, &who, "leave"); /* as nothing; as what it was never in */
	leave(w->a, &who, "never");
	park(w->a, &who);
	got = take(w->b, &who, "");
	CHECK(got.rooms.n == 1);
	CHECK_ROOM(&got, "leave 0 %" PRIu64 "-%" PRIu64 "", in, out);
	session_got_clear(&got);
	/* In again. */
	event(w->a, "leave", "3");
	again = enter(w->b, &who, "leave");
	event(w->a, "leave", "4");
	got = take(w->b, &who, "");
	CHECK(got.rooms.n == 1);
	CHECK_ROOM(&got, "leave 0 %" PRIu64 "-%" PRIu64 ",%" PRIu64 "-", in, out, again);
	session_got_clear(&got);
	/* What ended before the floor is not kept for ever. */
	renew(w->b, &who);
	leave(w->b, &who, "leave");
	renew(w->b, &who);
	event(w->a, "leave", "5");
	in = enter(w->b, &who, "leave");
	got = take(w->b, &who, "");
	CHECK(got.rooms.n == 1);
	CHECK_ROOM(&got, "leave 0 %" PRIu64 "-", in);
	session_got_clear(&got);
	end(w);
}

/* Whom an event excepts is in the message; the spans of that room go with it. */
static void test_except_then_leave(struct world *w)
{
	struct session_got got;
	uint64_t in, out;
	struct answer sent = {0};
	struct who who;

	begin(w);
	who = meet(w->a);
	enter(w->a, &who, "most");
	in = enter(w->a, &who, "some");
	publish(w->a, "/", "most", "some", CLUSTER_LOGGED, "1", &sent);
	WAIT(sent.calls);
	out = leave(w->a, &who, "some");
	park(w->a, &who);
	got = take(w->b, &who, "");
	CHECK(got.rooms.n == 2);
	CHECK_ROOM(&got, "some 0 %" PRIu64 "-%" PRIu64 "", in, out);
	session_got_clear(&got);
	got = replay(w->b, &who, who.floor, PAGE_MAX);
	CHECK(got.messages.n == 1);
	CHECK(strings_find(&got.messages, "/ rooms=most except=some e:1 n=", "") == 1);
	session_got_clear(&got);
	end(w);
}

/* Names are any bytes. */
static void test_names(struct world *w)
{
	static const char *const rooms[] = {
		"a#b",
		"#",
		" ",
		"a b c",
		"\xc3\xa9 \n\r",
		"r:x",
		"r:",
		"1-2",
		"floor",
		"pid",
		"{0}:head",
		"12 34",
		",",
		"\x01\xff\xfe",
		"generation",
		"AAAAAA-5,",
		"%s",
		"$1",
		"KEYS[1] \\\" '\t",
		"-",
	};
	enum { ROOMS = sizeof(rooms) / sizeof(rooms[0]) };
	struct session_got got;
	struct who who;
	char line[160];

	begin(w);
	who = meet(w->a);
	for (size_t i = 0; i < ROOMS; i++) {
		struct session_request r = of_room(&who, SESSION_JOIN, rooms[i]);

		r.flags = (unsigned)i;
		number_of(w->a, r);
		event(w->b, rooms[i], "x");
	}
	park(w->a, &who);
	got = take(w->b, &who, "");
	CHECK(got.rooms.n == ROOMS);
	for (size_t i = 0; i < ROOMS; i++) {
		snprintf(line, sizeof(line), "%s %zu ", rooms[i], i);
		CHECK_ROW(strings_find(&got.rooms, line, "-") == 1, rooms[i]);
	}
	session_got_clear(&got);
	got = replay(w->b, &who, who.floor, PAGE_MAX);
	CHECK(got.messages.n >= ROOMS - 1); /* "," is none at all */
	for (size_t i = 0; i < ROOMS; i++) {
		snprintf(line, sizeof(line), "/ rooms=%s e:x n=", rooms[i]);
		CHECK_ROW(!strchr(rooms[i], ',') || rooms[i][1] ||
				  strings_find(&got.messages, line, "") <= 1,
			  rooms[i]);
		CHECK_ROW(strchr(rooms[i], ',') ||
				  strings_find(&got.messages, line, "") == 1,
			  rooms[i]);
	}
	session_got_clear(&got);
	end(w);
}

static void test_many_rooms(struct world *w)
{
	struct session_got got, *joins = mem_zalloc(SESSION_ROOMS_MAX + 1, sizeof(got));
	struct who who;
	char room[16];

	begin(w);
	who = meet(w->a);
	for (unsigned i = 0; i < SESSION_ROOMS_MAX; i++) {
		struct session_request r;

		snprintf(room, sizeof(room), "many%u", i);
		r = of_room(&who, SESSION_JOIN, room);
		session_ask(w->a, &r, &joins[i]);
		if (i % 256 == 255)
			WAIT(joins[i].calls);
	}
	for (unsigned i = 0; i < SESSION_ROOMS_MAX; i++) {
		WAIT(joins[i].calls);
		CHECK(joins[i].err == ERR_OK);
	}
	CHECK(session_result(w->a, of_room(&who, SESSION_JOIN, "one more")) ==
	      ERR_TOO_MANY);
	CHECK(session_result(w->a, of_room(&who, SESSION_JOIN, "many0")) == ERR_OK);
	event(w->a, "many7", "7");
	event(w->a, "many4000", "4000");
	event(w->a, "many1,many2,many3", "123");
	event(w->a, "many1", "1");
	event(w->a, "one more", "none");
	park(w->a, &who);
	got = take(w->b, &who, "");
	CHECK(got.rooms.n == SESSION_ROOMS_MAX);
	session_got_clear(&got);
	check_missed(w->b, &who, who.floor, "7 4000 123 1", "many rooms");
	free(joins);
	end(w);
}

/* What was left counts until the floor has passed it, and then no more. */
static void test_many_stays(struct world *w)
{
	enum { STAYS = SESSION_SPANS_MAX + 1, CHURN = 200, ROUNDS = 3 };
	struct session_request in, out;
	struct session_got got;
	struct who who;
	char room[16];
	enum err err = ERR_OK;
	unsigned stays = 0;

	begin(w);
	who = meet(w->a);
	in = of_room(&who, SESSION_JOIN, "stays");
	out = of_room(&who, SESSION_LEAVE, "stays");
	for (unsigned i = 0; i < STAYS && !err; i++) {
		got = session_wait(w->a, in);
		err = got.err;
		out.number = got.r.number + 1;
		session_got_clear(&got);
		event(w->a, "stays", "x");
		if (err)
			break;
		stays++;
		CHECK(session_result(w->a, out) == ERR_OK);
		event(w->a, "stays", "y");
	}
	CHECK(err == ERR_TOO_MANY && stays == SESSION_SPANS_MAX);
	renew(w->a, &who);
	CHECK(session_result(w->a, in) == ERR_OK);
	/* Where nothing came meanwhile, it was one stay. */
	for (unsigned i = 0; i < STAYS; i++) {
		out.number = enter(w->a, &who, "stays");
		CHECK(session_result(w->a, out) == ERR_OK);
	}
	got = take(w->a, &who, "");
	CHECK(got.err == ERR_OK && got.rooms.n <= 1);
	session_got_clear(&got);
	/* Ever new rooms. */
	for (unsigned i = 0; i < ROUNDS * CHURN; i++) {
		snprintf(room, sizeof(room), "churn%u", i);
		in = of_room(&who, SESSION_JOIN, room);
		out = of_room(&who, SESSION_LEAVE, room);
		out.number = number_of(w->a, in) + 1;
		event(w->a, "churn", "x");
		CHECK(session_result(w->a, out) == ERR_OK);
		if (i % CHURN == CHURN - 1)
			renew(w->a, &who);
	}
	enter(w->a, &who, "last");
	got = take(w->a, &who, "");
	CHECK(got.err == ERR_OK && got.rooms.n <= CHURN + 1);
	CHECK(strings_find(&got.rooms, "last 0 ", "-") == 1);
	session_got_clear(&got);
	end(w);
}

/* --- who takes --- */

/* What is refused changes nothing. */
static void test_other_users_pid(struct world *w)
{
	struct session_request r;
	struct who who, other;

	begin(w);
	who = meet(w->a);
	other = meet(w->a);
	r = session_of(&who, SESSION_TAKE);
	r.user = SLICE_LIT("eve");
	CHECK(session_result(w->b, r) == ERR_NOT_FOUND);
	r.user = SLICE_EMPTY;
	CHECK(session_result(w->b, r) == ERR_NOT_FOUND);
	r = session_of(&who, SESSION_TAKE);
	r.pid = slice_of(other.pid, PID_LEN);
	CHECK(session_result(w->b, r) == ERR_NOT_FOUND);
	r = session_of(&who, SESSION_TAKE);
	r.nsp = SLICE_LIT("/other");
	CHECK(session_result(w->b, r) == ERR_NOT_FOUND);
	r = session_of(&who, SESSION_TAKE);
	r.sid = SLICE_LIT("AAAAAA-nobody-------");
	CHECK(session_result(w->b, r) == ERR_NOT_FOUND);
	fence(w);
	CHECK(w->a->sessions.n == 0);
	enter(w->a, &who, "r"); /* it is this generation's yet */
	taken(w->b, &who, "");
	CHECK(who.generation == 2);
	end(w);
}

static void test_two_connections_one_pid(struct world *w)
{
	struct session_got first = {0}, second = {0}, got;
	struct session_request r;
	struct who who;
	char line[64];

	begin(w);
	who = meet(w->a);
	/* The owner hears of it; where it is the same node, before the answer. */
	got = take(w->b, &who, "");
	CHECK(got.err == ERR_OK && !got.r.parked);
	snprintf(line, sizeof(line), "taken %s 2", who.sid);
	CHECK(w->b != w->a || got.told == 1);
	WAIT(strings_count(&w->a->sessions, line) == 1);
	CHECK(w->b == w->a || w->b->sessions.n == 0);
	session_got_clear(&got);
	/* Both at once: one is later, and the earlier one hears of it. */
	r = session_of(&who, SESSION_TAKE);
	session_ask(w->b, &r, &first);
	session_ask(w->a, &r, &second);
	WAIT(first.calls && second.calls);
	CHECK(first.err == ERR_OK && second.err == ERR_OK);
	CHECK(first.r.generation + second.r.generation == 3 + 4);
	CHECK(!first.r.parked && !second.r.parked);
	who.generation = 3;
	CHECK(session_result(w->b, session_of(&who, SESSION_RENEW)) == ERR_CLOSED);
	who.generation = 4;
	CHECK(session_result(w->a, session_of(&who, SESSION_RENEW)) == ERR_OK);
	WAIT(w->a->sessions.n + (w->b == w->a ? 0 : w->b->sessions.n) == 3);
	session_got_clear(&first);
	session_got_clear(&second);
	/* Of one that is parked nobody hears. */
	park(w->a, &who);
	got = take(w->b, &who, "");
	CHECK(got.err == ERR_OK && got.r.parked);
	session_got_clear(&got);
	fence(w);
	CHECK(w->a->sessions.n + (w->b == w->a ? 0 : w->b->sessions.n) == 3);
	end(w);
}

/* What is no offset of this cluster's, or of before the floor, does not count. */
static void test_stale_offset_with_new_pid(struct world *w)
{
	char text[OFFSET_MAX], later[OFFSET_MAX];
	uint64_t middle;
	struct who who;

	begin(w);
	event(w->a, "stale", "0");
	renew(w->a, (who = meet(w->a), &who));
	enter(w->a, &who, "stale");
	event(w->a, "stale", "1");
	middle = now(w->a);
	event(w->a, "stale", "2");
	CHECK(taken(w->b, &who, "") == who.floor);
	CHECK(taken(w->b, &who, "zzzzzzzz-999999") == who.floor);
	CHECK(taken(w->b, &who, "not an offset") == who.floor);
	CHECK(taken(w->b, &who, "-1") == who.floor);
	CHECK(taken(w->b, &who, "9") == who.floor);
	fence(w);
	CHECK(taken(w->b, &who, offset_text(w->b, who.floor - 1, text)) == who.floor);
	CHECK(taken(w->b, &who, offset_text(w->b, middle, text)) == middle);
	check_missed(w->b, &who, middle, "2", "stale offset");
	/* The floor stays where it was. */
	CHECK(taken(w->b, &who, "") == who.floor);
	check_missed(w->b, &who, who.floor, "1 2", "no offset");
	middle = now(w->b);
	offset_text(w->b, middle, later);
	CHECK(taken(w->b, &who, later) == middle);
	check_missed(w->b, &who, middle, "", "has all");
	end(w);
}

/* What one client says it has, nobody else pays for. */
static void test_offset_ahead(struct world *w)
{
	char text[OFFSET_MAX];
	struct who who, other;

	begin(w);
	who = meet(w->a);
	other = meet(w->a);
	enter(w->a, &other, "ahead");
	event(w->a, "ahead", "1");
	fence(w);
	CHECK(not_taken(w->b, &who, offset_text(w->b, now(w->b) + 1000, text)) ==
	      ERR_LOST);
	CHECK(taken(w->b, &who, "") == who.floor); /* nothing was changed */
	CHECK(taken(w->b, &other, "") == other.floor);
	check_missed(w->b, &other, other.floor, "1", "other");
	fence(w);
	end(w);
}

static void test_quiet_client(struct world *w)
{
	struct session_request r;
	struct who who;
	uint64_t floor;

	begin(w);
	who = meet(w->a);
	enter(w->a, &who, "quiet");
	event(w->a, "quiet", "1");
	renew(w->a, &who);
	floor = who.floor;
	event(w->a, "quiet", "2");
	/* It does not go back. */
	r = session_of(&who, SESSION_RENEW);
	r.number = floor - 1;
	CHECK(session_result(w->a, r) == ERR_OK);
	CHECK(taken(w->b, &who, "") == floor);
	check_missed(w->b, &who, floor, "2", "quiet client");
	end(w);
}

static void test_stale_owner_renews(struct world *w)
{
	static const enum session_op ops[] = {SESSION_RENEW,  SESSION_JOIN, SESSION_LEAVE,
					      SESSION_REPLAY, SESSION_PARK, SESSION_END};
	struct session_got got;
	struct who who, stale;

	begin(w);
	who = meet(w->a);
	enter(w->a, &who, "mine");
	stale = who;
	taken(w->b, &who, "");
	event(w->a, "mine", "1");
	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		struct session_request r = of_room(
			&stale, ops[i], ops[i] == SESSION_JOIN ? "other" : "mine");

		r.number = ops[i] == SESSION_REPLAY ? stale.floor : now(w->a);
		CHECK(session_result(w->a, r) == ERR_CLOSED);
	}
	/* One of the future is as wrong. */
	stale.generation = 7;
	CHECK(session_result(w->b, session_of(&stale, SESSION_RENEW)) == ERR_CLOSED);
	got = take(w->b, &who, "");
	CHECK(got.err == ERR_OK && !got.r.parked && got.r.number == who.floor);
	CHECK(got.rooms.n == 1);
	CHECK(strings_find(&got.rooms, "mine 0 ", "-") == 1);
	session_got_clear(&got);
	end(w);
}

/* Is the last span of one of its rooms open? */
static bool is_in_any(const struct session_got *got)
{
	for (size_t i = 0; i < got->rooms.n; i++) {
		if (got->rooms.v[i][strlen(got->rooms.v[i]) - 1] == '-')
			return true;
	}
	return false;
}

static void test_end_then_take(struct world *w)
{
	static const enum session_op ops[] = {SESSION_TAKE,  SESSION_RENEW, SESSION_JOIN,
					      SESSION_LEAVE, SESSION_PARK,  SESSION_END,
					      SESSION_REPLAY};
	struct session_got got;
	struct session_request r;
	struct who who, other;

	begin(w);
	who = meet(w->a);
	enter(w->a, &who, "gone");
	park(w->a, &who);
	CHECK(session_result(w->b, session_of(&who, SESSION_END)) == ERR_OK);
	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
		CHECK(session_result(w->a, of_room(&who, ops[i], "r")) == ERR_NOT_FOUND);
	/* A new one of the same name has nothing of the old. */
	who = meet(w->a);
	enter(w->a, &who, "gone");
	taken(w->b, &who, "");
	other = who;
	other.pid[PID_LEN - 1] = '!';
	r = session_of(&other, SESSION_NEW);
	r.number = who.floor;
	CHECK(session_result(w->a, r) == ERR_OK);
	other.generation = 1;
	CHECK(session_result(w->a, session_of(&other, SESSION_RENEW)) == ERR_OK);
	CHECK(not_taken(w->b, &who, "") == ERR_NOT_FOUND);
	got = take(w->b, &other, "");
	CHECK(got.err == ERR_OK && got.rooms.n == 0);
	session_got_clear(&got);
	end(w);
}

/* What is asked again, since its answer was lost in a cut, does not undo what came after
 * it. */
static void test_asked_again(struct world *w)
{
	struct session_request begun, left;
	struct session_got got;
	struct who who;

	begin(w);
	who = meet(w->a);
	begun = session_of(&who, SESSION_NEW);
	begun.number = who.floor;
	enter(w->a, &who, "again");
	CHECK(session_result(w->a, begun) == ERR_OK);
	event(w->a, "again", "1");
	left = of_room(&who, SESSION_LEAVE, "again");
	left.number = leave(w->a, &who, "again");
	event(w->a, "again", "2");
	enter(w->a, &who, "again");
	CHECK(session_result(w->a, left) == ERR_OK);
	event(w->a, "again", "3");
	got = take(w->b, &who, "");
	CHECK(got.err == ERR_OK && got.r.generation == 2 && got.rooms.n == 1);
	CHECK(is_in_any(&got));
	session_got_clear(&got);
	end(w);
}

/* Those of one session come out in the order they were made, waited for or not. */
static void test_order_of_requests(struct world *w)
{
	enum { ROUNDS = 30 };
	struct session_got got[ROUNDS][4] = {0};
	struct session_request r;
	char room[16];
	struct who who;

	begin(w);
	who = meet(w->a);
	for (size_t i = 0; i < ROUNDS; i++) {
		snprintf(room, sizeof(room), "r%zu", i);
		r = of_room(&who, SESSION_JOIN, room);
		session_ask(w->a, &r, &got[i][0]);
		r = of_room(&who, SESSION_LEAVE, room);
		r.number = UINT32_MAX; /* wherever that began */
		session_ask(w->a, &r, &got[i][1]);
		r = session_of(&who, SESSION_PARK);
		session_ask(w->a, &r, &got[i][2]);
		r = session_of(&who, SESSION_TAKE);
		session_ask(w->a, &r, &got[i][3]);
		who.generation++;
		if (i % 7 == 0)
			step();
	}
	for (size_t i = 0; i < ROUNDS; i++) {
		for (size_t k = 0; k < 4; k++) {
			WAIT(got[i][k].calls);
			CHECK(got[i][k].err == ERR_OK);
		}
		CHECK(got[i][3].r.parked && got[i][3].r.generation == i + 2);
		CHECK(!is_in_any(&got[i][3]));
		for (size_t k = 0; k < 4; k++)
			session_got_clear(&got[i][k]);
	}
	CHECK(w->a->sessions.n == 0);
	end(w);
}

/* --- what was missed --- */

static void test_wide_events(struct world *w)
{
	struct who who;
	struct answer got = {0};

	begin(w);
	who = meet(w->a);
	enter(w->a, &who, "wide");
	park(w->a, &who);
	event(w->a, NULL, "all");
	event(w->b, who.sid, "own");
	event(w->b, "wide,else", "two");
	event(w->a, "else", "no");
	event(w->a, "some,more", "judged"); /* the gateway sees that it is for others */
	publish(w->a, "/other", NULL, NULL, CLUSTER_LOGGED, "no", NULL);
	publish(w->a, "/other", "wide", NULL, CLUSTER_LOGGED, "no", NULL);
	publish(w->a, "/other", who.sid, NULL, CLUSTER_LOGGED, "no", NULL);
	publish(w->a, "/", "wide", NULL, 0, "unlogged", &got);
	WAIT(got.calls);
	event(w->a, "wide", "one");
	taken(w->b, &who, "");
	check_missed(w->b, &who, who.floor, "all own two judged one", "wide");
	/* In its own id's room in so many words, it comes once. */
	enter(w->b, &who, who.sid);
	event(w->b, who.sid, "own2");
	check_missed(w->b, &who, who.floor, "all own two judged one own2", "twice own");
	end(w);
}

static void test_pages(struct world *w)
{
	enum { N = 120, PAGE = 700 };
	static const char *const rooms[] = {"p1", "p2", "p3", NULL, "p1,p9", "p4"};
	struct session_got got;
	struct who who;
	unsigned next = 0, pages = 0;
	uint64_t after;
	char text[16];

	begin(w);
	join(w->b, "p1");
	who = meet(w->a);
	for (size_t i = 0; i < 5; i++)
		if (rooms[i] && !strchr(rooms[i], ','))
			enter(w->a, &who, rooms[i]);
	park(w->a, &who);
	for (unsigned i = 0; i < N; i++) {
		const char *to = i % 7 == 6 ? who.sid : rooms[i % 5];

		snprintf(text, sizeof(text), "%u", i);
		event(i % 2 ? w->a : w->b, to, text);
		event(w->a, "p4", "no"); /* between them, of no room of its */
	}
	after = taken(w->b, &who, "");
	do {
		got = replay(w->b, &who, after, PAGE);
		CHECK(got.err == ERR_OK && got.r.number > after);
		CHECK(got.bytes <= PAGE || got.messages.n == 1);
		for (size_t i = 0; i < got.messages.n; i++) {
			snprintf(text, sizeof(text), " e:%u n=", next++);
			CHECK_ROW(strstr(got.messages.v[i], text), text);
			CHECK(number_in(got.messages.v[i]) > after);
		}
		after = got.r.number;
		pages += got.messages.n > 0;
		if (got.err || got.r.end)
			break;
		session_got_clear(&got);
	} while (pages < N);
	CHECK(got.r.end && next == N && pages >= 10);
	/* Heard from now on is what follows. */
	events(w->a, "p1", 20);
	fence(w);
	check_place(&got);
	session_got_clear(&got);
	/* A page that holds no event is too small for one, which comes all the same. */
	got = replay(w->b, &who, who.floor, 1);
	CHECK(got.messages.n == 1 && !got.r.end);
	session_got_clear(&got);
	end(w);
}

/* Pages are taken while more comes; then all were had, each once. */
static void test_live_during_replay(struct world *w)
{
	enum { FIRST = 200, ALL = 600 };
	struct session_got got = {0};
	struct who who;
	unsigned sent = FIRST, had = 0;
	uint64_t after;
	char text[16];

	begin(w);
	join(w->b, "live");
	who = meet(w->a);
	enter(w->a, &who, "live");
	events(w->a, "live", FIRST);
	after = taken(w->b, &who, "");
	for (;;) {
		for (unsigned i = 0; i < 3 && sent < ALL; i++) {
			snprintf(text, sizeof(text), "%u", ++sent);
			publish(i % 2 ? w->a : w->b, "/", "live", NULL, CLUSTER_LOGGED,
				text, NULL);
		}
		got = replay(w->b, &who, after, 1500);
		CHECK(got.err == ERR_OK);
		had += (unsigned)got.messages.n;
		after = got.r.number;
		if (got.err || got.r.end)
			break;
		session_got_clear(&got);
	}
	while (sent < ALL) {
		snprintf(text, sizeof(text), "%u", ++sent);
		publish(w->a, "/", "live", NULL, CLUSTER_LOGGED, text, NULL);
	}
	fence(w);
	check_place(&got);
	for (size_t i = got.heard; i < w->b->heard.n; i++)
		had += number_in(w->b->heard.v[i]) > 0;
	CHECK(had == ALL);
	session_got_clear(&got);
	end(w);
}

static void test_100000_logged_10_missed(struct world *w)
{
	enum { MANY = 100000, MORE = 2 * MANY };
	struct setup s = setup(w);
	char text[OFFSET_MAX];
	struct who who, late;
	uint64_t at;

	s.o.sessions.log_events_max = MORE;
	s.o.sessions.log_bytes_max = 1 << 30;
	s.o.publish_waiting_bytes_max = 16 << 20;
	begin_with(w, &s);
	who = meet(w->a);
	enter(w->a, &who, "many");
	events(w->a, "many", MANY);
	at = now(w->a);
	late = meet(w->a);
	enter(w->a, &late, "many");
	events(w->a, "many", 10);
	fence(w);
	CHECK(taken(w->b, &who, offset_text(w->b, at, text)) == at);
	check_missed(w->b, &who, at, "1 2 3 4 5 6 7 8 9 10", "late offset");
	CHECK(taken(w->b, &late, "") == at);
	check_missed(w->b, &late, at, "1 2 3 4 5 6 7 8 9 10", "late floor");
	end(w);
}

/* --- what is not kept --- */

static void test_log_cut(struct world *w)
{
	static const struct {
		const char *name, *room; /* NULL: the namespace's log */
		uint64_t events, bytes, nsp_events, nsp_bytes;
	} rows[] = {
		{"events", "cut1", 10, 1 << 20, 1000, 1 << 20},
		{"bytes", "cut2", 1000, 1000, 1000, 1 << 20},
		{"namespace's events", NULL, 1000, 1 << 20, 10, 1 << 20},
		{"namespace's bytes", NULL, 1000, 1 << 20, 1000, 1000},
	};
	char text[OFFSET_MAX];
	struct adapter_stats stats;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct setup s = setup(w);
		struct who who, other, late;
		uint64_t middle;

		s.o.sessions.log_events_max = rows[i].events;
		s.o.sessions.log_bytes_max = rows[i].bytes;
		s.o.sessions.nsp_log_events_max = rows[i].nsp_events;
		s.o.sessions.nsp_log_bytes_max = rows[i].nsp_bytes;
		begin_with(w, &s);
		event(w->a, "elsewhere", "0"); /* so that there is a number */
		who = meet(w->a);
		other = meet(w->a);
		enter(w->a, &who, rows[i].room ? rows[i].room : "cut");
		events(w->a, rows[i].room, 57);
		middle = now(w->a);
		events(w->a, rows[i].room, 3);
		late = meet(w->a);
		enter(w->a, &late, rows[i].room ? rows[i].room : "cut");
		CHECK_ROW(not_taken(w->b, &who, "") == ERR_LOST, rows[i].name);
		/* Nothing was changed; with an offset that is within, it is found. */
		fence(w);
		CHECK_ROW(taken(w->b, &who, offset_text(w->b, middle, text)) == middle,
			  rows[i].name);
		CHECK(who.generation == 2);
		check_missed(w->b, &who, middle, "1 2 3", rows[i].name);
		CHECK(session_result(w->b, (struct session_request){
						   .op = SESSION_REPLAY,
						   .sid = slice_str(who.sid),
						   .nsp = SLICE_LIT("/"),
						   .generation = 2,
						   .number = who.floor,
						   .bytes_max = PAGE_MAX}) == ERR_LOST);
		/* Who was not in the room has lost nothing. */
		if (rows[i].room)
			taken(w->b, &other, "");
		renew(w->a, &late);
		taken(w->b, &late, "");
		adapter_stats_get(w->a->a, &stats);
		CHECK_ROW(stats.log_cut >= 40, rows[i].name);
		/* One that is larger than all may be: cut off itself, or kept alone. */
		end(w);
	}
}

static void test_trim_between_pages(struct world *w)
{
	struct setup s = setup(w);
	struct session_got got;
	struct who who;
	uint64_t after;

	s.o.sessions.log_events_max = 50;
	begin_with(w, &s);
	who = meet(w->a);
	enter(w->a, &who, "trim");
	events(w->a, "trim", 40);
	after = taken(w->b, &who, "");
	got = replay(w->b, &who, after, 1000);
	CHECK(got.err == ERR_OK && !got.r.end && got.messages.n > 0);
	after = got.r.number;
	session_got_clear(&got);
	events(w->a, "trim", 200);
	got = replay(w->b, &who, after, 1000);
	CHECK(got.err == ERR_LOST);
	session_got_clear(&got);
	end(w);
}

/* Asked in a way that changes nothing: is it there? */
static bool is_there(struct node *n, struct who who)
{
	enum err err;

	who.generation = 77;
	err = session_result(n, session_of(&who, SESSION_RENEW));
	CHECK(err == ERR_CLOSED || err == ERR_NOT_FOUND);
	return err == ERR_CLOSED;
}

static void test_expiry(struct world *w)
{
	struct setup s = setup(w);
	struct who parked, live, ended;

	s.o.sessions.window_ms = SOON_MS;
	s.o.sessions.renew_ms = SOON_MS;
	begin_with(w, &s);
	parked = meet(w->a);
	enter(w->a, &parked, "r");
	park(w->a, &parked);
	WAIT(!is_there(w->b, parked));
	CHECK(not_taken(w->b, &parked, "") == ERR_NOT_FOUND);
	live = meet(w->a); /* its node does not renew it */
	WAIT(!is_there(w->b, live));
	CHECK(not_taken(w->b, &live, "") == ERR_NOT_FOUND);
	/* Renewed, or taken, it ends later: only after the last time. */
	ended = meet(w->a);
	renew(w->a, &ended);
	taken(w->b, &ended, "");
	WAIT(!is_there(w->b, ended));
	end(w);
}

/* --- limits and ends --- */

static void test_full(struct world *w)
{
	enum { N = 200 };
	struct session_got got[N] = {0};
	struct setup s = setup(w);
	unsigned full = 0;
	struct who who;

	s.o.publish_waiting_bytes_max = 8192;
	begin_with(w, &s);
	who = meet(w->a);
	for (size_t i = 0; i < N; i++) {
		struct session_request r = session_of(&who, SESSION_RENEW);

		session_ask(w->a, &r, &got[i]);
	}
	for (size_t i = 0; i < N; i++) {
		WAIT(got[i].calls);
		CHECK(got[i].err == ERR_OK || got[i].err == ERR_FULL);
		full += got[i].err == ERR_FULL;
		CHECK(i == 0 || got[i].err >= got[i - 1].err); /* the last ones */
	}
	CHECK(full > 0 && full < N);
	renew(w->a, &who); /* and it goes on */
	end(w);
}

static void test_close(struct world *w)
{
	struct setup s = setup(w);
	struct session_got got[SESSION_OPS][2] = {0};
	struct node *n = node_up(&s, "CCCCCC");
	struct who who = meet(n);
	struct session_request r;

	for (int op = 0; op < SESSION_OPS; op++) {
		r = of_room(&who, (enum session_op)op, "r");
		session_ask(n, &r, &got[op][0]);
	}
	node_close(n);
	for (int op = 0; op < SESSION_OPS; op++) {
		r = of_room(&who, (enum session_op)op, "r");
		session_ask(n, &r, &got[op][1]);
	}
	WAIT(n->closed);
	for (int op = 0; op < SESSION_OPS; op++) {
		CHECK(got[op][0].calls == 1 && got[op][1].calls == 1);
		CHECK(got[op][1].err == ERR_CLOSED);
		session_got_clear(&got[op][0]);
	}
	node_free(n);
}

/* --- with a clock of its own: what lasts how long --- */

static uint64_t clock_now;

static uint64_t now_ms(void *ctx)
{
	(void)ctx;
	return clock_now;
}

static void pass(uint64_t ms)
{
	clock_now += ms;
	step();
}

static void test_clock(struct world *w)
{
	enum { WINDOW = 10000, RENEW = 3000 };
	struct env env = env_system;
	struct setup s = setup(w);
	struct who who, live;
	uint64_t first, n;

	if (w->server)
		return;
	env.now_ms = now_ms;
	clock_now = 1000000;
	s.o.env = &env;
	s.o.sessions.window_ms = WINDOW;
	s.o.sessions.renew_ms = RENEW;
	begin_with(w, &s);
	event(w->a, "idle", "old");
	who = meet(w->a);
	live = meet(w->a);
	enter(w->a, &who, "idle");
	first = now(w->a);
	event(w->a, "idle", "1");
	/* To its last millisecond, and not to the next. */
	pass(RENEW - 1);
	park(w->a, &who);
	pass(WINDOW - 1);
	CHECK(is_there(w->a, who));
	CHECK(is_there(w->a, live));
	CHECK(taken(w->a, &who, "") == who.floor);
	check_missed(w->a, &who, first, "1", "before the last millisecond");
	park(w->a, &who);
	pass(1);
	CHECK(is_there(w->a, who));
	pass(1);
	CHECK(!is_there(w->a, live));
	pass(WINDOW - 2);
	CHECK(!is_there(w->a, who));
	/* Old entries go, of a room where more comes, and of one where nothing does; who
	 * has not had them by now can't. */
	pass(WINDOW + 2 * RENEW);
	who = meet(w->a);
	CHECK(enter(w->a, &who, "idle") == first + 1);
	for (n = 0; n < 20; n++) {
		event(w->a, "idle", "more");
		pass(RENEW);
		renew(w->a, &who);
	}
	CHECK(session_result(w->a, (struct session_request){.op = SESSION_REPLAY,
							    .sid = slice_str(who.sid),
							    .nsp = SLICE_LIT("/"),
							    .generation = 1,
							    .number = first,
							    .bytes_max = 1}) == ERR_LOST);
	event(w->a, "idle", "last");
	check_missed(w->a, &who, who.floor, "last", "of late");
	end(w);
}

int main(int argc, char **argv)
{
	static void (*const tests[])(struct world *) = {
		test_off,
		test_numbers,
		test_gap_free_join,
		test_history_with_a_join,
		test_rejoin_then_drop,
		test_leave_then_drop,
		test_except_then_leave,
		test_names,
		test_many_rooms,
		test_many_stays,
		test_other_users_pid,
		test_two_connections_one_pid,
		test_stale_offset_with_new_pid,
		test_offset_ahead,
		test_quiet_client,
		test_stale_owner_renews,
		test_end_then_take,
		test_asked_again,
		test_order_of_requests,
		test_wide_events,
		test_pages,
		test_live_during_replay,
		test_100000_logged_10_missed,
		test_log_cut,
		test_trim_between_pages,
		test_expiry,
		test_full,
		test_close,
		test_clock,
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
