/* A configuration: a YAML file up to the first NUL, then variables and flags, a NUL
 * behind each. Whatever is in them, there is a result, and a reason in words fit to be
 * shown. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "gateway/config.h"
#include "gateway/text.h"
#include "proto/mem.h"

enum { WORDS_MAX = 16 };

struct words {
	char *v[WORDS_MAX + 4];
	int n;
};

static void word_add(struct words *w, struct slice word)
{
	w->v[w->n++] = mem_strndup(word.p, word.n);
}

/* Up to the next NUL, which is taken too. */
static struct slice take(struct slice *rest)
{
	const uint8_t *nul = rest->n ? memchr(rest->p, '\0', rest->n) : NULL;
	struct slice word = slice_of(rest->p, nul ? (size_t)(nul - rest->p) : rest->n);

	*rest = slice_skip(*rest, word.n + (nul != NULL));
	return word;
}

static void check_lines(struct slice errors)
{
	while (errors.n) {
		const uint8_t *end = memchr(errors.p, '\n', errors.n);
		size_t n;

		assert(end);
		n = (size_t)(end - errors.p);
		assert(n > 0 && text_is_plain(slice_of(errors.p, n)));
		errors = slice_skip(errors, n + 1);
	}
}

static void load(struct words *args, struct words *env)
{
	static const char *const apps[] = {"rooms", "echo", NULL};
	struct buf out = BUF_INIT, errors = BUF_INIT;
	struct config c;
	enum config_result result =
		config_load(&c, args->n, args->v, env->v, apps, &out, &errors);

	assert((result == CONFIG_WRONG) == (errors.n > 0));
	assert((result == CONFIG_DONE) == (out.n > 0));
	check_lines(buf_view(&errors));
	if (result == CONFIG_RUN) {
		assert(c.listen.n > 0);
		assert(c.namespaces_n > 0);
		assert(c.path[0] == '/' && c.path[strlen(c.path) - 1] == '/');
		assert(!c.redis == (!c.redis_at.host && !c.redis_at.path));
	}
	config_deinit(&c);
	buf_deinit(&out);
	buf_deinit(&errors);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice rest = slice_of(data, size), yaml = take(&rest);
	struct words args = {0}, env = {0};
	char path[32];
	int fd = memfd_create("config", MFD_CLOEXEC);

	assert(fd >= 0);
	assert(write(fd, yaml.p ? yaml.p : data, yaml.n) == (ssize_t)yaml.n);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	word_add(&args, SLICE_LIT("gatehouse"));
	word_add(&args, SLICE_LIT("--config"));
	word_add(&args, slice_str(path));
	while (rest.n && args.n + env.n < WORDS_MAX) {
		struct slice word = take(&rest);

		word_add(slice_starts(word, SLICE_LIT("GATEHOUSE_")) ? &env : &args,
			 word);
	}
	load(&args, &env);
	for (int i = 0; i < args.n; i++)
		free(args.v[i]);
	for (int i = 0; i < env.n; i++)
		free(env.v[i]);
	close(fd);
	return 0;
}
