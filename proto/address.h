/* The network address of a client: what is kept of it with each connection, how it is
 * read and written as text, which networks it is in, and what proxies say about it.
 *
 * An IPv4 address that is written as an IPv6 one (::ffff:192.0.2.1) is the IPv4 address.
 */
#ifndef GATEHOUSE_PROTO_ADDRESS_H
#define GATEHOUSE_PROTO_ADDRESS_H

#include "proto/err.h"
#include "proto/slice.h"

enum address_family {
	ADDRESS_NONE, /* not known */
	ADDRESS_UNIX, /* of this machine, by a unix socket; has no further address */
	ADDRESS_V4,   /* the first four bytes of `ip` */
	ADDRESS_V6,
};

/* 17 bytes without padding; bytes of `ip` that do not count are zero. */
struct address {
	uint8_t family;
	uint8_t ip[16];
};

enum {
	ADDRESS_TEXT_MAX = 40, /* "ffff:…" with NUL */
	ADDRESS_KEY_MAX = 17,
};

/* From an address as the system has it, in network byte order. */
struct address address_v4(const uint8_t ip[4]);
struct address address_v6(const uint8_t ip[16]);

/* "192.0.2.1" or "2001:db8::1", and nothing else: no port, no brackets, no zone, no
 * octal. ERR_SYNTAX: it is neither. */
MUST_USE enum err address_parse(struct slice text, struct address *a);
/* As RFC 5952 wants IPv6 addresses; "unix" and "none" for those that have none. Returns
 * `out`. */
const char *address_print(const struct address *a, char out[ADDRESS_TEXT_MAX]);

/* What limits are counted by: an IPv4 address, or the first 64 bits of an IPv6 address,
 * since who has one has all of those. Empty for an address that is none. */
struct slice address_key(const struct address *a, uint8_t out[ADDRESS_KEY_MAX]);

/* A network: addresses whose first `bits` bits are as those of `base`. */
struct address_net {
	struct address base;
	uint8_t bits;
};

/* "10.0.0.0/8", "2001:db8::/32", an address alone, or "unix". ERR_SYNTAX: none of these.
 * ERR_RANGE: bits are set behind the prefix, which is most likely a mistake. */
MUST_USE enum err address_net_parse(struct slice text, struct address_net *net);
bool address_in(const struct address *a, const struct address_net *nets, size_t n);

/* Who sent a request that came from `peer` with this X-Forwarded-For header (or several,
 * joined by commas). Each proxy appends whom it had it from; so, beginning at the end,
 * an entry is believed as long as it was written by somebody in `trusted`. What is not
 * an address (a port behind one is fine) ends that, and what was found before it counts.
 */
struct address address_forwarded(const struct address *peer, struct slice header,
				 const struct address_net *trusted, size_t n);

#endif
