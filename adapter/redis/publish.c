#include "adapter/redis/publish.h"

#include <assert.h>
#include <stdlib.h>

#include "proto/mem.h"

enum {
	BACKLOG_BYTES_MAX = 1024 * 1024,
	SCRATCH_KEEP_BYTES = 64 * 1024,
	/* Logged ones in one call, during which nobody else is served by Redis. */
	BATCH_MAX = 256,
	BATCH_BYTES_MAX = 512 * 1024,
	LOGGED_WORDS = 3,
};

/* Both ends of a fence in one step, and nobody's messages between. Its text goes along
 * each time (Redis compiles it once): it can never be missing, so a fence keeps its place
 * among publishes, which scripts that are called by their hash may lose. Nothing is sent
 * to the other node if this one does not hear its own end. Where messages are numbered
 * the node learns its position first: what it subscribed to for the fence is older than
 * what it knows of, and would come a second time if it had to fill a gap now. */
static const char fence_script[] =
	"if ARGV[4] then "
	"local h=redis.call('HMGET',ARGV[4],'era','seq') "
	"if h[1] then redis.call('PUBLISH',ARGV[5],"
	"cmsgpack.pack({'at',h[1],tonumber(h[2])})) end end "
	"if redis.call('PUBLISH',ARGV[1],ARGV[3])==0 then return -1 end "
	"return redis.call('PUBLISH',ARGV[2],ARGV[3])";

enum publish_kind { PUBLISH_ALL, PUBLISH_TELL, PUBLISH_FENCE, PUBLISH_LOGGED };

struct publish {
	struct redis_call call; /* its link is also that of `waiting` and `local` */
	struct redis_publisher *publisher;
	enum publish_kind kind;
	struct done done;
	uint64_t deadline_ms;
	uint64_t number; /* LOGGED: once it was written */
	size_t n;
	/* The whole command; of a local one the message; of a logged one its words. */
	uint8_t bytes[];
};

/* Logged ones in one call, in order. */
struct batch {
	struct redis_call call;
	struct redis_publisher *publisher;
	struct link publishes;
};

/* What it counts for while it waits: many small ones are mostly what is ours. */
static size_t cost_of(size_t bytes)
{
	return sizeof(struct publish) + bytes;
}

static struct publish *publish_of(struct link *l)
{
	return container_of(l, struct publish, call.link);
}

void redis_publisher_init(struct redis_publisher *p, struct redis_core *core,
			  struct redis_link *link, struct redis_pubsub *pubsub,
			  struct redis_stream *stream)
{
	*p = (struct redis_publisher){
		.core = core, .link = link, .pubsub = pubsub, .stream = stream};
	/* Redis remembers the last number of a node for a while: another process that
	 * should have its code begins above. */
	p->numbered = env_wall_ms(core->base.env) * 1000;
	link_init(&p->waiting);
	link_init(&p->again);
	link_init(&p->local);
	buf_str(&p->uid, "gh-");
	buf_str(&p->uid, core->base.node_code);
}

void redis_publisher_deinit(struct redis_publisher *p)
{
	assert(list_empty(&p->waiting));
	assert(list_empty(&p->again));
	assert(list_empty(&p->local));
	cluster_rooms_deinit(&p->decoded);
	buf_deinit(&p->uid);
	buf_deinit(&p->channel);
	buf_deinit(&p->message);
}

/* Take it out of the counts and free it, then tell. */
static void finish(struct publish *u, enum err err, bool now)
{
	struct redis_publisher *p = u->publisher;
	struct redis_core *c = p->core;
	struct done done = u->done;

	c->stats.publish_waiting--;
	c->stats.publish_waiting_bytes -= cost_of(u->n);
	if (err == ERR_OK || err == ERR_NOT_FOUND) /* Redis had it, if nobody else */
		c->stats.published++;
	else if (err == ERR_UNCONFIRMED)
		c->stats.publish_unconfirmed++;
	else
		c->stats.publish_failed++;
	free(u);
	if (now)
		done_run(done, err);
	else
		redis_core_later(c, done, err);
}

/* What the answer says, which is how many heard it. */
static enum err outcome(enum publish_kind kind, const struct resp *r)
{
	int64_t hearers = r->type == RESP_INT ? r->i : 0;

	switch (kind) {
	case PUBLISH_ALL:
	case PUBLISH_LOGGED:
		return ERR_OK;
	case PUBLISH_TELL:
		return hearers > 0 ? ERR_OK : ERR_NOT_FOUND;
	case PUBLISH_FENCE:
		return hearers > 0   ? ERR_OK
		       : hearers < 0 ? ERR_UNAVAILABLE
				     : ERR_NOT_FOUND;
	}
	return ERR_OK;
}

/* What Redis refused. */
static enum err refused(struct redis_publisher *p, struct slice error)
{
	bool passing = redis_link_is_passing(error);
	/* Somebody's script runs for long: not sent, and not for good. */
	bool busy = slice_starts(error, SLICE_LIT("BUSY"));

	redis_core_complain(p->core, &p->complained_ms, "redis_publish_refused", error);
	if (passing)
		redis_link_refused(p->link, error);
	return passing || busy || slice_starts(error, SLICE_LIT("OOM")) ? ERR_UNAVAILABLE
									: ERR_DENIED;
}

static void on_reply(struct redis_call *call, const struct resp *r)
{
	struct publish *u = container_of(call, struct publish, call);
	struct redis_publisher *p = u->publisher;

	p->unanswered--;
	if (!r) {
		finish(u, p->core->closing ? ERR_CLOSED : ERR_UNCONFIRMED, true);
		return;
	}
	if (r->type == RESP_ERROR)
		finish(u, refused(p, r->s), true);
	else
		finish(u, outcome(u->kind, r), true);
}

/* {last number, entries cut, era, losses} */
static bool take_numbers(struct redis_publisher *p, const struct resp *r)
{
	if (!resp_is_array(r, 4) || r->v[0].type != RESP_INT ||
	    r->v[1].type != RESP_INT || r->v[2].type != RESP_STR)
		return false;
	p->core->stats.log_cut += (uint64_t)r->v[1].i;
	redis_stream_on_published(p->stream, (uint64_t)r->v[0].i, r->v[2].s);
	return true;
}

/* A batch before it was not done, and comes again, too. */
static bool is_ahead(const struct resp *r)
{
	return r->type == RESP_ERROR && slice_starts(r->s, SLICE_LIT("AHEAD"));
}

static void on_batch_reply(struct redis_call *call, const struct resp *r)
{
	struct batch *b = container_of(call, struct batch, call);
	struct redis_publisher *p = b->publisher;
	enum err err = ERR_OK;
	struct link *l;

	p->unanswered--;
	p->batches--;
	if ((!r && !p->core->closing) ||
	    (r && (redis_library_missing(p->stream->library, r) || is_ahead(r)))) {
		list_splice(&p->again, &b->publishes);
		free(b);
		return;
	}
	if (!r)
		err = ERR_CLOSED;
	else if (r->type == RESP_ERROR)
		err = refused(p, r->s);
	else if (!take_numbers(p, r))
		err = refused(p, SLICE_LIT("not the expected answer"));
	while ((l = list_pop(&b->publishes)))
		finish(publish_of(l), err, true);
	free(b);
}

static struct publish *publish_new(struct redis_publisher *p, enum publish_kind kind,
				   struct done done, struct slice bytes)
{
	struct publish *u = mem_alloc(sizeof(*u) + bytes.n);

	u->call = (struct redis_call){.on_reply = on_reply};
	link_init(&u->call.link);
	u->publisher = p;
	u->kind = kind;
	u->done = done;
	u->deadline_ms = redis_core_now(p->core) + p->core->options.publish_wait_ms_max;
	u->number = 0;
	u->n = bytes.n;
	memcpy(u->bytes, bytes.p, bytes.n);
	return u;
}

static bool is_full(size_t bytes, size_t more, size_t max)
{
	return bytes > max || more > max - bytes;
}

static void publish_local(struct redis_publisher *p, struct done done)
{
	struct publish *u;

	if (is_full(p->local_bytes, cost_of(p->message.n),
		    p->core->options.publish_waiting_bytes_max)) {
		p->core->stats.publish_failed++;
		redis_core_later(p->core, done, ERR_FULL);
		return;
	}
	u = publish_new(p, PUBLISH_ALL, done, buf_view(&p->message));
	p->local_bytes += cost_of(u->n);
	list_push(&p->local, &u->call.link);
}

/* Queue the whole command, if it may still wait. */
static void send_later(struct redis_publisher *p, enum publish_kind kind,
		       struct slice command, struct done done)
{
	struct redis_core *c = p->core;
	struct publish *u;

	if (is_full(c->stats.publish_waiting_bytes, cost_of(command.n),
		    c->options.publish_waiting_bytes_max)) {
		c->stats.publish_failed++;
		redis_core_later(c, done, ERR_FULL);
		return;
	}
	u = publish_new(p, kind, done, command);
	c->stats.publish_waiting++;
	c->stats.publish_waiting_bytes += cost_of(u->n);
	list_push(&p->waiting, &u->call.link);
}

/* What p->message holds, on the channel that p->channel holds. */
static void publish_message(struct redis_publisher *p, enum publish_kind kind,
			    struct done done)
{
	struct buf command = BUF_INIT;
	size_t head = p->core->key.n + 1; /* of a channel's name, before the log's */
	struct slice log;

	if (kind == PUBLISH_LOGGED) {
		/* `<nsp>#` or `<nsp>#<room>#`, of which the log is `<nsp>#<room>`. */
		log = slice_skip(buf_view(&p->channel), head);
		if (p->in_room)
			log.n--;
		resp_word(&command, buf_view(&p->channel));
		resp_word(&command, log);
		resp_word(&command, buf_view(&p->message));
		send_later(p, kind, buf_view(&command), done);
		buf_deinit(&command);
		return;
	}
	resp_command(&command, 3);
	resp_word_str(&command, "PUBLISH");
	resp_word(&command, buf_view(&p->channel));
	resp_word(&command, buf_view(&p->message));
	send_later(p, kind, buf_view(&command), done);
	buf_deinit(&command);
}

/* Closing? Then it is refused. */
static bool is_refused(struct redis_publisher *p, struct done done)
{
	if (!p->core->closing)
		return false;
	p->core->stats.publish_failed++;
	redis_core_later(p->core, done, ERR_CLOSED);
	return true;
}

static void forget_message(struct redis_publisher *p)
{
	buf_clear(&p->message);
	buf_trim(&p->message, SCRATCH_KEEP_BYTES);
}

void redis_publisher_publish(struct redis_publisher *p, const struct cluster_broadcast *b,
			     struct done done)
{
	struct cluster_broadcast own = *b;

	if (is_refused(p, done))
		return;
	own.uid = buf_view(&p->uid);
	own.flags &= ~(unsigned)CLUSTER_LOCAL;
	buf_clear(&p->message);
	cluster_encode(&own, &p->message);
	if (b->flags & CLUSTER_LOCAL) {
		publish_local(p, done);
	} else {
		bool logged = b->flags & CLUSTER_LOGGED && redis_stream_on(p->stream);

		buf_clear(&p->channel);
		cluster_channel(buf_view(&p->core->key), b->nsp, b->rooms, b->rooms_n,
				&p->channel);
		p->in_room = b->rooms_n == 1;
		if (logged)
			cluster_await_offset(&p->message);
		publish_message(p, logged ? PUBLISH_LOGGED : PUBLISH_ALL, done);
	}
	forget_message(p);
}

/* What a node is told: who tells it, then what. */
static void put_told(struct redis_publisher *p, struct slice bytes)
{
	buf_clear(&p->message);
	buf_str(&p->message, p->core->base.node_code);
	buf_slice(&p->message, bytes);
}

void redis_publisher_tell(struct redis_publisher *p, struct slice node_code,
			  struct slice bytes, struct done done)
{
	assert(node_code.n == NODE_CODE_LEN);
	if (is_refused(p, done))
		return;
	put_told(p, bytes);
	buf_clear(&p->channel);
	redis_pubsub_node_channel(p->core, node_code, &p->channel);
	publish_message(p, PUBLISH_TELL, done);
	forget_message(p);
}

void redis_publisher_fence(struct redis_publisher *p, struct slice node_code,
			   struct slice bytes, struct done done)
{
	struct slice own = slice_str(p->core->base.node_code);
	const struct slice ends[] = {own, node_code};
	struct buf command = BUF_INIT;

	if (slice_eq(node_code, own)) { /* both ends are one */
		redis_publisher_tell(p, node_code, bytes, done);
		return;
	}
	assert(node_code.n == NODE_CODE_LEN);
	if (is_refused(p, done))
		return;
	put_told(p, bytes);
	resp_command(&command, redis_stream_on(p->stream) ? 8 : 6);
	resp_word_str(&command, "EVAL");
	resp_word_str(&command, fence_script);
	resp_word_u64(&command, 0); /* channels are no keys */
	for (size_t i = 0; i < 2; i++) {
		buf_clear(&p->channel);
		redis_pubsub_node_channel(p->core, ends[i], &p->channel);
		resp_word(&command, buf_view(&p->channel));
	}
	resp_word(&command, buf_view(&p->message));
	if (redis_stream_on(p->stream)) {
		buf_clear(&p->channel);
		buf_slice(&p->channel, buf_view(&p->stream->base));
		buf_str(&p->channel, ":head");
		resp_word(&command, buf_view(&p->channel));
		resp_word(&command, buf_view(&p->stream->channel));
	}
	send_later(p, PUBLISH_FENCE, buf_view(&command), done);
	buf_deinit(&command);
	forget_message(p);
}

/* Through the same encoding as those that travel, so that they look the same. */
static void deliver_local(struct redis_publisher *p, struct publish *u)
{
	struct redis_core *c = p->core;
	struct cluster_broadcast b;

	if (cluster_decode(slice_of(u->bytes, u->n), &p->decoded, &b) != ERR_OK) {
		c->stats.malformed++;
		return;
	}
	if (!redis_pubsub_hears(p->pubsub, &b))
		return;
	b.flags |= CLUSTER_LOCAL;
	c->stats.received++;
	c->stats.received_bytes += u->n;
	c->base.events->on_message(c->base.ctx, &b);
}

static bool is_logged(const struct link *l)
{
	return publish_of((struct link *)(uintptr_t)l)->kind == PUBLISH_LOGGED;
}

/* Write the first of those that wait, all logged, in one call. Their numbers are one
 * after the other: those that are written again still have theirs. */
static void write_batch(struct redis_publisher *p)
{
	struct redis_stream *s = p->stream;
	struct buf *out = redis_link_out(p->link);
	struct batch *b = mem_zalloc(1, sizeof(*b));
	size_t n = 0, bytes = 0;
	uint64_t first = 0;
	struct link *l;

	b->call = (struct redis_call){.on_reply = on_batch_reply};
	b->publisher = p;
	link_init(&b->publishes);
	while ((l = list_first(&p->waiting)) && is_logged(l) && n < BATCH_MAX) {
		struct publish *u = publish_of(l);

		if (n && bytes + u->n > BATCH_BYTES_MAX)
			break;
		if (!u->number && n && first + n != p->numbered + 1)
			break; /* behind those that are written again */
		if (u->number && n && u->number != first + n)
			break; /* one between was given up */
		if (!u->number)
			u->number = ++p->numbered;
		if (n == 0)
			first = u->number;
		list_push(&b->publishes, list_pop(&p->waiting));
		bytes += u->n;
		n++;
	}
	resp_command(out, 10 + LOGGED_WORDS * n);
	resp_word_str(out, "FCALL");
	resp_word_str(out, "gh_publish");
	resp_word_str(out, "1");
	resp_word(out, buf_view(&s->base));
	resp_word_str(out, p->link->run_id);
	resp_word_str(out, s->next_era);
	resp_word_str(out, p->core->base.node_code);
	resp_word_u64(out, first);
	resp_word_u64(out, p->batches ? p->written : 0);
	resp_word(out, buf_view(&s->caps));
	for (l = b->publishes.next; l != &b->publishes; l = l->next)
		buf_append(out, publish_of(l)->bytes, publish_of(l)->n);
	p->written = first + n - 1;
	p->batches++;
	p->unanswered++;
	redis_link_expect(p->link, &b->call);
}

/* Those that were written and not answered come first again. If data was lost since, they
 * may have been delivered to somebody, and Redis would not know. */
static void take_again(struct redis_publisher *p)
{
	struct link *l;

	if (p->stream->losses != p->losses) {
		p->losses = p->stream->losses;
		while ((l = list_pop(&p->again)))
			finish(publish_of(l), ERR_UNCONFIRMED, false);
	}
	list_splice(&p->again, &p->waiting);
	list_splice(&p->waiting, &p->again);
}

/* May the first of those that wait be written? */
static bool is_ready(struct redis_publisher *p)
{
	return !list_empty(&p->waiting) && list_empty(&p->again) &&
	       redis_link_backlog(p->link) < BACKLOG_BYTES_MAX &&
	       (!is_logged(p->waiting.next) || redis_library_want(p->stream->library));
}

bool redis_publisher_turn(struct redis_publisher *p, bool up)
{
	struct link due, *l;
	bool ran = !list_empty(&p->local);

	if (up && p->batches == 0)
		take_again(p);
	/* Bounded, so that a connection that takes nothing leaves the rest unwritten,
	 * to be sent after the outage instead of becoming unconfirmed. */
	while (up && is_ready(p)) {
		struct publish *u = publish_of(p->waiting.next);

		if (u->kind == PUBLISH_LOGGED) {
			write_batch(p);
			continue;
		}
		list_pop(&p->waiting);
		buf_append(redis_link_out(p->link), u->bytes, u->n);
		p->unanswered++;
		redis_link_expect(p->link, &u->call);
	}
	link_init(&due);
	list_splice(&due, &p->local);
	while ((l = list_pop(&due))) {
		struct publish *u = publish_of(l);
		struct done done = u->done;
		bool closing = p->core->closing;

		p->local_bytes -= cost_of(u->n);
		if (!closing)
			deliver_local(p, u);
		free(u);
		done_run(done, closing ? ERR_CLOSED : ERR_OK);
	}
	return ran;
}

static void give_up(struct link *list, uint64_t now)
{
	while (!list_empty(list) && publish_of(list->next)->deadline_ms <= now) {
		struct publish *u = publish_of(list_pop(list));

		finish(u, u->number ? ERR_UNCONFIRMED : ERR_UNAVAILABLE, false);
	}
}

void redis_publisher_tick(struct redis_publisher *p, bool up, uint64_t now)
{
	/* The next turn sends it. */
	if (up && redis_link_backlog(p->link) < BACKLOG_BYTES_MAX)
		return;
	give_up(&p->again, now);
	give_up(&p->waiting, now);
}

void redis_publisher_close(struct redis_publisher *p)
{
	struct link *l;

	list_splice(&p->again, &p->waiting);
	while ((l = list_pop(&p->again)))
		finish(publish_of(l), ERR_CLOSED, false);
	/* No turn may come between: the timer ends the adapter, too. */
	while ((l = list_pop(&p->local))) {
		struct publish *u = publish_of(l);

		p->local_bytes -= cost_of(u->n);
		redis_core_later(p->core, u->done, ERR_CLOSED);
		free(u);
	}
}
