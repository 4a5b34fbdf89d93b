#include "gateway/worker.h"

#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gateway/node.h"

enum {
	MEASURE_MS = 1000, /* how old gauges that have to be asked for may be */
	WORDS = sizeof(struct worker_report) / sizeof(uint64_t)
};

static_assert(sizeof(struct worker_report) % sizeof(uint64_t) == 0, "only words");

/* --- the page --- */

static struct worker_report *map(int fd)
{
	void *p = mmap(NULL, sizeof(struct worker_report), PROT_READ | PROT_WRITE,
		       MAP_SHARED, fd, 0);

	return p == MAP_FAILED ? NULL : p;
}

static void copy(void *to, const void *from)
{
	uint64_t *t = to;
	const uint64_t *f = from;

	for (size_t i = 0; i < WORDS; i++)
		__atomic_store_n(&t[i], __atomic_load_n(&f[i], __ATOMIC_RELAXED),
				 __ATOMIC_RELAXED);
}

struct worker_report *worker_page_new(int *fd)
{
	struct worker_report *page;

	*fd = memfd_create("gatehouse-worker", MFD_CLOEXEC);
	if (*fd < 0)
		return NULL;
	page = ftruncate(*fd, sizeof(*page)) == 0 ? map(*fd) : NULL;
	if (!page)
		close(*fd);
	return page;
}

void worker_page_reset(struct worker_report *page, uint64_t now_ms)
{
	const struct worker_report empty = {.state = WORKER_STARTING, .beat_ms = now_ms};

	copy(page, &empty);
}

void worker_page_read(const struct worker_report *page, struct worker_report *out)
{
	copy(out, page);
}

void worker_page_free(struct worker_report *page)
{
	if (page)
		munmap(page, sizeof(*page));
}

/* --- the worker --- */

/* Up to the end of the text, or to what is no number. */
static void read_numbers(struct worker *w, const char *text)
{
	char *end;

	w->number = (unsigned)strtoul(text, &end, 10);
	for (w->sockets_n = 0; *end == ' ' && w->sockets_n < PORTS_MAX; w->sockets_n++)
		w->entries[w->sockets_n] = (unsigned)strtoul(end + 1, &end, 10);
}

bool worker_inherit(struct worker *w)
{
	const char *text = getenv(WORKER_ENV);
	struct stat st;

	*w = (struct worker){0};
	if (!text)
		return false;
	read_numbers(w, text);
	/* Whoever else set it: this is no worker then. */
	if (fstat(WORKER_FD_PAGE, &st) == 0 &&
	    st.st_size == (off_t)sizeof(struct worker_report))
		w->page = map(WORKER_FD_PAGE);
	if (!w->page)
		w->number = 0;
	return w->number != 0;
}

static enum worker_state state_of(const struct node *n)
{
	if (node_is_stopping(n))
		return WORKER_STOPPING;
	return n->state == NODE_READY ? WORKER_READY : WORKER_RUNNING;
}

static void report(struct worker *w)
{
	const struct worker_report r = {
		.state = state_of(w->node),
		.beat_ms = uv_now(w->node->loop),
		.metrics = w->node->metrics,
	};

	copy(w->page, &r);
}

static void on_prepare(uv_prepare_t *prepare)
{
	report(prepare->data);
}

static void on_timer(uv_timer_t *timer)
{
	struct worker *w = timer->data;

	node_measure(w->node);
}

static void on_pipe(uv_poll_t *poll, int status, int events)
{
	struct worker *w = poll->data;
	char byte;

	(void)events;
	if (status == 0 && read(WORKER_FD_PIPE, &byte, 1) > 0)
		return; /* nobody writes */
	uv_poll_stop(poll);
	w->on_alone(w->arg);
}

void worker_start(struct worker *w, struct node *n, void (*on_alone)(void *arg),
		  void *arg)
{
	assert(w->number);
	w->node = n;
	w->on_alone = on_alone;
	w->arg = arg;
	uv_poll_init(n->loop, &w->pipe, WORKER_FD_PIPE);
	w->pipe.data = w;
	uv_poll_start(&w->pipe, UV_READABLE, on_pipe);
	uv_timer_init(n->loop, &w->timer);
	w->timer.data = w;
	uv_timer_start(&w->timer, on_timer, MEASURE_MS, MEASURE_MS);
	/* libuv runs the newest first: so this runs behind the node's, which is not
	 * started yet, and reports what that did. Were it otherwise, the report would be
	 * a turn late. */
	uv_prepare_init(n->loop, &w->prepare);
	w->prepare.data = w;
	uv_prepare_start(&w->prepare, on_prepare);
	node_measure(n);
	report(w);
}

void worker_stop(struct worker *w)
{
	report(w);
	uv_close((uv_handle_t *)&w->pipe, NULL);
	uv_close((uv_handle_t *)&w->timer, NULL);
	uv_close((uv_handle_t *)&w->prepare, NULL);
}
