/* Log lines: what is written, and that no value can pretend to be more than a value. */
#include "gateway/log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "gateway/text.h"
#include "test.h"

enum { STAMP_LEN = 24 }; /* 2026-01-31T12:00:00.123Z */

static int kept_stderr, capture;

static void capture_begin(void)
{
	char path[] = "/tmp/gatehouse-log-XXXXXX";

	fflush(stderr);
	capture = mkstemp(path);
	unlink(path);
	kept_stderr = dup(STDERR_FILENO);
	dup2(capture, STDERR_FILENO);
}

static struct slice capture_end(char *text, size_t size)
{
	ssize_t n;

	dup2(kept_stderr, STDERR_FILENO);
	close(kept_stderr);
	n = pread(capture, text, size, 0);
	close(capture);
	return slice_of(text, n > 0 ? (size_t)n : 0);
}

/* The line behind its time, which is checked for its shape. */
static struct slice behind_time(struct slice line, const char *before)
{
	static const uint8_t shape[] = "dddd-dd-ddTdd:dd:dd.dddZ";
	size_t n = strlen(before);

	if (!slice_starts(line, slice_str(before)) || line.n < n + STAMP_LEN) {
		CHECK_ROW(false, "the line does not begin as it should");
		return line;
	}
	for (size_t i = 0; i < STAMP_LEN; i++) {
		uint8_t c = line.p[n + i];

		CHECK(shape[i] == 'd' ? c >= '0' && c <= '9' : c == shape[i]);
	}
	return slice_skip(line, n + STAMP_LEN);
}

#define LOGGED(text_line, json_line, ...)                                                \
	do {                                                                             \
		char got_text[8192];                                                     \
		struct slice got_line;                                                   \
		log_setup(LOG_INFO, false);                                              \
		capture_begin();                                                         \
		log_event(__VA_ARGS__);                                                  \
		got_line = capture_end(got_text, sizeof(got_text));                      \
		CHECK_SLICE(behind_time(got_line, ""), slice_str(text_line "\n"),        \
			    "as text");                                                  \
		log_setup(LOG_INFO, true);                                               \
		capture_begin();                                                         \
		log_event(__VA_ARGS__);                                                  \
		got_line = capture_end(got_text, sizeof(got_text));                      \
		CHECK_SLICE(behind_time(got_line, "{\"time\":\""),                       \
			    slice_str("\"," json_line "}\n"), "as JSON");                \
	} while (0)

static void test_lines(void)
{
	LOGGED(" INFO conn_closed conn=abc reason=ping_timeout",
	       "\"level\":\"info\",\"event\":\"conn_closed\",\"conn\":\"abc\","
	       "\"reason\":\"ping_timeout\"",
	       LOG_INFO, "conn_closed", "conn=%s reason=%s", "abc", "ping_timeout");
	LOGGED(" ERROR started", "\"level\":\"error\",\"event\":\"started\"", LOG_ERROR,
	       "started", "%s", "");
	LOGGED(" WARN n a=-1 b=2 c=3 d=ff e=1.50 f=4 g=5",
	       "\"level\":\"warn\",\"event\":\"n\",\"a\":-1,\"b\":2,\"c\":3,\"d\":\"ff\","
	       "\"e\":1.50,\"f\":4,\"g\":5",
	       LOG_WARN, "n", "a=%d b=%zu c=%" PRIu64 " d=%x e=%.2f f=%lld g=%hu", -1,
	       (size_t)2, (uint64_t)3, 255U, 1.5, 4LL, (unsigned short)5);
	LOGGED(" INFO l at=127.0.0.1:80 x=100% y=a",
	       "\"level\":\"info\",\"event\":\"l\",\"at\":\"127.0.0.1:80\",\"x\":\"100%"
	       "\","
	       "\"y\":\"a\"",
	       LOG_INFO, "l", "at=%s:%d  x=%d%% y=%c", "127.0.0.1", 80, 100, 'a');
	LOGGED(" INFO e msg=\"could not open a b: no\"",
	       "\"level\":\"info\",\"event\":\"e\",\"msg\":\"could not open a b: no\"",
	       LOG_INFO, "e", "msg=could not open %s: %s", "a b", "no");
}

/* What a client may try. */
static void test_values(void)
{
	const char *volatile nobody = NULL;

	LOGGED(" INFO u user=\"ann level=error\"",
	       "\"level\":\"info\",\"event\":\"u\",\"user\":\"ann level=error\"",
	       LOG_INFO, "u", "user=%s", "ann level=error");
	LOGGED(" INFO u user=\"\"", "\"level\":\"info\",\"event\":\"u\",\"user\":\"\"",
	       LOG_INFO, "u", "user=%s", "");
	LOGGED(" INFO u user=(null)",
	       "\"level\":\"info\",\"event\":\"u\",\"user\":\"(null)\"", LOG_INFO, "u",
	       "user=%s", nobody);
	LOGGED(" INFO u user=\"a\\n2026 ERROR x\\r\\t\\\"\\\\\" z=1",
	       "\"level\":\"info\",\"event\":\"u\",\"user\":\"a\\n2026 ERROR "
	       "x\\r\\t\\\"\\\\\",\"z\":1",
	       LOG_INFO, "u", "user=%s z=%d", "a\n2026 ERROR x\r\t\"\\", 1);
	LOGGED(" INFO u user=\"\\u001b[31m\\u007f\\u009b\"",
	       "\"level\":\"info\",\"event\":\"u\",\"user\":\"\\u001b["
	       "31m\\u007f\\u009b\"",
	       LOG_INFO, "u", "user=%s", "\x1b[31m\x7f\xc2\x9b");
	LOGGED(" INFO u user=\"a�(�\"",
	       "\"level\":\"info\",\"event\":\"u\",\"user\":\"a�(�\"", LOG_INFO, "u",
	       "user=%s", "a\xc3(\xff");
	LOGGED(" INFO u user=zoë room=\"a\\u0000b\"",
	       "\"level\":\"info\",\"event\":\"u\",\"user\":\"zoë\",\"room\":"
	       "\"a\\u0000b\"",
	       LOG_INFO, "u", "user=%.*s room=%c%c%c", 4, "zoë!!", 'a', 0, 'b');
	/* A string of digits stays a string; only a number is one. */
	LOGGED(" INFO u user=12 n=12",
	       "\"level\":\"info\",\"event\":\"u\",\"user\":\"12\",\"n\":12", LOG_INFO,
	       "u", "user=%s n=%d", "12", 12);
}

static void test_ready_fields(void)
{
	LOGGED(" INFO r node=ab at=/tmp/x tries=3 id=0012 err=\"a \\\"b\\\" \\\\\" z=y",
	       "\"level\":\"info\",\"event\":\"r\",\"node\":\"ab\",\"at\":\"/tmp/x\","
	       "\"tries\":3,\"id\":\"0012\",\"err\":\"a \\\"b\\\" \\\\\",\"z\":\"y\"",
	       LOG_INFO, "r", "node=%s %s", "ab",
	       "at=/tmp/x tries=3 id=0012 err=\"a \\\"b\\\" \\\\\" z=y");
	LOGGED(" INFO r a=1 msg=\"no field b=2\\n\"",
	       "\"level\":\"info\",\"event\":\"r\",\"a\":1,\"msg\":\"no field b=2\\n\"",
	       LOG_INFO, "r", "%s", "a=1 no field b=2\n");
	LOGGED(" INFO r msg=\"all the rest\"",
	       "\"level\":\"info\",\"event\":\"r\",\"msg\":\"all the rest\"", LOG_INFO,
	       "r", "%s", "msg=all the rest");
	LOGGED(" INFO r a=\"open b=2\"",
	       "\"level\":\"info\",\"event\":\"r\",\"a\":\"open b=2\"", LOG_INFO, "r",
	       "%s", "a=\"open b=2");
}

static void test_long(void)
{
	static char long_value[3 * LOG_VALUE_MAX], text[8192];
	struct slice line;

	memset(long_value, 'x', sizeof(long_value) - 1);
	log_setup(LOG_INFO, false);
	capture_begin();
	log_event(LOG_INFO, "long", "v=%s", long_value);
	line = capture_end(text, sizeof(text));
	CHECK(line.n < LOG_VALUE_MAX + 100);
	CHECK(memmem(line.p, line.n, "x…\"\n", strlen("x…\"\n")) != NULL);
}

static void test_levels(void)
{
	enum log_level level = LOG_DEBUG;
	char text[256];

	log_setup(LOG_WARN, false);
	CHECK(log_enabled(LOG_ERROR));
	CHECK(log_enabled(LOG_WARN));
	CHECK(!log_enabled(LOG_INFO));
	capture_begin();
	log_event(LOG_INFO, "quiet", "a=%d", 1);
	CHECK(capture_end(text, sizeof(text)).n == 0);
	CHECK(log_level_from("error", &level) && level == LOG_ERROR);
	CHECK(log_level_from("debug", &level) && level == LOG_DEBUG);
	CHECK(!log_level_from("", &level));
	CHECK(!log_level_from("INFO", &level));
}

static void test_text(void)
{
	const struct {
		const char *name;
		struct slice text;
		bool plain;
	} rows[] = {
		{"empty", SLICE_LIT(""), true},
		{"ascii", SLICE_LIT("a ~"), true},
		{"two, three, four bytes", SLICE_LIT("é€😀"), true},
		{"newline", SLICE_LIT("a\n"), false},
		{"nul", SLICE_LIT("a\0b"), false},
		{"delete", SLICE_LIT("\x7f"), false},
		{"C1", SLICE_LIT("\xc2\x80"), false},
		{"no-break space", SLICE_LIT("\xc2\xa0"), true},
		{"lone continuation", SLICE_LIT("\x80"), false},
		{"overlong two", SLICE_LIT("\xc0\xaf"), false},
		{"overlong three", SLICE_LIT("\xe0\x80\xaf"), false},
		{"overlong four", SLICE_LIT("\xf0\x80\x80\xaf"), false},
		{"surrogate", SLICE_LIT("\xed\xa0\x80"), false},
		{"beyond", SLICE_LIT("\xf4\x90\x80\x80"), false},
		{"last", SLICE_LIT("\xf4\x8f\xbf\xbf"), true},
		{"cut", SLICE_LIT("\xe2\x82"), false},
		{"broken", SLICE_LIT("\xe2\x28\xa1"), false},
		{"five bytes", SLICE_LIT("\xf8\x88\x80\x80\x80"), false},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		CHECK_ROW(text_is_plain(rows[i].text) == rows[i].plain, rows[i].name);
	CHECK(text_char(SLICE_EMPTY, NULL) == 0);
}

static void test_worker(void)
{
	log_set_worker(12);
	LOGGED(" INFO e worker=12 a=1",
	       "\"level\":\"info\",\"event\":\"e\",\"worker\":12,\"a\":1", LOG_INFO, "e",
	       "a=%d", 1);
	log_set_worker(0);
	LOGGED(" INFO e a=1", "\"level\":\"info\",\"event\":\"e\",\"a\":1", LOG_INFO, "e",
	       "a=%d", 1);
}

int main(void)
{
	test_text();
	test_lines();
	test_values();
	test_ready_fields();
	test_long();
	test_levels();
	test_worker();
	return test_done();
}
