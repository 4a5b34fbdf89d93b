#include "proto/cluster.h"

#include <assert.h>
#include <stdlib.h>

#include "proto/id.h"
#include "proto/mem.h"
#include "proto/number.h"
#include "proto/sio.h"

enum {
	ROOMS_FEW = 16, /* rooms a first allocation has room for */
	OFFSET_DIGITS_MAX = 15,
};

/* Values looked for in a map; empty if it did not have them. */
struct field {
	struct slice key, value;
};

void cluster_rooms_deinit(struct cluster_rooms *r)
{
	free(r->v);
	buf_deinit(&r->numbers);
	*r = (struct cluster_rooms){0};
}

static void pack_rooms(msgpack_packer *pk, const struct slice *rooms, size_t n)
{
	msgpack_pack_array(pk, n);
	for (size_t i = 0; i < n; i++)
		mp_pack_str(pk, rooms[i]);
}

void cluster_encode(const struct cluster_broadcast *b, struct buf *out)
{
	msgpack_packer pk;

	assert(b->uid.n > 0);
	assert(b->data.n > 0);
	assert(!(b->flags & CLUSTER_LOCAL));
	mp_packer(&pk, out);
	msgpack_pack_array(&pk, 3);
	mp_pack_str(&pk, b->uid);
	msgpack_pack_map(&pk, 3);
	mp_pack_str(&pk, SLICE_LIT("type"));
	msgpack_pack_int(&pk, SIO_EVENT);
	mp_pack_str(&pk, SLICE_LIT("data"));
	mp_pack_raw(&pk, b->data);
	mp_pack_str(&pk, SLICE_LIT("nsp"));
	mp_pack_str(&pk, b->nsp);
	msgpack_pack_map(&pk, 3);
	mp_pack_str(&pk, SLICE_LIT("rooms"));
	pack_rooms(&pk, b->rooms, b->rooms_n);
	mp_pack_str(&pk, SLICE_LIT("except"));
	pack_rooms(&pk, b->except, b->except_n);
	mp_pack_str(&pk, SLICE_LIT("flags"));
	msgpack_pack_map(&pk, b->flags & CLUSTER_VOLATILE ? 1 : 0);
	if (b->flags & CLUSTER_VOLATILE) {
		mp_pack_str(&pk, SLICE_LIT("volatile"));
		msgpack_pack_true(&pk);
	}
}

/* Is it nothing: no bytes, nil, or notepack's undefined (ext 0 of one byte)? */
static bool is_none(struct slice value)
{
	struct mp_cursor c = mp_cursor_of(value);
	struct mp_value v;

	return !value.n || mp_read(&c, &v) || v.type == MP_NIL ||
	       (v.type == MP_EXT && v.ext == 0 && v.bytes.n == 1);
}

/* Read the map at the cursor. Values are taken one by one, so that the depth of `data`
 * counts from its own start, as it did where it was written. */
static enum err read_fields(struct mp_cursor *c, struct field *fields, size_t n)
{
	uint32_t count;
	enum err err = mp_read_map(c, &count);

	for (; !err && count; count--) {
		struct slice name = SLICE_EMPTY, value;

		/* A key that is no string is none of ours. */
		if (mp_read_str(c, &name) && (err = mp_skip(c)))
			break;
		err = mp_take(c, &value);
		if (err)
			break;
		for (size_t i = 0; i < n; i++) {
			if (slice_eq(name, fields[i].key))
				fields[i].value = value;
		}
	}
	return err;
}

/* As read_fields, for a map that may be absent or an empty array. */
static enum err read_optional_fields(struct slice value, struct field *fields, size_t n)
{
	static const uint8_t empty_array = 0x90;
	struct mp_cursor c = mp_cursor_of(value);

	if (is_none(value) || slice_eq(value, slice_of(&empty_array, 1)))
		return ERR_OK;
	return read_fields(&c, fields, n);
}

/* A room given as a number is noted by its length alone, since `numbers` moves as it
 * grows; place_numbers() fills in where it is. */
static enum err read_room(struct mp_cursor *c, struct buf *numbers, struct slice *room)
{
	char *text = (char *)buf_reserve(numbers, NUMBER_TEXT_MAX);
	struct mp_value v;
	size_t n = 0;
	enum err err = mp_read(c, &v);

	if (err)
		return err;
	if (v.type == MP_STR) {
		*room = v.bytes;
		return ERR_OK;
	}
	if (v.type == MP_INT && v.i >= -NUMBER_WHOLE_MAX && v.i <= NUMBER_WHOLE_MAX)
		n = number_format_int(text, v.i);
	else if (v.type == MP_INT)
		n = number_format(text, (double)v.i);
	else if (v.type == MP_UINT)
		n = number_format(text, (double)v.u);
	else if (v.type == MP_DOUBLE)
		n = number_format(text, v.d);
	if (!n)
		return ERR_SYNTAX;
	buf_commit(numbers, n);
	*room = slice_of(NULL, n);
	return ERR_OK;
}

static void place_numbers(struct cluster_rooms *r, size_t n)
{
	const uint8_t *at = r->numbers.p;

	for (size_t i = 0; i < n; i++) {
		if (!r->v[i].p && r->v[i].n) {
			r->v[i].p = at;
			at += r->v[i].n;
		}
	}
}

/* Append the rooms of `value` to the `at` that r->v holds already. */
static enum err read_rooms(struct slice value, struct cluster_rooms *r, size_t at,
			   size_t *n)
{
	struct mp_cursor c = mp_cursor_of(value);
	uint32_t count = 0;
	enum err err = is_none(value) ? ERR_OK : mp_read_array(&c, &count);

	if (err)
		return err;
	if (count > CLUSTER_ROOMS_MAX)
		return ERR_TOO_MANY;
	if (at + count > r->cap) {
		r->cap = r->cap ? r->cap : ROOMS_FEW;
		while (r->cap < at + count)
			r->cap *= 2;
		r->v = mem_realloc(r->v, r->cap * sizeof(*r->v));
	}
	for (uint32_t i = 0; i < count; i++) {
		err = read_room(&c, &r->numbers, &r->v[at + i]);
		if (err)
			return err;
	}
	*n = count;
	return ERR_OK;
}

static enum err read_opts(struct slice opts, struct cluster_rooms *r,
			  struct cluster_broadcast *b)
{
	struct field fields[] = {{SLICE_LIT("rooms"), SLICE_EMPTY},
				 {SLICE_LIT("except"), SLICE_EMPTY},
				 {SLICE_LIT("flags"), SLICE_EMPTY}};
	struct field flags[] = {{SLICE_LIT("volatile"), SLICE_EMPTY}};
	static const uint8_t mp_true = 0xc3;
	enum err err = read_optional_fields(opts, fields, 3);

	if (err)
		return err;
	buf_clear(&r->numbers);
	if ((err = read_rooms(fields[0].value, r, 0, &b->rooms_n)) ||
	    (err = read_rooms(fields[1].value, r, b->rooms_n, &b->except_n)) ||
	    (err = read_optional_fields(fields[2].value, flags, 1)))
		return err;
	place_numbers(r, b->rooms_n + b->except_n);
	b->rooms = r->v;
	b->except = r->v ? r->v + b->rooms_n : NULL;
	if (slice_eq(flags[0].value, slice_of(&mp_true, 1)))
		b->flags |= CLUSTER_VOLATILE;
	return ERR_OK;
}

static enum err read_packet(struct mp_cursor *c, struct cluster_broadcast *b)
{
	struct field fields[] = {{SLICE_LIT("type"), SLICE_EMPTY},
				 {SLICE_LIT("data"), SLICE_EMPTY},
				 {SLICE_LIT("nsp"), SLICE_EMPTY}};
	int64_t type;
	enum err err = read_fields(c, fields, 3);

	if (err)
		return err;
	b->nsp = SLICE_LIT("/");
	if (!is_none(fields[2].value) && mp_get_str(fields[2].value, &b->nsp))
		return ERR_SYNTAX;
	if (mp_get_int(fields[0].value, SIO_EVENT, SIO_EVENT, &type))
		return ERR_NOT_FOUND;
	b->data = fields[1].value;
	return sio_event_ok(b->data) ? ERR_OK : ERR_SYNTAX;
}

enum err cluster_offset(struct slice offset, struct slice *era, uint64_t *number)
{
	size_t dash = offset.n;
	uint64_t n = 0;

	while (dash && offset.p[dash - 1] != '-')
		dash--;
	/* An era and a dash, and a number JavaScript and Lua can hold. */
	if (dash < 2 || offset.n == dash || offset.n - dash > OFFSET_DIGITS_MAX)
		return ERR_SYNTAX;
	for (size_t i = dash; i < offset.n; i++) {
		if (offset.p[i] < '0' || offset.p[i] > '9')
			return ERR_SYNTAX;
		n = n * 10 + (uint64_t)(offset.p[i] - '0');
	}
	*era = slice_of(offset.p, dash - 1);
	*number = n;
	return ERR_OK;
}

/* Heads of arrays, of three and of four. */
enum { ENCODED = 0x93, NUMBERED = 0x94 };

void cluster_await_offset(struct buf *message)
{
	assert(message->n && message->p[0] == ENCODED);
	message->p[0] = NUMBERED;
}

void cluster_put_offset(struct buf *message, struct slice offset)
{
	msgpack_packer pk;

	assert(message->n && message->p[0] == NUMBERED);
	mp_packer(&pk, message);
	mp_pack_str(&pk, offset);
}

/* What numbered it; of peers that are no nodes it may be anything. */
static enum err read_offset(struct mp_cursor *c, struct cluster_broadcast *b)
{
	struct slice value, era;
	enum err err = mp_take(c, &value);

	if (err)
		return err;
	if (mp_get_str(value, &b->offset) ||
	    cluster_offset(b->offset, &era, &b->number)) {
		b->offset = SLICE_EMPTY;
		b->number = 0;
	}
	return ERR_OK;
}

enum err cluster_decode(struct slice message, struct cluster_rooms *rooms,
			struct cluster_broadcast *out)
{
	struct cluster_broadcast b = {0};
	struct mp_cursor c = mp_cursor_of(message);
	struct slice uid, opts = SLICE_EMPTY;
	enum err err, packet_err;
	uint32_t count;

	err = mp_read_array(&c, &count);
	if (err)
		return err;
	if (count < 2)
		return ERR_SYNTAX;
	if ((err = mp_take(&c, &uid)))
		return err;
	/* An adapter compares uids and goes on, whatever they are. */
	if (mp_get_str(uid, &b.uid))
		b.uid = SLICE_EMPTY;
	b.foreign = !slice_starts(b.uid, SLICE_LIT("gh-"));
	packet_err = read_packet(&c, &b);
	if (packet_err && packet_err != ERR_NOT_FOUND)
		return packet_err;
	if (count > 2 && (err = mp_take(&c, &opts)))
		return err;
	if (count > 3 && (err = read_offset(&c, &b)))
		return err;
	if (b.foreign) { /* nobody but us numbers */
		b.offset = SLICE_EMPTY;
		b.number = 0;
	}
	for (uint32_t i = 4; i < count; i++) {
		if ((err = mp_skip(&c)))
			return err;
	}
	if (c.p != c.end)
		return ERR_SYNTAX;
	err = read_opts(opts, rooms, &b);
	if (err || (err = packet_err))
		return err;
	*out = b;
	return ERR_OK;
}

void cluster_channel(struct slice prefix, struct slice nsp, const struct slice *rooms,
		     size_t rooms_n, struct buf *out)
{
	buf_slice(out, prefix);
	buf_byte(out, '#');
	buf_slice(out, nsp);
	buf_byte(out, '#');
	if (rooms_n == 1) {
		buf_slice(out, rooms[0]);
		buf_byte(out, '#');
	}
}

static bool is_glob(uint8_t c)
{
	return c == '*' || c == '?' || c == '[' || c == ']' || c == '\\';
}

/* What PSUBSCRIBE matches literally. */
static void put_escaped(struct buf *out, struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (is_glob(s.p[i]))
			buf_byte(out, '\\');
		buf_byte(out, s.p[i]);
	}
}

void cluster_ids_pattern(struct slice prefix, struct slice nsp, struct slice code,
			 struct buf *out)
{
	assert(code.n == NODE_CODE_LEN);
	put_escaped(out, prefix);
	buf_byte(out, '#');
	put_escaped(out, nsp);
	buf_byte(out, '#');
	put_escaped(out, code);
	for (size_t i = code.n; i < ID_LEN; i++)
		buf_byte(out, '?');
	buf_byte(out, '#');
}

enum err cluster_parse_channel(struct slice prefix, struct slice channel,
			       struct slice *nsp, struct slice *room)
{
	struct slice rest, name;
	const uint8_t *mark;

	if (!slice_starts(channel, prefix))
		return ERR_NOT_FOUND;
	rest = slice_skip(channel, prefix.n);
	if (!rest.n || rest.p[0] != '#')
		return ERR_NOT_FOUND;
	rest = slice_skip(rest, 1);
	mark = rest.n ? memchr(rest.p, '#', rest.n) : NULL;
	if (!mark)
		return ERR_NOT_FOUND;
	name = slice_of(rest.p, (size_t)(mark - rest.p));
	rest = slice_skip(rest, name.n + 1);
	if (rest.n && rest.p[rest.n - 1] != '#')
		return ERR_NOT_FOUND;
	*nsp = name;
	*room = rest.n ? slice_of(rest.p, rest.n - 1) : SLICE_EMPTY;
	return ERR_OK;
}
