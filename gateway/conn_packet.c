#include "gateway/conn_packet.h"

#include <assert.h>

#include "gateway/auth.h"
#include "gateway/log.h"
#include "gateway/namespace.h"
#include "gateway/node.h"
#include "gateway/resume.h"
#include "gateway/socket.h"
#include "proto/query.h"
#include "proto/sio_msgpack.h"

/* CONNECT_ERROR {message}, or for version 3 the message alone. The client gives the
 * namespace up for good, so this is for what trying again would not change. */
static void refuse(struct conn *c, struct slice nsp, const char *message)
{
	struct node *n = c->node;
	struct buf data = BUF_INIT;
	msgpack_packer pk;
	struct sio_packet packet = {.type = SIO_CONNECT_ERROR, .nsp = nsp};
	struct frame *f;

	mp_packer(&pk, &data);
	if (c->version != 3) {
		msgpack_pack_map(&pk, 1);
		mp_pack_str(&pk, SLICE_LIT("message"));
	}
	mp_pack_str(&pk, slice_str(message));
	packet.data = buf_view(&data);
	if (node_frame(n, &packet, conn_encoding(c), &f) == ERR_OK) {
		conn_send(c, f, false);
		frame_unref(f);
	}
	buf_deinit(&data);
	n->metrics.connects_refused++;
}

/* False: the backend is away, the CONNECT has to wait. */
static bool connect_with(struct conn *c, const struct sio_packet *packet,
			 struct slice auth)
{
	struct node *n = c->node;
	struct namespace *ns = node_namespace(n, packet->nsp);
	struct auth_result who;

	if (!ns) {
		refuse(c, packet->nsp, "Invalid namespace");
		return true;
	}
	if (c->sockets_n >= n->config->max_namespaces) {
		refuse(c, packet->nsp, "too many namespaces");
		return true;
	}
	auth_check(n->config, ns->config, n->env, auth, &who);
	if (who.refused) {
		refuse(c, packet->nsp, who.refused);
		return true;
	}
	if (!n->backend_up) {
		free(who.user);
		conn_wait_backend(c);
		return false;
	}
	if (resume_begin(c, ns, who.user, who.expires_ms, auth))
		return true;
	conn_on_connected(c);
	socket_open(c, ns, who.user, who.expires_ms, auth);
	return true;
}

/* Clients of version 3 have no auth; what they add to a namespace's name stands for it.
 * To
 * "/" they are connected without a word of theirs, once: its socket has the conn's id,
 * which must not be another's later. */
static bool on_connect(struct conn *c, const struct sio_packet *packet)
{
	bool is_root = slice_eq(packet->nsp, SLICE_LIT("/"));
	struct buf auth = BUF_INIT;
	bool handled;

	if (c->version != 3)
		return connect_with(c, packet, packet->data);
	if (is_root && c->rooted) {
		conn_close(c, CONN_CLOSE_PARSE_ERROR);
		return true;
	}
	if (packet->query.n)
		query_to_mp(packet->query, &auth);
	handled = connect_with(c, packet, buf_view(&auth));
	if (is_root && handled)
		c->rooted = true;
	buf_deinit(&auth);
	return handled;
}

static struct socket *find_socket(const struct conn *c, struct slice nsp)
{
	for (struct socket *s = c->sockets; s; s = s->conn_next) {
		if (slice_eq(s->ns->name, nsp))
			return s;
	}
	return NULL;
}

/* As the reference does: a packet that does not fit the state ends the conn. */
static bool on_sio(struct conn *c, const struct sio_packet *packet)
{
	struct socket *s = find_socket(c, packet->nsp);

	switch (packet->type) {
	case SIO_CONNECT:
		if (s)
			break;
		return on_connect(c, packet);
	case SIO_DISCONNECT:
		if (!s)
			break;
		socket_close(s, "client namespace disconnect");
		return true;
	case SIO_EVENT:
		if (!s)
			break;
		socket_on_event(s, packet);
		return true;
	case SIO_ACK:
		if (!s || !packet->has_id)
			break;
		socket_on_ack(s, packet);
		return true;
	case SIO_CONNECT_ERROR:
	case SIO_BINARY_EVENT:
	case SIO_BINARY_ACK:
		break;
	}
	conn_close(c, CONN_CLOSE_PARSE_ERROR);
	return true;
}

static void parse_error(struct conn *c, enum err err)
{
	char address[ADDRESS_TEXT_MAX];

	if (log_enabled(LOG_DEBUG))
		log_event(LOG_DEBUG, "packet_refused", "conn=%.*s address=%s msg=%s",
			  ID_LEN, c->id, address_print(&c->address, address),
			  err_text(err));
	conn_close(c, err == ERR_TOO_BIG ? CONN_CLOSE_TOO_BIG : CONN_CLOSE_PARSE_ERROR);
}

/* The decoder is dropped when nothing is due, since most conns never send a binary. */
static bool on_json(struct conn *c, const struct sio_limits *limits, struct slice bytes,
		    bool binary)
{
	struct node *n = c->node;
	struct sio_packet packet;
	bool complete, handled = true;
	enum err err;

	if (!c->decoder)
		c->decoder = sio_decoder_new();
	if (binary)
		err = sio_decode_binary(c->decoder, limits, bytes, &n->decode, &packet,
					&complete);
	else
		err = sio_decode_text(c->decoder, limits, bytes, &n->decode, &packet,
				      &complete);
	if (err != ERR_OK)
		parse_error(c, err);
	else if (complete)
		handled = on_sio(c, &packet);
	if (err != ERR_OK || !sio_decoder_busy(c->decoder)) {
		sio_decoder_free(c->decoder);
		c->decoder = NULL;
	}
	buf_clear(&n->decode);
	buf_trim(&n->decode, NODE_SCRATCH_KEEP);
	return handled;
}

static bool on_msgpack(struct conn *c, const struct sio_limits *limits,
		       struct slice bytes, bool binary)
{
	struct sio_packet packet;
	enum err err = ERR_SYNTAX;

	if (binary)
		err = sio_msgpack_decode(limits, bytes, &packet);
	if (err == ERR_OK)
		return on_sio(c, &packet);
	parse_error(c, err);
	return true;
}

static bool on_message(struct conn *c, struct slice bytes, bool binary)
{
	const struct config *config = c->node->config;
	const struct sio_limits limits = {
		.attachments_max = config->max_attachments,
		.bytes_max = config->max_http_buffer_size,
	};

	if (c->parser == PARSER_AUTO)
		c->parser = binary ? PARSER_MSGPACK : PARSER_JSON;
	return c->parser == PARSER_MSGPACK ? on_msgpack(c, &limits, bytes, binary)
					   : on_json(c, &limits, bytes, binary);
}

bool conn_packet(struct conn *c, struct slice bytes, bool binary)
{
	struct eio_packet packet;

	assert((c->state == CONN_OPEN || c->state == CONN_LEAVING) && !c->holds);
	if (binary)
		return on_message(c, bytes, true);
	if (eio_decode(bytes, &packet) != ERR_OK) {
		parse_error(c, ERR_SYNTAX);
		return true;
	}
	switch (packet.type) {
	case EIO_MESSAGE:
		return on_message(c, packet.data, false);
	case EIO_PONG:
		if (c->version == 3)
			conn_close(c, CONN_CLOSE_PARSE_ERROR);
		else
			conn_on_pong(c);
		break;
	case EIO_CLOSE:
		conn_close(c, packet.data.n ? CONN_CLOSE_PARSE_ERROR : CONN_CLOSE_PEER);
		break;
	case EIO_PING: /* in version 4 the server pings */
		if (c->version == 3)
			conn_on_ping(c);
		else
			conn_close(c, CONN_CLOSE_PARSE_ERROR);
		break;
	case EIO_OPEN:
	case EIO_UPGRADE:
	case EIO_NOOP:
		break; /* ignored, as the reference does */
	}
	return true;
}
