/* Replies from Redis: whole, one byte short, and split at every byte. */
#include "adapter/redis/resp.h"

#include <stdlib.h>
#include <string.h>

#include "test.h"

enum { BYTES_MAX = 16 };

/* What a reply is, as text: 'x' for a string, +x, -x, :1, nil, [a b]. */
static void show(struct buf *out, const struct resp *r)
{
	switch (r->type) {
	case RESP_STATUS:
		buf_printf(out, "+%.*s", SLICE_FMT(r->s));
		break;
	case RESP_ERROR:
		buf_printf(out, "-%.*s", SLICE_FMT(r->s));
		break;
	case RESP_STR:
		buf_printf(out, "'%.*s'", SLICE_FMT(r->s));
		break;
	case RESP_INT:
		buf_printf(out, ":%lld", (long long)r->i);
		break;
	case RESP_NIL:
		buf_str(out, "nil");
		break;
	case RESP_ARRAY:
		buf_byte(out, '[');
		for (size_t i = 0; i < r->n; i++) {
			if (i)
				buf_byte(out, ' ');
			show(out, &r->v[i]);
		}
		buf_byte(out, ']');
		break;
	}
}

static const struct {
	const char *in, *out; /* all replies in it, a space behind each; "!": broken */
} rows[] = {
	{"+OK\r\n", "+OK "},
	{"-ERR no\r\n:7\r\n", "-ERR no :7 "},
	{"$0\r\n\r\n", "'' "},
	{"$-1\r\n", "nil "},
	{"$3\r\n$9\r\r\n", "'$9\r' "}, /* what is in a string is no length */
	{"*2\r\n$1\r\na\r\n:1\r\n", "['a' :1] "},
	{"*-1\r\n", "nil "},
	{"*0\r\n", "[] "},
	{"*2\r\n*1\r\n$2\r\n\r\n\r\n$1\r\nb\r\n", "[['\r\n'] 'b'] "},
	{"$16\r\n0123456789abcdef\r\n", "'0123456789abcdef' "},
	/* Too large: its length instead, and the next is what it is. */
	{"$17\r\n0123456789abcdefg\r\n+OK\r\n", ":17 +OK "},
	{"*3\r\n$1\r\nm\r\n$1\r\nc\r\n$21\r\n$1\r\n:\r\n-\r\n*2\r\n0123456\r\n:5\r\n",
	 "['m' 'c' :21] :5 "},
	{"$17\r\n0123456789abcdefg\r\n$17\r\n0123456789abcdefg\r\n$1\r\nx\r\n",
	 ":17 :17 'x' "},
	/* Together too large. */
	{"*3\r\n$11\r\n0123456789a\r\n$11\r\n0123456789a\r\n$11\r\n0123456789a\r\n", "!"},
	{"?\r\n", "!"},
	{"$\r\n", "!"},
	{"$1x\r\n", "!"},
	{"$99999999999\r\n", "!"},
	{"$00000000000000000000000000000001\r\n", "!"},
};

static struct resp_reader *reader;

/* False: broken. */
static bool feed(struct buf *out, const char *p, size_t n)
{
	const struct resp *r;
	enum err err = resp_reader_feed(reader, (const uint8_t *)p, n);

	while (!err && !(err = resp_reader_next(reader, &r))) {
		show(out, r);
		buf_byte(out, ' ');
	}
	if (err == ERR_NOT_FOUND)
		return true;
	CHECK(strlen(resp_reader_why(reader)) > 0);
	buf_clear(out);
	buf_byte(out, '!');
	return false;
}

/* In two pieces; the second may be empty. */
static void check(const char *in, size_t n, size_t at, const char *want, bool same)
{
	struct buf out = BUF_INIT;

	reader = resp_reader_new(BYTES_MAX);
	if (feed(&out, in, at))
		feed(&out, in + at, n - at);
	CHECK_ROW((strcmp(buf_cstr(&out), want) == 0) == same, in);
	resp_reader_free(reader);
	buf_deinit(&out);
}

static void test_rows(void)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t n = strlen(rows[i].in);
		bool good = rows[i].out[0] != '!';

		for (size_t at = 0; at <= n; at++)
			check(rows[i].in, n, at, rows[i].out, true);
		if (good)
			check(rows[i].in, n - 1, n - 1, rows[i].out, false);
	}
}

/* A line that never ends is not kept for ever. */
static void test_endless_line(void)
{
	struct buf out = BUF_INIT;
	char piece[4096];
	size_t fed = 0;

	memset(piece, 'x', sizeof(piece));
	reader = resp_reader_new(BYTES_MAX);
	CHECK(feed(&out, "+", 1));
	while (fed < 1 << 20 && feed(&out, piece, sizeof(piece)))
		fed += sizeof(piece);
	CHECK(fed < 1 << 20);
	resp_reader_free(reader);
	buf_deinit(&out);
}

int main(void)
{
	test_rows();
	test_endless_line();
	return test_done();
}
