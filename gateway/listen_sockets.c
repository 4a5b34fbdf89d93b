#include "gateway/listen_sockets.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "proto/mem.h"

enum { BACKLOG = 4096 /* bounded by net.core.somaxconn */ };

static void close_keeping_errno(int fd)
{
	int why = errno;

	close(fd);
	errno = why;
}

/* Accepted sockets inherit it, other than unix sockets do. */
static void set_send_buffer(int fd, uint64_t bytes)
{
	const int n = (int)bytes;

	if (n)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &n, sizeof(n));
}

/* --- TCP --- */

int listen_socket_tcp(int family, uint64_t send_buffer)
{
	const int on = 1;
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	set_send_buffer(fd, send_buffer);
	return fd;
}

bool listen_socket_begin(int fd)
{
	return listen(fd, BACKLOG) == 0;
}

/* -1: errno says why. */
static int open_tcp(const struct addrinfo *a, uint64_t send_buffer)
{
	int fd = listen_socket_tcp(a->ai_family, send_buffer);

	if (fd < 0)
		return -1;
	if (bind(fd, a->ai_addr, a->ai_addrlen) != 0 || !listen_socket_begin(fd)) {
		close_keeping_errno(fd);
		return -1;
	}
	return fd;
}

static void say_cannot_listen(const struct config_listen *at, const char *key,
			      struct buf *error)
{
	const char *advice = "";

	if (errno == EADDRINUSE)
		advice = "; something has this port already: stop it or choose another";
	else if (errno == EADDRNOTAVAIL)
		advice = "; no interface of this machine has this address";
	else if (errno == EACCES && at->port)
		advice = "; ports below 1024 want a permission (CAP_NET_BIND_SERVICE)";
	buf_printf(error, "%s: cannot listen on %s: %s%s", key, at->text, strerror(errno),
		   advice);
}

static enum err open_all_tcp(const struct config_listen *at, const char *key,
			     uint64_t send_buffer, const struct addrinfo *list,
			     struct listen_sockets *out, struct buf *error)
{
	for (const struct addrinfo *a = list; a && out->n < LISTEN_SOCKETS_MAX;
	     a = a->ai_next) {
		int fd = open_tcp(a, send_buffer);

		if (fd >= 0) {
			out->v[out->n++] = (struct listen_socket){.fd = fd};
			if (strcmp(at->port, "0") == 0)
				break; /* one free port, not one for each address */
			continue;
		}
		/* "localhost" often has an IPv6 address on a machine without IPv6 */
		if ((out->n || a->ai_next) &&
		    (errno == EADDRNOTAVAIL || errno == EAFNOSUPPORT))
			continue;
		say_cannot_listen(at, key, error);
		return ERR_IO;
	}
	return ERR_OK;
}

static enum err open_host(const struct config_listen *at, const char *key,
			  uint64_t send_buffer, struct listen_sockets *out,
			  struct buf *error)
{
	const struct addrinfo hints = {.ai_family = AF_UNSPEC,
				       .ai_socktype = SOCK_STREAM,
				       .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
	struct addrinfo *list = NULL;
	int rc = getaddrinfo(at->host, at->port, &hints, &list);
	enum err err;

	if (rc != 0) {
		buf_printf(error, "%s: cannot resolve \"%s\": %s", key, at->host,
			   gai_strerror(rc));
		return ERR_IO;
	}
	err = open_all_tcp(at, key, send_buffer, list, out, error);
	freeaddrinfo(list);
	return err;
}

/* --- unix sockets --- */

/* A socket file may be left over from who was killed, so whether somebody listens is
 * asked by connecting. False: `error` says what stands in the way. */
static bool make_room(const struct config_listen *at, const struct sockaddr_un *name,
		      const char *key, struct buf *error)
{
	struct stat st;
	int fd, rc;

	if (lstat(at->path, &st) != 0)
		return true; /* if it is not just absent, bind says why */
	if (!S_ISSOCK(st.st_mode)) {
		buf_printf(
			error,
			"%s: cannot listen on %s: a file of that name is there that is "
			"no socket; remove it or choose another path",
			key, at->text);
		return false;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return true;
	rc = connect(fd, (const struct sockaddr *)name, sizeof(*name));
	close_keeping_errno(fd);
	if (rc == 0 || errno != ECONNREFUSED) {
		buf_printf(error,
			   "%s: cannot listen on %s: %s; stop it or choose another path",
			   key, at->text,
			   rc == 0 || errno == EAGAIN ? "somebody listens there already"
						      : strerror(errno));
		return false;
	}
	unlink(at->path);
	return true;
}

static int bind_unix(const struct config_listen *at, const struct sockaddr_un *name,
		     struct listen_socket *out)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct stat st;
	mode_t mask;
	bool bound;

	if (fd < 0)
		return -1;
	/* Its mode from the beginning: a chmod would come after somebody got in. */
	mask = umask((mode_t)(~at->mode & 0777));
	bound = bind(fd, (const struct sockaddr *)name, sizeof(*name)) == 0;
	umask(mask);
	if (!bound || !listen_socket_begin(fd) || lstat(at->path, &st) != 0) {
		if (bound)
			unlink(at->path);
		close_keeping_errno(fd);
		return -1;
	}
	*out = (struct listen_socket){
		.fd = fd, .file_dev = st.st_dev, .file_ino = st.st_ino};
	return 0;
}

/* Two that start at the same time must not both find a file that is left over, and each
 * remove what the other has just made. A lock on the directory leaves nothing behind. */
static int lock_directory(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *directory = slash == path ? mem_strndup("/", 1)
					: mem_strndup(path, (size_t)(slash - path));
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	free(directory);
	if (fd >= 0)
		flock(fd, LOCK_EX);
	return fd;
}

static enum err open_unix(const struct config_listen *at, const char *key,
			  struct listen_sockets *out, struct buf *error)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	int lock = lock_directory(at->path);
	enum err err = ERR_IO;

	memcpy(name.sun_path, at->path, strlen(at->path)); /* config_listen.c: it fits */
	if (make_room(at, &name, key, error)) {
		if (bind_unix(at, &name, &out->v[0]) == 0) {
			out->n = 1;
			err = ERR_OK;
		} else {
			buf_printf(error, "%s: cannot listen on %s: %s%s", key, at->text,
				   strerror(errno),
				   errno == ENOENT ? "; make its directory" : "");
		}
	}
	if (lock >= 0)
		close(lock);
	return err;
}

/* --- both --- */

enum err listen_sockets_open(const struct config_listen *at, const char *key,
			     uint64_t send_buffer, struct listen_sockets *out,
			     struct buf *error)
{
	struct listen_sockets opened = {.n = 0};
	enum err err = at->path ? open_unix(at, key, &opened, error)
				: open_host(at, key, send_buffer, &opened, error);

	if (err != ERR_OK) {
		for (size_t i = 0; i < opened.n; i++)
			listen_socket_close(&opened.v[i], at->path);
		return err;
	}
	*out = opened;
	return ERR_OK;
}

void listen_socket_remove(struct listen_socket *s, const char *path)
{
	struct stat st;

	if (path && s->file_ino && lstat(path, &st) == 0 && st.st_dev == s->file_dev &&
	    st.st_ino == s->file_ino)
		unlink(path);
	s->file_ino = 0;
}

void listen_socket_close(struct listen_socket *s, const char *path)
{
	listen_socket_remove(s, path);
	close(s->fd);
	*s = (struct listen_socket){.fd = -1};
}
