/* Text is read front to back: type, attachment count and '-', namespace and ',', ack id,
 * payload. What may be missing depends on the type. */
#include "proto/sio.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "proto/mem.h"
#include "proto/number.h"
#include "proto/utf8.h"

/* A packet whose attachments are due: its text and what of them has come, copied. */
struct assembly {
	struct buf text;
	struct buf bytes; /* of the attachments, one behind the other */
	size_t got, due;
	struct slice attachments[]; /* `due` of them; until the last has come just the
				     * lengths, since `bytes` moves as it grows */
};

struct sio_decoder {
	struct assembly *assembly; /* NULL unless attachments are due */
};

/* A packet's text cut up; all slices borrow from it. */
struct head {
	enum sio_type type; /* as on the wire */
	size_t due;
	struct slice nsp, query;
	bool has_id;
	uint64_t id;
	struct slice payload;
};

static enum err parse_head(struct slice text, const struct sio_limits *limits,
			   struct head *h);
static void assembly_free(struct assembly *a);

static bool is_binary(enum sio_type type)
{
	return type == SIO_BINARY_EVENT || type == SIO_BINARY_ACK;
}

struct sio_decoder *sio_decoder_new(void)
{
	return mem_zalloc(1, sizeof(struct sio_decoder));
}

void sio_decoder_free(struct sio_decoder *d)
{
	if (!d)
		return;
	assembly_free(d->assembly);
	free(d);
}

bool sio_decoder_busy(const struct sio_decoder *d)
{
	return d->assembly != NULL;
}

bool sio_decoder_fed(const struct sio_decoder *d, size_t i, struct slice *piece)
{
	const struct assembly *a = d->assembly;
	size_t at = 0;

	if (!a || i > a->got)
		return false;
	if (i == 0) {
		*piece = buf_view(&a->text);
		return true;
	}
	for (size_t j = 0; j + 1 < i; j++)
		at += a->attachments[j].n;
	*piece = slice_of(a->bytes.p + at, a->attachments[i - 1].n);
	return true;
}

/* `scratch` holds the payload, perhaps nothing; the namespace, whose text may go away
 * before the packet does, is put behind it. */
static void finish(const struct head *h, struct buf *scratch, struct sio_packet *packet)
{
	size_t data_n = scratch->n;

	buf_slice(scratch, h->nsp);
	buf_slice(scratch, h->query);
	*packet = (struct sio_packet){
		.type = h->type == SIO_BINARY_EVENT ? SIO_EVENT
			: h->type == SIO_BINARY_ACK ? SIO_ACK
						    : h->type,
		.nsp = slice_of(scratch->p + data_n, h->nsp.n),
		.has_id = h->has_id,
		.id = h->id,
		.data = data_n ? slice_of(scratch->p, data_n) : SLICE_EMPTY,
		.query = slice_of(scratch->p + data_n + h->nsp.n, h->query.n),
	};
}

/* The payload is read with empty attachments, so that what is malformed is refused before
 * any of them is waited for. */
static enum err read_payload(const struct head *h, struct assembly *a,
			     struct buf *scratch)
{
	struct json_bins bins = {a ? a->attachments : NULL, h->due, h->due};
	enum err err = ERR_OK;

	if (h->payload.n)
		err = json_to_mp(h->payload, is_binary(h->type) ? &bins : NULL, scratch);
	if (!err && !sio_payload_ok(h->type, buf_view(scratch)))
		err = ERR_SYNTAX;
	return err;
}

enum err sio_decode_text(struct sio_decoder *d, const struct sio_limits *limits,
			 struct slice text, struct buf *scratch,
			 struct sio_packet *packet, bool *complete)
{
	struct assembly *a = NULL;
	struct head h;
	enum err err;

	buf_clear(scratch);
	if (d->assembly)
		return ERR_SYNTAX;
	if (text.n > limits->bytes_max)
		return ERR_TOO_BIG;
	err = parse_head(text, limits, &h);
	if (err)
		return err;
	if (h.due)
		a = mem_zalloc(1, sizeof(*a) + h.due * sizeof(a->attachments[0]));
	err = read_payload(&h, a, scratch);
	if (err) {
		assembly_free(a);
		return err;
	}
	*complete = !a;
	if (a) {
		a->due = h.due;
		buf_slice(&a->text, text);
		d->assembly = a;
	} else {
		finish(&h, scratch, packet);
	}
	return ERR_OK;
}

/* All attachments have come: read the text again, now with them. */
static enum err assemble(struct assembly *a, const struct sio_limits *limits,
			 struct buf *scratch, struct sio_packet *packet)
{
	struct slice rest = buf_view(&a->bytes);
	struct head h;
	enum err err = parse_head(buf_view(&a->text), limits, &h);

	if (err)
		return err;
	for (size_t i = 0; i < a->due; i++) {
		a->attachments[i].p = rest.p;
		rest = slice_skip(rest, a->attachments[i].n);
	}
	err = read_payload(&h, a, scratch);
	if (!err)
		finish(&h, scratch, packet);
	return err;
}

enum err sio_decode_binary(struct sio_decoder *d, const struct sio_limits *limits,
			   struct slice bytes, struct buf *scratch,
			   struct sio_packet *packet, bool *complete)
{
	struct assembly *a = d->assembly;
	enum err err;

	buf_clear(scratch);
	if (!a)
		return ERR_SYNTAX;
	assert(a->got < a->due);
	if (a->text.n + a->bytes.n > limits->bytes_max ||
	    bytes.n > limits->bytes_max - a->text.n - a->bytes.n)
		return ERR_TOO_BIG;
	buf_slice(&a->bytes, bytes);
	a->attachments[a->got++].n = bytes.n;
	if (a->got < a->due) {
		*complete = false;
		return ERR_OK;
	}
	err = assemble(a, limits, scratch, packet);
	if (err)
		return err;
	assembly_free(a);
	d->assembly = NULL;
	*complete = true;
	return ERR_OK;
}

static void assembly_free(struct assembly *a)
{
	if (!a)
		return;
	buf_deinit(&a->text);
	buf_deinit(&a->bytes);
	free(a);
}

/* Take the digits `s` begins with. ERR_RANGE: their number is above `max`. */
static enum err take_digits(struct slice *s, uint64_t max, uint64_t *x, size_t *digits)
{
	uint64_t sum = 0;
	size_t i;

	for (i = 0; i < s->n && (uint8_t)(s->p[i] - '0') < 10; i++) {
		uint64_t digit = (uint64_t)(s->p[i] - '0');

		if (digit > max || sum > (max - digit) / 10)
			return ERR_RANGE;
		sum = sum * 10 + digit;
	}
	*s = slice_skip(*s, i);
	*x = sum;
	*digits = i;
	return ERR_OK;
}

static enum err take_due(struct slice *s, size_t max, size_t *due)
{
	uint64_t x;
	size_t digits;

	if (take_digits(s, max, &x, &digits))
		return ERR_TOO_MANY;
	if (!digits || !s->n || s->p[0] != '-')
		return ERR_SYNTAX;
	*s = slice_skip(*s, 1);
	*due = (size_t)x;
	return ERR_OK;
}

static enum err take_nsp(struct slice *s, struct slice *nsp, struct slice *query)
{
	const uint8_t *comma, *mark;
	struct slice name;

	*query = SLICE_EMPTY;
	if (!s->n || s->p[0] != '/') {
		*nsp = SLICE_LIT("/");
		return ERR_OK;
	}
	comma = memchr(s->p, ',', s->n);
	name = comma ? slice_of(s->p, (size_t)(comma - s->p)) : *s;
	/* Whoever is told that there is no such namespace is told its name. */
	if (!utf8_ok(name))
		return ERR_SYNTAX;
	*s = slice_skip(*s, comma ? name.n + 1 : name.n);
	mark = memchr(name.p, '?', name.n);
	*nsp = mark ? slice_of(name.p, (size_t)(mark - name.p)) : name;
	if (mark)
		*query = slice_skip(name, nsp->n + 1);
	return ERR_OK;
}

static enum err parse_head(struct slice text, const struct sio_limits *limits,
			   struct head *h)
{
	size_t digits;
	enum err err = ERR_OK;

	*h = (struct head){0};
	if (!text.n || text.p[0] < '0' || text.p[0] > '0' + SIO_BINARY_ACK)
		return ERR_SYNTAX;
	h->type = (enum sio_type)(text.p[0] - '0');
	text = slice_skip(text, 1);
	if (is_binary(h->type))
		err = take_due(&text, limits->attachments_max, &h->due);
	if (!err)
		err = take_nsp(&text, &h->nsp, &h->query);
	if (err)
		return err;
	if (take_digits(&text, SIO_ACK_ID_MAX, &h->id, &digits))
		return ERR_SYNTAX;
	h->has_id = digits > 0;
	h->payload = text;
	return ERR_OK;
}

bool sio_payload_ok(enum sio_type type, struct slice data)
{
	struct mp_cursor c = mp_cursor_of(data);
	struct mp_value v;

	if (!data.n)
		return type == SIO_CONNECT || type == SIO_DISCONNECT ||
		       type == SIO_CONNECT_ERROR;
	if (mp_read(&c, &v))
		return false;
	switch (type) {
	case SIO_CONNECT:
		return v.type == MP_MAP;
	case SIO_DISCONNECT:
		return false;
	case SIO_EVENT:
	case SIO_BINARY_EVENT:
		return sio_event_ok(data);
	case SIO_ACK:
	case SIO_BINARY_ACK:
		return v.type == MP_ARRAY;
	case SIO_CONNECT_ERROR:
		return v.type == MP_MAP || v.type == MP_STR;
	}
	return false;
}

bool sio_event_ok(struct slice data)
{
	struct mp_cursor c = mp_cursor_of(data);
	struct mp_value v;
	uint32_t count;

	if (mp_read_array(&c, &count) || !count || mp_read(&c, &v))
		return false;
	if (v.type == MP_STR)
		return sio_event_name_ok(v.bytes);
	return v.type == MP_INT || v.type == MP_UINT ||
	       (v.type == MP_DOUBLE && isfinite(v.d));
}

bool sio_event_name_ok(struct slice name)
{
	static const struct slice reserved[] = {
		SLICE_INIT("connect"),	   SLICE_INIT("connect_error"),
		SLICE_INIT("disconnect"),  SLICE_INIT("disconnecting"),
		SLICE_INIT("newListener"), SLICE_INIT("removeListener"),
	};

	for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++) {
		if (slice_eq(name, reserved[i]))
			return false;
	}
	return true;
}

static void put_number(struct buf *out, uint64_t x)
{
	char *p = (char *)buf_reserve(out, NUMBER_TEXT_MAX);

	buf_commit(out, number_format_int(p, (int64_t)x));
}

/* The text was written as that of a packet without attachments, which most are. Move
 * what follows the type to make room for their count. */
static void insert_count(struct buf *text, size_t start, size_t count)
{
	char number[NUMBER_TEXT_MAX];
	size_t n = number_format_int(number, (int64_t)count);
	uint8_t *p;

	number[n++] = '-';
	buf_reserve(text, n);
	p = text->p + start;
	memmove(p + 1 + n, p + 1, text->n - start - 1);
	memcpy(p + 1, number, n);
	p[0] = (uint8_t)(p[0] + SIO_BINARY_EVENT - SIO_EVENT);
	buf_commit(text, n);
}

enum err sio_encode(const struct sio_packet *packet, struct buf *text,
		    struct json_bins *bins)
{
	bool may_attach = packet->type == SIO_EVENT || packet->type == SIO_ACK;
	size_t start = text->n;
	enum err err = ERR_OK;

	static_assert(SIO_BINARY_EVENT - SIO_EVENT == SIO_BINARY_ACK - SIO_ACK,
		      "insert_count adds it to either type");
	assert(!is_binary(packet->type));
	assert(!packet->has_id || packet->id <= SIO_ACK_ID_MAX);
	assert(bins->n == 0);
	buf_byte(text, (uint8_t)('0' + packet->type));
	if (packet->nsp.n && !slice_eq(packet->nsp, SLICE_LIT("/"))) {
		buf_slice(text, packet->nsp);
		buf_byte(text, ',');
	}
	if (packet->has_id)
		put_number(text, packet->id);
	if (packet->data.n)
		err = mp_to_json(packet->data, text, may_attach ? bins : NULL);
	if (err)
		text->n = start;
	else if (bins->n)
		insert_count(text, start, bins->n);
	return err;
}
