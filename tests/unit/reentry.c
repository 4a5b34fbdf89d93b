/* Applications that close, ask and join from inside what they are told. */
#include "test.h"

#include <stdlib.h>
#include <unistd.h>

#include "gateway/node.h"
#include "gateway/rooms.h"

static struct node *node;
static struct adapter_ops failing; /* the memory adapter's, subscriptions fail */
static const struct adapter_ops *working;
static unsigned told, disconnects, acks_closed, asked_closed, joins_failed, joined;

static enum transport_result fake_write(void *transport, struct slice bytes)
{
	(void)transport;
	(void)bytes;
	return TRANSPORT_SENT;
}

static void fake_read(void *transport, bool on)
{
	(void)transport;
	(void)on;
}

static void fake_close(void *transport, enum conn_close reason)
{
	(void)reason;
	++*(unsigned *)transport;
}

static const struct transport_ops transport = {
	.write = fake_write, .read = fake_read, .close = fake_close};

static void fail_subscribe(struct adapter *a, struct slice nsp, struct slice room,
			   adapter_done_fn *done, void *arg)
{
	working->subscribe(a, nsp, room, done, arg);
	working->unsubscribe(a, nsp, room); /* makes it ERR_CLOSED */
}

/* ["ask"] */
static const uint8_t question[] = {0x91, 0xa3, 'a', 's', 'k'};

static enum err ask(struct socket *s)
{
	return socket_emit_ack(s, slice_of(question, sizeof(question)), 1000,
			       node_app(node, SLICE_LIT("rooms")), SLICE_LIT("tag"));
}

static void on_answer(void *arg, struct socket *s, struct slice tag, enum err err,
		      struct slice args)
{
	(void)arg;
	(void)args;
	CHECK(slice_eq(tag, SLICE_LIT("tag")));
	acks_closed += err == ERR_CLOSED;
	asked_closed += ask(s) == ERR_CLOSED;
}

static void on_joined(void *arg, struct socket *s, enum err err,
		      const struct room_joined *done)
{
	(void)arg;
	(void)done;
	joined += err == ERR_OK;
	if (err == ERR_OK || joins_failed++)
		node->adapter->ops = working;
	if (err != ERR_OK)
		room_join(s, &(struct room_join){.room = SLICE_LIT("room"),
						 .done = on_joined});
}

static void *open_app(struct node *n)
{
	return n;
}

static void close_app(void *app)
{
	(void)app;
}

static void on_connect(void *app, struct socket *s, struct slice auth)
{
	(void)app;
	(void)auth;
	told++;
	CHECK(ask(s) == ERR_OK);
	room_join(s, &(struct room_join){.room = SLICE_LIT("room"), .done = on_joined});
}

static bool on_event(void *app, struct socket *s, const struct app_event *e)
{
	(void)app;
	(void)e;
	socket_disconnect(s, "told to");
	return false; /* nobody else may hear of it now */
}

static void on_disconnect(void *app, struct socket *s, const char *reason)
{
	(void)app;
	(void)reason;
	disconnects++;
	socket_disconnect(s, "again");
	socket_close(s, "and again");
	conn_close(s->conn, CONN_CLOSE_SERVER);
}

/* Under the name that --dev serves. */
static const struct app_ops app = {
	.name = "rooms",
	.open = open_app,
	.close = close_app,
	.on_connect = on_connect,
	.on_event = on_event,
	.on_answer = on_answer,
	.on_disconnect = on_disconnect,
};

static void on_drain(void *arg)
{
	(void)arg; /* there is no listener */
}

static void on_stopped(void *arg)
{
	*(bool *)arg = true;
}

static const struct node_stop_events stop_events = {
	.on_drain = on_drain,
	.on_stopped = on_stopped,
};

static void turns(uv_loop_t *loop)
{
	for (int i = 0; i < 10; i++)
		uv_run(loop, UV_RUN_NOWAIT);
}

int main(void)
{
	const struct app_ops *const apps[] = {&app, NULL};
	const char *names[] = {"rooms", NULL};
	char *argv[] = {"reentry", "--dev", NULL};
	struct buf out = BUF_INIT, errors = BUF_INIT;
	unsigned closed = 0;
	bool done = false;
	struct config config;
	struct conn *c;
	uv_loop_t loop;

	CHECK(config_load(&config, 2, argv, environ, names, &out, &errors) == CONFIG_RUN);
	uv_loop_init(&loop);
	node = node_new(&loop, &env_system, &config, apps);
	working = node->adapter->ops;
	failing = *working;
	failing.subscribe = fail_subscribe;
	node_start(node);
	turns(&loop);

	node->adapter->ops = &failing;
	c = conn_new(node, &transport, &closed, &(struct eio_query){.version = 4}, false);
	conn_on_text(c, SLICE_LIT("40"));
	turns(&loop);
	CHECK(told == 1);
	CHECK(joins_failed == 2);
	CHECK(joined == 1);
	CHECK(node->metrics.rooms == 1);

	conn_on_text(c, SLICE_LIT("42[\"go\"]"));
	turns(&loop);
	CHECK(disconnects == 1);
	CHECK(acks_closed == 1);
	CHECK(asked_closed == 1);
	CHECK(closed == 1);
	CHECK(node->metrics.rooms == 0);
	CHECK(node->metrics.sockets == 0);
	CHECK(node->conns.n == 0);

	node_stop(node, &stop_events, &done);
	while (!done && uv_run(&loop, UV_RUN_ONCE))
		;
	CHECK(done);
	node_free(node);
	uv_run(&loop, UV_RUN_DEFAULT);
	CHECK(uv_loop_close(&loop) == 0);
	config_deinit(&config);
	buf_deinit(&out);
	buf_deinit(&errors);
	return test_done();
}
