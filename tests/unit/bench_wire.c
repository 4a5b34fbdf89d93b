/* What the load generator writes and reads: messages, HTTP, WebSocket frames. Each row is
 * also cut at every byte. */
#include "bench/wire.h"

#include "bench/message.h"
#include "test.h"

static void test_messages(void)
{
	const struct message m = {0xdeadbeef, 7, 12345678901u, 998877665544332211u},
			     low = {0};
	struct message found;
	struct buf text = BUF_INIT;

	buf_str(&text, "[\"m\",\"gh~no\",\"");
	message_write(&text, &m, 128);
	buf_str(&text, "\",{\"user\":null}]");
	CHECK(text.n == 14 + 128 + 16);
	CHECK(message_find(buf_view(&text), 0xdeadbeef, &found) == ERR_OK);
	CHECK(found.run == m.run && found.room == m.room);
	CHECK(found.number == m.number && found.due_ns == m.due_ns);
	/* Of another run: not ours. */
	CHECK(message_find(buf_view(&text), 1, &found) == ERR_NOT_FOUND);
	for (size_t n = 0; n < 14 + 45; n++)
		CHECK(message_find(slice_of(text.p, n), 0xdeadbeef, &found) ==
		      ERR_NOT_FOUND);
	buf_clear(&text);
	message_write(&text, &low, MESSAGE_SIZE_MIN);
	CHECK(text.n == MESSAGE_SIZE_MIN);
	buf_clear(&text);
	message_write(&text,
		      &(struct message){UINT32_MAX, UINT32_MAX, 9999999999,
					9999999999999999999u},
		      MESSAGE_SIZE_MIN);
	CHECK(text.n == MESSAGE_SIZE_MIN);
	buf_deinit(&text);
}

static void test_no_messages(void)
{
	static const char *const rows[] = {
		"",
		"[\"m\"]",
		"gh~",
		"gh~1~2~3",
		"gh~1~~3~4~",
		"gh~1~4294967296~3~4~",
		"gh~1~2~99999999999999999999~4~",
		"gh~1~2~x~4~",
		"gh~1~2~-3~4~",
	};
	struct message found;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		CHECK_ROW(message_find(slice_str(rows[i]), 1, &found) == ERR_NOT_FOUND,
			  rows[i]);
	CHECK(message_find(SLICE_LIT("gh~x gh~1~2~3~4~"), 1, &found) == ERR_OK);
	CHECK(found.room == 2 && found.number == 3 && found.due_ns == 4);
}

static void test_events(void)
{
	static const struct {
		const char *template, *nsp;
		int64_t id;
		const char *want;
	} rows[] = {
		{"[\"join\",\"{room}\"]", "", -1, "42[\"join\",\"r:1\"]"},
		{"[\"join\",\"{room}\"]", "", 0, "420[\"join\",\"r:1\"]"},
		{"[\"join\",\"{room}\"]", "/n,", 12, "42/n,12[\"join\",\"r:1\"]"},
		{"[\"say\",{\"to\":\"{room}\",\"m\":\"{message}\"},{conn}]", "", -1,
		 "42[\"say\",{\"to\":\"r:1\",\"m\":\"hello\"},5]"},
		{"[\"{room}{room}\",\"{other}\"]", "", -1, "42[\"r:1r:1\",\"{other}\"]"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct event e = {slice_str(rows[i].nsp), SLICE_LIT("r:1"),
					SLICE_LIT("hello"), 5, rows[i].id};
		struct buf out = BUF_INIT;

		message_event(&out, rows[i].template, &e);
		CHECK_SLICE(buf_view(&out), slice_str(rows[i].want), rows[i].template);
		buf_deinit(&out);
	}
}

static void test_responses(void)
{
	static const struct {
		const char *text;
		enum err err;
		int status;
		const char *body;
		bool close, websocket;
	} rows[] = {
		{"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", ERR_OK, 200, "ok",
		 false, false},
		{"HTTP/1.1 200 OK\r\ncontent-length:0\r\nConnection: close\r\n\r\n",
		 ERR_OK, 200, "", true, false},
		{"HTTP/1.1 400 Bad Request\r\nConnection: keep-alive\r\n"
		 "Content-Length: 3\r\n\r\nbad",
		 ERR_OK, 400, "bad", false, false},
		{"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: "
		 "Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
		 ERR_OK, 101, "", false, true},
		{"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x\r\n\r\n",
		 ERR_OK, 101, "", false, false},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", ERR_SYNTAX, 0,
		 "", false, false},
		{"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n", ERR_OK,
		 403, "", true, false},
		{"HTTP/1.1 200 OK\r\n\r\n", ERR_SYNTAX, 0, "", false, false},
		{"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", ERR_SYNTAX, 0, "", false,
		 false},
		{"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n", ERR_SYNTAX, 0, "", false, false},
		{"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", ERR_TOO_BIG, 0,
		 "", false, false},
		{"SSH-2.0-x\r\n\r\n", ERR_SYNTAX, 0, "", false, false},
		{"HTTP/2 200\r\n\r\n", ERR_SYNTAX, 0, "", false, false},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct slice text = slice_str(rows[i].text);
		struct wire_response r = {0};

		CHECK_ROW(wire_response(text, &r) == rows[i].err, rows[i].text);
		if (rows[i].err != ERR_OK)
			continue;
		CHECK_ROW(r.status == rows[i].status, rows[i].text);
		CHECK_SLICE(r.body, slice_str(rows[i].body), rows[i].text);
		CHECK_ROW(r.close == rows[i].close, rows[i].text);
		CHECK_ROW(r.websocket == rows[i].websocket, rows[i].text);
		CHECK_ROW(r.bytes == text.n, rows[i].text);
		for (size_t n = 0; n < text.n; n++)
			CHECK_ROW(wire_response(slice_of(text.p, n), &r) == ERR_TRUNCATED,
				  rows[i].text);
	}
}

static void test_frames(void)
{
	static const struct {
		const char *name;
		struct slice bytes;
		enum err err;
		enum wire_opcode opcode;
		bool last;
		size_t payload_n;
	} rows[] = {
		{"text", SLICE_INIT("\x81\x02hi"), ERR_OK, WIRE_TEXT, true, 2},
		{"empty", SLICE_INIT("\x82\x00"), ERR_OK, WIRE_BINARY, true, 0},
		{"first of several", SLICE_INIT("\x01\x01x"), ERR_OK, WIRE_TEXT, false,
		 1},
		{"next", SLICE_INIT("\x80\x01x"), ERR_OK, WIRE_MORE, true, 1},
		{"16 bits", SLICE_INIT("\x81\x7e\x00\x03xyz"), ERR_OK, WIRE_TEXT, true,
		 3},
		{"64 bits", SLICE_INIT("\x81\x7f\x00\x00\x00\x00\x00\x00\x00\x01x"),
		 ERR_OK, WIRE_TEXT, true, 1},
		{"masked", SLICE_INIT("\x81\x80mask"), ERR_SYNTAX, WIRE_TEXT, true, 0},
		{"reserved bit", SLICE_INIT("\xc1\x00"), ERR_SYNTAX, WIRE_TEXT, true, 0},
		{"huge", SLICE_INIT("\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff"),
		 ERR_TOO_BIG, WIRE_TEXT, true, 0},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct wire_frame f;

		CHECK_ROW(wire_take_frame(rows[i].bytes, &f) == rows[i].err,
			  rows[i].name);
		if (rows[i].err != ERR_OK)
			continue;
		CHECK_ROW(f.opcode == rows[i].opcode, rows[i].name);
		CHECK_ROW(f.last == rows[i].last, rows[i].name);
		CHECK_ROW(f.payload.n == rows[i].payload_n, rows[i].name);
		CHECK_ROW(f.bytes == rows[i].bytes.n, rows[i].name);
		for (size_t n = 0; n < rows[i].bytes.n; n++)
			CHECK_ROW(wire_take_frame(slice_of(rows[i].bytes.p, n), &f) ==
					  ERR_TRUNCATED,
				  rows[i].name);
	}
}

/* What we send is masked, and is what it was under the mask. */
static void test_masking(void)
{
	static const size_t sizes[] = {0, 1, 125, 126, 65535, 65536};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct buf plain = BUF_INIT, frame = BUF_INIT;
		size_t n = sizes[i], head = n < 126 ? 6 : n < 65536 ? 8 : 14;
		size_t wrong = 0;

		memset(buf_reserve(&plain, n + 1), 'a', n);
		buf_commit(&plain, n);
		wire_frame(&frame, WIRE_TEXT, 0x5ca1ab1e, buf_view(&plain));
		CHECK(frame.n == head + n);
		CHECK(frame.p[0] == 0x81);
		CHECK(frame.p[1] & 0x80);
		for (size_t k = 0; k < n; k++)
			wrong += (frame.p[head + k] ^ frame.p[head - 4 + k % 4]) != 'a';
		CHECK(wrong == 0);
		buf_deinit(&plain);
		buf_deinit(&frame);
	}
}

int main(void)
{
	test_messages();
	test_no_messages();
	test_events();
	test_responses();
	test_frames();
	test_masking();
	return test_done();
}
