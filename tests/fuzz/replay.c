/* Runs a fuzz target on every file of the directories given, and on each without its last
 * byte, with any compiler. Each input has a block of memory of its own, so that the
 * address sanitizer sees a read behind its end. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

static void run_copy(const uint8_t *data, size_t n)
{
	uint8_t *copy = malloc(n ? n : 1);

	if (!copy)
		abort();
	if (n)
		memcpy(copy, data, n);
	LLVMFuzzerTestOneInput(copy, n);
	free(copy);
}

static int run_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t *data = NULL;
	long size = -1;
	int rc = -1;

	if (!f || fseek(f, 0, SEEK_END) || (size = ftell(f)) < 0 || fseek(f, 0, SEEK_SET))
		goto out;
	data = malloc((size_t)size + 1);
	if (!data || fread(data, 1, (size_t)size, f) != (size_t)size)
		goto out;
	/* Should it crash, this is the input. */
	fprintf(stderr, "%s\n", path);
	run_copy(data, (size_t)size);
	if (size)
		run_copy(data, (size_t)size - 1);
	rc = 0;
out:
	if (rc)
		fprintf(stderr, "%s: could not be read\n", path);
	free(data);
	if (f)
		fclose(f);
	return rc;
}

/* Returns how many files were run, or -1. */
static int run_dir(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	int n = 0;

	if (!dir) {
		fprintf(stderr, "%s: no such directory\n", path);
		return -1;
	}
	while (n >= 0 && (entry = readdir(dir))) {
		char file[4096];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
		n = run_file(file) ? -1 : n + 1;
	}
	closedir(dir);
	return n;
}

int main(int argc, char **argv)
{
	int all = 0;

	for (int i = 1; i < argc; i++) {
		int n = run_dir(argv[i]);

		if (n < 0)
			return 1;
		all += n;
	}
	printf("%d inputs\n", all);
	if (!all)
		fprintf(stderr, "no inputs: name at least one directory with some\n");
	return all ? 0 : 1;
}
