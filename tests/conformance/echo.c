/* The gateway with a second application, `echo`, as the conformance tests want it:
 *
 *   on connect                 emits "auth" with the CONNECT payload, {} if there was
 * none "message", …args           emits "message-back", …args "message-with-ack", …args
 * acks …args "ask-me", …args            emits "question", …args with an ack; when the
 * client acks, emits "answer" with its arguments; after 2 s "no-answer" "disconnect-me"
 * disconnects the socket "close-me"                 closes the conn */
#include "gateway/conn.h"
#include "gateway/namespace.h"
#include "gateway/node.h"
#include "gateway/rooms_app.h"
#include "gateway/run.h"
#include "gateway/socket.h"

enum { ASK_TIMEOUT_MS = 2000 };

/* The encoded elements of an array behind its first `skip`. */
static struct slice elements(struct slice array, uint32_t skip, uint32_t *n)
{
	struct mp_cursor c = mp_cursor_of(array);

	*n = 0;
	if (mp_read_array(&c, n) != ERR_OK)
		return SLICE_EMPTY;
	for (uint32_t i = 0; i < skip; i++, --*n) {
		if (*n == 0 || mp_skip(&c) != ERR_OK)
			return SLICE_EMPTY;
	}
	return slice_of(c.p, (size_t)(c.end - c.p));
}

/* [name, …args]; without a name: [args]. */
static void pack(struct buf *out, const char *name, struct slice args, uint32_t n)
{
	msgpack_packer pk;

	mp_packer(&pk, out);
	msgpack_pack_array(&pk, n + (name ? 1 : 0));
	if (name)
		mp_pack_str(&pk, slice_str(name));
	mp_pack_raw(&pk, args);
}

static void emit(struct socket *s, const char *name, struct slice args, uint32_t n)
{
	struct buf data = BUF_INIT;

	pack(&data, name, args, n);
	if (socket_emit(s, buf_view(&data)) != ERR_OK)
		conn_close(s->conn, CONN_CLOSE_SERVER);
	buf_deinit(&data);
}

static void on_answer(void *app, struct socket *s, struct slice tag, enum err err,
		      struct slice args)
{
	uint32_t n;
	struct slice list;

	(void)app;
	(void)tag;
	if (err == ERR_CLOSED)
		return;
	if (err != ERR_OK) {
		emit(s, "no-answer", SLICE_EMPTY, 0);
		return;
	}
	list = elements(args, 0, &n);
	emit(s, "answer", list, n);
}

static void ask(struct socket *s, struct slice args, uint32_t n)
{
	struct buf data = BUF_INIT;

	pack(&data, "question", args, n);
	if (socket_emit_ack(s, buf_view(&data), ASK_TIMEOUT_MS,
			    node_app(s->ns->node, SLICE_LIT("echo")),
			    SLICE_EMPTY) != ERR_OK)
		conn_close(s->conn, CONN_CLOSE_SERVER);
	buf_deinit(&data);
}

static void ack(struct socket *s, uint64_t id, struct slice args, uint32_t n)
{
	struct buf data = BUF_INIT;

	pack(&data, NULL, args, n);
	if (socket_ack(s, id, buf_view(&data)) != ERR_OK)
		conn_close(s->conn, CONN_CLOSE_SERVER);
	buf_deinit(&data);
}

static void *open_app(struct node *node)
{
	return node;
}

static void close_app(void *app)
{
	(void)app;
}

static void on_connect(void *app, struct socket *s, struct slice auth)
{
	static const uint8_t empty_map[] = {0x80};

	(void)app;
	emit(s, "auth", auth.n ? auth : slice_of(empty_map, sizeof(empty_map)), 1);
}

static bool on_event(void *app, struct socket *s, const struct app_event *e)
{
	uint32_t n;
	struct slice args = elements(e->data, 1, &n);

	(void)app;
	if (slice_eq(e->name, SLICE_LIT("message")))
		emit(s, "message-back", args, n);
	else if (slice_eq(e->name, SLICE_LIT("message-with-ack")) && e->wants_ack)
		ack(s, e->ack_id, args, n);
	else if (slice_eq(e->name, SLICE_LIT("ask-me")))
		ask(s, args, n);
	else if (slice_eq(e->name, SLICE_LIT("disconnect-me")))
		socket_disconnect(s, "server namespace disconnect");
	else if (slice_eq(e->name, SLICE_LIT("close-me")))
		conn_close(s->conn, CONN_CLOSE_SERVER);
	else
		return false;
	return true;
}

static void on_disconnect(void *app, struct socket *s, const char *reason)
{
	(void)app;
	(void)s;
	(void)reason;
}

static const struct app_ops echo_app = {
	.name = "echo",
	.open = open_app,
	.close = close_app,
	.on_connect = on_connect,
	.on_event = on_event,
	.on_answer = on_answer,
	.on_disconnect = on_disconnect,
};

int main(int argc, char **argv)
{
	const struct app_ops *const apps[] = {&rooms_app, &echo_app, NULL};

	return gatehouse_run(argc, argv, apps);
}
