/* Session and socket ids: 20 characters of the url-safe base64 alphabet, beginning with
 * the code of the node that made them, so that any node finds the owner. The remaining 84
 * random bits make them unguessable. Peers test for the length. */
#ifndef GATEHOUSE_PROTO_ID_H
#define GATEHOUSE_PROTO_ID_H

#include "proto/slice.h"

enum { NODE_CODE_LEN = 6, ID_LEN = 20, ID_RANDOM_LEN = ID_LEN - NODE_CODE_LEN };

/* Fill `out` with `n` characters, one from each random byte. */
void id_chars(char *out, const uint8_t *random, size_t n);
/* Has `s` the shape of an id? Rooms named so belong to sockets. */
bool id_is(struct slice s);

#endif
