#include "gateway/supervisor.h"

#include <assert.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

#include "adapter/env.h"
#include "gateway/log.h"
#include "gateway/node.h"
#include "gateway/queue_feeds.h"
#include "gateway/ports.h"
#include "gateway/restart.h"
#include "gateway/server.h"
#include "gateway/worker.h"
#include "proto/mem.h"

enum {
	LOOK_MS = 1000,	   /* how often workers are looked at */
	SILENT_MS = 10000, /* a worker that did not come round for so long is silent */
	FILES = 1024,	   /* operators' connections, and some for each worker */
};

struct slot {
	struct supervisor *of;
	unsigned number;
	enum { SLOT_IDLE, SLOT_RUNNING, SLOT_ENDED } state;
	bool silent;
	uv_process_t process;
	uv_timer_t again; /* when to start the next */
	int pipe;	  /* our end; closed: it is to stop */
	int page_fd;
	struct worker_report *page;
	uint64_t started_ms;
	struct restart restart;
};

struct supervisor {
	uv_loop_t loop;
	const struct config *config;
	/* What the server for operators works with: a node of no cluster and without
	 * namespaces. It is never started and no client comes to it; it ends with the
	 * process. */
	struct node *node;
	struct config node_config;
	char **argv;
	char **env; /* with room for what is for a worker */
	size_t env_n;
	struct ports ports;
	struct server *server;
	struct slot *slots;
	unsigned slots_n;
	uv_signal_t sigterm, sigint, sighup;
	uv_timer_t look;
	struct metrics gone; /* the counters of workers that ended */
	uint64_t restarts;
	bool stopping, served; /* served: some worker did start */
	int code;
};

static void start_worker(struct slot *slot);

/* --- the end --- */

static void close_unless_closing(uv_handle_t *handle)
{
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

/* Nothing is left to do once all are gone. */
static void end_if_alone(struct supervisor *s)
{
	for (unsigned i = 0; i < s->slots_n; i++) {
		if (s->slots[i].state != SLOT_IDLE)
			return;
	}
	for (unsigned i = 0; i < s->slots_n; i++)
		close_unless_closing((uv_handle_t *)&s->slots[i].again);
	close_unless_closing((uv_handle_t *)&s->look);
	close_unless_closing((uv_handle_t *)&s->sigterm);
	close_unless_closing((uv_handle_t *)&s->sigint);
	if (s->config->tls_cert)
		close_unless_closing((uv_handle_t *)&s->sighup);
	ports_remove(&s->ports, s->config);
	server_close(s->server);
}

static void let_go(struct slot *slot)
{
	if (slot->pipe >= 0)
		close(slot->pipe);
	slot->pipe = -1;
}

/* One that is still starting looks at its pipe only later, or never if that hangs. */
static void tell_to_stop(struct slot *slot)
{
	struct worker_report r;

	let_go(slot);
	worker_page_read(slot->page, &r);
	if (slot->state == SLOT_RUNNING && r.state == WORKER_STARTING)
		uv_process_kill(&slot->process, SIGTERM);
}

static void stop(struct supervisor *s)
{
	s->stopping = true;
	/* The workers have their own; no new client may wait for one that is not there.
	 */
	ports_close(&s->ports);
	for (unsigned i = 0; i < s->slots_n; i++) {
		uv_timer_stop(&s->slots[i].again);
		tell_to_stop(&s->slots[i]);
	}
	end_if_alone(s);
}

static void on_stop_signal(uv_signal_t *handle, int signal)
{
	struct supervisor *s = handle->data;

	if (!s->stopping) {
		log_event(LOG_INFO, "stopping", "signal=%d workers=%u", signal,
			  s->slots_n);
		stop(s);
		return;
	}
	log_event(LOG_WARN, "killed", "signal=%d msg=second signal, ending at once",
		  signal);
	for (unsigned i = 0; i < s->slots_n; i++) {
		if (s->slots[i].state == SLOT_RUNNING)
			uv_process_kill(&s->slots[i].process, SIGKILL);
	}
	exit(1);
}

/* Read the certificate again, as a process alone does. A worker that is just starting
 * reads everything anew anyway. */
static void on_hangup(uv_signal_t *handle, int signal)
{
	struct supervisor *s = handle->data;

	server_reload(s->server);
	for (unsigned i = 0; i < s->slots_n; i++) {
		struct worker_report r;

		worker_page_read(s->slots[i].page, &r);
		if (s->slots[i].state == SLOT_RUNNING && r.state != WORKER_STARTING)
			uv_process_kill(&s->slots[i].process, signal);
	}
}

/* --- workers that end --- */

static void on_again(uv_timer_t *timer)
{
	start_worker(timer->data);
}

static void on_process_closed(uv_handle_t *handle)
{
	struct slot *slot = handle->data;

	slot->state = SLOT_IDLE;
	if (slot->of->stopping)
		end_if_alone(slot->of);
}

static void note_served(struct supervisor *s)
{
	for (unsigned i = 0; i < s->slots_n && !s->served; i++) {
		struct worker_report r;

		worker_page_read(s->slots[i].page, &r);
		s->served = r.state != WORKER_STARTING;
	}
}

/* Something is wrong that will be wrong again: the settings, or what they name. Once a
 * worker did start, that is for the log, and the others serve on. */
static bool cannot_start(const struct supervisor *s, int64_t code, int signal)
{
	return !s->served && !signal && (code == 1 || code == 2);
}

static void log_end(const struct slot *slot, int64_t code, int signal, uint64_t lived_ms)
{
	enum log_level level = code || signal ? LOG_ERROR : LOG_INFO;
	char how[64];

	if (signal)
		snprintf(how, sizeof(how), "signal=%d", signal);
	else
		snprintf(how, sizeof(how), "code=%d", (int)code);
	log_event(level, "worker_ended", "worker=%u pid=%d %s lived_ms=%llu",
		  slot->number, slot->process.pid, how, (unsigned long long)lived_ms);
}

static void on_exit_of(uv_process_t *process, int64_t code, int signal)
{
	struct slot *slot = process->data;
	struct supervisor *s = slot->of;
	uint64_t lived_ms = uv_now(&s->loop) - slot->started_ms, wait_ms;
	struct worker_report last;

	worker_page_read(slot->page, &last);
	metrics_total_add_counters(&s->gone, &last.metrics);
	note_served(s);
	slot->state = SLOT_ENDED;
	let_go(slot);
	log_end(slot, code, signal, lived_ms);
	uv_close((uv_handle_t *)process, on_process_closed);
	if (s->stopping) {
		if ((code || (signal && signal != SIGTERM)) && !s->code)
			s->code = 1;
		return;
	}
	if (cannot_start(s, code, signal)) {
		log_event(LOG_ERROR, "worker_cannot_start",
			  "worker=%u code=%d msg=it says why above; ending", slot->number,
			  (int)code);
		s->code = (int)code;
		stop(s);
		return;
	}
	wait_ms = restart_wait(&slot->restart, lived_ms);
	if (wait_ms)
		log_event(LOG_WARN, "worker_waits",
			  "worker=%u wait_ms=%llu msg=it keeps ending; the next is "
			  "started after a while",
			  slot->number, (unsigned long long)wait_ms);
	uv_timer_start(&slot->again, on_again, wait_ms, 0);
}

/* --- workers that start --- */

enum { INHERITED_MAX = WORKER_FD_SOCKETS + PORTS_MAX };

/* What a worker inherits; ours are to be closed when it has them. */
struct inheritance {
	uv_stdio_container_t fds[INHERITED_MAX];
	int n;
};

static void inherit(struct inheritance *i, int fd)
{
	assert(i->n < INHERITED_MAX);
	i->fds[i->n].flags = fd < 0 ? UV_IGNORE : UV_INHERIT_FD;
	i->fds[i->n++].data.fd = fd;
}

/* -1: errno says why. */
static int inherit_sockets(struct slot *slot, struct inheritance *i)
{
	const struct ports *ports = &slot->of->ports;

	for (size_t port = 0; port < ports->n; port++) {
		int fd = ports_share(ports, port, slot->of->config);

		if (fd < 0)
			return -1;
		inherit(i, fd);
	}
	return 0;
}

static void close_sockets(const struct inheritance *i)
{
	for (int fd = WORKER_FD_SOCKETS; fd < i->n; fd++)
		close(i->fds[fd].data.fd);
}

/* 0, or an error of libuv. */
static int spawn(struct slot *slot, const struct inheritance *i)
{
	struct supervisor *s = slot->of;
	struct buf variable = BUF_INIT;
	int rc;
	uv_process_options_t options = {
		.exit_cb = on_exit_of,
		.file = "/proc/self/exe", /* this program, whatever its file is now */
		.args = s->argv,
		.env = s->env,
		.stdio = (uv_stdio_container_t *)(uintptr_t)i->fds,
		.stdio_count = i->n,
	};

	buf_printf(&variable, WORKER_ENV "=%u", slot->number);
	for (size_t port = 0; port < s->ports.n; port++)
		buf_printf(&variable, " %u", s->ports.entries[port]);
	s->env[s->env_n] = (char *)(uintptr_t)buf_cstr(&variable);
	slot->process.data = slot;
	rc = uv_spawn(&s->loop, &slot->process, &options);
	slot->state = rc == 0 ? SLOT_RUNNING : SLOT_ENDED;
	if (rc != 0)
		uv_close((uv_handle_t *)&slot->process, on_process_closed);
	s->env[s->env_n] = NULL;
	buf_deinit(&variable);
	return rc;
}

static int inherit_and_spawn(struct slot *slot)
{
	struct inheritance i = {.n = 0};
	int pipe[2], rc;

	if (pipe2(pipe, O_CLOEXEC) != 0)
		return uv_translate_sys_error(errno);
	inherit(&i, -1);
	inherit(&i, STDOUT_FILENO);
	inherit(&i, STDERR_FILENO);
	inherit(&i, pipe[0]);
	inherit(&i, slot->page_fd);
	if (inherit_sockets(slot, &i) == 0)
		rc = spawn(slot, &i);
	else
		rc = uv_translate_sys_error(errno);
	close_sockets(&i);
	close(pipe[0]);
	if (rc == 0)
		slot->pipe = pipe[1];
	else
		close(pipe[1]);
	return rc;
}

static void start_worker(struct slot *slot)
{
	struct supervisor *s = slot->of;
	int rc;

	assert(slot->state != SLOT_RUNNING && !s->stopping);
	if (slot->state == SLOT_ENDED) { /* its handle is being closed */
		uv_timer_start(&slot->again, on_again, 0, 0);
		return;
	}
	slot->started_ms = uv_now(&s->loop);
	slot->silent = false;
	worker_page_reset(slot->page, slot->started_ms);
	rc = inherit_and_spawn(slot);
	if (rc == 0) {
		if (slot->restart.failures)
			s->restarts++;
		log_event(LOG_INFO, "worker_started", "worker=%u pid=%d", slot->number,
			  slot->process.pid);
		return;
	}
	log_event(LOG_ERROR, "worker_not_started", "worker=%u msg=%s", slot->number,
		  uv_strerror(rc));
	uv_timer_start(&slot->again, on_again, restart_wait(&slot->restart, 0), 0);
}

/* --- how they are --- */

static bool is_silent(const struct supervisor *s, const struct worker_report *r)
{
	uint64_t now = uv_now(&s->loop);

	return now > r->beat_ms && now - r->beat_ms > SILENT_MS;
}

static void look_at(struct slot *slot)
{
	struct worker_report r;
	bool silent;

	if (slot->state != SLOT_RUNNING)
		return;
	worker_page_read(slot->page, &r);
	silent = is_silent(slot->of, &r);
	if (silent == slot->silent)
		return;
	slot->silent = silent;
	log_event(silent ? LOG_ERROR : LOG_INFO,
		  silent ? "worker_silent" : "worker_speaks", "worker=%u pid=%d msg=%s",
		  slot->number, slot->process.pid,
		  silent ? "its loop did not come round for 10 s; its clients are not "
			   "served"
			 : "its loop comes round again");
}

static void on_look(uv_timer_t *timer)
{
	struct supervisor *s = timer->data;

	for (unsigned i = 0; i < s->slots_n; i++)
		look_at(&s->slots[i]);
}

/* The process is well as long as anybody may be served: only when all of them hang does a
 * restart of all of them do good. */
static const char *unhealthy(void *arg)
{
	const struct supervisor *s = arg;

	for (unsigned i = 0; i < s->slots_n; i++) {
		struct worker_report r;

		worker_page_read(s->slots[i].page, &r);
		if (s->slots[i].state != SLOT_RUNNING || !is_silent(s, &r))
			return NULL;
	}
	return "no worker answers";
}

/* One that is ready suffices: new connections go to workers that listen, so one that is
 * away takes no clients from the machine. */
static const char *unready(void *arg)
{
	const struct supervisor *s = arg;

	if (s->stopping)
		return "stopping";
	for (unsigned i = 0; i < s->slots_n; i++) {
		struct worker_report r;

		worker_page_read(s->slots[i].page, &r);
		if (s->slots[i].state == SLOT_RUNNING && r.state == WORKER_READY &&
		    !is_silent(s, &r))
			return NULL;
	}
	return "no worker is";
}

static void add_own(struct supervisor *s, struct metrics *total)
{
	const struct metrics *own = &s->node->metrics;

	node_measure(s->node);
	total->process_cpu_us += own->process_cpu_us;
	total->process_rss_bytes += own->process_rss_bytes;
	total->process_start_ms = own->process_start_ms;
	total->worker_restarts = s->restarts;
}

static void on_metrics(void *arg, struct buf *out)
{
	struct supervisor *s = arg;
	struct metrics total;
	uint64_t silent = 0;

	metrics_total_begin(&total);
	metrics_total_add_counters(&total, &s->gone);
	for (unsigned i = 0; i < s->slots_n; i++) {
		struct worker_report r;

		if (s->slots[i].state != SLOT_RUNNING)
			continue;
		worker_page_read(s->slots[i].page, &r);
		if (is_silent(s, &r)) {
			silent++;
			metrics_total_add_counters(&total, &r.metrics);
		} else if (r.state != WORKER_STARTING) {
			metrics_total_add(&total, &r.metrics);
		}
	}
	metrics_total_end(&total);
	total.workers_silent = silent;
	add_own(s, &total);
	metrics_write(&total, GATEHOUSE_VERSION, s->config->redis ? "redis" : "memory",
		      NULL, out);
	queue_feeds_metrics_write(&total, s->config, out);
}

/* --- the beginning --- */

unsigned supervisor_workers(const struct config *c)
{
	return c->workers ? (unsigned)c->workers : uv_available_parallelism();
}

/* lws makes tables of the size of the limit; workers raise it to what they need. */
static void set_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	limit.rlim_cur = limit.rlim_max < FILES ? limit.rlim_max : FILES;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static bool open_ports(struct supervisor *s)
{
	struct buf error = BUF_INIT;
	enum err err = ports_open(&s->ports, s->config, &error);

	if (err == ERR_OK && s->config->ops_listen)
		err = server_listen(s->server, &s->config->ops_at, SERVER_OPS, &error);
	if (err != ERR_OK) {
		ports_close(&s->ports);
		ports_remove(&s->ports, s->config);
		log_event(LOG_ERROR, "listen_failed", "msg=%s", buf_cstr(&error));
	}
	buf_deinit(&error);
	return err == ERR_OK;
}

static bool new_slots(struct supervisor *s, unsigned n)
{
	s->slots = mem_zalloc(n, sizeof(*s->slots));
	for (; s->slots_n < n; s->slots_n++) {
		struct slot *slot = &s->slots[s->slots_n];

		slot->of = s;
		slot->number = s->slots_n + 1;
		slot->pipe = -1;
		slot->page = worker_page_new(&slot->page_fd);
		if (!slot->page) {
			log_event(LOG_ERROR, "no_memory_to_share", "msg=%s",
				  strerror(errno));
			return false;
		}
		uv_timer_init(&s->loop, &slot->again);
		slot->again.data = slot;
	}
	return true;
}

static void copy_env(struct supervisor *s)
{
	while (environ[s->env_n])
		s->env_n++;
	s->env = mem_zalloc(s->env_n + 2, sizeof(*s->env));
	memcpy(s->env, environ, s->env_n * sizeof(*s->env));
}

static void watch(struct supervisor *s, uv_signal_t *handle, uv_signal_cb cb, int signal)
{
	uv_signal_init(&s->loop, handle);
	handle->data = s;
	uv_signal_start(handle, cb, signal);
}

static void open_server(struct supervisor *s)
{
	static const struct app_ops *const no_apps[] = {NULL};

	s->node_config = *s->config;
	s->node_config.redis = NULL;
	s->node_config.namespaces_n = 0;
	s->node_config.drain_delay_ms = 0;
	s->node = node_new(&s->loop, &env_system, &s->node_config, no_apps);
	s->node->ops = (struct ops_source){unhealthy, unready, on_metrics, s};
	s->server = server_new(s->node);
}

static bool start(struct supervisor *s, unsigned workers)
{
	set_file_limit();
	log_event(LOG_INFO, "starting", "version=%s workers=%u pid=%d", GATEHOUSE_VERSION,
		  workers, (int)uv_os_getpid());
	open_server(s);
	if (!s->server || !open_ports(s) || !new_slots(s, workers))
		return false;
	copy_env(s);
	watch(s, &s->sigterm, on_stop_signal, SIGTERM);
	watch(s, &s->sigint, on_stop_signal, SIGINT);
	/* Without files to read again it means what it always did. */
	if (s->config->tls_cert)
		watch(s, &s->sighup, on_hangup, SIGHUP);
	uv_timer_init(&s->loop, &s->look);
	s->look.data = s;
	uv_timer_start(&s->look, on_look, LOOK_MS, LOOK_MS);
	for (unsigned i = 0; i < s->slots_n; i++)
		start_worker(&s->slots[i]);
	return true;
}

static void close_handle(uv_handle_t *handle, void *arg)
{
	(void)arg;
	close_unless_closing(handle);
}

static void deinit(struct supervisor *s)
{
	/* lws leaves handles behind on a loop it does not own. */
	uv_walk(&s->loop, close_handle, NULL);
	uv_run(&s->loop, UV_RUN_DEFAULT);
	uv_loop_close(&s->loop);
	server_free(s->server);
	for (unsigned i = 0; i < s->slots_n; i++) {
		worker_page_free(s->slots[i].page);
		close(s->slots[i].page_fd);
	}
	free(s->slots);
	free(s->env);
}

int supervisor_run(const struct config *c, unsigned workers, char **argv)
{
	/* Static, so that what a failed start leaves behind is no leak to sanitizers. */
	static struct supervisor supervisor;
	struct supervisor *s = &supervisor;

	s->config = c;
	s->argv = argv;
	uv_loop_init(&s->loop);
	if (!start(s, workers))
		return 1;
	uv_run(&s->loop, UV_RUN_DEFAULT);
	deinit(s);
	log_event(LOG_INFO, "stopped", "%s", "");
	return s->code;
}
