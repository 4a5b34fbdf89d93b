/* The input as a connection's first bytes, at once and byte by byte: both find the same
 * header, of the same length. */
#include <assert.h>

#include "fuzz.h"
#include "proto/proxy_protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct proxy_header whole = {0}, single = {0};
	struct address a = {.family = ADDRESS_NONE}, b = a;
	size_t taken, n = 0;
	enum err err = proxy_feed(&whole, slice_of(data, size), &taken, &a);
	enum err single_err = ERR_TRUNCATED;

	assert(err == ERR_OK || err == ERR_TRUNCATED || err == ERR_SYNTAX);
	assert(taken <= size);
	assert(err != ERR_TRUNCATED || taken == size);
	while (n < size && single_err == ERR_TRUNCATED) {
		size_t one;

		single_err = proxy_feed(&single, slice_of(data + n, 1), &one, &b);
		assert(one == 1);
		n++;
	}
	assert(single_err == err);
	assert(n == taken);
	assert(memcmp(&a, &b, sizeof(a)) == 0);
	return 0;
}
