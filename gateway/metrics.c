#include "gateway/metrics.h"

#include <inttypes.h>
#include <stdio.h>

enum metric_kind {
#define METRICS_KIND_(kind, type, total, scale) kind,
	METRICS_KINDS(METRICS_KIND_)
#undef METRICS_KIND_
};

static const struct {
	const char *type;
	enum { ADD, LARGEST, SMALLEST } total;
	uint64_t scale;
} kinds[] = {
#define METRICS_KIND_(kind, type, total, scale) [kind] = {type, total, scale},
	METRICS_KINDS(METRICS_KIND_)
#undef METRICS_KIND_
};

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
	"1; the labels tell the version, the adapter and, without workers, the node";

static uint64_t value_of(const struct metrics *m, const struct metric *row)
{
	uint64_t value;

	memcpy(&value, (const char *)m + row->offset, sizeof(value));
	return value;
}

static void set_value(struct metrics *m, const struct metric *row, uint64_t value)
{
	memcpy((char *)m + row->offset, &value, sizeof(value));
}

/* Does it only grow? */
static bool counts(const struct metric *row)
{
	return strcmp(kinds[row->kind].type, "gauge") != 0;
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
		   kinds[kind].type);
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

static void sample(struct buf *out, const char *name, const char *suffix,
		   const char *labels, uint64_t value, uint64_t scale)
{
	buf_printf(out, *labels ? "%s%s{%s} " : "%s%s%s ", name, suffix, labels);
	buf_printf(out, "%" PRIu64, value / scale);
	if (scale > 1)
		buf_printf(out, ".%0*" PRIu64, scale == 1000 ? 3 : 6, value % scale);
	buf_byte(out, '\n');
}

/* The bucket, in which are those of the smaller ones too. The last has all: the count. */
static void bucket(struct buf *out, const struct metric *row, uint64_t value)
{
	char le[32];

	snprintf(le, sizeof(le), "le=\"%s\"", row->label);
	sample(out, row->name, "_bucket", le, value, 1);
	if (strcmp(row->label, "+Inf") == 0)
		sample(out, row->name, "_count", "", value, 1);
}

void metrics_write(const struct metrics *m, const char *version, const char *adapter,
		   const char *node, struct buf *out)
{
	uint64_t below = 0; /* in the buckets so far */

	for (size_t i = 0; i < TABLE_N; i++) {
		const struct metric *row = &table[i];
		uint64_t value = value_of(m, row);

		if (begins_name(i)) {
			head(out, row->name, row->kind, row->help);
			below = 0;
		}
		if (row->kind == BUCKET)
			bucket(out, row, below += value);
		else
			sample(out, row->name, row->kind == SUM_MS ? "_sum" : "",
			       row->label, value, kinds[row->kind].scale);
	}
	head(out, build_info, GAUGE, build_info_help);
	buf_printf(out, "%s{", build_info);
	label(out, "version", version);
	buf_byte(out, ',');
	label(out, "adapter", adapter);
	if (node) {
		buf_byte(out, ',');
		label(out, "node", node);
	}
	buf_str(out, "} 1\n");
}

static const struct queue_metric {
	enum metric_kind kind;
	bool one;
	const char *name, *help;
	size_t offset;
} queue_table[] = {
#define METRICS_QUEUE_ROW_(kind, field, name, one, help)                                 \
	{kind, one, name, help, offsetof(struct metrics_queue, field)},
	METRICS_QUEUE_TABLE(METRICS_QUEUE_ROW_)
#undef METRICS_QUEUE_ROW_
};

enum { QUEUE_TABLE_N = sizeof(queue_table) / sizeof(queue_table[0]) };

static uint64_t *queue_value(struct metrics_queue *q, const struct queue_metric *row)
{
	return (uint64_t *)(void *)((char *)q + row->offset);
}

void metrics_write_queues(const struct metrics *m, const struct metrics_rule *rules,
			  size_t n, struct buf *out)
{
	for (size_t i = 0; i < QUEUE_TABLE_N && n; i++) {
		const struct queue_metric *row = &queue_table[i];

		head(out, row->name, row->kind, row->help);
		for (size_t k = 0; k < n && k < METRICS_RULES_MAX; k++) {
			struct metrics_queue values = m->queues[k];

			if (row->one && !rules[k].one)
				continue;
			buf_printf(out, "%s{", row->name);
			label(out, "namespace", rules[k].nsp);
			buf_byte(out, ',');
			label(out, "rule", rules[k].rule);
			buf_printf(out, "} %" PRIu64 "\n", *queue_value(&values, row));
		}
	}
}

void metrics_count_turn(struct metrics *m, uint64_t ms)
{
	m->turns_ms += ms;
	if (ms <= 5)
		m->turns_5ms++;
	else if (ms <= 10)
		m->turns_10ms++;
	else if (ms <= 25)
		m->turns_25ms++;
	else if (ms <= 50)
		m->turns_50ms++;
	else if (ms <= 100)
		m->turns_100ms++;
	else if (ms <= 250)
		m->turns_250ms++;
	else if (ms <= 1000)
		m->turns_1s++;
	else
		m->turns_more++;
}

/* --- of several --- */

void metrics_total_begin(struct metrics *total)
{
	*total = (struct metrics){0};
	for (size_t i = 0; i < TABLE_N; i++) {
		if (kinds[table[i].kind].total == SMALLEST)
			set_value(total, &table[i], UINT64_MAX);
	}
}

static void add_row(struct metrics *total, const struct metrics *m,
		    const struct metric *row)
{
	uint64_t sum = value_of(total, row), value = value_of(m, row);

	switch (kinds[row->kind].total) {
	case ADD:
		sum += value;
		break;
	case LARGEST:
		sum = value > sum ? value : sum;
		break;
	case SMALLEST:
		sum = value < sum ? value : sum;
		break;
	}
	set_value(total, row, sum);
}

static void add_queues(struct metrics *total, const struct metrics *m, bool counters)
{
	for (size_t k = 0; k < METRICS_RULES_MAX; k++) {
		struct metrics_queue values = m->queues[k];

		for (size_t i = 0; i < QUEUE_TABLE_N; i++) {
			const struct queue_metric *row = &queue_table[i];
			uint64_t *sum = queue_value(&total->queues[k], row);
			uint64_t value = *queue_value(&values, row);

			if (row->kind == COUNTER || (row->kind == GAUGE && !counters))
				*sum += value;
			else if (!counters && value > *sum)
				*sum = value;
		}
	}
}

void metrics_total_add(struct metrics *total, const struct metrics *m)
{
	for (size_t i = 0; i < TABLE_N; i++)
		add_row(total, m, &table[i]);
	add_queues(total, m, false);
}

void metrics_total_add_counters(struct metrics *total, const struct metrics *m)
{
	for (size_t i = 0; i < TABLE_N; i++) {
		if (counts(&table[i]))
			add_row(total, m, &table[i]);
	}
	add_queues(total, m, true);
}

void metrics_total_end(struct metrics *total)
{
	for (size_t i = 0; i < TABLE_N; i++) {
		if (kinds[table[i].kind].total == SMALLEST &&
		    value_of(total, &table[i]) == UINT64_MAX)
			set_value(total, &table[i], 0);
	}
}

/* --- the reference --- */

static const char *total_name(const struct metric *row)
{
	switch (kinds[row->kind].total) {
	case LARGEST:
		return "largest";
	case SMALLEST:
		return "smallest";
	case ADD:
		break;
	}
	return "sum";
}

/* As it stands in the exposition. */
static void reference_label(struct buf *out, const struct metric *row)
{
	if (row->kind == BUCKET)
		buf_printf(out, "`le=\"%s\"`", row->label);
	else
		buf_printf(out, "`%s`", row->label);
}

void metrics_reference(struct buf *out)
{
	buf_str(out, "# Metrics\n\n"
		     "Served as Prometheus reads them (text format 0.0.4) at `/metrics` "
		     "on the\n"
		     "listener `opsListen`. Counters begin at 0 when a node starts; "
		     "gauges tell\n"
		     "what is now. All are of one node: sum them over the nodes. "
		     "With `workers`, the\n"
		     "supervisor makes one of them all, as the column says; counters "
		     "of workers that\n"
		     "are gone go on counting. Its numbers are at most a second old."
		     "\n\n"
		     "| metric | kind | of workers | labels | meaning |\n"
		     "| --- | --- | --- | --- | --- |\n");
	for (size_t i = 0; i < TABLE_N; i++) {
		if (!begins_name(i))
			continue;
		buf_printf(out, "| `%s` | %s | %s | ", table[i].name,
			   kinds[table[i].kind].type, total_name(&table[i]));
		for (size_t j = i; j == i || (j < TABLE_N && !begins_name(j)); j++) {
			if (!*table[j].label)
				continue;
			buf_str(out, j == i ? "" : "<br>");
			reference_label(out, &table[j]);
		}
		buf_printf(out, " | %s |\n", table[i].help);
	}
	for (size_t i = 0; i < QUEUE_TABLE_N; i++)
		buf_printf(out, "| `%s` | %s | %s | `namespace`, `rule` | %s |\n",
			   queue_table[i].name, kinds[queue_table[i].kind].type,
			   kinds[queue_table[i].kind].total == LARGEST ? "largest"
								       : "sum",
			   queue_table[i].help);
	buf_printf(out, "| `%s` | gauge | one | `version`, `adapter`, `node` | %s |\n",
		   build_info, build_info_help);
}
