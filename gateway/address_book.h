/* How much each client address has, so that one cannot take what is there for all. An
 * entry lives as long as its address has something; so there are never more of them than
 * connections. Who is of no address (a unix socket) is not counted. */
#ifndef GATEHOUSE_GATEWAY_ADDRESS_BOOK_H
#define GATEHOUSE_GATEWAY_ADDRESS_BOOK_H

#include "proto/address.h"
#include "proto/table.h"

enum address_use {
	ADDRESS_HANDSHAKES, /* connections whose request is not there yet */
	ADDRESS_CONNS,
	ADDRESS_USES_N
};

struct address_book {
	struct table entries;
};

void address_book_init(struct address_book *b, const uint64_t seed[2]);
void address_book_deinit(struct address_book *b);
uint32_t address_book_count(const struct address_book *b, const struct address *a,
			    enum address_use use);
void address_book_add(struct address_book *b, const struct address *a,
		      enum address_use use);
/* What was added before (assert). */
void address_book_remove(struct address_book *b, const struct address *a,
			 enum address_use use);

#endif
