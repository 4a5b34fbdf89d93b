#include <stdlib.h>
#include <string.h>

#include "adapter/queue.h"
#include "gateway/config_parts.h"
#include "gateway/tool_queue.h"
#include "proto/mem.h"

enum { LIMIT = 100 };
static const uint64_t TIME_MAX = 31536000000; /* a year */

static const struct command {
	const char *first, *second;
	enum tool_queue_command command;
	size_t words_min, words_max; /* behind it */
	const char *usage;
} commands[] = {
	{"push", NULL, TOOL_PUSH, 2, 2, "push QUEUE PAYLOAD"},
	{"peek", NULL, TOOL_PEEK, 1, 1, "peek QUEUE"},
	{"depth", NULL, TOOL_DEPTH, 1, SIZE_MAX, "depth QUEUE…"},
	{"dead", "list", TOOL_DEAD_LIST, 1, 1, "dead list QUEUE"},
	{"dead", "requeue", TOOL_DEAD_REQUEUE, 2, SIZE_MAX, "dead requeue QUEUE ID…|all"},
	{"dead", "drop", TOOL_DEAD_DROP, 2, SIZE_MAX, "dead drop QUEUE ID…|all"},
};
enum { COMMANDS_N = sizeof(commands) / sizeof(commands[0]) };

void tool_queue_help(struct buf *out)
{
	buf_str(out, "gatehouse queue: what is in queues, and pushing to them\n"
		     "\n"
		     "  gatehouse queue push QUEUE PAYLOAD       push one message; -: "
		     "one for each "
		     "line of the input\n"
		     "      --group G, --key K                   its group, and a key "
		     "that makes it "
		     "once\n"
		     "      --delay TIME, --ttl TIME             when it may be taken, "
		     "and until "
		     "when\n"
		     "      --raw                                the payload need not be "
		     "JSON\n"
		     "  gatehouse queue depth QUEUE…             how much is in it, and "
		     "how old\n"
		     "  gatehouse queue peek QUEUE               the first messages, "
		     "without taking "
		     "them\n"
		     "  gatehouse queue dead list QUEUE          those that failed too "
		     "often, and "
		     "why\n"
		     "      --limit N, --after ID                at most N (100, up to "
		     "1000), behind "
		     "ID\n"
		     "  gatehouse queue dead requeue QUEUE ID…   let them be tried "
		     "again; all: all of "
		     "them\n"
		     "  gatehouse queue dead drop QUEUE ID…      throw them away\n"
		     "\n"
		     "  --json                                   answers as JSON, one "
		     "object a line\n"
		     "  --redis URL, --config FILE, …            which Redis, as a node "
		     "is told\n"
		     "\n"
		     "TIME is in milliseconds or has a unit: 500ms, 25s, 2m.\n");
}

/* The words that are no flags. */
struct reading {
	struct tool_queue_args *a;
	struct buf *errors;
	char **words;
	size_t words_n;
};

static void wrong(struct reading *r, const char *where, const char *what)
{
	buf_printf(r->errors, "%s: %s\n", where, what);
}

static void read_number(struct reading *r, const char *flag, const char *text,
			enum setting_unit unit, uint64_t max, uint64_t *out)
{
	struct config_load l = {.errors = r->errors};
	const struct setting s = {
		.type = SETTING_INT, .unit = unit, .min = 1, .max = max, .def = "100"};

	if (text)
		setting_int(&l, &s, flag, text, out);
}

/* One of the tool's own flags; false: it is none. */
static bool own_flag(struct reading *r, const char *flag, const char *value, bool *took)
{
	struct tool_queue_args *a = r->a;
	uint64_t limit = a->limit;
	const struct {
		const char *flag;
		bool *on;
		const char **text;
		uint64_t *number;
		enum setting_unit unit;
		uint64_t max;
	} flags[] = {
		{"--json", &a->json, NULL, NULL, UNIT_NONE, 0},
		{"--raw", &a->raw, NULL, NULL, UNIT_NONE, 0},
		{"--group", NULL, &a->group, NULL, UNIT_NONE, 0},
		{"--key", NULL, &a->key, NULL, UNIT_NONE, 0},
		{"--delay", NULL, NULL, &a->delay_ms, UNIT_MS, TIME_MAX},
		{"--ttl", NULL, NULL, &a->ttl_ms, UNIT_MS, TIME_MAX},
		{"--limit", NULL, NULL, &limit, UNIT_COUNT, QUEUE_LIMIT_MAX},
		{"--after", NULL, NULL, &a->after, UNIT_COUNT, INT64_MAX},
	};

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		if (strcmp(flags[i].flag, flag) != 0)
			continue;
		*took = !flags[i].on;
		if (flags[i].on)
			*flags[i].on = true;
		else if (!value)
			wrong(r, flag, "needs a value");
		else if (flags[i].text)
			*flags[i].text = value;
		else
			read_number(r, flag, value, flags[i].unit, flags[i].max,
				    flags[i].number);
		a->limit = (size_t)limit;
		return true;
	}
	return false;
}

static void put_setting(struct tool_queue_args *a, char *word)
{
	a->settings[a->settings_n++] = word;
}

/* Sort the words: the tool's flags, the settings', and the others. */
static void read_words(struct reading *r, int argc, char *const *argv)
{
	for (int i = 0; i < argc && argv[i]; i++) {
		char *value = i + 1 < argc ? argv[i + 1] : NULL;
		bool took = false;

		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			r->a->command = TOOL_HELP;
			r->words_n = 0;
			r->errors->n = 0;
			return;
		}
		if (strncmp(argv[i], "--", 2) != 0) {
			r->words[r->words_n++] = argv[i];
		} else if (!own_flag(r, argv[i], value, &took)) {
			put_setting(r->a, argv[i]);
			took = value && !strchr(argv[i], '=');
			if (took)
				put_setting(r->a, value);
		}
		i += took && value;
	}
}

static const struct command *find_command(const struct reading *r, size_t *words)
{
	for (size_t i = 0; i < COMMANDS_N; i++) {
		const struct command *c = &commands[i];
		size_t n = c->second ? 2 : 1;

		if (r->words_n < n || strcmp(r->words[0], c->first) != 0 ||
		    (c->second && strcmp(r->words[1], c->second) != 0))
			continue;
		*words = n;
		return c;
	}
	return NULL;
}

static void check_ids(struct reading *r)
{
	const struct tool_queue_args *a = r->a;

	for (size_t i = 1; i < a->words_n; i++) {
		const char *word = a->words[i];
		size_t n = strspn(word, "0123456789");

		if (a->words_n == 2 && strcmp(word, "all") == 0)
			return;
		if (!n || word[n] || n > 16)
			buf_printf(r->errors,
				   "%s: is no id; write ids as \"dead list\" shows them, "
				   "or all alone\n",
				   config_shown(word));
	}
}

enum err tool_queue_read(int argc, char *const *argv, struct tool_queue_args *a,
			 struct buf *errors)
{
	struct reading r = {.a = a, .errors = errors};
	const struct command *c;
	size_t n = 0;

	*a = (struct tool_queue_args){.command = TOOL_PUSH, .limit = LIMIT};
	r.words = mem_zalloc((size_t)argc + 1, sizeof(char *));
	a->settings = mem_zalloc((size_t)argc + 2, sizeof(char *));
	a->words = r.words;
	put_setting(a, (char *)(uintptr_t) "gatehouse");
	read_words(&r, argc, argv);
	if (a->command == TOOL_HELP)
		return ERR_OK;
	c = find_command(&r, &n);
	if (!c) {
		wrong(&r, r.words_n ? config_shown(r.words[0]) : "gatehouse queue",
		      "write push, peek, depth, dead list, dead requeue or dead drop; "
		      "--help says more");
		return ERR_SYNTAX;
	}
	a->command = c->command;
	/* What is left of the words, moved to the front. */
	for (size_t i = n; i < r.words_n; i++)
		r.words[i - n] = r.words[i];
	a->words_n = r.words_n - n;
	if (a->words_n < c->words_min || a->words_n > c->words_max)
		buf_printf(errors, "gatehouse queue: write gatehouse queue %s\n",
			   c->usage);
	else if (!*a->words[0])
		wrong(&r, "QUEUE", "is empty");
	else if (strchr(a->words[0], '}'))
		wrong(&r, "QUEUE", "may not have a } in it");
	else if (c->command == TOOL_DEAD_REQUEUE || c->command == TOOL_DEAD_DROP)
		check_ids(&r);
	return errors->n ? ERR_SYNTAX : ERR_OK;
}

void tool_queue_args_deinit(struct tool_queue_args *a)
{
	free((void *)(uintptr_t)a->words);
	free(a->settings);
}
