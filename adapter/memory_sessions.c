#include "adapter/memory_sessions.h"

#include <assert.h>
#include <stdlib.h>

#include "proto/cluster.h"
#include "proto/mem.h"

/* The room of a session, with all its stays from the floor on: at least one. */
struct stay {
	unsigned flags;
	struct session_span *spans;
	size_t n;
	struct slice name;
	uint8_t bytes[];
};

struct session {
	struct link by_end; /* in live or parked */
	bool parked;
	uint64_t ends_ms, generation, floor;
	struct table stays;	/* by the room's name */
	size_t spans_n, left_n; /* of all rooms; those that have ended */
	struct slice sid, pid, user, nsp;
	uint8_t bytes[];
};

/* Where a page goes on in one log. */
struct cursor {
	const struct room_log *log;
	size_t left;
};

static struct slice put(uint8_t **at, struct slice s)
{
	struct slice copy = {*at, s.n};

	if (s.n)
		memcpy(*at, s.p, s.n);
	*at += s.n;
	return copy;
}

static const struct room_log *log_of(struct memory_sessions *s, struct slice nsp,
				     struct slice room)
{
	buf_clear(&s->scratch);
	buf_slice(&s->scratch, nsp);
	buf_byte(&s->scratch, '#');
	buf_slice(&s->scratch, room);
	return memory_log_get(s->log, buf_view(&s->scratch));
}

void memory_sessions_init(struct memory_sessions *s, const struct memory_log *log,
			  const uint64_t seed[2])
{
	*s = (struct memory_sessions){.log = log, .seed = {seed[0], seed[1]}};
	table_init(&s->sessions, seed);
	link_init(&s->live);
	link_init(&s->parked);
}

static void stay_free(struct stay *stay)
{
	free(stay->spans);
	free(stay);
}

static void end(struct memory_sessions *s, struct session *e)
{
	size_t pos = 0;
	struct stay *stay;

	while ((stay = table_next(&e->stays, &pos)))
		stay_free(stay);
	table_deinit(&e->stays);
	list_remove(&e->by_end);
	table_remove(&s->sessions, e->sid);
	free(e);
}

static void end_before(struct memory_sessions *s, struct link *list, uint64_t ms)
{
	struct link *l;

	while ((l = list_first(list))) {
		struct session *e = container_of(l, struct session, by_end);

		if (e->ends_ms > ms)
			return;
		end(s, e);
	}
}

void memory_sessions_expire(struct memory_sessions *s, uint64_t now_ms)
{
	end_before(s, &s->live, now_ms);
	end_before(s, &s->parked, now_ms);
}

void memory_sessions_deinit(struct memory_sessions *s)
{
	end_before(s, &s->live, UINT64_MAX);
	end_before(s, &s->parked, UINT64_MAX);
	table_deinit(&s->sessions);
	free(s->rooms);
	free(s->messages);
	buf_deinit(&s->scratch);
}

/* Each list has one span of time, so its order is that of the ends. */
static void keep(struct memory_sessions *s, struct session *e, bool parked,
		 uint64_t now_ms)
{
	const struct session_options *o = &s->log->o;

	e->parked = parked;
	e->ends_ms = now_ms + o->window_ms + (parked ? 0 : o->renew_ms);
	list_remove(&e->by_end);
	list_push(parked ? &s->parked : &s->live, &e->by_end);
}

/* --- rooms --- */

static bool is_open(const struct session_span *span)
{
	return span->left == UINT64_MAX;
}

static void remove_span(struct session *e, struct stay *stay, size_t i)
{
	e->spans_n--;
	e->left_n -= !is_open(&stay->spans[i]);
	stay->n--;
	memmove(stay->spans + i, stay->spans + i + 1,
		(stay->n - i) * sizeof(*stay->spans));
}

/* A room without a span is none. */
static void tidy(struct session *e, struct stay *stay)
{
	while (stay->n && stay->spans[0].left <= e->floor)
		remove_span(e, stay, 0);
	if (stay->n)
		return;
	table_remove(&e->stays, stay->name);
	stay_free(stay);
}

static void tidy_all(struct session *e)
{
	struct stay **all, *stay;
	size_t n = 0, pos = 0;

	if (!e->left_n)
		return;
	all = mem_zalloc(e->stays.n, sizeof(struct stay *));
	while ((stay = table_next(&e->stays, &pos)))
		all[n++] = stay;
	for (size_t i = 0; i < n; i++)
		tidy(e, all[i]);
	free(all);
}

static struct stay *stay_of(struct session *e, struct slice room)
{
	struct stay *stay = table_get(&e->stays, room);
	uint8_t *at;

	if (stay)
		return stay;
	stay = mem_zalloc(1, sizeof(*stay) + room.n);
	at = stay->bytes;
	stay->name = put(&at, room);
	table_add(&e->stays, stay->name, stay);
	return stay;
}

static enum err enter(struct session *e, const struct session_request *r, uint64_t at)
{
	struct stay *stay = table_get(&e->stays, r->room);

	if (stay && is_open(&stay->spans[stay->n - 1])) {
		stay->flags = r->flags;
		return ERR_OK;
	}
	if (stay && stay->spans[stay->n - 1].left == at) { /* nothing came meanwhile */
		stay->flags = r->flags;
		stay->spans[stay->n - 1].left = UINT64_MAX;
		e->left_n--;
		return ERR_OK;
	}
	if (e->spans_n == SESSION_ROOMS_MAX || (stay && stay->n == SESSION_SPANS_MAX))
		return ERR_TOO_MANY;
	stay = stay_of(e, r->room);
	stay->flags = r->flags;
	stay->spans = mem_realloc(stay->spans, (stay->n + 1) * sizeof(*stay->spans));
	stay->spans[stay->n++] = (struct session_span){at, UINT64_MAX};
	e->spans_n++;
	tidy(e, stay);
	return ERR_OK;
}

static void leave(struct session *e, struct slice room, uint64_t number)
{
	struct stay *stay = table_get(&e->stays, room);
	struct session_span *span;

	if (!stay || !is_open(&stay->spans[stay->n - 1]))
		return;
	span = &stay->spans[stay->n - 1];
	if (number < span->joined) /* of an earlier stay */
		return;
	if (number == span->joined) { /* nothing came meanwhile */
		remove_span(e, stay, stay->n - 1);
	} else {
		span->left = number;
		e->left_n++;
	}
	tidy(e, stay);
}

/* --- what came for a session --- */

/* Does the log hold what was said in the room while the session was in it, behind
 * `after`? */
static bool stay_reaches(struct memory_sessions *s, const struct session *e,
			 const struct stay *stay, uint64_t after)
{
	const struct room_log *l = log_of(s, e->nsp, stay->name);

	for (size_t i = 0; i < stay->n; i++) {
		const struct session_span *span = &stay->spans[i];
		uint64_t from = span->joined > after ? span->joined : after;

		if (span->left > from && !memory_log_reaches(s->log, l, from))
			return false;
	}
	return true;
}

static bool reaches(struct memory_sessions *s, const struct session *e, uint64_t after)
{
	size_t pos = 0;
	struct stay *stay;

	if (!memory_log_reaches(s->log, log_of(s, e->nsp, SLICE_EMPTY), after) ||
	    !memory_log_reaches(s->log, log_of(s, e->nsp, e->sid), after))
		return false;
	while ((stay = table_next(&e->stays, &pos))) {
		if (!stay_reaches(s, e, stay, after))
			return false;
	}
	return true;
}

static void add_cursor(struct cursor *cursors, size_t *n, const struct room_log *l,
		       uint64_t after)
{
	size_t left = l ? room_log_after(l, after) : 0;

	if (left)
		cursors[(*n)++] = (struct cursor){l, left};
}

/* Those logs that have something for it. Its own id may also be a room it is in. */
static size_t open_cursors(struct memory_sessions *s, const struct session *e,
			   uint64_t after, struct cursor *cursors)
{
	size_t n = 0, pos = 0;
	struct stay *stay;

	add_cursor(cursors, &n, log_of(s, e->nsp, SLICE_EMPTY), after);
	add_cursor(cursors, &n, log_of(s, e->nsp, e->sid), after);
	while ((stay = table_next(&e->stays, &pos))) {
		if (!slice_eq(stay->name, e->sid) &&
		    stay->spans[stay->n - 1].left > after)
			add_cursor(cursors, &n, log_of(s, e->nsp, stay->name), after);
	}
	return n;
}

static const struct log_entry *entry_of(const struct cursor *c)
{
	return room_log_last(c->log, c->left);
}

static void sift(struct cursor *heap, size_t n, size_t i)
{
	for (;;) {
		size_t least = i, child = 2 * i + 1;
		struct cursor c = heap[i];

		for (size_t k = child; k < child + 2 && k < n; k++) {
			if (entry_of(&heap[k])->number < entry_of(&heap[least])->number)
				least = k;
		}
		if (least == i)
			return;
		heap[i] = heap[least];
		heap[least] = c;
		i = least;
	}
}

static void show(struct memory_sessions *s, struct session_reply *reply,
		 const struct log_entry *e)
{
	if (reply->messages_n == s->messages_cap) {
		s->messages_cap = s->messages_cap ? s->messages_cap * 2 : 16;
		s->messages =
			mem_realloc(s->messages, s->messages_cap * sizeof(*s->messages));
	}
	s->messages[reply->messages_n++] = slice_of(e->message, e->n);
	reply->messages = s->messages;
}

static enum err replay(struct memory_sessions *s, const struct session *e,
		       const struct session_request *r, struct session_reply *reply)
{
	struct cursor *heap;
	size_t n, bytes = 0;

	if (!reaches(s, e, r->number))
		return ERR_LOST;
	heap = mem_zalloc(e->stays.n + 2, sizeof(*heap));
	n = open_cursors(s, e, r->number, heap);
	for (size_t i = n; i-- > 0;)
		sift(heap, n, i);
	reply->number = r->number;
	while (n) {
		const struct log_entry *entry = entry_of(&heap[0]);

		bytes += entry->n;
		if (reply->messages_n && bytes > r->bytes_max)
			break;
		show(s, reply, entry);
		reply->number = entry->number;
		if (--heap[0].left == 0)
			heap[0] = heap[--n];
		sift(heap, n, 0);
	}
	free(heap);
	reply->end = n == 0;
	if (reply->end)
		reply->number = s->log->seq;
	return ERR_OK;
}

/* The last ones that fit; one is given whatever its size. */
static void history(struct memory_sessions *s, const struct session *e,
		    const struct session_request *r, struct session_reply *reply)
{
	const struct room_log *l = log_of(s, e->nsp, r->room);
	size_t n = 0, bytes = 0;

	while (l && n < l->n && n < r->history) {
		bytes += room_log_last(l, n + 1)->n;
		if (n && bytes > r->bytes_max)
			break;
		n++;
	}
	for (; n; n--)
		show(s, reply, room_log_last(l, n));
}

/* --- operations --- */

static void begin(struct memory_sessions *s, const struct session_request *r,
		  uint64_t now_ms)
{
	struct session *e = table_get(&s->sessions, r->sid);
	uint8_t *at;

	assert(r->sid.n == ID_LEN);
	assert(r->pid.n == PID_LEN);
	if (e && slice_eq(e->pid, r->pid))
		return;
	if (e)
		end(s, e);
	e = mem_zalloc(1, sizeof(*e) + r->sid.n + r->pid.n + r->user.n + r->nsp.n);
	at = e->bytes;
	e->sid = put(&at, r->sid);
	e->pid = put(&at, r->pid);
	e->user = put(&at, r->user);
	e->nsp = put(&at, r->nsp);
	e->generation = 1;
	e->floor = r->number;
	table_init(&e->stays, s->seed);
	link_init(&e->by_end);
	table_add(&s->sessions, e->sid, e);
	keep(s, e, false, now_ms);
}

/* What a client says it has counts if it can be: the offset is not secret, and one that
 * nobody was given is its own loss. */
static enum err start_of(const struct memory_sessions *s, const struct session *e,
			 struct slice offset, uint64_t *start)
{
	struct slice era;
	uint64_t number;

	*start = e->floor;
	if (cluster_offset(offset, &era, &number) ||
	    !slice_eq(era, slice_of(s->log->era, ERA_LEN)))
		return ERR_OK;
	if (number > s->log->seq)
		return ERR_LOST;
	if (number > *start)
		*start = number;
	return ERR_OK;
}

static void show_rooms(struct memory_sessions *s, const struct session *e,
		       struct session_reply *reply)
{
	size_t pos = 0;
	struct stay *stay;

	if (e->stays.n > s->rooms_cap) {
		s->rooms_cap = e->stays.n;
		s->rooms = mem_realloc(s->rooms, s->rooms_cap * sizeof(*s->rooms));
	}
	while ((stay = table_next(&e->stays, &pos)))
		s->rooms[reply->rooms_n++] = (struct session_room){
			stay->name, stay->flags, stay->spans, stay->n};
	reply->rooms = s->rooms;
}

/* All the time the same, whatever of it is right. */
static bool same_secret(struct slice a, struct slice b)
{
	unsigned differ = 0;

	if (a.n != b.n)
		return false;
	for (size_t i = 0; i < a.n; i++)
		differ |= (unsigned)(a.p[i] ^ b.p[i]);
	return !differ;
}

static enum err take(struct memory_sessions *s, struct session *e,
		     const struct session_request *r, uint64_t now_ms,
		     struct session_reply *reply, bool *taken)
{
	uint64_t start;
	enum err err;

	if (!same_secret(e->pid, r->pid) || !slice_eq(e->user, r->user) ||
	    !slice_eq(e->nsp, r->nsp))
		return ERR_NOT_FOUND;
	err = start_of(s, e, r->offset, &start);
	if (err)
		return err;
	if (!reaches(s, e, start))
		return ERR_LOST;
	reply->generation = ++e->generation;
	reply->parked = e->parked;
	*taken = !e->parked;
	reply->number = start;
	show_rooms(s, e, reply);
	keep(s, e, false, now_ms);
	return ERR_OK;
}

static enum err join(struct memory_sessions *s, struct session *e,
		     const struct session_request *r, struct session_reply *reply)
{
	enum err err = enter(e, r, s->log->seq);

	if (err)
		return err;
	reply->number = s->log->seq;
	history(s, e, r, reply);
	return ERR_OK;
}

static void renew(struct memory_sessions *s, struct session *e, uint64_t number,
		  uint64_t now_ms)
{
	if (number > e->floor)
		e->floor = number;
	tidy_all(e);
	keep(s, e, false, now_ms);
}

enum err memory_sessions_run(struct memory_sessions *s, const struct session_request *r,
			     uint64_t now_ms, struct session_reply *reply, bool *taken)
{
	struct session *e = table_get(&s->sessions, r->sid);

	*reply = (struct session_reply){0};
	*taken = false;
	if (r->op != SESSION_NEW && !e)
		return ERR_NOT_FOUND;
	if (r->op != SESSION_NEW && r->op != SESSION_TAKE &&
	    r->generation != e->generation)
		return ERR_CLOSED;
	switch (r->op) {
	case SESSION_NEW:
		begin(s, r, now_ms);
		return ERR_OK;
	case SESSION_JOIN:
		return join(s, e, r, reply);
	case SESSION_LEAVE:
		leave(e, r->room, r->number);
		return ERR_OK;
	case SESSION_RENEW:
		renew(s, e, r->number, now_ms);
		return ERR_OK;
	case SESSION_PARK:
		keep(s, e, true, now_ms);
		return ERR_OK;
	case SESSION_END:
		end(s, e);
		return ERR_OK;
	case SESSION_TAKE:
		return take(s, e, r, now_ms, reply, taken);
	case SESSION_REPLAY:
		return replay(s, e, r, reply);
	case SESSION_OPS:
		break;
	}
	abort();
}
