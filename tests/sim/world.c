#include "world.h"

#include <unistd.h>

#include "gateway/conns.h"
#include "gateway/rooms_app.h"
#include "test.h"

struct bus bus;
struct node *nodes[NODES];
struct adapter *real[NODES];
uint64_t now_ms;

static uint64_t random_state;
static uv_loop_t loops[NODES];

uint64_t draw(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state * 0x2545f4914f6cdd1dULL;
}

size_t draw_below(size_t n)
{
	return (size_t)((draw() >> 33) % n);
}

static uint64_t fake_now(void *ctx)
{
	(void)ctx;
	return now_ms;
}

static void fake_random(void *ctx, void *out, size_t n)
{
	uint8_t *p = out;

	(void)ctx;
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(draw() >> 40);
}

static const struct env env = {fake_now, fake_now, fake_random, NULL};

void world_config(struct config *config)
{
	char *flags[] = {"sim", "--dev", "--redis", "redis://127.0.0.1:1", NULL};
	const char *names[] = {"rooms", NULL};
	struct buf out = BUF_INIT, errors = BUF_INIT;

	CHECK(config_load(config, 4, flags, environ, names, &out, &errors) == CONFIG_RUN);
	buf_deinit(&out);
	buf_deinit(&errors);
}

void world_start(uint64_t seed, const struct config *config)
{
	static const struct app_ops *const apps[] = {&rooms_app, NULL};

	random_state = seed * 0x9e3779b97f4a7c15ULL + 1;
	now_ms = 1000000;
	bus_init(&bus);
	for (size_t i = 0; i < NODES; i++) {
		uv_loop_init(&loops[i]);
		nodes[i] = node_new(&loops[i], &env, config, apps);
		real[i] = nodes[i]->adapter;
		nodes[i]->adapter = bus_join(&bus, real[i]);
		node_start(nodes[i]);
		real[i]->events->on_state(nodes[i], true, false);
	}
}

static void on_drain(void *arg)
{
	(void)arg;
}

static void on_stopped(void *arg)
{
	*(bool *)arg = true;
}

void world_stop(void)
{
	static const struct node_stop_events events = {on_drain, on_stopped};

	for (size_t i = 0; i < NODES; i++) {
		bool done = false;

		bus_leave(&bus.nodes[i]);
		nodes[i]->adapter = real[i];
		/* What the dead left behind ends here. */
		conns_close_all(nodes[i], CONN_CLOSE_PEER);
		node_stop(nodes[i], &events, &done);
		for (int turns = 0; !done && turns < 1000; turns++) {
			now_ms += 100;
			uv_run(&loops[i], UV_RUN_NOWAIT);
		}
		CHECK(done);
		node_free(nodes[i]);
		uv_run(&loops[i], UV_RUN_DEFAULT);
		uv_loop_close(&loops[i]);
	}
	bus_deinit(&bus);
}

size_t any_node(void)
{
	size_t i;

	do
		i = draw_below(NODES);
	while (bus.nodes[i].dead);
	return i;
}

void turn(size_t i)
{
	if (!bus.nodes[i].dead)
		uv_run(&loops[i], UV_RUN_NOWAIT);
}

void turn_all(void)
{
	for (size_t i = 0; i < NODES; i++)
		turn(i);
}

void bus_some(void)
{
	size_t n = bus_choices(&bus);
	struct bus_node *told;

	if (n == 0)
		return;
	told = bus_step(&bus, draw_below(n));
	for (size_t i = 0; told && i < NODES; i++) {
		if (told == &bus.nodes[i])
			turn(i);
	}
}
