/* JSON text to MessagePack and back, by JavaScript's rules: what JSON.parse accepts is
 * accepted and means the same, and what comes out is what JSON.stringify would write for
 * the value a Node peer reads with notepack.io.
 *
 * Text → value: duplicate keys are kept in order (every reader lets the last one win);
 * whole numbers up to 2^53 become integers, -0 and all others become doubles; lone
 * surrogates ("\ud800") become WTF-8 (mp.h); "\u0000" is a byte of the string.
 * Value → text: undefined (ext 0, notepack 2), NaN and Infinity become null, an undefined
 * map value drops its key (not an equal key before it), dates (ext -1, and ext 0 of 8
 * bytes) become ISO strings, integers beyond 2^53 are rounded as a double, map keys
 * become strings, bytes that are not WTF-8 become U+FFFD, any other ext becomes [type,
 * bin] as notepack has it.
 */
#ifndef GATEHOUSE_PROTO_JSON_H
#define GATEHOUSE_PROTO_JSON_H

#include "proto/mp.h"

/* Attachments of one packet, in order: borrowed bytes. */
struct json_bins {
	struct slice *v;
	size_t n, cap;
};

void json_bins_deinit(struct json_bins *b);

/* Longest text read: 1 GiB, so that no length or count outgrows MessagePack's 32 bits. */
#define JSON_BYTES_MAX ((size_t)1 << 30)

/* Append the value of the JSON text to `out`. `bins`: NULL where binaries cannot occur;
 * otherwise {"_placeholder":true,"num":i} becomes bins->v[i] as bin.
 * ERR_SYNTAX: JSON.parse would throw (trailing text and invalid UTF-8 included);
 * ERR_DEPTH: deeper than MP_DEPTH_MAX; ERR_TOO_BIG: longer than JSON_BYTES_MAX;
 * ERR_RANGE: a placeholder without attachment, or placeholders that ask for attachments
 * again and again until they are more bytes than were attached.
 * On error `out` is as long as it was. */
MUST_USE enum err json_to_mp(struct slice json, const struct json_bins *bins,
			     struct buf *out);

/* Append one encoded value as JSON text. Each binary (bin, and ext 0 that is neither
 * undefined nor a date) becomes a placeholder numbered from bins->n on and is appended to
 * `bins`, which borrows from `mp`. `bins` may be NULL: a binary is then ERR_DENIED.
 * ERR_SYNTAX, ERR_TRUNCATED, ERR_DEPTH: not one whole value, or a map key that is an
 * array, map or ext. A placeholder counts as a level, so whatever comes out can be read
 * again. On error `out` and `bins` are as long as they were. */
MUST_USE enum err mp_to_json(struct slice mp, struct buf *out, struct json_bins *bins);

/* Append a string as JSON, quotes included. */
void json_str(struct buf *out, struct slice s);

#endif
