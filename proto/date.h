/* Dates as JavaScript's Date.prototype.toJSON writes them. */
#ifndef GATEHOUSE_PROTO_DATE_H
#define GATEHOUSE_PROTO_DATE_H

#include <stdbool.h>
#include <stddef.h>

/* Room for "+275760-09-13T00:00:00.000Z". */
enum { DATE_TEXT_MAX = 32 };

/* Write the time `ms` after 1970 (fractions are cut off) as ISO 8601 in UTC and return
 * the length; 0 if JavaScript has no such date: beyond 8.64e15 either way, or NaN. */
size_t date_format(char *out, double ms);

#endif
