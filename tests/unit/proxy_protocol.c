/* PROXY protocol headers, each also in two pieces at every byte and byte by byte. */
#include "proto/proxy_protocol.h"

#include <stdlib.h>

#include "proto/buf.h"
#include "test.h"

#define SIG	"\r\n\r\n\0\r\nQUIT\n"
#define V4	"\xc0\x00\x02\x01\x7f\x00\x00\x01\x11\x22\x0b\xb8"
#define V6_IP	"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0"
#define V6	V6_IP "\x01" V6_IP "\x02\x11\x22\x0b\xb8"
#define MAPPED	"\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\x00\x02\x01"
#define TEXT36	"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define TEXT108 TEXT36 TEXT36 TEXT36

static const struct {
	const char *name;
	struct slice header;
	enum err err;
	const char *from; /* as address_print has it */
} rows[] = {
	{"TCP4", SLICE_INIT("PROXY TCP4 192.0.2.1 127.0.0.1 4444 3000\r\n"), ERR_OK,
	 "192.0.2.1"},
	{"TCP6", SLICE_INIT("PROXY TCP6 2001:db8::1 ::1 0 65535\r\n"), ERR_OK,
	 "2001:db8::1"},
	{"TCP6, mapped", SLICE_INIT("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n"), ERR_OK,
	 "192.0.2.1"},
	{"longest",
	 SLICE_INIT("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
		    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"),
	 ERR_OK, "none"},
	{"UNKNOWN", SLICE_INIT("PROXY UNKNOWN\r\n"), ERR_OK, "none"},
	{"UNKNOWN with a CR", SLICE_INIT("PROXY UNKNOWN \r\r\n"), ERR_OK, "none"},
	{"too long", SLICE_INIT("PROXY UNKNOWN " TEXT108), ERR_SYNTAX, NULL},
	{"no family", SLICE_INIT("PROXY \r\n"), ERR_SYNTAX, NULL},
	{"family alone", SLICE_INIT("PROXY TCP4\r\n"), ERR_SYNTAX, NULL},
	{"another family", SLICE_INIT("PROXY UDP4 192.0.2.1 127.0.0.1 1 2\r\n"),
	 ERR_SYNTAX, NULL},
	{"lower case", SLICE_INIT("proxy"), ERR_SYNTAX, NULL},
	{"bare newline", SLICE_INIT("PROXY TCP4 192.0.2.1 127.0.0.1 1 2\n"), ERR_SYNTAX,
	 NULL},
	{"two spaces", SLICE_INIT("PROXY TCP4  192.0.2.1 127.0.0.1 1 2\r\n"), ERR_SYNTAX,
	 NULL},
	{"one port", SLICE_INIT("PROXY TCP4 192.0.2.1 127.0.0.1 1\r\n"), ERR_SYNTAX,
	 NULL},
	{"three ports", SLICE_INIT("PROXY TCP4 192.0.2.1 127.0.0.1 1 2 3\r\n"),
	 ERR_SYNTAX, NULL},
	{"large port", SLICE_INIT("PROXY TCP4 192.0.2.1 127.0.0.1 1 65536\r\n"),
	 ERR_SYNTAX, NULL},
	{"no number", SLICE_INIT("PROXY TCP4 192.0.2.1 127.0.0.1 x 2\r\n"), ERR_SYNTAX,
	 NULL},
	{"IPv6 in TCP4", SLICE_INIT("PROXY TCP4 ::1 127.0.0.1 1 2\r\n"), ERR_SYNTAX,
	 NULL},
	{"IPv4 in TCP6", SLICE_INIT("PROXY TCP6 192.0.2.1 ::1 1 2\r\n"), ERR_SYNTAX,
	 NULL},
	{"bad destination", SLICE_INIT("PROXY TCP4 192.0.2.1 here 1 2\r\n"), ERR_SYNTAX,
	 NULL},
	{"HTTP", SLICE_INIT("G"), ERR_SYNTAX, NULL},
	{"TLS", SLICE_INIT("\x16"), ERR_SYNTAX, NULL},
	{"an empty line", SLICE_INIT("\r\nG"), ERR_SYNTAX, NULL},
	{"v2, TCP4", SLICE_INIT(SIG "\x21\x11\0\x0c" V4), ERR_OK, "192.0.2.1"},
	{"v2, UDP4", SLICE_INIT(SIG "\x21\x12\0\x0c" V4), ERR_OK, "192.0.2.1"},
	{"v2, TCP6", SLICE_INIT(SIG "\x21\x21\0\x24" V6), ERR_OK, "2001:db8::1"},
	{"v2, TCP6, mapped", SLICE_INIT(SIG "\x21\x21\0\x24" MAPPED MAPPED "\0\0\0\0"),
	 ERR_OK, "192.0.2.1"},
	{"v2, with more", SLICE_INIT(SIG "\x21\x11\0\x10" V4 "\x04\0\x01x"), ERR_OK,
	 "192.0.2.1"},
	{"v2, 107 bytes", SLICE_INIT(SIG "\x21\x11\0\x5b" V4 TEXT36 TEXT36 "1234567"),
	 ERR_OK, "192.0.2.1"},
	{"v2, 108 bytes", SLICE_INIT(SIG "\x21\x11\0\x5c" V4 TEXT36 TEXT36 "12345678"),
	 ERR_OK, "192.0.2.1"},
	{"v2, with much more",
	 SLICE_INIT(SIG "\x21\x11\x01\x50" V4 TEXT108 TEXT108 TEXT108), ERR_OK,
	 "192.0.2.1"},
	{"v2, LOCAL", SLICE_INIT(SIG "\x20\x00\0\0"), ERR_OK, "none"},
	{"v2, LOCAL with an address", SLICE_INIT(SIG "\x20\x11\0\x0c" V4), ERR_OK,
	 "none"},
	{"v2, UNSPEC", SLICE_INIT(SIG "\x21\x00\0\0"), ERR_OK, "none"},
	{"v2, UNIX", SLICE_INIT(SIG "\x21\x31\0\xd8" TEXT108 TEXT108), ERR_OK, "none"},
	{"v2, TCP4 too short",
	 SLICE_INIT(SIG "\x21\x11\0\x0b"
			"12345678901"),
	 ERR_SYNTAX, NULL},
	{"v2, TCP4 without an address", SLICE_INIT(SIG "\x21\x11\0\0"), ERR_SYNTAX, NULL},
	{"v2, TCP6 too short", SLICE_INIT(SIG "\x21\x21\0\x0c" V4), ERR_SYNTAX, NULL},
	{"version 1 in binary", SLICE_INIT(SIG "\x11"), ERR_SYNTAX, NULL},
	{"version 3", SLICE_INIT(SIG "\x31"), ERR_SYNTAX, NULL},
	{"unknown command", SLICE_INIT(SIG "\x22"), ERR_SYNTAX, NULL},
	{"unknown family", SLICE_INIT(SIG "\x21\x41"), ERR_SYNTAX, NULL},
	{"unknown transport", SLICE_INIT(SIG "\x21\x13"), ERR_SYNTAX, NULL},
	{"wrong signature", SLICE_INIT("\r\n\r\n\0\r\nQUIT\r"), ERR_SYNTAX, NULL},
};

/* The pieces, each in a block of its own. Only what the header is made of is taken. */
static void feed(size_t row, const size_t *ends, size_t n, const char *behind)
{
	struct proxy_header h = {0};
	struct address from = {ADDRESS_V6, {9}};
	struct buf all = BUF_INIT;
	enum err err = ERR_TRUNCATED;
	size_t done = 0;
	char text[ADDRESS_TEXT_MAX];

	buf_slice(&all, rows[row].header);
	buf_str(&all, behind);
	for (size_t i = 0; i < n && err == ERR_TRUNCATED; i++) {
		size_t size = ends[i] - done, taken = 99;
		uint8_t *piece = malloc(size ? size : 1);

		if (size && all.p)
			memcpy(piece, all.p + done, size);
		err = proxy_feed(&h, slice_of(piece, size), &taken, &from);
		CHECK_ROW(taken <= size, rows[row].name);
		CHECK_ROW(err != ERR_TRUNCATED || taken == size, rows[row].name);
		done += taken;
		free(piece);
	}
	CHECK_ROW(err == rows[row].err, rows[row].name);
	CHECK_ROW(done == rows[row].header.n || err == ERR_SYNTAX, rows[row].name);
	if (err == ERR_OK)
		CHECK_SLICE(slice_str(address_print(&from, text)),
			    slice_str(rows[row].from), rows[row].name);
	else
		CHECK_ROW(from.family == ADDRESS_V6 && from.ip[0] == 9, rows[row].name);
	buf_deinit(&all);
}

static void test_rows(void)
{
	for (size_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
		size_t n = rows[row].header.n;
		size_t *ends = calloc(n + 1, sizeof(*ends));

		for (size_t split = 0; split <= n; split++) {
			size_t pieces[2] = {split, n};

			feed(row, pieces, 2, "");
		}
		for (size_t i = 0; i < n; i++)
			ends[i] = i + 1;
		feed(row, ends, n, "");
		ends[0] = n + strlen("GET / HTTP");
		feed(row, ends, 1, "GET / HTTP");
		free(ends);
	}
}

/* One byte short, a header that would be good is not complete. */
static void test_short(void)
{
	for (size_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
		struct proxy_header h = {0};
		struct address from;
		size_t taken, n = rows[row].header.n - 1;

		if (rows[row].err != ERR_OK)
			continue;
		CHECK_ROW(proxy_feed(&h, slice_of(rows[row].header.p, n), &taken,
				     &from) == ERR_TRUNCATED,
			  rows[row].name);
		CHECK_ROW(taken == n, rows[row].name);
	}
}

/* The longest a version 2 header can be. */
static void test_longest(void)
{
	struct slice start = SLICE_LIT(SIG "\x21\x11\xff\xff" V4);
	size_t n = 16 + 65535, taken;
	uint8_t *bytes = calloc(1, n + 1);
	struct proxy_header h = {0};
	struct address from;

	memcpy(bytes, start.p, start.n);
	CHECK(proxy_feed(&h, slice_of(bytes, n + 1), &taken, &from) == ERR_OK);
	CHECK(taken == n);
	CHECK(from.family == ADDRESS_V4);
	free(bytes);
}

int main(void)
{
	test_rows();
	test_short();
	test_longest();
	return test_done();
}
