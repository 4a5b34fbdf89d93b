/* MessagePack as Gatehouse uses it: values are kept as encoded bytes and read with a
 * cursor, one token at a time, without allocation or recursion.
 *
 * msgpack-c packs (mp_packer makes its packer write into a buf). It does not read: its
 * reader builds a tree and allocates what a header claims, so nine bytes can ask for
 * gigabytes. The cursor refuses a count that the remaining bytes cannot hold.
 *
 * Strings are WTF-8: UTF-8 that may hold lone surrogates as three bytes, since
 * JavaScript's strings may. What a peer sends as a string may be any bytes. */
#ifndef GATEHOUSE_PROTO_MP_H
#define GATEHOUSE_PROTO_MP_H

#include <msgpack/pack.h>

#include "proto/buf.h"
#include "proto/err.h"

/* Deepest nesting read or written, arrays and maps counted. */
enum { MP_DEPTH_MAX = 128 };

enum mp_type {
	MP_NIL,
	MP_BOOL,
	MP_INT,
	MP_UINT,
	MP_DOUBLE,
	MP_STR,
	MP_BIN,
	MP_EXT,
	MP_ARRAY,
	MP_MAP
};

struct mp_value {
	enum mp_type type;
	int8_t ext; /* MP_EXT: its type */
	union {
		bool b;
		int64_t i;	    /* MP_INT */
		uint64_t u;	    /* MP_UINT: only what does not fit an int64_t */
		double d;	    /* MP_DOUBLE, from float 32 too */
		uint32_t count;	    /* MP_ARRAY: elements; MP_MAP: pairs */
		struct slice bytes; /* MP_STR, MP_BIN, MP_EXT: borrowed from the input */
	};
};

struct mp_cursor {
	const uint8_t *p, *end;
};

static inline struct mp_cursor mp_cursor_of(struct slice s)
{
	return (struct mp_cursor){s.p, s.p ? s.p + s.n : s.p};
}

/* Read one token: a scalar, or the header of an array or map, whose elements follow.
 * ERR_TRUNCATED: the bytes end too early, or hold less than a count claims. ERR_SYNTAX:
 * the byte 0xc1. On error *c and *v are unchanged. */
MUST_USE enum err mp_read(struct mp_cursor *c, struct mp_value *v);
/* Step over one whole value. ERR_DEPTH beyond MP_DEPTH_MAX; else as mp_read. */
MUST_USE enum err mp_skip(struct mp_cursor *c);
/* One whole value as the bytes it is encoded in. Errors as mp_skip. */
MUST_USE enum err mp_take(struct mp_cursor *c, struct slice *value);
/* Read a header of that type, or a string. ERR_SYNTAX if the next token is another. */
MUST_USE enum err mp_read_array(struct mp_cursor *c, uint32_t *count);
MUST_USE enum err mp_read_map(struct mp_cursor *c, uint32_t *count);
MUST_USE enum err mp_read_str(struct mp_cursor *c, struct slice *s);
/* The value of `key` in the encoded map `map`; the last one wins, as in JavaScript.
 * ERR_NOT_FOUND: no such key. ERR_SYNTAX: not a map. */
MUST_USE enum err mp_map_get(struct slice map, struct slice key, struct slice *value);
/* A number, from any of its encodings. ERR_SYNTAX: not a number; ERR_RANGE: not a whole
 * number from min to max. */
MUST_USE enum err mp_get_int(struct slice value, int64_t min, int64_t max, int64_t *i);
/* The same of the next value, which is stepped over. */
MUST_USE enum err mp_take_int(struct mp_cursor *c, int64_t min, int64_t max, int64_t *i);
/* ERR_SYNTAX: `value` is not exactly one string. */
MUST_USE enum err mp_get_str(struct slice value, struct slice *s);

/* Make `pk` append to `b`. Then use msgpack_pack_*; they cannot fail. */
void mp_packer(msgpack_packer *pk, struct buf *b);
void mp_pack_str(msgpack_packer *pk, struct slice s);
void mp_pack_bin(msgpack_packer *pk, struct slice s);
/* Append bytes that are already encoded. */
void mp_pack_raw(msgpack_packer *pk, struct slice encoded);

#endif
