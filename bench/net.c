#include "bench/net.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

/* --- the target --- */

struct url {
	char host[NET_HOST_MAX];
	char port[8];
};

/* Split HOST[:PORT], the host perhaps in brackets. */
static bool split(struct url *u, const char *authority)
{
	const char *host = authority, *end, *port = "80";

	if (*host == '[') {
		end = strchr(++host, ']');
		if (!end)
			return false;
		if (end[1] == ':')
			port = end + 2;
		else if (end[1])
			return false;
	} else {
		end = host + strcspn(host, ":");
		if (*end == ':')
			port = end + 1;
	}
	if (end == host || strspn(port, "0123456789") != strlen(port) || !*port ||
	    strlen(port) > 5 || atoi(port) < 1 || atoi(port) > 65535)
		return false;
	snprintf(u->host, sizeof(u->host), "%.*s", (int)(end - host), host);
	snprintf(u->port, sizeof(u->port), "%s", port);
	return true;
}

static void judge_address(struct net *net)
{
	if (net->server.ss_family == AF_INET) {
		struct sockaddr_in in;

		memcpy(&in, &net->server, sizeof(in));
		net->many_sources = ntohl(in.sin_addr.s_addr) >> 24 == 127;
		net->loopback = net->many_sources;
	} else if (net->server.ss_family == AF_INET6) {
		struct sockaddr_in6 in6;

		memcpy(&in6, &net->server, sizeof(in6));
		net->loopback = IN6_IS_ADDR_LOOPBACK(&in6.sin6_addr);
	}
}

static enum err look_up(struct net *net, const struct url *u, struct buf *why)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list;
	int error = getaddrinfo(u->host, u->port, &hints, &list);

	if (error) {
		buf_printf(why, "%s: %s", u->host, gai_strerror(error));
		return ERR_NOT_FOUND;
	}
	memcpy(&net->server, list->ai_addr, list->ai_addrlen);
	net->server_n = list->ai_addrlen;
	freeaddrinfo(list);
	judge_address(net);
	return ERR_OK;
}

/* It goes into requests as it is. */
static bool is_plain(const char *text)
{
	for (; *text; text++) {
		if ((unsigned char)*text <= ' ' || (unsigned char)*text >= 127 ||
		    strchr("?#@\"", *text))
			return false;
	}
	return true;
}

enum err net_target(struct net *net, const char *url, struct buf *why)
{
	static const char scheme[] = "http://";
	struct url u;
	size_t n;

	if (strncmp(url, "https://", 8) == 0 || strncmp(url, "wss://", 6) == 0) {
		buf_str(why, "TLS is not spoken here; measure the port without it");
		return ERR_SYNTAX;
	}
	if (strncmp(url, scheme, strlen(scheme)) == 0) {
		url += strlen(scheme);
		n = strcspn(url, "/");
		if (n < sizeof(net->host) && strlen(url + n) < sizeof(net->path) &&
		    is_plain(url)) {
			memcpy(net->host, url, n);
			net->host[n] = 0;
			/* As Socket.IO clients have it: no path means the usual one. */
			snprintf(net->path, sizeof(net->path), "%s",
				 strcmp(url + n, "/") == 0 ? "" : url + n);
			if (split(&u, net->host))
				return look_up(net, &u, why);
		}
	}
	buf_str(why, "must be http://HOST:PORT or http://HOST:PORT/path/");
	return ERR_SYNTAX;
}

/* --- connections --- */

void pipe_init(struct pipe *p, void *owner)
{
	*p = (struct pipe){.fd = -1, .owner = owner};
}

void pipe_close(struct pipe *p)
{
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
	p->state = PIPE_NONE;
	p->writing = false;
	buf_deinit(&p->in);
	buf_deinit(&p->out);
}

static enum err watch(struct pipe *p, const struct net *net, int op, bool write)
{
	struct epoll_event e = {.events = EPOLLIN | (write ? EPOLLOUT : 0u),
				.data.ptr = p};

	p->writing = write;
	return epoll_ctl(net->epoll, op, p->fd, &e) == 0 ? ERR_OK : ERR_IO;
}

/* Not bound, a socket has 28,000 ports; bound to several addresses, as many for each. */
static int bind_source(struct pipe *p, const struct net *net, uint32_t number)
{
	struct sockaddr_in from = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK + number % net->sources),
	};
	const int on = 1;

	/* The port is chosen at connect, where the destination counts too. */
	if (setsockopt(p->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on)))
		return -1;
	return bind(p->fd, (struct sockaddr *)&from, sizeof(from));
}

enum err pipe_connect(struct pipe *p, const struct net *net, uint32_t number)
{
	const int on = 1;

	assert(p->state == PIPE_NONE);
	p->fd = socket(net->server.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
		       0);
	if (p->fd < 0)
		return errno == EMFILE || errno == ENFILE ? ERR_FULL : ERR_IO;
	setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if ((net->sources > 1 && bind_source(p, net, number)) ||
	    (connect(p->fd, (const struct sockaddr *)&net->server, net->server_n) &&
	     errno != EINPROGRESS))
		return errno == EADDRNOTAVAIL || errno == EADDRINUSE ? ERR_FULL : ERR_IO;
	p->state = PIPE_CONNECTING;
	return watch(p, net, EPOLL_CTL_ADD, true);
}

enum err pipe_connected(struct pipe *p)
{
	int error = 0;
	socklen_t n = sizeof(error);

	assert(p->state == PIPE_CONNECTING);
	getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &error, &n);
	errno = error;
	if (error)
		return error == EADDRNOTAVAIL ? ERR_FULL : ERR_IO;
	p->state = PIPE_UP;
	return ERR_OK;
}

enum err pipe_flush(struct pipe *p, const struct net *net)
{
	ssize_t n;

	if (p->state != PIPE_UP)
		return ERR_OK;
	n = p->out.n ? send(p->fd, p->out.p, p->out.n, MSG_NOSIGNAL) : 0;
	if (n < 0 && errno != EAGAIN)
		return ERR_IO;
	if (n > 0) {
		p->out.n -= (size_t)n;
		memmove(p->out.p, p->out.p + n, p->out.n);
	}
	if (!p->out.n)
		buf_trim(&p->out, 4096);
	if ((p->out.n > 0) == p->writing)
		return ERR_OK;
	return watch(p, net, EPOLL_CTL_MOD, p->out.n > 0);
}
