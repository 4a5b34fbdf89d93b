/* What nodes tell one another: what was written is read again, and nothing else. */
#include "proto/relay.h"
#include "test.h"

static const struct relay_message rows[] = {
	{.type = RELAY_GET,
	 .number = 1,
	 .sid = SLICE_INIT("abcdefghijklmnopqrst"),
	 .version = 4},
	{.type = RELAY_POST,
	 .number = INT64_MAX,
	 .sid = SLICE_INIT("abcdefghijklmnopqrst"),
	 .version = 3,
	 .binary = true,
	 .body = SLICE_INIT("\x00\xff 42[\"x\"]")},
	{.type = RELAY_ANSWER, .number = 300, .kind = 2, .error = 5},
	{.type = RELAY_ANSWER, .number = 70000, .body = SLICE_INIT("6")},
	{.type = RELAY_PING},
	{.type = RELAY_REST, .number = 1ULL << 40, .body = SLICE_INIT("rest")},
};

static bool same(const struct relay_message *a, const struct relay_message *b)
{
	return a->type == b->type && a->number == b->number && slice_eq(a->sid, b->sid) &&
	       a->version == b->version && a->kind == b->kind && a->error == b->error &&
	       a->binary == b->binary && slice_eq(a->body, b->body);
}

static void test_row(const struct relay_message *row)
{
	struct buf out = BUF_INIT;
	struct relay_message m;
	char name[32];

	snprintf(name, sizeof(name), "type %d", row->type);
	relay_encode(row, &out);
	CHECK_ROW(relay_decode(buf_view(&out), &m) == ERR_OK, name);
	CHECK_ROW(same(row, &m), name);
	for (size_t n = 0; n < out.n; n++)
		CHECK_ROW(relay_decode(slice_of(out.p, n), &m) != ERR_OK, name);
	buf_byte(&out, 0);
	CHECK_ROW(relay_decode(buf_view(&out), &m) == ERR_SYNTAX, name);
	buf_deinit(&out);
}

static void test_bad(void)
{
	static const struct {
		const char *name;
		struct slice bytes;
	} bad[] = {
		{"no array", SLICE_INIT("\x01")},
		{"too few", SLICE_INIT("\x97\x00\x00\xc4\x00\x04\x00\x00\xc2")},
		{"type beyond all",
		 SLICE_INIT("\x98\x7f\x00\xc4\x00\x04\x00\x00\xc2\xc4\x00")},
		{"type below all",
		 SLICE_INIT("\x98\xff\x00\xc4\x00\x04\x00\x00\xc2\xc4\x00")},
		{"number below 0",
		 SLICE_INIT("\x98\x00\xff\xc4\x00\x04\x00\x00\xc2\xc4\x00")},
		{"sid is a string",
		 SLICE_INIT("\x98\x00\x00\xa1x\x04\x00\x00\xc2\xc4\x00")},
		{"binary is a number",
		 SLICE_INIT("\x98\x00\x00\xc4\x00\x04\x00\x00\x00\xc4\x00")},
		{"version beyond a byte",
		 SLICE_INIT("\x98\x00\x00\xc4\x00\xcd\x01\x00\x00\x00\xc2\xc4\x00")},
	};
	struct relay_message m;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK_ROW(relay_decode(bad[i].bytes, &m) != ERR_OK, bad[i].name);
}

int main(void)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		test_row(&rows[i]);
	test_bad();
	return test_done();
}
