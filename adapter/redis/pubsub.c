#include "adapter/redis/pubsub.h"

#include <assert.h>
#include <stdlib.h>

#include "adapter/redis/stream.h"
#include "proto/mem.h"

enum {
	BATCH_MAX = 256,		/* names in one command */
	BACKLOG_BYTES_MAX = 256 * 1024, /* then the rest waits for a later turn */
	TELL_AGAIN_MS = 30000		/* of messages that are too large */
};

enum channel_kind {
	CHANNEL_NODE, /* what other nodes tell this one */
	CHANNEL_LOG,  /* what has a place in the order of messages */
	CHANNEL_NSP,
	CHANNEL_IDS, /* the pattern of the own-id rooms of a namespace */
	CHANNEL_ROOM,
	CHANNEL_QUEUE,	 /* something may be taken from it */
	CHANNEL_COVERED, /* an own-id room: the pattern hears it, nothing is sent */
};

enum channel_state {
	CHANNEL_NEW,	  /* wanted; SUBSCRIBE to be sent */
	CHANNEL_ASKED,	  /* wanted; SUBSCRIBE sent */
	CHANNEL_LIVE,	  /* wanted; confirmed */
	CHANNEL_DROPPING, /* not wanted; UNSUBSCRIBE to be sent */
	CHANNEL_DROPPED,  /* not wanted; UNSUBSCRIBE sent */
	CHANNEL_GONE,	  /* about to be freed */
};

struct channel {
	struct link dirty;
	struct link waiting; /* in the list of that name, or in `live` */
	enum channel_kind kind;
	enum channel_state state;
	bool restoring, asked;
	/* Confirmations to come. Redis gives one for each name in each command, in order,
	 * so the state holds once this is 0: only then has the last command been done. */
	unsigned due;
	uint64_t first, last; /* if due and one_by_one: numbers of the commands */
	struct done done;     /* if asked */
	uint64_t deadline_ms;
	struct channel *cover; /* CHANNEL_COVERED */
	size_t queue_n;	       /* CHANNEL_QUEUE: of its name, behind QUEUE_KEY */
	struct slice name;
	uint8_t bytes[];
};

static struct table *table_of(struct redis_pubsub *p, const struct channel *ch)
{
	return ch->kind == CHANNEL_IDS ? &p->patterns : &p->channels;
}

static bool is_wanted(const struct channel *ch)
{
	return ch->state == CHANNEL_NEW || ch->state == CHANNEL_ASKED ||
	       ch->state == CHANNEL_LIVE;
}

/* The one place where a channel's state changes; `dirty` and `restoring` follow it. */
static void set_state(struct redis_pubsub *p, struct channel *ch, enum channel_state to)
{
	static const unsigned from[] = {
		[CHANNEL_NEW] = 1u << CHANNEL_NEW | 1u << CHANNEL_ASKED |
				1u << CHANNEL_LIVE | 1u << CHANNEL_DROPPED,
		[CHANNEL_ASKED] = 1u << CHANNEL_NEW | 1u << CHANNEL_DROPPING,
		[CHANNEL_LIVE] =
			1u << CHANNEL_NEW | 1u << CHANNEL_ASKED | 1u << CHANNEL_DROPPING,
		[CHANNEL_DROPPING] = 1u << CHANNEL_ASKED | 1u << CHANNEL_LIVE,
		[CHANNEL_DROPPED] = 1u << CHANNEL_DROPPING | 1u << CHANNEL_NEW,
		[CHANNEL_GONE] = ~0u,
	};

	assert(from[to] & 1u << ch->state);
	ch->state = to;
	list_remove(&ch->dirty);
	if (to == CHANNEL_NEW || to == CHANNEL_DROPPING)
		list_push(&p->dirty, &ch->dirty);
	if (ch->restoring && to != CHANNEL_NEW && to != CHANNEL_ASKED) {
		ch->restoring = false;
		assert(p->restoring > 0);
		p->restoring--;
	}
	if (to == CHANNEL_GONE) {
		assert(!ch->asked);
		table_remove(table_of(p, ch), ch->name);
		free(ch);
	}
}

static struct channel *channel_new(struct redis_pubsub *p, enum channel_kind kind,
				   struct slice name)
{
	struct channel *ch = mem_zalloc(1, sizeof(*ch) + name.n);

	ch->kind = kind;
	memcpy(ch->bytes, name.p, name.n);
	ch->name = slice_of(ch->bytes, name.n);
	link_init(&ch->dirty);
	link_init(&ch->waiting);
	ch->state = CHANNEL_NEW;
	list_push(&p->dirty, &ch->dirty);
	table_add(table_of(p, ch), ch->name, ch);
	return ch;
}

void redis_pubsub_node_channel(const struct redis_core *core, struct slice code,
			       struct buf *out)
{
	buf_slice(out, buf_view(&core->key));
	buf_str(out, "-node#");
	buf_slice(out, code);
	buf_byte(out, '#');
}

void redis_pubsub_log_channel(const struct redis_core *core, struct slice code,
			      struct buf *out)
{
	buf_slice(out, buf_view(&core->key));
	buf_str(out, "-log#");
	buf_slice(out, code);
	buf_byte(out, '#');
}

void redis_pubsub_set_stream(struct redis_pubsub *p, struct redis_stream *stream)
{
	p->stream = stream;
	buf_clear(&p->scratch);
	redis_pubsub_log_channel(p->core, slice_str(p->core->base.node_code),
				 &p->scratch);
	channel_new(p, CHANNEL_LOG, buf_view(&p->scratch));
}

void redis_pubsub_init(struct redis_pubsub *p, struct redis_core *core,
		       struct redis_link *link)
{
	*p = (struct redis_pubsub){.core = core, .link = link};
	table_init(&p->channels, core->seed);
	table_init(&p->patterns, core->seed);
	link_init(&p->dirty);
	link_init(&p->waiting);
	link_init(&p->live);
	redis_pubsub_node_channel(core, slice_str(core->base.node_code), &p->scratch);
	channel_new(p, CHANNEL_NODE, buf_view(&p->scratch));
}

void redis_pubsub_deinit(struct redis_pubsub *p)
{
	size_t pos = 0;
	void *v;

	while ((v = table_next(&p->channels, &pos)))
		free(v);
	for (pos = 0; (v = table_next(&p->patterns, &pos));)
		free(v);
	table_deinit(&p->channels);
	table_deinit(&p->patterns);
	cluster_rooms_deinit(&p->decoded);
	buf_deinit(&p->scratch);
}

/* In scratch until the next name is made. */
static struct slice name_of(struct redis_pubsub *p, struct slice nsp, struct slice room)
{
	buf_clear(&p->scratch);
	cluster_channel(buf_view(&p->core->key), nsp, &room, 1, &p->scratch);
	return buf_view(&p->scratch);
}

static struct slice pattern_of(struct redis_pubsub *p, struct slice nsp)
{
	buf_clear(&p->scratch);
	cluster_ids_pattern(buf_view(&p->core->key), nsp,
			    slice_str(p->core->base.node_code), &p->scratch);
	return buf_view(&p->scratch);
}

void redis_pubsub_add_namespace(struct redis_pubsub *p, struct slice nsp)
{
	struct slice pattern = pattern_of(p, nsp);

	if (table_get(&p->patterns, pattern))
		return;
	channel_new(p, CHANNEL_IDS, pattern);
	buf_clear(&p->scratch);
	cluster_channel(buf_view(&p->core->key), nsp, NULL, 0, &p->scratch);
	channel_new(p, CHANNEL_NSP, buf_view(&p->scratch));
}

#define QUEUE_KEY "gh:{q:"

void redis_pubsub_queue_key(const struct redis_core *core, struct slice queue,
			    struct buf *out)
{
	buf_str(out, QUEUE_KEY);
	buf_slice(out, queue);
	buf_byte(out, '}');
	redis_core_put_mark(core, out);
}

/* In scratch until the next name is made. */
static struct slice wake_of(struct redis_pubsub *p, struct slice queue)
{
	buf_clear(&p->scratch);
	redis_pubsub_queue_key(p->core, queue, &p->scratch);
	buf_str(&p->scratch, ":wake");
	return buf_view(&p->scratch);
}

static void tell_queue(struct redis_pubsub *p, const struct channel *ch)
{
	struct redis_core *c = p->core;

	if (!c->closing)
		c->base.events->on_queue(
			c->base.ctx,
			slice_of(ch->bytes + sizeof(QUEUE_KEY) - 1, ch->queue_n));
}

/* One of this node's sockets' own rooms? */
static bool is_own_id(const struct redis_pubsub *p, struct slice room)
{
	return id_is(room) && slice_starts(room, slice_str(p->core->base.node_code));
}

/* It became live without a confirmation of its own. The answer comes in the next turn,
 * and until then its subscriber may still change its mind. */
static void answer_live(struct redis_pubsub *p, struct channel *ch)
{
	if (!ch->asked)
		return;
	list_remove(&ch->waiting);
	list_push(&p->live, &ch->waiting);
}

/* The channel is finished with first: the callee may do anything to it. */
static void answer(struct redis_pubsub *p, struct channel *ch, enum err err, bool now)
{
	if (!ch->asked)
		return;
	ch->asked = false;
	list_remove(&ch->waiting);
	if (now)
		done_run(ch->done, err);
	else
		redis_core_later(p->core, ch->done, err);
}

/* A channel nobody wants so far. */
static struct channel *want(struct redis_pubsub *p, enum channel_kind kind,
			    struct slice name)
{
	struct channel *ch = table_get(&p->channels, name);

	if (!ch)
		return channel_new(p, kind, name);
	assert(!is_wanted(ch));
	if (ch->state == CHANNEL_DROPPED)
		set_state(p, ch, CHANNEL_NEW);
	else /* nothing was sent yet: take it back */
		set_state(p, ch, ch->due ? CHANNEL_ASKED : CHANNEL_LIVE);
	return ch;
}

void redis_pubsub_watch(struct redis_pubsub *p, struct slice queue)
{
	if (!p->core->closing)
		want(p, CHANNEL_QUEUE, wake_of(p, queue))->queue_n = queue.n;
}

void redis_pubsub_subscribe(struct redis_pubsub *p, struct slice nsp, struct slice room,
			    struct done done)
{
	struct channel *cover = NULL, *ch;
	struct slice name;

	if (p->core->closing) {
		redis_core_later(p->core, done, ERR_CLOSED);
		return;
	}
	if (is_own_id(p, room))
		cover = table_get(&p->patterns, pattern_of(p, nsp));
	name = name_of(p, nsp, room);
	ch = want(p, cover ? CHANNEL_COVERED : CHANNEL_ROOM, name);
	if (ch->kind == CHANNEL_COVERED)
		ch->cover = cover;
	ch->asked = true;
	ch->done = done;
	ch->deadline_ms = redis_core_now(p->core) + p->core->options.publish_wait_ms_max;
	list_push(&p->waiting, &ch->waiting);
	if (ch->state == CHANNEL_LIVE)
		answer_live(p, ch);
}

static void unwant(struct redis_pubsub *p, struct channel *ch)
{
	bool covered = ch->kind == CHANNEL_COVERED;

	if (ch->state == CHANNEL_NEW)
		set_state(p, ch, ch->due ? CHANNEL_DROPPED : CHANNEL_GONE);
	else
		set_state(p, ch, covered ? CHANNEL_GONE : CHANNEL_DROPPING);
}

void redis_pubsub_unsubscribe(struct redis_pubsub *p, struct slice nsp, struct slice room)
{
	struct channel *ch = table_get(&p->channels, name_of(p, nsp, room));

	if (!ch || !is_wanted(ch))
		return;
	answer(p, ch, ERR_CLOSED, false);
	unwant(p, ch);
}

void redis_pubsub_unwatch(struct redis_pubsub *p, struct slice queue)
{
	struct channel *ch = table_get(&p->channels, wake_of(p, queue));

	if (ch && is_wanted(ch))
		unwant(p, ch);
}

size_t redis_pubsub_count(const struct redis_pubsub *p)
{
	/* without namespaces' and the node's */
	return p->channels.n - p->patterns.n - (p->stream ? 2 : 1);
}

bool redis_pubsub_hears(struct redis_pubsub *p, const struct cluster_broadcast *b)
{
	struct slice room = b->rooms_n == 1 ? b->rooms[0] : SLICE_EMPTY;
	struct channel *ch;

	if (!table_get(&p->patterns, pattern_of(p, b->nsp)))
		return false;
	if (b->rooms_n != 1 || is_own_id(p, room))
		return true;
	ch = table_get(&p->channels, name_of(p, b->nsp, room));
	return ch && is_wanted(ch);
}

void redis_pubsub_on_ready(struct redis_pubsub *p)
{
	struct table *tables[] = {&p->channels, &p->patterns};

	assert(p->restoring == 0);
	for (size_t t = 0; t < 2; t++) {
		size_t pos = 0;
		struct channel *ch;

		while ((ch = table_next(tables[t], &pos))) {
			assert(ch->state == CHANNEL_NEW);
			assert(ch->due == 0);
			ch->restoring = true;
			p->restoring++;
		}
	}
}

/* Back to what is wanted, as if nothing had been sent. */
void redis_pubsub_on_cut(struct redis_pubsub *p)
{
	struct table *tables[] = {&p->channels, &p->patterns};
	struct link gone, *l;

	link_init(&gone);
	for (size_t t = 0; t < 2; t++) {
		size_t pos = 0;
		struct channel *ch;

		while ((ch = table_next(tables[t], &pos))) {
			ch->due = 0;
			ch->restoring = false;
			if (is_wanted(ch)) {
				set_state(p, ch, CHANNEL_NEW);
			} else { /* the table must not change while it is walked */
				list_remove(&ch->dirty);
				list_push(&gone, &ch->dirty);
			}
		}
	}
	p->restoring = 0;
	while ((l = list_pop(&gone)))
		set_state(p, container_of(l, struct channel, dirty), CHANNEL_GONE);
}

bool redis_pubsub_restored(const struct redis_pubsub *p)
{
	return p->link->state == REDIS_LINK_READY && p->restoring == 0;
}

/* It was passed over, see resp_reader_new. The connection stays: whoever publishes such
 * things again and again must not keep the cluster's nodes from their messages. */
static void too_large(struct redis_pubsub *p, struct slice channel, int64_t bytes)
{
	struct redis_core *c = p->core;
	uint64_t now = redis_core_now(c);
	struct buf text = BUF_INIT;

	c->stats.received++;
	c->stats.received_bytes += (uint64_t)bytes;
	c->stats.malformed++;
	if (p->too_large_ms && now - p->too_large_ms < TELL_AGAIN_MS)
		return;
	p->too_large_ms = now;
	redis_core_quote(&text, channel);
	redis_core_log(c, ADAPTER_LOG_WARN, "redis_message_too_large",
		       "bytes=%lld bytes_max=%d channel=%s", (long long)bytes,
		       REDIS_STRING_MAX, buf_cstr(&text));
	buf_deinit(&text);
}

static void deliver(struct redis_pubsub *p, struct slice nsp, struct slice message)
{
	struct redis_core *c = p->core;
	struct cluster_broadcast b;
	enum err err;

	c->stats.received++;
	c->stats.received_bytes += message.n;
	err = cluster_decode(message, &p->decoded, &b);
	if (err == ERR_NOT_FOUND)
		return; /* a packet of a kind that is none of ours */
	/* Node servers, too, ignore what names another namespace than its channel. */
	if (err || !slice_eq(b.nsp, nsp)) {
		c->stats.malformed++;
		return;
	}
	if (!b.number || !p->stream || redis_stream_hear(p->stream, &b))
		c->base.events->on_message(c->base.ctx, &b);
}

/* The code of the node that tells it and what it tells. */
static void deliver_told(struct redis_pubsub *p, struct slice message)
{
	struct redis_core *c = p->core;

	c->stats.told++;
	c->stats.told_bytes += message.n;
	if (message.n < NODE_CODE_LEN) {
		c->stats.malformed++;
		return;
	}
	c->base.events->on_told(c->base.ctx, slice_of(message.p, NODE_CODE_LEN),
				slice_skip(message, NODE_CODE_LEN));
}

/* A channel we subscribed to by name. */
static void on_message(struct redis_pubsub *p, struct slice channel,
		       const struct resp *message)
{
	struct channel *ch = table_get(&p->channels, channel);
	struct slice nsp, room;

	/* Not wanted any more: its UNSUBSCRIBE is on the way. */
	if (!ch || !is_wanted(ch) || p->core->closing)
		return;
	if (ch->kind == CHANNEL_QUEUE)
		tell_queue(p, ch);
	else if (message->type == RESP_INT)
		too_large(p, channel, message->i);
	else if (ch->kind == CHANNEL_NODE)
		deliver_told(p, message->s);
	else if (ch->kind == CHANNEL_LOG)
		redis_stream_on_log(p->stream, message->s);
	else if (cluster_parse_channel(buf_view(&p->core->key), channel, &nsp, &room) ==
		 ERR_OK)
		deliver(p, nsp, message->s);
}

/* The pattern's `?` takes any byte, so it hears rooms that are no ids. Those are
 * subscribed to by name where they have members, and come as that. */
static void on_pmessage(struct redis_pubsub *p, struct slice channel,
			const struct resp *message)
{
	struct slice nsp, room;

	if (p->core->closing || cluster_parse_channel(buf_view(&p->core->key), channel,
						      &nsp, &room) != ERR_OK)
		return;
	if (!is_own_id(p, room))
		return;
	if (message->type == RESP_INT)
		too_large(p, channel, message->i);
	else
		deliver(p, nsp, message->s);
}

static void on_confirmed(struct redis_pubsub *p, struct table *t, struct slice name)
{
	struct channel *ch = table_get(t, name);

	if (!ch || ch->due == 0) {
		redis_link_fail(p->link, "redis_protocol",
				"error=\"a confirmation of what was not asked\"");
		return;
	}
	redis_link_paid(p->link);
	ch->first = ch->last;
	if (--ch->due > 0)
		return;
	if (ch->state == CHANNEL_ASKED) {
		set_state(p, ch, CHANNEL_LIVE);
		if (p->restoring == 0)
			p->one_by_one = false; /* all of them may be heard now */
		if (ch->kind == CHANNEL_QUEUE) /* what came before was not heard */
			tell_queue(p, ch);
		else
			answer(p, ch, ERR_OK, true);
	} else if (ch->state == CHANNEL_DROPPED) {
		set_state(p, ch, CHANNEL_GONE);
	}
}

/* Redis refuses a whole command and does not say for which channel of it. So the next
 * connection asks for one at a time; then, since it answers in order, it is the one that
 * waits longest. */
static void refused(struct redis_pubsub *p, struct slice error)
{
	struct table *tables[] = {&p->channels, &p->patterns};
	struct channel *ch, *oldest = NULL;

	if (!slice_starts(error, SLICE_LIT("NOPERM"))) {
		redis_link_refused(p->link, error);
		return;
	}
	for (size_t t = 0; t < 2 && p->one_by_one; t++) {
		size_t pos = 0;

		while ((ch = table_next(tables[t], &pos))) {
			if (ch->due && (!oldest || ch->first < oldest->first))
				oldest = ch;
		}
	}
	p->one_by_one = true;
	redis_link_refused_channel(p->link, error, oldest ? oldest->name : SLICE_EMPTY);
}

void redis_pubsub_on_push(struct redis_pubsub *p, const struct resp *r)
{
	struct slice kind;

	if (r->type == RESP_ERROR) {
		refused(p, r->s);
		return;
	}
	if (!resp_is_array(r, 3)) {
		redis_link_fail(p->link, "redis_protocol",
				"error=\"not a message of a subscription\"");
		return;
	}
	kind = r->v[0].s;
	if (slice_eq(kind, SLICE_LIT("message")))
		on_message(p, r->v[1].s, &r->v[2]);
	else if (slice_eq(kind, SLICE_LIT("pmessage")) && r->n >= 4)
		on_pmessage(p, r->v[2].s, &r->v[3]);
	else if (slice_eq(kind, SLICE_LIT("subscribe")) ||
		 slice_eq(kind, SLICE_LIT("unsubscribe")))
		on_confirmed(p, &p->channels, r->v[1].s);
	else if (slice_eq(kind, SLICE_LIT("psubscribe")))
		on_confirmed(p, &p->patterns, r->v[1].s);
}

/* Names gathered for one command. */
struct batch {
	const char *command;
	size_t n;
	struct buf names;
};

static void batch_send(struct redis_pubsub *p, struct batch *b)
{
	struct buf *out = redis_link_out(p->link);

	if (b->n == 0)
		return;
	resp_command(out, b->n + 1);
	resp_word_str(out, b->command);
	buf_slice(out, buf_view(&b->names));
	redis_link_owe(p->link, b->n);
	p->commands++;
	b->n = 0;
	buf_clear(&b->names);
}

static void batch_add(struct redis_pubsub *p, struct batch *b, struct channel *ch)
{
	resp_word(&b->names, ch->name);
	ch->last = p->commands;
	if (ch->due++ == 0)
		ch->first = ch->last;
	if (++b->n == BATCH_MAX || p->one_by_one)
		batch_send(p, b);
}

static bool answer_all_live(struct redis_pubsub *p)
{
	bool any = !list_empty(&p->live);
	struct link due, *l;

	link_init(&due);
	list_splice(&due, &p->live);
	while ((l = list_pop(&due))) {
		struct channel *ch = container_of(l, struct channel, waiting);

		if (p->core->closing) /* by an answer before this one */
			answer(p, ch, ERR_CLOSED, true);
		else if (ch->state == CHANNEL_LIVE)
			answer(p, ch, ERR_OK, true);
		else /* cut meanwhile: it waits as the others do */
			list_push(&p->waiting, &ch->waiting);
	}
	return any;
}

static void write_commands(struct redis_pubsub *p)
{
	enum { SUBSCRIBE, PSUBSCRIBE, UNSUBSCRIBE, BATCHES };
	struct batch batches[BATCHES] = {
		{"SUBSCRIBE", 0, BUF_INIT},
		{"PSUBSCRIBE", 0, BUF_INIT},
		{"UNSUBSCRIBE", 0, BUF_INIT},
	};
	struct link *it, *tmp;

	if (p->link->state != REDIS_LINK_READY || list_empty(&p->dirty))
		return;
	/* Nothing calls out in here: the list stays as it is but for `ch`. */
	list_each(it, tmp, &p->dirty)
	{
		struct channel *ch = container_of(it, struct channel, dirty);

		if (redis_link_backlog(p->link) > BACKLOG_BYTES_MAX)
			break;
		if (ch->kind == CHANNEL_COVERED) {
			if (ch->cover->state == CHANNEL_LIVE) {
				set_state(p, ch, CHANNEL_LIVE);
				answer_live(p, ch);
			}
		} else if (ch->state == CHANNEL_NEW) {
			set_state(p, ch, CHANNEL_ASKED);
			batch_add(p, &batches[ch->kind == CHANNEL_IDS], ch);
		} else {
			set_state(p, ch, CHANNEL_DROPPED);
			batch_add(p, &batches[UNSUBSCRIBE], ch);
		}
	}
	for (size_t i = 0; i < BATCHES; i++) {
		batch_send(p, &batches[i]);
		buf_deinit(&batches[i].names);
	}
}

bool redis_pubsub_turn(struct redis_pubsub *p)
{
	bool ran = answer_all_live(p);

	write_commands(p);
	return ran || !list_empty(&p->live);
}

void redis_pubsub_tick(struct redis_pubsub *p, uint64_t now)
{
	/* While connected, what counts is how long a confirmation may take. */
	uint64_t more = redis_pubsub_restored(p) ? p->link->o.reply_timeout_ms : 0;

	while (!list_empty(&p->waiting)) {
		struct channel *ch =
			container_of(p->waiting.next, struct channel, waiting);

		if (now < ch->deadline_ms + more)
			break;
		answer(p, ch, ERR_UNAVAILABLE, false);
		unwant(p, ch);
	}
}

void redis_pubsub_close(struct redis_pubsub *p)
{
	list_splice(&p->waiting, &p->live);
	while (!list_empty(&p->waiting))
		answer(p, container_of(p->waiting.next, struct channel, waiting),
		       ERR_CLOSED, false);
}
