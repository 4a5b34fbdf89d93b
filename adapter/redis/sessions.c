#include "adapter/redis/sessions.h"

#include <assert.h>
#include <stdlib.h>

#include "proto/mem.h"

enum {
	BACKLOG_BYTES_MAX = 1024 * 1024,
	REPLAYS_MAX = 16, /* at a time: their pages wait in Redis's output buffer */
};

struct op {
	struct redis_call call; /* its link is also that of the lists */
	struct redis_sessions *sessions;
	enum session_op kind;
	struct done done;
	bool finished; /* `done` was told; the answer is still to come */
	bool tabled;   /* in `tokens` */
	bool marked;   /* in the list of that name */
	uint64_t deadline_ms;
	uint64_t token, epoch; /* of the last time it was written */
	size_t words, n;
	uint8_t bytes[]; /* the words behind those that change from time to time */
};

static struct op *op_of(struct link *l)
{
	return container_of(l, struct op, call.link);
}

static size_t cost_of(size_t bytes)
{
	return sizeof(struct op) + bytes;
}

void redis_sessions_init(struct redis_sessions *s, struct redis_core *core,
			 struct redis_link *link, struct redis_stream *stream)
{
	*s = (struct redis_sessions){.core = core, .link = link, .stream = stream};
	link_init(&s->waiting);
	link_init(&s->replays);
	link_init(&s->again);
	link_init(&s->marked);
	table_init(&s->tokens, core->seed);
}

void redis_sessions_deinit(struct redis_sessions *s)
{
	assert(list_empty(&s->waiting) && list_empty(&s->again));
	assert(list_empty(&s->replays) && list_empty(&s->marked));
	table_deinit(&s->tokens);
	free(s->rooms);
	free(s->spans);
}

static bool is_in_stream(const struct op *op)
{
	return op->kind == SESSION_JOIN || op->kind == SESSION_REPLAY;
}

static struct slice token_of(const struct op *op)
{
	return slice_of(&op->token, sizeof(op->token));
}

static void untable(struct op *op)
{
	struct redis_sessions *s = op->sessions;

	if (!op->tabled)
		return;
	op->tabled = false;
	table_remove(&s->tokens, token_of(op));
	if (op->kind == SESSION_REPLAY)
		s->replaying--;
}

static void op_free(struct op *op)
{
	untable(op);
	op->sessions->bytes -= cost_of(op->n);
	free(op);
}

static void finish(struct op *op, enum err err, bool now)
{
	struct redis_core *c = op->sessions->core;
	struct done done = op->done;

	op_free(op);
	if (now)
		done_run(done, err);
	else
		redis_core_later(c, done, err);
}

/* --- asking --- */

static const char *name_of(enum session_op op)
{
	static const char *const names[SESSION_OPS] = {
		[SESSION_NEW] = "new",	   [SESSION_JOIN] = "join",
		[SESSION_LEAVE] = "leave", [SESSION_RENEW] = "renew",
		[SESSION_PARK] = "park",   [SESSION_END] = "end",
		[SESSION_TAKE] = "take",   [SESSION_REPLAY] = "replay",
	};

	return names[op];
}

static size_t put_words(const struct redis_sessions *s, const struct session_request *r,
			struct buf *out)
{
	const struct session_options *o = &s->core->options.sessions;
	struct slice code = slice_str(s->core->base.node_code);
	uint64_t live_ms = o->window_ms + o->renew_ms;
	struct buf offset = BUF_INIT;
	size_t words = 0;

	/* The era is the one in which the number was said. */
	redis_stream_put_offset(s->stream, r->number, &offset);
	resp_word(out, r->sid);
	switch (r->op) {
	case SESSION_NEW:
		resp_word(out, r->pid);
		resp_word(out, r->nsp);
		resp_word(out, r->user);
		resp_word(out, code);
		resp_word(out, buf_view(&offset));
		resp_word_u64(out, live_ms);
		words = 7;
		break;
	case SESSION_TAKE:
		resp_word(out, r->pid);
		resp_word(out, r->nsp);
		resp_word(out, r->user);
		resp_word(out, r->offset);
		resp_word(out, code);
		resp_word_u64(out, live_ms);
		words = 7;
		break;
	case SESSION_JOIN:
		resp_word_u64(out, r->generation);
		resp_word(out, r->room);
		resp_word_u64(out, r->flags);
		resp_word_u64(out, r->history);
		resp_word_u64(out, r->bytes_max);
		words = 6;
		break;
	case SESSION_LEAVE:
		resp_word_u64(out, r->generation);
		resp_word(out, r->room);
		resp_word_u64(out, r->number);
		words = 4;
		break;
	case SESSION_RENEW:
		resp_word_u64(out, r->generation);
		resp_word(out, buf_view(&offset));
		resp_word_u64(out, live_ms);
		resp_word(out, r->arrived ? code : SLICE_EMPTY);
		words = 5;
		break;
	case SESSION_PARK:
		resp_word_u64(out, r->generation);
		resp_word_u64(out, o->window_ms);
		words = 3;
		break;
	case SESSION_END:
		resp_word_u64(out, r->generation);
		words = 2;
		break;
	case SESSION_REPLAY:
		resp_word_u64(out, r->generation);
		resp_word(out, buf_view(&offset));
		resp_word_u64(out, r->bytes_max);
		words = 4;
		break;
	case SESSION_OPS:
		break;
	}
	buf_deinit(&offset);
	return words;
}

static void on_answer(struct redis_call *call, const struct resp *r);

void redis_sessions_ask(struct redis_sessions *s, const struct session_request *r,
			struct done done)
{
	struct redis_core *c = s->core;
	size_t max = c->options.publish_waiting_bytes_max, cost, count;
	struct buf words = BUF_INIT;
	struct op *op;

	assert(redis_stream_on(s->stream));
	count = put_words(s, r, &words);
	cost = cost_of(words.n);
	if (c->closing || cost > max || s->bytes > max - cost) {
		redis_core_later(c, done, c->closing ? ERR_CLOSED : ERR_FULL);
		buf_deinit(&words);
		return;
	}
	op = mem_zalloc(1, sizeof(*op) + words.n);
	op->call = (struct redis_call){.on_reply = on_answer};
	link_init(&op->call.link);
	op->sessions = s;
	op->kind = r->op;
	op->done = done;
	op->deadline_ms = redis_core_now(c) + c->options.publish_wait_ms_max;
	op->words = count;
	op->n = words.n;
	memcpy(op->bytes, words.p, words.n);
	s->bytes += cost;
	list_push(r->op == SESSION_REPLAY ? &s->replays : &s->waiting, &op->call.link);
	buf_deinit(&words);
}

static void write_op(struct redis_sessions *s, struct op *op)
{
	struct redis_stream *stream = s->stream;
	struct buf *out = redis_link_out(s->link);

	untable(op);
	op->token = ++stream->token;
	op->epoch = s->epoch;
	if (is_in_stream(op)) {
		op->tabled = true;
		table_add(&s->tokens, token_of(op), op);
		s->replaying += op->kind == SESSION_REPLAY;
	}
	resp_command(out, 9 + op->words);
	resp_word_str(out, "FCALL");
	resp_word_str(out, "gh_session");
	resp_word_str(out, "1");
	resp_word(out, buf_view(&stream->base));
	resp_word_str(out, name_of(op->kind));
	resp_word_str(out, s->link->run_id);
	resp_word_str(out, stream->next_era);
	resp_word(out, buf_view(&stream->channel));
	resp_word_u64(out, op->token);
	buf_append(out, op->bytes, op->n);
	s->unanswered++;
	redis_link_expect(s->link, &op->call);
}

void redis_sessions_turn(struct redis_sessions *s, bool up)
{
	struct link *l;

	if (s->unanswered == 0) { /* all that is to be asked again is together */
		list_splice(&s->again, &s->waiting);
		list_splice(&s->waiting, &s->again);
	}
	if (!up || !list_empty(&s->again) ||
	    (list_empty(&s->waiting) && list_empty(&s->replays)) ||
	    !redis_library_want(s->stream->library))
		return;
	while (redis_link_backlog(s->link) < BACKLOG_BYTES_MAX &&
	       (l = list_pop(&s->waiting)))
		write_op(s, op_of(l));
	while (redis_link_backlog(s->link) < BACKLOG_BYTES_MAX &&
	       s->replaying < REPLAYS_MAX && (l = list_pop(&s->replays)))
		write_op(s, op_of(l));
}

/* --- answers --- */

static void again(struct op *op)
{
	struct redis_sessions *s = op->sessions;

	untable(op);
	list_push(&s->again, &op->call.link);
}

static enum err error_of(struct redis_sessions *s, struct slice error)
{
	if (slice_starts(error, SLICE_LIT("NOSESSION")))
		return ERR_NOT_FOUND;
	if (slice_starts(error, SLICE_LIT("STALE")))
		return ERR_CLOSED;
	if (slice_starts(error, SLICE_LIT("LOST")))
		return ERR_LOST;
	if (slice_starts(error, SLICE_LIT("TOOMANY")))
		return ERR_TOO_MANY;
	redis_library_refused(s->stream->library, error);
	if (redis_link_is_passing(error) || slice_starts(error, SLICE_LIT("BUSY")) ||
	    slice_starts(error, SLICE_LIT("OOM")))
		return ERR_UNAVAILABLE;
	return ERR_DENIED;
}

static struct session_span *span_at(struct redis_sessions *s, size_t i)
{
	if (i == s->spans_cap) {
		s->spans_cap = s->spans_cap ? s->spans_cap * 2 : 16;
		s->spans = mem_realloc(s->spans, s->spans_cap * sizeof(*s->spans));
	}
	return &s->spans[i];
}

static bool take_number(struct slice *text, uint64_t *n)
{
	size_t i = 0;

	for (*n = 0; i < text->n && text->p[i] >= '0' && text->p[i] <= '9'; i++)
		*n = *n * 10 + (uint64_t)(text->p[i] - '0');
	*text = slice_skip(*text, i);
	return i > 0 && i <= 15;
}

static bool take_char(struct slice *text, uint8_t c)
{
	if (!text->n || text->p[0] != c)
		return false;
	*text = slice_skip(*text, 1);
	return true;
}

/* `<flags>:<joined>-<left> <joined>-`, appended to s->spans. */
static bool read_spans(struct redis_sessions *s, struct slice text, unsigned *flags,
		       size_t *n)
{
	uint64_t number;

	if (!take_number(&text, &number) || !take_char(&text, ':'))
		return false;
	*flags = (unsigned)number;
	while (text.n) {
		struct session_span *span = span_at(s, *n);

		if (!take_number(&text, &span->joined) || !take_char(&text, '-'))
			return false;
		span->left = UINT64_MAX;
		if (text.n && text.p[0] != ' ' && !take_number(&text, &span->left))
			return false;
		(*n)++;
		if (text.n && !take_char(&text, ' '))
			return false;
	}
	return true;
}

/* {generation, parked, number, {room, spans, …}} */
static bool read_taken(struct redis_sessions *s, const struct resp *r,
		       struct session_reply *reply)
{
	size_t spans_n = 0, at = 0;
	const struct resp *rooms;

	if (!resp_is_array(r, 4) || r->v[0].type != RESP_INT ||
	    r->v[1].type != RESP_INT || r->v[2].type != RESP_INT ||
	    r->v[3].type != RESP_ARRAY)
		return false;
	rooms = &r->v[3];
	*reply = (struct session_reply){.generation = (uint64_t)r->v[0].i,
					.parked = r->v[1].i != 0,
					.number = (uint64_t)r->v[2].i,
					.rooms_n = rooms->n / 2};
	if (reply->rooms_n > s->rooms_cap) {
		s->rooms_cap = reply->rooms_n;
		s->rooms = mem_realloc(s->rooms, s->rooms_cap * sizeof(*s->rooms));
	}
	for (size_t i = 0; i < reply->rooms_n; i++) {
		size_t before = spans_n;

		s->rooms[i] = (struct session_room){.name = rooms->v[2 * i].s};
		if (!read_spans(s, rooms->v[2 * i + 1].s, &s->rooms[i].flags, &spans_n))
			return false;
		s->rooms[i].spans_n = spans_n - before;
	}
	for (size_t i = 0; i < reply->rooms_n; i++) { /* they have moved as they grew */
		s->rooms[i].spans = s->spans + at;
		at += s->rooms[i].spans_n;
	}
	reply->rooms = s->rooms;
	return true;
}

static void answered(struct op *op, const struct resp *r)
{
	struct redis_sessions *s = op->sessions;
	struct session_reply reply = {0};
	struct done done = op->done;

	if (op->kind == SESSION_TAKE && !read_taken(s, r, &reply)) {
		redis_library_refused(s->stream->library,
				      SLICE_LIT("not the expected answer"));
		finish(op, ERR_DENIED, true);
		return;
	}
	if (op->kind == SESSION_LEAVE && resp_is_array(r, 2) && r->v[0].type == RESP_INT)
		redis_stream_on_published(s->stream, (uint64_t)r->v[0].i, r->v[1].s);
	op_free(op);
	if (done.session)
		done.session(done.arg, ERR_OK, &reply);
}

static void mark(struct op *op)
{
	op->marked = true;
	list_push(&op->sessions->marked, &op->call.link);
}

/* Was it not done, or did nobody hear what came of it? */
static bool is_to_be_asked_again(struct op *op, const struct resp *r)
{
	struct redis_sessions *s = op->sessions;

	if (!r || redis_library_missing(s->stream->library, r))
		return true;
	return is_in_stream(op) && r->type != RESP_ERROR &&
	       (op->epoch != s->epoch || r->type != RESP_INT || r->i == 0);
}

static void on_answer(struct redis_call *call, const struct resp *r)
{
	struct op *op = container_of(call, struct op, call);
	struct redis_sessions *s = op->sessions;

	s->unanswered--;
	if (op->finished)
		op_free(op);
	else if (!r && s->core->closing)
		finish(op, ERR_CLOSED, true);
	else if (is_to_be_asked_again(op, r))
		again(op);
	else if (r->type == RESP_ERROR)
		finish(op, error_of(s, r->s), true);
	else if (!is_in_stream(op))
		answered(op, r);
	else
		mark(op);
}

void redis_sessions_on_reply(struct redis_sessions *s, uint64_t token, uint64_t number,
			     bool end, const struct slice *messages, size_t n)
{
	struct op *op = table_get(&s->tokens, slice_of(&token, sizeof(token)));
	const struct session_reply reply = {
		.number = number, .messages = messages, .messages_n = n, .end = end};
	struct done done;

	/* One of before a cut is asked again: what was missed by then comes later. */
	if (!op || op->epoch != s->epoch)
		return;
	done = op->done;
	untable(op);
	if (op->marked) {
		list_remove(&op->call.link);
		op_free(op);
	} else { /* the answer is still to come */
		op->finished = true;
	}
	if (done.session)
		done.session(done.arg, ERR_OK, &reply);
}

void redis_sessions_on_deaf(struct redis_sessions *s)
{
	struct link later, *l;

	s->epoch++;
	link_init(&later);
	list_splice(&later, &s->again);
	while ((l = list_pop(&s->marked))) {
		op_of(l)->marked = false;
		again(op_of(l));
	}
	list_splice(&s->again, &later);
}

/* --- ends --- */

static void give_up(struct link *list, uint64_t now)
{
	struct link *it, *tmp;

	list_each(it, tmp, list)
	{
		struct op *op = op_of(it);

		if (now < op->deadline_ms)
			continue; /* one that is asked again has an earlier one */
		list_remove(it);
		finish(op, ERR_UNAVAILABLE, false);
	}
}

void redis_sessions_tick(struct redis_sessions *s, bool up, uint64_t now)
{
	if (up)
		return;
	give_up(&s->waiting, now);
	give_up(&s->again, now);
	give_up(&s->replays, now);
}

void redis_sessions_close(struct redis_sessions *s)
{
	struct link *l;

	list_splice(&s->again, &s->marked);
	list_splice(&s->again, &s->waiting);
	list_splice(&s->again, &s->replays);
	while ((l = list_pop(&s->again)))
		finish(op_of(l), ERR_CLOSED, false);
}
