/* The outbox: order, bounds, and memory given back. */
#include "gateway/outbox.h"
#include "test.h"

static struct frame *numbered(size_t n, uint8_t tag)
{
	struct frame *f = frame_new(n, 1);

	memset(f->bytes, tag, n);
	return f;
}

static void test_order_and_wrap(void)
{
	struct outbox o;
	uint8_t in = 0, out = 0;

	outbox_init(&o);
	/* Push three, pop two: the ring wraps and grows while its head moves. */
	for (int round = 0; round < 60; round++) {
		for (int i = 0; i < 3; i++) {
			struct frame *f = numbered(4, in++);

			CHECK(outbox_push(&o, f, 1 << 20) == ERR_OK);
			CHECK(f->refs == 2);
			frame_unref(f);
		}
		for (int i = 0; i < 2; i++) {
			CHECK(outbox_at(&o, 0)->bytes[0] == out++);
			outbox_pop(&o, 1);
		}
	}
	CHECK(o.count == 60 && o.bytes == 240);
	while (o.count) {
		CHECK(outbox_at(&o, 0)->bytes[0] == out++);
		outbox_pop(&o, 1);
	}
	CHECK(out == in && o.bytes == 0 && o.cap == OUTBOX_INLINE);
	outbox_deinit(&o);
}

static void test_bounds(void)
{
	struct outbox o;
	struct frame *big = numbered(1000, 1), *small = numbered(100, 2);

	outbox_init(&o);
	CHECK(outbox_push(&o, big, 500) == ERR_OK); /* alone it may be over the limit */
	CHECK(outbox_push(&o, small, 500) == ERR_FULL);
	CHECK(small->refs == 1 && o.count == 1);
	outbox_pop(&o, 1);
	for (int i = 0; i < 5; i++)
		CHECK(outbox_push(&o, small, 500) == ERR_OK);
	CHECK(outbox_push(&o, small, 500) == ERR_FULL);
	CHECK(small->refs == 6);
	outbox_deinit(&o);
	CHECK(small->refs == 1 && big->refs == 1);
	frame_unref(small);
	frame_unref(big);
}

int main(void)
{
	test_order_and_wrap();
	test_bounds();
	return test_done();
}
