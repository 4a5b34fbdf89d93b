/* Pages of docs/ that come from tables.
 *
 *   docs_page PAGE write FILE    write it
 *   docs_page PAGE check FILE    does FILE say what the tables say?
 *   docs_page configuration load   is each YAML file shown in it a good configuration? */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "gateway/config.h"
#include "gateway/metrics.h"

static const struct {
	const char *name;
	void (*make)(struct buf *out);
} pages[] = {{"configuration", config_reference}, {"metrics", metrics_reference}};

static bool write_all(const char *path, struct slice text)
{
	FILE *f = fopen(path, "w");
	bool good = f && fwrite(text.p, 1, text.n, f) == text.n;

	if (f && fclose(f) != 0)
		good = false;
	if (!good)
		perror(path);
	return good;
}

static int check(const char *page, const char *path, struct slice want)
{
	struct buf got = BUF_INIT;
	FILE *f = fopen(path, "r");
	int result;

	if (!f) {
		perror(path);
		return 1;
	}
	for (size_t n = 1; n;) {
		n = fread(buf_reserve(&got, 4096), 1, 4096, f);
		buf_commit(&got, n);
	}
	fclose(f);
	result = !slice_eq(buf_view(&got), want);
	if (result)
		fprintf(stderr,
			"%s is not what the tables say (%zu bytes, should be %zu).\n"
			"Write it anew: cmake --build build/dev --target docs_%s\n",
			path, got.n, want.n, page);
	buf_deinit(&got);
	return result;
}

/* The secret that the example names lies elsewhere on this machine. */
static bool load_example(struct slice yaml, const char *dir)
{
	static const char *const apps[] = {"rooms", NULL};
	char file[256], secret[256], variable[300];
	char program[] = "gatehouse", flag[] = "--config",
	     *argv[] = {program, flag, file};
	char *env[] = {variable, NULL};
	struct buf out = BUF_INIT, errors = BUF_INIT;
	struct config c;
	bool good = false;

	snprintf(file, sizeof(file), "%s/example.yaml", dir);
	snprintf(secret, sizeof(secret), "%s/secret", dir);
	snprintf(variable, sizeof(variable), "GATEHOUSE_JWT_SECRET_FILE=%s", secret);
	if (write_all(file, yaml) &&
	    write_all(secret, SLICE_LIT("0123456789abcdef0123456789abcdef\n"))) {
		good = config_load(&c, 3, argv, env, apps, &out, &errors) == CONFIG_RUN;
		fprintf(stderr, "%s", buf_cstr(&errors));
		config_deinit(&c);
	}
	unlink(file);
	unlink(secret);
	buf_deinit(&out);
	buf_deinit(&errors);
	return good;
}

static int load_examples(const char *page)
{
	static const char begin[] = "```yaml\n", end[] = "```\n";
	char dir[] = "/tmp/gatehouse-docs-XXXXXX";
	int found = 0, good = 0;

	if (!mkdtemp(dir)) {
		perror(dir);
		return 1;
	}
	while ((page = strstr(page, begin))) {
		const char *stop;

		page += strlen(begin);
		stop = strstr(page, end);
		if (!stop)
			break;
		found++;
		good += load_example(slice_of(page, (size_t)(stop - page)), dir);
		page = stop + strlen(end);
	}
	rmdir(dir);
	fprintf(stderr, "%d examples, %d good\n", found, good);
	return found == 0 || good != found;
}

int main(int argc, char **argv)
{
	struct buf page = BUF_INIT;
	int result = 2;

	for (size_t i = 0; argc > 2 && i < sizeof(pages) / sizeof(pages[0]); i++) {
		if (strcmp(pages[i].name, argv[1]) == 0)
			pages[i].make(&page);
	}
	if (page.n && argc == 4 && strcmp(argv[2], "write") == 0)
		result = !write_all(argv[3], buf_view(&page));
	else if (page.n && argc == 4 && strcmp(argv[2], "check") == 0)
		result = check(argv[1], argv[3], buf_view(&page));
	else if (page.n && argc == 3 && strcmp(argv[2], "load") == 0)
		result = load_examples(buf_cstr(&page));
	else
		fprintf(stderr, "usage: docs_page PAGE write|check FILE\n"
				"       docs_page PAGE load\n");
	buf_deinit(&page);
	return result;
}
