/* A client that loses its connection again and again, and what it gets: real nodes, a
 * client by hand, and a Redis whose every step is drawn (bus.h, store.h). Each seed is
 * another interleaving.
 *
 *   sim_recover SEEDS [FIRST]
 *
 * The client joins and leaves rooms, its connection breaks with or without its node's
 * knowing, it comes back to any node, sometimes twice at once; nodes are killed, drain,
 * or hear nothing for a while. Somebody publishes to a room, to several, to all but those
 * of a room, to all, or to the client alone.
 *
 * What is published to rooms that it is surely not in must not reach it. Whatever is
 * published after a join was acknowledged and reaches its node before the
 * client's wish to leave does must reach it, once, and all it gets comes in order; unless
 * it is told that it was not recovered, which only the death of a node, before what it
 * knew was recorded, may cause.
 */
#include "test.h"

#include <assert.h>
#include <stdlib.h>

#include "world.h"
#include "gateway/conn.h"
#include "gateway/node.h"
#include "gateway/rooms_app.h"
#include "proto/eio.h"
#include "proto/mem.h"

enum { ROOMS = 2, EVENTS = 60, STEPS_MAX = 40000, OUTBOX_BYTES = 3000 };

static struct config config;
static const char *const room_names[ROOMS] = {"a", "b"};

/* --- the client --- */

enum room_place { OUT, JOINING, IN, LEAVING, UNSURE };

/* A WebSocket of the client's; it may live on at a node when the client has given it up.
 */
struct wire {
	struct link link;
	struct conn *conn; /* NULL: the node has closed it, or is dead */
	size_t node;
	bool choked;
};

static struct client {
	struct wire *wire; /* the one it reads from, or NULL */
	bool opened, asked, connected, pinged;
	char sid[ID_LEN + 1], pid[PID_LEN + 1], offset[OFFSET_MAX];
	enum room_place rooms[ROOMS];
	bool must[EVENTS], got[EVENTS];
	bool must_not[EVENTS];
	bool by_room[EVENTS];		 /* it must for being in a room */
	unsigned last;			 /* the event it got last, and 1 */
	unsigned recovered, told, early; /* it came back before its session was there */
	bool broken;
} client;

static struct link wires;
static unsigned published, kills;

static void wrong(const char *what, struct slice packet)
{
	client.broken = true;
	fprintf(stderr, "%s: %.*s\n", what, SLICE_FMT(packet));
}

/* The text between `before` and the next quote. */
static bool between(struct slice packet, const char *before, char *out, size_t max)
{
	const uint8_t *at = memmem(packet.p, packet.n, before, strlen(before));
	const uint8_t *end;

	if (!at)
		return false;
	at += strlen(before);
	end = memchr(at, '"', (size_t)(packet.p + packet.n - at));
	if (!end || (size_t)(end - at) >= max)
		return false;
	memcpy(out, at, (size_t)(end - at));
	out[end - at] = '\0';
	return true;
}

/* A new session: of what was before, it knows that it may have missed it. */
static void start_anew(void)
{
	client.told += client.pid[0] != '\0';
	memset(client.must, 0, sizeof(client.must));
	memset(client.got, 0, sizeof(client.got));
	client.last = 0;
	client.offset[0] = '\0';
	for (size_t i = 0; i < ROOMS; i++)
		client.rooms[i] = OUT;
}

static void on_connect_packet(struct slice packet)
{
	char pid[PID_LEN + 1], sid[ID_LEN + 1];

	if (!between(packet, "\"pid\":\"", pid, sizeof(pid)) ||
	    !between(packet, "\"sid\":\"", sid, sizeof(sid))) {
		wrong("no pid", packet);
		return;
	}
	client.connected = true;
	if (strcmp(pid, client.pid) == 0) {
		client.recovered++;
		if (strcmp(sid, client.sid) != 0)
			wrong("another id", packet);
		return;
	}
	start_anew();
	memcpy(client.pid, pid, sizeof(pid));
	memcpy(client.sid, sid, sizeof(sid));
}

static void on_event_packet(struct slice packet)
{
	char number[OFFSET_MAX] = "";
	unsigned n = (unsigned)strtoul((const char *)packet.p + strlen("42[\"event\","),
				       NULL, 10);

	if (!client.connected)
		wrong("event before CONNECT", packet);
	else if (n >= EVENTS || client.got[n])
		wrong("doubled", packet);
	else if (client.must_not[n])
		wrong("not for it", packet);
	else if (n + 1 <= client.last)
		wrong("out of order", packet);
	else if (!between(packet, ",\"", number, sizeof(number)))
		wrong("no offset", packet);
	else {
		client.got[n] = true;
		client.last = n + 1;
		memcpy(client.offset, number, sizeof(client.offset));
	}
}

static void on_ack(struct slice packet)
{
	unsigned id = (unsigned)strtoul((const char *)packet.p + 2, NULL, 10);
	bool ok = memmem(packet.p, packet.n, "\"ok\":true", 9) != NULL;
	size_t room = id % 10;
	enum room_place asked = id / 10 % 2 ? LEAVING : JOINING;

	if (room >= ROOMS || client.rooms[room] != asked) /* of before */
		return;
	if (asked == JOINING)
		client.rooms[room] = ok ? IN : OUT;
	else
		client.rooms[room] = ok ? OUT : UNSURE;
}

static void on_packet(struct slice packet)
{
	if (packet.p[0] == '0')
		client.opened = true;
	else if (slice_starts(packet, SLICE_LIT("40{")))
		on_connect_packet(packet);
	else if (slice_starts(packet, SLICE_LIT("42[\"event\",")))
		on_event_packet(packet);
	else if (slice_starts(packet, SLICE_LIT("43")))
		on_ack(packet);
	else if (slice_starts(packet, SLICE_LIT("41")))
		wrong("disconnected", packet);
	else if (packet.p[0] == '2')
		client.pinged = true;
	else
		wrong("unexpected packet", packet);
}

static enum transport_result ws_write(void *transport, struct slice frames)
{
	struct wire *w = transport;

	while (frames.n) { /* none is longer than 125 bytes here, or it has two more */
		size_t n = frames.p[1] & 0x7f, head = 2;
		struct slice packet;
		uint8_t text[1024];

		if (n == 126) {
			n = (size_t)frames.p[2] << 8 | frames.p[3];
			head = 4;
		}
		packet = slice_of(frames.p + head, n);
		assert(n < sizeof(text));
		memcpy(text, packet.p, n);
		text[n] = '\0';
		if (w == client.wire)
			on_packet(slice_of(text, n));
		frames = slice_skip(frames, head + n);
	}
	w->choked = draw_below(4) == 0;
	return w->choked ? TRANSPORT_CHOKED : TRANSPORT_SENT;
}

static void ws_read(void *transport, bool on)
{
	(void)transport;
	(void)on;
}

/* Its connection is gone, as far as the client knows: it gets nothing more through it. */
static void give_up_wire(void)
{
	client.wire = NULL;
	client.opened = client.asked = client.connected = client.pinged = false;
	/* What was asked and not answered may have been done. */
	for (size_t i = 0; i < ROOMS; i++) {
		if (client.rooms[i] == JOINING || client.rooms[i] == LEAVING)
			client.rooms[i] = UNSURE;
	}
}

static void wire_free(struct wire *w)
{
	if (w == client.wire)
		give_up_wire();
	list_remove(&w->link);
	free(w);
}

static void ws_close(void *transport, enum conn_close reason)
{
	(void)reason;
	wire_free(transport);
}

static const struct transport_ops ws_ops = {
	.write = ws_write, .read = ws_read, .close = ws_close, .gather_bytes_max = 300};

static void dial(void)
{
	const struct eio_query q = {.version = 4, .transport = EIO_WEBSOCKET};
	struct wire *w = mem_zalloc(1, sizeof(*w));

	w->node = any_node();
	list_push(&wires, &w->link);
	client.wire = w;
	w->conn = conn_new(nodes[w->node], &ws_ops, w, &q, false);
}

static void client_send(const char *text)
{
	conn_on_text(client.wire->conn, slice_str(text));
}

static void send_connect(void)
{
	char text[256];

	client.asked = true;
	if (!client.pid[0]) {
		client_send("40");
		return;
	}
	client.early += !store_knows(&bus.store, slice_of(client.sid, ID_LEN));
	if (client.offset[0])
		snprintf(text, sizeof(text), "40{\"pid\":\"%s\",\"offset\":\"%s\"}",
			 client.pid, client.offset);
	else
		snprintf(text, sizeof(text), "40{\"pid\":\"%s\"}", client.pid);
	client_send(text);
}

/* The wire breaks: the client knows; its node does at some later time, or does not. */
static void lose_wire(void)
{
	if (client.wire)
		give_up_wire();
}

static void node_notices(struct wire *w)
{
	struct conn *c = w->conn;

	wire_free(w);
	conn_on_transport_closed(c, CONN_CLOSE_PEER);
}

/* A leave may overtake what is on its way. */
static void forgive_rooms(void)
{
	for (unsigned i = 0; i < published; i++)
		client.must[i] &= client.got[i] || !client.by_room[i];
}

static void join_or_leave(void)
{
	size_t i = draw_below(ROOMS);
	char text[64];

	enum room_place at = client.rooms[i];

	if (at == OUT || at == UNSURE || (at == IN && draw_below(4) == 0)) {
		bool join = at != IN;

		client.rooms[i] = join ? JOINING : LEAVING;
		if (!join)
			forgive_rooms();
		snprintf(text, sizeof(text), "42%zu[\"room:%s\",\"%s\"]",
			 i + (join ? 0u : 10u), join ? "join" : "leave", room_names[i]);
		client_send(text);
	}
}

static void client_step(void)
{
	if (!client.wire)
		dial();
	else if (client.opened && !client.asked)
		send_connect();
	else if (client.connected && draw_below(8))
		join_or_leave();
	else if (client.asked && draw_below(10) == 0)
		lose_wire();
	turn_all();
}

/* --- the others --- */

static bool is_surely_in(size_t room)
{
	return client.rooms[room] == IN;
}

static bool is_surely_out(size_t room)
{
	return client.rooms[room] == OUT;
}

/* Once it was connected its session is there, connected or not. */
static void publish_event(void)
{
	struct slice rooms[ROOMS] = {slice_str(room_names[0]), slice_str(room_names[1])};
	struct slice own = slice_str(client.sid);
	struct cluster_broadcast b = {.nsp = SLICE_LIT("/"), .uid = SLICE_LIT("gh-emit")};
	struct buf data = BUF_INIT;
	msgpack_packer pk;
	bool must = client.pid[0] != '\0', must_not = false;
	size_t room = draw_below(ROOMS);

	switch (draw_below(6)) {
	case 0: /* to all */
		break;
	case 1: /* to the client alone */
		if (!must)
			return;
		b.rooms = &own;
		b.rooms_n = 1;
		break;
	case 2: /* to both rooms */
		b.rooms = rooms;
		b.rooms_n = 2;
		must = must && (is_surely_in(0) || is_surely_in(1));
		must_not = is_surely_out(0) && is_surely_out(1);
		break;
	case 3: /* to one but who is in the other */
		b.rooms = &rooms[room];
		b.except = &rooms[1 - room];
		b.rooms_n = b.except_n = 1;
		must = must && is_surely_in(room) && is_surely_out(1 - room);
		break;
	default:
		b.rooms = &rooms[room];
		b.rooms_n = 1;
		must = must && is_surely_in(room);
		must_not = is_surely_out(room);
	}
	mp_packer(&pk, &data);
	msgpack_pack_array(&pk, 2);
	mp_pack_str(&pk, SLICE_LIT("event"));
	msgpack_pack_uint32(&pk, published);
	b.data = buf_view(&data);
	client.must[published] = must;
	client.must_not[published] = must_not;
	client.by_room[published] = b.rooms_n && !id_is(b.rooms[0]);
	published++;
	bus_publish_logged(&bus, &b);
	buf_deinit(&data);
}

static void tick_all(uint64_t ms)
{
	now_ms += ms;
	for (size_t i = 0; i < NODES; i++) {
		if (bus.nodes[i].dead)
			continue;
		conns_tick(nodes[i], now_ms);
		recoveries_tick(nodes[i], now_ms);
		turn(i);
	}
}

static void wires_some(void)
{
	struct link *l, *tmp;

	list_each(l, tmp, &wires)
	{
		struct wire *w = container_of(l, struct wire, link);

		if (bus.nodes[w->node].dead) {
			if (w == client.wire)
				give_up_wire();
			continue;
		}
		if (w->choked && draw_below(2)) {
			w->choked = false;
			conn_on_writable(w->conn);
		} else if (w == client.wire && client.pinged && draw_below(2)) {
			client.pinged = false;
			conn_on_text(w->conn, SLICE_LIT("3"));
		} else if (w != client.wire && draw_below(6) == 0) {
			node_notices(w);
		}
	}
	turn_all();
}

static void do_fault(void)
{
	size_t i = any_node();

	switch (draw_below(4)) {
	case 0:
		if (kills < NODES - 1) {
			kills++;
			bus.nodes[i].dead = true;
			wires_some();
		}
		break;
	case 1:
		conns_drain(nodes[i], 20);
		break;
	case 2:
		if (!bus_is_cut(&bus.nodes[i])) {
			if (draw_below(2))
				bus_cut(&bus.nodes[i]);
			else
				bus_cut_commands(&bus.nodes[i]);
			real[i]->events->on_state(nodes[i], false, false);
		}
		break;
	default:
		for (size_t k = 0; k < NODES; k++) {
			if (bus.nodes[k].dead || !bus_is_cut(&bus.nodes[k]))
				continue;
			bus_mend(&bus.nodes[k]);
			real[k]->events->on_state(nodes[k], true, true);
		}
	}
}

/* Who drained has returned. */
static void mend_all(void)
{
	for (size_t k = 0; k < NODES; k++) {
		nodes[k]->conns.leave_at = UINT64_MAX;
		if (bus.nodes[k].dead || !bus_is_cut(&bus.nodes[k]))
			continue;
		bus_mend(&bus.nodes[k]);
		real[k]->events->on_state(nodes[k], true, true);
	}
	turn_all();
}

/* --- a run --- */

static void start(uint64_t seed)
{
	published = kills = 0;
	memset(&client, 0, sizeof(client));
	link_init(&wires);
	world_start(seed, &config);
}

static bool has_all(void)
{
	for (unsigned i = 0; i < published; i++) {
		if (client.must[i] && !client.got[i])
			return false;
	}
	return client.connected;
}

/* Nothing fails any more: it must have everything, soon. */
static bool settle(void)
{
	mend_all();
	for (int i = 0; i < 4000 && !(has_all() && bus_choices(&bus) == 0); i++) {
		if (!client.wire)
			dial();
		else if (client.opened && !client.asked)
			send_connect();
		turn_all();
		wires_some();
		bus_some();
		if (bus_choices(&bus) == 0)
			tick_all(50);
	}
	return has_all();
}

/* What goes on. */
static void step(bool faults)
{
	switch (draw_below(8)) {
	case 0:
		client_step();
		break;
	case 1:
		if (client.pid[0] && draw_below(3) == 0)
			publish_event();
		break;
	case 2:
		wires_some();
		break;
	case 3:
		if (faults && draw_below(40) == 0)
			do_fault();
		else if (draw_below(60) == 0)
			lose_wire();
		break;
	default:
		bus_some();
	}
	if (bus_choices(&bus) == 0 || draw_below(50) == 0)
		tick_all(draw_below(200));
}

/* For who looks into a seed that failed. */
static void tell(void)
{
	for (unsigned i = 0; i < published; i++) {
		if (client.must[i] && !client.got[i])
			fprintf(stderr, "missing: %u\n", i);
	}
	fprintf(stderr, "recovered %u told %u connected %d\n", client.recovered,
		client.told, client.connected);
	for (size_t i = 0; i < NODES; i++) {
		struct buf text = BUF_INIT;

		metrics_write(&nodes[i]->metrics, "", "bus", nodes[i]->code, &text);
		fprintf(stderr, "%s\n", buf_cstr(&text));
		buf_deinit(&text);
	}
}

static void run(uint64_t seed)
{
	bool faults = seed % 4 != 0;
	size_t steps = 0;
	char row[64];

	snprintf(row, sizeof(row), "seed=%llu", (unsigned long long)seed);
	start(seed);
	for (; published < EVENTS && !client.broken && steps < STEPS_MAX; steps++)
		step(faults);
	CHECK_ROW(steps < STEPS_MAX, row);
	CHECK_ROW(settle(), row);
	CHECK_ROW(!client.broken, row);
	CHECK_ROW(client.told <= client.early || kills, row);
	if (test_failures)
		tell();
	world_stop();
}

int main(int argc, char **argv)
{
	uint64_t seeds = argc > 1 ? strtoull(argv[1], NULL, 10) : 100;
	uint64_t first = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;

	world_config(&config);
	config.outbox_bytes_max = OUTBOX_BYTES; /* many pages, and readers too slow */
	config.namespaces[0].rooms[0].announce = false;
	for (uint64_t seed = first; seed < first + seeds && !test_failures; seed++)
		run(seed);
	config_deinit(&config);
	return test_done();
}
