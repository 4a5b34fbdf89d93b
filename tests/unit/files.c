#include "gateway/files.h"

#include "test.h"

#define JS    "text/javascript; charset=utf-8"
#define LIB   "application/javascript; charset=utf-8"
#define MAP   "application/json; charset=utf-8"
#define BEGIN "/*!\n * Socket.IO v4"

/* What each file begins with, so that no row serves another's bytes. */
static const struct {
	const struct file *files;
	const char *path, *type, *begins;
} rows[] = {
	{page_files, "/", "text/html; charset=utf-8", "<!doctype html>"},
	{page_files, "/style.css", "text/css; charset=utf-8", "/*"},
	{page_files, "/app.js", JS, "/*"},
	{page_files, "/icon.svg", "image/svg+xml", "<svg"},
	{page_files, "/socket.io.min.js", JS, BEGIN},
	{client_files, "socket.io.js", LIB, BEGIN},
	{client_files, "socket.io.js.map", MAP,
	 "{\"version\":3,\"file\":\"socket.io.js\""},
	{client_files, "socket.io.min.js", LIB, BEGIN},
	{client_files, "socket.io.min.js.map", MAP, "{\"version\":3,"},
	{client_files, "socket.io.esm.min.js", LIB, BEGIN},
	{client_files, "socket.io.esm.min.js.map", MAP, "{\"version\":3,"},
	{client_files, "socket.io.msgpack.min.js", LIB, BEGIN},
	{client_files, "socket.io.msgpack.min.js.map", MAP, "{\"version\":3,"},
};

static void check_file(const struct file *f, size_t i)
{
	struct slice bytes = slice_of(f->p, f->n), tag = slice_str(f->etag);
	bool map = strstr(f->path, ".map");

	CHECK_SLICE(slice_str(f->type), slice_str(rows[i].type), rows[i].path);
	CHECK_ROW(slice_starts(bytes, slice_str(rows[i].begins)), rows[i].path);
	CHECK_ROW(f->n > 0 && f->p[f->n - 1] == (map ? '}' : '\n'), rows[i].path);
	CHECK_ROW(tag.n > 2 && tag.p[0] == '"' && tag.p[tag.n - 1] == '"', rows[i].path);
}

int main(void)
{
	bool built_in = page_files[0].path;
	size_t known = sizeof(rows) / sizeof(*rows), n = 0;

	for (size_t i = 0; i < known; i++) {
		const struct file *f = file_find(rows[i].files, slice_str(rows[i].path));

		CHECK_ROW((f != NULL) == built_in, rows[i].path);
		if (f)
			check_file(f, i);
	}
	for (const struct file *f = page_files; f->path; f++)
		n++;
	for (const struct file *f = client_files; f->path; f++)
		n++;
	CHECK(n == (built_in ? known : 0));
	CHECK(!file_find(page_files, SLICE_EMPTY));
	CHECK(!file_find(page_files, SLICE_LIT("/index.html")));
	CHECK(!file_find(page_files, SLICE_LIT("/app.js?v=1")));
	CHECK(!file_find(page_files, SLICE_LIT("/app.j")));
	CHECK(!file_find(client_files, SLICE_EMPTY));
	CHECK(!file_find(client_files, SLICE_LIT("/socket.io.js")));
	CHECK(!file_find(client_files, SLICE_LIT("socket.io.j")));
	return test_done();
}
