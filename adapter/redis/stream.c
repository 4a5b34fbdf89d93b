#include "adapter/redis/stream.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/mem.h"

enum {
	RETRY_MS = 200,
	SYNC_MS = 2000,	      /* between looks at whether data was lost */
	AGE_SLACK_MS = 60000, /* entries are kept for so much longer than sessions */
};

static void on_synced(struct redis_call *call, const struct resp *r);

/* An era to begin, if one must be: never the same again. */
static void draw_era(struct redis_stream *s)
{
	static const char digits[] = "abcdefghijklmnopqrstuvwxyz012345";
	uint8_t random[STREAM_ERA_LEN];

	env_random(s->core->base.env, random, sizeof(random));
	for (size_t i = 0; i < STREAM_ERA_LEN; i++)
		s->next_era[i] = digits[random[i] % 32];
}

void redis_stream_init(struct redis_stream *s, struct redis_core *core,
		       struct redis_link *link, struct redis_pubsub *pubsub,
		       struct redis_library *library,
		       const struct redis_stream_events *events, void *ctx)
{
	const struct session_options *o = &core->options.sessions;
	uint64_t age_ms = o->window_ms + o->renew_ms + AGE_SLACK_MS;

	*s = (struct redis_stream){.core = core,
				   .link = link,
				   .pubsub = pubsub,
				   .library = library,
				   .events = events,
				   .ctx = ctx};
	s->sync = (struct redis_call){.on_reply = on_synced, .ctx = s};
	if (!o->on)
		return;
	buf_str(&s->base, "gh:{0}");
	redis_core_put_mark(core, &s->base);
	redis_pubsub_log_channel(core, slice_str(core->base.node_code), &s->channel);
	draw_era(s);
	if (!o->log_events_max)
		return;
	buf_printf(&s->caps, "%llu %llu %llu %llu %llu %llu", (unsigned long long)age_ms,
		   (unsigned long long)o->log_events_max,
		   (unsigned long long)o->log_bytes_max,
		   (unsigned long long)o->nsp_log_events_max,
		   (unsigned long long)o->nsp_log_bytes_max,
		   (unsigned long long)o->recent_bytes_max);
}

void redis_stream_deinit(struct redis_stream *s)
{
	buf_deinit(&s->base);
	buf_deinit(&s->channel);
	buf_deinit(&s->caps);
	buf_deinit(&s->text);
	cluster_rooms_deinit(&s->decoded);
	free(s->messages);
}

/* --- the position --- */

void redis_stream_put_offset(const struct redis_stream *s, uint64_t number,
			     struct buf *out)
{
	buf_printf(out, "%s-%llu", s->era, (unsigned long long)number);
}

static void set_position(struct redis_stream *s, struct slice era, uint64_t number)
{
	if (era.n > STREAM_ERA_MAX)
		return;
	if (!slice_eq(era, slice_str(s->era))) {
		s->core->stats.eras += slice_eq(era, slice_str(s->next_era));
		memcpy(s->era, era.p, era.n);
		s->era[era.n] = '\0';
		s->known = 0;
		s->number = 0;
	}
	if (number > s->number)
		s->number = number;
	if (number > s->known)
		s->known = number;
	buf_clear(&s->text);
}

uint64_t redis_stream_position(const struct redis_stream *s, struct slice *offset)
{
	/* The text is written when it is asked for, most positions never are. */
	struct buf *text = (struct buf *)(uintptr_t)&s->text;

	*offset = SLICE_EMPTY;
	if (!s->ever)
		return 0;
	if (!text->n)
		redis_stream_put_offset(s, s->number, text);
	*offset = buf_view(text);
	return s->number;
}

/* Before the position is of another era: numbers that are known up to here are not to be
 * said as if they were of that one. */
static void tell_missed(struct redis_stream *s)
{
	struct redis_core *c = s->core;

	if (!c->closing)
		c->base.events->on_missed(c->base.ctx);
}

bool redis_stream_hear(struct redis_stream *s, const struct cluster_broadcast *b)
{
	struct slice era;
	uint64_t number;

	if (!redis_stream_on(s))
		return true;
	if (s->state != STREAM_LIVE)
		return false;
	if (cluster_offset(b->offset, &era, &number) != ERR_OK)
		return true;
	if (!slice_eq(era, slice_str(s->era))) {
		/* Data was lost: of one run of the server it changes for no other
		 * reason. How often, gh_sync says. */
		tell_missed(s);
		s->told = true;
		s->sync_ms = 0;
	}
	set_position(s, era, number);
	return true;
}

void redis_stream_on_published(struct redis_stream *s, uint64_t number, struct slice era)
{
	if (!slice_eq(era, slice_str(s->era)))
		s->sync_ms = 0;
	else if (number > s->known)
		s->known = number;
}

/* --- sync --- */

/* The one place where the state changes. */
static void set_state(struct redis_stream *s, enum redis_stream_state to)
{
	static const unsigned from[] = {
		[STREAM_AWAY] = ~0u,
		[STREAM_SYNCING] = 1u << STREAM_AWAY,
		[STREAM_LIVE] = 1u << STREAM_SYNCING,
	};

	assert(from[to] & 1u << s->state);
	s->state = to;
}

void redis_stream_on_restored(struct redis_stream *s)
{
	if (redis_stream_on(s) && s->state == STREAM_AWAY)
		set_state(s, STREAM_SYNCING);
}

void redis_stream_on_cut(struct redis_stream *s)
{
	set_state(s, STREAM_AWAY);
	s->asked = false;
	s->sync_ms = 0;
}

static void ask(struct redis_stream *s)
{
	struct buf *out = redis_link_out(s->link);
	struct buf known = BUF_INIT, position = BUF_INIT;

	draw_era(s);
	s->asked = s->due = true;
	s->sync_token = ++s->token;
	s->sync_ms = redis_core_now(s->core) + SYNC_MS;
	if (s->ever)
		redis_stream_put_offset(s, s->known, &known);
	if (s->ever && s->state == STREAM_SYNCING)
		redis_stream_put_offset(s, s->number, &position);
	resp_command(out, 11);
	resp_word_str(out, "FCALL");
	resp_word_str(out, "gh_sync");
	resp_word_str(out, "1");
	resp_word(out, buf_view(&s->base));
	resp_word_str(out, s->link->run_id);
	resp_word_str(out, s->next_era);
	resp_word(out, buf_view(&s->channel));
	resp_word_u64(out, s->sync_token);
	resp_word(out, buf_view(&known));
	resp_word(out, buf_view(&position));
	resp_word(out, buf_view(&s->caps));
	redis_link_expect(s->link, &s->sync);
	buf_deinit(&known);
	buf_deinit(&position);
}

/* The answer is what comes on the channel; this is whether it comes. */
static void on_synced(struct redis_call *call, const struct resp *r)
{
	struct redis_stream *s = call->ctx;

	s->due = false;
	if (!r || !s->asked)
		return;
	if (r->type == RESP_INT && r->i > 0)
		return;
	s->asked = false;
	s->sync_ms = redis_core_now(s->core) + RETRY_MS;
	if (r->type == RESP_ERROR && !redis_library_missing(s->library, r))
		redis_library_refused(s->library, r->s);
}

void redis_stream_turn(struct redis_stream *s)
{
	if (redis_stream_on(s) && s->state != STREAM_AWAY && !s->asked && !s->due &&
	    redis_core_now(s->core) >= s->sync_ms && redis_library_want(s->library))
		ask(s);
}

static void fill(struct redis_stream *s, struct slice message)
{
	struct redis_core *c = s->core;
	struct cluster_broadcast b;
	struct slice era;
	uint64_t number;

	if (cluster_decode(message, &s->decoded, &b) != ERR_OK) {
		c->stats.malformed++;
		return;
	}
	if (cluster_offset(b.offset, &era, &number) == ERR_OK)
		set_position(s, era, number);
	if (!redis_pubsub_hears(s->pubsub, &b))
		return;
	c->stats.gap_events++;
	c->base.events->on_message(c->base.ctx, &b);
}

/* --- the log channel --- */

static bool read_u64(struct mp_cursor *c, uint64_t *out)
{
	int64_t i;

	if (mp_take_int(c, 0, INT64_MAX, &i))
		return false;
	*out = (uint64_t)i;
	return true;
}

/* Tokens go as text, since Lua's numbers are doubles. */
static bool read_token(struct mp_cursor *c, uint64_t *out)
{
	struct slice text;
	char digits[24] = {0};

	if (mp_read_str(c, &text) || !text.n || text.n >= sizeof(digits))
		return false;
	memcpy(digits, text.p, text.n);
	*out = strtoull(digits, NULL, 10);
	return true;
}

static bool read_bool(struct mp_cursor *c, bool *out)
{
	struct mp_value v;

	if (mp_read(c, &v) || v.type != MP_BOOL)
		return false;
	*out = v.b;
	return true;
}

static bool read_messages(struct redis_stream *s, struct mp_cursor *c, size_t *n)
{
	uint32_t count;

	if (mp_read_array(c, &count))
		return false;
	if (count > s->messages_cap) {
		s->messages_cap = count;
		s->messages = mem_realloc(s->messages, count * sizeof(*s->messages));
	}
	for (uint32_t i = 0; i < count; i++) {
		if (mp_read_str(c, &s->messages[i]))
			return false;
	}
	*n = count;
	return true;
}

static bool on_sync(struct redis_stream *s, struct mp_cursor *c)
{
	uint64_t token, number, losses;
	bool end, missed, lost;
	struct slice era;
	size_t n;

	if (!read_token(c, &token) || mp_read_str(c, &era) || !read_u64(c, &number) ||
	    !read_bool(c, &end) || !read_bool(c, &missed) || !read_u64(c, &losses) ||
	    !read_messages(s, c, &n))
		return false;
	if (!s->asked || token != s->sync_token)
		return true; /* of before a cut */
	s->asked = false;
	lost = s->ever && losses != s->losses &&
	       !(s->told && slice_eq(era, slice_str(s->era)));
	if (missed || lost)
		tell_missed(s);
	for (size_t i = 0; i < n; i++)
		fill(s, s->messages[i]);
	s->told = false;
	s->losses = losses;
	s->ever = true;
	set_position(s, era, number);
	if (!end)
		s->sync_ms = 0; /* there is more */
	else if (s->state == STREAM_SYNCING)
		set_state(s, STREAM_LIVE);
	return true;
}

static bool on_reply(struct redis_stream *s, struct mp_cursor *c)
{
	uint64_t token, number;
	struct slice era;
	bool end;
	size_t n;

	if (!read_token(c, &token) || mp_read_str(c, &era) || !read_u64(c, &number) ||
	    !read_bool(c, &end) || !read_messages(s, c, &n))
		return false;
	if (end && s->state == STREAM_LIVE && slice_eq(era, slice_str(s->era)))
		set_position(s, era, number);
	s->events->on_reply(s->ctx, token, number, end, s->messages, n);
	return true;
}

/* How far it is, said with a fence. */
static bool on_at(struct redis_stream *s, struct mp_cursor *c)
{
	struct slice era;
	uint64_t number;

	if (mp_read_str(c, &era) || !read_u64(c, &number))
		return false;
	if (s->state == STREAM_LIVE && slice_eq(era, slice_str(s->era)))
		set_position(s, era, number);
	return true;
}

static bool on_session(struct redis_stream *s, struct mp_cursor *c)
{
	static const struct {
		struct slice name;
		enum session_event event;
	} names[] = {
		{SLICE_INIT("taken"), SESSION_TAKEN},
		{SLICE_INIT("disconnected"), SESSION_DISCONNECTED},
		{SLICE_INIT("joined"), SESSION_JOINED},
		{SLICE_INIT("left"), SESSION_LEFT},
	};
	struct slice what, sid, room;
	uint64_t generation;

	if (mp_read_str(c, &what) || mp_read_str(c, &sid) ||
	    !read_token(c, &generation) || mp_read_str(c, &room))
		return false;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (slice_eq(what, names[i].name))
			s->core->base.events->on_session(
				s->core->base.ctx, names[i].event, sid, generation, room);
	}
	return true;
}

void redis_stream_on_log(struct redis_stream *s, struct slice message)
{
	struct mp_cursor c = mp_cursor_of(message);
	struct slice kind = SLICE_EMPTY;
	bool good = false;
	uint32_t count;

	if (!mp_read_array(&c, &count) && !mp_read_str(&c, &kind)) {
		if (slice_eq(kind, SLICE_LIT("sync")) && count == 8)
			good = on_sync(s, &c);
		else if (slice_eq(kind, SLICE_LIT("reply")) && count == 6)
			good = on_reply(s, &c);
		else if (slice_eq(kind, SLICE_LIT("at")) && count == 3)
			good = on_at(s, &c);
		else if (slice_eq(kind, SLICE_LIT("session")) && count == 5)
			good = on_session(s, &c);
	}
	if (!good)
		s->core->stats.malformed++;
}
