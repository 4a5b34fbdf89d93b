/* The input as an address, a network and an X-Forwarded-For header. What is read is
 * written and read again as the same; the C library reads the same addresses. */
#include <arpa/inet.h>
#include <assert.h>

#include "fuzz.h"
#include "proto/address.h"

enum { LIBRARY_TEXT_MAX = 64 };

static void fuzz_text(struct slice text)
{
	struct address a, again;
	char out[ADDRESS_TEXT_MAX], copy[LIBRARY_TEXT_MAX] = "";
	uint8_t ip[16];
	bool good = address_parse(text, &a) == ERR_OK, known;

	if (text.n < sizeof(copy) && !(text.n && memchr(text.p, '\0', text.n))) {
		if (text.n)
			memcpy(copy, text.p, text.n);
		known = inet_pton(AF_INET, copy, ip) == 1 ||
			inet_pton(AF_INET6, copy, ip) == 1;
		assert(known == good);
	}
	if (!good)
		return;
	address_print(&a, out);
	assert(address_parse(slice_str(out), &again) == ERR_OK);
	assert(memcmp(&a, &again, sizeof(a)) == 0);
}

static void fuzz_net(struct slice text)
{
	struct address_net net;

	if (address_net_parse(text, &net) == ERR_OK)
		assert(address_in(&net.base, &net, 1));
}

static void fuzz_forwarded(struct slice text)
{
	struct address_net trusted[2];
	struct address peer = {.family = ADDRESS_UNIX}, found;

	if (address_net_parse(SLICE_LIT("unix"), &trusted[0]) != ERR_OK ||
	    address_net_parse(SLICE_LIT("10.0.0.0/8"), &trusted[1]) != ERR_OK)
		assert(false);
	found = address_forwarded(&peer, text, trusted, 2);
	assert(found.family != ADDRESS_NONE);
	found = address_forwarded(&peer, text, trusted + 1, 1);
	assert(found.family == ADDRESS_UNIX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_text(slice_of(data, size));
	fuzz_net(slice_of(data, size));
	fuzz_forwarded(slice_of(data, size));
	return 0;
}
