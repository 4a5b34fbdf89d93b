#include "gateway/ports.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

struct bound {
	struct sockaddr_storage at;
	socklen_t n;
};

static bool address_of(int fd, struct bound *a)
{
	a->n = sizeof(a->at);
	return getsockname(fd, (struct sockaddr *)&a->at, &a->n) == 0;
}

static bool share(int fd)
{
	const int on = 1;

	return setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) == 0;
}

/* Another socket at the address of `fd`, which shares it too. -1: errno says why. */
static int beside(int fd, uint64_t send_buffer, bool reuse)
{
	const int on = reuse;
	struct bound a;
	int other;

	if (!address_of(fd, &a))
		return -1;
	other = listen_socket_tcp(a.at.ss_family, send_buffer);
	if (other < 0)
		return -1;
	if (setsockopt(other, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
	    share(other) && bind(other, (struct sockaddr *)&a.at, a.n) == 0)
		return other;
	close(other);
	return -1;
}

/* Hold the port of a socket that has it alone and listens, and never let it go meanwhile.
 * What holds it must not be SO_REUSEADDR: who has that too could listen there, while no
 * worker does. -1: errno says why. */
static int hold(int listening)
{
	return share(listening) ? beside(listening, 0, false) : -1;
}

static bool is_unix(const struct listen_socket *s)
{
	return s->file_ino != 0;
}

static void close_one(struct listen_socket *s)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

/* Take over one that was opened. */
static enum err add(struct ports *p, unsigned entry, struct listen_socket *opened,
		    struct buf *error)
{
	struct listen_socket *held = &p->sockets[p->n];

	*held = *opened;
	p->entries[p->n] = entry;
	p->n++;
	if (is_unix(opened))
		return ERR_OK;
	held->fd = hold(opened->fd);
	if (held->fd < 0)
		buf_printf(error, "listen: cannot share a port: %s", strerror(errno));
	close_one(opened);
	return held->fd < 0 ? ERR_IO : ERR_OK;
}

static enum err add_entry(struct ports *p, const struct config *c, unsigned entry,
			  struct buf *error)
{
	struct listen_sockets opened;
	enum err err =
		listen_sockets_open(&c->listen_at[entry], "listen", 0, &opened, error);

	if (err != ERR_OK)
		return err;
	if (p->n + opened.n > PORTS_MAX) {
		buf_printf(error, "listen: %d addresses are the most that workers share",
			   PORTS_MAX);
		err = ERR_IO;
	}
	for (size_t i = 0; i < opened.n; i++) {
		if (err == ERR_OK)
			err = add(p, entry, &opened.v[i], error);
		else
			listen_socket_close(&opened.v[i], c->listen_at[entry].path);
	}
	return err;
}

enum err ports_open(struct ports *p, const struct config *c, struct buf *error)
{
	enum err err = ERR_OK;

	p->n = 0;
	for (unsigned i = 0; i < c->listen.n && err == ERR_OK; i++)
		err = add_entry(p, c, i, error);
	if (err != ERR_OK) {
		ports_close(p);
		ports_remove(p, c);
	}
	return err;
}

int ports_share(const struct ports *p, size_t i, const struct config *c)
{
	const struct listen_socket *s = &p->sockets[i];

	assert(i < p->n);
	if (is_unix(s))
		return fcntl(s->fd, F_DUPFD_CLOEXEC, 0);
	return beside(s->fd, c->socket_send_buffer, true);
}

void ports_close(struct ports *p)
{
	for (size_t i = 0; i < p->n; i++)
		close_one(&p->sockets[i]);
}

void ports_remove(struct ports *p, const struct config *c)
{
	for (size_t i = 0; i < p->n; i++)
		listen_socket_remove(&p->sockets[i], c->listen_at[p->entries[i]].path);
	p->n = 0;
}
