/* The reference adapter: one node, no backend. What adapter.h promises in the fewest
 * lines: each call becomes a job, adapter_turn runs them in the order they came. Nothing
 * is ever away, so nothing waits longer than a turn. */
#include "adapter/adapter.h"

#include <assert.h>
#include <stdlib.h>

#include "adapter/done.h"
#include "adapter/memory_log.h"
#include "adapter/memory_queues.h"
#include "adapter/memory_sessions.h"
#include "proto/buf.h"
#include "proto/list.h"
#include "proto/mem.h"
#include "proto/sio.h"
#include "proto/table.h"

enum job_kind {
	JOB_PUBLISH,
	JOB_TELL,
	JOB_SUBSCRIBE,
	JOB_ADD,
	JOB_REMOVE,
	JOB_LIST,
	JOB_SESSION,
};

struct job {
	struct link link;
	enum job_kind kind;
	enum err fail; /* decided when it was asked for; not ERR_OK: only said */
	bool logged;
	struct done done;
	size_t limit;
	struct session_request *session;    /* JOB_SESSION; owned, with what it shows */
	struct cluster_broadcast broadcast; /* JOB_PUBLISH; in `bytes`, but for its uid */
	/* in `bytes`; key: of a room, or a node's code; a: what is told, sid or after;
	 * b: user */
	struct slice key, a, b;
	size_t waiting_bytes; /* what it takes of those that may wait */
	_Alignas(struct slice) uint8_t bytes[];
};

/* A subscribed room. */
struct sub {
	struct job *asked; /* not answered yet, or NULL */
	struct slice key;
	uint8_t bytes[];
};

struct member {
	struct slice user;
	uint8_t sid[ID_LEN];
	uint8_t bytes[];
};

/* Members in the order of their ids. */
struct room {
	struct member **v;
	size_t n, cap;
	struct slice key;
	uint8_t bytes[];
};

struct nsp {
	struct slice name;
	uint8_t bytes[];
};

struct memory {
	struct adapter base;
	size_t waiting_bytes_max;
	bool opened, closing;
	void (*closed)(void *arg);
	void *closed_arg;
	struct link jobs;
	struct table nsps, subs, rooms;
	struct memory_queues queues;
	struct memory_log log;
	struct memory_sessions sessions;
	size_t sessions_waiting_bytes;
	struct buf uid, scratch, numbered;
	struct adapter_stats stats;
};

static struct memory *memory_of(struct adapter *a)
{
	return container_of(a, struct memory, base);
}

/* `<nsp>#<room>`, in scratch until the next call. */
static struct slice key_of(struct memory *m, struct slice nsp, struct slice room)
{
	buf_clear(&m->scratch);
	buf_slice(&m->scratch, nsp);
	buf_byte(&m->scratch, '#');
	buf_slice(&m->scratch, room);
	return buf_view(&m->scratch);
}

static struct slice put(uint8_t **at, struct slice s)
{
	struct slice copy = {*at, s.n};

	if (s.n)
		memcpy(*at, s.p, s.n);
	*at += s.n;
	return copy;
}

static struct job *ask_for(struct memory *m, enum job_kind kind, struct done done,
			   size_t bytes)
{
	struct job *j = mem_alloc(sizeof(*j) + bytes);

	*j = (struct job){
		.kind = kind, .fail = m->closing ? ERR_CLOSED : ERR_OK, .done = done};
	list_push(&m->jobs, &j->link);
	return j;
}

static struct job *ask(struct memory *m, enum job_kind kind, struct done done,
		       struct slice key, struct slice a, struct slice b)
{
	struct job *j = ask_for(m, kind, done, key.n + a.n + b.n);
	uint8_t *at = j->bytes;

	j->key = put(&at, key);
	j->a = put(&at, a);
	j->b = put(&at, b);
	return j;
}

static void memory_open(struct adapter *a)
{
	struct memory *m = memory_of(a);

	assert(!m->opened);
	m->opened = true;
}

static void memory_add_namespace(struct adapter *a, struct slice nsp)
{
	struct memory *m = memory_of(a);
	struct nsp *n;
	uint8_t *at;

	if (table_get(&m->nsps, nsp))
		return;
	n = mem_zalloc(1, sizeof(*n) + nsp.n);
	at = n->bytes;
	n->name = put(&at, nsp);
	table_add(&m->nsps, n->name, n);
}

/* May so much more wait to be sent? */
static bool is_full(struct memory *m, size_t n)
{
	return m->stats.publish_waiting_bytes + n > m->waiting_bytes_max;
}

/* One that is too much waits for its answer alone. */
static void wait_to_send(struct memory *m, struct job *j, bool full, size_t n)
{
	if (full && !j->fail)
		j->fail = ERR_FULL;
	j->waiting_bytes = full ? 0 : n;
	m->stats.publish_waiting++;
	m->stats.publish_waiting_bytes += j->waiting_bytes;
}

static size_t lengths(const struct slice *v, size_t n)
{
	size_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += v[i].n;
	return sum;
}

/* Not as a message: nobody else would read it. */
static void copy_broadcast(struct memory *m, struct job *j,
			   const struct cluster_broadcast *b)
{
	size_t rooms_n = b->rooms_n + b->except_n;
	struct slice *rooms = (struct slice *)(void *)j->bytes;
	uint8_t *at = (uint8_t *)(rooms + rooms_n);

	j->broadcast = (struct cluster_broadcast){
		.nsp = put(&at, b->nsp),
		.rooms = rooms,
		.rooms_n = b->rooms_n,
		.except = rooms + b->rooms_n,
		.except_n = b->except_n,
		.flags = b->flags & (CLUSTER_VOLATILE | CLUSTER_LOCAL),
		.data = put(&at, b->data),
		.uid = buf_view(&m->uid),
	};
	for (size_t i = 0; i < b->rooms_n; i++)
		rooms[i] = put(&at, b->rooms[i]);
	for (size_t i = 0; i < b->except_n; i++)
		rooms[b->rooms_n + i] = put(&at, b->except[i]);
}

static void memory_publish(struct adapter *a, const struct cluster_broadcast *b,
			   adapter_done_fn *done, void *arg)
{
	struct memory *m = memory_of(a);
	size_t n = (b->rooms_n + b->except_n) * sizeof(struct slice) + b->nsp.n +
		   b->data.n + lengths(b->rooms, b->rooms_n) +
		   lengths(b->except, b->except_n);
	bool full = is_full(m, n);
	struct job *j = ask_for(m, JOB_PUBLISH, done_plain(done, arg), full ? 0 : n);

	assert(!(b->flags & CLUSTER_LOGGED) || m->log.o.on);
	wait_to_send(m, j, full, n);
	j->logged = !(b->flags & CLUSTER_LOCAL) && b->flags & CLUSTER_LOGGED;
	if (!full)
		copy_broadcast(m, j, b);
}

/* Nobody else is there, so a fence is no more than this. */
static void memory_tell(struct adapter *a, struct slice node_code, struct slice bytes,
			adapter_done_fn *done, void *arg)
{
	struct memory *m = memory_of(a);
	bool full = is_full(m, bytes.n);
	struct job *j = ask(m, JOB_TELL, done_plain(done, arg), node_code,
			    full ? SLICE_EMPTY : bytes, SLICE_EMPTY);

	assert(node_code.n == NODE_CODE_LEN);
	wait_to_send(m, j, full, bytes.n);
}

static void memory_subscribe(struct adapter *a, struct slice nsp, struct slice room,
			     adapter_done_fn *done, void *arg)
{
	struct memory *m = memory_of(a);
	struct slice key = key_of(m, nsp, room);
	struct job *j = ask(m, JOB_SUBSCRIBE, done_plain(done, arg), key, SLICE_EMPTY,
			    SLICE_EMPTY);
	struct sub *s;
	uint8_t *at;

	if (j->fail)
		return;
	assert(!table_get(&m->subs, key));
	s = mem_zalloc(1, sizeof(*s) + key.n);
	at = s->bytes;
	s->key = put(&at, key);
	s->asked = j;
	table_add(&m->subs, s->key, s);
}

static void memory_unsubscribe(struct adapter *a, struct slice nsp, struct slice room)
{
	struct memory *m = memory_of(a);
	struct sub *s = table_remove(&m->subs, key_of(m, nsp, room));

	if (!s)
		return;
	if (s->asked)
		s->asked->fail = ERR_CLOSED;
	free(s);
}

static void memory_presence_add(struct adapter *a, struct slice nsp, struct slice room,
				const struct adapter_member *member,
				adapter_count_fn *done, void *arg)
{
	struct memory *m = memory_of(a);

	assert(member->sid.n == ID_LEN);
	ask(m, JOB_ADD, done_count(done, arg), key_of(m, nsp, room), member->sid,
	    member->user);
}

static void memory_presence_remove(struct adapter *a, struct slice nsp, struct slice room,
				   const struct adapter_member *member,
				   adapter_count_fn *done, void *arg)
{
	struct memory *m = memory_of(a);

	assert(member->sid.n == ID_LEN);
	ask(m, JOB_REMOVE, done_count(done, arg), key_of(m, nsp, room), member->sid,
	    SLICE_EMPTY);
}

static void memory_presence_list(struct adapter *a, struct slice nsp, struct slice room,
				 struct slice after, size_t limit,
				 adapter_members_fn *done, void *arg)
{
	struct memory *m = memory_of(a);

	ask(m, JOB_LIST, done_members(done, arg), key_of(m, nsp, room), after,
	    SLICE_EMPTY)
		->limit = limit;
}

static void memory_queue(struct adapter *a, const struct queue_request *r,
			 adapter_queue_fn *done, void *arg)
{
	memory_queues_ask(&memory_of(a)->queues, r, done_queue(done, arg));
}

static void memory_queue_watch(struct adapter *a, struct slice queue)
{
	memory_queues_watch(&memory_of(a)->queues, queue);
}

static void memory_queue_unwatch(struct adapter *a, struct slice queue)
{
	memory_queues_unwatch(&memory_of(a)->queues, queue);
}

static void memory_session(struct adapter *a, const struct session_request *r,
			   adapter_session_fn *done, void *arg)
{
	struct memory *m = memory_of(a);
	size_t n = r->sid.n + r->nsp.n + r->pid.n + r->user.n + r->offset.n + r->room.n;
	size_t cost = sizeof(struct job) + sizeof(*r) + n;
	struct job *j = ask(m, JOB_SESSION, done_session(done, arg), SLICE_EMPTY,
			    SLICE_EMPTY, SLICE_EMPTY);
	struct session_request *own = mem_alloc(sizeof(*own) + n);
	uint8_t *at = (uint8_t *)(own + 1);

	assert(m->log.o.on);
	*own = *r;
	own->sid = put(&at, r->sid);
	own->nsp = put(&at, r->nsp);
	own->pid = put(&at, r->pid);
	own->user = put(&at, r->user);
	own->offset = put(&at, r->offset);
	own->room = put(&at, r->room);
	j->session = own;
	if (j->fail)
		return;
	if (m->sessions_waiting_bytes + cost > m->waiting_bytes_max)
		j->fail = ERR_FULL;
	else
		j->waiting_bytes = cost;
	m->sessions_waiting_bytes += j->waiting_bytes;
}

static uint64_t memory_position(const struct adapter *a, struct slice *offset)
{
	const struct memory *m = (const void *)a; /* its first member */

	*offset = memory_log_offset(&m->log);
	return m->log.seq;
}

/* Is this broadcast for this node? One that goes to several rooms always is. */
static bool heard(struct memory *m, const struct cluster_broadcast *b)
{
	if (!table_get(&m->nsps, b->nsp))
		return false;
	if (b->rooms_n != 1)
		return true;
	if (id_is(b->rooms[0]) && slice_starts(b->rooms[0], slice_str(m->base.node_code)))
		return true;
	return table_get(&m->subs, key_of(m, b->nsp, b->rooms[0]));
}

/* Numbered, logged, and heard with its number, in one step. */
static void number(struct memory *m, struct cluster_broadcast *b)
{
	bool one = b->rooms_n == 1;
	struct slice key = key_of(m, b->nsp, one ? b->rooms[0] : SLICE_EMPTY);

	buf_clear(&m->numbered);
	cluster_encode(b, &m->numbered);
	cluster_await_offset(&m->numbered);
	memory_log_add(&m->log, key, !one, env_now_ms(m->base.env), &m->numbered);
	m->stats.log_cut = m->log.cuts;
	b->offset = memory_log_offset(&m->log);
	b->number = m->log.seq;
}

/* What no adapter could say in a message, nobody hears. */
static bool is_malformed(const struct cluster_broadcast *b)
{
	return b->rooms_n > CLUSTER_ROOMS_MAX || b->except_n > CLUSTER_ROOMS_MAX ||
	       !sio_event_ok(b->data);
}

static void run_publish(struct memory *m, struct job *j)
{
	struct cluster_broadcast *b = &j->broadcast;
	bool malformed = is_malformed(b);

	if (!(b->flags & CLUSTER_LOCAL))
		m->stats.published++;
	if (!malformed && j->logged)
		number(m, b);
	if (malformed) {
		m->stats.malformed++;
	} else if (heard(m, b)) {
		m->stats.received++;
		m->stats.received_bytes += j->waiting_bytes;
		m->base.events->on_message(m->base.ctx, b);
	}
	done_run(j->done, ERR_OK);
}

static void run_tell(struct memory *m, struct job *j)
{
	bool here = slice_eq(j->key, slice_str(m->base.node_code));

	m->stats.published++;
	if (here) {
		m->stats.told++;
		m->stats.told_bytes += j->a.n;
		m->base.events->on_told(m->base.ctx, j->key, j->a);
	}
	done_run(j->done, here ? ERR_OK : ERR_NOT_FOUND);
}

static void run_subscribe(struct memory *m, struct job *j)
{
	struct sub *s = table_get(&m->subs, j->key);

	assert(s);
	assert(s->asked == j);
	s->asked = NULL;
	done_run(j->done, ERR_OK);
}

static struct slice sid_of(const struct member *m)
{
	return slice_of(m->sid, ID_LEN);
}

/* The first member whose id is not before `sid`. */
static size_t room_find(const struct room *r, struct slice sid)
{
	size_t lo = 0, hi = r->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (slice_cmp(sid_of(r->v[mid]), sid) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static bool room_has(const struct room *r, size_t i, struct slice sid)
{
	return i < r->n && slice_eq(sid_of(r->v[i]), sid);
}

static struct room *room_get(struct memory *m, struct slice key)
{
	struct room *r = table_get(&m->rooms, key);
	uint8_t *at;

	if (r)
		return r;
	r = mem_zalloc(1, sizeof(*r) + key.n);
	at = r->bytes;
	r->key = put(&at, key);
	table_add(&m->rooms, r->key, r);
	return r;
}

static void room_free(struct room *r)
{
	for (size_t i = 0; i < r->n; i++)
		free(r->v[i]);
	free(r->v);
	free(r);
}

static size_t run_add(struct memory *m, struct job *j)
{
	struct room *r = room_get(m, j->key);
	size_t i = room_find(r, j->a);
	struct member *member = mem_zalloc(1, sizeof(*member) + j->b.n);
	uint8_t *at = member->bytes;

	memcpy(member->sid, j->a.p, ID_LEN);
	member->user = put(&at, j->b);
	if (room_has(r, i, j->a)) {
		free(r->v[i]);
		r->v[i] = member;
		return r->n;
	}
	if (r->n == r->cap) {
		r->cap = r->cap ? r->cap * 2 : 4;
		r->v = mem_realloc(r->v, r->cap * sizeof(struct member *));
	}
	memmove(r->v + i + 1, r->v + i, (r->n - i) * sizeof(struct member *));
	r->v[i] = member;
	return ++r->n;
}

static size_t run_remove(struct memory *m, struct job *j)
{
	struct room *r = table_get(&m->rooms, j->key);
	size_t i;

	if (!r)
		return 0;
	i = room_find(r, j->a);
	if (room_has(r, i, j->a)) {
		free(r->v[i]);
		memmove(r->v + i, r->v + i + 1, (--r->n - i) * sizeof(struct member *));
	}
	if (r->n)
		return r->n;
	table_remove(&m->rooms, r->key);
	room_free(r);
	return 0;
}

static void run_list(struct memory *m, struct job *j)
{
	const struct room *r = table_get(&m->rooms, j->key);
	struct adapter_member *page;
	size_t i, n, end = r ? r->n : 0;

	if (!j->done.members)
		return;
	i = r ? room_find(r, j->a) : 0;
	if (r && room_has(r, i, j->a))
		i++;
	n = end - i < j->limit ? end - i : j->limit;
	page = mem_zalloc(n, sizeof(*page));
	for (size_t k = 0; k < n; k++)
		page[k] = (struct adapter_member){
			.sid = sid_of(r->v[i + k]),
			.user = r->v[i + k]->user,
			.node = slice_str(m->base.node_code),
		};
	/* Calls from within become jobs, so the room stays as it is meanwhile. */
	j->done.members(j->done.arg, ERR_OK, end, page, n, i + n < end);
	free(page);
}

/* Between the messages, as publishes are, so what was heard before `done` has smaller
 * numbers than what will be heard. Calls from within become jobs, so what the reply shows
 * stays. */
static void run_session(struct memory *m, struct job *j)
{
	const struct adapter_events *events = m->base.events;
	struct session_reply reply;
	bool taken;
	enum err err = memory_sessions_run(&m->sessions, j->session,
					   env_now_ms(m->base.env), &reply, &taken);

	if (taken)
		events->on_session(m->base.ctx, SESSION_TAKEN, j->session->sid,
				   reply.generation, SLICE_EMPTY);
	if (err == ERR_OK && j->done.session)
		j->done.session(j->done.arg, ERR_OK, &reply);
	else
		done_run(j->done, err);
}

static void run(struct memory *m, struct job *j)
{
	enum err fail = j->fail ? j->fail : m->closing ? ERR_CLOSED : ERR_OK;
	size_t count;

	if (j->kind == JOB_PUBLISH || j->kind == JOB_TELL) {
		m->stats.publish_waiting--;
		m->stats.publish_waiting_bytes -= j->waiting_bytes;
		m->stats.publish_failed += fail != ERR_OK;
	}
	if (j->kind == JOB_SESSION)
		m->sessions_waiting_bytes -= j->waiting_bytes;
	if (fail) {
		done_run(j->done, fail);
		return;
	}
	switch (j->kind) {
	case JOB_PUBLISH:
		run_publish(m, j);
		break;
	case JOB_TELL:
		run_tell(m, j);
		break;
	case JOB_SUBSCRIBE:
		run_subscribe(m, j);
		break;
	case JOB_ADD:
	case JOB_REMOVE:
		count = j->kind == JOB_ADD ? run_add(m, j) : run_remove(m, j);
		if (j->done.count)
			j->done.count(j->done.arg, ERR_OK, count);
		break;
	case JOB_LIST:
		run_list(m, j);
		break;
	case JOB_SESSION:
		run_session(m, j);
		break;
	}
}

static void memory_free(struct memory *m)
{
	size_t pos = 0;
	void *v;

	while ((v = table_next(&m->subs, &pos)))
		free(v);
	for (pos = 0; (v = table_next(&m->nsps, &pos));)
		free(v);
	for (pos = 0; (v = table_next(&m->rooms, &pos));)
		room_free(v);
	table_deinit(&m->subs);
	table_deinit(&m->nsps);
	table_deinit(&m->rooms);
	memory_queues_deinit(&m->queues);
	memory_sessions_deinit(&m->sessions);
	memory_log_deinit(&m->log);
	buf_deinit(&m->uid);
	buf_deinit(&m->scratch);
	buf_deinit(&m->numbered);
	free(m);
}

static void expire(struct memory *m)
{
	uint64_t now_ms;

	if (!m->log.o.on)
		return;
	now_ms = env_now_ms(m->base.env);
	memory_sessions_expire(&m->sessions, now_ms);
	memory_log_expire(&m->log, now_ms);
}

static bool memory_turn(struct adapter *a)
{
	struct memory *m = memory_of(a);
	struct link due, *l;
	bool ran = false;

	link_init(&due);
	list_splice(&due, &m->jobs);
	if (m->opened && !m->stats.up && !m->closing) {
		m->stats.up = ran = true;
		m->base.events->on_state(m->base.ctx, true, false);
	}
	expire(m);
	while ((l = list_pop(&due))) {
		struct job *j = container_of(l, struct job, link);

		run(m, j);
		free(j->session);
		free(j);
		ran = true;
	}
	if (m->stats.up || m->closing)
		ran |= memory_queues_turn(&m->queues, m->closing);
	/* Answers with ERR_CLOSED may ask for more, which the next turn refuses. */
	if (m->closing && list_empty(&m->jobs) && list_empty(&m->queues.jobs)) {
		m->closed(m->closed_arg);
		memory_free(m);
		return true;
	}
	return ran;
}

static void memory_stats(const struct adapter *a, struct adapter_stats *s)
{
	const struct memory *m = (const void *)a; /* its first member */

	*s = m->stats;
	s->subscriptions = m->subs.n;
}

static void memory_close(struct adapter *a, void (*closed)(void *arg), void *arg)
{
	struct memory *m = memory_of(a);

	assert(!m->closing);
	m->closing = true;
	m->closed = closed;
	m->closed_arg = arg;
}

static const struct adapter_ops memory_ops = {
	.name = "memory",
	.open = memory_open,
	.add_namespace = memory_add_namespace,
	.publish = memory_publish,
	.tell = memory_tell,
	.fence = memory_tell,
	.subscribe = memory_subscribe,
	.unsubscribe = memory_unsubscribe,
	.presence_add = memory_presence_add,
	.presence_remove = memory_presence_remove,
	.presence_list = memory_presence_list,
	.queue = memory_queue,
	.queue_watch = memory_queue_watch,
	.queue_unwatch = memory_queue_unwatch,
	.session = memory_session,
	.position = memory_position,
	.turn = memory_turn,
	.stats = memory_stats,
	.close = memory_close,
};

struct adapter *adapter_memory_new(const struct adapter_options *o)
{
	struct memory *m = mem_zalloc(1, sizeof(*m));
	uint64_t seed[2];

	assert(strlen(o->node_code) == NODE_CODE_LEN);
	m->base = (struct adapter){
		.ops = &memory_ops, .events = o->events, .ctx = o->ctx, .env = o->env};
	memcpy(m->base.node_code, o->node_code, NODE_CODE_LEN + 1);
	m->waiting_bytes_max = o->publish_waiting_bytes_max;
	link_init(&m->jobs);
	env_random(o->env, seed, sizeof(seed));
	table_init(&m->nsps, seed);
	table_init(&m->subs, seed);
	table_init(&m->rooms, seed);
	memory_queues_init(&m->queues, &m->base, o->publish_waiting_bytes_max, seed);
	memory_log_init(&m->log, &o->sessions, o->env, seed);
	memory_sessions_init(&m->sessions, &m->log, seed);
	m->stats.eras = o->sessions.on;
	buf_str(&m->uid, "gh-");
	buf_str(&m->uid, o->node_code);
	return &m->base;
}
