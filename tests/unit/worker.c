/* What a worker and its supervisor share: the page, and how it is inherited. */
#include "gateway/worker.h"

#include <stdlib.h>
#include <unistd.h>

#include "test.h"

static void test_page(void)
{
	struct worker_report *page, r;
	int fd;

	page = worker_page_new(&fd);
	CHECK(page != NULL);
	worker_page_read(page, &r);
	CHECK(r.state == WORKER_STARTING && r.beat_ms == 0 &&
	      r.metrics.conns_websocket == 0);
	page->state = WORKER_READY;
	page->metrics.conns_websocket = 7;
	worker_page_read(page, &r);
	CHECK(r.state == WORKER_READY && r.metrics.conns_websocket == 7);
	worker_page_reset(page, 42);
	worker_page_read(page, &r);
	CHECK(r.state == WORKER_STARTING && r.beat_ms == 42 &&
	      r.metrics.conns_websocket == 0);
	worker_page_free(page);
	close(fd);
}

/* Put the page where a worker has it, and write on it from the other side. */
static void test_inherit(void)
{
	struct worker_report *page, r;
	struct worker w;
	int fd;

	unsetenv(WORKER_ENV);
	CHECK(!worker_inherit(&w) && w.number == 0);
	setenv(WORKER_ENV, "2 0 0 1", 1);
	close(WORKER_FD_PAGE);
	CHECK(!worker_inherit(&w) && w.number == 0); /* there is no page */
	page = worker_page_new(&fd);
	CHECK(page != NULL);
	CHECK(fd == WORKER_FD_PAGE || dup2(fd, WORKER_FD_PAGE) == WORKER_FD_PAGE);
	CHECK(worker_inherit(&w) && w.number == 2 && w.sockets_n == 3);
	CHECK(w.entries[0] == 0 && w.entries[1] == 0 && w.entries[2] == 1);
	w.page->metrics.rooms = 5;
	worker_page_read(page, &r);
	CHECK(r.metrics.rooms == 5);
	worker_page_free(w.page);
	setenv(WORKER_ENV, "nonsense", 1);
	CHECK(!worker_inherit(&w) && w.number == 0);
	worker_page_free(page);
}

int main(void)
{
	test_page();
	test_inherit();
	return test_done();
}
