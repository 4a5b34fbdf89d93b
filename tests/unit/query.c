/* Query strings as maps. */
#include <stdlib.h>

#include "proto/mp.h"
#include "proto/query.h"
#include "test.h"

static void test_rows(void)
{
	static const struct {
		struct slice query;
		struct slice map;
	} rows[] = {
		{SLICE_INIT(""), SLICE_INIT("\x80")},
		{SLICE_INIT("&&"), SLICE_INIT("\x80")},
		{SLICE_INIT("a=b"), SLICE_INIT("\x81\xa1"
					       "a\xa1"
					       "b")},
		{SLICE_INIT("a"), SLICE_INIT("\x81\xa1"
					     "a\xa0")},
		{SLICE_INIT("=b"), SLICE_INIT("\x81\xa0\xa1"
					      "b")},
		{SLICE_INIT("a=b=c&d=e"), SLICE_INIT("\x82\xa1"
						     "a\xa3"
						     "b=c\xa1"
						     "d\xa1"
						     "e")},
		{SLICE_INIT("a=1&a=2&"), SLICE_INIT("\x82\xa1"
						    "a\xa1"
						    "1\xa1"
						    "a\xa1"
						    "2")},
		{SLICE_INIT("%61=b%20c+d"), SLICE_INIT("\x81\xa1"
						       "a\xa5"
						       "b c d")},
		{SLICE_INIT("a=%C3%a9"), SLICE_INIT("\x81\xa1"
						    "a\xa2\xc3\xa9")},
		{SLICE_INIT("a=%"), SLICE_INIT("\x81\xa1"
					       "a\xa1%")},
		{SLICE_INIT("a=%4"), SLICE_INIT("\x81\xa1"
						"a\xa2%4")},
		{SLICE_INIT("a=%4g%41"), SLICE_INIT("\x81\xa1"
						    "a\xa4%4gA")},
		{SLICE_INIT("a=%26%3D"), SLICE_INIT("\x81\xa1"
						    "a\xa2&=")},
		{SLICE_INIT("a=%ff&b=c"), SLICE_INIT("\x81\xa1"
						     "b\xa1"
						     "c")},
		{SLICE_INIT("%ff=a"), SLICE_INIT("\x80")},
	};
	struct buf out = BUF_INIT;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *name = (const char *)rows[i].query.p;

		for (size_t n = 0; n <= rows[i].query.n; n++) {
			uint8_t *copy = malloc(n ? n : 1);
			struct mp_cursor c;

			if (!copy)
				abort();
			if (n)
				memcpy(copy, rows[i].query.p, n);
			buf_clear(&out);
			buf_byte(&out, 'x');
			query_to_mp(slice_of(copy, n), &out);
			c = mp_cursor_of(slice_skip(buf_view(&out), 1));
			CHECK_ROW(mp_skip(&c) == ERR_OK && c.p == c.end, name);
			free(copy);
		}
		if (!out.p)
			abort();
		CHECK_SLICE(slice_skip(buf_view(&out), 1), rows[i].map, name);
	}
	buf_deinit(&out);
}

int main(void)
{
	test_rows();
	return test_done();
}
