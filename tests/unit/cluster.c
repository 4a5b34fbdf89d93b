/* Messages among servers, byte for byte as Node writes and reads them. */
#include <stdlib.h>

#include "proto/cluster.h"
#include "proto/id.h"
#include "test.h"

#define S(text) SLICE_INIT(text)
#define HI	"\x91\xa2hi"

/* Written by notepack.io 3.0.1: Buffer.toString("hex") of encode() of
 * ALL        ["gh-abcdef", {type: 2, data: ["hi"], nsp: "/"},
 *             {rooms: [], except: [], flags: {}}]
 * ROOM       ["gh-abcdef", {type: 2, data: ["hi", 1, {a: null}], nsp: "/chat"},
 *             {rooms: ["room"], except: ["x", "\u00fc"], flags: {volatile: true}}]
 * MANY       ["gh-abcdef", {type: 2, data: ["hi"], nsp: "/"},
 *             {rooms: ["r0", … "r16"], except: ["y".repeat(40)], flags: {}}]
 * NODE       ["sRbYhx", {type: 2, data: ["hi", Buffer.from([1, 2])], nsp: "/"},
 *             {rooms: ["a"], except: ["b"], flags: {compress: true, volatile: true}}]
 * EMITTER    ["emitter", {type: 2, data: ["hi"], nsp: "/"},
 *             {rooms: ["a", "b"], flags: {volatile: false}, except: []}]
 * NIL        ["emitter", {type: 2, data: ["hi"]}, {rooms: null, flags: null,
 *             except: null}]
 * UNDEFINED  ["emitter", {type: 2, data: ["hi"]}, undefined]
 * NUMBERS    ["emitter", {type: 2, data: ["hi"], nsp: "/"}, {rooms: [1, -7, 1.5, 2 ** 53,
 *             1.5e-300, "x", 2 ** 63], except: [0, 255, 65536, -40000, 1e-7, ""],
 *             flags: {}}]
 * FOURTH     ["sRbYhx", {nsp: "/", data: ["hi"], type: 2, extra: [1, {a: 2}]},
 *             {flags: {}, more: 1, rooms: ["a"]}, "17-3", {x: 1}]
 * ACK        ["sRbYhx", {type: 3, id: 4, data: [1], nsp: "/"},
 *             {rooms: ["a"], except: [], flags: {}}] */
/* clang-format off */
#define ALL \
	"93a967682d61626364656683a47479706502a46461746191a26869a3" \
	"6e7370a12f83a5726f6f6d7390a665786365707490a5666c61677380"
#define ROOM \
	"93a967682d61626364656683a47479706502a46461746193a2686901" \
	"81a161c0a36e7370a52f6368617483a5726f6f6d7391a4726f6f6da6" \
	"65786365707492a178a2c3bca5666c61677381a8766f6c6174696c65" \
	"c3"
#define MANY \
	"93a967682d61626364656683a47479706502a46461746191a26869a3" \
	"6e7370a12f83a5726f6f6d73dc0011a27230a27231a27232a27233a2" \
	"7234a27235a27236a27237a27238a27239a3723130a3723131a37231" \
	"32a3723133a3723134a3723135a3723136a665786365707491d92879" \
	"79797979797979797979797979797979797979797979797979797979" \
	"7979797979797979797979a5666c61677380"
#define NODE \
	"93a673526259687883a47479706502a46461746192a26869c4020102" \
	"a36e7370a12f83a5726f6f6d7391a161a665786365707491a162a566" \
	"6c61677382a8636f6d7072657373c3a8766f6c6174696c65c3"
#define EMITTER \
	"93a7656d697474657283a47479706502a46461746191a26869a36e73" \
	"70a12f83a5726f6f6d7392a161a162a5666c61677381a8766f6c6174" \
	"696c65c2a665786365707490"
#define NIL \
	"93a7656d697474657282a47479706502a46461746191a2686983a572" \
	"6f6f6d73c0a5666c616773c0a6657863657074c0"
#define UNDEFINED \
	"93a7656d697474657282a47479706502a46461746191a26869c0"
#define NUMBERS \
	"93a7656d697474657283a47479706502a46461746191a26869a36e73" \
	"70a12f83a5726f6f6d739701f9cb3ff8000000000000cf0020000000" \
	"000000cb01b01297d23ab683a178cf8000000000000000a665786365" \
	"70749600ccffce00010000d2ffff63c0cb3e7ad7f29abcaf48a0a566" \
	"6c61677380"
#define FOURTH \
	"95a673526259687884a36e7370a12fa46461746191a26869a4747970" \
	"6502a56578747261920181a1610283a5666c61677380a46d6f726501" \
	"a5726f6f6d7391a161a431372d3381a17801"
#define ACK \
	"93a673526259687884a47479706503a2696404a4646174619101a36e" \
	"7370a12f83a5726f6f6d7391a161a665786365707490a5666c616773" \
	"80"
/* clang-format on */

enum { LIST_MAX = 20 };

struct list {
	size_t n;
	struct slice v[LIST_MAX];
};

struct row {
	const char *name, *hex;
	struct slice uid, nsp, data;
	struct list rooms, except;
	unsigned flags;
	bool foreign;
};

static const struct row ours[] = {
	{.name = "all", .hex = ALL, .uid = S("gh-abcdef"), .nsp = S("/"), .data = S(HI)},
	{.name = "room",
	 .hex = ROOM,
	 .uid = S("gh-abcdef"),
	 .nsp = S("/chat"),
	 .data = S("\x93\xa2hi\x01\x81\xa1"
		   "a\xc0"),
	 .rooms = {1, {S("room")}},
	 .except = {2, {S("x"), S("\xc3\xbc")}},
	 .flags = CLUSTER_VOLATILE},
	{.name = "many",
	 .hex = MANY,
	 .uid = S("gh-abcdef"),
	 .nsp = S("/"),
	 .data = S(HI),
	 .rooms = {17,
		   {S("r0"), S("r1"), S("r2"), S("r3"), S("r4"), S("r5"), S("r6"),
		    S("r7"), S("r8"), S("r9"), S("r10"), S("r11"), S("r12"), S("r13"),
		    S("r14"), S("r15"), S("r16")}},
	 .except = {1, {S("yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy")}}},
};

static const struct row foreign[] = {
	{.name = "node",
	 .hex = NODE,
	 .uid = S("sRbYhx"),
	 .nsp = S("/"),
	 .data = S("\x92\xa2hi\xc4\x02\x01\x02"),
	 .rooms = {1, {S("a")}},
	 .except = {1, {S("b")}},
	 .flags = CLUSTER_VOLATILE,
	 .foreign = true},
	{.name = "emitter",
	 .hex = EMITTER,
	 .uid = S("emitter"),
	 .nsp = S("/"),
	 .data = S(HI),
	 .rooms = {2, {S("a"), S("b")}},
	 .foreign = true},
	{.name = "nil",
	 .hex = NIL,
	 .uid = S("emitter"),
	 .nsp = S("/"),
	 .data = S(HI),
	 .foreign = true},
	{.name = "undefined",
	 .hex = UNDEFINED,
	 .uid = S("emitter"),
	 .nsp = S("/"),
	 .data = S(HI),
	 .foreign = true},
	{.name = "numbers",
	 .hex = NUMBERS,
	 .uid = S("emitter"),
	 .nsp = S("/"),
	 .data = S(HI),
	 .rooms = {7,
		   {S("1"), S("-7"), S("1.5"), S("9007199254740992"), S("1.5e-300"),
		    S("x"), S("9223372036854776000")}},
	 .except = {6, {S("0"), S("255"), S("65536"), S("-40000"), S("1e-7"), S("")}},
	 .foreign = true},
	{.name = "fourth",
	 .hex = FOURTH,
	 .uid = S("sRbYhx"),
	 .nsp = S("/"),
	 .data = S(HI),
	 .rooms = {1, {S("a")}},
	 .foreign = true},
	{.name = "no opts, undefined nsp, type as a double, uid a number",
	 .hex = "92"
		"07"
		"83"
		"a464617461"
		"91a26869"
		"a36e7370"
		"d40000"
		"a474797065"
		"cb4000000000000000",
	 .nsp = S("/"),
	 .data = S(HI),
	 .foreign = true},
	{.name = "PHP's empty maps",
	 .hex = "93"
		"a7656d6974746572"
		"82"
		"a474797065"
		"02"
		"a464617461"
		"91a26869"
		"82"
		"a5726f6f6d73"
		"91a161"
		"a5666c616773"
		"90",
	 .uid = S("emitter"),
	 .nsp = S("/"),
	 .data = S(HI),
	 .rooms = {1, {S("a")}},
	 .foreign = true},
	{.name = "equal keys, and keys that are no strings",
	 .hex = "93"
		"a178"
		"84"
		"a464617461"
		"05"
		"c0"
		"c0"
		"a464617461"
		"91a26869"
		"a474797065"
		"02"
		"82"
		"a5726f6f6d73"
		"05"
		"a5726f6f6d73"
		"91a161",
	 .uid = S("x"),
	 .nsp = S("/"),
	 .data = S(HI),
	 .rooms = {1, {S("a")}},
	 .foreign = true},
	{.name = "\"gh-\" alone is ours, \"gh\" is not",
	 .hex = "92"
		"a26768"
		"82"
		"a474797065"
		"02"
		"a464617461"
		"91a26869",
	 .uid = S("gh"),
	 .nsp = S("/"),
	 .data = S(HI),
	 .foreign = true},
};

static struct slice unhex(const char *hex)
{
	size_t n = strlen(hex) / 2;
	uint8_t *bytes = malloc(n ? n : 1);

	if (!bytes)
		abort();
	for (size_t i = 0; i < n; i++) {
		char pair[3] = {hex[2 * i], hex[2 * i + 1], '\0'};

		bytes[i] = (uint8_t)strtoul(pair, NULL, 16);
	}
	return slice_of(bytes, n);
}

static enum err decode_copy(struct slice message, struct cluster_rooms *rooms,
			    struct cluster_broadcast *b, uint8_t **copy)
{
	*copy = malloc(message.n ? message.n : 1);
	if (!*copy)
		abort();
	if (message.n)
		memcpy(*copy, message.p, message.n);
	return cluster_decode(slice_of(*copy, message.n), rooms, b);
}

static void check_list(const struct slice *got, size_t n, const struct list *want,
		       const char *name)
{
	CHECK_ROW(n == want->n, name);
	for (size_t i = 0; i < n && i < want->n; i++)
		CHECK_SLICE(got[i], want->v[i], name);
}

static void check_decoded(const struct row *row, struct cluster_rooms *rooms)
{
	struct slice message = unhex(row->hex);
	struct cluster_broadcast b;
	uint8_t *copy;

	CHECK_ROW(decode_copy(message, rooms, &b, &copy) == ERR_OK, row->name);
	CHECK_SLICE(b.uid, row->uid, row->name);
	CHECK_SLICE(b.nsp, row->nsp, row->name);
	CHECK_SLICE(b.data, row->data, row->name);
	check_list(b.rooms, b.rooms_n, &row->rooms, row->name);
	check_list(b.except, b.except_n, &row->except, row->name);
	CHECK_ROW(b.flags == row->flags, row->name);
	CHECK_ROW(b.foreign == row->foreign, row->name);
	free(copy);
	for (size_t n = 0; n < message.n; n++) {
		CHECK_ROW(decode_copy(slice_of(message.p, n), rooms, &b, &copy) ==
				  ERR_TRUNCATED,
			  row->name);
		free(copy);
	}
	free((void *)(uintptr_t)message.p);
}

static void test_encode(void)
{
	struct cluster_rooms rooms = {0};
	struct buf out = BUF_INIT;

	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
		const struct row *row = &ours[i];
		struct slice want = unhex(row->hex);
		const struct cluster_broadcast b = {
			.nsp = row->nsp,
			.rooms = row->rooms.v,
			.rooms_n = row->rooms.n,
			.except = row->except.v,
			.except_n = row->except.n,
			.flags = row->flags,
			.data = row->data,
			.uid = row->uid,
		};

		buf_clear(&out);
		cluster_encode(&b, &out);
		CHECK_SLICE(buf_view(&out), want, row->name);
		free((void *)(uintptr_t)want.p);
		check_decoded(row, &rooms);
	}
	cluster_rooms_deinit(&rooms);
	buf_deinit(&out);
}

static void test_decode(void)
{
	struct cluster_rooms rooms = {0};

	for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++)
		check_decoded(&foreign[i], &rooms);
	cluster_rooms_deinit(&rooms);
}

/* [uid, {type: 2, data: `data`}, `opts`] */
#define MESSAGE(data, opts) "93a17882a47479706502a464617461" data opts

static void test_refused(void)
{
	static const struct {
		const char *name, *hex;
		enum err err;
	} rows[] = {
		{"ack", ACK, ERR_NOT_FOUND},
		{"no type", "92a17881a46461746191a26869", ERR_NOT_FOUND},
		{"type \"2\"", "92a17882a474797065a132a46461746191a26869", ERR_NOT_FOUND},
		{"ack with bad opts", "93a17881a4747970650305", ERR_SYNTAX},
		{"fine", MESSAGE("91a26869", "80"), ERR_OK},
		{"opts an empty array", MESSAGE("91a26869", "90"), ERR_OK},
		{"behind the end", MESSAGE("91a26869", "80") "c0", ERR_SYNTAX},
		{"no array", "80", ERR_SYNTAX},
		{"no packet", "91a178", ERR_SYNTAX},
		{"packet nil", "93a178c080", ERR_SYNTAX},
		{"packet an array", "93a1789080", ERR_SYNTAX},
		{"no data", "92a17881a47479706502", ERR_SYNTAX},
		{"data nil", MESSAGE("c0", "80"), ERR_SYNTAX},
		{"data empty", MESSAGE("90", "80"), ERR_SYNTAX},
		{"data a map", MESSAGE("81a26869c0", "80"), ERR_SYNTAX},
		{"name nil", MESSAGE("91c0", "80"), ERR_SYNTAX},
		{"reserved name", MESSAGE("91a7636f6e6e656374", "80"), ERR_SYNTAX},
		{"nsp a number", "92a17883a47479706502a46461746191a26869a36e737005",
		 ERR_SYNTAX},
		{"opts a number", MESSAGE("91a26869", "05"), ERR_SYNTAX},
		{"opts an array", MESSAGE("91a26869", "91c0"), ERR_SYNTAX},
		{"rooms a string", MESSAGE("91a26869", "81a5726f6f6d73a161"), ERR_SYNTAX},
		{"rooms a map", MESSAGE("91a26869", "81a5726f6f6d7380"), ERR_SYNTAX},
		{"a room nil", MESSAGE("91a26869", "81a5726f6f6d7391c0"), ERR_SYNTAX},
		{"a room bin", MESSAGE("91a26869", "81a5726f6f6d7391c40161"), ERR_SYNTAX},
		{"a room true", MESSAGE("91a26869", "81a665786365707491c3"), ERR_SYNTAX},
		{"flags a number", MESSAGE("91a26869", "81a5666c61677305"), ERR_SYNTAX},
		{"0xc1", MESSAGE("92a26869c1", "80"), ERR_SYNTAX},
		{"more claimed than there is", "dd7fffffff", ERR_TRUNCATED},
		{"empty", "", ERR_TRUNCATED},
	};
	struct cluster_rooms rooms = {0};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct slice message = unhex(rows[i].hex);
		struct cluster_broadcast b = {.uid = SLICE_LIT("untouched")};

		CHECK_ROW(cluster_decode(message, &rooms, &b) == rows[i].err,
			  rows[i].name);
		if (rows[i].err)
			CHECK_SLICE(b.uid, SLICE_LIT("untouched"), rows[i].name);
		free((void *)(uintptr_t)message.p);
	}
	cluster_rooms_deinit(&rooms);
}

static void test_offset(void)
{
	static const struct {
		struct slice offset;
		enum err err;
		struct slice era;
		uint64_t number;
	} rows[] = {
		{S("aB3dE6gH-42"), ERR_OK, S("aB3dE6gH"), 42},
		{S("e-0"), ERR_OK, S("e"), 0},
		{S("e-007"), ERR_OK, S("e"), 7},
		{S("e-1-2"), ERR_OK, S("e-1"), 2},
		{S("--5"), ERR_OK, S("-"), 5},
		{S("e-999999999999999"), ERR_OK, S("e"), 999999999999999},
		{S("e-1000000000000000"), ERR_SYNTAX, S(""), 0},
		{S("e-99999999999999999999999999"), ERR_SYNTAX, S(""), 0},
		{S(""), ERR_SYNTAX, S(""), 0},
		{S("-"), ERR_SYNTAX, S(""), 0},
		{S("-5"), ERR_SYNTAX, S(""), 0},
		{S("5"), ERR_SYNTAX, S(""), 0},
		{S("e-"), ERR_SYNTAX, S(""), 0},
		{S("e5"), ERR_SYNTAX, S(""), 0},
		{S("e- 5"), ERR_SYNTAX, S(""), 0},
		{S("e-+5"), ERR_SYNTAX, S(""), 0},
		{S("e-5 "), ERR_SYNTAX, S(""), 0},
		{S("e-0x5"), ERR_SYNTAX, S(""), 0},
		{S("e-5\0"), ERR_SYNTAX, S(""), 0},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *name = (const char *)rows[i].offset.p;
		struct slice era = SLICE_EMPTY;
		uint64_t number = 0;

		CHECK_ROW(cluster_offset(rows[i].offset, &era, &number) == rows[i].err,
			  name);
		CHECK_SLICE(era, rows[i].era, name);
		CHECK_ROW(number == rows[i].number, name);
	}
}

/* A message of ours with an offset behind it says the same, and that. */
static void test_put_offset(void)
{
	static const struct slice offsets[] = {
		S("aB3dE6gH-42"), S("aB3dE6gH-999999999999999"),
		S("an era of more than thirty-one bytes-1")};
	struct cluster_rooms rooms = {0}, plain_rooms = {0};

	for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
		struct slice message = unhex(ROOM), era;
		struct cluster_broadcast b, plain;
		struct buf out = BUF_INIT;
		uint64_t number;

		buf_slice(&out, message);
		cluster_await_offset(&out);
		cluster_put_offset(&out, offsets[i]);
		CHECK(cluster_decode(message, &plain_rooms, &plain) == ERR_OK);
		CHECK(!plain.offset.n && !plain.number);
		CHECK(cluster_decode(buf_view(&out), &rooms, &b) == ERR_OK);
		CHECK_SLICE(b.offset, offsets[i], "offset");
		CHECK(cluster_offset(offsets[i], &era, &number) == ERR_OK);
		CHECK(b.number == number);
		CHECK_SLICE(b.nsp, plain.nsp, "nsp");
		CHECK_SLICE(b.data, plain.data, "data");
		CHECK(b.rooms_n == plain.rooms_n && b.except_n == plain.except_n);
		CHECK(b.flags == plain.flags && b.foreign == plain.foreign);
		for (size_t n = message.n; n < out.n; n++)
			CHECK(cluster_decode(slice_of(out.p, n), &rooms, &b) ==
			      ERR_TRUNCATED);
		free((void *)(uintptr_t)message.p);
		buf_deinit(&out);
	}
	cluster_rooms_deinit(&rooms);
	cluster_rooms_deinit(&plain_rooms);
}

/* What peers put fourth may be anything; more may follow. */
static void test_fourth(void)
{
#define THREE "a967682d61626364656682a47479706502a46461746191a2686980"
	static const struct {
		const char *name, *hex;
		struct slice offset;
		uint64_t number;
	} rows[] = {
		{"of a node that is none, and a fifth", FOURTH, S(""), 0},
		{"no offset in it", "94" THREE "a3616263", S(""), 0},
		{"no number", "94" THREE "a3652d78", S(""), 0},
		{"an int", "94" THREE "05", S(""), 0},
		{"nil", "94" THREE "c0", S(""), 0},
		{"bin", "94" THREE "c403652d35", S(""), 0},
		{"a map", "94" THREE "81a161a3652d35", S(""), 0},
		{"str 8", "94" THREE "d903652d35", S("e-5"), 5},
		{"fifth alone", "95" THREE "c0a3652d35", S(""), 0},
	};
	struct cluster_rooms rooms = {0};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct slice message = unhex(rows[i].hex);
		struct cluster_broadcast b = {0};

		CHECK_ROW(cluster_decode(message, &rooms, &b) == ERR_OK, rows[i].name);
		CHECK_SLICE(b.offset, rows[i].offset, rows[i].name);
		CHECK_ROW(b.number == rows[i].number, rows[i].name);
		free((void *)(uintptr_t)message.p);
	}
	cluster_rooms_deinit(&rooms);
}

static void pack_message(struct buf *out, size_t rooms_n, size_t depth)
{
	static const struct slice room = S("r");
	struct slice *rooms = malloc((rooms_n + 1) * sizeof(*rooms));
	struct buf data = BUF_INIT;
	struct cluster_broadcast b = {.nsp = SLICE_LIT("/"),
				      .uid = SLICE_LIT("gh-x"),
				      .rooms = rooms,
				      .rooms_n = rooms_n,
				      .except = rooms,
				      .except_n = rooms_n};

	if (!rooms)
		abort();
	for (size_t i = 0; i < rooms_n; i++)
		rooms[i] = room;
	buf_str(&data, "\x92\xa1"
		       "a");
	for (size_t i = 2; i < depth; i++)
		buf_byte(&data, 0x91);
	buf_byte(&data, 0x90);
	b.data = buf_view(&data);
	buf_clear(out);
	cluster_encode(&b, out);
	buf_deinit(&data);
	free(rooms);
}

/* As deep and with as many rooms as a node may write, and no more. */
static void test_limits(void)
{
	struct cluster_rooms rooms = {0};
	struct cluster_broadcast b;
	struct buf out = BUF_INIT;

	pack_message(&out, 1, MP_DEPTH_MAX);
	CHECK(cluster_decode(buf_view(&out), &rooms, &b) == ERR_OK);
	pack_message(&out, 1, MP_DEPTH_MAX + 1);
	CHECK(cluster_decode(buf_view(&out), &rooms, &b) == ERR_DEPTH);
	pack_message(&out, CLUSTER_ROOMS_MAX, 2);
	CHECK(cluster_decode(buf_view(&out), &rooms, &b) == ERR_OK);
	CHECK(b.rooms_n == CLUSTER_ROOMS_MAX && b.except_n == CLUSTER_ROOMS_MAX);
	CHECK_SLICE(b.except[CLUSTER_ROOMS_MAX - 1], SLICE_LIT("r"), "last");
	pack_message(&out, CLUSTER_ROOMS_MAX + 1, 2);
	CHECK(cluster_decode(buf_view(&out), &rooms, &b) == ERR_TOO_MANY);
	cluster_rooms_deinit(&rooms);
	buf_deinit(&out);
}

static void test_channel(void)
{
	static const struct slice two[] = {S("a"), S("b")};
	struct buf out = BUF_INIT;

	cluster_channel(SLICE_LIT("socket.io"), SLICE_LIT("/"), NULL, 0, &out);
	CHECK_SLICE(buf_view(&out), SLICE_LIT("socket.io#/#"), "namespace");
	buf_clear(&out);
	cluster_channel(SLICE_LIT("socket.io"), SLICE_LIT("/a"), two, 1, &out);
	CHECK_SLICE(buf_view(&out), SLICE_LIT("socket.io#/a#a#"), "one room");
	buf_clear(&out);
	cluster_channel(SLICE_LIT("socket.io"), SLICE_LIT("/a"), two, 2, &out);
	CHECK_SLICE(buf_view(&out), SLICE_LIT("socket.io#/a#"), "two rooms");
	buf_clear(&out);
	cluster_ids_pattern(SLICE_LIT("socket.io"), SLICE_LIT("/"), SLICE_LIT("ab-_09"),
			    &out);
	CHECK_SLICE(buf_view(&out), SLICE_LIT("socket.io#/#ab-_09??????????????#"),
		    "pattern");
	CHECK(out.n == strlen("socket.io#/##") + ID_LEN);
	buf_clear(&out);
	cluster_ids_pattern(SLICE_LIT("a*b?[c]\\^-"), SLICE_LIT("/x*"),
			    SLICE_LIT("abcdef"), &out);
	CHECK_SLICE(buf_view(&out),
		    SLICE_LIT("a\\*b\\?\\[c\\]\\\\^-#/x\\*#abcdef??????????????#"),
		    "escaped pattern");
	buf_deinit(&out);
}

static void test_parse_channel(void)
{
	static const struct {
		struct slice channel;
		enum err err;
		struct slice nsp, room;
	} rows[] = {
		{S("socket.io#/#"), ERR_OK, S("/"), S("")},
		{S("socket.io#/a#"), ERR_OK, S("/a"), S("")},
		{S("socket.io#/#room#"), ERR_OK, S("/"), S("room")},
		{S("socket.io#/#a#b##"), ERR_OK, S("/"), S("a#b#")},
		{S("socket.io#/##"), ERR_OK, S("/"), S("")},
		{S("socket.io##x#"), ERR_OK, S(""), S("x")},
		{S("socket.io#/"), ERR_NOT_FOUND, S(""), S("")},
		{S("socket.io#/#room"), ERR_NOT_FOUND, S(""), S("")},
		{S("socket.io#"), ERR_NOT_FOUND, S(""), S("")},
		{S("socket.io"), ERR_NOT_FOUND, S(""), S("")},
		{S("socket.i"), ERR_NOT_FOUND, S(""), S("")},
		{S(""), ERR_NOT_FOUND, S(""), S("")},
		{S("socket.io-request#/#"), ERR_NOT_FOUND, S(""), S("")},
		{S("socket.ip#/#"), ERR_NOT_FOUND, S(""), S("")},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct slice nsp = SLICE_EMPTY, room = SLICE_EMPTY;
		const char *name = (const char *)rows[i].channel.p;

		CHECK_ROW(cluster_parse_channel(SLICE_LIT("socket.io"), rows[i].channel,
						&nsp, &room) == rows[i].err,
			  name);
		CHECK_SLICE(nsp, rows[i].nsp, name);
		CHECK_SLICE(room, rows[i].room, name);
	}
}

int main(void)
{
	test_encode();
	test_decode();
	test_refused();
	test_offset();
	test_put_offset();
	test_fourth();
	test_limits();
	test_channel();
	test_parse_channel();
	return test_done();
}
