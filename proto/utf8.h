/* UTF-8 as JavaScript's strings need it: strict for what comes in as text, WTF-8 (lone
 * surrogates as three bytes, ED A0..BF 80..BF) for strings inside Gatehouse. */
#ifndef GATEHOUSE_PROTO_UTF8_H
#define GATEHOUSE_PROTO_UTF8_H

#include "proto/slice.h"

enum utf8_kind {
	UTF8_CHAR,	/* a scalar value, well-formed */
	UTF8_SURROGATE, /* three bytes that stand for a lone surrogate */
	UTF8_BAD	/* bytes that together become one U+FFFD */
};

struct utf8_step {
	enum utf8_kind kind;
	uint8_t n;   /* bytes it takes, 1 to 4 */
	uint32_t cp; /* code point; U+FFFD if bad */
};

/* What stands at `p`; p < end. Bad bytes are cut as browsers and Node cut them: the
 * longest prefix of a well-formed sequence is one U+FFFD (Unicode 15, table 3-8). */
struct utf8_step utf8_step(const uint8_t *p, const uint8_t *end);

/* Is all of it well-formed UTF-8 (no surrogates)? */
bool utf8_ok(struct slice s);

/* The number of UTF-16 code units that well-formed UTF-8 has as a JavaScript string. */
size_t utf8_utf16_n(struct slice s);

/* Encode a code point, surrogates included, at `p` (room for 4). Returns its length. */
size_t utf8_put(uint8_t *p, uint32_t cp);

/* The end of what a JSON string can hold as it is: the first byte that is a quote, a
 * backslash, a control character below U+0020 or not well-formed UTF-8; or `end`. */
const uint8_t *utf8_json_span(const uint8_t *p, const uint8_t *end);

#endif
