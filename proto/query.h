/* Query strings (application/x-www-form-urlencoded), as browsers' URLSearchParams read
 * them. */
#ifndef GATEHOUSE_PROTO_QUERY_H
#define GATEHOUSE_PROTO_QUERY_H

#include "proto/buf.h"

/* Append a query as an encoded map of strings: "a=b%20c&d" is {a: "b c", d: ""}. Of equal
 * keys the last counts for whoever reads the map. A '%' without two digits stands for
 * itself; a pair that is not UTF-8 is left out. */
void query_to_mp(struct slice query, struct buf *out);

#endif
