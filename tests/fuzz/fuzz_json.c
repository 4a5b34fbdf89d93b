/* JSON text → value → text → value: what was read once is written and read again as the
 * same, and from the second round on nothing changes. */
#include <assert.h>
#include <math.h>

#include "fuzz.h"
#include "proto/json.h"

/* Does an encoded value hold what text has no word for: -0 or Infinity? */
static bool has_lossy_number(struct slice mp)
{
	struct mp_cursor c = mp_cursor_of(mp);
	struct mp_value v;

	while (c.p != c.end) {
		enum err err = mp_read(&c, &v);

		assert(!err);
		if (v.type == MP_DOUBLE && (v.d == 0 || isinf(v.d)))
			return true;
	}
	return false;
}

static void round_trip(struct slice text, const struct json_bins *given)
{
	struct buf mp1 = BUF_INIT, mp2 = BUF_INIT, text1 = BUF_INIT, text2 = BUF_INIT;
	struct json_bins bins1 = {NULL, 0, 0}, bins2 = {NULL, 0, 0};
	struct mp_cursor c;
	enum err err = json_to_mp(text, given, &mp1);

	assert(err == ERR_OK || err == ERR_SYNTAX || err == ERR_DEPTH ||
	       (err == ERR_RANGE && given));
	if (err) {
		assert(mp1.n == 0);
		goto out;
	}
	assert(mp1.p);
	c = mp_cursor_of(buf_view(&mp1));
	err = mp_skip(&c);
	assert(!err);
	assert(c.p == c.end);
	err = mp_to_json(buf_view(&mp1), &text1, given ? &bins1 : NULL);
	assert(!err);
	err = json_to_mp(buf_view(&text1), given ? &bins1 : NULL, &mp2);
	assert(!err);
	assert(slice_eq(buf_view(&mp1), buf_view(&mp2)) ||
	       has_lossy_number(buf_view(&mp1)));
	err = mp_to_json(buf_view(&mp2), &text2, given ? &bins2 : NULL);
	assert(!err);
	assert(slice_eq(buf_view(&text1), buf_view(&text2)));
	assert(bins1.n == bins2.n);
out:
	json_bins_deinit(&bins1);
	json_bins_deinit(&bins2);
	buf_deinit(&mp1);
	buf_deinit(&mp2);
	buf_deinit(&text1);
	buf_deinit(&text2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice v[2] = {SLICE_LIT("attached"), SLICE_EMPTY};
	const struct json_bins bins = {v, 2, 2};

	round_trip(slice_of(data, size), NULL);
	round_trip(slice_of(data, size), &bins);
	return 0;
}
