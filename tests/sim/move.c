/* A session that moves between two nodes while everybody talks: real nodes, a client by
 * hand, and a Redis whose every step is drawn (bus.h). Each seed is another interleaving.
 *
 *   sim_move SEEDS [FIRST]
 *
 * In one third of them nothing fails: every event published to the client's room since
 * its join reaches it once and in order, every emit of the client is answered once and
 * comes back once and in order, and afterwards the old node knows nothing of it. In the
 * others something happens at some step: the WebSocket, the new node or the old one goes
 * away, an application ends the conn, a node drains, another WebSocket claims the
 * session, a node hears nothing for a while or can ask for nothing, somebody tells lies.
 * Then what arrived is a beginning of that (with gaps, where a node heard nothing and the
 * events had no numbers), soon no node still has a part of the session, and none goes on
 * with it that another has told the end of. */
#include "test.h"

#include <stdlib.h>

#include "world.h"
#include "gateway/node.h"
#include "gateway/rooms_app.h"
#include "gateway/session.h"
#include "gateway/socket.h"
#include "proto/mem.h"
#include "proto/payload.h"

enum { EMITS = 12, EVENTS = 30, STEPS_MAX = 20000 };

enum fault {
	FAULT_NONE,
	FAULT_SOCKET,
	FAULT_NEW_NODE,
	FAULT_OLD_NODE,
	FAULT_CLOSE,  /* an application ends the conn, at whichever node */
	FAULT_DRAIN,  /* a node lets its conns leave */
	FAULT_SECOND, /* another WebSocket claims the session */
	FAULT_CUT,    /* a node hears nothing for a while */
	FAULT_MUTE,   /* it can't ask for anything, but hears */
	FAULT_LIE,    /* somebody says things that are not so */
	FAULTS
};

enum { CUT_STEPS = 100, MUTE_STEPS = 40, ENDLESS_STEPS = 3000 };

/* --- the client --- */

struct request {
	struct exchange base;
	bool post;
	size_t node;
};

static struct config config;

static struct client {
	char sid[ID_LEN];
	bool opened, connecting, connected, joining, joined, pong, paused, upgraded, lost;
	struct request *get, *post;
	unsigned emitted, acked, own, events; /* of each so many, in order */
	bool broken;			      /* something was not as it should be */
	bool gaps; /* events may be missing, but come in order */
	struct upgrade *upgrade;
	struct conn *conn; /* once the WebSocket is its transport */
	bool websocket, websocket_closed;
} client;

static unsigned published;
static unsigned early; /* so many of them before it sends the last of its upgrade */
static bool numbered;  /* so that a node that was cut gets what it missed */
static struct upgrade *second; /* of FAULT_SECOND */

static void wrong(const char *what, struct slice packet)
{
	client.broken = true;
	fprintf(stderr, "%s: %.*s\n", what, SLICE_FMT(packet));
}

static bool number_after(struct slice packet, struct slice head, unsigned *n)
{
	char text[32] = {0};

	if (!slice_starts(packet, head))
		return false;
	packet = slice_skip(packet, head.n);
	memcpy(text, packet.p, packet.n < sizeof(text) ? packet.n : sizeof(text) - 1);
	*n = (unsigned)strtoul(text, NULL, 10);
	return true;
}

/* The next of them, or a later one where some may be lost. */
static bool is_next(unsigned n, unsigned *count)
{
	bool good = n == *count || (client.gaps && n > *count);

	*count = n + 1;
	return good;
}

static void on_packet(struct slice packet)
{
	unsigned n;

	if (packet.p[0] == '0') {
		memcpy(client.sid, packet.p + strlen("0{\"sid\":\""), ID_LEN);
		client.opened = true;
	} else if (slice_starts(packet, SLICE_LIT("40{"))) {
		client.connected = true;
	} else if (slice_eq(packet, SLICE_LIT("3probe"))) {
		client.pong = true;
	} else if (number_after(packet, SLICE_LIT("42[\"event\","), &n)) {
		if (!is_next(n, &client.events))
			wrong("event out of order", packet);
	} else if (number_after(packet, SLICE_LIT("42[\"own\","), &n)) {
		if (!is_next(n, &client.own))
			wrong("own event out of order", packet);
	} else if (number_after(packet, SLICE_LIT("43"), &n)) {
		if (n == 1000)
			client.joined = true;
		else if (!is_next(n, &client.acked))
			wrong("ack out of order", packet);
	} else if (packet.p[0] == '1' || slice_eq(packet, SLICE_LIT("41"))) {
		client.lost = true;
	} else if (packet.p[0] != '6' && packet.p[0] != '2') {
		wrong("unexpected packet", packet);
	}
}

static void on_answer(struct exchange *x, const struct answer *a)
{
	struct request *r = container_of(x, struct request, base);
	struct payload_reader reader;
	struct payload_packet packet;
	struct buf scratch = BUF_INIT;
	bool more = true;

	if (r->post)
		client.post = NULL;
	else
		client.get = NULL;
	if (a->kind == ANSWER_PAYLOAD) {
		payload_reader_init(&reader, PAYLOAD_V4, a->body);
		while (payload_next(&reader, &scratch, &packet, &more) == ERR_OK && more)
			on_packet(packet.bytes);
	} else if (a->kind != ANSWER_OK) {
		client.lost = true;
	}
	buf_deinit(&scratch);
	free(r);
}

static const struct exchange_ops request_ops = {on_answer};

static struct eio_query query(void)
{
	return (struct eio_query){
		.version = 4,
		.transport = EIO_POLLING,
		.sid = slice_of(client.sid, client.opened ? ID_LEN : 0)};
}

static struct request *request_new(bool post, size_t node)
{
	struct request *r = mem_zalloc(1, sizeof(*r));

	r->base.ops = &request_ops;
	r->node = node;
	r->post = post;
	if (post)
		client.post = r;
	else
		client.get = r;
	return r;
}

static void get(void)
{
	struct eio_query q = query();
	/* The session is made by the first node. */
	size_t i = client.opened ? any_node() : 0;

	if (bus.nodes[i].dead) {
		client.lost = true;
		return;
	}
	session_get(nodes[i], &q, &request_new(false, i)->base);
}

static void post(const char *packet)
{
	struct eio_query q = query();
	size_t i = any_node();
	struct request *r = request_new(true, i);

	if (session_post_begin(nodes[i], &q))
		session_post(nodes[i], &q, slice_str(packet), false, &r->base);
	else
		wrong("overlap", slice_str(packet));
}

static enum transport_result ws_write(void *transport, struct slice frames)
{
	(void)transport;
	while (frames.n) { /* none is longer than 125 bytes here, or it has two more */
		size_t n = frames.p[1] & 0x7f, head = 2;

		if (n == 126) {
			n = (size_t)frames.p[2] << 8 | frames.p[3];
			head = 4;
		}
		on_packet(slice_of(frames.p + head, n));
		frames = slice_skip(frames, head + n);
	}
	return TRANSPORT_SENT;
}

static enum transport_result ws_write_nowhere(void *transport, struct slice frames)
{
	(void)transport;
	(void)frames;
	return TRANSPORT_SENT;
}

static void ws_read(void *transport, bool on)
{
	(void)transport;
	(void)on;
}

static void ws_close(void *transport, enum conn_close reason)
{
	(void)transport;
	(void)reason;
	client.websocket_closed = true;
	client.upgrade = NULL;
	client.conn = NULL;
	if (client.upgraded)
		client.lost = true;
}

static void ws_attach(void *transport, struct conn *c)
{
	(void)transport;
	client.upgrade = NULL;
	client.conn = c;
}

static const struct transport_ops ws_ops = {
	.write = ws_write, .read = ws_read, .close = ws_close, .gather_bytes_max = 1000};
static const struct upgrade_ops upgrade_ops = {&ws_ops, ws_attach};

static void ws_send(const char *packet)
{
	if (client.upgrade)
		upgrade_on_packet(client.upgrade, slice_str(packet), false);
	else
		conn_on_text(client.conn, slice_str(packet));
}

static void ws_gone(void)
{
	struct conn *c = client.conn;
	struct upgrade *u = client.upgrade;

	client.websocket_closed = client.lost = true;
	client.conn = NULL;
	client.upgrade = NULL;
	if (c)
		conn_on_transport_closed(c, CONN_CLOSE_PEER);
	else if (u)
		upgrade_on_transport_closed(u);
}

static void client_send(const char *packet)
{
	if (client.upgraded)
		ws_send(packet);
	else
		post(packet);
}

static void send_emit(void)
{
	char packet[64];
	unsigned n = client.emitted++;

	snprintf(packet, sizeof(packet), "42%u[\"room:emit\",\"lobby\",\"own\",%u]", n,
		 n);
	client_send(packet);
}

static bool can_post(void)
{
	return !client.lost && !client.paused && !client.post && client.opened;
}

static bool client_post(void)
{
	if (!client.connecting) {
		client.connecting = true;
		client_send("40");
	} else if (client.connected && !client.joining) {
		client.joining = true;
		client_send("421000[\"room:join\",\"lobby\"]");
	} else if (client.joined && client.emitted < EMITS) {
		send_emit();
	} else {
		return false;
	}
	return true;
}

/* One thing the client might do; false: not now. As the official client: it connects,
 * joins and emits, polls all the while, opens a WebSocket, stops polling once that works,
 * and goes over when its requests have returned. */
static bool client_step(void)
{
	struct eio_query q;

	/* It polls no more, so it will miss its heartbeat. */
	client.lost |= client.paused && !client.upgraded && client.websocket_closed;
	if (client.lost)
		return false;
	switch (draw_below(5)) {
	case 0:
		if (client.get || client.paused)
			return false;
		get();
		return true;
	case 1:
		if (client.upgraded ? client.websocket_closed : !can_post())
			return false;
		return client_post();
	case 2:
		if (!client.opened || client.websocket || bus.nodes[1].dead)
			return false;
		q = query();
		q.transport = EIO_WEBSOCKET;
		client.websocket = true;
		client.upgrade = upgrade_new(nodes[1], &q, &upgrade_ops, &client);
		ws_send("2probe");
		return true;
	case 3:
		if (!client.pong || client.paused)
			return false;
		client.paused = true;
		return true;
	default:
		if (!client.paused || client.get || client.post || client.upgraded ||
		    client.websocket_closed)
			return false;
		client.upgraded = true;
		ws_send("5");
		return true;
	}
}

/* --- a run --- */

static void publish_event(void)
{
	struct buf data = BUF_INIT;
	msgpack_packer pk;

	mp_packer(&pk, &data);
	msgpack_pack_array(&pk, 2);
	mp_pack_str(&pk, SLICE_LIT("event"));
	msgpack_pack_uint32(&pk, published++);
	if (numbered)
		bus_publish_logged(
			&bus, &(struct cluster_broadcast){.nsp = SLICE_LIT("/"),
							  .rooms = &SLICE_LIT("lobby"),
							  .rooms_n = 1,
							  .uid = SLICE_LIT("gh-emit"),
							  .data = buf_view(&data)});
	else
		bus_publish(&bus, "/", "lobby", buf_view(&data));
	buf_deinit(&data);
}

static void tick_all(uint64_t ms)
{
	now_ms += ms;
	for (size_t i = 0; i < NODES; i++) {
		if (bus.nodes[i].dead)
			continue;
		conns_tick(nodes[i], now_ms);
		pollings_tick(nodes[i], now_ms);
		upgrades_tick(nodes[i], now_ms);
		relays_tick(nodes[i], now_ms);
		moves_tick(nodes[i], now_ms);
		turn(i);
	}
}

/* Its connections break. */
static void kill_node(size_t i)
{
	bus.nodes[i].dead = true;
	client.lost |= (client.get && client.get->node == i) ||
		       (client.post && client.post->node == i);
}

static void second_close(void *transport, enum conn_close reason)
{
	(void)transport;
	(void)reason;
	second = NULL;
}

static void claim_again(void)
{
	static const struct transport_ops ops = {
		.write = ws_write_nowhere, .read = ws_read, .close = second_close};
	static const struct upgrade_ops second_ops = {&ops, NULL};
	struct eio_query q = query();

	if (!client.opened)
		return;
	q.transport = EIO_WEBSOCKET;
	second = upgrade_new(nodes[2], &q, &second_ops, &second);
	upgrade_on_packet(second, SLICE_LIT("2probe"), false);
}

static void close_by_application(void)
{
	struct slice sid = slice_of(client.sid, ID_LEN);

	for (size_t i = 0; i < 2; i++) {
		struct conn *c = client.opened ? conns_find(nodes[i], sid) : NULL;

		if (c && c->sockets && draw_below(2))
			socket_disconnect(c->sockets, "enough");
		if (c)
			conn_close(c, CONN_CLOSE_SERVER);
	}
	turn_all();
}

/* From the peer or from a third node, with a number that may be one in use. */
static void lie(void)
{
	size_t to = draw_below(2), from = draw_below(2) ? 1 - to : 2;
	struct relay_message m = {
		.type = (enum relay_type)draw_below(RELAY_TYPES),
		.number = 1 + draw_below(12),
		.sid = slice_of(client.sid, ID_LEN),
		.version = 4,
		.kind = (uint8_t)draw_below(ANSWER_KINDS + 1),
	};
	struct buf bytes = BUF_INIT;

	relay_encode(&m, &bytes);
	real[to]->events->on_told(nodes[to], slice_str(nodes[from]->code),
				  buf_view(&bytes));
	buf_deinit(&bytes);
	turn(to);
}

static void do_fault(enum fault fault)
{
	size_t i = draw_below(2);

	client.gaps |= (fault == FAULT_CUT && !numbered) || fault == FAULT_LIE;
	switch (fault) {
	case FAULT_NONE:
	case FAULTS:
		break;
	case FAULT_SOCKET:
		if (client.websocket)
			ws_gone();
		client.lost = true;
		break;
	case FAULT_NEW_NODE:
		kill_node(1);
		client.websocket_closed = true;
		client.conn = NULL;
		client.upgrade = NULL;
		client.lost |= client.upgraded;
		break;
	case FAULT_OLD_NODE:
		kill_node(0);
		break;
	case FAULT_CLOSE:
		close_by_application();
		break;
	case FAULT_DRAIN:
		conns_drain(nodes[i], 50);
		break;
	case FAULT_SECOND:
		claim_again();
		break;
	case FAULT_CUT:
		bus_cut(&bus.nodes[i]);
		real[i]->events->on_state(nodes[i], false, false);
		break;
	case FAULT_MUTE:
		bus_cut_commands(&bus.nodes[i]);
		real[i]->events->on_state(nodes[i], false, false);
		break;
	case FAULT_LIE:
		lie();
		break;
	}
}

static void mend(void)
{
	for (size_t i = 0; i < NODES; i++) {
		if (!bus_is_cut(&bus.nodes[i]))
			continue;
		bus_mend(&bus.nodes[i]);
		real[i]->events->on_state(nodes[i], true, true);
	}
}

static bool heard_all(void)
{
	return client.acked == EMITS && client.own == EMITS && published == EVENTS &&
	       client.events == EVENTS;
}

static bool is_finished(enum fault fault)
{
	if (fault == FAULT_NONE)
		return client.upgraded && heard_all() && bus_choices(&bus) == 0;
	return client.lost || heard_all();
}

static void settle(void)
{
	while (bus_choices(&bus))
		bus_some();
	turn_all();
}

/* Everything that waits for a time gets it. */
static void wind_down(void)
{
	for (int i = 0; i < 60; i++) {
		settle();
		tick_all(1000);
		if (client.conn) /* a living client answers pings */
			conn_on_text(client.conn, SLICE_LIT("3"));
	}
	settle();
}

static void start(uint64_t seed)
{
	published = 0;
	second = NULL;
	memset(&client, 0, sizeof(client));
	world_start(seed, &config);
}

static void check(enum fault fault, const char *row)
{
	if (fault != FAULT_LIE)
		CHECK_ROW(!client.broken, row);
	CHECK_ROW(client.events <= published, row);
	if (fault == FAULT_NONE) {
		CHECK_ROW(client.events == EVENTS, row);
		CHECK_ROW(client.own == EMITS, row);
		CHECK_ROW(client.acked == EMITS, row);
		CHECK_ROW(!client.lost, row);
		CHECK_ROW(nodes[1]->conns.n == 1, row);
		CHECK_ROW(nodes[0]->metrics.moves_out == 1, row);
		CHECK_ROW(nodes[1]->metrics.moves_in == 1, row);
		CHECK_ROW(nodes[1]->metrics.sockets == 1, row);
	} else if (client.lost) {
		CHECK_ROW(bus.nodes[1].dead || nodes[1]->conns.n == 0, row);
		CHECK_ROW(bus.nodes[1].dead || nodes[1]->metrics.sockets == 0, row);
	}
	/* Where the old node told applications and rooms that it ended, it has. */
	if (fault != FAULT_LIE && nodes[0]->metrics.moves_failed && !bus.nodes[1].dead)
		CHECK_ROW(nodes[1]->conns.n == 0, row);
	if (!bus.nodes[0].dead && (client.lost || client.upgraded)) {
		CHECK_ROW(nodes[0]->conns.n == 0, row);
		CHECK_ROW(nodes[0]->metrics.sockets == 0, row);
		CHECK_ROW(nodes[0]->metrics.rooms == 0, row);
	}
}

/* What goes wrong at this step. */
static void maybe_fault(enum fault fault, size_t steps, size_t fault_at)
{
	if (steps == fault_at ||
	    (fault == FAULT_LIE && steps > fault_at && draw_below(20) == 0))
		do_fault(fault);
	if ((fault == FAULT_CUT && steps == fault_at + CUT_STEPS) ||
	    (fault == FAULT_MUTE && steps == fault_at + MUTE_STEPS))
		mend();
}

/* What goes on. */
static void step(void)
{
	switch (draw_below(4)) {
	case 0:
		if (client_step())
			turn_all();
		break;
	case 1:
		if (client.joined && published < (client.upgraded ? EVENTS : early))
			publish_event();
		break;
	default:
		bus_some();
	}
}

static void run(uint64_t seed)
{
	enum fault fault =
		seed % 3 ? (enum fault)(1 + seed / 3 % (FAULTS - 1)) : FAULT_NONE;
	size_t fault_at, steps = 0;
	char row[64];

	snprintf(row, sizeof(row), "seed=%llu fault=%d", (unsigned long long)seed, fault);
	start(seed);
	numbered = fault == FAULT_MUTE || draw_below(2);
	fault_at = fault ? 20 + draw_below(600) : SIZE_MAX;
	early = EVENTS;
	if (fault == FAULT_MUTE) {
		fault_at = STEPS_MAX;
		early = EVENTS / 2;
	}
	for (; !is_finished(fault) && steps < STEPS_MAX; steps++) {
		/* What it is about is the fence, which comes soon after. */
		if (fault_at == STEPS_MAX && client.upgraded)
			fault_at = steps + draw_below(60);
		maybe_fault(fault, steps, fault_at);
		/* What was told in a cut may be what everybody waits for. */
		if (fault >= FAULT_CUT && steps > fault_at + ENDLESS_STEPS)
			break;
		/* After a fault, who does not answer shows by silence. */
		if (bus_choices(&bus) == 0)
			tick_all(steps > fault_at + (fault == FAULT_MUTE ? MUTE_STEPS : 0)
					 ? 500
					 : 5);
		step();
	}
	CHECK_ROW(steps < STEPS_MAX, row);
	/* A client that lost its session sends nothing any more, and hangs up. */
	if (client.lost && client.websocket && !client.websocket_closed)
		ws_gone();
	mend(); /* nobody waits for ever for a backend that is away */
	if (fault)
		wind_down();
	else
		settle();
	check(fault, row);
	world_stop();
}

int main(int argc, char **argv)
{
	uint64_t seeds = argc > 1 ? strtoull(argv[1], NULL, 10) : 100;
	uint64_t first = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;

	world_config(&config);
	for (uint64_t seed = first; seed < first + seeds && !test_failures; seed++)
		run(seed);
	config_deinit(&config);
	return test_done();
}
