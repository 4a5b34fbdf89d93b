#include "proto/id.h"

static const char alphabet[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void id_chars(char *out, const uint8_t *random, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = alphabet[random[i] & 63];
}

bool id_is(struct slice s)
{
	if (s.n != ID_LEN)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (!s.p[i] || !memchr(alphabet, s.p[i], sizeof(alphabet) - 1))
			return false;
	}
	return true;
}
