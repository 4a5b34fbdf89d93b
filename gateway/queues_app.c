#include "gateway/queues_app.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "gateway/conn.h"
#include "gateway/queue_feeds.h"
#include "proto/mem.h"

/* A built-in event being handled. */
struct request {
	struct queue_feeds *feeds;
	struct socket *socket;
	const struct app_event *event;
	struct mp_cursor args; /* behind the queue */
	uint32_t args_n;
	struct slice queue;
	const struct policy_queue *rule; /* NULL: none matches */
};

/* What is needed to answer a push later, when the socket may be gone. */
struct pending {
	struct metrics_queue *counts;
	bool wants_ack;
	uint64_t ack_id;
	struct socket_ref socket;
};

static const struct {
	const char *code, *text;
} errors[] = {
#define QUEUES_ERROR_ROW_(name, code, text) [QUEUES_ERROR_##name] = {code, text},
	QUEUES_ERROR_TABLE(QUEUES_ERROR_ROW_)
#undef QUEUES_ERROR_ROW_
};

static void answer_error(struct socket *s, bool wants_ack, uint64_t ack_id,
			 enum queues_error e, const char *message)
{
	s->ns->node->metrics.events_refused++;
	if (wants_ack)
		app_ack_error(s, ack_id, errors[e].code,
			      message ? message : errors[e].text);
}

static void refuse(const struct request *r, enum queues_error e, const char *message)
{
	answer_error(r->socket, r->event->wants_ack, r->event->ack_id, e, message);
}

static enum queues_error error_of(enum err err)
{
	if (err == ERR_TOO_MANY)
		return QUEUES_ERROR_QUEUE_FULL;
	if (err == ERR_FULL)
		return QUEUES_ERROR_FULL;
	if (err == ERR_UNCONFIRMED)
		return QUEUES_ERROR_UNCONFIRMED;
	return QUEUES_ERROR_UNAVAILABLE;
}

/* Begin {ok:true, queue} with `pairs` further pairs, in the node's scratch. */
static void answer_begin(struct node *n, msgpack_packer *pk, size_t pairs)
{
	buf_clear(&n->encode);
	mp_packer(pk, &n->encode);
	msgpack_pack_array(pk, 1);
	msgpack_pack_map(pk, pairs + 1);
	mp_pack_str(pk, SLICE_LIT("ok"));
	msgpack_pack_true(pk);
}

static void answer_send(struct socket *s, uint64_t ack_id)
{
	enum err err = socket_ack(s, ack_id, buf_view(&s->ns->node->encode));

	assert(err == ERR_OK);
	(void)err;
}

/* --- queue:push --- */

/* The options {group?, key?, delay_ms?, ttl_ms?}. */
struct push_options {
	struct slice group, key;
	int64_t delay_ms, ttl_ms;
};

/* False: it is there and not of its type. */
static bool read_text(struct slice options, const char *name, struct slice *out)
{
	struct slice value;
	enum err err = mp_map_get(options, slice_str(name), &value);

	if (err == ERR_NOT_FOUND)
		return true;
	return err == ERR_OK && mp_get_str(value, out) == ERR_OK;
}

static bool read_ms(struct slice options, const char *name, uint64_t max, int64_t *out)
{
	struct slice value;
	enum err err = mp_map_get(options, slice_str(name), &value);

	if (err == ERR_NOT_FOUND)
		return true;
	return err == ERR_OK && mp_get_int(value, 0, (int64_t)max, out) == ERR_OK;
}

static bool read_options(const struct request *r, struct slice options,
			 struct push_options *o)
{
	uint64_t ttl_max = r->rule->ttl_ms;
	struct mp_cursor c = mp_cursor_of(options);
	struct mp_value v;

	*o = (struct push_options){.ttl_ms = (int64_t)r->rule->ttl_ms};
	/* Absent, null and undefined (an ext) are no options. */
	if (!options.n || (mp_read(&c, &v) == ERR_OK && v.type != MP_MAP &&
			   (v.type == MP_NIL || v.type == MP_EXT)))
		return true;
	if (!ttl_max)
		ttl_max = UINT32_MAX;
	if (!read_text(options, "group", &o->group) ||
	    !read_text(options, "key", &o->key) ||
	    !read_ms(options, "delay_ms", r->rule->delay_ms_max, &o->delay_ms) ||
	    !read_ms(options, "ttl_ms", ttl_max, &o->ttl_ms)) {
		refuse(r, QUEUES_ERROR_BAD_REQUEST,
		       "the options are {group: text, key: text, delay_ms: number, "
		       "ttl_ms: number}, and the numbers within what the queue allows");
		return false;
	}
	if (!o->ttl_ms)
		o->ttl_ms = (int64_t)r->rule->ttl_ms;
	if (o->group.n > r->socket->ns->node->config->max_queue_name ||
	    o->key.n > r->socket->ns->node->config->max_queue_name) {
		refuse(r, QUEUES_ERROR_TOO_LONG, NULL);
		return false;
	}
	return true;
}

static void on_pushed(void *arg, enum err err, const struct queue_reply *reply)
{
	struct pending *p = arg;
	struct node *n = p->socket.ns->node;
	struct socket *s = socket_get(&p->socket);
	msgpack_packer pk;
	char id[24];
	int len;

	p->counts->pushed += err == ERR_OK;
	p->counts->full += err == ERR_TOO_MANY;
	if (err != ERR_OK && !p->wants_ack)
		n->metrics.events_lost++;
	if (s && err != ERR_OK && err != ERR_CLOSED) {
		answer_error(s, p->wants_ack, p->ack_id, error_of(err), NULL);
	} else if (s && err == ERR_OK && p->wants_ack) {
		len = snprintf(id, sizeof(id), "%llu", (unsigned long long)reply->number);
		answer_begin(n, &pk, 1);
		mp_pack_str(&pk, SLICE_LIT("id"));
		mp_pack_str(&pk, slice_of(id, (size_t)len));
		answer_send(s, p->ack_id);
	}
	socket_end(&p->socket);
	free(p);
}

/* Keys are each user's own: nobody uses up another's. */
static void put_key(struct buf *out, const struct socket *s, struct slice key)
{
	if (!key.n)
		return;
	buf_str(out, "client:");
	buf_slice(out, socket_user(s));
	buf_byte(out, ':');
	buf_slice(out, key);
}

static void send_push(const struct request *r, const struct push_options *o,
		      struct slice payload)
{
	struct socket *s = r->socket;
	struct queue_settings settings = queue_feeds_settings(r->rule);
	struct pending *p = mem_zalloc(1, sizeof(*p));
	struct buf key = BUF_INIT;

	p->counts = queue_feeds_counts(r->feeds, r->rule);
	p->wants_ack = r->event->wants_ack;
	p->ack_id = r->event->ack_id;
	p->socket = socket_begin(s);
	put_key(&key, s, o->key);
	adapter_queue(s->ns->node->adapter,
		      &(struct queue_request){.op = QUEUE_PUSH,
					      .queue = r->queue,
					      .settings = &settings,
					      .payload = payload,
					      .group = o->group,
					      .key = buf_view(&key),
					      .delay_ms = (uint64_t)o->delay_ms,
					      .ttl_ms = (uint64_t)o->ttl_ms},
		      on_pushed, p);
	buf_deinit(&key);
}

static void push(const struct request *r)
{
	struct node *n = r->socket->ns->node;
	struct mp_cursor args = r->args;
	struct slice payload, options = SLICE_EMPTY;
	struct push_options o;
	enum err err;

	if (!policy_allows_queue(r->rule, POLICY_PUSH, socket_user(r->socket))) {
		refuse(r, QUEUES_ERROR_NOT_ALLOWED, NULL);
		return;
	}
	if (r->args_n == 0 || mp_take(&args, &payload) != ERR_OK ||
	    (r->args_n > 1 && mp_take(&args, &options) != ERR_OK)) {
		refuse(r, QUEUES_ERROR_BAD_REQUEST,
		       "queue:push takes a queue, a payload and options");
		return;
	}
	if (!read_options(r, options, &o))
		return;
	buf_clear(&n->text);
	err = mp_to_json(payload, &n->text, NULL);
	if (err != ERR_OK)
		refuse(r, QUEUES_ERROR_BAD_REQUEST,
		       "the payload must be what JSON can say, without binaries");
	else if (n->text.n > r->rule->payload_max)
		refuse(r, QUEUES_ERROR_TOO_BIG, NULL);
	else
		send_push(r, &o, buf_view(&n->text));
	buf_clear(&n->text);
	buf_trim(&n->text, NODE_SCRATCH_KEEP);
}

/* --- queue:consume, queue:stop --- */

/* {prefetch?}: 1 unless given. */
static bool read_prefetch(const struct request *r, int64_t *prefetch)
{
	struct mp_cursor args = r->args;
	struct slice options, value;
	enum err err;

	*prefetch = 1;
	if (r->args_n == 0)
		return true;
	if (mp_take(&args, &options) != ERR_OK)
		return false;
	err = mp_map_get(options, SLICE_LIT("prefetch"), &value);
	if (err == ERR_OK)
		err = mp_get_int(value, 1, (int64_t)r->rule->prefetch_max, prefetch);
	return err == ERR_OK || err == ERR_NOT_FOUND;
}

static void answer_queue(const struct request *r, size_t pairs, msgpack_packer *pk)
{
	answer_begin(r->socket->ns->node, pk, pairs + 1);
	mp_pack_str(pk, SLICE_LIT("queue"));
	mp_pack_str(pk, r->queue);
}

static void consume(const struct request *r)
{
	int64_t prefetch;
	msgpack_packer pk;

	if (!policy_allows_queue(r->rule, POLICY_CONSUME, socket_user(r->socket))) {
		refuse(r, QUEUES_ERROR_NOT_ALLOWED, NULL);
		return;
	}
	if (!read_prefetch(r, &prefetch)) {
		refuse(r, QUEUES_ERROR_BAD_REQUEST,
		       "queue:consume takes a queue and {prefetch: number}, at most the "
		       "queue's maxPrefetch");
		return;
	}
	if (queue_feeds_consume(r->feeds, r->socket, r->rule, r->queue,
				(uint16_t)prefetch) != ERR_OK) {
		refuse(r, QUEUES_ERROR_TOO_MANY, NULL);
		return;
	}
	if (!r->event->wants_ack)
		return;
	answer_queue(r, 1, &pk);
	mp_pack_str(&pk, SLICE_LIT("prefetch"));
	msgpack_pack_int64(&pk, prefetch);
	answer_send(r->socket, r->event->ack_id);
}

static void stop(const struct request *r)
{
	msgpack_packer pk;

	if (!queue_feeds_stop(r->feeds, r->socket, r->queue)) {
		refuse(r, QUEUES_ERROR_NOT_CONSUMING, NULL);
		return;
	}
	if (!r->event->wants_ack)
		return;
	answer_queue(r, 0, &pk);
	answer_send(r->socket, r->event->ack_id);
}

/* --- the application --- */

static const struct {
	const char *event;
	void (*handle)(const struct request *r);
} handlers[] = {
	{"queue:push", push},
	{"queue:consume", consume},
	{"queue:stop", stop},
};

/* Read the queue, which all built-in events have as their first argument. */
static bool read_request(struct request *r)
{
	const struct namespace *ns = r->socket->ns;
	uint32_t count;
	struct slice name;

	r->args = mp_cursor_of(r->event->data);
	if (mp_read_array(&r->args, &count) != ERR_OK || count < 2 ||
	    mp_take(&r->args, &name) != ERR_OK ||
	    mp_read_str(&r->args, &r->queue) != ERR_OK || r->queue.n == 0) {
		refuse(r, QUEUES_ERROR_BAD_REQUEST,
		       "the first argument is the queue's name, a string that is not "
		       "empty");
		return false;
	}
	r->args_n = count - 2;
	if (r->queue.n > ns->node->config->max_queue_name) {
		refuse(r, QUEUES_ERROR_TOO_LONG, NULL);
		return false;
	}
	r->rule = policy_find_queue(ns->config->queues, ns->config->queues_n, r->queue,
				    socket_user(r->socket));
	return true;
}

static bool on_event(void *app, struct socket *s, const struct app_event *e)
{
	struct request r = {.feeds = app, .socket = s, .event = e};

	if (!slice_starts(e->name, SLICE_LIT("queue:")))
		return false;
	for (size_t i = 0; i < sizeof(handlers) / sizeof(handlers[0]); i++) {
		if (slice_eq(e->name, slice_str(handlers[i].event))) {
			if (read_request(&r))
				handlers[i].handle(&r);
			return true;
		}
	}
	refuse(&r, QUEUES_ERROR_UNKNOWN_EVENT, NULL);
	return true;
}

static void *open_app(struct node *node)
{
	struct queue_feeds *f = mem_zalloc(1, sizeof(*f));

	queue_feeds_init(f, node);
	return f;
}

static void close_app(void *app)
{
	queue_feeds_deinit(app);
	free(app);
}

static void on_connect(void *app, struct socket *s, struct slice auth)
{
	(void)app;
	(void)s;
	(void)auth;
}

static void on_answer(void *app, struct socket *s, struct slice tag, enum err err,
		      struct slice args)
{
	queue_feeds_answer(app, s, tag, err, args);
}

static void on_disconnect(void *app, struct socket *s, const char *reason)
{
	(void)reason;
	queue_feeds_forget(app, s);
}

static bool pack(void *app, const struct socket *s, msgpack_packer *pk)
{
	return queue_feeds_pack(app, s, pk);
}

static enum err unpack(void *app, struct socket *s, struct slice value)
{
	return queue_feeds_unpack(app, s, value);
}

static void on_moved(void *app, struct socket *s)
{
	queue_feeds_forget(app, s);
}

static void on_queue(void *app, struct slice queue)
{
	queue_feeds_woken(app, queue);
}

static uint64_t next(const void *app)
{
	return queue_feeds_next(app);
}

static void tick(void *app, uint64_t now)
{
	queue_feeds_tick(app, now);
}

static void measure(void *app)
{
	queue_feeds_measure(app);
}

const struct app_ops queues_app = {
	.name = "queues",
	.open = open_app,
	.close = close_app,
	.on_connect = on_connect,
	.on_event = on_event,
	.on_answer = on_answer,
	.on_disconnect = on_disconnect,
	.pack = pack,
	.unpack = unpack,
	.on_moved = on_moved,
	.on_queue = on_queue,
	.next = next,
	.tick = tick,
	.measure = measure,
};
