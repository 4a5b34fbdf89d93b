#include "gateway/probe.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	STEP_S = 5,
	HOST_MAX = 256,
	PORT_MAX = 6,
	REQUEST_MAX = 2048,
	STATUS_N = 12, /* "HTTP/1.1 200" */
};

/* A URL in parts. */
struct target {
	char host[HOST_MAX], port[PORT_MAX];
	const char *authority; /* host and port as they were written */
	int authority_n;
	const char *path; /* may be empty */
};

static bool url_split(const char *url, struct target *t);
static int dial(const struct target *t, const char *url);
static bool ask(int fd, const struct target *t, const char *url);

bool probe_asked(int argc, char *const *argv)
{
	return argc > 1 &&
	       (strcmp(argv[1], "--probe") == 0 || strncmp(argv[1], "--probe=", 8) == 0);
}

int probe_run(int argc, char *const *argv)
{
	const char *url = argv[1][7] == '=' ? argv[1] + 8 : argv[2];
	struct target t;
	bool good;
	int fd;

	if (argc != (argv[1][7] == '=' ? 2 : 3)) {
		fprintf(stderr, "--probe: takes one URL and nothing else: "
				"--probe http://127.0.0.1:9300/readyz\n");
		return 1;
	}
	if (!url_split(url, &t)) {
		fprintf(stderr, "--probe: '%s' is no http://HOST[:PORT][/PATH]\n", url);
		return 1;
	}
	fd = dial(&t, url);
	if (fd < 0)
		return 1;
	good = ask(fd, &t, url);
	close(fd);
	return good ? 0 : 1;
}

/* A copy, if it is not empty and fits. */
static bool take(char *out, size_t max, const char *from, size_t n)
{
	if (n == 0 || n >= max)
		return false;
	memcpy(out, from, n);
	out[n] = '\0';
	return true;
}

static bool url_split(const char *url, struct target *t)
{
	static const char scheme[] = "http://";
	const char *host, *colon;
	size_t n, host_n;

	if (strncmp(url, scheme, sizeof(scheme) - 1) != 0)
		return false;
	for (const char *c = url; *c; c++) {
		if (*c <= ' ' || *c == 0x7f) /* or it would end the request's line */
			return false;
	}
	host = url + sizeof(scheme) - 1;
	n = strcspn(host, "/?#");
	t->authority = host;
	t->authority_n = (int)n;
	t->path = host + n;
	if (n > HOST_MAX || *t->path == '?' || *t->path == '#')
		return false;
	if (*host == '[') {
		const char *end = memchr(host, ']', n);

		if (!end || (end + 1 < host + n && end[1] != ':'))
			return false;
		colon = end + 1 < host + n ? end + 1 : NULL;
		host++;
		host_n = (size_t)(end - host);
	} else {
		colon = memchr(host, ':', n);
		host_n = colon ? (size_t)(colon - host) : n;
	}
	if (!take(t->host, sizeof(t->host), host, host_n))
		return false;
	if (!colon)
		return take(t->port, sizeof(t->port), "80", 2);
	return take(t->port, sizeof(t->port), colon + 1,
		    (size_t)(t->authority + n - colon - 1));
}

/* Linux lets a connect, too, take as long as the send timeout says. */
static void set_timeouts(int fd)
{
	struct timeval step = {.tv_sec = STEP_S};

	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &step, sizeof(step));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &step, sizeof(step));
}

static const char *reason(int error)
{
	return error == EAGAIN || error == EINPROGRESS ? "no answer within 5 s"
						       : strerror(error);
}

/* Connected, or -1: said why. */
static int dial(const struct target *t, const char *url)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list;
	int fd = -1, error = getaddrinfo(t->host, t->port, &hints, &list);

	if (error) {
		fprintf(stderr, "--probe: %s: %s\n", url, gai_strerror(error));
		return -1;
	}
	for (struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
		fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
		if (fd >= 0) {
			set_timeouts(fd);
			if (connect(fd, a->ai_addr, a->ai_addrlen) == 0)
				break;
		}
		error = errno;
		if (fd >= 0)
			close(fd);
		fd = -1;
	}
	freeaddrinfo(list);
	if (fd < 0)
		fprintf(stderr, "--probe: %s: %s\n", url, reason(error));
	return fd;
}

static bool ask(int fd, const struct target *t, const char *url)
{
	char request[REQUEST_MAX], status[STATUS_N + 1] = "";
	int n = snprintf(request, sizeof(request),
			 "GET %s HTTP/1.1\r\nHost: %.*s\r\nConnection: close\r\n\r\n",
			 *t->path ? t->path : "/", t->authority_n, t->authority);
	ssize_t got;

	if (n < 0 || (size_t)n >= sizeof(request)) {
		fprintf(stderr, "--probe: the URL is too long\n");
		return false;
	}
	if (send(fd, request, (size_t)n, MSG_NOSIGNAL) != n) {
		fprintf(stderr, "--probe: %s: %s\n", url, reason(errno));
		return false;
	}
	got = recv(fd, status, STATUS_N, MSG_WAITALL);
	if (got < 0) {
		fprintf(stderr, "--probe: %s: %s\n", url, reason(errno));
		return false;
	}
	if (got != STATUS_N || strncmp(status, "HTTP/1.", 7) != 0) {
		fprintf(stderr, "--probe: %s: the answer is no HTTP\n", url);
		return false;
	}
	if (status[9] != '2') {
		fprintf(stderr, "--probe: %s: status %s\n", url, status + 9);
		return false;
	}
	return true;
}
