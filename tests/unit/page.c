#include "gateway/page.h"

#include "test.h"

/* What each file begins with, so that no row serves another's bytes. */
static const struct {
	const char *path, *type, *begins;
} rows[] = {
	{"/", "text/html; charset=utf-8", "<!doctype html>"},
	{"/style.css", "text/css; charset=utf-8", "/*"},
	{"/app.js", "text/javascript; charset=utf-8", "/*"},
	{"/icon.svg", "image/svg+xml", "<svg"},
	{"/socket.io.min.js", "text/javascript; charset=utf-8", "/*!\n * Socket.IO v4"},
};

static void check_file(const struct page_file *f, size_t i)
{
	struct slice bytes = slice_of(f->p, f->n);

	CHECK_SLICE(slice_str(f->type), slice_str(rows[i].type), rows[i].path);
	CHECK_ROW(slice_starts(bytes, slice_str(rows[i].begins)), rows[i].path);
	CHECK_ROW(f->n > 0 && f->p[f->n - 1] == '\n', rows[i].path);
	CHECK_ROW(strlen(f->etag) == 18, rows[i].path);
	CHECK_ROW(f->etag[0] == '"' && f->etag[17] == '"', rows[i].path);
}

int main(void)
{
	bool built_with_page = page_files[0].path;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		const struct page_file *f = page_find(slice_str(rows[i].path));

		CHECK_ROW((f != NULL) == built_with_page, rows[i].path);
		if (f)
			check_file(f, i);
	}
	CHECK(!page_find(SLICE_EMPTY));
	CHECK(!page_find(SLICE_LIT("/index.html")));
	CHECK(!page_find(SLICE_LIT("/app.js?v=1")));
	CHECK(!page_find(SLICE_LIT("/app.j")));
	return test_done();
}
