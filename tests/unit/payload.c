/* Base64 and Engine.IO payloads: rows of bodies, each also cut short at every byte, and
 * frames written as payloads and read again. */
#include <stdlib.h>

#include "proto/base64.h"
#include "proto/payload.h"
#include "proto/utf8.h"
#include "proto/ws.h"
#include "test.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

/* Bytes in a block of their own, so that the sanitizer sees a read behind their end. */
static uint8_t *copy_of(struct slice s)
{
	uint8_t *copy = malloc(s.n ? s.n : 1);

	if (!copy)
		abort();
	if (s.n)
		memcpy(copy, s.p, s.n);
	return copy;
}

static void test_base64(void)
{
	static const struct {
		struct slice bytes, text;
	} rows[] = {
		{SLICE_INIT(""), SLICE_INIT("")},
		{SLICE_INIT("f"), SLICE_INIT("Zg==")},
		{SLICE_INIT("go"), SLICE_INIT("Z28=")},
		{SLICE_INIT("foo"), SLICE_INIT("Zm9v")},
		{SLICE_INIT("foob"), SLICE_INIT("Zm9vYg==")},
		{SLICE_INIT("fooba"), SLICE_INIT("Zm9vYmE=")},
		{SLICE_INIT("foobar"), SLICE_INIT("Zm9vYmFy")},
		{SLICE_INIT("\0"), SLICE_INIT("AA==")},
		{SLICE_INIT("\xff\xff\xff"), SLICE_INIT("////")},
		{SLICE_INIT("\xfb\xef\xbe"), SLICE_INIT("++++")},
		{SLICE_INIT("\x00\x10\x83\x10\x51\x87\x20\x92\x8b\x30\xd3\x8f\x41\x14"
			    "\x93\x51\x55\x97\x61\x96\x9b\x71\xd7\x9f\x82\x18\xa3\x92"
			    "\x59\xa7\xa2\x9a\xab\xb2\xdb\xaf\xc3\x1c\xb3\xd3\x5d\xb7"
			    "\xe3\x9e\xbb\xf3\xdf\xbf"),
		 SLICE_INIT(
			 "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
			 "+/")},
	};
	struct buf out = BUF_INIT;

	for (size_t i = 0; i < COUNT(rows); i++) {
		const char *name = (const char *)rows[i].text.p;
		uint8_t *bytes = copy_of(rows[i].bytes), *text = copy_of(rows[i].text);

		buf_clear(&out);
		base64_encode(slice_of(bytes, rows[i].bytes.n), &out);
		CHECK_SLICE(buf_view(&out), rows[i].text, name);
		CHECK_ROW(base64_n(rows[i].bytes.n) == rows[i].text.n, name);
		buf_clear(&out);
		buf_byte(&out, 'x');
		CHECK_ROW(!base64_decode(slice_of(text, rows[i].text.n), &out), name);
		CHECK_SLICE(slice_skip(buf_view(&out), 1), rows[i].bytes, name);
		free(bytes);
		free(text);
	}
	buf_deinit(&out);
}

static void test_base64_lenient(void)
{
	static const struct {
		struct slice text;
		enum err err;
		struct slice bytes;
	} rows[] = {
		{SLICE_INIT("Zg"), ERR_OK, SLICE_INIT("f")},
		{SLICE_INIT("Z28"), ERR_OK, SLICE_INIT("go")},
		{SLICE_INIT("____"), ERR_OK, SLICE_INIT("\xff\xff\xff")},
		{SLICE_INIT("--+/"), ERR_OK, SLICE_INIT("\xfb\xef\xbf")},
		{SLICE_INIT("Zm9v\nYg==\n"), ERR_OK, SLICE_INIT("foob")},
		{SLICE_INIT(" Z\tm\r\n9v"), ERR_OK, SLICE_INIT("foo")},
		{SLICE_INIT("Zg= ="), ERR_OK, SLICE_INIT("f")},
		{SLICE_INIT("Zh=="), ERR_OK, SLICE_INIT("f")},
		{SLICE_INIT("Z"), ERR_SYNTAX, SLICE_INIT("")},
		{SLICE_INIT("Zm9vY"), ERR_SYNTAX, SLICE_INIT("")},
		{SLICE_INIT("="), ERR_SYNTAX, SLICE_INIT("")},
		{SLICE_INIT("===="), ERR_SYNTAX, SLICE_INIT("")},
		{SLICE_INIT("Zg="), ERR_SYNTAX, SLICE_INIT("")},
		{SLICE_INIT("Zm9v="), ERR_SYNTAX, SLICE_INIT("")},
		{SLICE_INIT("Zg==Zg=="), ERR_SYNTAX, SLICE_INIT("")},
		{SLICE_INIT("Zg==="), ERR_SYNTAX, SLICE_INIT("")},
		{SLICE_INIT("Zm,v"), ERR_SYNTAX, SLICE_INIT("")},
		{SLICE_INIT("Zm9\0"), ERR_SYNTAX, SLICE_INIT("")},
		{SLICE_INIT("Zm9\xc3\xa9"), ERR_SYNTAX, SLICE_INIT("")},
	};
	struct buf out = BUF_INIT;

	for (size_t i = 0; i < COUNT(rows); i++) {
		const char *name = (const char *)rows[i].text.p;

		buf_clear(&out);
		CHECK_ROW(base64_decode(rows[i].text, &out) == rows[i].err, name);
		CHECK_SLICE(buf_view(&out), rows[i].bytes, name);
	}
	buf_deinit(&out);
}

static void test_utf16(void)
{
	CHECK(utf8_utf16_n(SLICE_EMPTY) == 0);
	CHECK(utf8_utf16_n(SLICE_LIT("a\xc3\xa9\xe2\x82\xac")) == 3);
	CHECK(utf8_utf16_n(SLICE_LIT("\xf0\x9f\x98\x80!")) == 3);
	CHECK(utf8_ok(SLICE_EMPTY));
	CHECK(utf8_ok(SLICE_LIT("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80")));
	CHECK(!utf8_ok(SLICE_LIT("a\xc3")));
	CHECK(!utf8_ok(SLICE_LIT("\xed\xa0\x80")));
}

/* What a body holds, written down: "t4hello b<bytes> " and the like, and "!" where it
 * was refused. */
static void read_all(enum payload_format format, struct slice body, struct buf *said)
{
	struct payload_reader r;
	struct payload_packet packet;
	struct buf scratch = BUF_INIT;
	bool more = true;

	buf_clear(said);
	payload_reader_init(&r, format, body);
	while (more) {
		if (payload_next(&r, &scratch, &packet, &more)) {
			buf_byte(said, '!');
			break;
		}
		if (!more)
			break;
		buf_byte(said, packet.binary ? 'b' : 't');
		buf_slice(said, packet.bytes);
		buf_byte(said, ' ');
	}
	buf_deinit(&scratch);
}

static const struct read_row {
	const char *name;
	enum payload_format format;
	struct slice body, said;
} read_rows[] = {
	{"v4: one", PAYLOAD_V4, SLICE_INIT("4hello"), SLICE_INIT("t4hello ")},
	{"v4: two", PAYLOAD_V4,
	 SLICE_INIT("4hello\x1e"
		    "2"),
	 SLICE_INIT("t4hello t2 ")},
	{"v4: of each type", PAYLOAD_V4,
	 SLICE_INIT("0{}\x1e"
		    "1\x1e"
		    "2probe\x1e"
		    "3\x1e"
		    "4\x1e"
		    "5\x1e"
		    "6"),
	 SLICE_INIT("t0{} t1 t2probe t3 t4 t5 t6 ")},
	{"v4: binary", PAYLOAD_V4,
	 SLICE_INIT("bAQID\x1e"
		    "b\x1e"
		    "4x\x1e"
		    "bZg"),
	 SLICE_INIT("b\x01\x02\x03 b t4x bf ")},
	{"v4: characters", PAYLOAD_V4,
	 SLICE_INIT("4\xe2\x82\xac\x1e"
		    "4\xf0\x9f\x98\x80"),
	 SLICE_INIT("t4\xe2\x82\xac t4\xf0\x9f\x98\x80 ")},
	{"v4: empty", PAYLOAD_V4, SLICE_INIT(""), SLICE_INIT("!")},
	{"v4: empty first", PAYLOAD_V4,
	 SLICE_INIT("\x1e"
		    "4a"),
	 SLICE_INIT("!")},
	{"v4: empty last", PAYLOAD_V4, SLICE_INIT("4a\x1e"), SLICE_INIT("t4a !")},
	{"v4: empty between", PAYLOAD_V4,
	 SLICE_INIT("4a\x1e\x1e"
		    "4b"),
	 SLICE_INIT("t4a !")},
	{"v4: unknown", PAYLOAD_V4,
	 SLICE_INIT("4a\x1e"
		    "abc\x1e"
		    "4b"),
	 SLICE_INIT("t4a !")},
	{"v4: 7", PAYLOAD_V4, SLICE_INIT("7"), SLICE_INIT("!")},
	{"v4: bad base64", PAYLOAD_V4, SLICE_INIT("bA"), SLICE_INIT("!")},
	{"v4: bad UTF-8", PAYLOAD_V4, SLICE_INIT("4\xc3("), SLICE_INIT("!")},
	{"v4: surrogate", PAYLOAD_V4, SLICE_INIT("4\xed\xa0\x80"), SLICE_INIT("!")},
	{"v4: v3", PAYLOAD_V4, SLICE_INIT("6:4hello"), SLICE_INIT("t6:4hello ")},

	{"v3: one", PAYLOAD_V3_TEXT, SLICE_INIT("6:4hello"), SLICE_INIT("t4hello ")},
	{"v3: two", PAYLOAD_V3_TEXT, SLICE_INIT("6:4hello1:2"),
	 SLICE_INIT("t4hello t2 ")},
	{"v3: units", PAYLOAD_V3_TEXT,
	 SLICE_INIT("2:4\xe2\x82\xac"
		    "3:4\xf0\x9f\x98\x80"
		    "2:4\xc3\xa9"),
	 SLICE_INIT("t4\xe2\x82\xac t4\xf0\x9f\x98\x80 t4\xc3\xa9 ")},
	{"v3: binary", PAYLOAD_V3_TEXT, SLICE_INIT("6:b4AQID2:b4"),
	 SLICE_INIT("b\x01\x02\x03 b ")},
	{"v3: colon and digits within", PAYLOAD_V3_TEXT, SLICE_INIT("5:43:4a1:3"),
	 SLICE_INIT("t43:4a t3 ")},
	{"v3: no packets", PAYLOAD_V3_TEXT, SLICE_INIT("0:"), SLICE_INIT("")},
	{"v3: none between", PAYLOAD_V3_TEXT, SLICE_INIT("0:0:1:20:00:1:30:"),
	 SLICE_INIT("t2 t3 ")},
	{"v3: leading 0", PAYLOAD_V3_TEXT, SLICE_INIT("0001:2"), SLICE_INIT("t2 ")},
	{"v3: empty", PAYLOAD_V3_TEXT, SLICE_INIT(""), SLICE_INIT("!")},
	{"v3: no length", PAYLOAD_V3_TEXT, SLICE_INIT(":4"), SLICE_INIT("!")},
	{"v3: no colon", PAYLOAD_V3_TEXT, SLICE_INIT("1"), SLICE_INIT("!")},
	{"v3: signed", PAYLOAD_V3_TEXT, SLICE_INIT("+1:2"), SLICE_INIT("!")},
	{"v3: exponent", PAYLOAD_V3_TEXT, SLICE_INIT("1e0:2"), SLICE_INIT("!")},
	{"v3: too long", PAYLOAD_V3_TEXT, SLICE_INIT("1:23:4a"), SLICE_INIT("t2 !")},
	{"v3: length without end", PAYLOAD_V3_TEXT,
	 SLICE_INIT("99999999999999999999999999999999:4"), SLICE_INIT("!")},
	{"v3: half a character", PAYLOAD_V3_TEXT, SLICE_INIT("2:4\xf0\x9f\x98\x80"),
	 SLICE_INIT("!")},
	{"v3: bad UTF-8", PAYLOAD_V3_TEXT, SLICE_INIT("2:4\xff"), SLICE_INIT("!")},
	{"v3: unknown type", PAYLOAD_V3_TEXT, SLICE_INIT("1:7"), SLICE_INIT("!")},
	{"v3: binary ping", PAYLOAD_V3_TEXT, SLICE_INIT("4:b2AA"), SLICE_INIT("!")},
	{"v3: binary of no type", PAYLOAD_V3_TEXT, SLICE_INIT("1:b"), SLICE_INIT("!")},
	{"v3: bad base64", PAYLOAD_V3_TEXT, SLICE_INIT("4:b4*A"), SLICE_INIT("!")},

	{"v3 binary: no packets", PAYLOAD_V3_BINARY, SLICE_INIT(""), SLICE_INIT("")},
	{"v3 binary: text", PAYLOAD_V3_BINARY,
	 SLICE_INIT("\0\6\xff"
		    "4hello"),
	 SLICE_INIT("t4hello ")},
	{"v3 binary: binary", PAYLOAD_V3_BINARY, SLICE_INIT("\1\4\xff\4\1\2\3"),
	 SLICE_INIT("b\1\2\3 ")},
	{"v3 binary: both", PAYLOAD_V3_BINARY,
	 SLICE_INIT("\0\1\0\xff"
		    "4123456789\1\1\xff\4\0\4\xff"
		    "4\xe2\x82\xac"),
	 SLICE_INIT("t4123456789 b t4\xe2\x82\xac ")},
	{"v3 binary: base64", PAYLOAD_V3_BINARY,
	 SLICE_INIT("\0\6\xff"
		    "b4AQID"),
	 SLICE_INIT("b\1\2\3 ")},
	{"v3 binary: empty text", PAYLOAD_V3_BINARY, SLICE_INIT("\0\0\xff"),
	 SLICE_INIT("!")},
	{"v3 binary: empty binary", PAYLOAD_V3_BINARY, SLICE_INIT("\1\0\xff"),
	 SLICE_INIT("!")},
	{"v3 binary: ping", PAYLOAD_V3_BINARY, SLICE_INIT("\1\1\xff\2"), SLICE_INIT("!")},
	{"v3 binary: kind 2", PAYLOAD_V3_BINARY, SLICE_INIT("\2\1\xff\4"),
	 SLICE_INIT("!")},
	{"v3 binary: no length", PAYLOAD_V3_BINARY,
	 SLICE_INIT("\0\xff"
		    "4"),
	 SLICE_INIT("!")},
	{"v3 binary: digit 10", PAYLOAD_V3_BINARY,
	 SLICE_INIT("\0\x0a\xff"
		    "4123456789"),
	 SLICE_INIT("!")},
	{"v3 binary: too long", PAYLOAD_V3_BINARY,
	 SLICE_INIT("\0\2\xff"
		    "4"),
	 SLICE_INIT("!")},
	{"v3 binary: no end of length", PAYLOAD_V3_BINARY, SLICE_INIT("\0\1"),
	 SLICE_INIT("!")},
	{"v3 binary: bad UTF-8", PAYLOAD_V3_BINARY,
	 SLICE_INIT("\0\2\xff"
		    "4\xff"),
	 SLICE_INIT("!")},
	{"v3 binary: text form", PAYLOAD_V3_BINARY, SLICE_INIT("6:4hello"),
	 SLICE_INIT("!")},
};

static void test_read(void)
{
	struct buf said = BUF_INIT;

	for (size_t i = 0; i < COUNT(read_rows); i++) {
		const struct read_row *row = &read_rows[i];
		uint8_t *body = copy_of(row->body);

		read_all(row->format, slice_of(body, row->body.n), &said);
		CHECK_SLICE(buf_view(&said), row->said, row->name);
		free(body);
	}
	buf_deinit(&said);
}

/* Engine.IO 3 says where a packet ends, so a body cut short has the same packets up to
 * the cut, and then none that was not whole. In version 4 what is cut is a packet too. */
static void test_read_cut(void)
{
	struct buf said = BUF_INIT;

	for (size_t i = 0; i < COUNT(read_rows); i++) {
		const struct read_row *row = &read_rows[i];

		for (size_t n = 0; n < row->body.n; n++) {
			uint8_t *body = copy_of(slice_of(row->body.p, n));
			struct slice got;

			read_all(row->format, slice_of(body, n), &said);
			got = buf_view(&said);
			if (got.n && got.p[got.n - 1] == '!')
				got.n--;
			if (row->format != PAYLOAD_V4)
				CHECK_ROW(slice_starts(row->said, got), row->name);
			free(body);
		}
	}
	buf_deinit(&said);
}

static void test_v3_frame(void)
{
	static const struct {
		const char *name;
		bool binary;
		struct slice bytes, said;
	} rows[] = {
		{"text", false, SLICE_INIT("4hi"), SLICE_INIT("t4hi")},
		{"base64", false, SLICE_INIT("b4AQID"), SLICE_INIT("b\1\2\3")},
		{"binary", true, SLICE_INIT("\4\1\2"), SLICE_INIT("b\1\2")},
		{"binary of nothing", true, SLICE_INIT("\4"), SLICE_INIT("b")},
		{"empty text", false, SLICE_INIT(""), SLICE_INIT("!")},
		{"empty binary", true, SLICE_INIT(""), SLICE_INIT("!")},
		{"binary ping", true, SLICE_INIT("\2"), SLICE_INIT("!")},
		{"text as binary", true, SLICE_INIT("4hi"), SLICE_INIT("!")},
		{"no type", false, SLICE_INIT("x"), SLICE_INIT("!")},
		{"bad base64", false, SLICE_INIT("b4A"), SLICE_INIT("!")},
	};
	struct buf scratch = BUF_INIT, said = BUF_INIT;

	for (size_t i = 0; i < COUNT(rows); i++) {
		uint8_t *copy = copy_of(rows[i].bytes);
		struct payload_packet packet;
		enum err err = payload_v3_frame(slice_of(copy, rows[i].bytes.n),
						rows[i].binary, &scratch, &packet);

		CHECK_ROW(err == ERR_OK || err == ERR_SYNTAX, rows[i].name);
		buf_clear(&said);
		buf_byte(&said, err ? '!' : packet.binary ? 'b' : 't');
		if (!err)
			buf_slice(&said, packet.bytes);
		CHECK_SLICE(buf_view(&said), rows[i].said, rows[i].name);
		free(copy);
	}
	buf_deinit(&scratch);
	buf_deinit(&said);
}

struct frame_row {
	const char *name;
	bool binary; /* is one of the frames? */
	struct slice frames, payload;
};

static void check_append(enum payload_format format, const struct frame_row *row)
{
	uint8_t *frames = copy_of(row->frames);
	struct slice view = slice_of(frames, row->frames.n);
	struct buf out = BUF_INIT;
	size_t n = payload_size(format, view);

	CHECK_ROW(payload_has_binary(view) == row->binary, row->name);
	payload_append(&out, format, view);
	CHECK_SLICE(buf_view(&out), row->payload, row->name);
	/* One separator fewer at the beginning. */
	CHECK_ROW(out.n + (format == PAYLOAD_V4 && n) == n, row->name);
	payload_append(&out, format, view);
	CHECK_ROW(out.n == row->payload.n + n, row->name);
	if (n)
		CHECK_SLICE(slice_skip(buf_view(&out), out.n - row->payload.n),
			    row->payload, row->name);
	buf_deinit(&out);
	free(frames);
}

static void test_append(void)
{
	static const struct frame_row v4[] = {
		{"none", false, SLICE_INIT(""), SLICE_INIT("")},
		{"text", false,
		 SLICE_INIT("\x81\x06"
			    "4hello"),
		 SLICE_INIT("4hello")},
		{"two", false,
		 SLICE_INIT("\x81\x06"
			    "4hello\x81\x01"
			    "2"),
		 SLICE_INIT("4hello\x1e"
			    "2")},
		{"attachment", true,
		 SLICE_INIT("\x81\x02"
			    "4x\x82\x03\1\2\3\x82\x00"),
		 SLICE_INIT("4x\x1e"
			    "bAQID\x1e"
			    "b")},
	};
	static const struct frame_row v3_text[] = {
		{"none", false, SLICE_INIT(""), SLICE_INIT("")},
		{"text", false,
		 SLICE_INIT("\x81\x06"
			    "4hello"),
		 SLICE_INIT("6:4hello")},
		{"two", false,
		 SLICE_INIT("\x81\x05"
			    "4\xf0\x9f\x98\x80\x81\x01"
			    "3"),
		 SLICE_INIT("3:4\xf0\x9f\x98\x80"
			    "1:3")},
		{"as base64 already", false,
		 SLICE_INIT("\x81\x06"
			    "b4AQID"),
		 SLICE_INIT("6:b4AQID")},
		{"attachment", true,
		 SLICE_INIT("\x81\x02"
			    "4x\x82\x04\4\1\2\3\x82\x01\4"),
		 SLICE_INIT("2:4x6:b4AQID2:b4")},
	};
	static const struct frame_row v3_binary[] = {
		{"none", false, SLICE_INIT(""), SLICE_INIT("")},
		{"text", false,
		 SLICE_INIT("\x81\x04"
			    "4\xe2\x82\xac"),
		 SLICE_INIT("\0\4\xff"
			    "4\xe2\x82\xac")},
		{"attachment", true,
		 SLICE_INIT("\x81\x0b"
			    "40123456789\x82\x04\4\1\2\3\x82\x01\4"),
		 SLICE_INIT("\0\1\1\xff"
			    "40123456789\1\4\xff\4\1\2\3\1\1\xff\4")},
	};

	for (size_t i = 0; i < COUNT(v4); i++)
		check_append(PAYLOAD_V4, &v4[i]);
	for (size_t i = 0; i < COUNT(v3_text); i++)
		check_append(PAYLOAD_V3_TEXT, &v3_text[i]);
	for (size_t i = 0; i < COUNT(v3_binary); i++)
		check_append(PAYLOAD_V3_BINARY, &v3_binary[i]);
}

/* Frames of all sizes come back as they were. */
static void test_round_trip(void)
{
	static const enum payload_format formats[] = {PAYLOAD_V4, PAYLOAD_V3_TEXT,
						      PAYLOAD_V3_BINARY};
	static const size_t sizes[] = {1, 2, 3, 9, 10, 99, 100, 126, 1000, 65536, 100000};
	static uint8_t bytes[100000];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7);
	for (size_t f = 0; f < COUNT(formats); f++) {
		struct buf frames = BUF_INIT, want = BUF_INIT, out = BUF_INIT,
			   said = BUF_INIT;
		size_t type_n = formats[f] == PAYLOAD_V4 ? 0 : 1;

		for (size_t i = 0; i < COUNT(sizes); i++) {
			struct slice s = slice_of(bytes, sizes[i]);

			bytes[0] = 4;
			ws_append(&frames, WS_BINARY, s);
			buf_byte(&want, 'b');
			buf_slice(&want, slice_skip(s, type_n));
			ws_append(&frames, WS_TEXT, SLICE_LIT("4text"));
			buf_str(&want, " t4text ");
		}
		payload_append(&out, formats[f], buf_view(&frames));
		read_all(formats[f], buf_view(&out), &said);
		CHECK_SLICE(buf_view(&said), buf_view(&want), "round trip");
		buf_deinit(&frames);
		buf_deinit(&want);
		buf_deinit(&out);
		buf_deinit(&said);
	}
}

int main(void)
{
	test_base64();
	test_base64_lenient();
	test_utf16();
	test_read();
	test_read_cut();
	test_v3_frame();
	test_append();
	test_round_trip();
	return test_done();
}
