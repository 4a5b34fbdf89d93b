/* The input as a packet and as a query string: what is found lies inside it, and what a
 * query said is read the same when it is said again in few words. */
#include <assert.h>

#include "fuzz.h"
#include "proto/eio.h"
#include "proto/mp.h"
#include "proto/query.h"

static bool inside(struct slice part, struct slice all)
{
	return part.n == 0 || (part.p >= all.p && part.p + part.n <= all.p + all.n);
}

static void fuzz_packet(struct slice text)
{
	struct eio_packet packet;
	enum err err = eio_decode(text, &packet);

	assert(err == ERR_OK || err == ERR_SYNTAX);
	if (err)
		return;
	assert(packet.type >= EIO_OPEN && packet.type <= EIO_NOOP);
	assert(packet.data.n == text.n - 1);
	assert(inside(packet.data, text));
}

static void fuzz_query(struct slice text)
{
	struct eio_query q, again;
	struct buf query = BUF_INIT;

	eio_parse_query(text, &q);
	assert(q.version >= 0);
	assert(inside(q.sid, text));
	assert(q.sid.n == 0 || !memchr(q.sid.p, '&', q.sid.n));
	buf_printf(&query, "EIO=%d&transport=%s&sid=", q.version,
		   q.transport == EIO_WEBSOCKET ? "websocket"
		   : q.transport == EIO_POLLING ? "polling"
						: "other");
	buf_slice(&query, q.sid);
	eio_parse_query(buf_view(&query), &again);
	assert(again.version == q.version);
	assert(again.transport == q.transport);
	assert(slice_eq(again.sid, q.sid));
	buf_deinit(&query);
}

static void fuzz_query_map(struct slice text)
{
	struct buf map = BUF_INIT;
	struct mp_cursor c;
	enum err err;

	query_to_mp(text, &map);
	c = mp_cursor_of(buf_view(&map));
	err = mp_skip(&c);
	assert(!err);
	assert(c.p == c.end);
	buf_deinit(&map);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_packet(slice_of(data, size));
	fuzz_query(slice_of(data, size));
	fuzz_query_map(slice_of(data, size));
	return 0;
}
