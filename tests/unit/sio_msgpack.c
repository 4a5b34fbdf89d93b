/* Socket.IO packets as socket.io-msgpack-parser writes them: rows, each also fed cut
 * short at every byte; limits; what is written. */
#include <stdlib.h>

#include "proto/sio_msgpack.h"
#include "test.h"

#define S	    SLICE_INIT
#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
/* Keys, each with its length. */
#define TYPE "\xa4type"
#define NSP  "\xa3nsp"
#define DATA                                                                             \
	"\xa4"                                                                           \
	"data"
#define ID	  "\xa2id"
#define UNDEFINED "\xd4\0\0"

static const struct sio_limits limits = {.attachments_max = 2, .bytes_max = 1000};

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

static const struct good {
	const char *name;
	struct slice bytes;
	enum sio_type type;
	struct slice nsp;
	int64_t id; /* -1: none */
	struct slice data, query;
} goods[] = {
	{"connect", S("\x82" TYPE "\0" NSP "\xa1/"), SIO_CONNECT, S("/"), -1, S(""),
	 S("")},
	{"connect with auth",
	 S("\x83" TYPE "\0" DATA "\x81\xa1"
	   "a\1" NSP "\xa2/x"),
	 SIO_CONNECT, S("/x"), -1,
	 S("\x81\xa1"
	   "a\1"),
	 S("")},
	{"undefined is missing",
	 S("\x84" TYPE "\0" DATA UNDEFINED NSP "\xa1/" ID UNDEFINED), SIO_CONNECT, S("/"),
	 -1, S(""), S("")},
	{"query", S("\x82" TYPE "\0" NSP "\xa6/x?b=c"), SIO_CONNECT, S("/x"), -1, S(""),
	 S("b=c")},
	{"disconnect", S("\x82" TYPE "\1" NSP "\xa1/"), SIO_DISCONNECT, S("/"), -1, S(""),
	 S("")},
	{"event with options",
	 S("\x84" TYPE "\2" DATA "\x92\xa1"
	   "a\1\xa7options\x81\xa8"
	   "compress\xc3" NSP "\xa1/"),
	 SIO_EVENT, S("/"), -1,
	 S("\x92\xa1"
	   "a\1"),
	 S("")},
	{"event with id",
	 S("\x84" TYPE "\2" DATA "\x91\xa1"
	   "a" ID "\xcd\1\2" NSP "\xa1/"),
	 SIO_EVENT, S("/"), 258,
	 S("\x91\xa1"
	   "a"),
	 S("")},
	{"numbers as doubles",
	 S("\x84" TYPE "\xcb\x40\0\0\0\0\0\0\0" DATA "\x91\xa1"
	   "a" ID "\xcb\x40\x14\0\0\0\0\0\0" NSP "\xa1/"),
	 SIO_EVENT, S("/"), 5,
	 S("\x91\xa1"
	   "a"),
	 S("")},
	{"highest id",
	 S("\x84" TYPE "\2" DATA "\x91\xa1"
	   "a" ID "\xcf\0\x1f\xff\xff\xff\xff\xff\xff" NSP "\xa1/"),
	 SIO_EVENT, S("/"), (int64_t)SIO_ACK_ID_MAX,
	 S("\x91\xa1"
	   "a"),
	 S("")},
	{"binaries",
	 S("\x83" TYPE "\2" DATA "\x93\xa1"
	   "a\xc4\1x\xc7\1\0y" NSP "\xa1/"),
	 SIO_EVENT, S("/"), -1,
	 S("\x93\xa1"
	   "a\xc4\1x\xc7\1\0y"),
	 S("")},
	{"dates and undefined are no binaries",
	 S("\x83" TYPE "\2" DATA "\x96\xa1"
	   "a\xd7\0\0\0\0\0\0\0\0\1\xd7\0\0\0\0\0\0\0\0\2" UNDEFINED UNDEFINED UNDEFINED
		   NSP "\xa1/"),
	 SIO_EVENT, S("/"), -1,
	 S("\x96\xa1"
	   "a\xd7\0\0\0\0\0\0\0\0\1\xd7\0\0\0\0\0\0\0\0\2" UNDEFINED UNDEFINED UNDEFINED),
	 S("")},
	{"map within",
	 S("\x83" TYPE "\2" DATA "\x92\xa1"
	   "a\x82\xa1k\x90\1\x80" NSP "\xa1/"),
	 SIO_EVENT, S("/"), -1,
	 S("\x92\xa1"
	   "a\x82\xa1k\x90\1\x80"),
	 S("")},
	{"the last of equal keys", S("\x84" TYPE "\1" NSP "\xa2/x" NSP "\xa1/" TYPE "\0"),
	 SIO_CONNECT, S("/"), -1, S(""), S("")},
	{"ack", S("\x84" TYPE "\3" DATA "\x90" ID "\0" NSP "\xa1/"), SIO_ACK, S("/"), 0,
	 S("\x90"), S("")},
	{"connect error", S("\x83" TYPE "\4" DATA "\xa2no" NSP "\xa1/"),
	 SIO_CONNECT_ERROR, S("/"), -1, S("\xa2no"), S("")},
	{"namespace without slash", S("\x82" TYPE "\0" NSP "\xa1x"), SIO_CONNECT, S("x"),
	 -1, S(""), S("")},
};

static void test_good(void)
{
	for (size_t i = 0; i < COUNT(goods); i++) {
		const struct good *row = &goods[i];

		for (size_t n = 0; n <= row->bytes.n; n++) {
			uint8_t *copy = copy_of(slice_of(row->bytes.p, n));
			struct sio_packet p = {.nsp = SLICE_LIT("untouched")};
			enum err err = sio_msgpack_decode(&limits, slice_of(copy, n), &p);

			CHECK_ROW(!err == (n == row->bytes.n), row->name);
			if (err) {
				CHECK_SLICE(p.nsp, SLICE_LIT("untouched"), row->name);
			} else {
				CHECK_ROW(p.type == row->type, row->name);
				CHECK_SLICE(p.nsp, row->nsp, row->name);
				CHECK_SLICE(p.data, row->data, row->name);
				CHECK_SLICE(p.query, row->query, row->name);
				CHECK_ROW(p.has_id == (row->id >= 0), row->name);
				CHECK_ROW(!p.has_id || p.id == (uint64_t)row->id,
					  row->name);
			}
			free(copy);
		}
	}
}

static void test_bad(void)
{
	static const struct {
		const char *name;
		struct slice bytes;
		enum err err;
	} rows[] = {
		{"no map", S("\x90"), ERR_SYNTAX},
		{"text", S("0"), ERR_SYNTAX},
		{"trailing", S("\x82" TYPE "\0" NSP "\xa1/\0"), ERR_SYNTAX},
		{"huge count", S("\xdf\xff\xff\xff\xff"), ERR_TRUNCATED},
		{"no type", S("\x81" NSP "\xa1/"), ERR_SYNTAX},
		{"type 5", S("\x82" TYPE "\5" NSP "\xa1/"), ERR_SYNTAX},
		{"type -1", S("\x82" TYPE "\xff" NSP "\xa1/"), ERR_SYNTAX},
		{"type as text",
		 S("\x82" TYPE "\xa1"
		   "0" NSP "\xa1/"),
		 ERR_SYNTAX},
		{"no nsp", S("\x81" TYPE "\0"), ERR_SYNTAX},
		{"nsp undefined", S("\x82" TYPE "\0" NSP UNDEFINED), ERR_SYNTAX},
		{"nsp nil", S("\x82" TYPE "\0" NSP "\xc0"), ERR_SYNTAX},
		{"nsp not UTF-8", S("\x82" TYPE "\0" NSP "\xa2/\xff"), ERR_SYNTAX},
		{"key is no string", S("\x83\1\1" TYPE "\0" NSP "\xa1/"), ERR_SYNTAX},
		{"connect with nil", S("\x83" TYPE "\0" DATA "\xc0" NSP "\xa1/"),
		 ERR_SYNTAX},
		{"connect with array", S("\x83" TYPE "\0" DATA "\x90" NSP "\xa1/"),
		 ERR_SYNTAX},
		{"disconnect with data", S("\x83" TYPE "\1" DATA "\x80" NSP "\xa1/"),
		 ERR_SYNTAX},
		{"event without data", S("\x82" TYPE "\2" NSP "\xa1/"), ERR_SYNTAX},
		{"event of nothing", S("\x83" TYPE "\2" DATA "\x90" NSP "\xa1/"),
		 ERR_SYNTAX},
		{"event named nil", S("\x83" TYPE "\2" DATA "\x91\xc0" NSP "\xa1/"),
		 ERR_SYNTAX},
		{"reserved name",
		 S("\x83" TYPE "\2" DATA "\x91\xa7"
		   "connect" NSP "\xa1/"),
		 ERR_SYNTAX},
		{"text in data not UTF-8",
		 S("\x83" TYPE "\2" DATA "\x92\xa1"
		   "a\xa1\xff" NSP "\xa1/"),
		 ERR_SYNTAX},
		{"key in data not UTF-8",
		 S("\x83" TYPE "\2" DATA "\x92\xa1"
		   "a\x81\xa1\xff\1" NSP "\xa1/"),
		 ERR_SYNTAX},
		{"text in options not UTF-8",
		 S("\x83" TYPE "\0\xa7options\xa1\xff" NSP "\xa1/"), ERR_SYNTAX},
		{"key that is an array",
		 S("\x83" TYPE "\2" DATA "\x92\xa1"
		   "a\x81\x90\1" NSP "\xa1/"),
		 ERR_SYNTAX},
		{"byte c1",
		 S("\x83" TYPE "\2" DATA "\x92\xa1"
		   "a\xc1" NSP "\xa1/"),
		 ERR_SYNTAX},
		{"connect error without data", S("\x82" TYPE "\4" NSP "\xa1/"),
		 ERR_SYNTAX},
		{"ack without data", S("\x83" TYPE "\3" ID "\0" NSP "\xa1/"), ERR_SYNTAX},
		{"id -1", S("\x84" TYPE "\3" DATA "\x90" ID "\xff" NSP "\xa1/"),
		 ERR_SYNTAX},
		{"id nil", S("\x84" TYPE "\3" DATA "\x90" ID "\xc0" NSP "\xa1/"),
		 ERR_SYNTAX},
		{"id 1.5",
		 S("\x84" TYPE "\3" DATA "\x90" ID "\xcb\x3f\xf8\0\0\0\0\0\0" NSP
		   "\xa1/"),
		 ERR_SYNTAX},
		{"id 2^53",
		 S("\x84" TYPE "\3" DATA "\x90" ID "\xcf\0\x20\0\0\0\0\0\0" NSP "\xa1/"),
		 ERR_SYNTAX},
		{"three binaries",
		 S("\x83" TYPE "\2" DATA "\x94\xa1"
		   "a\xc4\0\xc4\0\xd5\1xy" NSP "\xa1/"),
		 ERR_TOO_MANY},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		uint8_t *copy = copy_of(rows[i].bytes);
		struct sio_packet p;

		CHECK_ROW(sio_msgpack_decode(&limits, slice_of(copy, rows[i].bytes.n),
					     &p) == rows[i].err,
			  rows[i].name);
		free(copy);
	}
}

/* An event whose argument is `depth` - 1 arrays, one in another, around `inner`. */
static enum err decode_nested(size_t depth, struct slice inner)
{
	struct buf b = BUF_INIT;
	struct sio_packet p;
	enum err err;

	buf_append(&b,
		   "\x83" TYPE "\2" NSP "\xa1/" DATA "\x92\xa1"
		   "a",
		   sizeof("\x83" TYPE "\2" NSP "\xa1/" DATA "\x92\xa1"
			  "a") -
			   1);
	for (size_t i = 1; i < depth; i++)
		buf_byte(&b, 0x91);
	buf_slice(&b, inner);
	err = sio_msgpack_decode(&limits, buf_view(&b), &p);
	if (!err) {
		struct buf text = BUF_INIT;
		struct json_bins bins = {NULL, 0, 0};

		/* What comes in can go out to everybody. */
		CHECK(sio_encode(&p, &text, &bins) == ERR_OK);
		buf_deinit(&text);
		json_bins_deinit(&bins);
	}
	buf_deinit(&b);
	return err;
}

static void test_limits(void)
{
	static const struct sio_limits small = {.attachments_max = 0, .bytes_max = 12};
	struct slice connect = SLICE_LIT("\x82" TYPE "\0" NSP "\xa1/");
	struct sio_packet p;

	CHECK(decode_nested(MP_DEPTH_MAX, SLICE_LIT("\1")) == ERR_OK);
	CHECK(decode_nested(MP_DEPTH_MAX, SLICE_LIT("\x90")) == ERR_DEPTH);
	CHECK(decode_nested(MP_DEPTH_MAX, SLICE_LIT("\x80")) == ERR_DEPTH);
	CHECK(decode_nested(MP_DEPTH_MAX, SLICE_LIT("\xc4\0")) == ERR_DEPTH);
	CHECK(decode_nested(MP_DEPTH_MAX - 1, SLICE_LIT("\xc4\0")) == ERR_OK);
	CHECK(decode_nested(MP_DEPTH_MAX - 1, SLICE_LIT("\xd4\5x")) == ERR_DEPTH);
	CHECK(decode_nested(MP_DEPTH_MAX - 2, SLICE_LIT("\xd4\5x")) == ERR_OK);
	CHECK(connect.n == 13);
	CHECK(sio_msgpack_decode(&small, connect, &p) == ERR_TOO_BIG);
}

static void test_encode(void)
{
	static const struct {
		const char *name;
		struct sio_packet packet;
		enum err err;
		struct slice bytes;
	} rows[] = {
		{"disconnect",
		 {.type = SIO_DISCONNECT, .nsp = S("/")},
		 ERR_OK,
		 S("\x82" TYPE "\1" NSP "\xa1/")},
		{"no namespace",
		 {.type = SIO_CONNECT},
		 ERR_OK,
		 S("\x82" TYPE "\0" NSP "\xa1/")},
		{"event",
		 {.type = SIO_EVENT,
		  .nsp = S("/x"),
		  .data = S("\x91\xa1"
			    "a")},
		 ERR_OK,
		 S("\x83" TYPE "\2" DATA "\x91\xa1"
		   "a" NSP "\xa2/x")},
		{"ack",
		 {.type = SIO_ACK,
		  .nsp = S("/"),
		  .has_id = true,
		  .id = 7,
		  .data = S("\x91\xc4\1x")},
		 ERR_OK,
		 S("\x84" TYPE "\3" DATA "\x91\xc4\1x" NSP "\xa1/" ID "\7")},
		{"cut",
		 {.type = SIO_EVENT,
		  .nsp = S("/"),
		  .data = S("\x92\xa1"
			    "a")},
		 ERR_TRUNCATED,
		 S("")},
		{"two values",
		 {.type = SIO_EVENT, .nsp = S("/"), .data = S("\x91\1\1")},
		 ERR_SYNTAX,
		 S("")},
	};
	struct buf out = BUF_INIT;

	for (size_t i = 0; i < COUNT(rows); i++) {
		buf_clear(&out);
		buf_byte(&out, '4');
		CHECK_ROW(sio_msgpack_encode(&rows[i].packet, &out) == rows[i].err,
			  rows[i].name);
		CHECK_SLICE(slice_skip(buf_view(&out), 1), rows[i].bytes, rows[i].name);
	}
	buf_deinit(&out);
}

int main(void)
{
	test_good();
	test_bad();
	test_limits();
	test_encode();
	return test_done();
}
