/* Tables in docs/ that repeat a table of the program, with more to say about each row:
 *
 *   tables events FILE     error codes of the built-in events
 *   tables queues FILE     error codes of the events of queues
 *   tables protocol FILE   why connections end
 *
 * Each row of the program's table begins a line of the page, and the page has no more
 * of such lines. */
#include <stdio.h>
#include <stdlib.h>

#include "gateway/conn.h"
#include "gateway/queues_app.h"
#include "gateway/rooms_app.h"

static const struct row {
	const char *page, *line;
} rows[] = {
#define ERROR_ROW_(name, code, text) {"events", "| `" code "` | " text " |"},
	ROOMS_ERROR_TABLE(ERROR_ROW_)
#undef ERROR_ROW_
#define QUEUE_ROW_(name, code, text) {"queues", "| `" code "` | " text " |"},
		QUEUES_ERROR_TABLE(QUEUE_ROW_)
#undef QUEUE_ROW_
#define CLOSE_ROW_(name, text, metric) {"protocol", "| `" text "` | `" #metric "` |"},
			CONN_CLOSE_TABLE(CLOSE_ROW_)
#undef CLOSE_ROW_
};

enum { ROWS_N = sizeof(rows) / sizeof(rows[0]) };

/* Metrics' fields are closes_peer and so on, their labels peer. */
static struct slice expected(const struct row *row, struct buf *out)
{
	const char *field = strstr(row->line, "`closes_");

	buf_clear(out);
	if (!field)
		return slice_str(row->line);
	buf_append(out, row->line, (size_t)(field - row->line) + 1);
	buf_str(out, field + strlen("`closes_"));
	return buf_view(out);
}

static bool read_file(const char *path, struct buf *out)
{
	FILE *f = fopen(path, "r");
	size_t n = 1;

	if (!f) {
		perror(path);
		return false;
	}
	while (n) {
		n = fread(buf_reserve(out, 4096), 1, 4096, f);
		buf_commit(out, n);
	}
	fclose(f);
	return true;
}

/* Lines of the page that begin with `want`. */
static unsigned count_lines(struct slice page, struct slice want)
{
	unsigned found = 0;

	while (page.n) {
		const uint8_t *end = memchr(page.p, '\n', page.n);

		found += slice_starts(page, want);
		page = end ? slice_skip(page, (size_t)(end - page.p) + 1) : SLICE_EMPTY;
	}
	return found;
}

/* Lines from the comment that names the table to the end of the table, without its two
 * lines of head. */
static unsigned table_lines(struct slice page, struct slice mark)
{
	unsigned lines = 0;
	bool marked = false;

	while (page.n) {
		const uint8_t *end = memchr(page.p, '\n', page.n);
		bool is_row = page.p[0] == '|';

		if (slice_starts(page, mark))
			marked = true;
		else if (marked && is_row)
			lines++;
		else if (lines)
			break;
		page = end ? slice_skip(page, (size_t)(end - page.p) + 1) : SLICE_EMPTY;
	}
	return lines > 2 ? lines - 2 : 0;
}

int main(int argc, char **argv)
{
	struct buf page = BUF_INIT, line = BUF_INIT;
	unsigned want = 0, wrong = 0, have;

	if (argc != 3 || !read_file(argv[2], &page))
		return 2;
	for (size_t i = 0; i < ROWS_N; i++) {
		struct slice text;
		unsigned found;

		if (strcmp(rows[i].page, argv[1]) != 0)
			continue;
		want++;
		text = expected(&rows[i], &line);
		found = count_lines(buf_view(&page), text);
		if (found != 1) {
			wrong++;
			fprintf(stderr, "%s has %u lines that begin with: %.*s\n",
				argv[2], found, SLICE_FMT(text));
		}
	}
	have = table_lines(buf_view(&page), SLICE_LIT("<!-- tests/prose checks"));
	if (have != want) {
		wrong++;
		fprintf(stderr, "%s: the table has %u rows, the program's %u\n", argv[2],
			have, want);
	}
	if (want == 0)
		fprintf(stderr, "no table is known for %s\n", argv[1]);
	buf_deinit(&page);
	buf_deinit(&line);
	return wrong || want == 0;
}
