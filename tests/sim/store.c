#include "store.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/cluster.h"
#include "proto/mem.h"

enum { SPANS_MAX = 64, ROOMS_MAX = 8, PAGE_MAX = 256 };

struct place {
	struct buf name;
	unsigned flags;
	struct session_span spans[SPANS_MAX];
	size_t n;
};

struct session {
	struct link link;
	struct buf pid, user, nsp;
	char owner[NODE_CODE_LEN + 1];
	uint64_t generation, floor;
	bool parked;
	struct place rooms[ROOMS_MAX];
	size_t rooms_n;
};

void store_init(struct store *s)
{
	*s = (struct store){0};
	link_init(&s->log);
	link_init(&s->sessions);
}

static void session_free(struct session *s)
{
	list_remove(&s->link);
	for (size_t i = 0; i < s->rooms_n; i++)
		buf_deinit(&s->rooms[i].name);
	buf_deinit(&s->pid);
	buf_deinit(&s->user);
	buf_deinit(&s->nsp);
	free(s);
}

void store_deinit(struct store *s)
{
	struct link *l;

	while ((l = list_pop(&s->log))) {
		struct store_entry *e = container_of(l, struct store_entry, link);

		buf_deinit(&e->key);
		buf_deinit(&e->message);
		free(e);
	}
	while ((l = list_first(&s->sessions)))
		session_free(container_of(l, struct session, link));
}

const struct store_entry *store_publish(struct store *s, struct slice key,
					struct slice message)
{
	struct store_entry *e = mem_zalloc(1, sizeof(*e));
	char offset[OFFSET_MAX];

	e->number = ++s->seq;
	snprintf(offset, sizeof(offset), "era-%llu", (unsigned long long)e->number);
	buf_slice(&e->key, key);
	buf_slice(&e->message, message);
	cluster_await_offset(&e->message);
	cluster_put_offset(&e->message, slice_str(offset));
	list_push(&s->log, &e->link);
	return e;
}

/* --- calls --- */

static struct slice keep(struct buf *b, size_t *at, struct slice s)
{
	struct slice copy = slice_of(b->p + *at, s.n);

	*at += s.n;
	return copy;
}

struct store_call *store_call_new(const struct session_request *r)
{
	struct store_call *c = mem_zalloc(1, sizeof(*c));
	struct slice *to[] = {&c->request.sid,	&c->request.nsp,    &c->request.pid,
			      &c->request.user, &c->request.offset, &c->request.room};
	size_t at = 0;

	c->request = *r;
	for (size_t i = 0; i < 6; i++)
		buf_slice(&c->text, *to[i]);
	for (size_t i = 0; i < 6; i++)
		*to[i] = keep(&c->text, &at, *to[i]);
	return c;
}

static void forget_reply(struct store_call *c)
{
	free(c->rooms);
	free(c->messages);
	c->rooms = NULL;
	c->messages = NULL;
	buf_clear(&c->kept);
	c->taken_from[0] = '\0';
	c->reply = (struct session_reply){0};
}

void store_call_free(struct store_call *c)
{
	forget_reply(c);
	buf_deinit(&c->text);
	buf_deinit(&c->kept);
	free(c);
}

/* --- sessions --- */

static struct session *find(struct store *s, struct slice sid)
{
	for (struct link *l = s->sessions.next; l != &s->sessions; l = l->next) {
		struct session *x = container_of(l, struct session, link);

		if (slice_starts(buf_view(&x->pid), sid))
			return x;
	}
	return NULL;
}

bool store_knows(struct store *s, struct slice sid)
{
	return find(s, sid) != NULL;
}

static void begin(struct store *s, const struct session_request *r, const char *code)
{
	struct session *x = find(s, r->sid);

	if (x)
		session_free(x);
	x = mem_zalloc(1, sizeof(*x));
	buf_slice(&x->pid, r->pid);
	buf_slice(&x->user, r->user);
	buf_slice(&x->nsp, r->nsp);
	memcpy(x->owner, code, NODE_CODE_LEN + 1);
	x->generation = 1;
	x->floor = r->number;
	list_push(&s->sessions, &x->link);
}

static struct place *place_of(struct session *x, struct slice room, bool make)
{
	for (size_t i = 0; i < x->rooms_n; i++) {
		if (slice_eq(buf_view(&x->rooms[i].name), room))
			return &x->rooms[i];
	}
	if (!make)
		return NULL;
	assert(x->rooms_n < ROOMS_MAX);
	buf_slice(&x->rooms[x->rooms_n].name, room);
	return &x->rooms[x->rooms_n++];
}

static bool is_in(const struct place *p)
{
	return p && p->n && p->spans[p->n - 1].left == UINT64_MAX;
}

static void join(struct store *s, struct session *x, const struct session_request *r)
{
	struct place *p = place_of(x, r->room, true);

	p->flags = r->flags;
	if (is_in(p))
		return;
	assert(p->n < SPANS_MAX);
	p->spans[p->n++] = (struct session_span){s->seq, UINT64_MAX};
}

static enum err take(struct session *x, struct store_call *c, const char *code)
{
	const struct session_request *r = &c->request;
	struct slice era;
	uint64_t offset = 0;
	size_t at = 0;

	if (!slice_eq(buf_view(&x->pid), r->pid) ||
	    !slice_eq(buf_view(&x->nsp), r->nsp) ||
	    !slice_eq(buf_view(&x->user), r->user))
		return ERR_NOT_FOUND;
	if (!x->parked)
		memcpy(c->taken_from, x->owner, NODE_CODE_LEN + 1);
	c->reply.parked = x->parked;
	x->parked = false;
	memcpy(x->owner, code, NODE_CODE_LEN + 1);
	c->reply.generation = ++x->generation;
	if (r->offset.n && cluster_offset(r->offset, &era, &offset) != ERR_OK)
		offset = 0;
	c->reply.number = offset > x->floor ? offset : x->floor;
	c->rooms = mem_zalloc(x->rooms_n, sizeof(*c->rooms));
	for (size_t i = 0; i < x->rooms_n; i++)
		buf_slice(&c->kept, buf_view(&x->rooms[i].name));
	for (size_t i = 0; i < x->rooms_n; i++)
		c->rooms[i] = (struct session_room){
			.name = keep(&c->kept, &at, buf_view(&x->rooms[i].name)),
			.flags = x->rooms[i].flags,
			.spans = x->rooms[i].spans, /* copied by who gets them */
			.spans_n = x->rooms[i].n,
		};
	c->reply.rooms = c->rooms;
	c->reply.rooms_n = x->rooms_n;
	return ERR_OK;
}

/* Is this entry in one of the logs that are looked through for the session? */
static bool is_logged_for(struct session *x, const struct store_entry *e,
			  const struct session_request *r)
{
	struct slice key = buf_view(&e->key), nsp = buf_view(&x->nsp), room;
	struct place *p;

	if (!slice_starts(key, nsp) || key.n <= nsp.n || key.p[nsp.n] != '#')
		return false;
	room = slice_skip(key, nsp.n + 1);
	if (room.n == 0 || slice_eq(room, r->sid))
		return true;
	p = place_of(x, room, false);
	for (size_t i = 0; p && i < p->n; i++) {
		if (p->spans[i].joined < e->number && e->number <= p->spans[i].left)
			return true;
	}
	return false;
}

static void replay(struct store *s, struct session *x, struct store_call *c)
{
	const struct session_request *r = &c->request;
	size_t n = 0, bytes = 0, at = 0;
	struct store_entry *page[PAGE_MAX];

	c->reply.end = true;
	c->reply.number = s->seq;
	for (struct link *l = s->log.next; l != &s->log; l = l->next) {
		struct store_entry *e = container_of(l, struct store_entry, link);

		if (e->number <= r->number || !is_logged_for(x, e, r))
			continue;
		bytes += e->message.n;
		if (n && (bytes > r->bytes_max || n == PAGE_MAX)) {
			c->reply.end = false;
			c->reply.number = page[n - 1]->number;
			break;
		}
		page[n++] = e;
	}
	for (size_t i = 0; i < n; i++)
		buf_slice(&c->kept, buf_view(&page[i]->message));
	c->messages = mem_zalloc(n, sizeof(*c->messages));
	for (size_t i = 0; i < n; i++)
		c->messages[i] = keep(&c->kept, &at, buf_view(&page[i]->message));
	c->reply.messages = c->messages;
	c->reply.messages_n = n;
}

static void leave(struct session *x, const struct session_request *r)
{
	struct place *p = place_of(x, r->room, false);

	if (is_in(p))
		p->spans[p->n - 1].left = r->number;
}

void store_do(struct store *s, struct store_call *c, const char *code)
{
	const struct session_request *r = &c->request;
	struct session *x = find(s, r->sid);

	forget_reply(c);
	c->err = ERR_OK;
	if (r->op == SESSION_NEW) {
		begin(s, r, code);
		return;
	}
	if (!x)
		c->err = ERR_NOT_FOUND;
	else if (r->op == SESSION_TAKE)
		c->err = take(x, c, code);
	else if (r->generation != x->generation)
		c->err = ERR_CLOSED;
	if (c->err != ERR_OK)
		return;
	switch (r->op) {
	case SESSION_JOIN:
		join(s, x, r);
		c->reply.number = s->seq;
		break;
	case SESSION_LEAVE:
		leave(x, r);
		break;
	case SESSION_RENEW:
		if (r->arrived)
			memcpy(x->owner, code, NODE_CODE_LEN + 1);
		x->parked = false;
		x->floor = r->number > x->floor ? r->number : x->floor;
		break;
	case SESSION_PARK:
		x->parked = true;
		break;
	case SESSION_END:
		session_free(x);
		break;
	case SESSION_REPLAY:
		replay(s, x, c);
		break;
	case SESSION_NEW:
	case SESSION_TAKE:
	case SESSION_OPS:
		break;
	}
}
