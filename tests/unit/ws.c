/* Headers of WebSocket frames, at each border of their three lengths. */
#include "proto/ws.h"
#include "test.h"

static void test_header(void)
{
	static const struct {
		const char *name;
		enum ws_opcode opcode;
		uint64_t n;
		struct slice header;
	} rows[] = {
		{"empty", WS_TEXT, 0, SLICE_INIT("\x81\x00")},
		{"1", WS_BINARY, 1, SLICE_INIT("\x82\x01")},
		{"125", WS_TEXT, 125, SLICE_INIT("\x81\x7d")},
		{"126", WS_TEXT, 126, SLICE_INIT("\x81\x7e\x00\x7e")},
		{"255", WS_TEXT, 255, SLICE_INIT("\x81\x7e\x00\xff")},
		{"65535", WS_BINARY, 65535, SLICE_INIT("\x82\x7e\xff\xff")},
		{"65536", WS_BINARY, 65536,
		 SLICE_INIT("\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00")},
		{"64 bits", WS_TEXT, 0x0102030405060708,
		 SLICE_INIT("\x81\x7f\x01\x02\x03\x04\x05\x06\x07\x08")},
		{"close", WS_CLOSE, 2, SLICE_INIT("\x88\x02")},
		{"ping", WS_PING, 0, SLICE_INIT("\x89\x00")},
		{"pong", WS_PONG, 125, SLICE_INIT("\x8a\x7d")},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t header[WS_HEADER_MAX];
		size_t n = ws_header(header, rows[i].opcode, rows[i].n);

		CHECK_SLICE(slice_of(header, n), rows[i].header, rows[i].name);
	}
}

static void test_append(void)
{
	static const uint8_t payload[300] = {1, 2, 3};
	struct buf out = BUF_INIT;

	ws_append(&out, WS_TEXT, SLICE_LIT("hi"));
	ws_append(&out, WS_PING, SLICE_EMPTY);
	CHECK_SLICE(buf_view(&out), SLICE_LIT("\x81\x02hi\x89\x00"), "two frames");
	ws_append(&out, WS_BINARY, slice_of(payload, sizeof(payload)));
	CHECK(out.n == 6 + 4 + sizeof(payload));
	CHECK_SLICE(slice_of(out.p + 6, 4), SLICE_LIT("\x82\x7e\x01\x2c"), "third frame");
	CHECK_SLICE(slice_of(out.p + 10, sizeof(payload)),
		    slice_of(payload, sizeof(payload)), "third payload");
	buf_deinit(&out);
}

static void test_take(void)
{
	static const size_t sizes[] = {0, 1, 125, 126, 255, 65535, 65536, 70000};
	enum { COUNT = sizeof(sizes) / sizeof(sizes[0]) };
	static const uint8_t payload[70000] = {1, 2, 3};
	struct buf frames = BUF_INIT;
	struct slice rest;

	for (size_t i = 0; i < COUNT; i++)
		ws_append(&frames, i % 2 ? WS_BINARY : WS_TEXT,
			  slice_of(payload, sizes[i]));
	rest = buf_view(&frames);
	for (size_t i = 0; i < COUNT; i++) {
		struct ws_view view = ws_take(&rest);

		CHECK(view.opcode == (i % 2 ? WS_BINARY : WS_TEXT));
		CHECK_SLICE(view.payload, slice_of(payload, sizes[i]), "taken");
	}
	CHECK(rest.n == 0);
	buf_deinit(&frames);
}

int main(void)
{
	test_header();
	test_append();
	test_take();
	return test_done();
}
