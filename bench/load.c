#include "bench/load.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "bench/seq.h"
#include "proto/mem.h"

enum {
	READY_MAX = 512,
	TURN_MS = 10,		  /* how soon a new phase is seen */
	TIDY_NS = 100 * 1000000,  /* between looks for what takes too long */
	ECHO_RING = 256,	  /* messages of one client whose acks are due */
	BACKLOG_MAX = 256 * 1024, /* what may wait in one sender for a slow server */
	BURST_MAX = 1000,	  /* messages sent before the loop looks again */
	NAME_MAX_ = 96
};

struct room {
	uint32_t number;
	uint64_t receivers; /* those still connected */
	uint64_t settled;   /* their places in its stream, summed */
};

struct peer {
	struct client client;
	struct room *room;
	bool sends;
	bool member;	    /* it came in */
	bool ran;	    /* it was in when the first message was sent */
	bool dirty;	    /* has something to flush, or may send more */
	struct seq seq;	    /* what came, or was acknowledged */
	uint64_t sent;	    /* if it sends */
	uint64_t given_up;  /* nobody waits for messages below this number any more */
	uint64_t moved_ns;  /* when it last could go on */
	uint64_t due_ns;    /* of its connect */
	uint64_t *due_ring; /* of echo: when those whose acks are due were to be sent */
};

struct load {
	const struct bench_plan *plan;
	const struct bench_options *o;
	unsigned index;
	struct bench_shared *shared;
	struct bench_part *part;
	struct net net, publish_net;
	struct client_context context, publish_context;
	struct buf nsp, packet, text;
	struct peer *peers;
	uint32_t peers_n;
	struct room *rooms;
	uint32_t rooms_n;
	struct peer **senders, **dirty;
	uint32_t senders_n, dirty_n;
	uint64_t counts[BENCH_COUNTS_N];
	uint64_t nudged;  /* messages settled here when process 0 was last told */
	uint64_t slot;	  /* sends so far at a rate, for all senders of the process */
	uint64_t pending; /* clients on their way in */
	bool blocked;	  /* the next is due, and has to wait for something to arrive */
	uint64_t tidied_ns;
	int timer;
	uint64_t timer_ns; /* when it goes off; 0: it is not set */
	enum bench_phase phase;
};

/* One a process: the functions that clients call know nothing else. */
static struct load load;

static bool is_echo(void)
{
	return load.o->scenario == BENCH_ECHO || load.o->scenario == BENCH_POLL;
}

/* Do those that publish have connections of their own? */
static bool publishes_elsewhere(const struct bench_options *o)
{
	return *o->publish_to;
}

uint32_t bench_conns(const struct bench_options *o)
{
	switch (o->scenario) {
	case BENCH_ROOMS:
		return (uint32_t)(o->rooms * (o->members + publishes_elsewhere(o)));
	case BENCH_FANOUT:
		return (uint32_t)o->conns + publishes_elsewhere(o);
	case BENCH_CONNECT:
	case BENCH_IDLE:
	case BENCH_ECHO:
	case BENCH_POLL:
		break;
	}
	return (uint32_t)o->conns;
}

/* Is it in a room whose messages it gets? */
static bool receives(const struct peer *p)
{
	return p->room && !p->client.outside;
}

static const struct client_context *context_of(const struct peer *p)
{
	return p->client.outside ? &load.publish_context : &load.context;
}

static void mark_dirty(struct peer *p)
{
	if (!p->dirty) {
		p->dirty = true;
		load.dirty[load.dirty_n++] = p;
	}
}

static void error(enum client_error kind, const char *text)
{
	if (load.part->errors[kind]++ == 0)
		snprintf(load.part->error_texts[kind], BENCH_ERROR_TEXT_MAX, "%s", text);
}

/* --- sending --- */

static struct slice room_name(const struct peer *p, char name[NAME_MAX_])
{
	int n = snprintf(name, NAME_MAX_, "%s:%" PRIu32, load.o->room_prefix,
			 p->room ? p->room->number : p->client.number);

	return slice_of(name, (size_t)n);
}

static void send_event(struct peer *p, const char *template, int64_t id, uint64_t due_ns)
{
	const struct message m = {
		.run = load.plan->run,
		.room = p->room ? p->room->number : p->client.number,
		.number = p->sent,
		.due_ns = due_ns,
	};
	char name[NAME_MAX_];
	struct event e = {
		.nsp = load.context.nsp,
		.room = room_name(p, name),
		.conn = p->client.number,
		.id = id,
	};

	buf_clear(&load.text);
	message_write(&load.text, &m, load.o->size);
	e.message = buf_view(&load.text);
	buf_clear(&load.packet);
	message_event(&load.packet, template, &e);
	client_send(&p->client, buf_view(&load.packet));
}

static void send_message(struct peer *p, uint64_t due_ns)
{
	bool echo = is_echo();

	if (echo)
		p->due_ring[p->sent % ECHO_RING] = due_ns;
	send_event(p, echo ? load.o->echo : load.o->emit,
		   echo || load.o->acks ? (int64_t)p->sent : -1, due_ns);
	p->sent++;
	load.counts[BENCH_COUNT_SENT]++;
	if (!load.part->first_ns)
		load.part->first_ns = bench_now_ns();
	mark_dirty(p);
}

static uint64_t count_of(unsigned part, enum bench_count count)
{
	return atomic_load_explicit(&load.shared->parts[part].counts[count],
				    memory_order_relaxed);
}

/* How many messages of a sender have arrived everywhere, on average over its receivers;
 * those of fanout are in all processes. */
static uint64_t arrived(const struct peer *p)
{
	uint64_t settled = p->room ? p->room->settled : 0;
	uint64_t receivers = p->room ? p->room->receivers : 0;

	if (is_echo())
		return p->seq.next;
	for (unsigned i = 0; i < load.plan->processes; i++) {
		if (load.o->scenario == BENCH_FANOUT && i != load.index) {
			settled += count_of(i, BENCH_COUNT_SETTLED);
			receivers += count_of(i, BENCH_COUNT_RECEIVERS);
		}
	}
	return receivers ? settled / receivers : p->sent;
}

static bool is_finished(const struct peer *p)
{
	return p->client.state != CLIENT_MEMBER ||
	       (load.o->messages && p->sent >= load.o->messages);
}

/* Closed loop: send as much as may be in flight. */
static void send_more(struct peer *p)
{
	uint64_t arrived_n = arrived(p), now = bench_now_ns();

	if (arrived_n < p->given_up)
		arrived_n = p->given_up;
	while (!is_finished(p) && p->sent < arrived_n + load.o->in_flight) {
		send_message(p, now);
		p->moved_ns = now;
	}
}

static bool is_blocked(const struct peer *p)
{
	return client_backlog(&p->client) > BACKLOG_MAX ||
	       (is_echo() && p->sent - p->seq.next >= ECHO_RING);
}

/* When the process's next message is due: the processes take turns, and in each the
 * senders. */
static uint64_t next_due_ns(void)
{
	uint64_t nth = load.slot * load.plan->processes + load.index;

	/* There is one sender of fanout, in process 0. */
	if (load.o->scenario == BENCH_FANOUT)
		nth = load.slot;
	return load.shared->run_ns + nth / load.o->rate * 1000000000 +
	       nth % load.o->rate * 1000000000 / load.o->rate;
}

/* Open loop: all that is due by now, as far as the servers' slowness leaves room. What is
 * late was due when it was due. */
static void send_due(void)
{
	uint64_t now = bench_now_ns();

	load.blocked = false;
	for (uint32_t n = 0, skipped = 0; n < BURST_MAX && skipped < load.senders_n;) {
		struct peer *p = load.senders[load.slot % load.senders_n];
		uint64_t due_ns = next_due_ns();

		if (due_ns > now)
			return;
		if (is_finished(p)) {
			skipped++;
		} else if (is_blocked(p)) {
			load.blocked = true;
			return;
		} else {
			send_message(p, due_ns);
			skipped = 0;
			n++;
		}
		load.slot++;
	}
}

static void send_what_may_be(void)
{
	if (load.phase != BENCH_PHASE_RUN || !load.senders_n)
		return;
	if (load.o->rate) {
		send_due();
		return;
	}
	/* Those that something came for; process 0 hears of fanout's by the nudge. */
	for (uint32_t i = 0; i < load.dirty_n; i++) {
		if (load.dirty[i]->sends)
			send_more(load.dirty[i]);
	}
}

static void flush_dirty(void)
{
	for (uint32_t i = 0; i < load.dirty_n; i++) {
		load.dirty[i]->dirty = false;
		client_flush(&load.dirty[i]->client, context_of(load.dirty[i]));
	}
	load.dirty_n = 0;
}

/* --- what clients report --- */

static struct peer *peer_of(struct client *c)
{
	return (struct peer *)c; /* its first member */
}

static void on_member(struct client *c)
{
	struct peer *p = peer_of(c);

	p->member = true;
	load.pending--;
	load.counts[BENCH_COUNT_MEMBERS]++;
	hist_add(&load.part->connect, bench_now_ns() - p->due_ns);
	if (receives(p)) {
		p->room->receivers++;
		load.counts[BENCH_COUNT_RECEIVERS]++;
	}
}

/* Nobody waits for what it does not get. */
static void leave_room(struct peer *p)
{
	p->room->receivers--;
	p->room->settled -= p->seq.next;
	load.counts[BENCH_COUNT_RECEIVERS]--;
	load.counts[BENCH_COUNT_SETTLED] -= p->seq.next;
	if (load.o->scenario == BENCH_ROOMS)
		mark_dirty(load.senders[p->room - load.rooms]);
	else if (load.index == 0)
		mark_dirty(load.senders[0]);
}

static void on_failed(struct client *c, enum client_error kind, const char *text)
{
	struct peer *p = peer_of(c);

	load.counts[BENCH_COUNT_FAILED]++;
	error(kind, text);
	if (!p->member)
		load.pending--;
	else if (receives(p))
		leave_room(p);
}

static void on_gone(struct client *c)
{
	(void)c;
	load.counts[BENCH_COUNT_GONE]++;
}

/* A message or an ack came, with this place in its stream. */
static void take(struct peer *p, uint64_t number, uint64_t due_ns)
{
	uint64_t before = p->seq.next, now = bench_now_ns();

	switch (seq_take(&p->seq, number)) {
	case SEQ_DOUBLE:
		load.counts[BENCH_COUNT_DOUBLED]++;
		return;
	case SEQ_LATE:
		load.counts[BENCH_COUNT_REORDERED]++;
		break;
	case SEQ_NEW:
		break;
	}
	load.counts[BENCH_COUNT_DELIVERED]++;
	load.counts[BENCH_COUNT_SETTLED] += p->seq.next - before;
	if (p->room)
		p->room->settled += p->seq.next - before;
	load.part->last_ns = now;
	hist_add(&load.part->latency, now > due_ns ? now - due_ns : 0);
}

/* How many messages the stream of a receiver has so far. */
static uint64_t sent_to(const struct peer *p)
{
	if (is_echo())
		return p->sent;
	if (load.o->scenario == BENCH_FANOUT && load.index != 0)
		return count_of(0, BENCH_COUNT_SENT);
	return load.senders[p->room - load.rooms]->sent;
}

static void on_event(struct client *c, struct slice data)
{
	struct peer *p = peer_of(c);
	struct message m;

	if (is_echo() || message_find(data, load.plan->run, &m) != ERR_OK) {
		load.counts[BENCH_COUNT_OTHER]++;
		return;
	}
	if (!receives(p) || m.room != p->room->number) {
		load.counts[BENCH_COUNT_MISROUTED]++;
		return;
	}
	if (m.number >= sent_to(p)) {
		client_fail(c, &load.context, CLIENT_ERROR_PROTOCOL,
			    "a message that was not sent");
		return;
	}
	take(p, m.number, m.due_ns);
	if (load.o->scenario == BENCH_ROOMS)
		mark_dirty(load.senders[p->room - load.rooms]);
	else if (load.index == 0)
		mark_dirty(load.senders[0]);
}

static void on_ack(struct client *c, uint64_t id, struct slice data)
{
	struct peer *p = peer_of(c);

	(void)data;
	load.counts[BENCH_COUNT_ACKED]++;
	if (!is_echo())
		return;
	if (id >= p->sent) {
		client_fail(c, &load.context, CLIENT_ERROR_PROTOCOL,
			    "an ack of what was not sent");
		return;
	}
	take(p, id, p->due_ring[id % ECHO_RING]);
	mark_dirty(p);
}

static void on_ping(struct client *c)
{
	(void)c;
	load.counts[BENCH_COUNT_PINGS]++;
}

static void on_answer(struct client *c)
{
	(void)c;
	load.counts[BENCH_COUNT_REQUESTS]++;
}

static void on_bytes(size_t in)
{
	load.counts[BENCH_COUNT_BYTES_IN] += in;
}

static bool join(struct client *c, struct buf *out, bool *replies)
{
	char name[NAME_MAX_];
	const struct event e = {
		.nsp = load.context.nsp,
		.room = room_name(peer_of(c), name),
		.conn = c->number,
		.id = load.o->join_reply == 0 ? 0 : -1,
	};

	if (strcmp(load.o->join, "none") == 0)
		return false;
	message_event(out, load.o->join, &e);
	*replies = load.o->join_reply == 0;
	return true;
}

static const struct client_ops ops = {
	.on_member = on_member,
	.on_failed = on_failed,
	.on_gone = on_gone,
	.on_event = on_event,
	.on_ack = on_ack,
	.on_ping = on_ping,
	.on_answer = on_answer,
	.on_bytes = on_bytes,
	.join = join,
};

/* --- who there is --- */

static void add_sender(struct peer *p)
{
	p->sends = true;
	load.senders[load.senders_n++] = p;
	if (is_echo())
		p->due_ring = mem_zalloc(ECHO_RING, sizeof(*p->due_ring));
}

static void add_peer(uint32_t number, struct room *room)
{
	struct peer *p = &load.peers[load.peers_n++];

	*p = (struct peer){.room = room};
	client_init(&p->client, number, (enum client_transport)load.o->transport);
}

/* One that is not in the room it publishes to. */
static void add_publisher(uint32_t number, struct room *room)
{
	add_peer(number, room);
	load.peers[load.peers_n - 1].client.outside = true;
	add_sender(&load.peers[load.peers_n - 1]);
}

static void add_rooms(void)
{
	for (uint32_t r = load.index; r < load.o->rooms; r += load.plan->processes) {
		struct room *room = &load.rooms[load.rooms_n++];

		room->number = r;
		for (uint32_t k = 0; k < load.o->members; k++)
			add_peer(r * (uint32_t)load.o->members + k, room);
		if (publishes_elsewhere(load.o))
			add_publisher((uint32_t)(load.o->rooms * load.o->members) + r,
				      room);
		else
			add_sender(&load.peers[load.peers_n - load.o->members]);
	}
}

/* Connection 0 publishes, or the one that is in no room. */
static void add_fanout(void)
{
	struct room *room = &load.rooms[load.rooms_n++];

	for (uint32_t i = load.index; i < load.o->conns; i += load.plan->processes)
		add_peer(i, room);
	if (load.index == 0 && publishes_elsewhere(load.o))
		add_publisher((uint32_t)load.o->conns, room);
	else if (load.index == 0)
		add_sender(&load.peers[0]);
}

static void add_peers(void)
{
	uint32_t n = bench_conns(load.o);

	load.peers = mem_zalloc(n / load.plan->processes + load.o->members + 2,
				sizeof(*load.peers));
	load.senders = mem_zalloc(n + 1, sizeof(struct peer *));
	load.dirty = mem_zalloc(n + 1, sizeof(struct peer *));
	load.rooms = mem_zalloc(load.o->rooms + 1, sizeof(*load.rooms));
	if (load.o->scenario == BENCH_ROOMS) {
		add_rooms();
	} else if (load.o->scenario == BENCH_FANOUT) {
		add_fanout();
	} else {
		for (uint32_t i = load.index; i < n; i += load.plan->processes) {
			add_peer(i, NULL);
			if (is_echo())
				add_sender(&load.peers[load.peers_n - 1]);
		}
	}
}

/* --- phases --- */

static bool may_connect(void)
{
	uint64_t max = load.o->pending / load.plan->processes;

	return load.counts[BENCH_COUNT_STARTED] < load.peers_n &&
	       load.pending < (max ? max : 1);
}

static uint64_t connect_due_ns(uint64_t nth)
{
	return load.shared->connect_ns + (nth * load.plan->processes + load.index) *
						 1000000000 / load.o->connect_rate;
}

/* Let more clients begin, as far as the bounds allow. A client that is late because too
 * many were pending was due when it was due. */
static void connect_more(void)
{
	while (may_connect()) {
		uint64_t now = bench_now_ns(), due = now;
		struct peer *p = &load.peers[load.counts[BENCH_COUNT_STARTED]];

		if (load.o->connect_rate) {
			due = connect_due_ns(load.counts[BENCH_COUNT_STARTED]);
			if (due > now)
				return;
		}
		p->due_ns = due;
		p->moved_ns = now;
		load.counts[BENCH_COUNT_STARTED]++;
		load.pending++;
		client_connect(&p->client, context_of(p));
	}
}

static uint64_t timeout_ns(void)
{
	return load.o->timeout_ms * 1000000;
}

static void give_up_connects(uint64_t now)
{
	for (uint32_t i = 0; i < load.counts[BENCH_COUNT_STARTED]; i++) {
		struct peer *p = &load.peers[i];

		if (p->client.state < CLIENT_MEMBER && now - p->moved_ns > timeout_ns()) {
			char text[64];

			snprintf(text, sizeof(text), "still %s after %" PRIu64 " ms",
				 client_state_name(p->client.state), load.o->timeout_ms);
			client_fail(&p->client, context_of(p), CLIENT_ERROR_TIMEOUT,
				    text);
		}
	}
}

/* A message that does not arrive must not keep its sender from sending the next for ever:
 * its place is given to another. */
static void give_up_messages(uint64_t now)
{
	for (uint32_t i = 0; i < load.senders_n && !load.o->rate; i++) {
		struct peer *p = load.senders[i];
		uint64_t arrived_n;

		if (is_finished(p) || now - p->moved_ns <= timeout_ns())
			continue;
		arrived_n = arrived(p);
		if (arrived_n < p->given_up)
			arrived_n = p->given_up;
		load.counts[BENCH_COUNT_GIVEN_UP] += p->sent - arrived_n;
		p->given_up = p->sent;
		mark_dirty(p);
	}
}

static void tidy(void)
{
	uint64_t now = bench_now_ns();

	if (now - load.tidied_ns < TIDY_NS)
		return;
	load.tidied_ns = now;
	if (load.phase == BENCH_PHASE_CONNECT)
		give_up_connects(now);
	else if (load.phase == BENCH_PHASE_RUN)
		give_up_messages(now);
}

static bool all_sent(void)
{
	for (uint32_t i = 0; i < load.senders_n; i++) {
		if (!is_finished(load.senders[i]))
			return false;
	}
	/* connect is over when all are there; idle when the time is up. */
	return load.senders_n > 0 || load.o->scenario == BENCH_CONNECT ||
	       load.o->scenario == BENCH_FANOUT || load.o->scenario == BENCH_ROOMS;
}

/* Who is still connected has all that was sent, or something later. */
static bool all_arrived(void)
{
	for (uint32_t i = 0; i < load.peers_n; i++) {
		const struct peer *p = &load.peers[i];
		bool waits = is_echo() || receives(p);

		if (waits && p->client.state == CLIENT_MEMBER && p->seq.next < sent_to(p))
			return false;
	}
	return true;
}

static void count_lost(void)
{
	for (uint32_t i = 0; i < load.peers_n; i++) {
		const struct peer *p = &load.peers[i];

		if (p->ran && (is_echo() || receives(p)))
			load.counts[BENCH_COUNT_LOST] += seq_lost(&p->seq, sent_to(p));
	}
}

static bool all_closed(void)
{
	for (uint32_t i = 0; i < load.peers_n; i++) {
		if (load.peers[i].client.state == CLIENT_CLOSING)
			return false;
	}
	return true;
}

static void begin_phase(enum bench_phase phase)
{
	uint64_t now = bench_now_ns();

	load.phase = phase;
	switch (phase) {
	case BENCH_PHASE_RUN:
		for (uint32_t i = 0; i < load.senders_n; i++) {
			load.senders[i]->moved_ns = now;
			mark_dirty(load.senders[i]);
		}
		for (uint32_t i = 0; i < load.peers_n; i++)
			load.peers[i].ran = load.peers[i].client.state == CLIENT_MEMBER;
		return;
	case BENCH_PHASE_COUNT:
		count_lost();
		return;
	case BENCH_PHASE_CLOSE:
		for (uint32_t i = 0; i < load.peers_n; i++) {
			if (load.peers[i].client.state != CLIENT_IDLE)
				client_close(&load.peers[i].client,
					     context_of(&load.peers[i]));
		}
		return;
	case BENCH_PHASE_CONNECT:
	case BENCH_PHASE_STOP:
	case BENCH_PHASE_SETTLE:
	case BENCH_PHASE_END:
		return;
	}
}

static bool phase_is_done(void)
{
	switch (load.phase) {
	case BENCH_PHASE_CONNECT:
		return load.counts[BENCH_COUNT_STARTED] == load.peers_n && !load.pending;
	case BENCH_PHASE_RUN:
		return all_sent();
	case BENCH_PHASE_SETTLE:
		return all_arrived();
	case BENCH_PHASE_CLOSE:
		return all_closed();
	case BENCH_PHASE_STOP:
	case BENCH_PHASE_COUNT:
	case BENCH_PHASE_END:
		break;
	}
	return true;
}

/* --- the loop --- */

static void publish_counts(void)
{
	for (unsigned i = 0; i < BENCH_COUNTS_N; i++)
		atomic_store_explicit(&load.part->counts[i], load.counts[i],
				      memory_order_relaxed);
	if (load.o->scenario == BENCH_FANOUT && load.index != 0 &&
	    load.counts[BENCH_COUNT_SETTLED] != load.nudged) {
		load.nudged = load.counts[BENCH_COUNT_SETTLED];
		(void)eventfd_write(load.plan->nudge, 1);
	}
}

/* Wake when the next message or connect is due, more exactly than epoll_wait can. */
static void set_timer(void)
{
	struct itimerspec at = {0};
	uint64_t ns = 0;

	if (load.phase == BENCH_PHASE_RUN && load.o->rate && load.senders_n &&
	    !load.blocked)
		ns = next_due_ns();
	else if (load.phase == BENCH_PHASE_CONNECT && load.o->connect_rate &&
		 may_connect())
		ns = connect_due_ns(load.counts[BENCH_COUNT_STARTED]);
	if (ns == load.timer_ns)
		return;
	load.timer_ns = ns;
	at.it_value.tv_sec = (time_t)(ns / 1000000000);
	at.it_value.tv_nsec = (long)(ns % 1000000000);
	timerfd_settime(load.timer, TFD_TIMER_ABSTIME, &at, NULL);
}

static void handle(const struct epoll_event *e)
{
	struct pipe *pipe = e->data.ptr;
	eventfd_t ignored;

	if (!pipe) { /* the timer; it is set anew */
		(void)eventfd_read(load.timer, &ignored);
		load.timer_ns = 0;
	} else if (e->data.ptr == &load) { /* the nudge */
		(void)eventfd_read(load.plan->nudge, &ignored);
		mark_dirty(load.senders[0]);
	} else {
		client_on_ready(pipe->owner, context_of(pipe->owner), pipe, e->events);
	}
}

static void turn(void)
{
	struct epoll_event ready[READY_MAX];
	enum bench_phase phase = (enum bench_phase)atomic_load(&load.shared->phase);
	int n;

	if (phase != load.phase)
		begin_phase(phase);
	if (load.phase == BENCH_PHASE_CONNECT)
		connect_more();
	tidy();
	send_what_may_be();
	/* How many were sent is known to all before the first can arrive. */
	publish_counts();
	flush_dirty();
	if (phase_is_done())
		atomic_store(&load.part->done, (int)load.phase);
	set_timer();
	n = epoll_wait(load.net.epoll, ready, READY_MAX, TURN_MS);
	for (int i = 0; i < n; i++)
		handle(&ready[i]);
}

static void watch(int fd, void *arg)
{
	struct epoll_event e = {.events = EPOLLIN, .data.ptr = arg};

	if (epoll_ctl(load.net.epoll, EPOLL_CTL_ADD, fd, &e) != 0) {
		perror("gatehouse bench: epoll_ctl");
		exit(2);
	}
}

static void start(const struct bench_plan *plan, unsigned index)
{
	load = (struct load){.plan = plan, .o = plan->options, .index = index};
	load.shared = plan->shared;
	load.part = &plan->shared->parts[index];
	load.net = plan->net;
	load.net.epoll = epoll_create1(EPOLL_CLOEXEC);
	load.timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (load.net.epoll < 0 || load.timer < 0) {
		perror("gatehouse bench");
		exit(2);
	}
	watch(load.timer, NULL);
	if (index == 0)
		watch(plan->nudge, &load);
	if (strcmp(load.o->nsp, "/") != 0)
		buf_printf(&load.nsp, "%s,", load.o->nsp);
	load.context = (struct client_context){
		.net = &load.net,
		.ops = &ops,
		.path = *load.net.path ? load.net.path : load.o->path,
		.nsp = buf_view(&load.nsp),
		.auth = slice_str(load.o->auth),
	};
	load.publish_net = plan->publish_net;
	load.publish_net.epoll = load.net.epoll;
	load.publish_context = load.context;
	load.publish_context.net = &load.publish_net;
	if (*load.publish_net.path)
		load.publish_context.path = load.publish_net.path;
	add_peers();
}

void bench_load(const struct bench_plan *plan, unsigned index)
{
	start(plan, index);
	load.phase = BENCH_PHASE_CONNECT;
	while (load.phase != BENCH_PHASE_END)
		turn();
	publish_counts();
	for (uint32_t i = 0; i < load.peers_n; i++) {
		client_deinit(&load.peers[i].client);
		free(load.peers[i].due_ring);
	}
	free(load.peers);
	free(load.senders);
	free(load.dirty);
	free(load.rooms);
	buf_deinit(&load.nsp);
	buf_deinit(&load.packet);
	buf_deinit(&load.text);
	close(load.timer);
	close(load.net.epoll);
}
