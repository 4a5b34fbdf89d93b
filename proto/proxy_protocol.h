/* The PROXY protocol, versions 1 and 2, as a receiver reads it: a proxy says in a header
 * before everything else from where the connection came to it
 * (https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt).
 *
 * The header is fed as it arrives and nothing behind it is taken, so that whatever reads
 * the connection afterwards finds its first byte in place. */
#ifndef GATEHOUSE_PROTO_PROXY_PROTOCOL_H
#define GATEHOUSE_PROTO_PROXY_PROTOCOL_H

#include "proto/address.h"

/* Version 1's longest header is 107 bytes; of version 2 the fixed part and the addresses
 * are kept, and what extensions follow is passed over. */
enum { PROXY_KEEP_MAX = 107 };

/* All zero to begin with; no memory is owned. */
struct proxy_header {
	uint8_t seen[PROXY_KEEP_MAX];
	uint32_t n;    /* bytes taken so far */
	uint32_t size; /* version 2: of the whole header, once it is known */
};

/* Take what belongs to the header off the beginning of `bytes`; `*taken` says how much.
 * ERR_OK: the header is complete. `*from` is the address it names, or of the family
 * ADDRESS_NONE if it names none: a LOCAL or UNKNOWN one, which a proxy sends of itself,
 * or of a kind of address that is no IP.
 * ERR_TRUNCATED: all of `bytes` were taken, and more has to follow.
 * ERR_SYNTAX: this is no such header. */
MUST_USE enum err proxy_feed(struct proxy_header *h, struct slice bytes, size_t *taken,
			     struct address *from);

#endif
