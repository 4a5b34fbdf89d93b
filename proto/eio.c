#include "proto/eio.h"

#include <assert.h>
#include <limits.h>

enum eio_key { KEY_OTHER, KEY_VERSION, KEY_TRANSPORT, KEY_SID, KEY_BASE64 };

enum err eio_decode(struct slice text, struct eio_packet *packet)
{
	if (!text.n || text.p[0] < EIO_OPEN || text.p[0] > EIO_NOOP)
		return ERR_SYNTAX;
	packet->type = (enum eio_type)text.p[0];
	packet->data = slice_skip(text, 1);
	return ERR_OK;
}

static void member(struct buf *out, const char *name, uint64_t value)
{
	char text[20]; /* as many digits as there can be */
	char *p = text + sizeof(text);

	do {
		*--p = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	buf_str(out, name);
	buf_append(out, p, (size_t)(text + sizeof(text) - p));
}

/* Piece by piece: a printf of all of it would be a tenth of our own work for a client
 * that comes. */
void eio_encode_open(const struct eio_open *open, struct buf *out)
{
	assert(open->sid.n > 0);
	buf_reserve(out, 128);
	buf_str(out, "0{\"sid\":\"");
	buf_slice(out, open->sid);
	buf_str(out, "\",\"upgrades\":[");
	buf_str(out, open->upgrade_websocket ? "\"websocket\"" : "");
	member(out, "],\"pingInterval\":", open->ping_interval_ms);
	member(out, ",\"pingTimeout\":", open->ping_timeout_ms);
	member(out, ",\"maxPayload\":", open->max_payload);
	buf_str(out, "}");
}

/* Cut `s` at the first `c`: what is before it, and in *rest what is behind it. */
static struct slice cut(struct slice s, uint8_t c, struct slice *rest)
{
	const uint8_t *at = s.n ? memchr(s.p, c, s.n) : NULL;
	struct slice head = at ? slice_of(s.p, (size_t)(at - s.p)) : s;

	*rest = at ? slice_skip(s, head.n + 1) : SLICE_EMPTY;
	return head;
}

static int parse_version(struct slice s)
{
	int version = 0;

	for (size_t i = 0; i < s.n; i++) {
		uint8_t digit = (uint8_t)(s.p[i] - '0');

		if (digit > 9 || version > (INT_MAX - digit) / 10)
			return 0;
		version = version * 10 + digit;
	}
	return version;
}

static enum eio_transport parse_transport(struct slice s)
{
	if (slice_eq(s, SLICE_LIT("websocket")))
		return EIO_WEBSOCKET;
	return slice_eq(s, SLICE_LIT("polling")) ? EIO_POLLING : EIO_TRANSPORT_UNKNOWN;
}

static enum eio_key parse_key(struct slice s)
{
	if (slice_eq(s, SLICE_LIT("EIO")))
		return KEY_VERSION;
	if (slice_eq(s, SLICE_LIT("transport")))
		return KEY_TRANSPORT;
	if (slice_eq(s, SLICE_LIT("sid")))
		return KEY_SID;
	return slice_eq(s, SLICE_LIT("b64")) ? KEY_BASE64 : KEY_OTHER;
}

void eio_parse_query(struct slice query, struct eio_query *q)
{
	*q = (struct eio_query){0, EIO_TRANSPORT_UNKNOWN, SLICE_EMPTY, false};
	while (query.n) {
		struct slice value, key = cut(cut(query, '&', &query), '=', &value);

		switch (parse_key(key)) {
		case KEY_VERSION:
			q->version = parse_version(value);
			break;
		case KEY_TRANSPORT:
			q->transport = parse_transport(value);
			break;
		case KEY_SID:
			q->sid = value;
			break;
		case KEY_BASE64:
			/* Any value, "0" too: that is how JavaScript sees it. */
			q->base64 = value.n > 0;
			break;
		case KEY_OTHER:
			break;
		}
	}
}

const char *eio_error_text(enum eio_error error)
{
	static const char *const texts[] = {
#define EIO_ERROR_TEXT_(code, name, text, status) [EIO_ERROR_##name] = (text),
		EIO_ERROR_TABLE(EIO_ERROR_TEXT_)
#undef EIO_ERROR_TEXT_
	};

	return texts[error];
}

int eio_error_status(enum eio_error error)
{
	static const int statuses[] = {
#define EIO_ERROR_STATUS_(code, name, text, status) [EIO_ERROR_##name] = (status),
		EIO_ERROR_TABLE(EIO_ERROR_STATUS_)
#undef EIO_ERROR_STATUS_
	};

	return statuses[error];
}
