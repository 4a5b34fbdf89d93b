/* A client's connection from its accept to its WebSocket: where it comes from, the PROXY
 * protocol header before everything else, how long it may take, and how many of these one
 * address may have. What comes later keeps the address itself (conn.h). */
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/log.h"
#include "gateway/lws_internal.h"
#include "gateway/node.h"
#include "proto/mem.h"
#include "proto/proxy_protocol.h"

enum { PEEK_BYTES = 512 };

struct acceptor {
	struct server *server;
	size_t n; /* of struct accepted */
	/* Those whose HTTP request is not there yet, the oldest first: all have the same
	 * time. lws's own timeouts begin anew with each step. */
	struct link waiting;
	uv_timer_t timer;
	bool timer_runs;
	size_t handshakes;
};

/* Reads a PROXY protocol header. lws cannot, and gets the connection when it is read. */
struct header_reader {
	uv_poll_t poll;
	struct accepted *accepted;
	struct proxy_header header;
};

enum accepted_state {
	ACCEPTED_HEADER,  /* its PROXY header is read */
	ACCEPTED_REQUEST, /* lws has it; no request yet */
	ACCEPTED_SETTLED, /* had a request; may have more */
};

struct accepted {
	struct acceptor *acceptor;
	struct lws_client *client; /* from REQUEST on */
	struct header_reader *reader;
	struct link waiting; /* in acceptor.waiting: HEADER and REQUEST */
	uint64_t due_ms;
	int fd; /* HEADER only */
	struct accept_kind kind;
	enum accepted_state state;
	struct address address;
	bool trusted;	/* it is a proxy that is believed */
	bool in_book;	/* it counts in its address's share */
	bool timed_out; /* so its end is no surprise */
};

static void on_timer(uv_timer_t *timer);

/* --- the acceptor --- */

void lws_acceptor_open(struct server *s)
{
	struct acceptor *ac = mem_zalloc(1, sizeof(*ac));

	ac->server = s;
	link_init(&ac->waiting);
	uv_timer_init(s->node->loop, &ac->timer);
	ac->timer.data = ac;
	s->acceptor = ac;
}

size_t lws_accept_handshakes(const struct server *s)
{
	return s->acceptor->handshakes;
}

static struct metrics *metrics_of(const struct acceptor *ac)
{
	return &ac->server->node->metrics;
}

/* It counts as a handshake no more, neither for all nor for its address. */
static void uncount(struct accepted *a)
{
	struct acceptor *ac = a->acceptor;

	if (a->kind.role != SERVER_CLIENTS || a->state == ACCEPTED_SETTLED)
		return;
	ac->handshakes--;
	if (a->in_book)
		address_book_remove(&ac->server->node->addresses, &a->address,
				    ADDRESS_HANDSHAKES);
	a->in_book = false;
}

static void set_state(struct accepted *a, enum accepted_state state)
{
	assert(state > a->state);
	if (state == ACCEPTED_SETTLED) {
		uncount(a);
		list_remove(&a->waiting);
	}
	a->state = state;
}

static void on_reader_closed(uv_handle_t *handle)
{
	free(container_of(handle, struct header_reader, poll));
}

static void stop_reader(struct accepted *a)
{
	if (!a->reader)
		return;
	uv_poll_stop(&a->reader->poll);
	uv_close((uv_handle_t *)&a->reader->poll, on_reader_closed);
	a->reader = NULL;
}

/* lws is done with it, or never had it. */
static void forget(struct accepted *a)
{
	struct server *s = a->acceptor->server;

	stop_reader(a);
	uncount(a);
	list_remove(&a->waiting);
	if (a->client)
		a->client->accepted = NULL;
	s->acceptor->n--;
	free(a);
	lws_listen_update(s);
}

/* End one whose header is still due. */
static void drop(struct accepted *a)
{
	int fd = a->fd;

	assert(a->state == ACCEPTED_HEADER);
	forget(a); /* its poll stops before the descriptor is another's */
	close(fd);
}

void lws_acceptor_stop(struct server *s)
{
	struct acceptor *ac = s->acceptor;
	struct link *it, *tmp;

	list_each(it, tmp, &ac->waiting)
	{
		struct accepted *a = container_of(it, struct accepted, waiting);

		if (a->state == ACCEPTED_HEADER)
			drop(a);
	}
	uv_timer_stop(&ac->timer);
}

void lws_acceptor_free(struct server *s)
{
	assert(s->acceptor->n == 0);
	free(s->acceptor);
	s->acceptor = NULL;
}

/* --- time --- */

static void set_timer(struct acceptor *ac)
{
	struct link *first = list_first(&ac->waiting);
	uint64_t now = env_now_ms(ac->server->node->env), due;

	if (!first || ac->timer_runs)
		return;
	due = container_of(first, struct accepted, waiting)->due_ms;
	ac->timer_runs = true;
	uv_timer_start(&ac->timer, on_timer, due > now ? due - now : 0, 0);
}

static void end_late(struct accepted *a)
{
	struct lws *wsi;

	if (a->kind.role == SERVER_CLIENTS)
		metrics_of(a->acceptor)->handshakes_timeout++;
	a->timed_out = true;
	list_remove(&a->waiting);
	if (a->state == ACCEPTED_HEADER) {
		drop(a);
		return;
	}
	wsi = a->client->wsi;
	/* lws would say good-bye and wait as long again for an answer. */
	shutdown(lws_get_socket_fd(wsi), SHUT_RDWR);
	lws_set_timeout(wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_SYNC);
}

static void on_timer(uv_timer_t *timer)
{
	struct acceptor *ac = timer->data;
	uint64_t now = env_now_ms(ac->server->node->env);
	struct link *first;

	ac->timer_runs = false;
	while ((first = list_first(&ac->waiting))) {
		struct accepted *a = container_of(first, struct accepted, waiting);

		if (a->due_ms > now)
			break;
		end_late(a);
	}
	set_timer(ac);
}

/* --- from the socket to lws --- */

static struct address address_of(const struct sockaddr_storage *from)
{
	struct address none = {.family = ADDRESS_NONE};

	if (from->ss_family == AF_INET)
		return address_v4(
			(const uint8_t *)&((const struct sockaddr_in *)from)->sin_addr);
	if (from->ss_family == AF_INET6)
		return address_v6(((const struct sockaddr_in6 *)from)->sin6_addr.s6_addr);
	if (from->ss_family == AF_UNIX)
		none.family = ADDRESS_UNIX;
	return none;
}

/* Its address is known: is there room for one more of it? */
static bool admit(struct accepted *a)
{
	struct node *n = a->acceptor->server->node;
	const struct config *c = n->config;

	a->trusted = address_in(&a->address, c->trusted, c->trusted_proxies.n);
	if (a->kind.role != SERVER_CLIENTS || a->trusted ||
	    c->max_handshakes_per_address == 0)
		return true;
	if (address_book_count(&n->addresses, &a->address, ADDRESS_HANDSHAKES) >=
	    c->max_handshakes_per_address) {
		n->metrics.handshakes_address++;
		return false;
	}
	address_book_add(&n->addresses, &a->address, ADDRESS_HANDSHAKES);
	a->in_book = true;
	return true;
}

static void give_to_lws(struct accepted *a)
{
	struct server *s = a->acceptor->server;
	int fd = a->fd;

	set_state(a, ACCEPTED_REQUEST);
	a->client = lws_server_adopt(s, fd, &a->kind, a);
	if (a->client)
		return;
	/* With TLS it begins the handshake at once, which may fail for what is there
	 * already. */
	if (a->kind.role == SERVER_CLIENTS)
		s->node->metrics.handshakes_incomplete++;
	if (!a->kind.tls)
		log_event(LOG_WARN, "adopt_failed", "fd=%d", fd);
	forget(a);
}

static void refuse_header(struct accepted *a)
{
	struct server *s = a->acceptor->server;
	char text[ADDRESS_TEXT_MAX];

	s->node->metrics.handshakes_proxy_header++;
	if (lws_http_hint_due(s, HINT_PROXY_HEADER))
		log_event(LOG_WARN, "proxy_header_refused",
			  "address=%s msg=a connection to a listener with ?proxy does "
			  "not begin with a PROXY protocol header; make the proxy send "
			  "one (send-proxy-v2 in HAProxy), or take ?proxy off",
			  address_print(&a->address, text));
	drop(a);
}

static void on_header(struct accepted *a, const struct address *from)
{
	/* A proxy's own connections, to see if we are well, name nobody. */
	if (from->family != ADDRESS_NONE)
		a->address = *from;
	stop_reader(a);
	if (admit(a))
		give_to_lws(a);
	else
		drop(a);
}

/* Peek, and take no more than the header has. */
static void on_header_readable(uv_poll_t *poll, int status, int events)
{
	struct header_reader *r = container_of(poll, struct header_reader, poll);
	struct accepted *a = r->accepted;
	uint8_t bytes[PEEK_BYTES];
	struct address from;
	enum err err;
	size_t taken;
	ssize_t n;

	(void)status;
	(void)events;
	n = recv(a->fd, bytes, sizeof(bytes), MSG_PEEK);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		metrics_of(a->acceptor)->handshakes_incomplete++;
		drop(a);
		return;
	}
	err = proxy_feed(&r->header, slice_of(bytes, (size_t)n), &taken, &from);
	if (err != ERR_OK && err != ERR_TRUNCATED)
		refuse_header(a);
	else if (recv(a->fd, bytes, taken, 0) != (ssize_t)taken)
		drop(a); /* it was there a moment ago */
	else if (err == ERR_OK)
		on_header(a, &from);
}

static void read_header(struct accepted *a)
{
	struct header_reader *r = mem_zalloc(1, sizeof(*r));

	r->accepted = a;
	a->reader = r;
	uv_poll_init(a->acceptor->server->node->loop, &r->poll, a->fd);
	uv_poll_start(&r->poll, UV_READABLE, on_header_readable);
}

void lws_accept(struct server *s, int fd, const struct sockaddr_storage *from,
		const struct accept_kind *kind)
{
	struct acceptor *ac = s->acceptor;
	struct accepted *a = mem_zalloc(1, sizeof(*a));

	a->acceptor = ac;
	a->fd = fd;
	a->kind = *kind;
	a->address = address_of(from);
	a->due_ms = env_now_ms(s->node->env) + s->node->config->handshake_timeout_ms;
	ac->n++;
	list_push(&ac->waiting, &a->waiting);
	if (kind->role == SERVER_CLIENTS)
		ac->handshakes++;
	set_timer(ac);
	if (kind->proxy)
		read_header(a);
	else if (admit(a))
		give_to_lws(a);
	else
		drop(a);
	lws_listen_update(s);
}

/* --- what lws reports --- */

void lws_accept_on_request(struct lws_client *c)
{
	struct accepted *a = c->accepted;

	if (!a || a->state == ACCEPTED_SETTLED)
		return;
	set_state(a, ACCEPTED_SETTLED);
	lws_listen_update(c->server);
}

void lws_accept_on_end(struct lws_client *c)
{
	struct accepted *a = c->accepted;

	if (!a)
		return;
	if (a->state < ACCEPTED_SETTLED && !a->timed_out &&
	    a->kind.role == SERVER_CLIENTS)
		metrics_of(a->acceptor)->handshakes_incomplete++;
	forget(a);
}

struct address lws_accept_client(struct lws_client *c)
{
	const struct accepted *a = c->accepted;
	const struct config *config = c->server->node->config;
	char forwarded[LWS_HTTP_HEADERS_MAX];
	int n;

	if (!a)
		return (struct address){.family = ADDRESS_NONE};
	if (!a->trusted)
		return a->address;
	n = lws_hdr_copy(c->wsi, forwarded, sizeof(forwarded), WSI_TOKEN_X_FORWARDED_FOR);
	return address_forwarded(&a->address, slice_of(forwarded, n > 0 ? (size_t)n : 0),
				 config->trusted, config->trusted_proxies.n);
}
