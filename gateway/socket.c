#include "gateway/socket.h"

#include <assert.h>
#include <stdlib.h>

#include "gateway/conn.h"
#include "gateway/log.h"
#include "gateway/namespace.h"
#include "gateway/node.h"
#include "gateway/recovery.h"
#include "gateway/rooms.h"
#include "proto/mem.h"

/* An answer that is due from a client. */
struct ack {
	struct link of_socket, of_node; /* of the node: by `at` */
	struct socket *socket;
	uint64_t id, at;
	struct app *app;
	uint8_t tag_n;
	uint8_t tag[];
};

static enum err send_packet(struct socket *s, const struct sio_packet *packet)
{
	struct frame *f;
	enum err err = node_frame(s->ns->node, packet, conn_encoding(s->conn), &f);

	if (err != ERR_OK)
		return err;
	if (packet->type == SIO_EVENT)
		s->ns->node->metrics.events_out++;
	else if (packet->type == SIO_ACK)
		s->ns->node->metrics.acks_out++;
	conn_send(s->conn, f, false);
	frame_unref(f);
	return ERR_OK;
}

void socket_send_connected(struct socket *s)
{
	struct sio_packet packet = {.type = SIO_CONNECT, .nsp = s->ns->name};
	struct buf *b = &s->ns->node->encode;
	char pid[PID_LEN];
	msgpack_packer pk;
	enum err err;

	/* Version 3 has no room for it: the client takes the conn's id for its own. */
	if (s->conn->version != 3) {
		buf_clear(b);
		mp_packer(&pk, b);
		msgpack_pack_map(&pk, s->recovery ? 2 : 1);
		mp_pack_str(&pk, SLICE_LIT("sid"));
		mp_pack_str(&pk, socket_id(s));
		if (s->recovery) {
			recovery_pid(s, pid);
			mp_pack_str(&pk, SLICE_LIT("pid"));
			mp_pack_str(&pk, slice_of(pid, PID_LEN));
		}
		packet.data = buf_view(b);
	}
	err = send_packet(s, &packet);
	assert(err == ERR_OK);
	(void)err;
}

struct socket *socket_arrive(struct conn *c, struct namespace *ns, struct slice id,
			     char *user, uint64_t expires_ms)
{
	struct socket *s = mem_zalloc(1, sizeof(*s));

	assert(id.n == ID_LEN);
	s->conn = c;
	s->ns = ns;
	s->user = user;
	s->expires_ms = expires_ms;
	link_init(&s->members);
	link_init(&s->ops);
	link_init(&s->acks);
	s->serial = ns->node->sockets_made++;
	memcpy(s->id, id.p, ID_LEN);
	s->conn_next = c->sockets;
	c->sockets = s;
	c->sockets_n++;
	return s;
}

void socket_enter(struct socket *s)
{
	assert(!s->entered);
	s->entered = true;
	table_add(&s->ns->sockets, socket_id(s), s);
	s->ns->node->metrics.sockets++;
}

void socket_open(struct conn *c, struct namespace *ns, char *user, uint64_t expires_ms,
		 struct slice auth)
{
	bool is_root = slice_eq(ns->name, SLICE_LIT("/"));
	char id[ID_LEN];
	struct socket *s;

	if (c->version == 3 && is_root)
		memcpy(id, c->id, ID_LEN);
	else
		node_new_id(ns->node, id);
	s = socket_arrive(c, ns, slice_of(id, ID_LEN), user, expires_ms);
	socket_enter(s);
	if (recovery_applies(c, ns))
		recovery_begin(s);
	socket_send_connected(s);
	socket_introduce(s, auth);
}

void socket_introduce(struct socket *s, struct slice auth)
{
	const struct namespace *ns = s->ns;

	for (size_t i = 0; i < ns->apps_n && !s->closing; i++)
		ns->apps[i]->ops->on_connect(ns->apps[i]->state, s, auth);
}

static void finish_ack(struct ack *a, enum err err, struct slice args)
{
	list_remove(&a->of_socket);
	list_remove(&a->of_node);
	a->app->ops->on_answer(a->app->state, a->socket, slice_of(a->tag, a->tag_n), err,
			       args);
	free(a);
}

static void unlink_from_conn(struct socket *s)
{
	struct socket **p = &s->conn->sockets;

	while (*p != s)
		p = &(*p)->conn_next;
	*p = s->conn_next;
	s->conn->sockets_n--;
}

/* It is in no room and owes and is owed nothing any more. */
static void forget(struct socket *s)
{
	struct node *n = s->ns->node;

	if (s->guest)
		adapter_unsubscribe(n->adapter, s->ns->name, socket_id(s));
	if (s->entered) {
		table_remove(&s->ns->sockets, socket_id(s));
		n->metrics.sockets--;
	}
	unlink_from_conn(s);
	list_push(&n->dead_sockets, &s->members);
}

void socket_close(struct socket *s, const char *reason)
{
	struct namespace *ns = s->ns;
	struct link *l;

	if (s->closing) /* by an application that was just told so */
		return;
	s->closing = true;
	for (size_t i = 0; i < ns->apps_n; i++)
		ns->apps[i]->ops->on_disconnect(ns->apps[i]->state, s, reason);
	while ((l = list_first(&s->acks)))
		finish_ack(container_of(l, struct ack, of_socket), ERR_CLOSED,
			   SLICE_EMPTY);
	rooms_on_socket_closed(s);
	recovery_on_closed(s);
	forget(s);
}

void socket_drop(struct socket *s)
{
	struct link *l;

	if (s->closing)
		return;
	s->closing = true;
	for (size_t i = 0; i < s->ns->apps_n; i++) {
		struct app *app = s->ns->apps[i];

		if (app->ops->on_moved)
			app->ops->on_moved(app->state, s);
	}
	while ((l = list_pop(&s->acks))) {
		struct ack *a = container_of(l, struct ack, of_socket);

		list_remove(&a->of_node);
		free(a);
	}
	rooms_drop(s);
	forget(s);
}

struct socket_ref socket_ref(const struct socket *s)
{
	struct socket_ref ref = {.ns = s->ns, .serial = s->serial};

	memcpy(ref.id, s->id, ID_LEN);
	return ref;
}

struct socket *socket_get(const struct socket_ref *ref)
{
	struct socket *s = table_get(&ref->ns->sockets, slice_of(ref->id, ID_LEN));

	return s && s->serial == ref->serial ? s : NULL;
}

struct socket_ref socket_begin(struct socket *s)
{
	s->begun++;
	assert(s->begun);
	return socket_ref(s);
}

void socket_end(const struct socket_ref *ref)
{
	struct socket *s = socket_get(ref);

	if (!s)
		return;
	assert(s->begun);
	if (--s->begun == 0)
		conn_on_idle(s->conn);
}

void sockets_free_dead(struct node *n)
{
	struct link *l;

	while ((l = list_pop(&n->dead_sockets))) {
		struct socket *s = container_of(l, struct socket, members);

		free(s->user);
		free(s->recovery);
		free(s);
	}
}

void socket_disconnect(struct socket *s, const char *reason)
{
	const struct sio_packet packet = {.type = SIO_DISCONNECT, .nsp = s->ns->name};
	enum err err;

	if (s->closing)
		return;
	err = send_packet(s, &packet);
	assert(err == ERR_OK);
	(void)err;
	socket_close(s, reason);
}

void sockets_check_expiry(struct conn *c)
{
	for (struct socket *s = c->sockets, *next; s; s = next) {
		next = s->conn_next;
		if (s->entered && s->expires_ms &&
		    env_wall_ms(c->node->env) >= s->expires_ms)
			socket_disconnect(s, "token expired");
	}
}

static void answer_unknown(struct socket *s, const struct app_event *e)
{
	s->ns->node->metrics.events_unhandled++;
	if (e->wants_ack)
		app_ack_error(s, e->ack_id, "unknown_event",
			      "no application here handles this event");
}

/* Event names are strings or numbers; applications see a number as JavaScript prints it.
 */
static enum err event_name(struct slice data, struct buf *number, struct slice *name)
{
	struct mp_cursor c = mp_cursor_of(data);
	struct slice first;
	uint32_t count;
	enum err err = mp_read_array(&c, &count);

	if (err == ERR_OK)
		err = mp_take(&c, &first);
	if (err != ERR_OK)
		return err;
	if (mp_get_str(first, name) == ERR_OK)
		return ERR_OK;
	err = mp_to_json(first, number, NULL);
	*name = buf_view(number);
	return err;
}

void socket_on_event(struct socket *s, const struct sio_packet *packet)
{
	struct namespace *ns = s->ns;
	struct app_event e = {
		.data = packet->data,
		.wants_ack = packet->has_id,
		.ack_id = packet->id,
	};
	struct buf number = BUF_INIT;
	bool taken = false;

	ns->node->metrics.events_in++;
	if (event_name(packet->data, &number, &e.name) != ERR_OK) {
		conn_close(s->conn, CONN_CLOSE_PARSE_ERROR);
		taken = true;
	}
	for (size_t i = 0; i < ns->apps_n && !taken && !s->closing; i++)
		taken = ns->apps[i]->ops->on_event(ns->apps[i]->state, s, &e);
	if (!taken && !s->closing)
		answer_unknown(s, &e);
	buf_deinit(&number);
}

enum err socket_emit(struct socket *s, struct slice data)
{
	struct sio_packet packet = {.type = SIO_EVENT, .nsp = s->ns->name, .data = data};
	struct buf with_offset = BUF_INIT;
	struct slice offset;
	enum err err;

	if (s->missed)
		return ERR_OK;
	if (s->recovery && recovery_needs_offset(data)) {
		adapter_position(s->ns->node->adapter, &offset);
		recovery_put_offset(data, offset, &with_offset);
		packet.data = buf_view(&with_offset);
	}
	err = send_packet(s, &packet);
	buf_deinit(&with_offset);
	return err;
}

enum err socket_ack(struct socket *s, uint64_t ack_id, struct slice data)
{
	const struct sio_packet packet = {.type = SIO_ACK,
					  .nsp = s->ns->name,
					  .has_id = true,
					  .id = ack_id,
					  .data = data};

	return send_packet(s, &packet);
}

/* Ids are random, so that a late answer on a new connection meets no other question. */
static uint64_t new_ack_id(struct socket *s)
{
	uint64_t id;
	struct link *l, *tmp;
	bool taken;

	do {
		env_random(s->ns->node->env, &id, sizeof(id));
		id &= SIO_ACK_ID_MAX;
		taken = false;
		list_each(l, tmp, &s->acks) taken |=
			container_of(l, struct ack, of_socket)->id == id;
	} while (taken);
	return id;
}

static void ack_new(struct socket *s, uint64_t id, uint64_t at, struct app *app,
		    struct slice tag)
{
	struct node *n = s->ns->node;
	struct ack *a = mem_zalloc(1, sizeof(*a) + tag.n);
	struct link *after;

	a->socket = s;
	a->id = id;
	a->at = at;
	a->app = app;
	a->tag_n = (uint8_t)tag.n;
	if (tag.n)
		memcpy(a->tag, tag.p, tag.n);
	list_push(&s->acks, &a->of_socket);
	/* Timeouts are mostly alike, so its place is at or near the end. */
	for (after = n->acks.prev; after != &n->acks; after = after->prev) {
		if (container_of(after, struct ack, of_node)->at <= a->at)
			break;
	}
	list_push(after->next, &a->of_node);
}

enum err socket_emit_ack(struct socket *s, struct slice data, uint64_t timeout_ms,
			 struct app *app, struct slice tag)
{
	struct sio_packet packet = {.type = SIO_EVENT,
				    .nsp = s->ns->name,
				    .has_id = true,
				    .id = new_ack_id(s),
				    .data = data};
	enum err err;

	assert(tag.n <= SOCKET_TAG_MAX);
	assert(app->ops->on_answer);
	if (s->closing)
		return ERR_CLOSED;
	err = send_packet(s, &packet);
	if (err != ERR_OK)
		return err;
	ack_new(s, packet.id, env_now_ms(s->ns->node->env) + timeout_ms, app, tag);
	return ERR_OK;
}

void acks_stop(struct socket *s)
{
	for (struct link *l = s->acks.next; l != &s->acks; l = l->next)
		list_remove(&container_of(l, struct ack, of_socket)->of_node);
}

void acks_pack(const struct socket *s, msgpack_packer *pk)
{
	uint64_t now = env_now_ms(s->ns->node->env);
	size_t count = 0;

	for (const struct link *l = s->acks.next; l != &s->acks; l = l->next)
		count++;
	msgpack_pack_array(pk, count);
	for (struct link *l = s->acks.next; l != &s->acks; l = l->next) {
		const struct ack *a = container_of(l, struct ack, of_socket);

		msgpack_pack_array(pk, 4);
		msgpack_pack_uint64(pk, a->id);
		msgpack_pack_uint64(pk, env_ms_left(a->at, now));
		mp_pack_str(pk, slice_str(a->app->ops->name));
		mp_pack_str(pk, slice_of(a->tag, a->tag_n));
	}
}

static enum err ack_unpack(struct socket *s, struct mp_cursor *c)
{
	struct node *n = s->ns->node;
	struct slice name, tag;
	int64_t id, left_ms;
	uint32_t fields;
	struct app *app;

	if (mp_read_array(c, &fields) != ERR_OK || fields != 4 ||
	    mp_take_int(c, 0, (int64_t)SIO_ACK_ID_MAX, &id) != ERR_OK ||
	    mp_take_int(c, 0, UINT32_MAX, &left_ms) != ERR_OK ||
	    mp_read_str(c, &name) != ERR_OK || mp_read_str(c, &tag) != ERR_OK ||
	    tag.n > SOCKET_TAG_MAX)
		return ERR_SYNTAX;
	app = node_app(n, name);
	if (app && app->ops->on_answer)
		ack_new(s, (uint64_t)id, env_now_ms(n->env) + (uint64_t)left_ms, app,
			tag);
	return ERR_OK;
}

enum err acks_unpack(struct socket *s, struct mp_cursor *c)
{
	uint32_t count;
	enum err err = mp_read_array(c, &count);

	for (; err == ERR_OK && count; count--)
		err = ack_unpack(s, c);
	return err;
}

void apps_pack(const struct socket *s, msgpack_packer *pk)
{
	const struct namespace *ns = s->ns;
	struct buf values = BUF_INIT;
	msgpack_packer inner;
	size_t count = 0;

	mp_packer(&inner, &values);
	for (size_t i = 0; i < ns->apps_n; i++) {
		struct buf value = BUF_INIT;
		msgpack_packer one;

		mp_packer(&one, &value);
		if (ns->apps[i]->ops->pack &&
		    ns->apps[i]->ops->pack(ns->apps[i]->state, s, &one)) {
			mp_pack_str(&inner, slice_str(ns->apps[i]->ops->name));
			mp_pack_raw(&inner, buf_view(&value));
			count++;
		}
		buf_deinit(&value);
	}
	msgpack_pack_map(pk, count);
	mp_pack_raw(pk, buf_view(&values));
	buf_deinit(&values);
}

enum err apps_unpack(struct socket *s, struct mp_cursor *c)
{
	struct slice name, value;
	uint32_t count;
	enum err err = mp_read_map(c, &count);

	for (; err == ERR_OK && count; count--) {
		struct app *app;

		err = mp_read_str(c, &name);
		if (err == ERR_OK)
			err = mp_take(c, &value);
		app = err == ERR_OK ? node_app(s->ns->node, name) : NULL;
		if (app && app->ops->unpack)
			err = app->ops->unpack(app->state, s, value);
	}
	return err;
}

void acks_each(const struct node *n, const struct app *app,
	       void (*fn)(void *arg, struct socket *s, struct slice tag,
			  uint64_t left_ms),
	       void *arg)
{
	uint64_t now = env_now_ms(n->env);

	for (struct link *l = n->acks.next; l != &n->acks; l = l->next) {
		const struct ack *a = container_of(l, struct ack, of_node);

		if (a->app == app)
			fn(arg, a->socket, slice_of(a->tag, a->tag_n),
			   env_ms_left(a->at, now));
	}
}

void socket_on_ack(struct socket *s, const struct sio_packet *packet)
{
	struct link *l, *tmp;

	s->ns->node->metrics.acks_in++;
	list_each(l, tmp, &s->acks)
	{
		struct ack *a = container_of(l, struct ack, of_socket);

		if (a->id == packet->id) {
			finish_ack(a, ERR_OK, packet->data);
			return;
		}
	}
}

void acks_tick(struct node *n, uint64_t now)
{
	struct link *l;

	while ((l = list_first(&n->acks))) {
		struct ack *a = container_of(l, struct ack, of_node);

		if (a->at > now)
			return;
		finish_ack(a, ERR_TIMEOUT, SLICE_EMPTY);
	}
}

uint64_t acks_next(const struct node *n)
{
	return list_empty(&n->acks) ? UINT64_MAX
				    : container_of(n->acks.next, struct ack, of_node)->at;
}
