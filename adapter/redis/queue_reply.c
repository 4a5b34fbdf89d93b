#include "adapter/redis/queue_reply.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

enum { NUMBER_DIGITS_MAX = 16 };

static const char *const functions[QUEUE_OPS] = {
	[QUEUE_PUSH] = "gh_push",	    [QUEUE_TAKE] = "gh_take",
	[QUEUE_DONE] = "gh_done",	    [QUEUE_FAIL] = "gh_fail",
	[QUEUE_RELEASE] = "gh_release",	    [QUEUE_EXTEND] = "gh_extend",
	[QUEUE_REAP] = "gh_reap",	    [QUEUE_PEEK] = "gh_peek",
	[QUEUE_DEAD_LIST] = "gh_dead_list", [QUEUE_DEAD_REQUEUE] = "gh_dead_requeue",
	[QUEUE_DEAD_DROP] = "gh_dead_drop", [QUEUE_STATS] = "gh_stats",
};

/* --- commands --- */

/* Words of a command, counted while they are put together. */
struct words {
	struct buf bytes;
	size_t n;
};

static void word(struct words *w, struct slice s)
{
	resp_word(&w->bytes, s);
	w->n++;
}

static void number(struct words *w, uint64_t n)
{
	resp_word_u64(&w->bytes, n);
	w->n++;
}

static void option(struct words *w, const char *name, uint64_t ms)
{
	if (!ms)
		return;
	word(w, slice_str(name));
	number(w, ms);
}

static void text_option(struct words *w, const char *name, struct slice s)
{
	if (!s.n)
		return;
	word(w, slice_str(name));
	word(w, s);
}

static void settings(struct words *w, const struct queue_settings *s)
{
	char text[5 * 21];

	if (!s)
		return;
	snprintf(text, sizeof(text),
		 "%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64,
		 s->length_max, s->bytes_max, s->failures_max, s->backoff_ms,
		 s->backoff_ms_max);
	text_option(w, "settings", slice_str(text));
}

static void refs(struct words *w, const struct queue_request *r, bool tokens)
{
	for (size_t i = 0; i < r->refs_n; i++) {
		number(w, r->refs[i].id);
		if (tokens)
			number(w, r->refs[i].token);
	}
}

static void arguments(struct words *w, const struct queue_request *r)
{
	switch (r->op) {
	case QUEUE_PUSH:
		word(w, r->payload);
		text_option(w, "group", r->group);
		text_option(w, "key", r->key);
		option(w, "delay", r->delay_ms);
		option(w, "ttl", r->ttl_ms);
		option(w, "keep", r->keep_ms);
		settings(w, r->settings);
		break;
	case QUEUE_TAKE:
		word(w, r->consumer);
		number(w, r->lease_ms);
		number(w, r->limit);
		settings(w, r->settings);
		break;
	case QUEUE_DONE:
		refs(w, r, true);
		break;
	case QUEUE_FAIL:
		refs(w, r, true);
		word(w, r->why);
		break;
	case QUEUE_RELEASE:
		number(w, r->delay_ms);
		refs(w, r, true);
		break;
	case QUEUE_EXTEND:
		number(w, r->lease_ms);
		refs(w, r, true);
		break;
	case QUEUE_REAP:
		number(w, r->limit);
		break;
	case QUEUE_PEEK:
	case QUEUE_DEAD_LIST:
		number(w, r->after);
		number(w, r->limit);
		break;
	case QUEUE_DEAD_REQUEUE:
	case QUEUE_DEAD_DROP:
		refs(w, r, false);
		if (!r->refs_n)
			word(w, SLICE_LIT("all"));
		break;
	case QUEUE_STATS:
	case QUEUE_OPS:
		break;
	}
}

void redis_queue_command(struct buf *out, struct slice key, const struct queue_request *r)
{
	struct words w = {BUF_INIT, 0};

	assert(r->op < QUEUE_OPS);
	arguments(&w, r);
	resp_command(out, 4 + w.n);
	resp_word_str(out, "FCALL");
	resp_word_str(out, functions[r->op]);
	resp_word_str(out, "1");
	resp_word(out, key);
	buf_slice(out, buf_view(&w.bytes));
	buf_deinit(&w.bytes);
}

/* --- replies --- */

static bool read_number(const struct resp *r, uint64_t *n)
{
	*n = 0;
	if (r->type == RESP_INT && r->i >= 0) {
		*n = (uint64_t)r->i;
		return true;
	}
	if (r->type != RESP_STR || !r->s.n || r->s.n > NUMBER_DIGITS_MAX)
		return false;
	for (size_t i = 0; i < r->s.n; i++) {
		if (r->s.p[i] < '0' || r->s.p[i] > '9')
			return false;
		*n = *n * 10 + (uint64_t)(r->s.p[i] - '0');
	}
	return true;
}

static bool read_taken(const struct resp *r, struct queue_message *m)
{
	*m = (struct queue_message){.state = QUEUE_MESSAGE_IN_FLIGHT};
	if (!resp_is_array(r, 6) || r->v[2].type != RESP_STR || r->v[5].type != RESP_STR)
		return false;
	m->group = r->v[2].s;
	m->payload = r->v[5].s;
	return read_number(&r->v[0], &m->id) && read_number(&r->v[1], &m->token) &&
	       read_number(&r->v[3], &m->failures) && read_number(&r->v[4], &m->lost);
}

static bool read_seen(const struct resp *r, struct queue_message *m)
{
	static const char *const states[] = {
		[QUEUE_MESSAGE_WAITING] = "waiting",
		[QUEUE_MESSAGE_DELAYED] = "delayed",
		[QUEUE_MESSAGE_IN_FLIGHT] = "in flight",
		[QUEUE_MESSAGE_DEAD] = "dead",
	};

	*m = (struct queue_message){.state = QUEUE_MESSAGE_WAITING};
	if (!resp_is_array(r, 7) || r->v[1].type != RESP_STR ||
	    r->v[4].type != RESP_STR || r->v[5].type != RESP_STR ||
	    r->v[6].type != RESP_STR)
		return false;
	m->group = r->v[1].s;
	m->payload = r->v[4].s;
	m->error = r->v[6].s;
	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
		if (slice_eq(r->v[5].s, slice_str(states[i])))
			m->state = (enum queue_message_state)i;
	}
	return read_number(&r->v[0], &m->id) && read_number(&r->v[2], &m->failures) &&
	       read_number(&r->v[3], &m->lost);
}

static bool read_page(const struct resp *r, struct queue_message *page,
		      bool (*read)(const struct resp *, struct queue_message *),
		      struct queue_reply *reply)
{
	if (r->type != RESP_ARRAY)
		return false;
	for (size_t i = 0; i < r->n; i++) {
		if (!read(&r->v[i], &page[i]))
			return false;
	}
	reply->messages = page;
	reply->n = r->n;
	return true;
}

static bool read_stats(const struct resp *r, struct queue_stats *s)
{
	static const struct {
		const char *name;
		size_t offset;
	} rows[] = {
#define QUEUE_STATS_ROW_(name) {#name, offsetof(struct queue_stats, name)},
		QUEUE_STATS_TABLE(QUEUE_STATS_ROW_)
#undef QUEUE_STATS_ROW_
	};

	if (r->type != RESP_ARRAY)
		return false;
	for (size_t i = 0; i + 1 < r->n; i += 2) {
		for (size_t k = 0; k < sizeof(rows) / sizeof(rows[0]); k++) {
			uint64_t n;

			if (!slice_eq(r->v[i].s, slice_str(rows[k].name)))
				continue;
			if (!read_number(&r->v[i + 1], &n))
				return false;
			memcpy((char *)s + rows[k].offset, &n, sizeof(n));
		}
	}
	return true;
}

bool redis_queue_reply(enum queue_op op, const struct resp *r, struct queue_message *page,
		       struct queue_reply *reply)
{
	*reply = (struct queue_reply){.wait_ms = -1};
	switch (op) {
	case QUEUE_TAKE:
		if (!resp_is_array(r, 2) || r->v[0].type != RESP_INT)
			return false;
		reply->wait_ms = r->v[0].i;
		return read_page(&r->v[1], page, read_taken, reply);
	case QUEUE_PEEK:
	case QUEUE_DEAD_LIST:
		return read_page(r, page, read_seen, reply);
	case QUEUE_STATS:
		return read_stats(r, &reply->stats);
	case QUEUE_PUSH:
	case QUEUE_DONE:
	case QUEUE_FAIL:
	case QUEUE_RELEASE:
	case QUEUE_EXTEND:
	case QUEUE_REAP:
	case QUEUE_DEAD_REQUEUE:
	case QUEUE_DEAD_DROP:
		return read_number(r, &reply->number);
	case QUEUE_OPS:
		break;
	}
	return false;
}
