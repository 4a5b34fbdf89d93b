/* A worker is a node that is one of several processes of one service, started by a
 * supervisor (supervisor.h). This is what the two of them share:
 *
 *   - the sockets to listen on, inherited;
 *   - a pipe that nothing is ever written to. When the supervisor closes it, or is no
 *     more, the worker stops as on SIGTERM. It is no signal, since those that end a whole
 *     service (a terminal's, a service manager's) may reach the worker too, and a second
 *     one ends it at once;
 *   - a page of memory in which the worker writes how it is, each time before it sleeps.
 *     The supervisor reads it whenever it likes: it waits for nobody, and what a worker
 *     counted is still there when it was killed. */
#ifndef GATEHOUSE_GATEWAY_WORKER_H
#define GATEHOUSE_GATEWAY_WORKER_H

#include <uv.h>

#include "gateway/metrics.h"
#include "gateway/ports.h"

struct node;

/* In the environment of a worker, separated by blanks: its number, and for each socket it
 * inherits the entry of `listen` it belongs to. */
#define WORKER_ENV "_GATEHOUSE_WORKER"

/* The descriptors of a worker, behind the standard ones. */
enum { WORKER_FD_PIPE = 3, WORKER_FD_PAGE, WORKER_FD_SOCKETS };

enum worker_state {
	WORKER_STARTING, /* does not serve yet */
	WORKER_RUNNING,	 /* serves, but is not ready (node.h) */
	WORKER_READY,
	WORKER_STOPPING,
};

/* What is on the page. Whole words of 64 bits, each written and read in one piece. */
struct worker_report {
	uint64_t state;	  /* enum worker_state */
	uint64_t beat_ms; /* when it was written, by the clock of uv_now */
	struct metrics metrics;
};

/* --- of the supervisor --- */

/* New shared memory, all zero, and its descriptor for the worker. NULL: errno says why.
 */
struct worker_report *worker_page_new(int *fd);
/* For the next worker: nothing was reported yet, but it is alive. */
void worker_page_reset(struct worker_report *page, uint64_t now_ms);
void worker_page_read(const struct worker_report *page, struct worker_report *out);
void worker_page_free(struct worker_report *page);

/* --- of the worker --- */

struct worker {
	unsigned number;	     /* from 1; 0: this process is no worker */
	unsigned entries[PORTS_MAX]; /* of each socket, as in struct ports */
	size_t sockets_n;
	struct worker_report *page;
	struct node *node;
	void (*on_alone)(void *arg);
	void *arg;
	uv_poll_t pipe;
	uv_timer_t timer;
	uv_prepare_t prepare;
};

/* Is this process a worker? Then take over what it inherited. */
bool worker_inherit(struct worker *w);
/* Report on the node from now on, and call `on_alone` once when the supervisor wants the
 * worker to stop, or is gone. To be called before node_start. */
void worker_start(struct worker *w, struct node *n, void (*on_alone)(void *arg),
		  void *arg);
/* The node has stopped; the loop then has nothing more to do for the worker. */
void worker_stop(struct worker *w);

#endif
