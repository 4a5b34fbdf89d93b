/* JSON text ↔ MessagePack, by JavaScript's rules. */
#include <stdlib.h>

#include "proto/json.h"
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

static enum err parse_copy(struct slice text, const struct json_bins *bins,
			   struct buf *out)
{
	uint8_t *copy = copy_of(text);
	enum err err = json_to_mp(slice_of(copy, text.n), bins, out);

	free(copy);
	return err;
}

#define TEXT(s) SLICE_INIT(s)

/* Read as `mp`, which is written as `back`. */
static const struct row {
	const char *name;
	struct slice text, mp, back;
} rows[] = {
#define ROW(name, text, mp, back)                                                        \
	{                                                                                \
		name, TEXT(text), TEXT(mp), TEXT(back)                                   \
	}
#define SAME(text, mp)                                                                   \
	{                                                                                \
		text, TEXT(text), TEXT(mp), TEXT(text)                                   \
	}
	SAME("null", "\xc0"),
	SAME("true", "\xc3"),
	SAME("false", "\xc2"),
	SAME("0", "\x00"),
	SAME("127", "\x7f"),
	SAME("128", "\xcc\x80"),
	SAME("255", "\xcc\xff"),
	SAME("256", "\xcd\x01\x00"),
	SAME("65536", "\xce\x00\x01\x00\x00"),
	SAME("4294967296", "\xcf\x00\x00\x00\x01\x00\x00\x00\x00"),
	SAME("9007199254740992", "\xcf\x00\x20\x00\x00\x00\x00\x00\x00"),
	SAME("-1", "\xff"),
	SAME("-32", "\xe0"),
	SAME("-33", "\xd0\xdf"),
	SAME("-129", "\xd1\xff\x7f"),
	SAME("-32769", "\xd2\xff\xff\x7f\xff"),
	SAME("-2147483649", "\xd3\xff\xff\xff\xff\x7f\xff\xff\xff"),
	ROW("beyond 2^53", "9007199254740993", "\xcf\x00\x20\x00\x00\x00\x00\x00\x00",
	    "9007199254740992"),
	ROW("well beyond 2^53", "9007199254740995",
	    "\xcb\x43\x40\x00\x00\x00\x00\x00\x02", "9007199254740996"),
	ROW("-0", "-0", "\xcb\x80\x00\x00\x00\x00\x00\x00\x00", "0"),
	ROW("-0.0e9", "-0.0e9", "\xcb\x80\x00\x00\x00\x00\x00\x00\x00", "0"),
	ROW("1.0", "1.0", "\x01", "1"),
	ROW("1E2", "1E2", "\x64", "100"),
	ROW("infinity", "1e400", "\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00", "null"),
	ROW("-infinity", "-1e400", "\xcb\xff\xf0\x00\x00\x00\x00\x00\x00", "null"),
	ROW("underflow", "1e-400", "\x00", "0"),
	SAME("1.5", "\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00"),
	SAME("0.1", "\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a"),
	SAME("5e-324", "\xcb\x00\x00\x00\x00\x00\x00\x00\x01"),
	SAME("1e+21", "\xcb\x44\x4b\x1a\xe4\xd6\xe2\xef\x50"),
	SAME("1.5e-7", "\xcb\x3e\x84\x21\xf5\xf4\x0d\x83\x76"),
	SAME("\"\"", "\xa0"),
	SAME("\"a\"", "\xa1"
		      "a"),
	SAME("\"0123456789012345678901234567890\"", "\xbf"
						    "0123456789012345678901234567890"),
	SAME("\"01234567890123456789012345678901\"", "\xd9\x20"
						     "01234567890123456789012345678901"),
	SAME("\"\\\"\\\\\\b\\f\\n\\r\\t\\u0000\\u001f\x7f/\"",
	     "\xab\"\\\b\f\n\r\t\x00\x1f\x7f/"),
	ROW("escapes", "\"\\/\\u0041\\u00e9\\u20AC\"", "\xa7/A\xc3\xa9\xe2\x82\xac",
	    "\"/A\xc3\xa9\xe2\x82\xac\""),
	SAME("\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xe2\x80\xa8\"",
	     "\xac\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xe2\x80\xa8"),
	ROW("pair", "\"\\ud83d\\uDE00\"", "\xa4\xf0\x9f\x98\x80", "\"\xf0\x9f\x98\x80\""),
	SAME("\"\\ud83d\"", "\xa3\xed\xa0\xbd"),
	SAME("\"\\ude00x\"", "\xa4\xed\xb8\x80x"),
	SAME("\"\\ud83d\\ud83d\"", "\xa6\xed\xa0\xbd\xed\xa0\xbd"),
	SAME("\"\\ude00\\ud83d\"", "\xa6\xed\xb8\x80\xed\xa0\xbd"),
	ROW("lone, then pair", "\"\\ud83d\\ud83d\\ude00\"",
	    "\xa7\xed\xa0\xbd\xf0\x9f\x98\x80", "\"\\ud83d\xf0\x9f\x98\x80\""),
	ROW("high, then other escape", "\"\\ud83d\\n\"", "\xa4\xed\xa0\xbd\n",
	    "\"\\ud83d\\n\""),
	ROW("escapes shorten the header",
	    "\"\\u0061\\u0061\\u0061\\u0061\\u0061\\u0061\"",
	    "\xa6"
	    "aaaaaa",
	    "\"aaaaaa\""),
	SAME("[]", "\x90"),
	SAME("{}", "\x80"),
	SAME("[1,[2,{}],\"\"]", "\x93\x01\x92\x02\x80\xa0"),
	SAME("{\"a\":1,\"b\":{\"c\":[null]}}", "\x82\xa1"
					       "a\x01\xa1"
					       "b\x81\xa1"
					       "c\x91\xc0"),
	ROW("white space", " \t\r\n[ 1 ,\n{ \"a\" :\t2 } ,[ ] , { } ] \n",
	    "\x94\x01\x81\xa1"
	    "a\x02\x90\x80",
	    "[1,{\"a\":2},[],{}]"),
	SAME("{\"a\":1,\"a\":2,\"\":3}", "\x83\xa1"
					 "a\x01\xa1"
					 "a\x02\xa0\x03"),
	SAME("[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]", "\x9f\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
	SAME("[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,1]",
	     "\xdc\x00\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01"),
	SAME("[7,[0,0,0,0,0,0,0,0,[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,2],0,0,0,0,0,0,3],8]",
	     "\x93\x07\xdc\x00\x10\0\0\0\0\0\0\0\0\xdc\x00\x10"
	     "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\x03\x08"),
};

static void test_rows(void)
{
	struct buf mp = BUF_INIT, text = BUF_INIT;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *row = &rows[i];
		uint8_t *copy;

		buf_clear(&mp);
		buf_clear(&text);
		buf_byte(&mp, 'x');
		buf_byte(&text, 'x');
		CHECK_ROW(parse_copy(row->text, NULL, &mp) == ERR_OK, row->name);
		CHECK_SLICE(slice_skip(buf_view(&mp), 1), row->mp, row->name);
		copy = copy_of(row->mp);
		CHECK_ROW(mp_to_json(slice_of(copy, row->mp.n), &text, NULL) == ERR_OK,
			  row->name);
		CHECK_SLICE(slice_skip(buf_view(&text), 1), row->back, row->name);
		free(copy);
	}
	buf_deinit(&mp);
	buf_deinit(&text);
}

/* Numbers are whole wherever they are cut, as long as a digit is last. */
static bool may_be_cut(struct slice text, size_t n)
{
	uint8_t first = text.p[0];

	return n && (first == '-' || (first >= '0' && first <= '9')) &&
	       text.p[n - 1] >= '0' && text.p[n - 1] <= '9';
}

/* Every row, cut at every byte, either way: an error that appends nothing. */
static void test_cut(void)
{
	struct buf out = BUF_INIT;

	buf_byte(&out, 'x');
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *row = &rows[i];
		size_t whole = row->text.n;

		/* White space at the end is none of the value. */
		while (row->text.p[whole - 1] == ' ' || row->text.p[whole - 1] == '\n')
			whole--;
		for (size_t n = 0; n < whole; n++) {
			if (may_be_cut(row->text, n))
				continue;
			CHECK_ROW(parse_copy(slice_of(row->text.p, n), NULL, &out) ==
					  ERR_SYNTAX,
				  row->name);
			CHECK_ROW(out.n == 1, row->name);
		}
		for (size_t n = 0; n < row->mp.n; n++) {
			uint8_t *copy = copy_of(slice_of(row->mp.p, n));

			CHECK_ROW(mp_to_json(slice_of(copy, n), &out, NULL) ==
					  ERR_TRUNCATED,
				  row->name);
			CHECK_ROW(out.n == 1, row->name);
			free(copy);
		}
	}
	buf_deinit(&out);
}

static void test_refused(void)
{
	static const struct slice bad[] = {
		TEXT(""),
		TEXT(" "),
		TEXT("nul"),
		TEXT("null0"),
		TEXT("True"),
		TEXT("undefined"),
		TEXT("NaN"),
		TEXT("Infinity"),
		TEXT("+1"),
		TEXT("-"),
		TEXT("01"),
		TEXT("-01"),
		TEXT("1."),
		TEXT(".5"),
		TEXT("1.e5"),
		TEXT("1e"),
		TEXT("1e+"),
		TEXT("0x10"),
		TEXT("1 2"),
		TEXT("1,"),
		TEXT("[1,]"),
		TEXT("[,1]"),
		TEXT("[1 2]"),
		TEXT("[1}"),
		TEXT("{\"a\":1,}"),
		TEXT("{\"a\"}"),
		TEXT("{\"a\" 1}"),
		TEXT("{a:1}"),
		TEXT("{1:1}"),
		TEXT("{\"a\":1]"),
		TEXT("{,}"),
		TEXT("{\"a\":}"),
		TEXT("'a'"),
		TEXT("\"a"),
		TEXT("\"\\\""),
		TEXT("\"\\x41\""),
		TEXT("\"\\u12\""),
		TEXT("\"\\u12g4\""),
		TEXT("\"\\U0041\""),
		TEXT("\"a\nb\""),
		TEXT("\"a\tb\""),
		TEXT("\"a\x00"
		     "b\""),
		TEXT("\"\\ud83d\\u\""),
		TEXT("\"\\ud83d\\uzzzz\""),
		/* Not JSON's white space. */
		TEXT("\f1"),
		TEXT("\v1"),
		TEXT("\xc2\xa0"
		     "1"),
		TEXT("\xef\xbb\xbf"
		     "1"),
		TEXT("1\x00"),
		TEXT("//x\n1"),
		TEXT("/**/1"),
		/* Not UTF-8: alone, cut short, overlong, surrogates, too high. */
		TEXT("\"\x80\""),
		TEXT("\"\xff\""),
		TEXT("\"\xc3\""),
		TEXT("\"\xe2\x82\""),
		TEXT("\"\xf0\x9f\x98\""),
		TEXT("\"\xc0\xaf\""),
		TEXT("\"\xe0\x80\xaf\""),
		TEXT("\"\xed\xa0\xbd\""),
		TEXT("\"\xed\xb8\x80\""),
		TEXT("\"\xf4\x90\x80\x80\""),
		TEXT("\"\\n\xed\xa0\xbd\""),
		TEXT("\"\\n\x01\""),
	};
	struct buf out = BUF_INIT;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		CHECK_ROW(parse_copy(bad[i], NULL, &out) == ERR_SYNTAX,
			  (const char *)bad[i].p);
		CHECK_ROW(out.n == 0, (const char *)bad[i].p);
	}
	buf_deinit(&out);
}

static void nest(struct buf *b, const char *open, const char *inner, const char *close,
		 int depth)
{
	buf_clear(b);
	for (int i = 0; i < depth; i++)
		buf_str(b, open);
	buf_str(b, inner);
	for (int i = 0; i < depth; i++)
		buf_str(b, close);
}

static void test_depth(void)
{
	struct buf in = BUF_INIT, mp = BUF_INIT, out = BUF_INIT;
	struct json_bins bins = {NULL, 0, 0};

	nest(&in, "[", "", "]", MP_DEPTH_MAX);
	CHECK(parse_copy(buf_view(&in), NULL, &mp) == ERR_OK);
	CHECK(mp_to_json(buf_view(&mp), &out, NULL) == ERR_OK);
	CHECK_SLICE(buf_view(&out), buf_view(&in), "deepest arrays");
	nest(&in, "[", "", "]", MP_DEPTH_MAX + 1);
	CHECK(parse_copy(buf_view(&in), NULL, &mp) == ERR_DEPTH);
	buf_clear(&mp);
	buf_clear(&out);
	nest(&in, "{\"a\":", "1", "}", MP_DEPTH_MAX);
	CHECK(parse_copy(buf_view(&in), NULL, &mp) == ERR_OK);
	CHECK(mp_to_json(buf_view(&mp), &out, NULL) == ERR_OK);
	CHECK_SLICE(buf_view(&out), buf_view(&in), "deepest objects");
	nest(&in, "{\"a\":", "1", "}", MP_DEPTH_MAX + 1);
	CHECK(parse_copy(buf_view(&in), NULL, &mp) == ERR_DEPTH);
	nest(&in, "[", "", "", 1000000);
	CHECK(parse_copy(buf_view(&in), NULL, &mp) == ERR_DEPTH);
	buf_clear(&out);
	nest(&in, "\x91", "\x90", "", MP_DEPTH_MAX);
	CHECK(mp_to_json(buf_view(&in), &out, NULL) == ERR_DEPTH);
	/* Text may not be deeper than what can be read again. */
	nest(&in, "\x91", "\xc4\x01x", "", MP_DEPTH_MAX);
	CHECK(mp_to_json(buf_view(&in), &out, &bins) == ERR_DEPTH);
	nest(&in, "\x91", "\xc7\x01\x05x", "", MP_DEPTH_MAX - 1);
	CHECK(mp_to_json(buf_view(&in), &out, &bins) == ERR_DEPTH);
	CHECK(bins.n == 0 && out.n == 0);
	nest(&in, "\x91", "\xc4\x01x", "", MP_DEPTH_MAX - 1);
	CHECK(mp_to_json(buf_view(&in), &out, &bins) == ERR_OK);
	buf_clear(&mp);
	CHECK(parse_copy(buf_view(&out), &bins, &mp) == ERR_OK);
	CHECK_SLICE(buf_view(&mp), buf_view(&in), "deepest binary");
	json_bins_deinit(&bins);
	buf_deinit(&in);
	buf_deinit(&mp);
	buf_deinit(&out);
}

/* Values only peers write: to text, as Node would. */
static void test_foreign(void)
{
	static const struct {
		const char *name;
		struct slice mp, text;
		enum err err;
	} foreign[] = {
#define OK(name, mp, text) {name, TEXT(mp), TEXT(text), ERR_OK}
#define BAD(name, mp, err)                                                               \
	{                                                                                \
		name, TEXT(mp), TEXT(""), err                                            \
	}
		OK("undefined", "\xd4\x00\x00", "null"),
		OK("undefined element", "\x92\xd4\x00\x00\x01", "[null,1]"),
		OK("undefined member, first",
		   "\x82\xa1"
		   "a\xd4\x00\x00\xa1"
		   "b\x01",
		   "{\"b\":1}"),
		OK("undefined member, last",
		   "\x82\xa1"
		   "a\x01\xa1"
		   "b\xd4\x00\x00",
		   "{\"a\":1}"),
		OK("undefined members only",
		   "\x82\xa1"
		   "a\xd4\x00\x00\xa1"
		   "b\xd4\x00\x07",
		   "{}"),
		OK("NaN", "\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", "null"),
		OK("float 32", "\xca\x3d\xcc\xcc\xcd", "0.10000000149011612"),
		OK("uint 64", "\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
		   "18446744073709552000"),
		OK("int 64", "\xd3\x80\x00\x00\x00\x00\x00\x00\x00",
		   "-9223372036854776000"),
		OK("2^53+1", "\xcf\x00\x20\x00\x00\x00\x00\x00\x01", "9007199254740992"),
		OK("timestamp 32", "\xd6\xff\x00\x00\x00\x01",
		   "\"1970-01-01T00:00:01.000Z\""),
		OK("timestamp 64", "\xd7\xff\x77\x35\x94\x00\x65\x53\xf1\x00",
		   "\"2023-11-14T22:13:20.500Z\""),
		OK("timestamp 64 beyond 2^32", "\xd7\xff\x00\x00\x00\x03\xff\xff\xff\xff",
		   "\"2514-05-30T01:53:03.000Z\""),
		OK("timestamp 96",
		   "\xc7\x0c\xff\x1d\xcd\x65\x00\xff\xff\xff\xff\xff\xff\xff\xff",
		   "\"1969-12-31T23:59:59.500Z\""),
		OK("timestamp 96, no date",
		   "\xc7\x0c\xff\x00\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff",
		   "null"),
		OK("notepack 2 date", "\xd7\x00\x00\x00\x01\x8b\xcf\xe5\x68\x00",
		   "\"2023-11-14T22:13:20.000Z\""),
		OK("notepack 2 date before 1970",
		   "\xd7\x00\xff\xff\xff\xff\xff\xff\xff\xff",
		   "\"1969-12-31T23:59:59.999Z\""),
		OK("undefined dates are kept",
		   "\x81\xa1"
		   "a\xd7\x00\x7f\x00\x00\x00\x00\x00\x00\x00",
		   "{\"a\":null}"),
		OK("keys",
		   "\x88\x01\x01\xff\x02\xc0\x03\xc3\x04\xc2\x05\xca\x3f\xc0\x00\x00\x06"
		   "\xcf\xff\xff\xff\xff\xff\xff\xff\xff\x07\xc4\x01k\x08",
		   "{\"1\":1,\"-1\":2,\"null\":3,\"true\":4,\"false\":5,\"1.5\":6,"
		   "\"18446744073709552000\":7,\"k\":8}"),
		OK("odd number keys",
		   "\x83\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00\x01\xcb\xff\xf0\x00\x00\x00"
		   "\x00\x00\x00\x02\xcb\x80\x00\x00\x00\x00\x00\x00\x00\x03",
		   "{\"NaN\":1,\"-Infinity\":2,\"0\":3}"),
		OK("bad UTF-8",
		   "\xa5"
		   "a\xff\xc3"
		   "b\x80",
		   "\"a\xef\xbf\xbd\xef\xbf\xbd"
		   "b\xef\xbf\xbd\""),
		OK("one U+FFFD per maximal subpart",
		   "\xac\xf0\x9f\x98\xe2\x82\xf0\x80\x80\xed\xa0\xc0\xaf",
		   "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
		   "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""),
		OK("pair as two surrogates", "\xa6\xed\xa0\xbd\xed\xb8\x80",
		   "\"\\ud83d\\ude00\""),
		BAD("array as key", "\x81\x90\x01", ERR_SYNTAX),
		BAD("map as key", "\x81\x80\x01", ERR_SYNTAX),
		BAD("ext as key", "\x81\xd4\x00\x00\x01", ERR_SYNTAX),
		BAD("never used", "\xc1", ERR_SYNTAX),
		BAD("never used, inside", "\x91\xc1", ERR_SYNTAX),
		BAD("trailing", "\x01\x01", ERR_SYNTAX),
		BAD("empty", "", ERR_TRUNCATED),
		BAD("cut undefined",
		    "\x81\xa1"
		    "a\xd4\x00",
		    ERR_TRUNCATED),
		BAD("bin", "\xc4\x00", ERR_DENIED),
		BAD("ArrayBuffer", "\xc7\x01\x00x", ERR_DENIED),
		BAD("other ext", "\xd4\x05x", ERR_DENIED),
	};
	struct buf out = BUF_INIT;

	for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++) {
		uint8_t *copy = copy_of(foreign[i].mp);

		buf_clear(&out);
		CHECK_ROW(mp_to_json(slice_of(copy, foreign[i].mp.n), &out, NULL) ==
				  foreign[i].err,
			  foreign[i].name);
		CHECK_SLICE(buf_view(&out), foreign[i].text, foreign[i].name);
		free(copy);
	}
	buf_deinit(&out);
}

static void test_bins(void)
{
	static const struct slice mp = TEXT("\x95\xc4\x01x\xc5\x00\x02yz\xc7\x01\x00u"
					    "\xd5\x05vw\x81\xa1"
					    "a\xc4\x00");
	struct json_bins bins = {NULL, 0, 0}, none = {NULL, 0, 0};
	struct buf text = BUF_INIT, back = BUF_INIT;

	CHECK(mp_to_json(mp, &text, &bins) == ERR_OK);
	CHECK_SLICE(buf_view(&text),
		    SLICE_LIT("[{\"_placeholder\":true,\"num\":0},"
			      "{\"_placeholder\":true,\"num\":1},"
			      "{\"_placeholder\":true,\"num\":2},"
			      "[5,{\"_placeholder\":true,\"num\":3}],"
			      "{\"a\":{\"_placeholder\":true,\"num\":4}}]"),
		    "");
	CHECK(bins.n == 5);
	CHECK_SLICE(bins.v[1], SLICE_LIT("yz"), "");
	CHECK_SLICE(bins.v[3], SLICE_LIT("vw"), "");
	CHECK_SLICE(bins.v[4], SLICE_EMPTY, "");
	CHECK(json_to_mp(buf_view(&text), &bins, &back) == ERR_OK);
	CHECK_SLICE(buf_view(&back),
		    SLICE_LIT("\x95\xc4\x01x\xc4\x02yz\xc4\x01u\x92\x05\xc4\x02vw\x81\xa1"
			      "a\xc4\x00"),
		    "");
	/* Numbers go on where `bins` stands; errors leave it as it was. */
	buf_clear(&text);
	CHECK(mp_to_json(SLICE_LIT("\xc4\x01q"), &text, &bins) == ERR_OK);
	CHECK_SLICE(buf_view(&text), SLICE_LIT("{\"_placeholder\":true,\"num\":5}"), "");
	CHECK(bins.n == 6);
	CHECK(mp_to_json(SLICE_LIT("\x92\xc4\x01q\xc1"), &text, &bins) == ERR_SYNTAX);
	CHECK(bins.n == 6);
	CHECK_SLICE(buf_view(&text), SLICE_LIT("{\"_placeholder\":true,\"num\":5}"), "");
	/* Without attachments in sight it is an object like any other. */
	buf_clear(&back);
	CHECK(json_to_mp(buf_view(&text), NULL, &back) == ERR_OK);
	CHECK(back.p[0] == 0x82);
	CHECK(json_to_mp(buf_view(&text), &none, &back) == ERR_RANGE);
	json_bins_deinit(&bins);
	CHECK(bins.v == NULL && bins.n == 0);
	buf_deinit(&text);
	buf_deinit(&back);
}

static void test_placeholders(void)
{
	static const struct {
		struct slice text;
		enum err err;
		struct slice mp;
	} texts[] = {
#define PH(text, err, mp) {TEXT(text), err, TEXT(mp)}
		PH("{\"_placeholder\":true,\"num\":0}", ERR_OK,
		   "\xc4\x03"
		   "abc"),
		PH("{\"num\":1,\"_placeholder\":true}", ERR_OK,
		   "\xc4\x01"
		   "d"),
		PH("{\"num\":1.0e0,\"x\":[{\"y\":1}],\"_placeholder\":true}", ERR_OK,
		   "\xc4\x01"
		   "d"),
		/* Wide headers inside are gone with the object, others are not. */
		PH("[{\"x\":[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0],\"num\":1,"
		   "\"_placeholder\":true},0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]",
		   ERR_OK,
		   "\xdc\x00\x10\xc4\x01"
		   "d\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
		PH("{\"_placeholder\":false,\"num\":0}", ERR_OK,
		   "\x82\xac_placeholder\xc2\xa3num\x00"),
		PH("{\"_placeholder\":1,\"num\":0}", ERR_OK,
		   "\x82\xac_placeholder\x01\xa3num\x00"),
		PH("{\"_placeholder\":true,\"_placeholder\":0,\"num\":9}", ERR_OK,
		   "\x83\xac_placeholder\xc3\xac_placeholder\x00\xa3num\x09"),
		PH("{\"_placeholder\":true,\"num\":9,\"num\":1}", ERR_OK,
		   "\xc4\x01"
		   "d"),
		PH("{\"\\u005fplaceholder\":true,\"n\\u0075m\":1}", ERR_OK,
		   "\xc4\x01"
		   "d"),
		PH("{\"_placeholder\":true}", ERR_RANGE, ""),
		PH("{\"_placeholder\":true,\"num\":2}", ERR_RANGE, ""),
		PH("{\"_placeholder\":true,\"num\":-1}", ERR_RANGE, ""),
		PH("{\"_placeholder\":true,\"num\":0.5}", ERR_RANGE, ""),
		PH("{\"_placeholder\":true,\"num\":1e99}", ERR_RANGE, ""),
		PH("{\"_placeholder\":true,\"num\":\"0\"}", ERR_RANGE, ""),
		PH("{\"_placeholder\":true,\"num\":[0]}", ERR_RANGE, ""),
		PH("{\"_placeholder\":true,\"num\":0,\"num\":null}", ERR_RANGE, ""),
		/* Four bytes are attached, these ask for six. */
		PH("[{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":0}"
		   "]",
		   ERR_RANGE, ""),
	};
	struct slice v[2] = {SLICE_LIT("abc"), SLICE_LIT("d")};
	const struct json_bins bins = {v, 2, 2};
	struct buf out = BUF_INIT;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		const char *name = (const char *)texts[i].text.p;

		buf_clear(&out);
		CHECK_ROW(parse_copy(texts[i].text, &bins, &out) == texts[i].err, name);
		CHECK_SLICE(buf_view(&out), texts[i].mp, name);
	}
	buf_deinit(&out);
}

/* Sizes around every header's limit, nested so that wide headers lie in wide ones. */
static void test_wide(void)
{
	static const size_t counts[] = {15, 16, 255, 256, 65535, 65536, 70000};
	struct buf text = BUF_INIT, mp = BUF_INIT, back = BUF_INIT;

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		struct mp_cursor c;
		uint32_t n = 0;

		buf_clear(&text);
		buf_clear(&mp);
		buf_clear(&back);
		buf_byte(&text, '[');
		for (size_t k = 0; k < counts[i]; k++)
			buf_printf(&text, "%s%zu", k ? "," : "", k);
		buf_str(&text, ",{");
		for (size_t k = 0; k < counts[i]; k++)
			buf_printf(&text, "%s\"%zu\":[]", k ? "," : "", k);
		buf_str(&text, "},\"");
		for (size_t k = 0; k < counts[i]; k++)
			buf_byte(&text, 'x');
		buf_str(&text, "\",\"\\n");
		for (size_t k = 0; k < counts[i]; k++)
			buf_byte(&text, 'x');
		buf_str(&text, "\"]");
		CHECK(parse_copy(buf_view(&text), NULL, &mp) == ERR_OK);
		c = mp_cursor_of(buf_view(&mp));
		CHECK(mp_read_array(&c, &n) == ERR_OK && n == counts[i] + 3);
		CHECK(mp_to_json(buf_view(&mp), &back, NULL) == ERR_OK);
		CHECK(slice_eq(buf_view(&back), buf_view(&text)));
	}
	buf_deinit(&text);
	buf_deinit(&mp);
	buf_deinit(&back);
}

/* Many wide arrays, nested as deep as they may, in a megabyte: time must not explode. */
static void test_hostile(void)
{
	struct buf text = BUF_INIT, mp = BUF_INIT, back = BUF_INIT;

	buf_byte(&text, '[');
	while (text.n < 1 << 20) {
		for (int i = 0; i < MP_DEPTH_MAX - 1; i++)
			buf_byte(&text, '[');
		for (int i = 0; i < MP_DEPTH_MAX - 1; i++)
			buf_str(&text, "0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0],");
		text.n--;
		buf_byte(&text, ',');
	}
	text.p[text.n - 1] = ']';
	CHECK(parse_copy(buf_view(&text), NULL, &mp) == ERR_OK);
	CHECK(mp_to_json(buf_view(&mp), &back, NULL) == ERR_OK);
	CHECK(slice_eq(buf_view(&back), buf_view(&text)));
	buf_deinit(&text);
	buf_deinit(&mp);
	buf_deinit(&back);
}

int main(void)
{
	test_rows();
	test_cut();
	test_refused();
	test_depth();
	test_foreign();
	test_bins();
	test_placeholders();
	test_wide();
	test_hostile();
	return test_done();
}
