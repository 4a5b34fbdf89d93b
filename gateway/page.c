#include "gateway/page.h"

const struct page_file *page_find(struct slice path)
{
	for (const struct page_file *f = page_files; f->path; f++)
		if (slice_eq(path, slice_str(f->path)))
			return f;
	return NULL;
}
