/* Our own listeners: lws cannot share a port on Debian 12, and a listener of ours also
 * bounds the handshakes under way. */
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/log.h"
#include "gateway/lws_internal.h"
#include "gateway/node.h"
#include "proto/mem.h"

enum {
	ACCEPT_PER_TURN = 128, /* others get their turn between */
	BACKLOG = 4096,	       /* bounded by net.core.somaxconn */
};

struct listener {
	struct listener *next;
	struct server *server;
	enum server_role role;
	int fd;
	uv_poll_t poll;
	uv_timer_t retry; /* after descriptors ran out */
	unsigned handles;
};

static size_t handshakes(const struct server *s)
{
	return s->connections - s->settled;
}

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
	bool pause = handshakes(s) >= s->node->config->max_handshakes;

	if (pause == s->paused)
		return;
	s->paused = pause;
	for (struct listener *l = s->listeners; l; l = l->next) {
		if (l->role == SERVER_CLIENTS)
			listen_on(l, !pause);
	}
}

static void on_retry(uv_timer_t *timer)
{
	struct listener *l = timer->data;

	if (l->role != SERVER_CLIENTS || !l->server->paused)
		listen_on(l, true);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct listener *l = poll->data;
	struct server *s = l->server;

	(void)status;
	(void)events;
	/* Operators get in whatever clients do. */
	for (int i = 0; i < ACCEPT_PER_TURN && !(s->paused && l->role == SERVER_CLIENTS);
	     i++) {
		int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			if (!lws_server_adopt(s, fd, l->role))
				log_event(LOG_WARN, "adopt_failed", "fd=%d", fd);
			lws_listen_update(s);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
		    errno == ENOMEM) {
			log_event(LOG_ERROR, "accept_failed",
				  "errno=%d msg=%s; raise the limit of open files or "
				  "lower maxConns",
				  errno, strerror(errno));
			listen_on(l, false);
			uv_timer_start(&l->retry, on_retry, 1000, 0);
		}
		if (errno != ECONNABORTED && errno != EINTR)
			break;
	}
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct listener *l = handle->data;

	if (--l->handles)
		return;
	close(l->fd);
	free(l);
}

void server_close_listeners(struct server *s, enum server_role role)
{
	struct listener **p = &s->listeners, *l;

	while ((l = *p)) {
		if (l->role != role) {
			p = &l->next;
			continue;
		}
		*p = l->next;
		uv_close((uv_handle_t *)&l->poll, on_handle_closed);
		uv_close((uv_handle_t *)&l->retry, on_handle_closed);
	}
}

static void log_listening(int fd, enum server_role role)
{
	struct sockaddr_storage at = {0};
	socklen_t n = sizeof(at);
	char host[NI_MAXHOST], port[NI_MAXSERV];
	bool v6;

	if (getsockname(fd, (struct sockaddr *)&at, &n) != 0 ||
	    getnameinfo((struct sockaddr *)&at, n, host, sizeof(host), port, sizeof(port),
			NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		return;
	v6 = at.ss_family == AF_INET6;
	log_event(LOG_INFO, role == SERVER_OPS ? "ops_listening" : "listening",
		  "url=http://%s%s%s:%s/%s", v6 ? "[" : "", host, v6 ? "]" : "", port,
		  role == SERVER_OPS ? "metrics" : "");
}

/* -1: errno says why. */
static int open_socket(const struct addrinfo *a, const struct config *c,
		       enum server_role role)
{
	const int on = 1, send_buffer = (int)c->socket_send_buffer;
	int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	/* Accepted sockets inherit these. */
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (a->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (send_buffer && role == SERVER_CLIENTS)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof(send_buffer));
	if (bind(fd, a->ai_addr, a->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0) {
		int why = errno;

		close(fd);
		errno = why;
		return -1;
	}
	return fd;
}

static void add_listener(struct server *s, enum server_role role, int fd)
{
	struct listener *l = mem_zalloc(1, sizeof(*l));

	l->server = s;
	l->role = role;
	l->fd = fd;
	l->next = s->listeners;
	s->listeners = l;
	uv_poll_init(s->node->loop, &l->poll, fd);
	l->poll.data = l;
	uv_timer_init(s->node->loop, &l->retry);
	l->retry.data = l;
	l->handles = 2;
	listen_on(l, true);
	log_listening(fd, role);
}

/* "host:port" or "[v6]:port"; the configuration has checked the form. */
static void split_address(const char *address, char **host, char **port)
{
	const char *colon = strrchr(address, ':');
	size_t n = colon ? (size_t)(colon - address) : strlen(address);

	if (n >= 2 && address[0] == '[' && address[n - 1] == ']')
		*host = mem_strndup(address + 1, n - 2);
	else
		*host = mem_strndup(address, n);
	*port = mem_strndup(colon ? colon + 1 : "0", colon ? strlen(colon + 1) : 1);
}

enum err server_listen(struct server *s, const char *address, enum server_role role,
		       struct buf *error)
{
	const struct addrinfo hints = {.ai_family = AF_UNSPEC,
				       .ai_socktype = SOCK_STREAM,
				       .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
	const char *key = role == SERVER_OPS ? "opsListen" : "listen";
	struct addrinfo *list = NULL;
	char *host, *port;
	enum err err = ERR_OK;
	bool any = false;
	int rc;

	split_address(address, &host, &port);
	rc = getaddrinfo(host, port, &hints, &list);
	if (rc != 0) {
		buf_printf(error, "%s: cannot resolve \"%s\": %s", key, host,
			   gai_strerror(rc));
		err = ERR_IO;
	}
	for (struct addrinfo *a = list; a && err == ERR_OK; a = a->ai_next) {
		int fd = open_socket(a, s->node->config, role);

		if (fd >= 0) {
			add_listener(s, role, fd);
			any = true;
			if (strcmp(port, "0") == 0)
				break; /* one free port, not one for each address */
			continue;
		}
		/* "localhost" often has an IPv6 address on a machine without IPv6 */
		if ((any || a->ai_next) &&
		    (errno == EADDRNOTAVAIL || errno == EAFNOSUPPORT))
			continue;
		buf_printf(error, "%s: cannot listen on %s: %s%s", key, address,
			   strerror(errno),
			   errno == EADDRINUSE ? "; something has this port already: "
						 "stop it or choose another"
					       : "");
		err = ERR_IO;
	}
	if (list)
		freeaddrinfo(list);
	free(host);
	free(port);
	return err;
}
