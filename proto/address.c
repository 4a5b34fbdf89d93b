#include "proto/address.h"

#include <stdio.h>

enum { GROUPS = 8, V6_KEY_BYTES = 8 };

static const uint8_t v4_mapped[12] = {[10] = 0xff, [11] = 0xff};

struct address address_v4(const uint8_t ip[4])
{
	struct address a = {.family = ADDRESS_V4};

	memcpy(a.ip, ip, 4);
	return a;
}

struct address address_v6(const uint8_t ip[16])
{
	struct address a = {.family = ADDRESS_V6};

	if (memcmp(ip, v4_mapped, sizeof(v4_mapped)) == 0)
		return address_v4(ip + sizeof(v4_mapped));
	memcpy(a.ip, ip, 16);
	return a;
}

/* A decimal number of at most `max`, without leading zeros, which others read as octal.
 * Takes it off `s`; -1: there is none. */
static int take_decimal(struct slice *s, int max)
{
	int value = 0;
	size_t n = 0;

	while (n < s->n && s->p[n] >= '0' && s->p[n] <= '9') {
		value = value * 10 + (s->p[n] - '0');
		n++;
		if (value > max || (n == 2 && value < 10))
			return -1;
	}
	*s = slice_skip(*s, n);
	return n ? value : -1;
}

static bool take_byte(struct slice *s, uint8_t c)
{
	if (s->n == 0 || s->p[0] != c)
		return false;
	*s = slice_skip(*s, 1);
	return true;
}

static bool parse_v4(struct slice s, uint8_t ip[4])
{
	for (int i = 0; i < 4; i++) {
		int value;

		if (i > 0 && !take_byte(&s, '.'))
			return false;
		value = take_decimal(&s, 255);
		if (value < 0)
			return false;
		ip[i] = (uint8_t)value;
	}
	return s.n == 0;
}

static int hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One to four hexadecimal digits. Takes them off `s`; -1: there are none. */
static int take_group(struct slice *s)
{
	int value = 0;
	size_t n = 0;

	while (n < s->n && n < 4 && hex_digit(s->p[n]) >= 0) {
		value = value * 16 + hex_digit(s->p[n]);
		n++;
	}
	*s = slice_skip(*s, n);
	return n ? value : -1;
}

/* Put the groups behind "::" to the end. `n`: bytes that were written, `gap`: how many of
 * them stand before it, or -1 without one. */
static bool close_gap(uint8_t ip[16], size_t n, int gap)
{
	size_t before, behind;

	if (gap < 0)
		return n == 16;
	if (n > 14)
		return false; /* "::" stands for one group at least */
	before = (size_t)gap;
	behind = n - before;
	memmove(ip + 16 - behind, ip + before, behind);
	memset(ip + before, 0, 16 - n);
	return true;
}

static bool parse_v6(struct slice s, uint8_t ip[16])
{
	size_t n = 0;
	int gap = -1;

	if (s.n >= 2 && s.p[0] == ':' && s.p[1] == ':') {
		gap = 0;
		s = slice_skip(s, 2);
	}
	while (s.n) {
		struct slice rest = s;
		int group = take_group(&rest);

		if (n <= 12 && rest.n && rest.p[0] == '.' && parse_v4(s, ip + n))
			return close_gap(ip, n + 4, gap);
		if (group < 0 || n == 16)
			return false;
		ip[n++] = (uint8_t)(group >> 8);
		ip[n++] = (uint8_t)(group & 0xff);
		s = rest;
		if (s.n == 0)
			break;
		if (!take_byte(&s, ':') || s.n == 0)
			return false;
		if (take_byte(&s, ':')) {
			if (gap >= 0)
				return false;
			gap = (int)n;
		}
	}
	return close_gap(ip, n, gap);
}

enum err address_parse(struct slice text, struct address *a)
{
	uint8_t ip[16] = {0};

	if (parse_v4(text, ip)) {
		*a = address_v4(ip);
		return ERR_OK;
	}
	if (!parse_v6(text, ip))
		return ERR_SYNTAX;
	*a = address_v6(ip);
	return ERR_OK;
}

static unsigned group_of(const uint8_t ip[16], size_t i)
{
	return (unsigned)ip[2 * i] << 8 | ip[2 * i + 1];
}

/* The longest run of zero groups, the first of equals; a single one is written out.
 * GROUPS: there is none. */
static size_t zero_run(const uint8_t ip[16], size_t *n)
{
	size_t best = GROUPS;

	*n = 1;
	for (size_t from = 0; from < GROUPS; from++) {
		size_t to = from;

		while (to < GROUPS && group_of(ip, to) == 0)
			to++;
		if (to > from + *n) {
			best = from;
			*n = to - from;
		}
	}
	return best;
}

static void print_v6(const uint8_t ip[16], char *out)
{
	size_t run_n, run = zero_run(ip, &run_n), i = 0;
	int n = 0;

	while (i < GROUPS) {
		if (i == run) {
			n += snprintf(out + n, (size_t)(ADDRESS_TEXT_MAX - n), "%s",
				      i == 0 ? "::" : ":");
			i += run_n;
			continue;
		}
		n += snprintf(out + n, (size_t)(ADDRESS_TEXT_MAX - n), "%x%s",
			      group_of(ip, i), i < GROUPS - 1 ? ":" : "");
		i++;
	}
}

const char *address_print(const struct address *a, char out[ADDRESS_TEXT_MAX])
{
	switch ((enum address_family)a->family) {
	case ADDRESS_V4:
		snprintf(out, ADDRESS_TEXT_MAX, "%u.%u.%u.%u", a->ip[0], a->ip[1],
			 a->ip[2], a->ip[3]);
		break;
	case ADDRESS_V6:
		print_v6(a->ip, out);
		break;
	case ADDRESS_UNIX:
		snprintf(out, ADDRESS_TEXT_MAX, "unix");
		break;
	case ADDRESS_NONE:
		snprintf(out, ADDRESS_TEXT_MAX, "none");
		break;
	}
	return out;
}

struct slice address_key(const struct address *a, uint8_t out[ADDRESS_KEY_MAX])
{
	size_t n = a->family == ADDRESS_V4 ? 4 : V6_KEY_BYTES;

	if (a->family != ADDRESS_V4 && a->family != ADDRESS_V6)
		return SLICE_EMPTY;
	out[0] = a->family;
	memcpy(out + 1, a->ip, n);
	return slice_of(out, 1 + n);
}

static uint8_t family_bits(uint8_t family)
{
	return family == ADDRESS_V4 ? 32 : family == ADDRESS_V6 ? 128 : 0;
}

/* The bits of byte `i` that a prefix of so many bits covers. */
static uint8_t prefix_mask(uint8_t bits, size_t i)
{
	if (bits >= (i + 1) * 8)
		return 0xff;
	if (bits <= i * 8)
		return 0;
	return (uint8_t)(0xff00U >> (bits - i * 8));
}

enum err address_net_parse(struct slice text, struct address_net *net)
{
	const uint8_t *slash = text.n ? memchr(text.p, '/', text.n) : NULL;
	struct slice base = slash ? slice_of(text.p, (size_t)(slash - text.p)) : text;
	struct address_net parsed = {.base = {.family = ADDRESS_UNIX}};
	int bits;

	if (slice_eq(text, SLICE_LIT("unix"))) {
		*net = parsed;
		return ERR_OK;
	}
	if (address_parse(base, &parsed.base) != ERR_OK)
		return ERR_SYNTAX;
	bits = family_bits(parsed.base.family);
	if (slash) {
		struct slice rest = slice_skip(text, base.n + 1);
		/* "::ffff:10.0.0.0/104" would be read as an IPv4 network of 104 bits. */
		bits = take_decimal(&rest, bits);
		if (bits < 0 || rest.n)
			return ERR_SYNTAX;
	}
	parsed.bits = (uint8_t)bits;
	for (size_t i = 0; i < sizeof(parsed.base.ip); i++) {
		if (parsed.base.ip[i] & ~prefix_mask(parsed.bits, i))
			return ERR_RANGE;
	}
	*net = parsed;
	return ERR_OK;
}

static bool in_net(const struct address *a, const struct address_net *net)
{
	if (a->family != net->base.family || a->family == ADDRESS_NONE)
		return false;
	for (size_t i = 0; i < sizeof(a->ip) && i * 8 < net->bits; i++) {
		if ((a->ip[i] ^ net->base.ip[i]) & prefix_mask(net->bits, i))
			return false;
	}
	return true;
}

bool address_in(const struct address *a, const struct address_net *nets, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (in_net(a, &nets[i]))
			return true;
	}
	return false;
}

static struct slice trim(struct slice s)
{
	while (s.n && (s.p[0] == ' ' || s.p[0] == '\t'))
		s = slice_skip(s, 1);
	while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
		s.n--;
	return s;
}

/* Take the last entry off the header; its blanks are gone. */
static struct slice take_last(struct slice *header)
{
	size_t from = header->n;
	struct slice entry;

	while (from && header->p[from - 1] != ',')
		from--;
	entry = slice_skip(*header, from);
	header->n = from ? from - 1 : 0;
	return trim(entry);
}

/* An entry may have a port: "192.0.2.1:443", "[2001:db8::1]:443", "[2001:db8::1]". */
static enum err parse_entry(struct slice entry, struct address *a)
{
	const uint8_t *end;

	if (address_parse(entry, a) == ERR_OK)
		return ERR_OK;
	if (entry.n && entry.p[0] == '[') {
		entry = slice_skip(entry, 1);
		end = entry.n ? memchr(entry.p, ']', entry.n) : NULL;
	} else {
		end = entry.n ? memchr(entry.p, ':', entry.n) : NULL;
	}
	return end ? address_parse(slice_of(entry.p, (size_t)(end - entry.p)), a)
		   : ERR_SYNTAX;
}

struct address address_forwarded(const struct address *peer, struct slice header,
				 const struct address_net *trusted, size_t n)
{
	struct address found = *peer;

	while (header.n && address_in(&found, trusted, n)) {
		struct slice entry = take_last(&header);
		struct address a;

		if (entry.n == 0)
			continue;
		if (parse_entry(entry, &a) != ERR_OK)
			break;
		found = a;
	}
	return found;
}
