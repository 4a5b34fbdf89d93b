/* What is counted by address, and that nothing is left of who has gone. */
#include "gateway/address_book.h"

#include "test.h"

static struct address at(const char *text)
{
	struct address a = {.family = ADDRESS_NONE};

	CHECK(address_parse(slice_str(text), &a) == ERR_OK);
	return a;
}

int main(void)
{
	const uint64_t seed[2] = {1, 2};
	const struct address one = at("192.0.2.1"), other = at("192.0.2.2");
	const struct address net = at("2001:db8:0:1::1"), same = at("2001:db8:0:1::2");
	const struct address un = {.family = ADDRESS_UNIX};
	struct address_book b;

	address_book_init(&b, seed);
	CHECK(address_book_count(&b, &one, ADDRESS_CONNS) == 0);
	address_book_add(&b, &one, ADDRESS_CONNS);
	address_book_add(&b, &one, ADDRESS_CONNS);
	address_book_add(&b, &one, ADDRESS_HANDSHAKES);
	address_book_add(&b, &net, ADDRESS_CONNS);
	address_book_add(&b, &same, ADDRESS_CONNS);
	address_book_add(&b, &un, ADDRESS_CONNS);
	CHECK(address_book_count(&b, &one, ADDRESS_CONNS) == 2);
	CHECK(address_book_count(&b, &one, ADDRESS_HANDSHAKES) == 1);
	CHECK(address_book_count(&b, &other, ADDRESS_CONNS) == 0);
	CHECK(address_book_count(&b, &net, ADDRESS_CONNS) == 2);
	CHECK(address_book_count(&b, &un, ADDRESS_CONNS) == 0);
	CHECK(b.entries.n == 2);
	address_book_remove(&b, &un, ADDRESS_CONNS);
	address_book_remove(&b, &net, ADDRESS_CONNS);
	address_book_remove(&b, &net, ADDRESS_CONNS);
	CHECK(address_book_count(&b, &same, ADDRESS_CONNS) == 0);
	CHECK(b.entries.n == 1);
	address_book_remove(&b, &one, ADDRESS_CONNS);
	address_book_remove(&b, &one, ADDRESS_CONNS);
	CHECK(address_book_count(&b, &one, ADDRESS_HANDSHAKES) == 1);
	CHECK(b.entries.n == 1);
	address_book_remove(&b, &one, ADDRESS_HANDSHAKES);
	CHECK(b.entries.n == 0);
	address_book_add(&b, &other, ADDRESS_CONNS);
	address_book_deinit(&b);
	return test_done();
}
