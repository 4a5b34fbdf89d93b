#include "gateway/move_state.h"

#include <stdlib.h>

#include "gateway/node.h"
#include "gateway/recovery.h"
#include "gateway/rooms.h"
#include "gateway/text.h"
#include "proto/mem.h"
#include "proto/mp.h"

enum {
	STATE_FIELDS = 7,
	SOCKET_FIELDS = 6,
	SOCKET_REST = 3,
	ROOM_PRESENCE = RECOVERY_PRESENCE,
	ROOM_ANNOUNCE = RECOVERY_ANNOUNCE,
	ROOM_INVITED = RECOVERY_INVITED,
};

/* --- packing --- */

static void pack_bool(msgpack_packer *pk, bool b)
{
	if (b)
		msgpack_pack_true(pk);
	else
		msgpack_pack_false(pk);
}

static void pack_socket(msgpack_packer *pk, const struct socket *s)
{
	msgpack_pack_array(pk, SOCKET_FIELDS);
	mp_pack_str(pk, s->ns->name);
	mp_pack_str(pk, socket_id(s));
	if (s->user)
		mp_pack_str(pk, socket_user(s));
	else
		msgpack_pack_nil(pk);
	msgpack_pack_uint64(pk, s->expires_ms);
	msgpack_pack_array(pk, 2 * (size_t)s->rooms_n);
	for (struct link *l = s->members.next; l != &s->members; l = l->next) {
		const struct member *m = container_of(l, struct member, of_socket);

		mp_pack_str(pk, m->room->name);
		msgpack_pack_uint8(pk, (uint8_t)((m->presence ? ROOM_PRESENCE : 0) |
						 (m->announce ? ROOM_ANNOUNCE : 0) |
						 (m->invited ? ROOM_INVITED : 0)));
	}
	recovery_pack(s, pk);
}

static void pack_fed(msgpack_packer *pk, const struct sio_decoder *d)
{
	struct slice piece;
	size_t n = 0;

	while (d && sio_decoder_fed(d, n, &piece))
		n++;
	msgpack_pack_array(pk, n);
	for (size_t i = 0; d && sio_decoder_fed(d, i, &piece); i++)
		mp_pack_bin(pk, piece);
}

void move_state_pack(const struct conn *c, struct buf *out)
{
	uint64_t now = env_now_ms(c->node->env);
	msgpack_packer pk;

	mp_packer(&pk, out);
	msgpack_pack_array(&pk, STATE_FIELDS);
	msgpack_pack_uint8(&pk, (uint8_t)c->parser);
	pack_bool(&pk, c->awaiting_pong);
	msgpack_pack_uint64(&pk, env_ms_left(c->heartbeat_at, now));
	/* 0: it does not wait; so one whose time is up has a moment left. */
	msgpack_pack_uint64(&pk, c->waiting_at ? env_ms_left(c->waiting_at, now) + 1 : 0);
	msgpack_pack_int64(&pk, c->rate_credit);
	pack_fed(&pk, c->decoder);
	msgpack_pack_array(&pk, c->sockets_n);
	for (const struct socket *s = c->sockets; s; s = s->conn_next)
		pack_socket(&pk, s);
}

static void pack_outbox(msgpack_packer *pk, const struct outbox *o)
{
	msgpack_pack_bin(pk, o->bytes);
	for (uint32_t i = 0; i < o->count; i++) {
		struct slice f = frame_view(outbox_at(o, i));

		msgpack_pack_bin_body(pk, f.p, f.n);
	}
}

void move_rest_pack(const struct conn *c, struct buf *out)
{
	msgpack_packer pk;

	mp_packer(&pk, out);
	msgpack_pack_array(&pk, 3);
	msgpack_pack_array(&pk, SOCKET_REST * (size_t)c->sockets_n);
	for (const struct socket *s = c->sockets; s; s = s->conn_next) {
		mp_pack_str(&pk, socket_id(s));
		acks_pack(s, &pk);
		apps_pack(s, &pk);
	}
	msgpack_pack_uint32(&pk, c->outbox.count);
	pack_outbox(&pk, &c->outbox);
}

/* --- unpacking --- */

static enum err read_typed(struct mp_cursor *c, enum mp_type type, struct mp_value *v)
{
	enum err err = mp_read(c, v);

	return err ? err : v->type == type ? ERR_OK : ERR_SYNTAX;
}

static enum err unpack_fed(struct conn *c, struct mp_cursor *cur)
{
	struct node *n = c->node;
	const struct sio_limits limits = {
		.attachments_max = n->config->max_attachments,
		.bytes_max = n->config->max_http_buffer_size,
	};
	uint32_t count;
	enum err err = mp_read_array(cur, &count);

	if (err == ERR_OK && count)
		c->decoder = sio_decoder_new();
	for (uint32_t i = 0; err == ERR_OK && i < count; i++) {
		struct sio_packet packet;
		struct mp_value piece;
		bool complete = false;

		err = read_typed(cur, MP_BIN, &piece);
		if (err == ERR_OK && i == 0)
			err = sio_decode_text(c->decoder, &limits, piece.bytes,
					      &n->decode, &packet, &complete);
		else if (err == ERR_OK)
			err = sio_decode_binary(c->decoder, &limits, piece.bytes,
						&n->decode, &packet, &complete);
		if (err == ERR_OK && complete)
			err = ERR_SYNTAX; /* it was not complete there */
	}
	buf_clear(&n->decode);
	buf_trim(&n->decode, NODE_SCRATCH_KEEP);
	return err;
}

static enum err unpack_rooms(struct socket *s, struct mp_cursor *c,
			     move_want_room_fn *want_room, void *arg)
{
	uint32_t count;
	enum err err = mp_read_array(c, &count);

	for (; err == ERR_OK && count >= 2; count -= 2) {
		struct slice room;
		int64_t flags = 0;

		err = mp_read_str(c, &room);
		if (err == ERR_OK && (!room.n || id_is(room)))
			err = ERR_SYNTAX;
		if (err == ERR_OK)
			err = mp_take_int(c, 0, UINT8_MAX, &flags);
		if (err == ERR_OK)
			want_room(arg, s, room, (unsigned)flags);
	}
	return err == ERR_OK && count ? ERR_SYNTAX : err;
}

static struct socket *socket_of(const struct conn *c, struct slice id)
{
	for (struct socket *s = c->sockets; s; s = s->conn_next) {
		if (slice_eq(socket_id(s), id))
			return s;
	}
	return NULL;
}

static enum err unpack_socket(struct conn *c, struct mp_cursor *cur,
			      move_want_room_fn *want_room, void *arg)
{
	struct slice nsp, id;
	struct mp_value user;
	struct namespace *ns;
	struct socket *s;
	int64_t expires;
	uint32_t fields;
	enum err err;

	if (mp_read_array(cur, &fields) != ERR_OK || fields != SOCKET_FIELDS ||
	    mp_read_str(cur, &nsp) != ERR_OK || mp_read_str(cur, &id) != ERR_OK ||
	    mp_read(cur, &user) != ERR_OK ||
	    mp_take_int(cur, 0, INT64_MAX, &expires) != ERR_OK)
		return ERR_SYNTAX;
	ns = node_namespace(c->node, nsp);
	if (!ns) /* two nodes of one cluster that are configured differently */
		return ERR_NOT_FOUND;
	if (!id_is(id) || table_get(&ns->sockets, id) || socket_of(c, id) ||
	    c->sockets_n == UINT16_MAX || (user.type != MP_NIL && user.type != MP_STR))
		return ERR_SYNTAX;
	if (user.type == MP_STR && !text_is_plain(user.bytes))
		return ERR_SYNTAX;
	s = socket_arrive(c, ns, id,
			  user.type == MP_STR ? mem_strndup(user.bytes.p, user.bytes.n)
					      : NULL,
			  (uint64_t)expires);
	err = unpack_rooms(s, cur, want_room, arg);
	return err ? err : recovery_unpack(s, cur);
}

enum err move_state_unpack(struct conn *c, struct slice state,
			   move_want_room_fn *want_room, void *arg)
{
	struct mp_cursor cur = mp_cursor_of(state);
	uint64_t now = env_now_ms(c->node->env);
	int64_t heartbeat = 0, waiting = 0, credit = 0, parser = 0;
	struct mp_value awaiting = {0};
	uint32_t count = 0;
	enum err err = mp_read_array(&cur, &count);

	if (err == ERR_OK && count != STATE_FIELDS)
		err = ERR_SYNTAX;
	if (err == ERR_OK)
		err = mp_take_int(&cur, PARSER_AUTO, PARSER_MSGPACK, &parser);
	if (err == ERR_OK)
		err = read_typed(&cur, MP_BOOL, &awaiting);
	if (err == ERR_OK)
		err = mp_take_int(&cur, 0, INT64_MAX / 2, &heartbeat);
	if (err == ERR_OK)
		err = mp_take_int(&cur, 0, INT64_MAX / 2, &waiting);
	if (err == ERR_OK)
		err = mp_take_int(&cur, INT64_MIN / 2, INT64_MAX / 2, &credit);
	if (err == ERR_OK)
		err = unpack_fed(c, &cur);
	if (err == ERR_OK)
		err = mp_read_array(&cur, &count);
	for (; err == ERR_OK && count; count--)
		err = unpack_socket(c, &cur, want_room, arg);
	if (err != ERR_OK)
		return err;
	c->parser = (enum conn_parser)parser;
	c->awaiting_pong = awaiting.b;
	c->heartbeat_at = now + (uint64_t)heartbeat;
	c->waiting_at = waiting ? now + (uint64_t)waiting : 0;
	c->rate_credit = credit;
	return ERR_OK;
}

/* Those that are named stay, and get the answers they are owed and what applications know
 * of them. */
static enum err unpack_left(struct conn *c, struct mp_cursor *cur)
{
	struct socket *all = c->sockets, *s;
	uint32_t count;
	enum err err = mp_read_array(cur, &count);

	for (s = all; s; s = s->conn_next)
		s->mark = 0;
	for (; err == ERR_OK && count >= SOCKET_REST; count -= SOCKET_REST) {
		struct slice id;

		err = mp_read_str(cur, &id);
		s = err == ERR_OK ? socket_of(c, id) : NULL;
		if (!s)
			return ERR_SYNTAX;
		s->mark = UINT64_MAX;
		err = acks_unpack(s, cur);
		if (err == ERR_OK)
			err = apps_unpack(s, cur);
	}
	for (struct socket *next = all; err == ERR_OK && (s = next);) {
		next = s->conn_next;
		if (s->mark != UINT64_MAX)
			socket_drop(s);
		else
			s->mark = 0;
	}
	return err == ERR_OK && count ? ERR_SYNTAX : err;
}

enum err move_rest_unpack(struct conn *c, struct slice rest)
{
	struct mp_cursor cur = mp_cursor_of(rest);
	struct mp_value frames;
	int64_t packets = 0;
	uint32_t count;
	enum err err = mp_read_array(&cur, &count);

	if (err == ERR_OK && count != 3)
		err = ERR_SYNTAX;
	if (err == ERR_OK)
		err = unpack_left(c, &cur);
	if (err == ERR_OK)
		err = mp_take_int(&cur, 0, UINT32_MAX, &packets);
	if (err == ERR_OK)
		err = read_typed(&cur, MP_BIN, &frames);
	if (err == ERR_OK && frames.bytes.n) {
		struct frame *f =
			frame_new(frames.bytes.n, packets > 0 ? (uint32_t)packets : 1);

		memcpy(f->bytes, frames.bytes.p, frames.bytes.n);
		outbox_prepend(&c->outbox, f);
		frame_unref(f);
	}
	return err;
}
