#include "proto/sio_msgpack.h"

#include <assert.h>

#include "proto/utf8.h"

enum {
	TAG_FIXEXT1 = 0xd4,
	TAG_FIXEXT8 = 0xd7,
	EXT_NOTEPACK2 = 0, /* notepack 2: undefined, dates, ArrayBuffers */
	/* What a binary may add to the depth once it is JSON text: an ext that is no
	 * ArrayBuffer is a placeholder within an array. */
	BIN_LEVELS = 1,
	EXT_LEVELS = 2,
};

struct level {
	uint64_t left; /* tokens to come; of a map keys and values */
	bool map;
};

/* A walk over one value. */
struct walk {
	struct level levels[MP_DEPTH_MAX];
	unsigned depth;
	size_t binaries;
};

static enum err check_binary(struct walk *w, const struct sio_limits *limits,
			     unsigned levels)
{
	if (++w->binaries > limits->attachments_max)
		return ERR_TOO_MANY;
	return w->depth + levels > MP_DEPTH_MAX ? ERR_DEPTH : ERR_OK;
}

static enum err check_key(const struct mp_value *v)
{
	switch (v->type) {
	case MP_STR:
	case MP_BIN: /* a key as text, in JSON */
		return utf8_ok(v->bytes) ? ERR_OK : ERR_SYNTAX;
	case MP_EXT:
	case MP_ARRAY:
	case MP_MAP:
		return ERR_SYNTAX;
	case MP_NIL:
	case MP_BOOL:
	case MP_INT:
	case MP_UINT:
	case MP_DOUBLE:
		break;
	}
	return ERR_OK;
}

static enum err check_token(struct walk *w, const struct sio_limits *limits, uint8_t tag,
			    const struct mp_value *v)
{
	switch (v->type) {
	case MP_STR:
		return utf8_ok(v->bytes) ? ERR_OK : ERR_SYNTAX;
	case MP_BIN:
		return check_binary(w, limits, BIN_LEVELS);
	case MP_EXT:
		if (v->ext == EXT_NOTEPACK2 && (tag == TAG_FIXEXT1 || tag == TAG_FIXEXT8))
			return ERR_OK;
		return check_binary(w, limits, EXT_LEVELS);
	case MP_ARRAY:
	case MP_MAP:
		return w->depth == MP_DEPTH_MAX ? ERR_DEPTH : ERR_OK;
	case MP_NIL:
	case MP_BOOL:
	case MP_INT:
	case MP_UINT:
	case MP_DOUBLE:
		break;
	}
	return ERR_OK;
}

/* Step over one value if it is what JSON text could have brought. */
static enum err check_value(struct mp_cursor *c, const struct sio_limits *limits)
{
	struct walk w;

	w.depth = 0;
	w.binaries = 0;
	do {
		const uint8_t *tag = c->p;
		struct level *top = w.depth ? &w.levels[w.depth - 1] : NULL;
		struct mp_value v;
		enum err err = mp_read(c, &v);

		if (!err)
			err = top && top->map && top->left % 2 == 0
				      ? check_key(&v)
				      : check_token(&w, limits, *tag, &v);
		if (err)
			return err;
		if (top)
			top->left--;
		if (v.type == MP_ARRAY || v.type == MP_MAP)
			w.levels[w.depth++] =
				(struct level){(uint64_t)v.count << (v.type == MP_MAP),
					       v.type == MP_MAP};
		while (w.depth && !w.levels[w.depth - 1].left)
			w.depth--;
	} while (w.depth);
	return ERR_OK;
}

/* The values a packet is made of, encoded; empty if missing. */
struct fields {
	struct slice type, nsp, data, id;
};

static struct slice *field_of(struct fields *f, struct slice key)
{
	if (slice_eq(key, SLICE_LIT("type")))
		return &f->type;
	if (slice_eq(key, SLICE_LIT("nsp")))
		return &f->nsp;
	if (slice_eq(key, SLICE_LIT("data")))
		return &f->data;
	return slice_eq(key, SLICE_LIT("id")) ? &f->id : NULL;
}

static bool is_undefined(struct slice value)
{
	return value.n == 3 && value.p[0] == TAG_FIXEXT1 && value.p[1] == EXT_NOTEPACK2;
}

static enum err read_fields(const struct sio_limits *limits, struct slice bytes,
			    struct fields *f)
{
	struct mp_cursor c = mp_cursor_of(bytes);
	uint32_t count;
	enum err err = mp_read_map(&c, &count);

	*f = (struct fields){SLICE_EMPTY, SLICE_EMPTY, SLICE_EMPTY, SLICE_EMPTY};
	for (; !err && count; count--) {
		const uint8_t *start;
		struct slice key, *field;

		err = mp_read_str(&c, &key);
		start = c.p;
		if (!err)
			err = check_value(&c, limits);
		if (err)
			break;
		field = field_of(f, key);
		if (!field)
			continue;
		*field = slice_of(start, (size_t)(c.p - start));
		if (is_undefined(*field))
			*field = SLICE_EMPTY;
	}
	return !err && c.p != c.end ? ERR_SYNTAX : err;
}

static enum err read_nsp(struct slice value, struct sio_packet *packet)
{
	const uint8_t *query;
	struct slice nsp;

	if (!value.n || mp_get_str(value, &nsp))
		return ERR_SYNTAX;
	query = nsp.n ? memchr(nsp.p, '?', nsp.n) : NULL;
	packet->nsp = query ? slice_of(nsp.p, (size_t)(query - nsp.p)) : nsp;
	packet->query = query ? slice_skip(nsp, packet->nsp.n + 1) : SLICE_EMPTY;
	return ERR_OK;
}

enum err sio_msgpack_decode(const struct sio_limits *limits, struct slice bytes,
			    struct sio_packet *packet)
{
	struct sio_packet p = {.type = SIO_CONNECT};
	struct fields f;
	int64_t type, id = 0;
	enum err err;

	if (bytes.n > limits->bytes_max)
		return ERR_TOO_BIG;
	err = read_fields(limits, bytes, &f);
	if (err)
		return err;
	if (!f.type.n || mp_get_int(f.type, SIO_CONNECT, SIO_CONNECT_ERROR, &type))
		return ERR_SYNTAX;
	p.type = (enum sio_type)type;
	p.data = f.data;
	p.has_id = f.id.n > 0;
	if (p.has_id && mp_get_int(f.id, 0, (int64_t)SIO_ACK_ID_MAX, &id))
		return ERR_SYNTAX;
	p.id = (uint64_t)id;
	if (read_nsp(f.nsp, &p) || !sio_payload_ok(p.type, p.data))
		return ERR_SYNTAX;
	/* As text it may be without one. */
	if (p.type == SIO_CONNECT_ERROR && !p.data.n)
		return ERR_SYNTAX;
	*packet = p;
	return ERR_OK;
}

enum err sio_msgpack_encode(const struct sio_packet *packet, struct buf *out)
{
	struct mp_cursor c = mp_cursor_of(packet->data);
	msgpack_packer pk;

	assert(packet->type <= SIO_CONNECT_ERROR);
	assert(!packet->has_id || packet->id <= SIO_ACK_ID_MAX);
	if (packet->data.n) {
		enum err err = mp_skip(&c);

		if (!err && c.p != c.end)
			err = ERR_SYNTAX;
		if (err)
			return err;
	}
	mp_packer(&pk, out);
	msgpack_pack_map(&pk, 2 + (size_t)(packet->data.n > 0) + (size_t)packet->has_id);
	mp_pack_str(&pk, SLICE_LIT("type"));
	msgpack_pack_int(&pk, (int)packet->type);
	if (packet->data.n) {
		mp_pack_str(&pk, SLICE_LIT("data"));
		mp_pack_raw(&pk, packet->data);
	}
	mp_pack_str(&pk, SLICE_LIT("nsp"));
	mp_pack_str(&pk, packet->nsp.n ? packet->nsp : SLICE_LIT("/"));
	if (packet->has_id) {
		mp_pack_str(&pk, SLICE_LIT("id"));
		msgpack_pack_uint64(&pk, packet->id);
	}
	return ERR_OK;
}
