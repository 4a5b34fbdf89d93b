/* Frames: the bytes a WebSocket carries, and who holds them. */
#include <stdlib.h>

#include "proto/frame.h"
#include "proto/ws.h"
#include "test.h"

static void test_refs(void)
{
	struct frame *f = frame_new(0, 1);

	CHECK(f->refs == 1 && f->packets == 1);
	CHECK(frame_view(f).n == 0);
	CHECK(frame_ref(f) == f && f->refs == 2);
	frame_unref(f);
	CHECK(f->refs == 1);
	frame_unref(f);
	frame_unref(NULL);
}

static void test_eio(void)
{
	struct frame *f = frame_ws_eio('2', SLICE_EMPTY);

	CHECK_SLICE(frame_view(f),
		    SLICE_LIT("\x81\x01"
			      "2"),
		    "ping");
	frame_unref(f);
	f = frame_ws_eio('3', SLICE_LIT("probe"));
	CHECK_SLICE(frame_view(f),
		    SLICE_LIT("\x81\x06"
			      "3probe"),
		    "pong of a probe");
	CHECK(f->packets == 1);
	frame_unref(f);
}

static void test_sio(void)
{
	static const struct {
		const char *name;
		struct sio_packet packet;
		enum err err;
		uint32_t packets;
		struct slice bytes;
	} rows[] = {
		{"event",
		 {.type = SIO_EVENT,
		  .nsp = SLICE_INIT("/"),
		  .has_id = false,
		  .id = 0,
		  .data = SLICE_INIT("\x91\xa2hi")},
		 ERR_OK,
		 1,
		 SLICE_INIT("\x81\x08"
			    "42[\"hi\"]")},
		{"ack in a namespace",
		 {.type = SIO_ACK,
		  .nsp = SLICE_INIT("/a"),
		  .has_id = true,
		  .id = 12,
		  .data = SLICE_INIT("\x90")},
		 ERR_OK,
		 1,
		 SLICE_INIT("\x81\x09"
			    "43/a,12[]")},
		{"connect",
		 {.type = SIO_CONNECT,
		  .nsp = SLICE_INIT("/"),
		  .has_id = false,
		  .id = 0,
		  .data = SLICE_INIT("\x81\xa3sid\xa3xyz")},
		 ERR_OK,
		 1,
		 SLICE_INIT("\x81\x0f"
			    "40{\"sid\":\"xyz\"}")},
		{"attachments",
		 {.type = SIO_EVENT,
		  .nsp = SLICE_INIT("/"),
		  .has_id = false,
		  .id = 0,
		  .data = SLICE_INIT("\x94\xa1"
				     "a\xc4\x02\x01\x02\xc4\x00\xc4\x01z")},
		 ERR_OK,
		 4,
		 SLICE_INIT("\x81\x63"
			    "453-[\"a\",{\"_placeholder\":true,\"num\":0},"
			    "{\"_placeholder\":true,\"num\":1},"
			    "{\"_placeholder\":true,\"num\":2}]"
			    "\x82\x02\x01\x02\x82\x00\x82\x01z")},
		{"malformed",
		 {.type = SIO_EVENT,
		  .nsp = SLICE_INIT("/"),
		  .has_id = false,
		  .id = 0,
		  .data = SLICE_INIT("\x92\xa1"
				     "a")},
		 ERR_TRUNCATED,
		 0,
		 SLICE_INIT("")},
	};
	struct buf scratch = BUF_INIT;
	struct json_bins bins = {NULL, 0, 0};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct frame *f = NULL;
		enum err err;

		buf_str(&scratch, "left over");
		err = frame_ws_sio(&rows[i].packet, FRAME_JSON, &scratch, &bins, &f);
		CHECK_ROW(err == rows[i].err, rows[i].name);
		CHECK_ROW(scratch.n == 0 && bins.n == 0, rows[i].name);
		CHECK_ROW((f != NULL) == !rows[i].err, rows[i].name);
		if (!f)
			continue;
		CHECK_ROW(f->refs == 1 && f->packets == rows[i].packets, rows[i].name);
		CHECK_SLICE(frame_view(f), rows[i].bytes, rows[i].name);
		frame_unref(f);
	}
	buf_deinit(&scratch);
	json_bins_deinit(&bins);
}

static void test_encodings(void)
{
	static const struct {
		enum frame_encoding encoding;
		uint32_t packets;
		struct slice bytes;
	} rows[] = {
		{FRAME_JSON, 2,
		 SLICE_INIT("\x81\x27"
			    "451-[\"a\",{\"_placeholder\":true,\"num\":0}]"
			    "\x82\x02xy")},
		{FRAME_JSON_V3, 2,
		 SLICE_INIT("\x81\x27"
			    "451-[\"a\",{\"_placeholder\":true,\"num\":0}]"
			    "\x82\x03\4xy")},
		{FRAME_JSON_V3_BASE64, 2,
		 SLICE_INIT("\x81\x27"
			    "451-[\"a\",{\"_placeholder\":true,\"num\":0}]"
			    "\x81\x06"
			    "b4eHk=")},
		{FRAME_MSGPACK, 1,
		 SLICE_INIT("\x82\x19\x83\xa4type\2\xa4"
			    "data\x92\xa1"
			    "a\xc4\2xy\xa3nsp\xa1/")},
		{FRAME_MSGPACK_V3, 1,
		 SLICE_INIT("\x82\x1a\4\x83\xa4type\2\xa4"
			    "data\x92\xa1"
			    "a\xc4\2xy\xa3nsp\xa1/")},
		{FRAME_MSGPACK_V3_BASE64, 1,
		 SLICE_INIT("\x81\x26"
			    "b4g6R0eXBlAqRkYXRhkqFhxAJ4eaNuc3ChLw==")},
	};
	const struct sio_packet packet = {.type = SIO_EVENT,
					  .nsp = SLICE_LIT("/"),
					  .data = SLICE_LIT("\x92\xa1"
							    "a\xc4\2xy")};
	struct buf scratch = BUF_INIT;
	struct json_bins bins = {NULL, 0, 0};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct frame *f = NULL;
		char name[] = "encoding ?";

		name[sizeof(name) - 2] = (char)('0' + rows[i].encoding);
		CHECK_ROW(frame_ws_sio(&packet, rows[i].encoding, &scratch, &bins, &f) ==
				  ERR_OK,
			  name);
		if (!f)
			continue;
		CHECK_ROW(f->packets == rows[i].packets, name);
		CHECK_SLICE(frame_view(f), rows[i].bytes, name);
		frame_unref(f);
	}
	buf_deinit(&scratch);
	json_bins_deinit(&bins);
}

/* Payloads around the borders of the header's lengths. */
static void test_sizes(void)
{
	static const size_t sizes[] = {110, 120, 130, 65520, 65535, 65540, 200000};
	struct buf scratch = BUF_INIT, data = BUF_INIT, want = BUF_INIT, text = BUF_INIT;
	struct json_bins bins = {NULL, 0, 0};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct sio_packet packet = {.type = SIO_EVENT, .nsp = SLICE_LIT("/")};
		uint8_t *block = calloc(1, sizes[i]);
		struct frame *f = NULL;
		msgpack_packer pk;

		memset(block, 'x', sizes[i]);
		buf_clear(&data);
		mp_packer(&pk, &data);
		msgpack_pack_array(&pk, 2);
		mp_pack_str(&pk, slice_of(block, sizes[i]));
		msgpack_pack_bin(&pk, sizes[i]);
		msgpack_pack_bin_body(&pk, block, sizes[i]);
		packet.data = buf_view(&data);

		buf_clear(&text);
		buf_str(&text, "451-[\"");
		buf_append(&text, block, sizes[i]);
		buf_str(&text, "\",{\"_placeholder\":true,\"num\":0}]");
		buf_clear(&want);
		ws_append(&want, WS_TEXT, buf_view(&text));
		ws_append(&want, WS_BINARY, slice_of(block, sizes[i]));

		CHECK(frame_ws_sio(&packet, FRAME_JSON, &scratch, &bins, &f) == ERR_OK);
		CHECK(f && slice_eq(frame_view(f), buf_view(&want)));
		frame_unref(f);
		free(block);
	}
	buf_deinit(&scratch);
	buf_deinit(&data);
	buf_deinit(&want);
	buf_deinit(&text);
	json_bins_deinit(&bins);
}

int main(void)
{
	test_refs();
	test_eio();
	test_sio();
	test_encodings();
	test_sizes();
	return test_done();
}
