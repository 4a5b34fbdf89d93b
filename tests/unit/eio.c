/* Engine.IO packets, the open packet, the handshake's query string, errors. */
#include <stdlib.h>

#include "proto/eio.h"
#include "test.h"

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

static void test_decode(void)
{
	static const struct {
		const char *name;
		struct slice text;
		enum err err;
		enum eio_type type;
		struct slice data;
	} rows[] = {
		{"empty", SLICE_INIT(""), ERR_SYNTAX, 0, SLICE_INIT("")},
		{"open", SLICE_INIT("0{}"), ERR_OK, EIO_OPEN, SLICE_INIT("{}")},
		{"close", SLICE_INIT("1"), ERR_OK, EIO_CLOSE, SLICE_INIT("")},
		{"probe", SLICE_INIT("2probe"), ERR_OK, EIO_PING, SLICE_INIT("probe")},
		{"pong", SLICE_INIT("3"), ERR_OK, EIO_PONG, SLICE_INIT("")},
		{"message", SLICE_INIT("42[\"a\"]"), ERR_OK, EIO_MESSAGE,
		 SLICE_INIT("2[\"a\"]")},
		{"upgrade", SLICE_INIT("5"), ERR_OK, EIO_UPGRADE, SLICE_INIT("")},
		{"noop", SLICE_INIT("6"), ERR_OK, EIO_NOOP, SLICE_INIT("")},
		{"7", SLICE_INIT("7"), ERR_SYNTAX, 0, SLICE_INIT("")},
		{"slash", SLICE_INIT("/"), ERR_SYNTAX, 0, SLICE_INIT("")},
		{"b", SLICE_INIT("bAAAA"), ERR_SYNTAX, 0, SLICE_INIT("")},
		{"NUL", SLICE_INIT("\0"), ERR_SYNTAX, 0, SLICE_INIT("")},
		{"high", SLICE_INIT("\xb4"), ERR_SYNTAX, 0, SLICE_INIT("")},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t *copy = copy_of(rows[i].text);

		for (size_t n = 0; n <= rows[i].text.n; n++) {
			struct eio_packet packet = {EIO_NOOP, SLICE_LIT("untouched")};
			enum err err = eio_decode(slice_of(copy, n), &packet);

			CHECK_ROW(err == (n ? rows[i].err : ERR_SYNTAX), rows[i].name);
			if (err) {
				CHECK_SLICE(packet.data, SLICE_LIT("untouched"),
					    rows[i].name);
				continue;
			}
			CHECK_ROW(packet.type == rows[i].type, rows[i].name);
			CHECK_SLICE(packet.data, slice_of(rows[i].data.p, n - 1),
				    rows[i].name);
		}
		free(copy);
	}
}

static void test_open(void)
{
	struct eio_open open = {
		.sid = SLICE_LIT("lv_VI97HAXpY6yYWAAAC"),
		.ping_interval_ms = 25000,
		.ping_timeout_ms = 20000,
		.max_payload = 1000000,
	};
	struct buf out = BUF_INIT;
	size_t first;

	eio_encode_open(&open, &out);
	CHECK_SLICE(buf_view(&out),
		    SLICE_LIT("0{\"sid\":\"lv_VI97HAXpY6yYWAAAC\",\"upgrades\":[],"
			      "\"pingInterval\":25000,\"pingTimeout\":20000,"
			      "\"maxPayload\":1000000}"),
		    "websocket");
	first = out.n;
	open.upgrade_websocket = true;
	open.max_payload = UINT64_MAX;
	eio_encode_open(&open, &out);
	CHECK_SLICE(slice_skip(buf_view(&out), first),
		    SLICE_LIT("0{\"sid\":\"lv_VI97HAXpY6yYWAAAC\",\"upgrades\":["
			      "\"websocket\"],\"pingInterval\":25000,"
			      "\"pingTimeout\":20000,"
			      "\"maxPayload\":18446744073709551615}"),
		    "polling, appended");
	buf_deinit(&out);
}

static void test_query(void)
{
	static const struct {
		struct slice query;
		int version;
		enum eio_transport transport;
		struct slice sid;
	} rows[] = {
		{SLICE_INIT(""), 0, EIO_TRANSPORT_UNKNOWN, SLICE_INIT("")},
		{SLICE_INIT("EIO=4&transport=websocket"), 4, EIO_WEBSOCKET,
		 SLICE_INIT("")},
		{SLICE_INIT("sid=abc&transport=polling&EIO=3&t=Pq9"), 3, EIO_POLLING,
		 SLICE_INIT("abc")},
		{SLICE_INIT("EIO=3&EIO=4&sid=a&sid=b"), 4, EIO_TRANSPORT_UNKNOWN,
		 SLICE_INIT("b")},
		{SLICE_INIT("EIO=4&EIO=&sid=a&sid"), 0, EIO_TRANSPORT_UNKNOWN,
		 SLICE_INIT("")},
		{SLICE_INIT("EIO=4x"), 0, EIO_TRANSPORT_UNKNOWN, SLICE_INIT("")},
		{SLICE_INIT("EIO=-4"), 0, EIO_TRANSPORT_UNKNOWN, SLICE_INIT("")},
		{SLICE_INIT("EIO=04"), 4, EIO_TRANSPORT_UNKNOWN, SLICE_INIT("")},
		{SLICE_INIT("EIO=2147483647"), 2147483647, EIO_TRANSPORT_UNKNOWN,
		 SLICE_INIT("")},
		{SLICE_INIT("EIO=2147483648"), 0, EIO_TRANSPORT_UNKNOWN, SLICE_INIT("")},
		{SLICE_INIT("EIO=99999999999999999999"), 0, EIO_TRANSPORT_UNKNOWN,
		 SLICE_INIT("")},
		{SLICE_INIT("eio=4&Transport=polling&transport=Polling"), 0,
		 EIO_TRANSPORT_UNKNOWN, SLICE_INIT("")},
		{SLICE_INIT("&&=&==&EIO=4=&&transport=polling&"), 0, EIO_POLLING,
		 SLICE_INIT("")},
		{SLICE_INIT("xsid=1&sid=a=b"), 0, EIO_TRANSPORT_UNKNOWN,
		 SLICE_INIT("a=b")},
		{SLICE_INIT("transport=polling&transport=webtransport"), 0,
		 EIO_TRANSPORT_UNKNOWN, SLICE_INIT("")},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *name = (const char *)rows[i].query.p;
		uint8_t *copy = copy_of(rows[i].query);

		for (size_t n = 0; n <= rows[i].query.n; n++) {
			struct eio_query q = {-1, EIO_POLLING, SLICE_LIT("left over"),
					      true};

			eio_parse_query(slice_of(copy, n), &q);
			CHECK_ROW(q.version >= 0, name);
			CHECK_ROW(!q.sid.n || (q.sid.p > copy &&
					       q.sid.p + q.sid.n <= copy + n),
				  name);
			if (n < rows[i].query.n)
				continue;
			CHECK_ROW(q.version == rows[i].version, name);
			CHECK_ROW(q.transport == rows[i].transport, name);
			CHECK_SLICE(q.sid, rows[i].sid, name);
		}
		free(copy);
	}
}

static void test_query_base64(void)
{
	static const struct {
		struct slice query;
		bool base64;
	} rows[] = {
		{SLICE_INIT("EIO=3&transport=polling&b64=1"), true},
		{SLICE_INIT("b64=0&EIO=3"), true},
		{SLICE_INIT("b64=1&b64="), false},
		{SLICE_INIT("b64&EIO=3"), false},
		{SLICE_INIT("EIO=3&B64=1&xb64=1"), false},
		{SLICE_INIT("EIO=3"), false},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct eio_query q = {.base64 = !rows[i].base64};

		eio_parse_query(rows[i].query, &q);
		CHECK_ROW(q.base64 == rows[i].base64, (const char *)rows[i].query.p);
	}
}

static void test_errors(void)
{
	CHECK_SLICE(slice_str(eio_error_text(EIO_ERROR_TRANSPORT_UNKNOWN)),
		    SLICE_LIT("Transport unknown"), "first");
	CHECK_SLICE(slice_str(eio_error_text(EIO_ERROR_BAD_VERSION)),
		    SLICE_LIT("Unsupported protocol version"), "last");
	CHECK(EIO_ERROR_SID_UNKNOWN == 1 && EIO_ERROR_BAD_VERSION == 5);
	CHECK(eio_error_status(EIO_ERROR_BAD_REQUEST) == 400);
	CHECK(eio_error_status(EIO_ERROR_FORBIDDEN) == 403);
}

int main(void)
{
	test_decode();
	test_open();
	test_query();
	test_query_base64();
	test_errors();
	return test_done();
}
