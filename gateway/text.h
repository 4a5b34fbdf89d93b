/* Text that others chose: is it UTF-8, may it be shown? */
#ifndef GATEHOUSE_GATEWAY_TEXT_H
#define GATEHOUSE_GATEWAY_TEXT_H

#include "proto/buf.h"

/* The character at the head of `s`: its length in bytes, and the code point if `code` is
 * not NULL. 0: empty, or not UTF-8 there (overlong forms, surrogates and what is beyond
 * U+10FFFF included). */
size_t text_char(struct slice s, uint32_t *code);

/* Does it steer terminals and parsers instead of showing something? C0, DEL and C1. */
bool text_is_control(uint32_t code);

/* UTF-8 throughout and without control characters? The empty string is. */
bool text_is_plain(struct slice s);

/* Append `s` as a JSON string, quotes included: control characters escaped, U+FFFD for
 * each byte that is not UTF-8, and "…" for what is beyond `max` bytes. */
void text_quote(struct buf *out, struct slice s, size_t max);

#endif
