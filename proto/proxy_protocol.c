#include "proto/proxy_protocol.h"

enum {
	V2_FIXED = 16,
	V2_V4_BYTES = 12, /* two addresses of 4, two ports of 2 */
	V2_V6_BYTES = 36,
};

static const uint8_t v2_signature[12] = {'\r', '\n', '\r', '\n', 0,   '\r',
					 '\n', 'Q',  'U',  'I',	 'T', '\n'};
static const uint8_t v1_signature[6] = {'P', 'R', 'O', 'X', 'Y', ' '};

static bool begins_as(const struct proxy_header *h, const uint8_t *signature, size_t n)
{
	return memcmp(h->seen, signature, h->n < n ? h->n : n) == 0;
}

/* The next word of a version 1 header, and the space behind it if there is one. */
static struct slice take_word(struct slice *line)
{
	const uint8_t *space = line->n ? memchr(line->p, ' ', line->n) : NULL;
	size_t n = space ? (size_t)(space - line->p) : line->n;
	struct slice word = slice_of(line->p, n);

	*line = slice_skip(*line, space ? n + 1 : n);
	return word;
}

static bool is_port(struct slice word)
{
	unsigned value = 0;

	if (word.n == 0 || word.n > 5)
		return false;
	for (size_t i = 0; i < word.n; i++) {
		if (word.p[i] < '0' || word.p[i] > '9')
			return false;
		value = value * 10 + (unsigned)(word.p[i] - '0');
	}
	return value <= 65535;
}

/* An address of the family the header promised. A mapped IPv4 address in a TCP6 header is
 * one too. */
static bool is_address(struct slice word, bool v6, struct address *a)
{
	if (address_parse(word, a) != ERR_OK)
		return false;
	return v6 ? memchr(word.p, ':', word.n) != NULL
		  : a->family == ADDRESS_V4 && !memchr(word.p, ':', word.n);
}

/* "TCP4 source destination port port", without what stands around it. */
static enum err parse_v1(struct slice line, struct address *from)
{
	struct slice family = take_word(&line);
	bool v6 = slice_eq(family, SLICE_LIT("TCP6"));
	struct address source, destination;

	if (slice_eq(family, SLICE_LIT("UNKNOWN"))) {
		*from = (struct address){.family = ADDRESS_NONE};
		return ERR_OK; /* whatever else stands in the line */
	}
	if (!v6 && !slice_eq(family, SLICE_LIT("TCP4")))
		return ERR_SYNTAX;
	if (!is_address(take_word(&line), v6, &source) ||
	    !is_address(take_word(&line), v6, &destination) ||
	    !is_port(take_word(&line)) || !is_port(line))
		return ERR_SYNTAX;
	*from = source;
	return ERR_OK;
}

static enum err feed_v1(struct proxy_header *h, uint8_t byte, struct address *from)
{
	if (h->n < sizeof(v1_signature))
		return ERR_TRUNCATED;
	if (byte == '\n') {
		if (h->seen[h->n - 2] != '\r')
			return ERR_SYNTAX;
		return parse_v1(slice_of(h->seen + sizeof(v1_signature),
					 h->n - 2 - sizeof(v1_signature)),
				from);
	}
	return h->n == PROXY_KEEP_MAX ? ERR_SYNTAX : ERR_TRUNCATED;
}

static enum err parse_v2(const struct proxy_header *h, struct address *from)
{
	uint8_t command = h->seen[12] & 0x0f, family = h->seen[13] >> 4;
	struct address found = {.family = ADDRESS_NONE};
	size_t n = h->size - V2_FIXED;

	/* Of a LOCAL one the rest does not matter. */
	if (command == 1 && family == 1) {
		if (n < V2_V4_BYTES)
			return ERR_SYNTAX;
		found = address_v4(h->seen + V2_FIXED);
	} else if (command == 1 && family == 2) {
		if (n < V2_V6_BYTES)
			return ERR_SYNTAX;
		found = address_v6(h->seen + V2_FIXED);
	}
	*from = found;
	return ERR_OK;
}

/* The version and the command are checked as soon as they are there, and so is the kind
 * of address, of which there are four. */
static bool good_v2(const struct proxy_header *h)
{
	if (h->n > 12 && ((h->seen[12] & 0xf0) != 0x20 || (h->seen[12] & 0x0f) > 1))
		return false;
	return h->n <= 13 || (h->seen[13] >> 4 <= 3 && (h->seen[13] & 0x0f) <= 2);
}

static enum err feed_v2(struct proxy_header *h, struct address *from)
{
	if (!good_v2(h))
		return ERR_SYNTAX;
	if (h->n == V2_FIXED)
		h->size = V2_FIXED + ((uint32_t)h->seen[14] << 8 | (uint32_t)h->seen[15]);
	return h->size && h->n == h->size ? parse_v2(h, from) : ERR_TRUNCATED;
}

/* Pass over what comes behind the part that is kept; how many bytes. */
static size_t skip(struct proxy_header *h, size_t n)
{
	uint32_t left = h->size - h->n;

	if (h->n < PROXY_KEEP_MAX || h->size == 0)
		return 0;
	if (n > left)
		n = left;
	h->n += (uint32_t)n;
	return n;
}

enum err proxy_feed(struct proxy_header *h, struct slice bytes, size_t *taken,
		    struct address *from)
{
	size_t i = 0;
	enum err err = ERR_TRUNCATED;

	while (i < bytes.n && err == ERR_TRUNCATED) {
		size_t skipped = skip(h, bytes.n - i);

		i += skipped;
		if (skipped == 0) {
			h->seen[h->n++] = bytes.p[i++];
			if (begins_as(h, v2_signature, sizeof(v2_signature)))
				err = feed_v2(h, from);
			else if (begins_as(h, v1_signature, sizeof(v1_signature)))
				err = feed_v1(h, h->seen[h->n - 1], from);
			else
				err = ERR_SYNTAX;
		} else if (h->n == h->size) {
			err = parse_v2(h, from);
		}
	}
	*taken = i;
	return err;
}
