#include "gateway/broadcast.h"

#include "gateway/conn.h"
#include "gateway/namespace.h"
#include "gateway/node.h"
#include "gateway/recovery.h"
#include "gateway/rooms.h"
#include "gateway/socket.h"

/* One message on its way out. The frame of an encoding is made when the first receiver
 * that takes it is met: most multi-room messages meet none on most nodes. */
struct delivery {
	struct node *node;
	struct namespace *ns;
	const struct cluster_broadcast *b;
	struct frame *frames[FRAME_ENCODINGS];
	bool bad; /* could not be encoded */
};

/* The event as this client is to get it: where there is recovery, with its offset. One
 * that has none only needs one where the client would take its last argument for it. */
static struct slice data_for(struct delivery *d, const struct socket *s)
{
	struct slice offset = d->b->offset;
	struct buf *out = &d->node->encode;

	if (!s->recovery || (!offset.n && !recovery_needs_offset(d->b->data)))
		return d->b->data;
	if (!offset.n)
		adapter_position(d->node->adapter, &offset);
	buf_clear(out);
	recovery_put_offset(d->b->data, offset, out);
	return buf_view(out);
}

static void deliver(struct delivery *d, struct socket *s)
{
	enum frame_encoding encoding = conn_encoding(s->conn);
	struct frame **frame = &d->frames[encoding];

	if (d->bad || s->missed)
		return;
	if (!*frame) {
		const struct sio_packet packet = {
			.type = SIO_EVENT, .nsp = d->ns->name, .data = data_for(d, s)};

		if (node_frame(d->node, &packet, encoding, frame) != ERR_OK) {
			d->bad = true;
			d->node->malformed++;
			return;
		}
	}
	d->node->metrics.events_out++;
	conn_send(s->conn, *frame, d->b->flags & CLUSTER_VOLATILE);
}

static struct socket *own_id_socket(const struct namespace *ns, struct slice room)
{
	return id_is(room) ? table_get(&ns->sockets, room) : NULL;
}

/* Sockets carry the number of the last broadcast that met them: who is excepted, or had
 * it through another room, is passed over. */
static void mark_excepted(struct delivery *d, uint64_t mark)
{
	for (size_t i = 0; i < d->b->except_n; i++) {
		const struct room *r = table_get(&d->ns->rooms, d->b->except[i]);
		struct socket *own = own_id_socket(d->ns, d->b->except[i]);

		if (own)
			own->mark = mark;
		for (uint32_t j = 0; r && j < r->n; j++)
			r->members[j]->socket->mark = mark;
	}
}

static void deliver_marked(struct delivery *d, struct socket *s, uint64_t mark)
{
	if (s->mark == mark)
		return;
	s->mark = mark;
	deliver(d, s);
}

static void to_rooms(struct delivery *d, uint64_t mark)
{
	for (size_t i = 0; i < d->b->rooms_n; i++) {
		const struct room *r = table_get(&d->ns->rooms, d->b->rooms[i]);
		struct socket *own = own_id_socket(d->ns, d->b->rooms[i]);

		if (own)
			deliver_marked(d, own, mark);
		for (uint32_t j = 0; r && j < r->n; j++)
			deliver_marked(d, r->members[j]->socket, mark);
	}
}

static void to_namespace(struct delivery *d, uint64_t mark)
{
	struct socket *s;
	size_t pos = 0;

	while ((s = table_next(&d->ns->sockets, &pos)))
		deliver_marked(d, s, mark);
}

void broadcast_deliver(struct node *n, const struct cluster_broadcast *b)
{
	struct delivery d = {.node = n, .ns = node_namespace(n, b->nsp), .b = b};
	uint64_t mark;

	if (!d.ns)
		return;
	mark = ++n->mark;
	mark_excepted(&d, mark);
	if (b->rooms_n)
		to_rooms(&d, mark);
	else
		to_namespace(&d, mark);
	for (size_t i = 0; i < FRAME_ENCODINGS; i++)
		frame_unref(d.frames[i]);
}
