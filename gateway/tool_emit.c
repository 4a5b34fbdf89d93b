#include "gateway/tool_emit.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "gateway/tool.h"
#include "proto/json.h"
#include "proto/mem.h"
#include "proto/sio.h"

enum {
	UNDER_WAY_MAX = 1000,	/* events of lines that are not answered */
	PROGRESS_LINES = 10000, /* how often it is said how far it is */
};

static const char help[] =
	"gatehouse emit: publish an event, which clients that are away get when they "
	"come back\n"
	"\n"
	"  gatehouse emit ROOM EVENT [ARGUMENT…]    to a room; each ARGUMENT is JSON\n"
	"  gatehouse emit --all EVENT [ARGUMENT…]   to everybody in the namespace\n"
	"  gatehouse emit ROOM -                    for each line of the input one "
	"event,\n"
	"                                           a JSON array: [\"name\", "
	"arguments…]\n"
	"      --namespace NAME                     the namespace (default /)\n"
	"      --redis URL, --config FILE, …        which Redis, as a node is told\n"
	"\n"
	"The namespace must have recovery: true at the nodes.\n";

struct emit {
	struct tool base;
	const char *nsp, *room; /* room NULL: everybody */
	bool all, help;
	char **words; /* room, unless `all`, event, arguments */
	size_t words_n;
	char **settings;
	int settings_n;
	uint64_t emitted;
};

/* Sort the words: flags of the tool, flags of settings, and the others. */
static enum err read_words(struct emit *e, int argc, char *const *argv)
{
	e->settings[e->settings_n++] = (char *)(uintptr_t) "gatehouse";
	for (int i = 0; i < argc && argv[i]; i++) {
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			e->help = true;
		} else if (strcmp(argv[i], "--all") == 0) {
			e->all = true;
		} else if (strcmp(argv[i], "--namespace") == 0) {
			if (i + 1 == argc)
				return ERR_SYNTAX;
			e->nsp = argv[++i];
		} else if (strncmp(argv[i], "--", 2) == 0) {
			e->settings[e->settings_n++] = argv[i];
			if (!strchr(argv[i], '=') && i + 1 < argc)
				e->settings[e->settings_n++] = argv[++i];
		} else {
			e->words[e->words_n++] = argv[i];
		}
	}
	if (e->help)
		return ERR_OK;
	if (!e->all && e->words_n) {
		e->room = e->words[0];
		e->words++;
		e->words_n--;
	}
	if (e->nsp[0] != '/' || strchr(e->nsp, '#'))
		return ERR_RANGE;
	return e->words_n == 0 || (e->room && !*e->room) ? ERR_SYNTAX : ERR_OK;
}

static void on_published(void *arg, enum err err)
{
	struct emit *e = arg;

	tool_answered(&e->base, err);
	e->emitted += err == ERR_OK;
}

/* False: it is no event, which was said. */
static bool emit_one(struct emit *e, struct slice data, const char *where)
{
	struct slice room = e->room ? slice_str(e->room) : SLICE_EMPTY;
	struct cluster_broadcast b = {.nsp = slice_str(e->nsp),
				      .rooms = &room,
				      .rooms_n = e->room ? 1 : 0,
				      .flags = CLUSTER_LOGGED,
				      .data = data};
	struct mp_cursor c = mp_cursor_of(data);
	struct slice name;
	uint32_t count;

	if (mp_read_array(&c, &count) != ERR_OK || mp_read_str(&c, &name) != ERR_OK ||
	    !name.n || !sio_event_ok(data)) {
		fprintf(stderr,
			"gatehouse emit: %s is no event; an event has a name, a string "
			"that "
			"is not one of Socket.IO's own, such as connect\n",
			where);
		return false;
	}
	e->base.under_way++;
	adapter_publish(e->base.adapter, &b, on_published, e);
	return true;
}

static int emit_lines(struct emit *e)
{
	char *line = NULL, where[32];
	size_t cap = 0, lines = 0;
	bool good = true;
	ssize_t n;

	while (good && e->base.err == ERR_OK && (n = getline(&line, &cap, stdin)) >= 0) {
		struct buf data = BUF_INIT;

		snprintf(where, sizeof(where), "line %zu", ++lines);
		if (json_to_mp(slice_of(line, (size_t)n), NULL, &data) != ERR_OK) {
			fprintf(stderr, "gatehouse emit: %s is no JSON\n", where);
			good = false;
		} else {
			good = emit_one(e, buf_view(&data), where);
		}
		buf_deinit(&data);
		tool_wait(&e->base, UNDER_WAY_MAX - 1);
		if (lines % PROGRESS_LINES == 0)
			fprintf(stderr, "%" PRIu64 " emitted\n", e->emitted);
	}
	tool_wait(&e->base, 0);
	free(line);
	if (e->base.err == ERR_OK && good) {
		printf("%" PRIu64 " emitted\n", e->emitted);
		return 0;
	}
	fprintf(stderr, "gatehouse emit: %" PRIu64 " were emitted before\n", e->emitted);
	return good ? tool_failed(&e->base, "gatehouse emit") : TOOL_CODE_WRONG;
}

/* The event that the words say; false: one of them is no JSON, which was said. */
static bool pack_words(const struct emit *e, struct buf *out)
{
	msgpack_packer pk;

	mp_packer(&pk, out);
	msgpack_pack_array(&pk, e->words_n);
	mp_pack_str(&pk, slice_str(e->words[0]));
	for (size_t i = 1; i < e->words_n; i++) {
		if (json_to_mp(slice_str(e->words[i]), NULL, out) == ERR_OK)
			continue;
		fprintf(stderr,
			"gatehouse emit: %s is no JSON; quote a text: '\"text\"'\n",
			e->words[i]);
		return false;
	}
	return true;
}

static int run(struct emit *e)
{
	struct buf data = BUF_INIT;
	bool good;

	if (e->words_n == 1 && strcmp(e->words[0], "-") == 0)
		return emit_lines(e);
	good = pack_words(e, &data) && emit_one(e, buf_view(&data), "this");
	buf_deinit(&data);
	tool_wait(&e->base, 0);
	if (e->base.err != ERR_OK)
		return tool_failed(&e->base, "gatehouse emit");
	return good ? 0 : TOOL_CODE_WRONG;
}

int tool_emit(int argc, char *const *argv)
{
	struct emit e = {.nsp = "/"};
	struct buf errors = BUF_INIT;
	char **words = mem_zalloc((size_t)argc + 1, sizeof(char *));
	int code = TOOL_CODE_WRONG;
	enum err err;

	e.words = words;
	e.settings = mem_zalloc((size_t)argc + 2, sizeof(char *));
	err = read_words(&e, argc, argv);
	if (err == ERR_RANGE) {
		buf_str(&errors, "gatehouse emit: the name of a namespace begins with / "
				 "and has no #\n");
	} else if (err != ERR_OK) {
		buf_str(&errors, "gatehouse emit: write gatehouse emit ROOM EVENT "
				 "[ARGUMENT…], or --all EVENT [ARGUMENT…]; a room has a "
				 "name; --help says more\n");
	} else if (e.help) {
		fputs(help, stdout);
		code = 0;
	} else if (tool_open(&e.base, e.settings_n, e.settings, true, &errors) ==
		   ERR_OK) {
		code = run(&e);
		tool_close(&e.base);
	}
	fputs(buf_cstr(&errors), stderr);
	tool_deinit(&e.base);
	buf_deinit(&errors);
	free(words);
	free(e.settings);
	return code;
}
