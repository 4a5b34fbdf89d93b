#include "proto/relay.h"

#include "proto/mp.h"

enum { FIELDS = 8 };

void relay_encode(const struct relay_message *m, struct buf *out)
{
	msgpack_packer pk;

	mp_packer(&pk, out);
	msgpack_pack_array(&pk, FIELDS);
	msgpack_pack_uint8(&pk, (uint8_t)m->type);
	msgpack_pack_uint64(&pk, m->number);
	mp_pack_bin(&pk, m->sid);
	msgpack_pack_uint8(&pk, m->version);
	msgpack_pack_uint8(&pk, m->kind);
	msgpack_pack_uint8(&pk, m->error);
	if (m->binary)
		msgpack_pack_true(&pk);
	else
		msgpack_pack_false(&pk);
	mp_pack_bin(&pk, m->body);
}

static enum err read_small(struct mp_cursor *c, int64_t max, uint8_t *out)
{
	int64_t i;
	enum err err = mp_take_int(c, 0, max, &i);

	if (err == ERR_OK)
		*out = (uint8_t)i;
	return err;
}

static enum err read_typed(struct mp_cursor *c, enum mp_type type, struct mp_value *v)
{
	enum err err = mp_read(c, v);

	return err ? err : v->type == type ? ERR_OK : ERR_SYNTAX;
}

enum err relay_decode(struct slice bytes, struct relay_message *m)
{
	struct mp_cursor c = mp_cursor_of(bytes);
	struct mp_value sid, binary, body;
	struct relay_message out = {0};
	uint32_t count;
	uint8_t type = 0;
	int64_t number = 0;
	enum err err = mp_read_array(&c, &count);

	if (err == ERR_OK && count != FIELDS)
		err = ERR_SYNTAX;
	if (err == ERR_OK)
		err = read_small(&c, RELAY_TYPES - 1, &type);
	if (err == ERR_OK)
		err = mp_take_int(&c, 0, INT64_MAX, &number);
	if (err == ERR_OK)
		err = read_typed(&c, MP_BIN, &sid);
	if (err == ERR_OK)
		err = read_small(&c, UINT8_MAX, &out.version);
	if (err == ERR_OK)
		err = read_small(&c, UINT8_MAX, &out.kind);
	if (err == ERR_OK)
		err = read_small(&c, UINT8_MAX, &out.error);
	if (err == ERR_OK)
		err = read_typed(&c, MP_BOOL, &binary);
	if (err == ERR_OK)
		err = read_typed(&c, MP_BIN, &body);
	if (err == ERR_OK && c.p != c.end)
		err = ERR_SYNTAX;
	if (err != ERR_OK)
		return err;
	out.type = (enum relay_type)type;
	out.number = (uint64_t)number;
	out.sid = sid.bytes;
	out.binary = binary.b;
	out.body = body.bytes;
	*m = out;
	return ERR_OK;
}
