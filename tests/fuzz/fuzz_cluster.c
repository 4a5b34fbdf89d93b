/* The input as a message of a peer and as a channel's name. A message that is understood
 * is written and read again and then says the same. */
#include <assert.h>

#include "fuzz.h"
#include "proto/cluster.h"
#include "proto/sio.h"

static void check_lists(const struct slice *a, size_t a_n, const struct slice *b,
			size_t b_n)
{
	assert(a_n == b_n);
	for (size_t i = 0; i < a_n; i++)
		assert(slice_eq(a[i], b[i]));
}

static void fuzz_message(struct slice message)
{
	struct cluster_rooms rooms = {0}, rooms2 = {0};
	struct cluster_broadcast b, b2;
	struct buf out = BUF_INIT;
	enum err err = cluster_decode(message, &rooms, &b);

	assert(err == ERR_OK || err == ERR_SYNTAX || err == ERR_TRUNCATED ||
	       err == ERR_DEPTH || err == ERR_NOT_FOUND || err == ERR_TOO_MANY);
	if (err)
		goto out;
	assert(sio_event_ok(b.data));
	assert(b.rooms_n <= CLUSTER_ROOMS_MAX);
	assert(b.except_n <= CLUSTER_ROOMS_MAX);
	assert((b.flags & ~(unsigned)CLUSTER_VOLATILE) == 0);
	assert(b.foreign == !slice_starts(b.uid, SLICE_LIT("gh-")));
	if (!b.uid.n)
		b.uid = SLICE_LIT("x");
	assert(b.offset.n || !b.number);
	cluster_encode(&b, &out);
	if (b.offset.n) {
		cluster_await_offset(&out);
		cluster_put_offset(&out, b.offset);
	}
	err = cluster_decode(buf_view(&out), &rooms2, &b2);
	assert(!err);
	assert(slice_eq(b.uid, b2.uid));
	assert(slice_eq(b.nsp, b2.nsp));
	assert(slice_eq(b.data, b2.data));
	assert(slice_eq(b.offset, b2.offset));
	assert(b.number == b2.number);
	assert(b.flags == b2.flags);
	assert(b.foreign == b2.foreign);
	check_lists(b.rooms, b.rooms_n, b2.rooms, b2.rooms_n);
	check_lists(b.except, b.except_n, b2.except, b2.except_n);
out:
	cluster_rooms_deinit(&rooms);
	cluster_rooms_deinit(&rooms2);
	buf_deinit(&out);
}

/* Without its escapes the pattern is the channel's name, and nothing in it that was not
 * escaped is special to Redis but the wildcards at the end. */
static void check_pattern(struct slice nsp)
{
	struct buf pattern = BUF_INIT, plain = BUF_INIT, want = BUF_INIT;

	cluster_ids_pattern(SLICE_LIT("p*"), nsp, SLICE_LIT("abcdef"), &pattern);
	buf_str(&want, "p*#");
	buf_slice(&want, nsp);
	buf_str(&want, "#abcdef");
	for (size_t i = 0; i < pattern.n - strlen("??????????????#"); i++) {
		if (pattern.p[i] == '\\')
			i++;
		else
			assert(!strchr("*?[", pattern.p[i]) || !pattern.p[i]);
		buf_byte(&plain, pattern.p[i]);
	}
	buf_str(&plain, "??????????????#");
	buf_str(&want, "??????????????#");
	assert(slice_eq(buf_view(&plain), buf_view(&want)));
	buf_deinit(&pattern);
	buf_deinit(&plain);
	buf_deinit(&want);
}

static void fuzz_channel(struct slice channel)
{
	const struct slice prefix = SLICE_LIT("p");
	struct slice nsp, room;
	struct buf out = BUF_INIT;
	enum err err = cluster_parse_channel(prefix, channel, &nsp, &room);

	assert(err == ERR_OK || err == ERR_NOT_FOUND);
	if (err)
		return;
	assert(nsp.n == 0 || !memchr(nsp.p, '#', nsp.n));
	cluster_channel(prefix, nsp, &room, room.n ? 1 : 0, &out);
	/* An empty room's channel, "p#/##", counts as its namespace's. */
	assert(slice_starts(channel, buf_view(&out)));
	assert(channel.n - out.n == (room.n || channel.n == out.n ? 0 : 1));
	buf_deinit(&out);
	check_pattern(nsp);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_message(slice_of(data, size));
	fuzz_channel(slice_of(data, size));
	return 0;
}
