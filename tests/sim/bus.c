#include "bus.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "adapter/done.h"
#include "proto/mem.h"

enum { COMMANDS_OUT, ANSWERS_IN, SUBSCRIPTIONS_OUT, MESSAGES_IN };

enum item_kind {
	ITEM_PUBLISH,
	ITEM_TELL,
	ITEM_FENCE,
	ITEM_SUBSCRIBE,
	ITEM_UNSUBSCRIBE,
	ITEM_PRESENCE,
	ITEM_DONE,
	ITEM_MESSAGE,
	ITEM_TOLD,
	ITEM_SESSION,
	ITEM_TAKEN, /* a session of the node was taken */
};

struct item {
	struct link link;
	enum item_kind kind;
	struct done done;
	enum err err;
	struct buf key;	  /* a channel, or the code of a node */
	struct buf bytes; /* a message */
	bool logged;
	uint64_t number;
	struct store_call *call;
};

struct channel {
	struct link link;
	struct buf key;
};

static struct item *item_new(enum item_kind kind, struct done done)
{
	struct item *i = mem_zalloc(1, sizeof(*i));

	i->kind = kind;
	i->done = done;
	return i;
}

static void item_free(struct item *i)
{
	buf_deinit(&i->key);
	buf_deinit(&i->bytes);
	if (i->call)
		store_call_free(i->call);
	free(i);
}

static struct bus_node *node_of(struct adapter *a)
{
	return container_of(a, struct bus_node, base);
}

static void queue(struct bus_node *n, int q, struct item *i)
{
	list_push(&n->queues[q], &i->link);
}

static void channel_key(struct buf *out, struct slice nsp, struct slice room)
{
	buf_slice(out, nsp);
	buf_byte(out, '#');
	buf_slice(out, room);
}

/* --- what a node asks for --- */

static void on_open(struct adapter *a)
{
	(void)a;
}

static void on_add_namespace(struct adapter *a, struct slice nsp)
{
	(void)a;
	(void)nsp;
}

static void on_publish(struct adapter *a, const struct cluster_broadcast *b,
		       adapter_done_fn *done, void *arg)
{
	struct item *i = item_new(ITEM_PUBLISH, done_plain(done, arg));
	struct cluster_broadcast own = *b;

	own.uid = SLICE_LIT("gh-node");
	own.flags &= CLUSTER_VOLATILE;
	i->logged = b->flags & CLUSTER_LOGGED;
	channel_key(&i->key, b->nsp, b->rooms_n == 1 ? b->rooms[0] : SLICE_EMPTY);
	cluster_encode(&own, &i->bytes);
	queue(node_of(a), COMMANDS_OUT, i);
}

static void tell(struct adapter *a, enum item_kind kind, struct slice code,
		 struct slice bytes, adapter_done_fn *done, void *arg)
{
	struct item *i = item_new(kind, done_plain(done, arg));

	buf_slice(&i->key, code);
	buf_slice(&i->bytes, bytes);
	queue(node_of(a), COMMANDS_OUT, i);
}

static void on_tell(struct adapter *a, struct slice code, struct slice bytes,
		    adapter_done_fn *done, void *arg)
{
	tell(a, ITEM_TELL, code, bytes, done, arg);
}

static void on_fence(struct adapter *a, struct slice code, struct slice bytes,
		     adapter_done_fn *done, void *arg)
{
	tell(a, ITEM_FENCE, code, bytes, done, arg);
}

static void on_subscribe(struct adapter *a, struct slice nsp, struct slice room,
			 adapter_done_fn *done, void *arg)
{
	struct item *i = item_new(ITEM_SUBSCRIBE, done_plain(done, arg));

	channel_key(&i->key, nsp, room);
	queue(node_of(a), SUBSCRIPTIONS_OUT, i);
}

static bool is_key(const struct link *l, struct slice key)
{
	return slice_eq(
		buf_view(&container_of((struct link *)(uintptr_t)l, struct item, link)
				  ->key),
		key);
}

/* Who waits for a subscription that is given up hears ERR_CLOSED, as adapter.h says. */
static void on_unsubscribe(struct adapter *a, struct slice nsp, struct slice room)
{
	struct bus_node *n = node_of(a);
	struct item *u = item_new(ITEM_UNSUBSCRIBE, done_plain(NULL, NULL));
	static const int queues[] = {SUBSCRIPTIONS_OUT, MESSAGES_IN};
	struct link *l, *tmp;

	channel_key(&u->key, nsp, room);
	for (size_t q = 0; q < 2; q++) {
		list_each(l, tmp, &n->queues[queues[q]])
		{
			struct item *i = container_of(l, struct item, link);

			if ((i->kind == ITEM_SUBSCRIBE || i->kind == ITEM_DONE) &&
			    is_key(l, buf_view(&u->key)))
				i->err = ERR_CLOSED;
		}
	}
	queue(n, SUBSCRIPTIONS_OUT, u);
}

static void on_presence(struct adapter *a, struct slice nsp, struct slice room,
			const struct adapter_member *m, adapter_count_fn *done, void *arg)
{
	(void)nsp;
	(void)room;
	(void)m;
	queue(node_of(a), COMMANDS_OUT, item_new(ITEM_PRESENCE, done_count(done, arg)));
}

static void on_list(struct adapter *a, struct slice nsp, struct slice room,
		    struct slice after, size_t limit, adapter_members_fn *done, void *arg)
{
	(void)nsp;
	(void)room;
	(void)after;
	(void)limit;
	queue(node_of(a), COMMANDS_OUT, item_new(ITEM_PRESENCE, done_members(done, arg)));
}

static void on_session(struct adapter *a, const struct session_request *r,
		       adapter_session_fn *done, void *arg)
{
	struct item *i = item_new(ITEM_SESSION, done_session(done, arg));

	i->call = store_call_new(r);
	queue(node_of(a), COMMANDS_OUT, i);
}

static uint64_t on_position(const struct adapter *a, struct slice *offset)
{
	static char text[OFFSET_MAX];
	uint64_t n = ((const struct bus_node *)(const void *)a)->position;

	snprintf(text, sizeof(text), "era-%llu", (unsigned long long)n);
	*offset = slice_str(text);
	return n;
}

static bool on_turn(struct adapter *a)
{
	(void)a;
	return false;
}

static void on_stats(const struct adapter *a, struct adapter_stats *s)
{
	(void)a;
	(void)s;
}

static void on_close(struct adapter *a, void (*closed)(void *arg), void *arg)
{
	(void)a;
	(void)closed;
	(void)arg;
	assert(false && "the real adapter is closed");
}

static const struct adapter_ops bus_ops = {
	.name = "bus",
	.open = on_open,
	.add_namespace = on_add_namespace,
	.publish = on_publish,
	.tell = on_tell,
	.fence = on_fence,
	.subscribe = on_subscribe,
	.unsubscribe = on_unsubscribe,
	.presence_add = on_presence,
	.presence_remove = on_presence,
	.presence_list = on_list,
	.session = on_session,
	.position = on_position,
	.turn = on_turn,
	.stats = on_stats,
	.close = on_close,
};

struct adapter *bus_join(struct bus *b, const struct adapter *real)
{
	struct bus_node *n = &b->nodes[b->n++];

	assert(b->n <= BUS_NODES_MAX);
	*n = (struct bus_node){.base = *real, .bus = b};
	n->base.ops = &bus_ops;
	for (size_t i = 0; i < BUS_QUEUES; i++)
		link_init(&n->queues[i]);
	link_init(&n->subscribed);
	link_init(&n->again);
	return &n->base;
}

static struct item *any_item(struct bus_node *n)
{
	for (size_t i = 0; i < BUS_QUEUES; i++) {
		struct link *l = list_pop(&n->queues[i]);

		if (l)
			return container_of(l, struct item, link);
	}
	return list_empty(&n->again)
		       ? NULL
		       : container_of(list_pop(&n->again), struct item, link);
}

void bus_leave(struct bus_node *n)
{
	struct item *i;
	struct link *l;

	n->dead = true;
	while ((i = any_item(n))) { /* who hears so may ask for more */
		done_run(i->done, ERR_CLOSED);
		item_free(i);
	}
	while ((l = list_pop(&n->subscribed))) {
		struct channel *c = container_of(l, struct channel, link);

		buf_deinit(&c->key);
		free(c);
	}
}

static void drop_messages(struct bus_node *n, bool numbered)
{
	struct link *l, *tmp;

	list_each(l, tmp, &n->queues[MESSAGES_IN])
	{
		struct item *i = container_of(l, struct item, link);
		bool in_order =
			i->kind == ITEM_SESSION || (i->kind == ITEM_MESSAGE && i->number);

		if (i->kind == ITEM_DONE || (numbered && !in_order))
			continue;
		list_remove(l);
		if (i->kind == ITEM_SESSION)
			list_push(&n->again, l);
		else
			item_free(i);
	}
}

/* Subscriptions are made again when it is back, so those under way wait. */
void bus_cut(struct bus_node *n)
{
	n->deaf = true;
	drop_messages(n, false);
}

void bus_cut_commands(struct bus_node *n)
{
	n->mute = true;
	drop_messages(n, true);
}

bool bus_is_cut(const struct bus_node *n)
{
	return n->deaf || n->mute;
}

/* --- Redis --- */

static struct channel *find(struct bus_node *n, struct slice key)
{
	for (struct link *l = n->subscribed.next; l != &n->subscribed; l = l->next) {
		struct channel *c = container_of(l, struct channel, link);

		if (slice_eq(buf_view(&c->key), key))
			return c;
	}
	return NULL;
}

/* By name, a namespace's own channel, or the pattern of the own ids. */
static bool hears(struct bus_node *n, struct slice key)
{
	const uint8_t *at = memchr(key.p, '#', key.n);
	struct slice room = slice_skip(key, (size_t)(at - key.p) + 1);

	return find(n, key) || room.n == 0 ||
	       (id_is(room) && slice_starts(room, slice_str(n->base.node_code)));
}

static void publish(struct bus *b, struct slice key, struct slice bytes, uint64_t number)
{
	for (size_t i = 0; i < b->n; i++) {
		struct item *m;

		if (b->nodes[i].dead || b->nodes[i].deaf ||
		    (number && b->nodes[i].mute) || !hears(&b->nodes[i], key))
			continue;
		m = item_new(ITEM_MESSAGE, done_plain(NULL, NULL));
		m->number = number;
		buf_slice(&m->bytes, bytes);
		queue(&b->nodes[i], MESSAGES_IN, m);
	}
}

/* The number it got, and the message with it, to who listens. */
static uint64_t publish_logged(struct bus *b, struct slice key, struct slice bytes)
{
	const struct store_entry *e = store_publish(&b->store, key, bytes);

	publish(b, key, buf_view(&e->message), e->number);
	return e->number;
}

uint64_t bus_publish_logged(struct bus *b, const struct cluster_broadcast *message)
{
	struct buf key = BUF_INIT, bytes = BUF_INIT;
	uint64_t number;

	channel_key(&key, message->nsp,
		    message->rooms_n == 1 ? message->rooms[0] : SLICE_EMPTY);
	cluster_encode(message, &bytes);
	number = publish_logged(b, buf_view(&key), buf_view(&bytes));
	buf_deinit(&key);
	buf_deinit(&bytes);
	return number;
}

void bus_mend(struct bus_node *n)
{
	struct store *s = &n->bus->store;
	struct link *l;

	n->deaf = n->mute = false;
	for (l = s->log.next; l != &s->log; l = l->next) {
		struct store_entry *e = container_of(l, struct store_entry, link);
		struct item *m;

		if (e->number <= n->position || !hears(n, buf_view(&e->key)))
			continue;
		m = item_new(ITEM_MESSAGE, done_plain(NULL, NULL));
		m->number = e->number;
		buf_slice(&m->bytes, buf_view(&e->message));
		queue(n, MESSAGES_IN, m);
	}
	while ((l = list_pop(&n->again)))
		list_push(&n->queues[COMMANDS_OUT], l);
}

void bus_init(struct bus *b)
{
	memset(b, 0, sizeof(*b));
	store_init(&b->store);
}

void bus_deinit(struct bus *b)
{
	store_deinit(&b->store);
}

void bus_publish(struct bus *b, const char *nsp, const char *room, struct slice data)
{
	struct slice r = slice_str(room);
	struct cluster_broadcast c = {.nsp = slice_str(nsp),
				      .rooms = &r,
				      .rooms_n = 1,
				      .uid = SLICE_LIT("emitter"),
				      .data = data};
	struct buf key = BUF_INIT, bytes = BUF_INIT;

	channel_key(&key, c.nsp, r);
	cluster_encode(&c, &bytes);
	publish(b, buf_view(&key), buf_view(&bytes), 0);
	buf_deinit(&key);
	buf_deinit(&bytes);
}

/* `number`: how far the node is then, which a fence says; or 0. */
static bool told(struct bus_node *from, struct slice code, struct slice bytes,
		 uint64_t number)
{
	struct bus *b = from->bus;

	for (size_t i = 0; i < b->n; i++) {
		struct item *m;

		if (b->nodes[i].dead || b->nodes[i].deaf ||
		    !slice_eq(slice_str(b->nodes[i].base.node_code), code))
			continue;
		m = item_new(ITEM_TOLD, done_plain(NULL, NULL));
		m->number = number;
		buf_str(&m->key, from->base.node_code);
		buf_slice(&m->bytes, bytes);
		queue(&b->nodes[i], MESSAGES_IN, m);
		return true;
	}
	return false;
}

static bool is_in_stream(const struct item *i)
{
	return i->call->request.op == SESSION_JOIN ||
	       i->call->request.op == SESSION_REPLAY;
}

static void taken(struct bus *b, const struct store_call *c)
{
	for (size_t i = 0; i < b->n && c->taken_from[0]; i++) {
		struct item *m;

		if (b->nodes[i].dead || b->nodes[i].deaf ||
		    strcmp(b->nodes[i].base.node_code, c->taken_from) != 0)
			continue;
		m = item_new(ITEM_TAKEN, done_plain(NULL, NULL));
		buf_slice(&m->key, c->request.sid);
		m->number = c->reply.generation;
		queue(&b->nodes[i], MESSAGES_IN, m);
	}
}

static void do_session(struct bus_node *n, struct item *i)
{
	bool in_stream = is_in_stream(i);

	store_do(&n->bus->store, i->call, n->base.node_code);
	taken(n->bus, i->call);
	if (in_stream && i->call->err == ERR_OK && n->deaf)
		list_push(&n->again, &i->link);
	else
		queue(n, in_stream && i->call->err == ERR_OK ? MESSAGES_IN : ANSWERS_IN,
		      i);
}

static void carry_out(struct bus_node *n, struct item *i)
{
	struct slice key = buf_view(&i->key), bytes = buf_view(&i->bytes);
	struct channel *c = find(n, key);
	int answer = ANSWERS_IN;

	if (i->kind == ITEM_SESSION) {
		do_session(n, i);
		return;
	}
	switch (i->kind) {
	case ITEM_PUBLISH:
		if (i->logged)
			publish_logged(n->bus, key, bytes);
		else
			publish(n->bus, key, bytes, 0);
		break;
	case ITEM_FENCE:
		if (!told(n, slice_str(n->base.node_code), bytes, n->bus->store.seq))
			i->err = ERR_UNAVAILABLE;
		else
			i->err = told(n, key, bytes, 0) ? ERR_OK : ERR_NOT_FOUND;
		break;
	case ITEM_TELL:
		i->err = told(n, key, bytes, 0) ? ERR_OK : ERR_NOT_FOUND;
		break;
	case ITEM_SUBSCRIBE:
		answer = MESSAGES_IN;
		if (!c) {
			c = mem_zalloc(1, sizeof(*c));
			buf_slice(&c->key, key);
			list_push(&n->subscribed, &c->link);
		}
		break;
	case ITEM_UNSUBSCRIBE:
		if (c) {
			list_remove(&c->link);
			buf_deinit(&c->key);
			free(c);
		}
		break;
	case ITEM_PRESENCE:
	case ITEM_DONE:
	case ITEM_MESSAGE:
	case ITEM_TOLD:
	case ITEM_SESSION:
	case ITEM_TAKEN:
		break;
	}
	i->kind = ITEM_DONE;
	queue(n, answer, i);
}

static void deliver(struct bus_node *n, struct item *i)
{
	struct cluster_rooms rooms = {0};
	struct cluster_broadcast b;
	enum err err;

	if (i->kind == ITEM_SESSION) {
		if (i->call->err == ERR_OK && is_in_stream(i) &&
		    i->call->reply.number > n->position)
			n->position = i->call->reply.number;
		if (i->done.session)
			i->done.session(i->done.arg, i->call->err,
					i->call->err ? NULL : &i->call->reply);
	} else if (i->kind == ITEM_TAKEN) {
		n->base.events->on_session(n->base.ctx, SESSION_TAKEN, buf_view(&i->key),
					   i->number, SLICE_EMPTY);
	} else if (i->kind == ITEM_DONE) {
		done_run(i->done, i->err);
	} else if (i->kind == ITEM_TOLD) {
		if (i->number > n->position && !n->mute)
			n->position = i->number;
		n->base.events->on_told(n->base.ctx, buf_view(&i->key),
					buf_view(&i->bytes));
	} else {
		err = cluster_decode(buf_view(&i->bytes), &rooms, &b);
		assert(err == ERR_OK);
		(void)err;
		if (i->number > n->position)
			n->position = i->number;
		n->base.events->on_message(n->base.ctx, &b);
		cluster_rooms_deinit(&rooms);
	}
	item_free(i);
}

/* --- steps --- */

static bool can_step(const struct bus_node *n, size_t q)
{
	return !n->dead && !list_empty(&n->queues[q]) && !(n->mute && q == COMMANDS_OUT);
}

size_t bus_choices(const struct bus *b)
{
	size_t n = 0;

	for (size_t i = 0; i < b->n; i++) {
		for (size_t q = 0; q < BUS_QUEUES; q++)
			n += can_step(&b->nodes[i], q);
	}
	return n;
}

struct bus_node *bus_step(struct bus *b, size_t choice)
{
	for (size_t i = 0; i < b->n; i++) {
		struct bus_node *n = &b->nodes[i];

		for (size_t q = 0; q < BUS_QUEUES; q++) {
			struct item *item;

			if (!can_step(n, q) || choice--)
				continue;
			item = container_of(list_pop(&n->queues[q]), struct item, link);
			if (q == COMMANDS_OUT || q == SUBSCRIPTIONS_OUT) {
				carry_out(n, item);
				return NULL;
			}
			deliver(n, item);
			return n;
		}
	}
	return NULL;
}
