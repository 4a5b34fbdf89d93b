/* The addresses of `listen` as several workers share them.
 *
 * The supervisor holds each port with a socket that is bound and does not listen. For a
 * worker it makes another one beside it (SO_REUSEPORT), and the kernel spreads new
 * connections over the sockets of those that listen; when a worker dies, its socket goes
 * with it. That a port is free is found out before, as a process alone does: by listening
 * without sharing. So no other service comes to share it, nor does a second Gatehouse.
 *
 * A unix socket cannot be shared so: it is opened once, and all workers have the same. */
#ifndef GATEHOUSE_GATEWAY_PORTS_H
#define GATEHOUSE_GATEWAY_PORTS_H

#include "gateway/listen_sockets.h"

enum { PORTS_MAX = 64 };

struct ports {
	struct listen_socket sockets[PORTS_MAX];
	unsigned entries[PORTS_MAX]; /* of which entry of `listen` each is */
	size_t n;
};

/* ERR_IO: `error` gets a sentence that says what is wrong; nothing is open. */
MUST_USE enum err ports_open(struct ports *p, const struct config *c, struct buf *error);
/* A socket for one worker, bound but not listening; the caller closes it. -1: errno says
 * why. */
int ports_share(const struct ports *p, size_t i, const struct config *c);
/* Hold them no more; workers that have one go on. The file of a unix socket stays. */
void ports_close(struct ports *p);
/* The workers are gone too: remove the files. */
void ports_remove(struct ports *p, const struct config *c);

#endif
