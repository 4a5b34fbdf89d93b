#include "gateway/files.h"

const struct file *file_find(const struct file *files, struct slice path)
{
	for (const struct file *f = files; f->path; f++) {
		if (slice_eq(path, slice_str(f->path)))
			return f;
	}
	return NULL;
}
