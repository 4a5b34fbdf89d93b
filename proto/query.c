#include "proto/query.h"

#include "proto/mp.h"
#include "proto/utf8.h"

static int digit_of(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static void decode(struct slice s, struct buf *out)
{
	for (size_t i = 0; i < s.n; i++) {
		int high = s.n - i > 2 ? digit_of(s.p[i + 1]) : -1;
		int low = s.n - i > 2 ? digit_of(s.p[i + 2]) : -1;

		if (s.p[i] == '%' && high >= 0 && low >= 0) {
			buf_byte(out, (uint8_t)(high << 4 | low));
			i += 2;
		} else {
			buf_byte(out, s.p[i] == '+' ? ' ' : s.p[i]);
		}
	}
}

/* Take what stands before the first `mark`, and the mark. */
static struct slice take(struct slice *s, uint8_t mark)
{
	const uint8_t *at = s->n ? memchr(s->p, mark, s->n) : NULL;
	struct slice head = slice_of(s->p, at ? (size_t)(at - s->p) : s->n);

	*s = at ? slice_skip(*s, head.n + 1) : SLICE_EMPTY;
	return head;
}

void query_to_mp(struct slice query, struct buf *out)
{
	struct buf pairs = BUF_INIT, key = BUF_INIT, value = BUF_INIT;
	msgpack_packer pk;
	size_t n = 0;

	mp_packer(&pk, &pairs);
	while (query.n) {
		struct slice pair = take(&query, '&');

		if (!pair.n)
			continue;
		buf_clear(&key);
		buf_clear(&value);
		decode(take(&pair, '='), &key);
		decode(pair, &value);
		if (!utf8_ok(buf_view(&key)) || !utf8_ok(buf_view(&value)))
			continue;
		mp_pack_str(&pk, buf_view(&key));
		mp_pack_str(&pk, buf_view(&value));
		n++;
	}
	mp_packer(&pk, out);
	msgpack_pack_map(&pk, n);
	buf_slice(out, buf_view(&pairs));
	buf_deinit(&pairs);
	buf_deinit(&key);
	buf_deinit(&value);
}
