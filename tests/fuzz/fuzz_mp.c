/* Any bytes as MessagePack → text → value: what can be written can be read again, and
 * the second round changes nothing. */
#include <assert.h>

#include "fuzz.h"
#include "proto/json.h"

static void check_typed(struct slice mp)
{
	struct mp_cursor c = mp_cursor_of(mp);
	struct slice s;
	int64_t i;

	if (!mp_get_str(mp, &s))
		assert(s.n < mp.n);
	if (!mp_get_int(mp, -5, 1000, &i)) {
		assert(i >= -5);
		assert(i <= 1000);
	}
	if (!mp_map_get(mp, SLICE_LIT("a"), &s)) {
		assert(s.n > 0);
		assert(s.p > mp.p);
		assert(s.p + s.n <= mp.p + mp.n);
	}
	if (!mp_take(&c, &s))
		assert(s.p == mp.p && s.p + s.n == c.p);
	else
		assert(c.p == mp.p);
}

static void round_trip(struct slice mp)
{
	struct buf mp1 = BUF_INIT, mp2 = BUF_INIT, text1 = BUF_INIT, text2 = BUF_INIT;
	struct json_bins bins = {NULL, 0, 0}, bins1 = {NULL, 0, 0};
	struct mp_cursor c = mp_cursor_of(mp);
	enum err err = mp_to_json(mp, &text1, &bins);

	if (err) {
		assert(text1.n == 0);
		assert(bins.n == 0);
		goto out;
	}
	err = mp_skip(&c);
	assert(!err);
	assert(c.p == c.end);
	err = json_to_mp(buf_view(&text1), &bins, &mp1);
	/* A map that looks like a placeholder may ask for what is not there. */
	assert(!err || err == ERR_RANGE);
	if (err)
		goto out;
	err = mp_to_json(buf_view(&mp1), &text2, &bins1);
	assert(!err);
	err = json_to_mp(buf_view(&text2), &bins1, &mp2);
	assert(!err);
	assert(slice_eq(buf_view(&mp1), buf_view(&mp2)));
out:
	json_bins_deinit(&bins);
	json_bins_deinit(&bins1);
	buf_deinit(&mp1);
	buf_deinit(&mp2);
	buf_deinit(&text1);
	buf_deinit(&text2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check_typed(slice_of(data, size));
	round_trip(slice_of(data, size));
	return 0;
}
