/* Opening the sockets a listener accepts on. Nothing here knows who will accept on them,
 * so it can be another process than the one that opened them. */
#ifndef GATEHOUSE_GATEWAY_LISTEN_SOCKETS_H
#define GATEHOUSE_GATEWAY_LISTEN_SOCKETS_H

#include <sys/types.h>

#include "gateway/config.h"
#include "proto/err.h"

/* A socket that listens. */
struct listen_socket {
	int fd;
	/* A unix socket's file, as it was made; 0: it has none, or it is not ours. */
	dev_t file_dev;
	ino_t file_ino;
};

/* A host has few addresses; more than these are not listened on. */
enum { LISTEN_SOCKETS_MAX = 16 };

struct listen_sockets {
	struct listen_socket v[LISTEN_SOCKETS_MAX];
	size_t n;
};

/* One socket for each address the host has, or a unix socket. The file of a unix socket
 * that nobody listens on any more is replaced. `send_buffer`: of each connection, in
 * bytes; 0: the kernel's choice. `key` is the setting, for errors. ERR_IO: `error` gets a
 * sentence, and no socket is open. */
MUST_USE enum err listen_sockets_open(const struct config_listen *at, const char *key,
				      uint64_t send_buffer, struct listen_sockets *out,
				      struct buf *error);
/* A TCP socket with the options that listeners have. -1: errno says why. */
int listen_socket_tcp(int family, uint64_t send_buffer);
/* Listen on a socket that is bound. False: errno says why. */
bool listen_socket_begin(int fd);
/* Remove a unix socket's file, unless another has taken its place.
 * `path`: of that file, or NULL. */
void listen_socket_remove(struct listen_socket *s, const char *path);
/* The same, and close it. */
void listen_socket_close(struct listen_socket *s, const char *path);

#endif
