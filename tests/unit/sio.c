/* Socket.IO packets: text and attachments to values and back. */
#include <stdlib.h>

#include "proto/sio.h"
#include "test.h"

#define S(text)	       SLICE_INIT(text)
#define PLACEHOLDER(i) "{\"_placeholder\":true,\"num\":" #i "}"

static const struct sio_limits limits = {.attachments_max = 10, .bytes_max = 1000};

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

/* Feeds copies that are gone when the call returns. */
static enum err feed(struct sio_decoder *d, const struct sio_limits *l, bool binary,
		     struct slice s, struct buf *scratch, struct sio_packet *packet,
		     bool *complete)
{
	uint8_t *copy = copy_of(s);
	struct slice in = slice_of(copy, s.n);
	enum err err = binary ? sio_decode_binary(d, l, in, scratch, packet, complete)
			      : sio_decode_text(d, l, in, scratch, packet, complete);

	free(copy);
	return err;
}

/* Packets of one text. `back`: what sio_encode makes of it. */
static const struct row {
	struct slice text;
	enum sio_type type;
	struct slice nsp;
	int64_t id; /* -1: none */
	struct slice data, back;
} rows[] = {
	{S("0"), SIO_CONNECT, S("/"), -1, S(""), S("0")},
	{S("0{}"), SIO_CONNECT, S("/"), -1, S("\x80"), S("0{}")},
	{S("0{\"a\":1}"), SIO_CONNECT, S("/"), -1,
	 S("\x81\xa1"
	   "a\x01"),
	 S("0{\"a\":1}")},
	{S("0/,"), SIO_CONNECT, S("/"), -1, S(""), S("0")},
	{S("0/a"), SIO_CONNECT, S("/a"), -1, S(""), S("0/a,")},
	{S("0/a,"), SIO_CONNECT, S("/a"), -1, S(""), S("0/a,")},
	{S("0/a?b=c&d=e,{}"), SIO_CONNECT, S("/a"), -1, S("\x80"), S("0/a,{}")},
	{S("0/?b"), SIO_CONNECT, S("/"), -1, S(""), S("0")},
	{S("0/[\"x\"]"), SIO_CONNECT, S("/[\"x\"]"), -1, S(""), S("0/[\"x\"],")},
	{S("0/\xc3\xa4,"), SIO_CONNECT, S("/\xc3\xa4"), -1, S(""), S("0/\xc3\xa4,")},
	{S("012{}"), SIO_CONNECT, S("/"), 12, S("\x80"), S("012{}")},
	{S("1"), SIO_DISCONNECT, S("/"), -1, S(""), S("1")},
	{S("1/a,"), SIO_DISCONNECT, S("/a"), -1, S(""), S("1/a,")},
	{S("2[\"a\"]"), SIO_EVENT, S("/"), -1,
	 S("\x91\xa1"
	   "a"),
	 S("2[\"a\"]")},
	{S("2 [ \"a\" ] "), SIO_EVENT, S("/"), -1,
	 S("\x91\xa1"
	   "a"),
	 S("2[\"a\"]")},
	{S("2[\"\"]"), SIO_EVENT, S("/"), -1, S("\x91\xa0"), S("2[\"\"]")},
	{S("2[5,null]"), SIO_EVENT, S("/"), -1, S("\x92\x05\xc0"), S("2[5,null]")},
	{S("2[1.5]"), SIO_EVENT, S("/"), -1,
	 S("\x91\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00"), S("2[1.5]")},
	{S("2[\"connected\"]"), SIO_EVENT, S("/"), -1,
	 S("\x91\xa9"
	   "connected"),
	 S("2[\"connected\"]")},
	{S("2/a,7[\"b\",[1]]"), SIO_EVENT, S("/a"), 7,
	 S("\x92\xa1"
	   "b\x91\x01"),
	 S("2/a,7[\"b\",[1]]")},
	{S("2/a?q=1,007[\"b\"]"), SIO_EVENT, S("/a"), 7,
	 S("\x91\xa1"
	   "b"),
	 S("2/a,7[\"b\"]")},
	{S("20[\"b\"]"), SIO_EVENT, S("/"), 0,
	 S("\x91\xa1"
	   "b"),
	 S("20[\"b\"]")},
	{S("29007199254740991[\"b\"]"), SIO_EVENT, S("/"), (int64_t)SIO_ACK_ID_MAX,
	 S("\x91\xa1"
	   "b"),
	 S("29007199254740991[\"b\"]")},
	{S("200000000000000000000000000001[\"b\"]"), SIO_EVENT, S("/"), 1,
	 S("\x91\xa1"
	   "b"),
	 S("21[\"b\"]")},
	/* In text without attachments a placeholder is an object like any other. */
	{S("2[\"b\"," PLACEHOLDER(0) "]"), SIO_EVENT, S("/"), -1,
	 S("\x92\xa1"
	   "b\x82\xac_placeholder\xc3\xa3num\x00"),
	 S("2[\"b\"," PLACEHOLDER(0) "]")},
	{S("35[]"), SIO_ACK, S("/"), 5, S("\x90"), S("35[]")},
	{S("3[\"connect\"]"), SIO_ACK, S("/"), -1,
	 S("\x91\xa7"
	   "connect"),
	 S("3[\"connect\"]")},
	{S("4\"no\""), SIO_CONNECT_ERROR, S("/"), -1, S("\xa2no"), S("4\"no\"")},
	{S("4/a,{\"message\":\"no\"}"), SIO_CONNECT_ERROR, S("/a"), -1,
	 S("\x81\xa7message\xa2no"), S("4/a,{\"message\":\"no\"}")},
	{S("4"), SIO_CONNECT_ERROR, S("/"), -1, S(""), S("4")},
	/* Marked as binary, but nothing follows. */
	{S("50-[\"a\"]"), SIO_EVENT, S("/"), -1,
	 S("\x91\xa1"
	   "a"),
	 S("2[\"a\"]")},
	{S("60-/a,3[1]"), SIO_ACK, S("/a"), 3, S("\x91\x01"), S("3/a,3[1]")},
};

static void check_decoded(const struct row *row, const struct sio_packet *packet)
{
	const char *name = (const char *)row->text.p;

	CHECK_ROW(packet->type == row->type, name);
	CHECK_SLICE(packet->nsp, row->nsp, name);
	CHECK_ROW(packet->has_id == (row->id >= 0), name);
	CHECK_ROW(packet->id == (row->id < 0 ? 0 : (uint64_t)row->id), name);
	CHECK_SLICE(packet->data, row->data, name);
}

static void check_encoded(const struct row *row, const struct sio_packet *packet)
{
	struct buf text = BUF_INIT;
	struct json_bins bins = {NULL, 0, 0};

	buf_str(&text, "4");
	CHECK_ROW(sio_encode(packet, &text, &bins) == ERR_OK, (const char *)row->text.p);
	CHECK_SLICE(slice_skip(buf_view(&text), 1), row->back, (const char *)row->text.p);
	CHECK_ROW(bins.n == 0, (const char *)row->text.p);
	buf_deinit(&text);
	json_bins_deinit(&bins);
}

static void test_text(void)
{
	struct buf scratch = BUF_INIT;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *name = (const char *)rows[i].text.p;
		struct sio_decoder *d = sio_decoder_new();
		struct sio_packet packet;
		bool complete = false;

		/* Twice: the decoder is as new after a packet. */
		for (int round = 0; round < 2; round++) {
			enum err err = feed(d, &limits, false, rows[i].text, &scratch,
					    &packet, &complete);

			CHECK_ROW(err == ERR_OK && complete, name);
			CHECK_ROW(!sio_decoder_busy(d), name);
			if (err || !complete)
				break;
			check_decoded(&rows[i], &packet);
			check_encoded(&rows[i], &packet);
		}
		sio_decoder_free(d);
	}
	buf_deinit(&scratch);
}

/* A shorter text is malformed or another packet, and never read beyond its end. */
static void test_text_cut(void)
{
	struct buf scratch = BUF_INIT;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (size_t n = 0; n < rows[i].text.n; n++) {
			struct sio_decoder *d = sio_decoder_new();
			struct sio_packet packet;
			bool complete = false;
			enum err err =
				feed(d, &limits, false, slice_of(rows[i].text.p, n),
				     &scratch, &packet, &complete);

			CHECK(err == ERR_OK || err == ERR_SYNTAX);
			CHECK(n > 0 || err == ERR_SYNTAX);
			if (!err && packet.type == SIO_EVENT)
				CHECK(sio_event_ok(packet.data));
			sio_decoder_free(d);
		}
	}
	buf_deinit(&scratch);
}

static void test_refused(void)
{
	static const struct {
		struct slice text;
		enum err err;
	} refused[] = {
		{S(""), ERR_SYNTAX},
		{S("7"), ERR_SYNTAX},
		{S("9[\"a\"]"), ERR_SYNTAX},
		{S("abc"), ERR_SYNTAX},
		{S(" "), ERR_SYNTAX},
		{S("0[]"), ERR_SYNTAX},
		{S("0null"), ERR_SYNTAX},
		{S("0\"a\""), ERR_SYNTAX},
		{S("0{"), ERR_SYNTAX},
		{S("0{}{}"), ERR_SYNTAX},
		{S("0/\xff,"), ERR_SYNTAX},
		{S("0/\xed\xa0\x80"), ERR_SYNTAX},
		{S("0/a?\xff,{}"), ERR_SYNTAX},
		{S("1{}"), ERR_SYNTAX},
		{S("1null"), ERR_SYNTAX},
		{S("2"), ERR_SYNTAX},
		{S("2/a,"), ERR_SYNTAX},
		{S("2/a,5"), ERR_SYNTAX},
		{S("2/a[\"b\"]"), ERR_SYNTAX},
		{S("2{}"), ERR_SYNTAX},
		{S("2[]"), ERR_SYNTAX},
		{S("2[null]"), ERR_SYNTAX},
		{S("2[true]"), ERR_SYNTAX},
		{S("2[[\"a\"]]"), ERR_SYNTAX},
		{S("2[{}]"), ERR_SYNTAX},
		{S("2[1e999]"), ERR_SYNTAX},
		{S("2[\"a\""), ERR_SYNTAX},
		{S("2abc[\"a\"]"), ERR_SYNTAX},
		{S("21 2[\"a\"]"), ERR_SYNTAX},
		{S("2-1[\"a\"]"), ERR_SYNTAX},
		{S("21.5[\"a\"]"), ERR_SYNTAX},
		{S("29007199254740992[\"a\"]"), ERR_SYNTAX},
		{S("299999999999999999999[\"a\"]"), ERR_SYNTAX},
		{S("2[\"connect\"]"), ERR_SYNTAX},
		{S("2[\"connect_error\"]"), ERR_SYNTAX},
		{S("2[\"disconnect\"]"), ERR_SYNTAX},
		{S("2[\"disconnecting\"]"), ERR_SYNTAX},
		{S("2[\"newListener\"]"), ERR_SYNTAX},
		{S("2[\"removeListener\"]"), ERR_SYNTAX},
		{S("2[\"\\u0063onnect\"]"), ERR_SYNTAX},
		{S("3"), ERR_SYNTAX},
		{S("35"), ERR_SYNTAX},
		{S("3{}"), ERR_SYNTAX},
		{S("3null"), ERR_SYNTAX},
		{S("4[]"), ERR_SYNTAX},
		{S("41"), ERR_OK},
		{S("41.5"), ERR_SYNTAX},
		{S("5"), ERR_SYNTAX},
		{S("5["), ERR_SYNTAX},
		{S("51[\"a\"]"), ERR_SYNTAX},
		{S("5-[\"a\"]"), ERR_SYNTAX},
		{S("5a-[\"a\"]"), ERR_SYNTAX},
		{S("51.0-[\"a\"]"), ERR_SYNTAX},
		{S("5-1-[\"a\"]"), ERR_SYNTAX},
		{S("51-"), ERR_SYNTAX},
		{S("51-{}"), ERR_SYNTAX},
		{S("51-[\"connect\"]"), ERR_SYNTAX},
		{S("51-[" PLACEHOLDER(0) "]"), ERR_SYNTAX},
		{S("51-" PLACEHOLDER(0)), ERR_SYNTAX},
		{S("61-" PLACEHOLDER(0)), ERR_SYNTAX},
		{S("510-[\"a\"]"), ERR_OK},
		{S("511-[\"a\"]"), ERR_TOO_MANY},
		{S("599999999999999999999999-[\"a\"]"), ERR_TOO_MANY},
		{S("50-[\"a\"," PLACEHOLDER(0) "]"), ERR_RANGE},
		{S("51-[\"a\"," PLACEHOLDER(1) "]"), ERR_RANGE},
		{S("51-[\"a\"," PLACEHOLDER(-1) "]"), ERR_RANGE},
		{S("51-[\"a\"," PLACEHOLDER(0.5) "]"), ERR_RANGE},
		{S("51-[\"a\"," PLACEHOLDER("0") "]"), ERR_RANGE},
		{S("51-[\"a\",{\"_placeholder\":true}]"), ERR_RANGE},
	};
	struct buf scratch = BUF_INIT;

	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		struct sio_decoder *d = sio_decoder_new();
		struct sio_packet packet = {.nsp = SLICE_LIT("untouched")};
		bool complete = false;
		enum err err = feed(d, &limits, false, refused[i].text, &scratch, &packet,
				    &complete);

		CHECK_ROW(err == refused[i].err, (const char *)refused[i].text.p);
		if (err) {
			CHECK_ROW(!complete, (const char *)refused[i].text.p);
			CHECK_SLICE(packet.nsp, SLICE_LIT("untouched"),
				    (const char *)refused[i].text.p);
		}
		sio_decoder_free(d);
	}
	buf_deinit(&scratch);
}

static void test_depth(void)
{
	struct buf scratch = BUF_INIT, text = BUF_INIT;
	struct sio_packet packet;
	bool complete;

	for (int depth = MP_DEPTH_MAX - 1; depth <= MP_DEPTH_MAX + 1; depth++) {
		struct sio_decoder *d = sio_decoder_new();

		buf_clear(&text);
		buf_str(&text, "2[\"a\"");
		for (int i = 1; i < depth; i++)
			buf_str(&text, ",[1");
		for (int i = 0; i < depth; i++)
			buf_str(&text, "]");
		CHECK(feed(d, &limits, false, buf_view(&text), &scratch, &packet,
			   &complete) == (depth <= MP_DEPTH_MAX ? ERR_OK : ERR_DEPTH));
		sio_decoder_free(d);
	}
	buf_deinit(&scratch);
	buf_deinit(&text);
}

static void test_attachments(void)
{
	static const struct {
		struct slice text;
		size_t n;
		struct slice bins[3];
		struct row want;
	} cases[] = {
		{S("51-[\"a\"," PLACEHOLDER(0) "]"),
		 1,
		 {S("\x01\x02")},
		 {S("one"), SIO_EVENT, S("/"), -1,
		  S("\x92\xa1"
		    "a\xc4\x02\x01\x02"),
		  S("51-[\"a\"," PLACEHOLDER(0) "]")}},
		{S("53-/a?b=c,9[\"a\"," PLACEHOLDER(2) ",[" PLACEHOLDER(
			 0) "],{\"k\":" PLACEHOLDER(1) "}]"),
		 3,
		 {S("x"), S(""), S("zzz")},
		 {S("three, in another order"), SIO_EVENT, S("/a"), 9,
		  S("\x94\xa1"
		    "a\xc4\x03zzz\x91\xc4\x01x\x81\xa1k\xc4\x00"),
		  S("53-/a,9[\"a\"," PLACEHOLDER(0) ",[" PLACEHOLDER(
			  1) "],{\"k\":" PLACEHOLDER(2) "}]")}},
		{S("61-4[" PLACEHOLDER(0) "]"),
		 1,
		 {S("")},
		 {S("ack"), SIO_ACK, S("/"), 4, S("\x91\xc4\x00"),
		  S("61-4[" PLACEHOLDER(0) "]")}},
		{S("52-[\"unused\"]"),
		 2,
		 {S("a"), S("b")},
		 {S("unused"), SIO_EVENT, S("/"), -1, S("\x91\xa6unused"),
		  S("2[\"unused\"]")}},
	};
	struct buf scratch = BUF_INIT, text = BUF_INIT;
	struct json_bins bins = {NULL, 0, 0};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *name = (const char *)cases[i].want.text.p;
		struct sio_decoder *d = sio_decoder_new();
		struct sio_packet packet;
		bool complete = true;

		CHECK_ROW(feed(d, &limits, false, cases[i].text, &scratch, &packet,
			       &complete) == ERR_OK,
			  name);
		for (size_t b = 0; b < cases[i].n; b++) {
			CHECK_ROW(!complete && sio_decoder_busy(d), name);
			/* Others use the scratch buffer meanwhile. */
			buf_clear(&scratch);
			buf_str(&scratch, "something else");
			CHECK_ROW(feed(d, &limits, true, cases[i].bins[b], &scratch,
				       &packet, &complete) == ERR_OK,
				  name);
		}
		CHECK_ROW(complete && !sio_decoder_busy(d), name);
		if (complete) {
			check_decoded(&cases[i].want, &packet);
			buf_clear(&text);
			bins.n = 0;
			CHECK_ROW(sio_encode(&packet, &text, &bins) == ERR_OK, name);
			CHECK_SLICE(buf_view(&text), cases[i].want.back, name);
		}
		sio_decoder_free(d);
	}
	buf_deinit(&scratch);
	buf_deinit(&text);
	json_bins_deinit(&bins);
}

/* What is due decides what may come. */
static void test_order(void)
{
	struct buf scratch = BUF_INIT;
	struct sio_packet packet;
	bool complete = true;
	struct sio_decoder *d = sio_decoder_new();

	CHECK(feed(d, &limits, true, SLICE_LIT("x"), &scratch, &packet, &complete) ==
	      ERR_SYNTAX);
	sio_decoder_free(d);

	d = sio_decoder_new();
	CHECK(feed(d, &limits, false, SLICE_LIT("51-[\"a\"]"), &scratch, &packet,
		   &complete) == ERR_OK);
	CHECK(!complete);
	CHECK(feed(d, &limits, false, SLICE_LIT("2[\"a\"]"), &scratch, &packet,
		   &complete) == ERR_SYNTAX);
	sio_decoder_free(d); /* with attachments due */

	d = sio_decoder_new();
	CHECK(feed(d, &limits, false, SLICE_LIT("50-[\"a\"]"), &scratch, &packet,
		   &complete) == ERR_OK);
	CHECK(complete);
	CHECK(feed(d, &limits, true, SLICE_LIT("x"), &scratch, &packet, &complete) ==
	      ERR_SYNTAX);
	sio_decoder_free(d);
	sio_decoder_free(NULL);
	buf_deinit(&scratch);
}

static void test_limits(void)
{
	static const struct sio_limits tight = {.attachments_max = 2, .bytes_max = 20};
	struct buf scratch = BUF_INIT;
	struct sio_packet packet;
	bool complete = true;
	struct sio_decoder *d = sio_decoder_new();

	CHECK(feed(d, &tight, false, SLICE_LIT("2[\"4567890123456789\"]"), &scratch,
		   &packet, &complete) == ERR_TOO_BIG);
	sio_decoder_free(d);

	for (size_t extra = 0; extra < 2; extra++) {
		d = sio_decoder_new();
		CHECK(feed(d, &tight, false, SLICE_LIT("2[\"456789012345678\"]"),
			   &scratch, &packet, &complete) == ERR_OK);
		CHECK(feed(d, &tight, false, SLICE_LIT("52-[\"unused\"]"), &scratch,
			   &packet, &complete) == ERR_OK);
		CHECK(feed(d, &tight, true, SLICE_LIT("1234"), &scratch, &packet,
			   &complete) == ERR_OK);
		CHECK(feed(d, &tight, true, slice_of("567", 3 + extra), &scratch, &packet,
			   &complete) == (extra ? ERR_TOO_BIG : ERR_OK));
		CHECK(complete == !extra);
		sio_decoder_free(d);
	}

	d = sio_decoder_new();
	CHECK(feed(d, &tight, false, SLICE_LIT("53-[1]"), &scratch, &packet, &complete) ==
	      ERR_TOO_MANY);
	sio_decoder_free(d);
	buf_deinit(&scratch);
}

/* One attachment asked for a hundred times must not become a hundred of them. */
static void test_amplification(void)
{
	struct buf scratch = BUF_INIT, text = BUF_INIT;
	static const uint8_t block[1000] = {0};
	const struct sio_limits wide = {.attachments_max = 10, .bytes_max = 10000};
	struct sio_packet packet;
	bool complete = true;
	struct sio_decoder *d = sio_decoder_new();

	buf_str(&text, "51-[\"a\"");
	for (int i = 0; i < 100; i++)
		buf_str(&text, "," PLACEHOLDER(0));
	buf_str(&text, "]");
	CHECK(feed(d, &wide, false, buf_view(&text), &scratch, &packet, &complete) ==
	      ERR_OK);
	CHECK(!complete);
	CHECK(feed(d, &wide, true, slice_of(block, sizeof(block)), &scratch, &packet,
		   &complete) == ERR_RANGE);
	CHECK(!complete);
	sio_decoder_free(d);
	buf_deinit(&scratch);
	buf_deinit(&text);
}

static void test_encode_errors(void)
{
	static const struct {
		const char *name;
		struct sio_packet packet;
		enum err err;
	} cases[] = {
		{"binary in CONNECT",
		 {.type = SIO_CONNECT,
		  .nsp = S("/"),
		  .has_id = false,
		  .id = 0,
		  .data = S("\x81\xa1"
			    "a\xc4\x01x")},
		 ERR_DENIED},
		{"cut",
		 {.type = SIO_EVENT,
		  .nsp = S("/"),
		  .has_id = false,
		  .id = 0,
		  .data = S("\x93\xa1"
			    "a\xc4\x01x")},
		 ERR_TRUNCATED},
		{"two values",
		 {.type = SIO_ACK,
		  .nsp = S("/"),
		  .has_id = false,
		  .id = 0,
		  .data = S("\x90\x90")},
		 ERR_SYNTAX},
		{"map key",
		 {.type = SIO_ACK,
		  .nsp = S("/"),
		  .has_id = false,
		  .id = 0,
		  .data = S("\x91\x81\x90\xc0")},
		 ERR_SYNTAX},
	};
	struct buf text = BUF_INIT;
	struct json_bins bins = {NULL, 0, 0};

	buf_str(&text, "4");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CHECK_ROW(sio_encode(&cases[i].packet, &text, &bins) == cases[i].err,
			  cases[i].name);
		CHECK_SLICE(buf_view(&text), SLICE_LIT("4"), cases[i].name);
		CHECK_ROW(bins.n == 0, cases[i].name);
	}
	buf_deinit(&text);
	json_bins_deinit(&bins);
}

static void test_event_ok(void)
{
	CHECK(sio_event_ok(SLICE_LIT("\x91\xa1"
				     "a")));
	CHECK(sio_event_ok(SLICE_LIT("\x91\xcf\xff\xff\xff\xff\xff\xff\xff\xff")));
	CHECK(sio_event_ok(SLICE_LIT("\x91\xe0")));
	CHECK(!sio_event_ok(SLICE_LIT("\x91\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00")));
	CHECK(!sio_event_ok(SLICE_LIT("\x91\xd4\x00\x00")));
	CHECK(!sio_event_ok(SLICE_LIT("\x91\xa7"
				      "connect")));
	CHECK(!sio_event_ok(SLICE_LIT("\xa1"
				      "a")));
	CHECK(!sio_event_ok(SLICE_LIT("\x91")));
	CHECK(!sio_event_ok(SLICE_EMPTY));
	CHECK(sio_event_name_ok(SLICE_EMPTY));
	CHECK(sio_event_name_ok(SLICE_LIT("Connect")));
	CHECK(!sio_event_name_ok(SLICE_LIT("disconnecting")));
}

int main(void)
{
	test_text();
	test_text_cut();
	test_refused();
	test_depth();
	test_attachments();
	test_order();
	test_limits();
	test_amplification();
	test_encode_errors();
	test_event_ok();
	return test_done();
}
