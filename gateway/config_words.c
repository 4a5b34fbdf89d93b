#include <ctype.h>
#include <stdio.h>

#include "gateway/config_parts.h"
#include "gateway/text.h"

enum { SHOWN_MAX = 60, SHOWN_RING = 4, WORD_MAX = 40 };

const char *config_shown(const char *text)
{
	/* Each byte shown takes at most six: \u001b. */
	static char ring[SHOWN_RING][SHOWN_MAX * 6 + 8];
	static unsigned next;
	char *out = ring[next++ % SHOWN_RING];
	struct buf b = BUF_INIT;

	text_quote(&b, slice_str(text), SHOWN_MAX);
	snprintf(out, sizeof(ring[0]), "%s", buf_cstr(&b));
	buf_deinit(&b);
	return out;
}

const char *config_name(const char *text)
{
	return text_is_plain(slice_str(text)) ? text : config_shown(text);
}

static size_t min3(size_t a, size_t b, size_t c)
{
	size_t ab = a < b ? a : b;

	return ab < c ? ab : c;
}

/* How many letters have to be changed, added, left out or swapped with their neighbour
 * to come from one word to the other. Upper and lower case are the same. */
static size_t distance(const char *a, size_t a_n, const char *b, size_t b_n)
{
	size_t rows[3][WORD_MAX + 1];
	size_t *before = rows[0], *above = rows[1], *row = rows[2];

	for (size_t j = 0; j <= b_n; j++)
		above[j] = j;
	for (size_t i = 1; i <= a_n; i++) {
		int ca = tolower((unsigned char)a[i - 1]);
		size_t *spare;

		row[0] = i;
		for (size_t j = 1; j <= b_n; j++) {
			int cb = tolower((unsigned char)b[j - 1]);

			row[j] = min3(above[j] + 1, row[j - 1] + 1,
				      above[j - 1] + (ca != cb));
			if (i > 1 && j > 1 && ca != cb &&
			    ca == tolower((unsigned char)b[j - 2]) &&
			    cb == tolower((unsigned char)a[i - 2]) &&
			    before[j - 2] + 1 < row[j])
				row[j] = before[j - 2] + 1;
		}
		spare = before;
		before = above;
		above = row;
		row = spare;
	}
	return above[b_n];
}

const char *config_nearest(const char *typed, const char *const *names, size_t n)
{
	size_t typed_n = strlen(typed), best = SIZE_MAX;
	const char *nearest = NULL;

	if (typed_n > WORD_MAX)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		size_t name_n = strlen(names[i]), d;

		if (name_n > WORD_MAX)
			continue;
		d = distance(typed, typed_n, names[i], name_n);
		if (d < best && d <= 1 + name_n / 4) {
			best = d;
			nearest = names[i];
		}
	}
	return nearest;
}
