#include "gateway/run.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "gateway/log.h"
#include "gateway/node.h"
#include "gateway/probe.h"
#include "gateway/server.h"
#include "gateway/supervisor.h"
#include "gateway/worker.h"

enum {
	APPS_MAX = 16,
	/* Descriptors for other than clients: listeners, Redis, operators, the loop. */
	FILES_BESIDES = 256
};

struct program {
	uv_loop_t loop;
	struct config config;
	struct node *node;
	struct server *server;
	struct worker worker;
	uv_signal_t sigterm, sigint, sighup;
	bool signalled;
};

static void on_drain(void *arg)
{
	struct program *p = arg;

	server_close_listeners(p->server, SERVER_CLIENTS);
}

static void on_stopped(void *arg)
{
	struct program *p = arg;

	if (p->worker.number)
		worker_stop(&p->worker);
	server_close(p->server);
}

static const struct node_stop_events stop_events = {
	.on_drain = on_drain,
	.on_stopped = on_stopped,
};

static void on_sighup(uv_signal_t *handle, int signal)
{
	struct program *p = handle->data;

	(void)signal;
	server_reload(p->server);
}

static void stop(struct program *p)
{
	uv_unref((uv_handle_t *)&p->sigterm);
	uv_unref((uv_handle_t *)&p->sigint);
	node_stop(p->node, &stop_events, p);
}

/* To a worker the first signal may come after its supervisor told it to stop: what ends a
 * whole service is often sent to all its processes. */
static void on_signal(uv_signal_t *handle, int signal)
{
	struct program *p = handle->data;

	if (p->signalled) {
		log_event(LOG_WARN, "killed",
			  "signal=%d msg=second signal, ending at once", signal);
		exit(1);
	}
	p->signalled = true;
	if (node_is_stopping(p->node))
		return;
	log_event(LOG_INFO, "stopping", "signal=%d conns=%zu", signal, p->node->conns.n);
	stop(p);
}

/* The supervisor has closed our pipe, or is no more. */
static void on_alone(void *arg)
{
	struct program *p = arg;

	if (node_is_stopping(p->node))
		return;
	log_event(LOG_INFO, "stopping", "by=supervisor conns=%zu", p->node->conns.n);
	stop(p);
}

/* As many descriptors as are configured, if we may; say so if that is fewer. Before lws
 * starts: it never takes more than the limit it finds then, and allocates tables of that
 * size, so a limit of a thousand million, as some containers have it, is lowered. */
static void set_file_limit(const struct config *c)
{
	struct rlimit limit;
	uint64_t need = c->max_conns + c->max_handshakes + FILES_BESIDES;
	/* A client that polls may have a connection for each direction. */
	uint64_t want = need + c->max_conns;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	limit.rlim_cur = limit.rlim_max < want ? limit.rlim_max : want;
	setrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_max < need)
		log_event(LOG_WARN, "file_limit",
			  "limit=%llu needed=%llu msg=fewer connections than maxConns "
			  "fit; raise the limit of open files or lower maxConns",
			  (unsigned long long)limit.rlim_max, (unsigned long long)need);
}

static enum err listen_alone(struct program *p, struct buf *error)
{
	const struct config *c = &p->config;
	enum err err = ERR_OK;

	for (size_t i = 0; i < c->listen.n && err == ERR_OK; i++)
		err = server_listen(p->server, &c->listen_at[i], SERVER_CLIENTS, error);
	if (err == ERR_OK && c->ops_listen)
		err = server_listen(p->server, &c->ops_at, SERVER_OPS, error);
	return err;
}

/* On what the supervisor opened. It has read the same settings, unless they were changed
 * since. */
static enum err listen_as_worker(struct program *p, struct buf *error)
{
	const struct config *c = &p->config;
	const struct worker *w = &p->worker;
	enum err err = ERR_OK;

	for (size_t i = 0; i < w->sockets_n && err == ERR_OK; i++) {
		if (w->entries[i] >= c->listen.n) {
			buf_str(error, "listen: has fewer addresses than it had when the "
				       "supervisor started; restart that");
			return ERR_IO;
		}
		err = server_listen_on(p->server, &c->listen_at[w->entries[i]],
				       WORKER_FD_SOCKETS + (int)i, error);
	}
	return err;
}

static bool listen_all(struct program *p)
{
	struct buf error = BUF_INIT;
	enum err err =
		p->worker.number ? listen_as_worker(p, &error) : listen_alone(p, &error);

	if (err != ERR_OK) {
		/* Those that did open leave no socket files behind. */
		server_close_listeners(p->server, SERVER_CLIENTS);
		server_close_listeners(p->server, SERVER_OPS);
		log_event(LOG_ERROR, "listen_failed", "msg=%s", buf_cstr(&error));
	}
	buf_deinit(&error);
	return err == ERR_OK;
}

static void watch(struct program *p, uv_signal_t *handle, uv_signal_cb cb, int signal)
{
	uv_signal_init(&p->loop, handle);
	handle->data = p;
	uv_signal_start(handle, cb, signal);
}

static bool start(struct program *p, const struct app_ops *const *apps)
{
	set_file_limit(&p->config);
	p->node = node_new(&p->loop, &env_system, &p->config, apps);
	p->server = server_new(p->node);
	log_event(LOG_INFO, "starting", "version=%s node=%s adapter=%s pid=%d",
		  GATEHOUSE_VERSION, p->node->code, p->node->adapter->ops->name,
		  (int)uv_os_getpid());
	if (!p->server)
		return false;
	if (!server_self_test(p->server)) {
		log_event(LOG_ERROR, "self_test_failed",
			  "msg=this libwebsockets does not send WebSocket frames as "
			  "given, or 127.0.0.1 does not work; versions 4.1.6 and 4.3.5 "
			  "are known to work");
		return false;
	}
	if (!listen_all(p))
		return false;
	watch(p, &p->sigterm, on_signal, SIGTERM);
	watch(p, &p->sigint, on_signal, SIGINT);
	/* Without files to read again it means what it always did: the terminal is gone.
	 */
	if (p->config.tls_cert) {
		watch(p, &p->sighup, on_sighup, SIGHUP);
		uv_unref((uv_handle_t *)&p->sighup);
	}
	if (p->worker.number)
		worker_start(&p->worker, p->node, on_alone, p);
	node_start(p->node);
	return true;
}

static void close_handle(uv_handle_t *handle, void *arg)
{
	(void)arg;
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

static int run(struct program *p, const struct app_ops *const *apps)
{
	uv_loop_init(&p->loop);
	if (!start(p, apps))
		return 1; /* nothing was promised to anybody yet: the process just ends */
	uv_run(&p->loop, UV_RUN_DEFAULT);
	/* lws leaves handles behind on a loop it does not own. */
	uv_walk(&p->loop, close_handle, NULL);
	uv_run(&p->loop, UV_RUN_DEFAULT);
	uv_loop_close(&p->loop);
	node_free(p->node);
	server_free(p->server);
	log_event(LOG_INFO, "stopped", "%s", "");
	return 0;
}

static enum log_level level_of(const char *name)
{
	static const char *const names[] = {"error", "warn", "info", "debug"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(name, names[i]) == 0)
			return (enum log_level)i;
	}
	return LOG_INFO; /* config_load has checked it */
}

int gatehouse_run(int argc, char **argv, const struct app_ops *const *apps)
{
	/* Static, so that what a failed start leaves behind is no leak to sanitizers. */
	static struct program program;
	struct program *p = &program;
	const char *names[APPS_MAX + 1] = {NULL};
	struct buf out = BUF_INIT, errors = BUF_INIT;
	int code = 0;

	if (probe_asked(argc, argv))
		return probe_run(argc, argv);
	for (size_t i = 0; i < APPS_MAX && apps[i]; i++)
		names[i] = apps[i]->name;
	signal(SIGPIPE, SIG_IGN);
	if (worker_inherit(&p->worker))
		log_set_worker(p->worker.number);
	switch (config_load(&p->config, argc, argv, environ, names, &out, &errors)) {
	case CONFIG_DONE:
		fputs(buf_cstr(&out), stdout);
		break;
	case CONFIG_WRONG:
		fputs(buf_cstr(&errors), stderr);
		code = 2;
		break;
	case CONFIG_RUN:
		log_setup(level_of(p->config.log_level),
			  strcmp(p->config.log_format, "json") == 0);
		if (!p->worker.number && supervisor_workers(&p->config) > 1)
			code = supervisor_run(&p->config, supervisor_workers(&p->config),
					      argv);
		else
			code = run(p, apps);
		break;
	}
	buf_deinit(&out);
	buf_deinit(&errors);
	config_deinit(&p->config);
	return code;
}
