#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include <yaml.h>

#include "gateway/config_parts.h"
#include "proto/mem.h"

enum { COLUMNS = 96, INDENT = 6 };

/* A group goes on until the first key of the next. */
static const struct {
	const char *first, *title;
} groups[] = {
	{"listen", "Where it listens"},
	{"redis", "Redis"},
	{"path", "Socket.IO"},
	{"origins", "Browsers"},
	{"maxConns", "Limits"},
	{"jwtSecret", "Who users are"},
	{"logLevel", "Log"},
};

const char *setting_group(const struct setting *s)
{
	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
		if (strcmp(groups[i].first, s->key) == 0)
			return groups[i].title;
	}
	return NULL;
}

/* `text` in lines of at most COLUMNS, each indented. */
static void wrapped(struct buf *out, const char *text)
{
	size_t column = 0;

	while (*text) {
		size_t n = strcspn(text, " ");

		if (column && column + 1 + n > COLUMNS) {
			buf_byte(out, '\n');
			column = 0;
		}
		if (column == 0) {
			buf_printf(out, "%*s", INDENT, "");
			column = INDENT;
		} else {
			buf_byte(out, ' ');
			column++;
		}
		buf_append(out, text, n);
		column += n;
		text += n + strspn(text + n, " ");
	}
	buf_byte(out, '\n');
}

void setting_bounds(struct buf *out, const struct setting *s)
{
	setting_number(out, s->unit, s->min);
	buf_str(out, " to ");
	setting_number(out, s->unit, s->max);
}

static void help_setting(struct buf *out, const struct setting *s)
{
	static const char *const values[] = {
		[SETTING_BOOL] = "[true|false]", [SETTING_INT] = "N",
		[SETTING_STR] = "TEXT",		 [SETTING_SECRET] = "SECRET",
		[SETTING_LIST] = "A,B,…",
	};
	static const char *const units[] = {[UNIT_NONE] = "TEXT",
					    [UNIT_COUNT] = "N",
					    [UNIT_MS] = "TIME",
					    [UNIT_BYTES] = "BYTES"};
	char flag[SETTING_NAME_MAX];
	struct buf text = BUF_INIT;

	setting_flag(s, flag);
	buf_printf(out, "  %s %s\n", flag,
		   s->type == SETTING_INT ? units[s->unit] : values[s->type]);
	buf_printf(&text, "%s.", s->help);
	if (s->type == SETTING_INT) {
		buf_str(&text, " From ");
		setting_bounds(&text, s);
		buf_str(&text, ".");
	}
	if (*s->def)
		buf_printf(&text, " Default: %s", s->def);
	if (s->dev)
		buf_printf(&text, "%s: %s", *s->def ? "; with --dev" : " With --dev",
			   s->dev);
	if (*s->def || s->dev)
		buf_byte(&text, '.');
	wrapped(out, buf_cstr(&text));
	buf_deinit(&text);
}

void config_help(struct buf *out)
{
	buf_str(out,
		"gatehouse: a realtime gateway for Socket.IO clients\n"
		"\n"
		"  gatehouse --dev                    one node to try things out, at "
		"http://127.0.0.1:3000\n"
		"  gatehouse --config gatehouse.yaml  a node as the file says\n"
		"  gatehouse emit --help              an event for clients, from a "
		"shell\n"
		"  gatehouse queue --help             what is in queues, and pushing to "
		"them\n"
		"  gatehouse bench --help             load for a Socket.IO server, and "
		"what "
		"it measures\n"
		"\n"
		"A setting is given as a flag (--ping-interval 25s or "
		"--ping-interval=25s), in "
		"the\n"
		"environment (GATEHOUSE_PING_INTERVAL=25s) or in the YAML file "
		"(pingInterval: "
		"25s); a flag\n"
		"wins over the environment, which wins over the file. Namespaces and "
		"what "
		"clients may do in\n"
		"them are configured in the file alone; docs/configuration.md describes "
		"it.\n"
		"\n"
		"TIME is in milliseconds or has a unit: 500ms, 25s, 2m. BYTES may have "
		"kB, MB, "
		"GB, KiB,\n"
		"MiB or GiB. A list is separated by commas; its flag may come several "
		"times.\n"
		"\n"
		"General\n"
		"  --config FILE\n"
		"      The YAML file (GATEHOUSE_CONFIG).\n"
		"  --dev, --no-dev\n"
		"      Defaults to try things out: a listener on this machine, "
		"everything open, "
		"the chat\n      page (GATEHOUSE_DEV=1). Single settings override it.\n"
		"  --check-config\n"
		"      Read the configuration, say what is wrong or print what is in "
		"effect, and "
		"exit.\n"
		"  --probe URL\n"
		"      Instead of a node, and alone: GET the URL and exit with 0 if the "
		"answer is a\n      success, else with 1. For health checks: "
		"--probe http://127.0.0.1:9300/readyz\n"
		"  --help, --version\n");
	for (size_t i = 0; i < SETTINGS_N; i++) {
		const char *title = setting_group(&settings[i]);

		if (title)
			buf_printf(out, "\n%s\n", title);
		help_setting(out, &settings[i]);
	}
}

void config_version(struct buf *out)
{
	buf_printf(out, "gatehouse %s (libuv %s, libyaml %s)\n", GATEHOUSE_VERSION,
		   uv_version_string(), yaml_get_version_string());
}

static void summary_value(const struct config *c, const struct setting *s,
			  struct buf *out)
{
	const void *field = (const char *)c + s->offset;
	const struct str_list *list = field;
	const char *text;

	switch (s->type) {
	case SETTING_BOOL:
		buf_str(out, *(const bool *)field ? "true" : "false");
		return;
	case SETTING_INT:
		setting_number(out, s->unit, *(const uint64_t *)field);
		return;
	case SETTING_STR:
	case SETTING_SECRET:
		text = *(char *const *)field;
		buf_str(out, !text			 ? "not set"
			     : s->type == SETTING_SECRET ? "set"
							 : text);
		return;
	case SETTING_LIST:
		if (list->n == 0)
			buf_str(out, "not set");
		for (size_t i = 0; i < list->n; i++)
			buf_printf(out, "%s%s", i ? ", " : "", list->v[i]);
	}
}

void config_summary(const struct config_load *l, struct buf *out)
{
	const struct config *c = l->c;

	buf_printf(out, "The configuration is good%s. In effect:\n\n",
		   c->dev ? " (with --dev)" : "");
	for (size_t i = 0; i < SETTINGS_N; i++) {
		const char *where = l->given[i].where;
		struct buf value = BUF_INIT;

		summary_value(c, &settings[i], &value);
		buf_printf(out, "  %-20s %-24s %s\n", settings[i].key, buf_cstr(&value),
			   where ? where : "default");
		buf_deinit(&value);
	}
	buf_str(out, "\n");
	for (size_t i = 0; i < c->namespaces_n; i++)
		buf_printf(out,
			   "  namespace %s: %zu application%s, %zu rule%s for rooms, %zu "
			   "for queues, %s recovery\n",
			   c->namespaces[i].name, c->namespaces[i].apps.n,
			   c->namespaces[i].apps.n == 1 ? "" : "s",
			   c->namespaces[i].rooms_n,
			   c->namespaces[i].rooms_n == 1 ? "" : "s",
			   c->namespaces[i].queues_n,
			   c->namespaces[i].recovery ? "with" : "without");
}
