#include "adapter/memory_queues.h"

#include <assert.h>
#include <stdlib.h>

#include "proto/mem.h"

/* A request, with all it shows. */
struct job {
	struct link link;
	bool full;
	struct done done;
	size_t cost;
	struct queue_request r;
	struct queue_settings settings;
	struct queue_ref *refs;
	uint8_t bytes[];
};

struct watch {
	struct link woken;
	struct slice queue;
	uint8_t bytes[];
};

void memory_queues_init(struct memory_queues *m, struct adapter *a, size_t bytes_max,
			const uint64_t seed[2])
{
	*m = (struct memory_queues){.adapter = a, .bytes_max = bytes_max};
	queue_store_init(&m->store, seed);
	link_init(&m->jobs);
	link_init(&m->woken);
	table_init(&m->watches, seed);
}

void memory_queues_deinit(struct memory_queues *m)
{
	size_t pos = 0;
	void *v;

	assert(list_empty(&m->jobs));
	while ((v = table_next(&m->watches, &pos)))
		free(v);
	table_deinit(&m->watches);
	queue_store_deinit(&m->store);
}

static struct slice put(uint8_t **at, struct slice s)
{
	struct slice copy = {*at, s.n};

	if (s.n)
		memcpy(*at, s.p, s.n);
	*at += s.n;
	return copy;
}

static void copy_request(struct job *j, const struct queue_request *r)
{
	uint8_t *at = j->bytes;

	j->r = *r;
	j->r.queue = put(&at, r->queue);
	j->r.payload = put(&at, r->payload);
	j->r.group = put(&at, r->group);
	j->r.key = put(&at, r->key);
	j->r.consumer = put(&at, r->consumer);
	j->r.why = put(&at, r->why);
	if (r->settings) {
		j->settings = *r->settings;
		j->r.settings = &j->settings;
	}
	j->refs = mem_zalloc(r->refs_n, sizeof(*j->refs));
	for (size_t i = 0; i < r->refs_n; i++)
		j->refs[i] = r->refs[i];
	j->r.refs = j->refs;
}

void memory_queues_ask(struct memory_queues *m, const struct queue_request *r,
		       struct done done)
{
	size_t n = r->queue.n + r->payload.n + r->group.n + r->key.n + r->consumer.n +
		   r->why.n;
	size_t cost = sizeof(struct job) + n + r->refs_n * sizeof(*r->refs);
	struct job *j = mem_zalloc(1, sizeof(*j) + n);

	copy_request(j, r);
	j->done = done;
	j->cost = cost;
	j->full = cost > m->bytes_max || m->bytes > m->bytes_max - cost;
	if (!j->full)
		m->bytes += cost;
	list_push(&m->jobs, &j->link);
}

void memory_queues_watch(struct memory_queues *m, struct slice queue)
{
	struct watch *w = mem_zalloc(1, sizeof(*w) + queue.n);
	uint8_t *at = w->bytes;

	w->queue = put(&at, queue);
	link_init(&w->woken);
	table_add(&m->watches, w->queue, w);
}

void memory_queues_unwatch(struct memory_queues *m, struct slice queue)
{
	struct watch *w = table_remove(&m->watches, queue);

	if (!w)
		return;
	list_remove(&w->woken);
	free(w);
}

static void wake(struct memory_queues *m, struct slice queue)
{
	struct watch *w = table_get(&m->watches, queue);

	if (w && list_empty(&w->woken))
		list_push(&m->woken, &w->woken);
}

static void run(struct memory_queues *m, struct job *j, bool closing)
{
	struct adapter *a = m->adapter;
	struct queue_reply reply;
	bool woken = false;
	enum err err = closing ? ERR_CLOSED : j->full ? ERR_FULL : ERR_OK;

	if (err == ERR_OK)
		err = queue_store_run(&m->store, &j->r, env_now_ms(a->env) * 1000, &reply,
				      &woken);
	if (!j->full)
		m->bytes -= j->cost;
	if (woken)
		wake(m, j->r.queue);
	/* A request made from within waits for the next turn, so what the reply shows
	 * stays. */
	if (err == ERR_OK && j->done.queue)
		j->done.queue(j->done.arg, ERR_OK, &reply);
	else
		done_run(j->done, err);
	free(j->refs);
	free(j);
}

bool memory_queues_turn(struct memory_queues *m, bool closing)
{
	struct adapter *a = m->adapter;
	struct link due, *l;
	bool ran = false;

	link_init(&due);
	list_splice(&due, &m->jobs);
	while ((l = list_pop(&due))) {
		run(m, container_of(l, struct job, link), closing);
		ran = true;
	}
	while (!closing && (l = list_pop(&m->woken))) {
		struct watch *w = container_of(l, struct watch, woken);

		a->events->on_queue(a->ctx, w->queue);
		ran = true;
	}
	return ran;
}
