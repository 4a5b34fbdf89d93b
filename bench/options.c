#include "bench/options.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "proto/json.h"

enum option_type { NUMBER, TIME, TEXT, WORD, SWITCH, PIDS };

enum { HELP_COLUMNS = 88, HELP_INDENT = 6 };

struct option {
	enum option_type type;
	const char *flag;
	uint64_t min, max;
	const char *def;   /* "": none, or the scenario's */
	const char *value; /* how --help calls it */
	const char *help;
	size_t offset;
};

static const struct option options[] = {
#define OPTION_ROW_(type, field, flag, min, max, def, value, help)                       \
	{type, flag, min, max, def, value, help, offsetof(struct bench_options, field)},
	BENCH_OPTION_TABLE(OPTION_ROW_)
#undef OPTION_ROW_
};
enum { OPTIONS_N = sizeof(options) / sizeof(options[0]) };

static const struct scenario {
	const char *name;
	uint64_t conns, rooms, members, in_flight, duration_ms;
	const char *text;
} scenarios[] = {
#define SCENARIO_ROW_(name, word, ...) {word, __VA_ARGS__},
	BENCH_SCENARIO_TABLE(SCENARIO_ROW_)
#undef SCENARIO_ROW_
};
enum { SCENARIOS_N = sizeof(scenarios) / sizeof(scenarios[0]) };

const char *bench_scenario_name(enum bench_scenario scenario)
{
	return scenarios[scenario].name;
}

const char *bench_transport_name(enum client_transport transport)
{
	static const char *const names[] = {"websocket", "polling", "upgrade"};
	return names[transport];
}

/* --- values --- */

enum err bench_read_time(const char *text, uint64_t *ms)
{
	static const struct {
		const char *name;
		uint64_t ms;
	} units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
	char *end;
	unsigned long long n;

	if (!isdigit((unsigned char)*text))
		return ERR_SYNTAX;
	errno = 0;
	n = strtoull(text, &end, 10);
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(end, units[i].name) != 0)
			continue;
		if (errno || n > UINT64_MAX / units[i].ms)
			return ERR_RANGE;
		*ms = n * units[i].ms;
		return ERR_OK;
	}
	return ERR_SYNTAX;
}

static bool read_number(const char *text, uint64_t *n)
{
	char *end;

	errno = 0;
	*n = strtoull(text, &end, 10);
	return isdigit((unsigned char)*text) && !*end && !errno;
}

static bool set_number(const struct option *d, uint64_t *field, const char *text,
		       struct buf *out)
{
	uint64_t n;

	if (read_number(text, &n) && n >= d->min && n <= d->max) {
		*field = n;
		return true;
	}
	buf_printf(out, "%s: '%s' is no number from %" PRIu64 " to %" PRIu64, d->flag,
		   text, d->min, d->max);
	return false;
}

static bool set_time(const struct option *d, uint64_t *field, const char *text,
		     struct buf *out)
{
	uint64_t ms;

	if (bench_read_time(text, &ms) == ERR_OK && ms >= d->min && ms <= d->max) {
		*field = ms;
		return true;
	}
	buf_printf(out,
		   "%s: '%s' is no time from %" PRIu64 "ms to %" PRIu64
		   "s, such as 500ms, 30s or 5m",
		   d->flag, text, d->min, d->max / 1000);
	return false;
}

static bool set_word(const struct option *d, unsigned *field, const char *text,
		     struct buf *out)
{
	unsigned i = 0;
	size_t n = strlen(text);

	for (const char *word = d->value; *word; i++) {
		size_t word_n = strcspn(word, "|");

		if (word_n == n && memcmp(word, text, n) == 0) {
			*field = i;
			return true;
		}
		word += word_n + (word[word_n] == '|');
	}
	buf_printf(out, "%s: '%s' is none of %s", d->flag, text, d->value);
	return false;
}

static bool add_pid(const struct option *d, struct bench_options *o, const char *text,
		    struct buf *out)
{
	uint64_t n;

	if (!read_number(text, &n) || n < 1 || n > INT32_MAX)
		buf_printf(out, "%s: '%s' is no process id", d->flag, text);
	else if (o->pids.n == BENCH_PIDS_MAX)
		buf_printf(out, "%s: at most %d processes", d->flag, BENCH_PIDS_MAX);
	else
		o->pids.v[o->pids.n++] = (int)n;
	return out->n == 0;
}

static bool set(const struct option *d, struct bench_options *o, const char *text,
		struct buf *out)
{
	void *field = (char *)o + d->offset;

	switch (d->type) {
	case NUMBER:
		return set_number(d, field, text, out);
	case TIME:
		return set_time(d, field, text, out);
	case TEXT:
		*(const char **)field = text;
		return true;
	case WORD:
		return set_word(d, field, text, out);
	case SWITCH:
		*(bool *)field = true;
		return true;
	case PIDS:
		return add_pid(d, o, text, out);
	}
	return false;
}

/* --- --help --- */

static void wrapped(struct buf *out, const char *text)
{
	size_t column = 0;

	while (*text) {
		size_t n = strcspn(text, " ");

		if (column && column + 1 + n > HELP_COLUMNS) {
			buf_byte(out, '\n');
			column = 0;
		}
		buf_printf(out, "%*s", column ? 1 : HELP_INDENT, "");
		column += (column ? 1 : HELP_INDENT) + n;
		buf_append(out, text, n);
		text += n + strspn(text + n, " ");
	}
	buf_byte(out, '\n');
}

static void scenario_defaults(struct buf *out, const struct scenario *s)
{
	const struct {
		const char *flag;
		uint64_t value;
	} defaults[] = {{"--conns", s->conns},
			{"--rooms", s->rooms > 1 ? s->rooms : 0},
			{"--members", s->members},
			{"--in-flight", s->in_flight}};
	const char *between = "";

	buf_printf(out, "%*s(", HELP_INDENT, "");
	for (size_t i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++) {
		if (defaults[i].value) {
			buf_printf(out, "%s%s %" PRIu64, between, defaults[i].flag,
				   defaults[i].value);
			between = " ";
		}
	}
	if (s->duration_ms)
		buf_printf(out, "%s--duration %" PRIu64 "s", between,
			   s->duration_ms / 1000);
	buf_str(out, ")\n");
}

static void list(struct buf *out)
{
	for (size_t i = 0; i < SCENARIOS_N; i++) {
		buf_printf(out, "  %s\n", scenarios[i].name);
		wrapped(out, scenarios[i].text);
		scenario_defaults(out, &scenarios[i]);
	}
}

static void help(struct buf *out)
{
	buf_str(out,
		"usage: gatehouse bench SCENARIO http://HOST:PORT[/path/] [options]\n\n"
		"Makes load for a Socket.IO server, and tells what came of it: "
		"latencies, CPU\n"
		"and memory of the server, and messages lost, doubled or out of order. "
		"It ends\n"
		"by itself; Ctrl-C ends it with what was measured so far, a second one "
		"at once.\n\n"
		"Scenarios, with defaults:\n\n");
	list(out);
	buf_str(out, "\nOptions:\n\n");
	for (size_t i = 0; i < OPTIONS_N; i++) {
		const struct option *d = &options[i];

		buf_printf(out, "  %s%s%s%s%s%s\n", d->flag, *d->value ? " " : "",
			   d->value, *d->def ? " (" : "", d->def, *d->def ? ")" : "");
		wrapped(out, d->help);
	}
	buf_str(out, "  --list\n      Name the scenarios\n"
		     "  --help\n      This text\n\n"
		     "In the events of --join, --emit and --echo, {room} stands for the "
		     "name of the\n"
		     "room, {message} for the message and {conn} for the connection's "
		     "number. The\n"
		     "defaults are for Gatehouse. For a server whose application joins, "
		     "publishes and\n"
		     "answers by events of its own:\n\n"
		     "  --join '[\"join\",\"{room}\"]' --emit "
		     "'[\"say\",\"{room}\",\"{message}\"]'\n"
		     "  --echo '[\"echo\",\"{message}\"]'\n\n"
		     "Exit codes: 0; 1: a message was lost, doubled or out of order, or "
		     "a connection\n"
		     "failed; 2: wrong usage, or the machine does not allow so many "
		     "connections.\n");
}

/* --- all of it --- */

static void set_defaults(struct bench_options *o)
{
	struct buf none = BUF_INIT;

	*o = (struct bench_options){0};
	for (size_t i = 0; i < OPTIONS_N; i++) {
		if (options[i].type == TEXT || *options[i].def)
			(void)set(&options[i], o, options[i].def, &none);
	}
	buf_deinit(&none);
}

static void set_scenario_defaults(struct bench_options *o)
{
	const struct scenario *s = &scenarios[o->scenario];

	if (o->scenario == BENCH_POLL && o->transport == CLIENT_WEBSOCKET)
		o->transport = CLIENT_POLLING;
	o->conns = o->conns ? o->conns : s->conns;
	o->rooms = o->rooms ? o->rooms : s->rooms;
	o->members = o->members ? o->members : s->members;
	o->in_flight = o->in_flight ? o->in_flight : s->in_flight;
	o->duration_ms = o->duration_ms ? o->duration_ms : s->duration_ms;
}

static bool template_ok(const char *flag, const char *template, bool needs_message,
			struct buf *out)
{
	switch ((int)message_template_check(template, needs_message)) {
	case ERR_OK:
		return true;
	case ERR_NOT_FOUND:
		buf_printf(out, "%s: must hold {message} somewhere", flag);
		return false;
	default:
		buf_printf(out,
			   "%s: must be a JSON array that begins with an event's "
			   "name, such as [\"join\",\"{room}\"]",
			   flag);
		return false;
	}
}

static bool is_json_object(const char *text)
{
	struct buf mp = BUF_INIT;
	bool ok = *text == '{' && json_to_mp(slice_str(text), NULL, &mp) == ERR_OK;

	buf_deinit(&mp);
	return ok;
}

static bool is_word(const char *text)
{
	for (; *text; text++) {
		if ((unsigned char)*text <= ' ' || strchr("\"\\?#,", *text))
			return false;
	}
	return true;
}

static bool texts_ok(const struct bench_options *o, struct buf *out)
{
	if (o->nsp[0] != '/' || !is_word(o->nsp))
		buf_str(out, "--namespace: begins with '/' and has no comma or space");
	else if (o->path[0] != '/' || !is_word(o->path) ||
		 strlen(o->path) >= NET_PATH_MAX)
		buf_str(out, "--path: begins with '/', such as /socket.io/");
	else if (!is_word(o->room_prefix) || strlen(o->room_prefix) > 64)
		buf_str(out, "--room-prefix: at most 64 characters that JSON need not "
			     "escape");
	else if (*o->auth && !is_json_object(o->auth))
		buf_str(out, "--auth: must be a JSON object");
	else if (o->scenario == BENCH_ROOMS && o->rooms * o->members > 1000000)
		buf_str(out, "--rooms times --members may be 1000000 at most");
	else if (*o->publish_to && o->scenario != BENCH_FANOUT &&
		 o->scenario != BENCH_ROOMS)
		buf_str(out, "--publish-to: only fanout and rooms publish");
	else if (o->scenario == BENCH_POLL && o->transport == CLIENT_UPGRADE)
		buf_str(out, "--transport: the scenario poll is about polling");
	return out->n == 0 &&
	       (strcmp(o->join, "none") == 0 ||
		template_ok("--join", o->join, false, out)) &&
	       template_ok("--emit", o->emit, true, out) &&
	       template_ok("--echo", o->echo, false, out);
}

static const struct option *find(const char *arg, const char **attached)
{
	for (size_t i = 0; i < OPTIONS_N; i++) {
		size_t n = strlen(options[i].flag);

		if (strncmp(arg, options[i].flag, n) == 0 && (!arg[n] || arg[n] == '=')) {
			*attached = arg[n] ? arg + n + 1 : NULL;
			return &options[i];
		}
	}
	return NULL;
}

/* The option at argv[*i]; moves on to the argument it takes. */
static bool read_option(struct bench_options *o, int argc, char *const *argv, int *i,
			struct buf *out)
{
	const char *value;
	const struct option *d = find(argv[*i], &value);

	if (!d) {
		buf_printf(out, "there is no option '%s'", argv[*i]);
		return false;
	}
	if (d->type == SWITCH && value) {
		buf_printf(out, "%s takes no value", d->flag);
		return false;
	}
	if (d->type != SWITCH && !value) {
		if (*i + 1 == argc) {
			buf_printf(out, "%s needs a value: %s", d->flag, d->value);
			return false;
		}
		value = argv[++*i];
	}
	return set(d, o, value, out);
}

/* What is no option: the scenario, then the URL. */
static bool read_word(struct bench_options *o, const char *word, unsigned place,
		      struct buf *out)
{
	if (place == 1) {
		o->url = word;
		return true;
	}
	for (unsigned i = 0; i < SCENARIOS_N && place == 0; i++) {
		if (strcmp(scenarios[i].name, word) == 0) {
			o->scenario = (enum bench_scenario)i;
			return true;
		}
	}
	if (place == 0)
		buf_printf(out, "there is no scenario '%s'; --list names them", word);
	else
		buf_printf(out, "'%s' is too much", word);
	return false;
}

static bool asks(int argc, char *const *argv, const char *flag)
{
	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], flag) == 0)
			return true;
	}
	return false;
}

enum bench_asked bench_options_read(struct bench_options *o, int argc, char *const *argv,
				    struct buf *out)
{
	unsigned words = 0;

	set_defaults(o);
	if (asks(argc, argv, "--help") || asks(argc, argv, "--list")) {
		if (asks(argc, argv, "--help"))
			help(out);
		else
			list(out);
		return BENCH_ASKED_TEXT;
	}
	for (int i = 0; i < argc; i++) {
		if (argv[i][0] == '-' ? !read_option(o, argc, argv, &i, out)
				      : !read_word(o, argv[i], words++, out))
			return BENCH_ASKED_WRONG;
	}
	if (words < 2) {
		buf_str(out, words ? "needs the server's URL, http://HOST:PORT"
				   : "needs a scenario and a server's URL; --help says "
				     "more");
		return BENCH_ASKED_WRONG;
	}
	set_scenario_defaults(o);
	return texts_ok(o, out) ? BENCH_ASKED_RUN : BENCH_ASKED_WRONG;
}
