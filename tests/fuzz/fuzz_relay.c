/* The input as what another node says, to a node that has a session which polls: a
 * message that is understood says the same when it is written again, and whatever comes,
 * the node goes on and can end. The first byte says whether it is a REST of a session
 * that arrives, a STATE, or any message. */
#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

#include "fuzz.h"
#include "gateway/move_state.h"
#include "gateway/node.h"
#include "gateway/rooms_app.h"
#include "gateway/socket.h"
#include "proto/mem.h"

static void on_answer(struct exchange *x, const struct answer *a)
{
	(void)a;
	free(x);
}

static const struct exchange_ops exchange_ops = {on_answer};

static void on_drain(void *arg)
{
	(void)arg;
}

static void on_stopped(void *arg)
{
	*(bool *)arg = true;
}

static void want_room(void *arg, struct socket *s, struct slice room, unsigned flags)
{
	(void)arg;
	(void)s;
	(void)flags;
	assert(room.n);
}

static void fuzz_state(struct node *n, struct slice state, bool rest)
{
	struct conn *c = conn_arrive(n, SLICE_LIT("abcdefghijklmnopqrst"), 4, NULL);
	struct buf out = BUF_INIT;
	enum err err;

	if (rest) {
		socket_arrive(c, node_namespace(n, SLICE_LIT("/")),
			      SLICE_LIT("abcdefghijklmnopqrsu"), NULL, 0);
		err = move_rest_unpack(c, state);
	} else {
		err = move_state_unpack(c, state, want_room, NULL);
	}
	if (err == ERR_OK)
		move_state_pack(c, &out);
	buf_deinit(&out);
	conn_drop(c);
}

static void fuzz_message(struct node *n, struct slice bytes)
{
	struct relay_message m, again;
	struct buf out = BUF_INIT;

	if (relay_decode(bytes, &m) == ERR_OK) {
		relay_encode(&m, &out);
		assert(relay_decode(buf_view(&out), &again) == ERR_OK);
		assert(m.type == again.type && m.number == again.number);
		assert(slice_eq(m.sid, again.sid) && slice_eq(m.body, again.body));
	}
	buf_deinit(&out);
	relay_on_told(n, SLICE_LIT("other1"), bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct app_ops *const apps[] = {&rooms_app, NULL};
	static const struct node_stop_events events = {on_drain, on_stopped};
	const char *names[] = {"rooms", NULL};
	char *flags[] = {"fuzz", "--dev", "--log-level", "error", NULL};
	char *no_env[] = {NULL};
	struct buf out = BUF_INIT, errors = BUF_INIT;
	struct exchange *x = mem_zalloc(1, sizeof(*x));
	struct eio_query q = {.version = 4, .transport = EIO_POLLING};
	struct slice input = slice_of(data, size);
	struct config config;
	struct node *n;
	uv_loop_t loop;
	bool done = false;

	assert(config_load(&config, 4, flags, no_env, names, &out, &errors) ==
	       CONFIG_RUN);
	uv_loop_init(&loop);
	n = node_new(&loop, &env_system, &config, apps);
	node_start(n);
	uv_run(&loop, UV_RUN_NOWAIT);
	x->ops = &exchange_ops;
	polling_open(n, &q, x);
	uv_run(&loop, UV_RUN_NOWAIT);
	if (size && data[0] < 2)
		fuzz_state(n, slice_skip(input, 1), data[0] == 1);
	else
		fuzz_message(n, input);
	uv_run(&loop, UV_RUN_NOWAIT);
	conns_close_all(n, CONN_CLOSE_PEER);
	node_stop(n, &events, &done);
	while (!done)
		uv_run(&loop, UV_RUN_NOWAIT);
	node_free(n);
	uv_run(&loop, UV_RUN_DEFAULT);
	uv_loop_close(&loop);
	config_deinit(&config);
	buf_deinit(&out);
	buf_deinit(&errors);
	return 0;
}
