#include "gateway/queue_feeds.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "gateway/conn.h"
#include "proto/mem.h"

enum {
	TAKE_MAX = 100,	  /* messages in one call */
	RETRY_MS = 1000,  /* after the adapter could not */
	STATS_MS = 2000,  /* depths are not asked for more often */
	RENEWALS = 3,	  /* in each lease */
	ANSWER_WHY = 200, /* bytes of what a client says of a failure */
};

/* A queue somebody here consumes from. */
struct feed {
	struct queue_feeds *feeds;
	struct link by_time;
	uint64_t at; /* when it is looked at again; UINT64_MAX: when something happens */
	struct link consumes;
	bool taking, again; /* asked; something happened since */
	struct slice queue;
	uint8_t bytes[];
};

struct member {
	struct socket *socket;
	struct link consumes;
	size_t n;
	char sid[ID_LEN];
};

struct consume {
	struct link of_feed, of_member;
	struct feed *feed;
	struct member *member;
	const struct policy_queue *rule;
	uint16_t prefetch, in_flight;
};

static void pump(struct feed *feed);

void queue_feeds_init(struct queue_feeds *f, struct node *n)
{
	const struct config *c = n->config;
	uint64_t lease = UINT64_MAX;

	*f = (struct queue_feeds){.node = n, .renew_at = UINT64_MAX};
	table_init(&f->feeds, n->seed);
	table_init(&f->members, n->seed);
	link_init(&f->by_time);
	for (size_t i = 0; i < c->namespaces_n; i++) {
		for (size_t j = 0; j < c->namespaces[i].queues_n; j++) {
			uint64_t ms = c->namespaces[i].queues[j].lease_ms;

			lease = ms < lease ? ms : lease;
		}
	}
	f->renew_ms = lease / RENEWALS;
}

void queue_feeds_deinit(struct queue_feeds *f)
{
	assert(f->members.n == 0);
	assert(f->feeds.n == 0);
	table_deinit(&f->members);
	table_deinit(&f->feeds);
	buf_deinit(&f->data);
	buf_deinit(&f->tag);
}

struct queue_settings queue_feeds_settings(const struct policy_queue *rule)
{
	return (struct queue_settings){
		.length_max = rule->length_max,
		.bytes_max = rule->bytes_max,
		.failures_max = rule->failures_max,
		.backoff_ms = rule->backoff_ms,
		.backoff_ms_max = rule->backoff_ms_max,
	};
}

struct metrics_queue *queue_feeds_counts(struct queue_feeds *f,
					 const struct policy_queue *rule)
{
	const struct config *c = f->node->config;

	for (size_t i = 0, k = 0; i < c->namespaces_n;
	     k += c->namespaces[i].queues_n, i++) {
		const struct policy_queue *first = c->namespaces[i].queues;

		if (rule >= first && rule < first + c->namespaces[i].queues_n &&
		    k + (size_t)(rule - first) < METRICS_RULES_MAX)
			return &f->node->metrics.queues[k + (size_t)(rule - first)];
	}
	return &f->others;
}

static const struct policy_queue *rule_of(const struct socket *s, struct slice queue)
{
	const struct config_namespace *c = s->ns->config;

	return policy_find_queue(c->queues, c->queues_n, queue, socket_user(s));
}

/* --- feeds --- */

/* By time; most are looked at after the same time, so its place is at or near the end. */
static void set_at(struct feed *feed, uint64_t at)
{
	struct link *list = &feed->feeds->by_time, *after;

	feed->at = at;
	list_remove(&feed->by_time);
	if (at == UINT64_MAX)
		return;
	for (after = list->prev; after != list; after = after->prev) {
		if (container_of(after, struct feed, by_time)->at <= at)
			break;
	}
	list_push(after->next, &feed->by_time);
}

static struct feed *feed_get(struct queue_feeds *f, struct slice queue)
{
	struct feed *feed = table_get(&f->feeds, queue);

	if (feed)
		return feed;
	feed = mem_zalloc(1, sizeof(*feed) + queue.n);
	feed->feeds = f;
	memcpy(feed->bytes, queue.p, queue.n);
	feed->queue = slice_of(feed->bytes, queue.n);
	link_init(&feed->by_time);
	link_init(&feed->consumes);
	feed->at = UINT64_MAX;
	table_add(&f->feeds, feed->queue, feed);
	adapter_queue_watch(f->node->adapter, feed->queue);
	return feed;
}

/* Nobody consumes and nothing is under way any more? */
static bool feed_end(struct feed *feed)
{
	struct queue_feeds *f = feed->feeds;

	if (!list_empty(&feed->consumes) || feed->taking)
		return false;
	if (f->node->adapter)
		adapter_queue_unwatch(f->node->adapter, feed->queue);
	list_remove(&feed->by_time);
	table_remove(&f->feeds, feed->queue);
	free(feed);
	return true;
}

static size_t room_of(const struct consume *c)
{
	/* A conn that leaves for another node, or has left, takes nothing any more. */
	if (c->member->socket->closing || c->member->socket->conn->state != CONN_OPEN ||
	    c->in_flight >= c->prefetch)
		return 0;
	return (size_t)(c->prefetch - c->in_flight);
}

static size_t room(const struct feed *feed)
{
	size_t n = 0;

	for (struct link *l = feed->consumes.next; l != &feed->consumes; l = l->next)
		n += room_of(container_of(l, struct consume, of_feed));
	return n;
}

/* The next that can take one; each in turn. */
static struct consume *next_consume(struct feed *feed)
{
	struct link *it, *tmp;

	list_each(it, tmp, &feed->consumes)
	{
		struct consume *c = container_of(it, struct consume, of_feed);

		if (!room_of(c))
			continue;
		list_remove(it);
		list_push(&feed->consumes, it);
		return c;
	}
	return NULL;
}

/* --- settling a message --- */

static void on_done(void *arg, enum err err, const struct queue_reply *r)
{
	struct metrics_queue *counts = arg;

	if (err != ERR_OK)
		return; /* its lease runs out, and another gets it */
	if (r->number)
		counts->done++;
	else
		counts->late++;
}

static void on_failed(void *arg, enum err err, const struct queue_reply *r)
{
	struct metrics_queue *counts = arg;

	if (err != ERR_OK)
		return;
	counts->late += r->number == QUEUE_FAILED_LATE;
	counts->failed += r->number != QUEUE_FAILED_LATE;
	counts->died += r->number == QUEUE_FAILED_DEAD;
}

static void on_returned(void *arg, enum err err, const struct queue_reply *r)
{
	struct metrics_queue *counts = arg;

	if (err == ERR_OK)
		counts->returned += r->number;
}

static void settle(struct queue_feeds *f, struct metrics_queue *counts,
		   struct queue_request r, struct queue_ref ref)
{
	r.refs = &ref;
	r.refs_n = 1;
	adapter_queue(f->node->adapter, &r,
		      r.op == QUEUE_DONE   ? on_done
		      : r.op == QUEUE_FAIL ? on_failed
					   : on_returned,
		      counts);
}

/* --- sending --- */

static struct slice tag_of(struct queue_feeds *f, struct queue_ref ref,
			   struct slice queue)
{
	buf_clear(&f->tag);
	buf_append(&f->tag, &ref, sizeof(ref));
	buf_slice(&f->tag, queue);
	assert(f->tag.n <= SOCKET_TAG_MAX);
	return buf_view(&f->tag);
}

/* False: another wrote it. The node it moved from may be of another kind of machine, in
 * which case its tokens are not known and its messages come again. */
static bool read_tag(struct slice tag, struct queue_ref *ref, struct slice *queue)
{
	if (tag.n <= sizeof(*ref))
		return false;
	memcpy(ref, tag.p, sizeof(*ref));
	*queue = slice_skip(tag, sizeof(*ref));
	return true;
}

static void pack_payload(msgpack_packer *pk, struct slice payload)
{
	struct buf value = BUF_INIT;

	/* What a worker pushed may be anything. */
	if (json_to_mp(payload, NULL, &value) == ERR_OK) {
		mp_pack_raw(pk, buf_view(&value));
	} else {
		msgpack_pack_bin(pk, payload.n);
		msgpack_pack_bin_body(pk, payload.p, payload.n);
	}
	buf_deinit(&value);
}

static void pack_message(struct buf *out, struct slice queue,
			 const struct queue_message *m)
{
	char id[24];
	msgpack_packer pk;
	int n = snprintf(id, sizeof(id), "%llu", (unsigned long long)m->id);

	buf_clear(out);
	mp_packer(&pk, out);
	msgpack_pack_array(&pk, 2);
	mp_pack_str(&pk, SLICE_LIT("queue:message"));
	msgpack_pack_map(&pk, 5);
	mp_pack_str(&pk, SLICE_LIT("queue"));
	mp_pack_str(&pk, queue);
	mp_pack_str(&pk, SLICE_LIT("id"));
	mp_pack_str(&pk, slice_of(id, (size_t)n));
	mp_pack_str(&pk, SLICE_LIT("group"));
	if (m->group.n)
		mp_pack_str(&pk, m->group);
	else
		msgpack_pack_nil(&pk);
	mp_pack_str(&pk, SLICE_LIT("attempt"));
	msgpack_pack_uint64(&pk, m->failures + m->lost + 1);
	mp_pack_str(&pk, SLICE_LIT("payload"));
	pack_payload(&pk, m->payload);
}

static void deliver(struct feed *feed, const struct queue_message *m)
{
	struct queue_feeds *f = feed->feeds;
	struct queue_ref ref = {m->id, m->token};
	struct consume *c = next_consume(feed);
	struct metrics_queue *counts = queue_feeds_counts(f, c ? c->rule : NULL);
	enum err err = ERR_CLOSED;

	if (c) {
		pack_message(&f->data, feed->queue, m);
		err = socket_emit_ack(c->member->socket, buf_view(&f->data),
				      c->rule->ack_timeout_ms,
				      node_app(f->node, SLICE_LIT("queues")),
				      tag_of(f, ref, feed->queue));
		buf_clear(&f->data);
		buf_trim(&f->data, NODE_SCRATCH_KEEP);
	}
	if (err == ERR_OK) {
		c->in_flight++;
		counts->delivered++;
		if (f->renew_at == UINT64_MAX)
			f->renew_at = env_now_ms(f->node->env) + f->renew_ms;
	} else if (c && err != ERR_CLOSED) {
		settle(f, counts,
		       (struct queue_request){
			       .op = QUEUE_FAIL,
			       .queue = feed->queue,
			       .why = SLICE_LIT("cannot be sent to a client")},
		       ref);
	} else { /* who could take it is gone meanwhile */
		settle(f, counts,
		       (struct queue_request){.op = QUEUE_RELEASE, .queue = feed->queue},
		       ref);
	}
}

static void on_taken(void *arg, enum err err, const struct queue_reply *r)
{
	struct feed *feed = arg;
	struct node *n = feed->feeds->node;
	uint64_t wait = n->config->queue_poll_ms;
	bool again;

	feed->taking = false;
	for (size_t i = 0; err == ERR_OK && i < r->n; i++)
		deliver(feed, &r->messages[i]);
	if (feed_end(feed))
		return;
	again = feed->again || (err == ERR_OK && r->wait_ms == 0);
	feed->again = false;
	if (err == ERR_CLOSED)
		return;
	if (err != ERR_OK)
		wait = RETRY_MS;
	else if (r->wait_ms >= 0 && (uint64_t)r->wait_ms < wait)
		wait = (uint64_t)r->wait_ms;
	set_at(feed, env_now_ms(n->env) + wait);
	if (again && err == ERR_OK)
		pump(feed);
}

/* Take as many as can be sent on. */
static void pump(struct feed *feed)
{
	struct node *n = feed->feeds->node;
	size_t can = room(feed);
	const struct policy_queue *rule;
	struct queue_settings settings;

	if (feed->taking) {
		feed->again = true;
		return;
	}
	if (!can) {
		set_at(feed, env_now_ms(n->env) + n->config->queue_poll_ms);
		return;
	}
	rule = container_of(feed->consumes.next, struct consume, of_feed)->rule;
	settings = queue_feeds_settings(rule);
	feed->taking = true;
	feed->again = false;
	set_at(feed, UINT64_MAX);
	adapter_queue(n->adapter,
		      &(struct queue_request){.op = QUEUE_TAKE,
					      .queue = feed->queue,
					      .consumer = slice_str(n->code),
					      .settings = &settings,
					      .lease_ms = rule->lease_ms,
					      .limit = can < TAKE_MAX ? can : TAKE_MAX},
		      on_taken, feed);
}

void queue_feeds_woken(struct queue_feeds *f, struct slice queue)
{
	struct feed *feed = table_get(&f->feeds, queue);

	if (feed)
		pump(feed);
}

/* --- who consumes --- */

static struct member *member_get(struct queue_feeds *f, struct socket *s)
{
	struct member *m = table_get(&f->members, socket_id(s));

	if (m)
		return m;
	m = mem_zalloc(1, sizeof(*m));
	m->socket = s;
	memcpy(m->sid, s->id, ID_LEN);
	link_init(&m->consumes);
	table_add(&f->members, slice_of(m->sid, ID_LEN), m);
	return m;
}

static void member_end(struct queue_feeds *f, struct member *m)
{
	if (m->n)
		return;
	table_remove(&f->members, slice_of(m->sid, ID_LEN));
	free(m);
}

static struct consume *find(const struct member *m, struct slice queue)
{
	for (struct link *l = m->consumes.next; l != &m->consumes; l = l->next) {
		struct consume *c = container_of(l, struct consume, of_member);

		if (slice_eq(c->feed->queue, queue))
			return c;
	}
	return NULL;
}

static struct consume *consume_new(struct queue_feeds *f, struct member *m,
				   const struct policy_queue *rule, struct slice queue)
{
	struct consume *c = mem_zalloc(1, sizeof(*c));

	c->feed = feed_get(f, queue);
	c->member = m;
	c->rule = rule;
	list_push(&c->feed->consumes, &c->of_feed);
	list_push(&m->consumes, &c->of_member);
	m->n++;
	queue_feeds_counts(f, rule)->consumers++;
	return c;
}

static void consume_free(struct queue_feeds *f, struct consume *c)
{
	struct feed *feed = c->feed;

	queue_feeds_counts(f, c->rule)->consumers--;
	c->member->n--;
	list_remove(&c->of_feed);
	list_remove(&c->of_member);
	free(c);
	feed_end(feed);
}

enum err queue_feeds_consume(struct queue_feeds *f, struct socket *s,
			     const struct policy_queue *rule, struct slice queue,
			     uint16_t prefetch)
{
	struct member *m = member_get(f, s);
	struct consume *c = find(m, queue);

	if (!c && m->n >= f->node->config->max_consumed) {
		member_end(f, m);
		return ERR_TOO_MANY;
	}
	if (!c)
		c = consume_new(f, m, rule, queue);
	c->prefetch = prefetch;
	pump(c->feed);
	return ERR_OK;
}

bool queue_feeds_stop(struct queue_feeds *f, struct socket *s, struct slice queue)
{
	struct member *m = table_get(&f->members, socket_id(s));
	struct consume *c = m ? find(m, queue) : NULL;

	if (!c)
		return false;
	consume_free(f, c);
	member_end(f, m);
	return true;
}

void queue_feeds_forget(struct queue_feeds *f, struct socket *s)
{
	struct member *m = table_get(&f->members, socket_id(s));
	struct link *l;

	if (!m || m->socket != s)
		return;
	while ((l = list_first(&m->consumes)))
		consume_free(f, container_of(l, struct consume, of_member));
	member_end(f, m);
}

bool queue_feeds_pack(const struct queue_feeds *f, const struct socket *s,
		      msgpack_packer *pk)
{
	const struct member *m = table_get(&f->members, socket_id(s));

	if (!m)
		return false;
	msgpack_pack_array(pk, 3 * m->n);
	for (struct link *l = m->consumes.next; l != &m->consumes; l = l->next) {
		const struct consume *c = container_of(l, struct consume, of_member);

		mp_pack_str(pk, c->feed->queue);
		msgpack_pack_uint16(pk, c->prefetch);
		msgpack_pack_uint16(pk, c->in_flight);
	}
	return true;
}

static enum err read_number(struct mp_cursor *c, uint16_t *out)
{
	int64_t i = 0;
	enum err err = mp_take_int(c, 0, UINT16_MAX, &i);

	if (err == ERR_OK)
		*out = (uint16_t)i;
	return err;
}

enum err queue_feeds_unpack(struct queue_feeds *f, struct socket *s, struct slice value)
{
	struct mp_cursor cur = mp_cursor_of(value);
	uint64_t now = env_now_ms(f->node->env);
	uint32_t count;
	enum err err = mp_read_array(&cur, &count);

	f->renew_at = now < f->renew_at ? now : f->renew_at;
	for (; err == ERR_OK && count >= 3; count -= 3) {
		uint16_t prefetch = 0, in_flight = 0;
		const struct policy_queue *rule;
		struct slice queue;
		struct consume *c;

		err = mp_read_str(&cur, &queue);
		if (err == ERR_OK)
			err = read_number(&cur, &prefetch);
		if (err == ERR_OK)
			err = read_number(&cur, &in_flight);
		if (err != ERR_OK)
			return err;
		rule = rule_of(s, queue);
		if (!rule || !queue.n ||
		    queue.n > SOCKET_TAG_MAX - sizeof(struct queue_ref))
			return ERR_SYNTAX;
		if (table_get(&f->members, socket_id(s)) &&
		    find(table_get(&f->members, socket_id(s)), queue))
			return ERR_SYNTAX;
		c = consume_new(f, member_get(f, s), rule, queue);
		c->prefetch = prefetch;
		c->in_flight = in_flight;
		set_at(c->feed, now); /* once the conn is open here */
	}
	return err == ERR_OK && count ? ERR_SYNTAX : err;
}

/* --- answers --- */

/* Does the ack say that it failed: {ok: false} or {error: …}? */
static bool says_failed(struct slice args, struct slice *why)
{
	struct mp_cursor c = mp_cursor_of(args);
	struct slice first, value;
	struct mp_value v;
	uint32_t count;
	bool failed = false;

	*why = SLICE_LIT("the consumer says that it failed");
	if (mp_read_array(&c, &count) != ERR_OK || count == 0 ||
	    mp_take(&c, &first) != ERR_OK)
		return false;
	if (mp_map_get(first, SLICE_LIT("ok"), &value) == ERR_OK) {
		c = mp_cursor_of(value);
		failed = mp_read(&c, &v) == ERR_OK && v.type == MP_BOOL && !v.b;
	}
	if (mp_map_get(first, SLICE_LIT("error"), &value) != ERR_OK)
		return failed;
	c = mp_cursor_of(value);
	if (mp_read(&c, &v) != ERR_OK || v.type == MP_NIL || (v.type == MP_BOOL && !v.b))
		return failed;
	if (v.type == MP_MAP && mp_map_get(value, SLICE_LIT("message"), &first) == ERR_OK)
		value = first;
	if (mp_get_str(value, &first) == ERR_OK)
		*why = slice_of(first.p, first.n < ANSWER_WHY ? first.n : ANSWER_WHY);
	return true;
}

void queue_feeds_answer(struct queue_feeds *f, struct socket *s, struct slice tag,
			enum err err, struct slice args)
{
	struct member *m = table_get(&f->members, socket_id(s));
	struct queue_request r = {.op = QUEUE_DONE};
	const struct policy_queue *rule;
	struct consume *c;
	struct queue_ref ref;

	if (!read_tag(tag, &ref, &r.queue))
		return;
	rule = rule_of(s, r.queue);
	if (err == ERR_CLOSED) {
		r.op = QUEUE_RELEASE;
		r.delay_ms = rule ? rule->grace_ms : 0;
	} else if (err != ERR_OK) {
		r.op = QUEUE_FAIL;
		r.why = SLICE_LIT("not acknowledged in time");
	} else if (says_failed(args, &r.why)) {
		r.op = QUEUE_FAIL;
	}
	settle(f, queue_feeds_counts(f, rule), r, ref);
	c = m && err != ERR_CLOSED ? find(m, r.queue) : NULL;
	if (!c)
		return;
	if (c->in_flight)
		c->in_flight--;
	pump(c->feed);
}

/* --- time --- */

struct renewing {
	struct queue_feeds *feeds;
	size_t n; /* in flight */
};

static void renew(void *arg, struct socket *s, struct slice tag, uint64_t left_ms)
{
	struct renewing *r = arg;
	const struct policy_queue *rule;
	struct queue_ref ref;
	struct slice queue;

	r->n++;
	if (!read_tag(tag, &ref, &queue))
		return;
	rule = rule_of(s, queue);
	/* Most are answered long before their lease needs it. */
	if (!rule || rule->ack_timeout_ms - left_ms < r->feeds->renew_ms / 2)
		return;
	adapter_queue(r->feeds->node->adapter,
		      &(struct queue_request){.op = QUEUE_EXTEND,
					      .queue = queue,
					      .lease_ms = rule->lease_ms,
					      .refs = &ref,
					      .refs_n = 1},
		      NULL, NULL);
}

void queue_feeds_tick(struct queue_feeds *f, uint64_t now)
{
	struct renewing r = {.feeds = f};
	struct link *l;

	while ((l = list_first(&f->by_time))) {
		struct feed *feed = container_of(l, struct feed, by_time);

		if (feed->at > now)
			break;
		set_at(feed, UINT64_MAX);
		pump(feed);
	}
	if (f->renew_at > now)
		return;
	if (f->node->adapter)
		acks_each(f->node, node_app(f->node, SLICE_LIT("queues")), renew, &r);
	f->renew_at = r.n ? now + f->renew_ms : UINT64_MAX;
}

uint64_t queue_feeds_next(const struct queue_feeds *f)
{
	const struct link *first = f->by_time.next;
	uint64_t at = UINT64_MAX;

	if (first != &f->by_time)
		at = container_of((struct link *)(uintptr_t)first, struct feed, by_time)
			     ->at;
	return f->renew_at < at ? f->renew_at : at;
}

/* --- metrics --- */

static void count_in_flight(void *arg, struct socket *s, struct slice tag,
			    uint64_t left_ms)
{
	struct queue_ref ref;
	struct slice queue;

	(void)left_ms;
	if (read_tag(tag, &ref, &queue))
		queue_feeds_counts(arg, rule_of(s, queue))->in_flight++;
}

static void on_stats(void *arg, enum err err, const struct queue_reply *r)
{
	struct metrics_queue *counts = arg;

	if (err != ERR_OK)
		return;
	counts->depth = r->stats.length;
	counts->dead = r->stats.dead;
	counts->oldest_ms = r->stats.oldest_ms;
}

static bool names_one(const struct policy_queue *rule)
{
	return !strchr(rule->match, '*') && !strstr(rule->match, "{user}");
}

void queue_feeds_measure(struct queue_feeds *f)
{
	const struct config *c = f->node->config;
	uint64_t now = env_now_ms(f->node->env);
	bool ask = f->node->adapter && f->node->backend_up && now >= f->stats_at;

	for (size_t i = 0; i < METRICS_RULES_MAX; i++)
		f->node->metrics.queues[i].in_flight = 0;
	acks_each(f->node, node_app(f->node, SLICE_LIT("queues")), count_in_flight, f);
	if (!ask)
		return;
	f->stats_at = now + STATS_MS;
	for (size_t i = 0; i < c->namespaces_n; i++) {
		for (size_t j = 0; j < c->namespaces[i].queues_n; j++) {
			const struct policy_queue *rule = &c->namespaces[i].queues[j];

			if (names_one(rule))
				adapter_queue(f->node->adapter,
					      &(struct queue_request){
						      .op = QUEUE_STATS,
						      .queue = slice_str(rule->match)},
					      on_stats, queue_feeds_counts(f, rule));
		}
	}
}

void queue_feeds_metrics_write(const struct metrics *m, const struct config *c,
			       struct buf *out)
{
	struct metrics_rule rules[METRICS_RULES_MAX];
	size_t n = 0;

	for (size_t i = 0; i < c->namespaces_n; i++) {
		for (size_t j = 0; j < c->namespaces[i].queues_n && n < METRICS_RULES_MAX;
		     j++) {
			const struct policy_queue *rule = &c->namespaces[i].queues[j];

			rules[n++] = (struct metrics_rule){c->namespaces[i].name,
							   rule->match, names_one(rule)};
		}
	}
	metrics_write_queues(m, rules, n, out);
}
