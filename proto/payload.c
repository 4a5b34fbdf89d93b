#include "proto/payload.h"

#include <assert.h>

#include "proto/base64.h"
#include "proto/number.h"
#include "proto/utf8.h"
#include "proto/ws.h"

enum {
	SEPARATOR = 0x1e,  /* between packets, Engine.IO 4 */
	LENGTH_END = 0xff, /* behind a length, PAYLOAD_V3_BINARY */
	V3_MESSAGE = 4,	   /* the type of a binary packet as a byte */
};

bool payload_has_binary(struct slice frames)
{
	while (frames.n) {
		if (ws_take(&frames).opcode == WS_BINARY)
			return true;
	}
	return false;
}

/* What a binary frame's message is. */
static struct slice message_of(enum payload_format format, struct ws_view frame)
{
	if (format == PAYLOAD_V4)
		return frame.payload;
	assert(frame.payload.n > 0);
	assert(frame.payload.p[0] == V3_MESSAGE);
	return slice_skip(frame.payload, 1);
}

static size_t length_digits(char digits[NUMBER_TEXT_MAX], size_t n)
{
	assert(n <= INT64_MAX);
	return number_format_int(digits, (int64_t)n);
}

/* The number of bytes a frame's packet takes, the length before it not counted, and in
 * *length what that length says. */
static size_t packet_size(enum payload_format format, struct ws_view frame,
			  size_t *length)
{
	bool binary = frame.opcode == WS_BINARY;
	size_t n = frame.payload.n;

	assert(binary || frame.opcode == WS_TEXT);
	if (format == PAYLOAD_V4 && binary)
		n = 1 + base64_n(n);
	else if (format == PAYLOAD_V3_TEXT && binary)
		n = 2 + base64_n(message_of(format, frame).n);
	*length = format == PAYLOAD_V3_TEXT && !binary ? utf8_utf16_n(frame.payload) : n;
	return n;
}

size_t payload_size(enum payload_format format, struct slice frames)
{
	char digits[NUMBER_TEXT_MAX];
	size_t length, n = 0;

	while (frames.n) {
		n += packet_size(format, ws_take(&frames), &length);
		if (format == PAYLOAD_V4)
			n += 1;
		else
			n += length_digits(digits, length) +
			     (format == PAYLOAD_V3_TEXT ? 1 : 2);
	}
	return n;
}

static void put_length(struct buf *out, enum payload_format format, struct ws_view frame)
{
	char digits[NUMBER_TEXT_MAX];
	size_t length, n;

	packet_size(format, frame, &length);
	n = length_digits(digits, length);
	if (format == PAYLOAD_V3_TEXT) {
		buf_append(out, digits, n);
		buf_byte(out, ':');
		return;
	}
	buf_byte(out, frame.opcode == WS_BINARY);
	for (size_t i = 0; i < n; i++)
		buf_byte(out, (uint8_t)(digits[i] - '0'));
	buf_byte(out, LENGTH_END);
}

void payload_append(struct buf *out, enum payload_format format, struct slice frames)
{
	/* All at once, or a large payload would be copied as it grows. */
	buf_reserve(out, payload_size(format, frames));
	while (frames.n) {
		struct ws_view frame = ws_take(&frames);

		if (format != PAYLOAD_V4)
			put_length(out, format, frame);
		else if (out->n)
			buf_byte(out, SEPARATOR);
		if (frame.opcode == WS_BINARY && format != PAYLOAD_V3_BINARY) {
			buf_str(out, format == PAYLOAD_V4 ? "b" : "b4");
			base64_encode(message_of(format, frame), out);
		} else {
			buf_slice(out, frame.payload);
		}
	}
}

void payload_reader_init(struct payload_reader *r, enum payload_format format,
			 struct slice body)
{
	*r = (struct payload_reader){format, body, false};
}

static enum err read_base64(struct slice text, struct buf *scratch,
			    struct payload_packet *packet)
{
	enum err err = base64_decode(text, scratch);

	if (!err)
		*packet = (struct payload_packet){true, buf_view(scratch)};
	return err;
}

/* A packet as it stands in a body of text. */
static enum err read_text(enum payload_format format, struct slice text,
			  struct buf *scratch, struct payload_packet *packet)
{
	struct slice mark = format == PAYLOAD_V4 ? SLICE_LIT("b") : SLICE_LIT("b4");
	struct eio_packet checked;
	enum err err;

	if (slice_starts(text, mark))
		return read_base64(slice_skip(text, mark.n), scratch, packet);
	err = eio_decode(text, &checked);
	if (!err && !utf8_ok(text))
		err = ERR_SYNTAX;
	if (!err)
		*packet = (struct payload_packet){false, text};
	return err;
}

/* What is left begins with the separator, but for the first packet. */
static enum err next_v4(struct payload_reader *r, struct buf *scratch,
			struct payload_packet *packet)
{
	struct slice rest = slice_skip(r->rest, r->begun ? 1 : 0), text;
	const uint8_t *at = rest.n ? memchr(rest.p, SEPARATOR, rest.n) : NULL;

	text = slice_of(rest.p, at ? (size_t)(at - rest.p) : rest.n);
	r->rest = slice_skip(rest, text.n);
	return read_text(r->format, text, scratch, packet);
}

/* Take a length written in digits that begin at `zero`, and `end` behind them. No length
 * is larger than what is left of the body. */
static enum err take_length(struct slice *rest, uint8_t zero, uint8_t end, size_t *length)
{
	size_t sum = 0, i;

	for (i = 0; i < rest->n && rest->p[i] != end; i++) {
		uint8_t digit = (uint8_t)(rest->p[i] - zero);

		if (digit > 9)
			return ERR_SYNTAX;
		sum = sum * 10 + digit;
		if (sum > rest->n)
			return ERR_SYNTAX;
	}
	if (!i || i == rest->n)
		return ERR_SYNTAX;
	*rest = slice_skip(*rest, i + 1);
	*length = sum;
	return ERR_OK;
}

/* Take as many characters as have `units` UTF-16 code units. */
static enum err take_units(struct slice *rest, size_t units, struct slice *text)
{
	const uint8_t *p = rest->p, *end = rest->p + rest->n;

	while (units) {
		struct utf8_step step;
		size_t n;

		if (p == end)
			return ERR_SYNTAX;
		step = utf8_step(p, end);
		n = step.cp > 0xffff ? 2 : 1;
		if (step.kind != UTF8_CHAR || n > units)
			return ERR_SYNTAX;
		units -= n;
		p += step.n;
	}
	*text = slice_of(rest->p, (size_t)(p - rest->p));
	*rest = slice_skip(*rest, text->n);
	return ERR_OK;
}

static enum err next_v3_text(struct payload_reader *r, struct buf *scratch,
			     struct payload_packet *packet, bool *more)
{
	struct slice text;
	size_t units;

	/* "0:" is how the reference writes that there is no packet. */
	do {
		enum err err = take_length(&r->rest, '0', ':', &units);

		if (!err)
			err = take_units(&r->rest, units, &text);
		if (err)
			return err;
	} while (!units && r->rest.n);
	*more = units > 0;
	return units ? read_text(r->format, text, scratch, packet) : ERR_OK;
}

static enum err read_v3_binary(struct slice bytes, struct payload_packet *packet)
{
	if (!bytes.n || bytes.p[0] != V3_MESSAGE)
		return ERR_SYNTAX;
	*packet = (struct payload_packet){true, slice_skip(bytes, 1)};
	return ERR_OK;
}

enum err payload_v3_frame(struct slice bytes, bool binary, struct buf *scratch,
			  struct payload_packet *packet)
{
	buf_clear(scratch);
	return binary ? read_v3_binary(bytes, packet)
		      : read_text(PAYLOAD_V3_TEXT, bytes, scratch, packet);
}

static enum err next_v3_binary(struct payload_reader *r, struct buf *scratch,
			       struct payload_packet *packet)
{
	uint8_t kind = r->rest.p[0];
	struct slice bytes;
	size_t n;
	enum err err;

	r->rest = slice_skip(r->rest, 1);
	err = take_length(&r->rest, 0, LENGTH_END, &n);
	if (err)
		return err;
	if (kind > 1 || n > r->rest.n)
		return ERR_SYNTAX;
	bytes = slice_of(r->rest.p, n);
	r->rest = slice_skip(r->rest, n);
	return kind == 0 ? read_text(r->format, bytes, scratch, packet)
			 : read_v3_binary(bytes, packet);
}

enum err payload_next(struct payload_reader *r, struct buf *scratch,
		      struct payload_packet *packet, bool *more)
{
	enum err err = ERR_OK;
	bool found = true;

	buf_clear(scratch);
	if (!r->rest.n && (r->begun || r->format == PAYLOAD_V3_BINARY)) {
		*more = false;
		return ERR_OK;
	}
	switch (r->format) {
	case PAYLOAD_V4:
		err = next_v4(r, scratch, packet);
		break;
	case PAYLOAD_V3_TEXT:
		err = next_v3_text(r, scratch, packet, &found);
		break;
	case PAYLOAD_V3_BINARY:
		err = next_v3_binary(r, scratch, packet);
		break;
	}
	r->begun = true;
	if (!err)
		*more = found;
	return err;
}
