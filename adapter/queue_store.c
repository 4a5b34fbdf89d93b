#include "adapter/queue_store.h"

#include <assert.h>
#include <stdlib.h>

#include "proto/buf.h"
#include "proto/list.h"
#include "proto/mem.h"

enum { STEPS = 1000, MOVES = 100, TAKE_BYTES = 1024 * 1024, EXPONENT_MAX = 40 };
static const uint64_t KEEP_MS = 86400000;
/* How long the counters of an empty queue are remembered. */
static const uint64_t EMPTY_MS = 604800000;

const struct queue_settings queue_settings_default = {
	.length_max = 100000,
	.bytes_max = 67108864,
	.failures_max = 5,
	.backoff_ms = 1000,
	.backoff_ms_max = 60000,
};

/* An idle group without messages is not kept. */
enum group_state { GROUP_IDLE, GROUP_READY, GROUP_HELD, GROUP_DELAYED };

struct group {
	enum group_state state;
	struct link messages; /* of struct message: those that are its turn, in order */
	struct link at;	      /* in ready, leases or due */
	uint64_t until_ms;    /* HELD: the lease's end; DELAYED: then ready */
	uint64_t token;	      /* HELD */
	bool named;
	struct slice key; /* the name, or the id of its only message */
	uint8_t bytes[];
};

struct message {
	struct link all;     /* in ids or dead, by id */
	struct link order;   /* in its group, or in `late` */
	struct group *group; /* NULL: it is delayed or dead */
	bool dead;
	uint64_t id, expires_ms, due_ms, failures, lost;
	struct buf error;
	struct slice name, payload; /* name: of its group */
	uint8_t bytes[];
};

struct key {
	struct link by_age;
	uint64_t id, until_ms;
	struct slice name;
	uint8_t bytes[];
};

struct queue {
	struct queue_settings settings;
	struct table named, messages, keys; /* groups by name; messages by id */
	struct link ids, dead, ready, leases, due, late, key_ages;
	uint64_t last, bytes;
	struct queue_stats counts;
	struct link empty; /* in the store's list of that name */
	uint64_t empty_ms; /* since when */
	uint64_t now_ms;   /* of this call */
	bool wake;
	struct slice name;
	uint8_t name_bytes[];
};

static struct slice put(uint8_t **at, struct slice s)
{
	struct slice copy = {*at, s.n};

	if (s.n)
		memcpy(*at, s.p, s.n);
	*at += s.n;
	return copy;
}

static struct slice id_key(const uint64_t *id)
{
	return slice_of(id, sizeof(*id));
}

static struct group *group_at(struct link *l)
{
	return container_of(l, struct group, at);
}

static struct message *ordered(struct link *l)
{
	return container_of(l, struct message, order);
}

void queue_store_init(struct queue_store *s, const uint64_t seed[2])
{
	*s = (struct queue_store){.seed = {seed[0], seed[1]}};
	table_init(&s->queues, seed);
	link_init(&s->empty);
}

static struct queue *queue_of(struct queue_store *s, struct slice name, uint64_t now_us)
{
	struct queue *q = table_get(&s->queues, name);
	struct link *lists[7];
	uint8_t *at;

	if (!q) {
		q = mem_zalloc(1, sizeof(*q) + name.n);
		at = q->name_bytes;
		q->name = put(&at, name);
		q->settings = queue_settings_default;
		table_init(&q->named, s->seed);
		table_init(&q->messages, s->seed);
		table_init(&q->keys, s->seed);
		lists[0] = &q->ids;
		lists[1] = &q->dead;
		lists[2] = &q->ready;
		lists[3] = &q->leases;
		lists[4] = &q->due;
		lists[5] = &q->late;
		lists[6] = &q->key_ages;
		for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
			link_init(lists[i]);
		link_init(&q->empty);
		table_add(&s->queues, q->name, q);
	}
	q->now_ms = now_us / 1000;
	q->wake = false;
	return q;
}

static uint64_t draw(struct queue *q, uint64_t now_us)
{
	q->last = q->last + 1 > now_us ? q->last + 1 : now_us;
	return q->last;
}

/* --- the states of a group --- */

static void by_time(struct link *list, struct group *g)
{
	struct link *after = list->prev;

	while (after != list && group_at(after)->until_ms > g->until_ms)
		after = after->prev;
	list_push(after->next, &g->at);
}

/* The one place where a group's state changes; the list it is in follows it. */
static void set_state(struct queue *q, struct group *g, enum group_state to, bool front)
{
	static const unsigned from[] = {
		[GROUP_IDLE] = 1u << GROUP_READY | 1u << GROUP_HELD,
		[GROUP_READY] = 1u << GROUP_IDLE | 1u << GROUP_HELD | 1u << GROUP_DELAYED,
		[GROUP_HELD] = 1u << GROUP_READY,
		[GROUP_DELAYED] = 1u << GROUP_HELD,
	};

	assert(from[to] & 1u << g->state);
	g->state = to;
	list_remove(&g->at);
	switch (to) {
	case GROUP_IDLE:
		if (g->named)
			table_remove(&q->named, g->key);
		free(g);
		break;
	case GROUP_READY:
		list_push(front ? q->ready.next : &q->ready, &g->at);
		q->wake = true;
		break;
	case GROUP_HELD:
		by_time(&q->leases, g);
		break;
	case GROUP_DELAYED:
		by_time(&q->due, g);
		q->wake = true; /* so that who waits asks how long */
		break;
	}
}

/* Only an idle group becomes ready by a message: not one in back-off. */
static void enter(struct queue *q, struct message *m)
{
	struct group *g = m->name.n ? table_get(&q->named, m->name) : NULL;
	uint8_t *at;

	if (!g) {
		g = mem_zalloc(1, sizeof(*g) + m->name.n);
		at = g->bytes;
		g->named = m->name.n > 0;
		g->key = put(&at, m->name);
		link_init(&g->messages);
		link_init(&g->at);
		if (g->named)
			table_add(&q->named, g->key, g);
	}
	list_remove(&m->order);
	list_push(&g->messages, &m->order);
	m->group = g;
	if (g->state == GROUP_IDLE)
		set_state(q, g, GROUP_READY, false);
}

/* It is in its group no more; that one goes on with the next, or is idle. */
static void leave(struct queue *q, struct message *m)
{
	struct group *g = m->group;

	list_remove(&m->order);
	m->group = NULL;
	if (g->state == GROUP_READY) /* what expired; its turn stays */
		return;
	set_state(q, g, list_empty(&g->messages) ? GROUP_IDLE : GROUP_READY, false);
}

static struct message *head(const struct group *g)
{
	struct link *l = list_first(&g->messages);

	return l ? ordered(l) : NULL;
}

static void message_free(struct message *m)
{
	buf_deinit(&m->error);
	free(m);
}

/* The message leaves the queue for good. */
static void discard(struct queue *q, struct message *m)
{
	table_remove(&q->messages, id_key(&m->id));
	list_remove(&m->all);
	q->bytes -= m->payload.n + m->name.n + 1;
	if (m->dead)
		q->counts.dead--;
	else
		q->counts.length--;
	message_free(m);
}

/* The message `ref` names, if it is held with this token. NULL: a late answer. */
static struct message *held(const struct queue *q, const struct queue_ref *ref)
{
	struct message *m = table_get(&q->messages, id_key(&ref->id));

	if (!m || !m->group || m->group->state != GROUP_HELD ||
	    m->group->token != ref->token || head(m->group) != m)
		return NULL;
	return m;
}

static void give_back(struct queue *q, struct group *g, uint64_t delay_ms)
{
	head(g)->lost++;
	q->counts.lost++;
	if (delay_ms) {
		g->until_ms = q->now_ms + delay_ms;
		set_state(q, g, GROUP_DELAYED, false);
	} else {
		set_state(q, g, GROUP_READY, true);
	}
}

/* What is due becomes ready, groups and late messages in the order of their times. */
static void promote(struct queue *q)
{
	for (size_t i = 0; i < MOVES; i++) {
		struct link *gl = list_first(&q->due), *ml = list_first(&q->late);
		struct group *g = gl ? group_at(gl) : NULL;
		struct message *m = ml ? ordered(ml) : NULL;

		if (m && m->due_ms <= q->now_ms && (!g || m->due_ms < g->until_ms))
			enter(q, m);
		else if (g && g->until_ms <= q->now_ms)
			set_state(q, g, GROUP_READY, false);
		else
			return;
	}
}

/* To the front, the longest overdue first. */
static size_t reap(struct queue *q, size_t limit)
{
	struct link *l = q->leases.next;
	size_t n = 0;

	while (n < limit && l != &q->leases && group_at(l)->until_ms <= q->now_ms) {
		l = l->next;
		n++;
	}
	for (size_t i = 0; i < n; i++) {
		struct link *before = l->prev;

		give_back(q, group_at(before), 0);
	}
	return n;
}

/* --- operations --- */

static void forget_keys(struct queue *q)
{
	struct link *l;

	while ((l = list_first(&q->key_ages))) {
		struct key *k = container_of(l, struct key, by_age);

		if (k->until_ms > q->now_ms)
			return;
		list_remove(&k->by_age);
		table_remove(&q->keys, k->name);
		free(k);
	}
}

static void keep_key(struct queue *q, struct slice name, uint64_t id, uint64_t keep_ms)
{
	struct key *k = mem_zalloc(1, sizeof(*k) + name.n);
	struct link *after = q->key_ages.prev;
	uint8_t *at = k->bytes;

	k->id = id;
	k->until_ms = q->now_ms + (keep_ms ? keep_ms : KEEP_MS);
	k->name = put(&at, name);
	table_add(&q->keys, k->name, k);
	while (after != &q->key_ages &&
	       container_of(after, struct key, by_age)->until_ms > k->until_ms)
		after = after->prev;
	list_push(after->next, &k->by_age);
}

static void push_late(struct queue *q, struct message *m)
{
	struct link *after = q->late.prev;

	while (after != &q->late && ordered(after)->due_ms > m->due_ms)
		after = after->prev;
	list_push(after->next, &m->order);
}

static enum err push(struct queue *q, const struct queue_request *r, uint64_t now_us,
		     struct queue_reply *reply)
{
	const struct queue_settings *c = r->settings ? r->settings : &q->settings;
	uint64_t size = r->payload.n + r->group.n + 1;
	const struct key *k;
	struct message *m;
	uint8_t *at;

	forget_keys(q);
	k = r->key.n ? table_get(&q->keys, r->key) : NULL;
	if (k) {
		reply->number = k->id;
		return ERR_OK;
	}
	if (q->messages.n >= c->length_max || q->bytes + size > c->bytes_max)
		return ERR_TOO_MANY;
	q->settings = *c;
	m = mem_zalloc(1, sizeof(*m) + r->payload.n + r->group.n);
	at = m->bytes;
	m->payload = put(&at, r->payload);
	m->name = put(&at, r->group);
	m->id = draw(q, now_us);
	m->expires_ms = r->ttl_ms ? q->now_ms + r->ttl_ms : 0;
	link_init(&m->order);
	list_push(&q->ids, &m->all);
	table_add(&q->messages, id_key(&m->id), m);
	q->bytes += size;
	q->counts.length++;
	q->counts.pushed++;
	if (r->key.n)
		keep_key(q, r->key, m->id, r->keep_ms);
	if (r->delay_ms) {
		m->due_ms = q->now_ms + r->delay_ms;
		push_late(q, m);
		q->wake = true;
	} else {
		enter(q, m);
	}
	reply->number = m->id;
	return ERR_OK;
}

/* The first message of a ready group that has not expired; the others are dropped. NULL:
 * there is none, and the group is gone. */
static struct message *first_good(struct queue *q, struct group *g)
{
	struct message *m;

	while ((m = head(g)) && m->expires_ms && m->expires_ms <= q->now_ms) {
		leave(q, m);
		discard(q, m);
		q->counts.expired++;
	}
	if (!m)
		set_state(q, g, GROUP_IDLE, false);
	return m;
}

static void wait_for(const struct queue *q, struct queue_reply *reply)
{
	struct link *due = list_first(&q->due), *lease = list_first(&q->leases),
		    *late = list_first(&q->late);
	uint64_t at = UINT64_MAX;

	if (due)
		at = group_at(due)->until_ms;
	if (lease && group_at(lease)->until_ms < at)
		at = group_at(lease)->until_ms;
	if (late && ordered(late)->due_ms < at)
		at = ordered(late)->due_ms;
	if (!list_empty(&q->ready))
		reply->wait_ms = 0;
	else if (at == UINT64_MAX)
		reply->wait_ms = -1;
	else
		reply->wait_ms = at > q->now_ms ? (int64_t)(at - q->now_ms) : 0;
}

static struct queue_message *page(struct queue_store *s, size_t n)
{
	if (n > s->page_cap) {
		s->page = mem_realloc(s->page, n * sizeof(*s->page));
		s->page_cap = n;
	}
	return s->page;
}

static void take(struct queue_store *s, struct queue *q, const struct queue_request *r,
		 uint64_t now_us, struct queue_reply *reply)
{
	struct queue_message *taken = page(s, r->limit);
	size_t n = 0, bytes = 0;
	struct link *l;

	if (r->settings && q->last)
		q->settings = *r->settings;
	promote(q);
	reap(q, MOVES);
	while (n < r->limit && bytes < TAKE_BYTES && (l = list_first(&q->ready))) {
		struct group *g = group_at(l);
		struct message *m = first_good(q, g);

		if (!m)
			continue;
		g->token = draw(q, now_us);
		g->until_ms = q->now_ms + r->lease_ms;
		set_state(q, g, GROUP_HELD, false);
		bytes += m->payload.n;
		taken[n++] = (struct queue_message){.id = m->id,
						    .token = g->token,
						    .failures = m->failures,
						    .lost = m->lost,
						    .group = m->name,
						    .payload = m->payload,
						    .state = QUEUE_MESSAGE_IN_FLIGHT};
	}
	wait_for(q, reply);
	reply->messages = taken;
	reply->n = n;
}

static void done(struct queue *q, const struct queue_request *r,
		 struct queue_reply *reply)
{
	for (size_t i = 0; i < r->refs_n; i++) {
		struct message *m = held(q, &r->refs[i]);

		if (!m)
			continue;
		leave(q, m);
		discard(q, m);
		q->counts.done++;
		reply->number++;
	}
}

static uint64_t backoff(const struct queue_settings *c, uint64_t failures)
{
	uint64_t max =
		c->backoff_ms_max > c->backoff_ms ? c->backoff_ms_max : c->backoff_ms;
	uint64_t n = failures - 1 < EXPONENT_MAX ? failures - 1 : EXPONENT_MAX;

	return c->backoff_ms > max >> n ? max : c->backoff_ms << n;
}

static void by_id(struct link *list, struct message *m)
{
	struct link *after = list->prev;

	while (after != list && container_of(after, struct message, all)->id > m->id)
		after = after->prev;
	list_remove(&m->all);
	list_push(after->next, &m->all);
}

static void fail(struct queue *q, const struct queue_request *r,
		 struct queue_reply *reply)
{
	struct message *m = held(q, &r->refs[0]);
	struct slice why = r->why;

	reply->number = QUEUE_FAILED_LATE;
	if (!m)
		return;
	why.n = why.n < QUEUE_WHY_MAX ? why.n : QUEUE_WHY_MAX;
	m->failures++;
	buf_clear(&m->error);
	buf_slice(&m->error, why);
	q->counts.failed++;
	reply->number = QUEUE_FAILED_AGAIN;
	if (m->failures >= q->settings.failures_max) {
		leave(q, m);
		by_id(&q->dead, m);
		m->dead = true;
		q->counts.length--;
		q->counts.dead++;
		q->counts.died++;
		reply->number = QUEUE_FAILED_DEAD;
	} else if (q->settings.backoff_ms) {
		m->group->until_ms = q->now_ms + backoff(&q->settings, m->failures);
		set_state(q, m->group, GROUP_DELAYED, false);
	} else {
		set_state(q, m->group, GROUP_READY, true);
	}
}

static void release(struct queue *q, const struct queue_request *r,
		    struct queue_reply *reply)
{
	for (size_t i = r->refs_n; i-- > 0;) {
		struct message *m = held(q, &r->refs[i]);

		if (!m)
			continue;
		give_back(q, m->group, r->delay_ms);
		reply->number++;
	}
}

static void extend(struct queue *q, const struct queue_request *r,
		   struct queue_reply *reply)
{
	for (size_t i = 0; i < r->refs_n; i++) {
		struct message *m = held(q, &r->refs[i]);

		if (!m)
			continue;
		m->group->until_ms = q->now_ms + r->lease_ms;
		list_remove(&m->group->at);
		by_time(&q->leases, m->group);
		reply->number++;
	}
}

static enum queue_message_state state_of(const struct message *m)
{
	if (m->dead)
		return QUEUE_MESSAGE_DEAD;
	if (!m->group)
		return QUEUE_MESSAGE_DELAYED;
	if (m->group->state == GROUP_HELD && head(m->group) == m)
		return QUEUE_MESSAGE_IN_FLIGHT;
	return m->group->state == GROUP_DELAYED ? QUEUE_MESSAGE_DELAYED
						: QUEUE_MESSAGE_WAITING;
}

static void peek(struct queue_store *s, const struct link *list,
		 const struct queue_request *r, struct queue_reply *reply)
{
	struct queue_message *v = page(s, r->limit);
	size_t n = 0, bytes = 0;

	for (struct link *l = list->next; l != list && n < r->limit && bytes < TAKE_BYTES;
	     l = l->next) {
		const struct message *m = container_of(l, struct message, all);

		if (m->id <= r->after)
			continue;
		bytes += m->payload.n;
		v[n++] = (struct queue_message){.id = m->id,
						.failures = m->failures,
						.lost = m->lost,
						.group = m->name,
						.payload = m->payload,
						.error = buf_view(&m->error),
						.state = state_of(m)};
	}
	reply->messages = v;
	reply->n = n;
}

static void requeue(struct queue *q, struct message *m)
{
	m->dead = false;
	m->failures = m->lost = m->expires_ms = 0;
	buf_clear(&m->error);
	by_id(&q->ids, m);
	q->counts.dead--;
	q->counts.length++;
	enter(q, m);
}

static void dead(struct queue *q, const struct queue_request *r,
		 struct queue_reply *reply)
{
	size_t n = r->refs_n ? r->refs_n : QUEUE_LIMIT_MAX;

	for (size_t i = 0; i < n; i++) {
		struct link *first = list_first(&q->dead);
		struct message *m =
			r->refs_n ? table_get(&q->messages, id_key(&r->refs[i].id))
			: first	  ? container_of(first, struct message, all)
				  : NULL;

		if (!m || !m->dead)
			continue;
		if (r->op == QUEUE_DEAD_REQUEUE)
			requeue(q, m);
		else
			discard(q, m);
		reply->number++;
	}
}

static void stats(const struct queue *q, uint64_t now_us, struct queue_reply *reply)
{
	struct link *first = list_first(&q->ids);

	reply->stats = q->counts;
	reply->stats.bytes = q->bytes;
	for (const struct link *l = q->leases.next; l != &q->leases; l = l->next)
		reply->stats.in_flight++;
	for (const struct link *l = q->ready.next; l != &q->ready; l = l->next)
		reply->stats.ready++;
	for (const struct link *l = q->due.next; l != &q->due; l = l->next)
		reply->stats.delayed++;
	for (const struct link *l = q->late.next; l != &q->late; l = l->next)
		reply->stats.delayed++;
	if (first) {
		uint64_t id = container_of(first, struct message, all)->id;

		reply->stats.oldest_ms = now_us > id ? (now_us - id) / 1000 : 0;
	}
}

static void queue_free(struct queue *q)
{
	size_t pos = 0;
	struct message *m;
	struct link *l;

	while ((m = table_next(&q->messages, &pos))) {
		struct group *g = m->group;

		list_remove(&m->order);
		if (g && list_empty(&g->messages))
			free(g);
		message_free(m);
	}
	while ((l = list_pop(&q->key_ages)))
		free(container_of(l, struct key, by_age));
	table_deinit(&q->named);
	table_deinit(&q->messages);
	table_deinit(&q->keys);
	free(q);
}

void queue_store_deinit(struct queue_store *s)
{
	size_t pos = 0;
	struct queue *q;

	while ((q = table_next(&s->queues, &pos)))
		queue_free(q);
	table_deinit(&s->queues);
	free(s->page);
}

/* Remember since when it is empty, and forget those that have been for long. */
static void look_after(struct queue_store *s, struct queue *q)
{
	struct link *l;

	list_remove(&q->empty);
	if (q->messages.n == 0) {
		q->empty_ms = q->now_ms;
		list_push(&s->empty, &q->empty);
	}
	while ((l = list_first(&s->empty))) {
		struct queue *old = container_of(l, struct queue, empty);

		if (old->empty_ms + EMPTY_MS > q->now_ms)
			return;
		list_remove(l);
		table_remove(&s->queues, old->name);
		queue_free(old);
	}
}

/* What is asked for is well-formed: the caller's duty. */
static void check_request(const struct queue_request *r)
{
	bool limited = r->op == QUEUE_TAKE || r->op == QUEUE_REAP ||
		       r->op == QUEUE_PEEK || r->op == QUEUE_DEAD_LIST;

	assert(r->queue.n > 0);
	assert(!limited || (r->limit >= 1 && r->limit <= QUEUE_LIMIT_MAX));
	assert(r->op != QUEUE_FAIL || r->refs_n == 1);
	assert(!(r->op == QUEUE_TAKE || r->op == QUEUE_EXTEND) || r->lease_ms > 0);
}

enum err queue_store_run(struct queue_store *s, const struct queue_request *r,
			 uint64_t now_us, struct queue_reply *reply, bool *wake)
{
	enum err err = ERR_OK;
	struct queue *q;

	check_request(r);
	*reply = (struct queue_reply){.wait_ms = -1};
	*wake = false;
	/* Who only asks makes no queue. */
	if (r->op != QUEUE_PUSH && !table_get(&s->queues, r->queue))
		return ERR_OK;
	q = queue_of(s, r->queue, now_us);
	switch (r->op) {
	case QUEUE_PUSH:
		err = push(q, r, now_us, reply);
		break;
	case QUEUE_TAKE:
		take(s, q, r, now_us, reply);
		break;
	case QUEUE_DONE:
		done(q, r, reply);
		break;
	case QUEUE_FAIL:
		fail(q, r, reply);
		break;
	case QUEUE_RELEASE:
		release(q, r, reply);
		break;
	case QUEUE_EXTEND:
		extend(q, r, reply);
		break;
	case QUEUE_REAP:
		promote(q);
		reply->number = reap(q, r->limit);
		break;
	case QUEUE_PEEK:
		peek(s, &q->ids, r, reply);
		break;
	case QUEUE_DEAD_LIST:
		peek(s, &q->dead, r, reply);
		break;
	case QUEUE_DEAD_REQUEUE:
	case QUEUE_DEAD_DROP:
		dead(q, r, reply);
		break;
	case QUEUE_STATS:
		stats(q, now_us, reply);
		break;
	case QUEUE_OPS:
		break;
	}
	*wake = q->wake;
	look_after(s, q);
	return err;
}

/* --- for tests --- */

static size_t count(const struct link *list)
{
	size_t n = 0;

	for (const struct link *l = list->next; l != list; l = l->next)
		n++;
	return n;
}

static const char *check_list(const struct link *list, enum group_state state)
{
	for (struct link *l = list->next; l != list; l = l->next) {
		if (group_at(l)->state != state)
			return "a group is in the list of another state";
		if (!head(group_at(l)))
			return "a group that is not idle has no message";
	}
	return NULL;
}

const char *queue_store_check(const struct queue_store *s, struct slice queue)
{
	const struct queue *q = table_get(&s->queues, queue);
	const char *wrong = NULL;
	size_t pos = 0, bytes = 0, free_ones = 0, groups;
	const struct message *m;

	if (!q)
		return NULL;
	wrong = check_list(&q->ready, GROUP_READY);
	wrong = wrong ? wrong : check_list(&q->leases, GROUP_HELD);
	wrong = wrong ? wrong : check_list(&q->due, GROUP_DELAYED);
	if (wrong)
		return wrong;
	while ((m = table_next(&q->messages, &pos))) {
		bytes += m->payload.n + m->name.n + 1;
		if (m->dead && m->group)
			return "a dead letter is in a group";
		if (!m->dead && !m->group && list_empty(&m->order))
			return "a message is nowhere";
		if (m->group && m->group->state == GROUP_IDLE)
			return "a message waits in an idle group";
		free_ones += m->group && !m->group->named;
	}
	groups = count(&q->ready) + count(&q->leases) + count(&q->due);
	if (groups != q->named.n + free_ones)
		return "a group is in no list, or in two";
	if (bytes != q->bytes)
		return "the bytes are not those of the messages";
	if (q->counts.length + q->counts.dead != q->messages.n)
		return "the length is not that of the messages";
	return NULL;
}

/* Overdue is overdue. */
static unsigned long long left(uint64_t at_ms, uint64_t now_ms)
{
	return at_ms > now_ms ? at_ms - now_ms : 0;
}

static void dump_groups(const struct link *list, const char *what, uint64_t now_ms,
			struct buf *out)
{
	for (struct link *l = list->next; l != list; l = l->next) {
		const struct group *g = group_at(l);

		buf_printf(out, "%s %.*s:", what, SLICE_FMT(g->key));
		for (struct link *k = g->messages.next; k != &g->messages; k = k->next)
			buf_printf(out, " %.*s/%llu", SLICE_FMT(ordered(k)->payload),
				   (unsigned long long)ordered(k)->failures);
		if (g->state != GROUP_READY)
			buf_printf(out, " for %llu", left(g->until_ms, now_ms));
		buf_byte(out, '\n');
	}
}

void queue_store_dump(const struct queue_store *s, struct slice queue, uint64_t now_us,
		      struct buf *out)
{
	const struct queue *q = table_get(&s->queues, queue);

	if (!q)
		return;
	dump_groups(&q->ready, "ready", now_us / 1000, out);
	dump_groups(&q->leases, "held", now_us / 1000, out);
	dump_groups(&q->due, "delayed", now_us / 1000, out);
	for (struct link *l = q->late.next; l != &q->late; l = l->next)
		buf_printf(out, "late %.*s for %llu\n", SLICE_FMT(ordered(l)->payload),
			   left(ordered(l)->due_ms, now_us / 1000));
	for (struct link *l = q->dead.next; l != &q->dead; l = l->next)
		buf_printf(out, "dead %.*s\n",
			   SLICE_FMT(container_of(l, struct message, all)->payload));
}
