/* Many clients come, join, talk, leave and close, in one process; see usage(). The phases
 * follow each other for all clients at once, and each is paced by how many clients may be
 * waiting for the gateway at a time, not by a clock: a slow gateway takes longer, and the
 * deadline says how long is too long. */
#include "talker.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "proto/mem.h"

enum { READY_MAX = 512, WRONG_SHOWN = 10 };

enum phase { PHASE_ENTER, PHASE_TALK, PHASE_LEAVE, PHASE_CLOSE, PHASE_DONE };

static const char *const phase_names[] = {"enter", "talk", "leave", "close", "done"};

struct load {
	struct net net;
	const char *server, *path;
	struct talker *clients;
	uint32_t n, room_size, events_each, sources;
	uint32_t pending_max; /* clients that may wait for the gateway at a time */
	uint32_t rate;	      /* connects a second */
	uint32_t seconds;
	enum phase phase;
	uint32_t begun; /* clients that began the phase */
	uint32_t in_state[TALKER_STATES];
	uint32_t talked; /* clients whose events are all acknowledged */
	uint64_t emitted, acked, expected, wrong;
	uint64_t began_ms, phase_began_ms, told_ms;
};

static struct load load;

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* --- what clients report --- */

static void on_state(struct talker *c, enum talker_state before)
{
	load.in_state[before]--;
	load.in_state[c->state]++;
	if (c->state == TALKER_FAILED)
		fprintf(stderr, "client %u: %s (it was %s)\n", c->number,
			talker_failure(), talker_state_name(before));
}

static void on_wrong(struct talker *c, const char *what)
{
	if (load.wrong++ < WRONG_SHOWN)
		fprintf(stderr, "client %u: an event was %s\n", c->number, what);
}

static void emit(struct talker *c)
{
	load.emitted++;
	talker_emit(c);
}

/* One after the other, so that a client has one answer due at a time. */
static void on_ack(struct talker *c)
{
	load.acked++;
	if (c->emitted < load.events_each)
		emit(c);
	else
		load.talked++;
}

static const struct talker_events events = {on_state, on_ack, on_wrong};

/* --- phases --- */

static uint64_t total_received(void)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < load.n; i++)
		n += load.clients[i].received;
	return n;
}

/* How many clients have finished the phase. */
static uint32_t finished(void)
{
	switch (load.phase) {
	case PHASE_ENTER:
		return load.in_state[TALKER_MEMBER];
	case PHASE_TALK:
		return load.talked;
	case PHASE_LEAVE:
		return load.in_state[TALKER_LEFT];
	case PHASE_CLOSE:
		return load.in_state[TALKER_CLOSED];
	case PHASE_DONE:
		break;
	}
	return load.n;
}

static void begin(struct talker *c)
{
	switch (load.phase) {
	case PHASE_ENTER:
		talker_connect(c);
		break;
	case PHASE_TALK:
		emit(c);
		break;
	case PHASE_LEAVE:
		talker_leave(c);
		break;
	case PHASE_CLOSE:
		talker_close(c);
		break;
	case PHASE_DONE:
		break;
	}
}

/* Let more clients begin the phase, as far as the bounds allow. */
static void begin_more(uint32_t done)
{
	uint64_t allowed = load.n;

	if (load.phase == PHASE_ENTER)
		allowed = 1 + (now_ms() - load.phase_began_ms) * load.rate / 1000;
	while (load.begun < load.n && load.begun < allowed &&
	       load.begun - done < load.pending_max)
		begin(&load.clients[load.begun++]);
}

/* All members of a room heard the same events in the same order. */
static void check_orders(void)
{
	for (uint32_t i = 0; i < load.n; i++) {
		struct talker *c = &load.clients[i];

		if (c->order != load.clients[c->first].order)
			on_wrong(c, "heard in another order than by other members");
	}
}

static void tell(uint32_t done)
{
	uint64_t elapsed = now_ms() - load.began_ms;

	load.told_ms = now_ms();
	printf("%6.1f s  %-5s  %u of %u clients, %" PRIu64
	       " events acknowledged, %" PRIu64 " received, %u failed, %" PRIu64
	       " wrong\n",
	       (double)elapsed / 1000, phase_names[load.phase], done, load.n, load.acked,
	       total_received(), load.in_state[TALKER_FAILED], load.wrong);
	fflush(stdout);
}

static void step(void)
{
	uint32_t done = finished();

	begin_more(done);
	if (done == load.n &&
	    (load.phase != PHASE_TALK || total_received() >= load.expected)) {
		tell(done);
		if (load.phase == PHASE_TALK)
			check_orders();
		load.phase++;
		load.begun = 0;
		load.phase_began_ms = now_ms();
	} else if (now_ms() - load.told_ms >= 1000) {
		tell(done);
	}
}

/* True: all phases are done. */
static bool run(void)
{
	struct epoll_event ready[READY_MAX];
	uint64_t deadline = now_ms() + (uint64_t)load.seconds * 1000;

	load.began_ms = load.phase_began_ms = load.told_ms = now_ms();
	while (load.phase != PHASE_DONE) {
		int n;

		if (load.in_state[TALKER_FAILED]) {
			tell(finished());
			return false;
		}
		if (now_ms() > deadline) {
			tell(finished());
			fprintf(stderr, "not done after %u s\n", load.seconds);
			return false;
		}
		step();
		n = epoll_wait(load.net.epoll, ready, READY_MAX, 5);
		for (int i = 0; i < n; i++)
			talker_on_ready(ready[i].data.ptr, ready[i].events);
	}
	return true;
}

/* --- the program --- */

static void usage(FILE *out)
{
	fputs("usage: gh-load --server ADDRESS:PORT [options]\n\n"
	      "Connects many Socket.IO clients over WebSocket; each joins a room of the\n"
	      "name open:load:N, emits events, and checks that every event of every\n"
	      "member arrives once, in order, and in the same order for all; then they\n"
	      "leave and close. Exit code 0: all of that happened.\n\n"
	      "  --conns N      clients (10000)\n"
	      "  --room N       members of a room (10, at most 64)\n"
	      "  --events N     events each client emits (3)\n"
	      "  --rate N       connects a second at most (2000)\n"
	      "  --pending N    clients that may wait for the gateway at a time (400)\n"
	      "  --sources N    loopback addresses to connect from, 127.0.0.1… (4)\n"
	      "  --path PATH    (/socket.io/)\n"
	      "  --seconds N    give up after so long (300)\n",
	      out);
}

static bool read_number(const char *text, uint32_t min, uint32_t max, uint32_t *out)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*end || end == text || n < min || n > max) {
		fprintf(stderr, "gh-load: '%s' is no number from %u to %u\n", text, min,
			max);
		return false;
	}
	*out = (uint32_t)n;
	return true;
}

static bool find_server(void)
{
	struct buf url = BUF_INIT, why = BUF_INIT;
	bool found;

	buf_printf(&url, "http://%s", load.server);
	found = net_target(&load.net, buf_cstr(&url), &why) == ERR_OK;
	if (!found)
		fprintf(stderr, "gh-load: '%s' is no ADDRESS:PORT: %s\n", load.server,
			buf_cstr(&why));
	load.net.sources = load.net.many_sources ? load.sources : 0;
	buf_deinit(&url);
	buf_deinit(&why);
	return found;
}

/* Options with a number, by name. */
static const struct {
	const char *name;
	uint32_t min, max;
	uint32_t *value;
} numbers[] = {
	{"--conns", 1, 1000000, &load.n},
	{"--room", 1, ROOM_SIZE_MAX, &load.room_size},
	{"--events", 1, 1000000, &load.events_each},
	{"--rate", 1, 1000000, &load.rate},
	{"--pending", 1, 1000000, &load.pending_max},
	{"--sources", 1, 200, &load.sources},
	{"--seconds", 1, 86400, &load.seconds},
};

static bool read_option(const char *name, const char *value)
{
	if (strcmp(name, "--server") == 0) {
		load.server = value;
		return true;
	}
	if (strcmp(name, "--path") == 0) {
		load.path = value;
		return true;
	}
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		if (strcmp(name, numbers[i].name) == 0)
			return read_number(value, numbers[i].min, numbers[i].max,
					   numbers[i].value);
	}
	fprintf(stderr, "gh-load: there is no option '%s'\n", name);
	usage(stderr);
	return false;
}

static bool read_options(int argc, char **argv)
{
	load.n = 10000;
	load.room_size = 10;
	load.events_each = 3;
	load.rate = 2000;
	load.pending_max = 400;
	load.seconds = 300;
	load.sources = 4;
	load.path = "/socket.io/";
	for (int i = 1; i + 1 < argc; i += 2) {
		if (!read_option(argv[i], argv[i + 1]))
			return false;
	}
	if (!load.server || argc % 2 == 0) {
		usage(stderr);
		return false;
	}
	return find_server();
}

static bool raise_file_limit(void)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_max >= load.n + 16)
		return true;
	fprintf(stderr, "gh-load: %u clients need as many files, the limit is %ju\n",
		load.n, (uintmax_t)limit.rlim_max);
	return false;
}

static void make_clients(void)
{
	load.clients = mem_zalloc(load.n, sizeof(*load.clients));
	for (uint32_t i = 0; i < load.n; i++) {
		talker_init(&load.clients[i], i, load.room_size, load.n);
		load.expected += (uint64_t)load.clients[i].room_size * load.events_each;
	}
	load.in_state[TALKER_IDLE] = load.n;
}

int main(int argc, char **argv)
{
	bool done;

	if (!read_options(argc, argv) || !raise_file_limit())
		return 2;
	talker_setup(&load.net, load.path, &events);
	load.net.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (load.net.epoll < 0) {
		fprintf(stderr, "gh-load: epoll_create1: %s\n", strerror(errno));
		return 2;
	}
	make_clients();
	done = run();
	printf("conns=%u closed=%u failed=%u emitted=%" PRIu64 " acked=%" PRIu64
	       " expected=%" PRIu64 " received=%" PRIu64 " wrong=%" PRIu64 "\n",
	       load.n, load.in_state[TALKER_CLOSED], load.in_state[TALKER_FAILED],
	       load.emitted, load.acked, load.expected, total_received(), load.wrong);
	done = done && !load.wrong && total_received() == load.expected;
	for (uint32_t i = 0; i < load.n; i++)
		talker_deinit(&load.clients[i]);
	free(load.clients);
	close(load.net.epoll);
	return done ? 0 : 1;
}
