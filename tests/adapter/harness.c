#include "harness.h"

#include <signal.h>
#include <stdlib.h>

#include "proto/mem.h"
#include "test.h"

enum { STEP_MS = 5 };

static uv_loop_t loop;
static uv_prepare_t prepare;
static uv_timer_t timer;
static bool started;
static struct node *nodes;
static bool ran;     /* a turn had something to do */
static bool calling; /* in a call of the adapter: nothing may call back */

/* --- strings --- */

static void strings_push(struct strings *s, struct buf *line)
{
	s->v = mem_realloc(s->v, (s->n + 1) * sizeof(char *));
	s->v[s->n++] = mem_strndup(line->p, line->n);
	buf_clear(line);
}

void strings_clear(struct strings *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->v[i]);
	free(s->v);
	*s = (struct strings){0};
}

size_t strings_count(const struct strings *s, const char *line)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n; i++)
		n += strcmp(s->v[i], line) == 0;
	return n;
}

size_t strings_find(const struct strings *s, const char *start, const char *part)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n; i++)
		n += strncmp(s->v[i], start, strlen(start)) == 0 && strstr(s->v[i], part);
	return n;
}

/* --- the loop --- */

uint64_t clock_ms(void)
{
	return uv_hrtime() / 1000000;
}

static void turns(uv_prepare_t *p)
{
	struct node *n, *next;

	(void)p;
	for (n = nodes; n; n = next) {
		next = n->next;
		while (n->a && adapter_turn(n->a))
			ran = true;
	}
}

static void on_wake(uv_timer_t *t)
{
	(void)t;
}

static void start(void)
{
	if (started)
		return;
	started = true;
	signal(SIGPIPE, SIG_IGN); /* as the program does */
	uv_loop_init(&loop);
	uv_prepare_init(&loop, &prepare);
	uv_prepare_start(&prepare, turns);
	uv_timer_init(&loop, &timer);
	uv_timer_start(&timer, on_wake, STEP_MS, STEP_MS);
}

void step(void)
{
	start();
	ran = false;
	uv_run(&loop, UV_RUN_NOWAIT);
	if (!ran) /* else somebody may have what he waits for */
		uv_run(&loop, UV_RUN_ONCE);
}

bool harness_end(void)
{
	CHECK(!nodes);
	start();
	uv_close((uv_handle_t *)&prepare, NULL);
	uv_close((uv_handle_t *)&timer, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	CHECK(uv_loop_close(&loop) == 0);
	started = false;
	return test_failures == 0;
}

/* --- what a node hears --- */

static void put_rooms(struct buf *line, const char *what, const struct slice *v, size_t n)
{
	if (n == 0)
		return;
	buf_printf(line, " %s=", what);
	for (size_t i = 0; i < n; i++)
		buf_printf(line, "%s%.*s", i ? "," : "", SLICE_FMT(v[i]));
}

/* The text of ["e", text]; the test's own data is of this kind. */
static struct slice text_of(struct slice data)
{
	struct mp_cursor c = mp_cursor_of(data);
	struct slice name, text;
	uint32_t n;

	if (mp_read_array(&c, &n) || n != 2 || mp_read_str(&c, &name) ||
	    mp_read_str(&c, &text))
		return SLICE_LIT("(not a text)");
	return text;
}

static void put_message(struct buf *line, const struct cluster_broadcast *b)
{
	struct slice era;
	uint64_t number;

	CHECK(slice_starts(b->uid, SLICE_LIT("gh-")) == !b->foreign);
	buf_slice(line, b->nsp);
	put_rooms(line, "rooms", b->rooms, b->rooms_n);
	put_rooms(line, "except", b->except, b->except_n);
	if (b->flags)
		buf_printf(line, " flags=%u", b->flags);
	buf_printf(line, " e:%.*s%s", SLICE_FMT(text_of(b->data)),
		   b->foreign ? " foreign" : "");
	if (!b->offset.n)
		return;
	CHECK(cluster_offset(b->offset, &era, &number) == ERR_OK);
	CHECK(number == b->number && number > 0);
	buf_printf(line, " n=%llu", (unsigned long long)number);
}

uint64_t number_in(const char *line)
{
	const char *at = strstr(line, " n=");

	return at ? strtoull(at + 3, NULL, 10) : 0;
}

/* A numbered one comes in order, and the position is not behind it. */
static void on_message(void *ctx, const struct cluster_broadcast *b)
{
	struct node *n = ctx;
	struct buf line = BUF_INIT;
	struct slice offset;

	CHECK(!calling);
	CHECK(!n->closing);
	if (b->offset.n) {
		CHECK(b->number > n->number);
		n->number = b->number;
		CHECK(adapter_position(n->a, &offset) >= b->number);
		CHECK(offset.n > 0);
	}
	put_message(&line, b);
	strings_push(&n->heard, &line);
	buf_deinit(&line);
}

static void on_told(void *ctx, struct slice from, struct slice bytes)
{
	struct node *n = ctx;
	struct buf line = BUF_INIT;

	CHECK(!calling);
	CHECK(!n->closing);
	CHECK(from.n == NODE_CODE_LEN);
	buf_printf(&line, "told %.*s ", SLICE_FMT(from));
	buf_slice(&line, bytes);
	strings_push(&n->heard, &line);
	buf_deinit(&line);
}

static void on_state(void *ctx, bool up, bool gap)
{
	struct node *n = ctx;
	struct adapter_stats s;

	CHECK(!calling);
	CHECK(!n->closing);
	CHECK(up != n->up);
	CHECK(up || !gap);
	adapter_stats_get(n->a, &s);
	CHECK(s.up == up);
	n->up = up;
	n->ups += up;
	n->downs += !up;
	n->gaps += gap;
}

static void on_presence_lost(void *ctx)
{
	struct node *n = ctx;

	CHECK(!calling);
	CHECK(!n->closing);
	n->presence_lost++;
}

static void put_member(struct buf *line, const struct adapter_member *m)
{
	CHECK(m->sid.n == ID_LEN);
	CHECK(m->node.n == NODE_CODE_LEN);
	buf_printf(line, "%.*s %.*s", SLICE_FMT(m->sid), SLICE_FMT(m->user));
	if (!slice_starts(m->sid, m->node))
		buf_printf(line, " @%.*s", SLICE_FMT(m->node));
}

static void on_member_lost(void *ctx, struct slice nsp, struct slice room,
			   const struct adapter_member *m)
{
	struct node *n = ctx;
	struct buf line = BUF_INIT;

	CHECK(!calling);
	CHECK(!n->closing);
	buf_printf(&line, "%.*s#%.*s ", SLICE_FMT(nsp), SLICE_FMT(room));
	put_member(&line, m);
	strings_push(&n->lost, &line);
	buf_deinit(&line);
}

static void on_queue(void *ctx, struct slice queue)
{
	struct node *n = ctx;
	struct buf line = BUF_INIT;

	CHECK(!calling);
	CHECK(!n->closing);
	buf_slice(&line, queue);
	strings_push(&n->woken, &line);
	buf_deinit(&line);
}

static void on_log(void *ctx, enum adapter_log_level level, const char *id,
		   const char *text)
{
	struct node *n = ctx;
	struct buf line = BUF_INIT;

	(void)level;
	if (getenv("VERBOSE"))
		fprintf(stderr, "%llu %s %s %s\n", (unsigned long long)clock_ms(),
			n->code, id, text);
	buf_printf(&line, "%s", id);
	strings_push(&n->logs, &line);
	buf_printf(&line, "%s %s", id, text);
	strings_push(&n->told, &line);
	buf_deinit(&line);
}

static void on_missed(void *ctx)
{
	struct node *n = ctx;
	struct slice offset;

	CHECK(!calling);
	CHECK(!n->closing);
	n->missed++;
	adapter_position(n->a, &offset);
	snprintf(n->missed_at, sizeof(n->missed_at), "%.*s", SLICE_FMT(offset));
}

static void on_session(void *ctx, enum session_event what, struct slice sid,
		       uint64_t generation, struct slice room)
{
	static const char *const names[] = {
		[SESSION_TAKEN] = "taken",
		[SESSION_DISCONNECTED] = "disconnected",
		[SESSION_JOINED] = "joined",
		[SESSION_LEFT] = "left",
	};
	struct node *n = ctx;
	struct buf line = BUF_INIT;

	CHECK(!calling);
	CHECK(!n->closing);
	CHECK(sid.n == ID_LEN);
	buf_printf(&line, "%s %.*s %llu", names[what], SLICE_FMT(sid),
		   (unsigned long long)generation);
	if (room.n)
		buf_printf(&line, " %.*s", SLICE_FMT(room));
	strings_push(&n->sessions, &line);
	buf_deinit(&line);
}

static const struct adapter_events events = {
	.on_message = on_message,
	.on_told = on_told,
	.on_state = on_state,
	.on_presence_lost = on_presence_lost,
	.on_member_lost = on_member_lost,
	.on_missed = on_missed,
	.on_session = on_session,
	.on_queue = on_queue,
	.on_log = on_log,
};

/* --- nodes --- */

struct setup setup_of(struct server *server)
{
	struct setup s = {
		.redis = server != NULL,
		.o = {.env = &env_system,
		      .events = &events,
		      .publish_waiting_bytes_max = 1 << 20,
		      .publish_wait_ms_max = WAIT_MS,
		      .presence_lease_ms = 30000,
		      /* Off, until a test says otherwise. */
		      .sessions = {.window_ms = 600000,
				   .renew_ms = 60000,
				   .log_events_max = 1000,
				   .log_bytes_max = 1 << 20,
				   .nsp_log_events_max = 10000,
				   .nsp_log_bytes_max = 4 << 20,
				   .recent_bytes_max = 4 << 20}},
	};

	if (server)
		s.r = (struct adapter_redis_options){.path = server->path,
						     .key = "socket.io",
						     .reply_timeout_ms = 5000,
						     .backoff_ms_min = 10,
						     .backoff_ms_max = 100};
	return s;
}

struct node *node_new(const struct setup *s, const char *code)
{
	struct node *n = mem_zalloc(1, sizeof(*n));
	struct adapter_options o = s->o;

	start();
	o.loop = &loop;
	o.ctx = n;
	o.node_code = code;
	memcpy(n->code, code, NODE_CODE_LEN);
	calling = true;
	n->a = s->redis ? adapter_redis_new(&o, &s->r) : adapter_memory_new(&o);
	adapter_add_namespace(n->a, SLICE_LIT("/"));
	adapter_add_namespace(n->a, SLICE_LIT("/other"));
	if (!s->unopened)
		adapter_open(n->a);
	calling = false;
	n->next = nodes;
	nodes = n;
	return n;
}

struct node *node_up(const struct setup *s, const char *code)
{
	struct node *n = node_new(s, code);

	WAIT(n->up);
	return n;
}

void node_freeze(struct node *n)
{
	struct node **at = &nodes;

	while (*at != n)
		at = &(*at)->next;
	*at = n->next;
}

void node_thaw(struct node *n)
{
	n->next = nodes;
	nodes = n;
}

static void on_closed(void *arg)
{
	struct node *n = arg;

	CHECK(!calling);
	CHECK(!n->closed);
	n->closed = true;
	n->a = NULL;
}

void node_close(struct node *n)
{
	calling = true;
	adapter_close(n->a, on_closed, n);
	calling = false;
	n->closing = true;
}

void node_free(struct node *n)
{
	node_freeze(n);
	strings_clear(&n->heard);
	strings_clear(&n->lost);
	strings_clear(&n->logs);
	strings_clear(&n->told);
	strings_clear(&n->woken);
	strings_clear(&n->sessions);
	free(n);
}

void node_end(struct node *n)
{
	if (!n->closing)
		node_close(n);
	WAIT(n->closed);
	node_free(n);
}

/* --- calls --- */

void answer_clear(struct answer *a)
{
	strings_clear(&a->members);
	*a = (struct answer){0};
}

static void on_done(void *arg, enum err err)
{
	struct answer *a = arg;

	CHECK(!calling);
	a->calls++;
	CHECK(a->calls == 1);
	a->err = err;
}

static void on_count(void *arg, enum err err, uint64_t count)
{
	struct answer *a = arg;

	on_done(arg, err);
	CHECK(!err || count == 0);
	a->count = count;
}

static void on_members(void *arg, enum err err, uint64_t count,
		       const struct adapter_member *members, size_t n, bool more)
{
	struct answer *a = arg;
	struct buf line = BUF_INIT;

	on_count(arg, err, count);
	CHECK(!err || (n == 0 && !more));
	a->more = more;
	for (size_t i = 0; i < n; i++) {
		put_member(&line, &members[i]);
		strings_push(&a->members, &line);
	}
	buf_deinit(&line);
}

static size_t split(const char *names, struct slice *v, size_t max)
{
	size_t n = 0;

	while (names && *names && n < max) {
		size_t len = strcspn(names, ",");

		v[n++] = slice_of(names, len);
		names += len + (names[len] == ',');
	}
	return n;
}

void publish(struct node *n, const char *nsp, const char *rooms, const char *except,
	     unsigned flags, const char *text, struct answer *got)
{
	struct slice in[8], out[8];
	struct buf data = BUF_INIT;
	msgpack_packer pk;
	struct cluster_broadcast b = {
		.nsp = slice_str(nsp),
		.rooms = in,
		.rooms_n = split(rooms, in, 8),
		.except = out,
		.except_n = split(except, out, 8),
		.flags = flags,
	};

	mp_packer(&pk, &data);
	msgpack_pack_array(&pk, 2);
	mp_pack_str(&pk, SLICE_LIT("e"));
	mp_pack_str(&pk, slice_str(text));
	b.data = buf_view(&data);
	calling = true;
	adapter_publish(n->a, &b, got ? on_done : NULL, got);
	calling = false;
	/* Whatever was passed in was borrowed for the call. */
	memset(data.p, 0xff, data.n);
	buf_deinit(&data);
}

/* Both have the same shape; `bytes` is a copy that is spoilt afterwards. */
static void send_to(struct node *n, bool fence, const char *to, const char *text,
		    struct answer *got)
{
	char code[NODE_CODE_LEN];
	struct buf bytes = BUF_INIT;

	memcpy(code, to, NODE_CODE_LEN);
	buf_str(&bytes, text);
	calling = true;
	(fence ? adapter_fence : adapter_tell)(n->a, slice_of(code, NODE_CODE_LEN),
					       buf_view(&bytes), got ? on_done : NULL,
					       got);
	calling = false;
	memset(code, 0xff, NODE_CODE_LEN);
	if (bytes.n)
		memset(bytes.p, 0xff, bytes.n);
	buf_deinit(&bytes);
}

void tell(struct node *n, const char *to, const char *text, struct answer *got)
{
	send_to(n, false, to, text, got);
}

void fence_with(struct node *n, const char *to, const char *text, struct answer *got)
{
	send_to(n, true, to, text, got);
}

void say(struct node *n, const char *room, const char *text)
{
	publish(n, "/", room, NULL, 0, text, NULL);
}

void subscribe(struct node *n, const char *nsp, const char *room, struct answer *got)
{
	calling = true;
	adapter_subscribe(n->a, slice_str(nsp), slice_str(room), got ? on_done : NULL,
			  got);
	calling = false;
}

void unsubscribe(struct node *n, const char *nsp, const char *room)
{
	calling = true;
	adapter_unsubscribe(n->a, slice_str(nsp), slice_str(room));
	calling = false;
}

void add(struct node *n, const char *room, const char *sid, const char *user,
	 struct answer *got)
{
	const struct adapter_member m = {.sid = slice_str(sid), .user = slice_str(user)};

	calling = true;
	adapter_presence_add(n->a, SLICE_LIT("/"), slice_str(room), &m,
			     got ? on_count : NULL, got);
	calling = false;
}

void drop(struct node *n, const char *room, const char *sid, const char *user,
	  struct answer *got)
{
	const struct adapter_member m = {.sid = slice_str(sid), .user = slice_str(user)};

	calling = true;
	adapter_presence_remove(n->a, SLICE_LIT("/"), slice_str(room), &m,
				got ? on_count : NULL, got);
	calling = false;
}

void list(struct node *n, const char *room, const char *after, size_t limit,
	  struct answer *got)
{
	calling = true;
	adapter_presence_list(n->a, SLICE_LIT("/"), slice_str(room), slice_str(after),
			      limit, got ? on_members : NULL, got);
	calling = false;
}

void join(struct node *n, const char *room)
{
	struct answer got = {0};

	subscribe(n, "/", room, &got);
	WAIT(got.calls);
	CHECK(got.err == ERR_OK);
}

/* --- queues --- */

void queue_got_clear(struct queue_got *got)
{
	free((void *)(uintptr_t)got->r.messages);
	buf_deinit(&got->bytes);
	*got = (struct queue_got){0};
}

static void on_queue_done(void *arg, enum err err, const struct queue_reply *r)
{
	struct queue_got *got = arg;
	struct queue_message *copies;
	struct slice *fields[3];
	size_t n = 0;

	CHECK(!calling);
	CHECK(++got->calls == 1);
	CHECK((err == ERR_OK) == (r != NULL));
	got->err = err;
	if (!r)
		return;
	got->r = *r;
	copies = mem_zalloc(r->n + 1, sizeof(*copies));
	for (size_t i = 0; i < r->n; i++)
		n += r->messages[i].group.n + r->messages[i].payload.n +
		     r->messages[i].error.n;
	buf_reserve(&got->bytes, n + 1); /* so that it stays where it is */
	for (size_t i = 0; i < r->n; i++) {
		copies[i] = r->messages[i];
		fields[0] = &copies[i].group;
		fields[1] = &copies[i].payload;
		fields[2] = &copies[i].error;
		for (size_t k = 0; k < 3; k++) {
			size_t at = got->bytes.n;

			buf_slice(&got->bytes, *fields[k]);
			*fields[k] = slice_of(got->bytes.p + at, fields[k]->n);
		}
	}
	got->r.messages = copies;
}

void queue_ask(struct node *n, const struct queue_request *r, struct queue_got *got)
{
	calling = true;
	adapter_queue(n->a, r, got ? on_queue_done : NULL, got);
	calling = false;
}

void queue_watch(struct node *n, const char *queue)
{
	calling = true;
	adapter_queue_watch(n->a, slice_str(queue));
	calling = false;
}

void queue_unwatch(struct node *n, const char *queue)
{
	calling = true;
	adapter_queue_unwatch(n->a, slice_str(queue));
	calling = false;
}

/* --- sessions --- */

void session_got_clear(struct session_got *got)
{
	strings_clear(&got->rooms);
	strings_clear(&got->messages);
	*got = (struct session_got){0};
}

static void put_room(struct buf *line, const struct session_room *room)
{
	uint64_t after = 0;

	CHECK(room->spans_n > 0);
	buf_printf(line, "%.*s %u ", SLICE_FMT(room->name), room->flags);
	for (size_t i = 0; i < room->spans_n; i++) {
		const struct session_span *span = &room->spans[i];

		CHECK(span->joined >= after && span->left >= span->joined);
		after = span->left;
		buf_printf(line, "%s%llu-", i ? "," : "",
			   (unsigned long long)span->joined);
		if (span->left != UINT64_MAX)
			buf_printf(line, "%llu", (unsigned long long)span->left);
	}
}

static void keep_messages(struct session_got *got, const struct session_reply *r)
{
	struct cluster_rooms rooms = {0};
	struct buf line = BUF_INIT;
	uint64_t number = 0;

	for (size_t i = 0; i < r->messages_n; i++) {
		struct cluster_broadcast b;
		enum err err = cluster_decode(r->messages[i], &rooms, &b);

		CHECK(err == ERR_OK);
		if (err)
			continue;
		CHECK(b.number > number && b.number <= r->number);
		number = b.number;
		got->bytes += r->messages[i].n;
		put_message(&line, &b);
		strings_push(&got->messages, &line);
	}
	cluster_rooms_deinit(&rooms);
	buf_deinit(&line);
}

static void on_session_done(void *arg, enum err err, const struct session_reply *r)
{
	struct session_got *got = arg;
	struct buf line = BUF_INIT;

	CHECK(!calling);
	CHECK(++got->calls == 1);
	CHECK((err == ERR_OK) == (r != NULL));
	got->err = err;
	got->heard = got->node->heard.n;
	got->told = got->node->sessions.n;
	if (!r)
		return;
	got->r = *r;
	got->r.rooms = NULL;
	got->r.messages = NULL;
	for (size_t i = 0; i < r->rooms_n; i++) {
		put_room(&line, &r->rooms[i]);
		strings_push(&got->rooms, &line);
	}
	keep_messages(got, r);
	buf_deinit(&line);
}

/* What is borrowed for the call is spoilt afterwards. */
void session_ask(struct node *n, const struct session_request *r, struct session_got *got)
{
	struct session_request lent = *r;
	struct slice *fields[] = {&lent.sid,  &lent.nsp,    &lent.pid,
				  &lent.user, &lent.offset, &lent.room};
	enum { FIELDS = sizeof(fields) / sizeof(fields[0]) };
	uint8_t *copies[FIELDS];

	for (size_t i = 0; i < FIELDS; i++) {
		copies[i] = mem_alloc(fields[i]->n);
		if (fields[i]->n)
			memcpy(copies[i], fields[i]->p, fields[i]->n);
		fields[i]->p = copies[i];
	}
	if (got)
		got->node = n;
	calling = true;
	adapter_session(n->a, &lent, got ? on_session_done : NULL, got);
	calling = false;
	for (size_t i = 0; i < FIELDS; i++) {
		memset(copies[i], 0xff, fields[i]->n);
		free(copies[i]);
	}
}

struct session_request session_of(const struct who *who, enum session_op op)
{
	return (struct session_request){
		.op = op,
		.sid = slice_of(who->sid, ID_LEN),
		.pid = slice_of(who->pid, PID_LEN),
		.user = SLICE_LIT("ann"),
		.nsp = SLICE_LIT("/"),
		.generation = who->generation,
		.bytes_max = PAGE_MAX,
	};
}

struct session_got session_wait(struct node *n, struct session_request r)
{
	struct session_got got = {0};

	session_ask(n, &r, &got);
	WAIT(got.calls);
	return got;
}

enum err session_result(struct node *n, struct session_request r)
{
	struct session_got got = session_wait(n, r);
	enum err err = got.err;

	session_got_clear(&got);
	return err;
}

const char *sid_of(const struct node *n, unsigned i, char out[ID_LEN + 1])
{
	snprintf(out, ID_LEN + 1, "%s%014u", n->code, i);
	return out;
}
