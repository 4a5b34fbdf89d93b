#include "gateway/metrics.h"

#include <inttypes.h>

enum metric_kind { COUNTER, GAUGE };

static const struct metric {
	enum metric_kind kind;
	const char *name, *label, *help;
	size_t offset;
} table[] = {
#define METRICS_ROW_(kind, field, name, label, help)                                     \
	{kind, name, label, help, offsetof(struct metrics, field)},
	METRICS_TABLE(METRICS_ROW_)
#undef METRICS_ROW_
};

enum { TABLE_N = sizeof(table) / sizeof(table[0]) };

static const char build_info[] = "gatehouse_build_info";
static const char build_info_help[] =
	"1; the labels tell the version, the adapter and the node";

static const char *kind_name(enum metric_kind kind)
{
	return kind == COUNTER ? "counter" : "gauge";
}

/* Rows of one name stand together; the first has the help. */
static bool begins_name(size_t i)
{
	return i == 0 || strcmp(table[i].name, table[i - 1].name) != 0;
}

static void head(struct buf *out, const char *name, enum metric_kind kind,
		 const char *help)
{
	buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name,
		   kind_name(kind));
}

static void label(struct buf *out, const char *name, const char *value)
{
	buf_printf(out, "%s=\"", name);
	for (; *value; value++) {
		if (*value == '\n') {
			buf_str(out, "\\n");
			continue;
		}
		if (*value == '"' || *value == '\\')
			buf_byte(out, '\\');
		buf_byte(out, (uint8_t)*value);
	}
	buf_byte(out, '"');
}

void metrics_write(const struct metrics *m, const char *version, const char *adapter,
		   const char *node, struct buf *out)
{
	for (size_t i = 0; i < TABLE_N; i++) {
		const struct metric *row = &table[i];
		uint64_t value;

		memcpy(&value, (const char *)m + row->offset, sizeof(value));
		if (begins_name(i))
			head(out, row->name, row->kind, row->help);
		buf_printf(out,
			   *row->label ? "%s{%s} %" PRIu64 "\n" : "%s%s %" PRIu64 "\n",
			   row->name, row->label, value);
	}
	head(out, build_info, GAUGE, build_info_help);
	buf_printf(out, "%s{", build_info);
	label(out, "version", version);
	buf_byte(out, ',');
	label(out, "adapter", adapter);
	buf_byte(out, ',');
	label(out, "node", node);
	buf_str(out, "} 1\n");
}

void metrics_reference(struct buf *out)
{
	buf_str(out, "# Metrics\n\n"
		     "Served as Prometheus reads them (text format 0.0.4) at `/metrics` "
		     "on the\n"
		     "listener `opsListen`. Counters begin at 0 when a node starts; "
		     "gauges tell\n"
		     "what is now. All are of one node: sum them over the nodes.\n\n"
		     "| metric | kind | labels | meaning |\n"
		     "| --- | --- | --- | --- |\n");
	for (size_t i = 0; i < TABLE_N; i++) {
		if (!begins_name(i))
			continue;
		buf_printf(out, "| `%s` | %s | ", table[i].name,
			   kind_name(table[i].kind));
		for (size_t j = i; j == i || (j < TABLE_N && !begins_name(j)); j++) {
			if (*table[j].label)
				buf_printf(out, "%s`%s`", j == i ? "" : "<br>",
					   table[j].label);
		}
		buf_printf(out, " | %s |\n", table[i].help);
	}
	buf_printf(out, "| `%s` | gauge | `version`, `adapter`, `node` | %s |\n",
		   build_info, build_info_help);
}
