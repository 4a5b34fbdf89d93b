/* Where the server is, and TCP connections to it. */
#ifndef GATEHOUSE_BENCH_NET_H
#define GATEHOUSE_BENCH_NET_H

#include <sys/socket.h>

#include "proto/buf.h"
#include "proto/err.h"

enum { NET_HOST_MAX = 256, NET_PATH_MAX = 256, NET_SOURCES_MAX = 200 };

struct net {
	int epoll;
	struct sockaddr_storage server;
	socklen_t server_n;
	bool loopback;
	bool many_sources; /* it is in 127.0.0.0/8, where we have many addresses */
	uint32_t sources;  /* how many of them to connect from; 0 and 1: the system's
			      choice */
	char host[NET_HOST_MAX]; /* as in the URL, with the port */
	char path[NET_PATH_MAX]; /* where the URL has one, else empty */
};

/* Read http://HOST[:PORT][/path/] and look the host up. On error a sentence is in `why`.
 */
MUST_USE enum err net_target(struct net *net, const char *url, struct buf *why);

/* One connection of a client. */
struct pipe {
	int fd;
	enum pipe_state {
		PIPE_NONE,
		PIPE_CONNECTING,
		PIPE_UP,
	} state;
	bool writing;	    /* waits for room to write */
	void *owner;	    /* for who handles its events */
	struct buf in, out; /* what is not whole yet, what is not sent yet */
};

void pipe_init(struct pipe *p, void *owner);
/* Close it, and forget what was in its buffers. */
void pipe_close(struct pipe *p);
/* Begin to connect; `number` chooses the address to connect from. What is in `out` is
 * sent when it is up. ERR_FULL: out of file descriptors or ports. ERR_IO: errno says why.
 */
MUST_USE enum err pipe_connect(struct pipe *p, const struct net *net, uint32_t number);
/* The end of a connect. ERR_IO: errno says why. */
MUST_USE enum err pipe_connected(struct pipe *p);
/* Send what is in `out`, as far as it goes. ERR_IO: errno says why. */
MUST_USE enum err pipe_flush(struct pipe *p, const struct net *net);

#endif
