#include "adapter/memory_log.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/cluster.h"
#include "proto/mem.h"

enum { ENTRIES_FEW = 4 };
static_assert(ERA_LEN + 1 + 20 < OFFSET_MAX, "any number fits behind an era");

/* No `-`, which is what an era ends with in an offset. */
static void draw_era(const struct env *env, char era[ERA_LEN])
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				       "abcdefghijklmnopqrstuvwxyz0123456789";
	uint8_t random[ERA_LEN];

	env_random(env, random, sizeof(random));
	for (size_t i = 0; i < ERA_LEN; i++)
		era[i] = alphabet[random[i] % (sizeof(alphabet) - 1)];
}

void memory_log_init(struct memory_log *m, const struct session_options *o,
		     const struct env *env, const uint64_t seed[2])
{
	*m = (struct memory_log){.o = *o};
	table_init(&m->logs, seed);
	link_init(&m->by_age);
	if (o->on)
		draw_era(env, m->era);
}

static struct room_log *log_at(struct link *l)
{
	return container_of(l, struct room_log, by_age);
}

static void drop_first(struct room_log *l)
{
	assert(l->n);
	l->bytes -= l->v[l->first].n;
	free(l->v[l->first].message);
	l->first++;
	l->n--;
}

static void forget(struct memory_log *m, struct room_log *l)
{
	while (l->n)
		drop_first(l);
	list_remove(&l->by_age);
	table_remove(&m->logs, l->key);
	free(l->v);
	free(l);
}

void memory_log_deinit(struct memory_log *m)
{
	struct link *l;

	while ((l = list_first(&m->by_age)))
		forget(m, log_at(l));
	table_deinit(&m->logs);
}

static struct room_log *log_of(struct memory_log *m, struct slice key)
{
	struct room_log *l = table_get(&m->logs, key);

	if (l)
		return l;
	l = mem_zalloc(1, sizeof(*l) + key.n);
	memcpy(l->key_bytes, key.p, key.n);
	l->key = slice_of(l->key_bytes, key.n);
	link_init(&l->by_age);
	table_add(&m->logs, l->key, l);
	return l;
}

/* Room for one more behind the last: what was dropped in front is used first, once it is
 * half of all, so that each entry is moved once on average. */
static void make_room(struct room_log *l)
{
	if (l->first + l->n < l->cap)
		return;
	if (l->first > l->n) {
		memmove(l->v, l->v + l->first, l->n * sizeof(*l->v));
		l->first = 0;
		return;
	}
	l->cap = l->cap ? l->cap * 2 : ENTRIES_FEW;
	l->v = mem_realloc(l->v, l->cap * sizeof(*l->v));
}

/* A session's floor is as old as the ping whose answer renewed it last; until then it may
 * have lived for renew_ms without, and then be parked for the window. */
static uint64_t age_max(const struct memory_log *m)
{
	return m->o.window_ms + 2 * m->o.renew_ms;
}

static bool too_old(const struct memory_log *m, uint64_t ms, uint64_t now_ms)
{
	return now_ms - ms > age_max(m);
}

static void drop_old(struct memory_log *m, struct room_log *l, uint64_t now_ms)
{
	while (l->n && too_old(m, l->v[l->first].ms, now_ms)) {
		if (l->v[l->first].number > m->aged)
			m->aged = l->v[l->first].number;
		drop_first(l);
	}
}

static void cut(struct memory_log *m, struct room_log *l, bool nsp_wide)
{
	uint64_t n_max = nsp_wide ? m->o.nsp_log_events_max : m->o.log_events_max;
	uint64_t bytes_max = nsp_wide ? m->o.nsp_log_bytes_max : m->o.log_bytes_max;

	while (l->n > n_max || l->bytes > bytes_max) {
		l->cut = l->v[l->first].number;
		m->cuts++;
		drop_first(l);
	}
}

void memory_log_add(struct memory_log *m, struct slice key, bool nsp_wide,
		    uint64_t now_ms, struct buf *message)
{
	struct room_log *l = log_of(m, key);
	struct log_entry *e;

	assert(m->o.on);
	m->seq++;
	m->offset_n = (size_t)snprintf(m->offset, sizeof(m->offset), "%.*s-%llu", ERA_LEN,
				       m->era, (unsigned long long)m->seq);
	cluster_put_offset(message, memory_log_offset(m));
	make_room(l);
	e = &l->v[l->first + l->n++];
	*e = (struct log_entry){.number = m->seq,
				.ms = now_ms,
				.message = mem_alloc(message->n),
				.n = message->n};
	memcpy(e->message, message->p, message->n);
	l->bytes += e->n;
	l->last_ms = now_ms;
	list_remove(&l->by_age);
	list_push(&m->by_age, &l->by_age);
	drop_old(m, l, now_ms);
	cut(m, l, nsp_wide);
}

struct slice memory_log_offset(const struct memory_log *m)
{
	return slice_of(m->offset, m->offset_n);
}

/* What a cap had cut off is as old, so `aged` says it, too, once the log is forgotten. */
void memory_log_expire(struct memory_log *m, uint64_t now_ms)
{
	struct link *at;

	while ((at = list_first(&m->by_age))) {
		struct room_log *l = log_at(at);

		if (!too_old(m, l->last_ms, now_ms))
			return;
		if (l->cut > m->aged)
			m->aged = l->cut;
		drop_old(m, l, now_ms);
		forget(m, l);
	}
}

const struct room_log *memory_log_get(const struct memory_log *m, struct slice key)
{
	return table_get(&m->logs, key);
}

bool memory_log_reaches(const struct memory_log *m, const struct room_log *l,
			uint64_t after)
{
	return after >= m->aged && (!l || after >= l->cut);
}

size_t room_log_after(const struct room_log *l, uint64_t number)
{
	size_t lo = 0, hi = l->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (l->v[l->first + mid].number <= number)
			lo = mid + 1;
		else
			hi = mid;
	}
	return l->n - lo;
}

const struct log_entry *room_log_last(const struct room_log *l, size_t left)
{
	assert(left > 0);
	assert(left <= l->n);
	return &l->v[l->first + l->n - left];
}
