/* Our own listeners: lws cannot share a port on Debian 12, and a listener of ours also
 * bounds the handshakes under way and all connections. */
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/log.h"
#include "gateway/lws_internal.h"
#include "gateway/node.h"
#include "proto/mem.h"

enum { ACCEPT_PER_TURN = 128 /* others get their turn between */ };

struct listener {
	struct listener *next;
	struct server *server;
	struct accept_kind kind;
	struct listen_socket socket;
	const char *path; /* of a unix socket, else NULL; the configuration's */
	int send_buffer;  /* to set on each connection, where it is not inherited */
	uv_poll_t poll;
	uv_timer_t retry; /* after descriptors ran out */
	unsigned handles;
};

static void on_readable(uv_poll_t *poll, int status, int events);

static void listen_on(struct listener *l, bool on)
{
	if (on)
		uv_poll_start(&l->poll, UV_READABLE, on_readable);
	else
		uv_poll_stop(&l->poll);
}

void lws_listen_update(struct server *s)
{
	bool pause = lws_accept_handshakes(s) >= s->node->config->max_handshakes ||
		     s->connections >= s->connections_max;

	if (pause == s->paused)
		return;
	s->paused = pause;
	for (struct listener *l = s->listeners; l; l = l->next) {
		if (l->kind.role == SERVER_CLIENTS)
			listen_on(l, !pause);
	}
}

static void on_retry(uv_timer_t *timer)
{
	struct listener *l = timer->data;

	if (l->kind.role != SERVER_CLIENTS || !l->server->paused)
		listen_on(l, true);
}

static void on_accept_error(struct listener *l)
{
	if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM)
		return;
	log_event(LOG_ERROR, "accept_failed",
		  "errno=%d msg=%s; raise the limit of open files or lower maxConns",
		  errno, strerror(errno));
	listen_on(l, false);
	uv_timer_start(&l->retry, on_retry, 1000, 0);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct listener *l = poll->data;
	struct server *s = l->server;

	(void)status;
	(void)events;
	/* Operators get in whatever clients do. */
	for (int i = 0;
	     i < ACCEPT_PER_TURN && !(s->paused && l->kind.role == SERVER_CLIENTS); i++) {
		struct sockaddr_storage from = {0};
		socklen_t n = sizeof(from);
		int fd = accept4(l->socket.fd, (struct sockaddr *)&from, &n,
				 SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			if (l->send_buffer)
				setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &l->send_buffer,
					   sizeof(l->send_buffer));
			lws_accept(s, fd, &from, &l->kind);
			continue;
		}
		on_accept_error(l);
		if (errno != ECONNABORTED && errno != EINTR)
			break;
	}
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct listener *l = handle->data;

	if (--l->handles == 0)
		free(l);
}

void server_close_listeners(struct server *s, enum server_role role)
{
	struct listener **p = &s->listeners, *l;

	while ((l = *p)) {
		if (l->kind.role != role) {
			p = &l->next;
			continue;
		}
		*p = l->next;
		uv_close((uv_handle_t *)&l->poll, on_handle_closed);
		uv_close((uv_handle_t *)&l->retry, on_handle_closed);
		listen_socket_close(&l->socket, l->path);
	}
}

static void log_listening(const struct config_listen *at, int fd, enum server_role role)
{
	const char *id = role == SERVER_OPS ? "ops_listening" : "listening";
	const char *proxy = at->proxy ? " proxy=yes" : "";
	struct sockaddr_storage name = {0};
	socklen_t n = sizeof(name);
	char host[NI_MAXHOST], port[NI_MAXSERV];
	bool v6;

	if (at->path) {
		log_event(LOG_INFO, id, "path=%s%s", at->path, proxy);
		return;
	}
	if (getsockname(fd, (struct sockaddr *)&name, &n) != 0 ||
	    getnameinfo((struct sockaddr *)&name, n, host, sizeof(host), port,
			sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		return;
	v6 = name.ss_family == AF_INET6;
	log_event(LOG_INFO, id, "url=%s://%s%s%s:%s/%s%s", at->tls ? "https" : "http",
		  v6 ? "[" : "", host, v6 ? "]" : "", port,
		  role == SERVER_OPS ? "metrics" : "", proxy);
}

static void add_listener(struct server *s, const struct config_listen *at,
			 enum server_role role, const struct listen_socket *socket)
{
	struct listener *l = mem_zalloc(1, sizeof(*l));

	l->server = s;
	l->kind = (struct accept_kind){role, at->tls, at->proxy};
	l->socket = *socket;
	l->path = at->path;
	if (at->path && role == SERVER_CLIENTS)
		l->send_buffer = (int)s->node->config->socket_send_buffer;
	l->next = s->listeners;
	s->listeners = l;
	uv_poll_init(s->node->loop, &l->poll, socket->fd);
	l->poll.data = l;
	uv_timer_init(s->node->loop, &l->retry);
	l->retry.data = l;
	l->handles = 2;
	listen_on(l, role != SERVER_CLIENTS || !s->paused);
	log_listening(at, socket->fd, role);
}

enum err server_listen(struct server *s, const struct config_listen *at,
		       enum server_role role, struct buf *error)
{
	const char *key = role == SERVER_OPS ? "opsListen" : "listen";
	uint64_t send_buffer =
		role == SERVER_CLIENTS ? s->node->config->socket_send_buffer : 0;
	struct listen_sockets sockets;
	enum err err;

	if (at->tls && !lws_tls_open(s, error))
		return ERR_IO;
	err = listen_sockets_open(at, key, send_buffer, &sockets, error);
	if (err != ERR_OK)
		return err;
	for (size_t i = 0; i < sockets.n; i++)
		add_listener(s, at, role, &sockets.v[i]);
	return ERR_OK;
}

enum err server_listen_on(struct server *s, const struct config_listen *at, int fd,
			  struct buf *error)
{
	const struct listen_socket socket = {.fd = fd};

	if (at->tls && !lws_tls_open(s, error))
		return ERR_IO;
	if (!listen_socket_begin(fd)) {
		buf_printf(error, "listen: cannot listen on %s: %s", at->text,
			   strerror(errno));
		return ERR_IO;
	}
	add_listener(s, at, SERVER_CLIENTS, &socket);
	return ERR_OK;
}
