#include "proto/date.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define MS_MAX	   8.64e15
#define MS_PER_DAY INT64_C(86400000)

struct civil {
	int64_t year;
	int month, day;
};

/* The proleptic Gregorian date, `days` after 1970-01-01. Years are counted from March, so
 * that the leap day is a year's last, in eras of 400 years, which all have 146,097 days.
 */
static struct civil civil_of(int64_t days)
{
	int64_t from_era0 = days + 719468; /* since 0000-03-01 */
	int64_t era = (from_era0 >= 0 ? from_era0 : from_era0 - 146096) / 146097;
	int64_t day = from_era0 - era * 146097;
	int64_t year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
	int64_t of_year = day - (365 * year + year / 4 - year / 100);
	int64_t month = (5 * of_year + 2) / 153; /* 0 is March */
	struct civil c;

	c.day = (int)(of_year - (153 * month + 2) / 5 + 1);
	c.month = (int)(month < 10 ? month + 3 : month - 9);
	c.year = year + era * 400 + (c.month <= 2);
	return c;
}

size_t date_format(char *out, double ms)
{
	char text[64];
	int64_t t, days, of_day;
	struct civil c;
	int n;

	if (!(fabs(ms) <= MS_MAX))
		return 0;
	t = (int64_t)ms;
	days = (t >= 0 ? t : t - (MS_PER_DAY - 1)) / MS_PER_DAY;
	of_day = t - days * MS_PER_DAY;
	c = civil_of(days);
	/* Years of more than four digits have a sign and six (ECMA-262, 21.4.1.32.1). */
	if (c.year >= 0 && c.year <= 9999)
		n = snprintf(text, sizeof(text), "%04d", (int)c.year);
	else
		n = snprintf(text, sizeof(text), "%c%06d", c.year < 0 ? '-' : '+',
			     (int)(c.year < 0 ? -c.year : c.year));
	n += snprintf(text + n, sizeof(text) - (size_t)n,
		      "-%02d-%02dT%02d:%02d:%02d.%03dZ", c.month, c.day,
		      (int)(of_day / 3600000), (int)(of_day / 60000 % 60),
		      (int)(of_day / 1000 % 60), (int)(of_day % 1000));
	memcpy(out, text, (size_t)n);
	return (size_t)n;
}
