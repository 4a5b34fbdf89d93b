#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/config_yaml.h"
#include "proto/mem.h"

/* As settings, though they are no members of struct config: `offset` is in struct
 * policy_queue. */
static const struct setting numbers[] = {
#define QUEUE_ROW_(field, key, unit, min, max, def, help)                                \
	{SETTING_INT, UNIT_##unit, offsetof(struct policy_queue, field),                 \
	 key,	      min,	   max,                                                  \
	 def,	      NULL,	   help},
	POLICY_QUEUE_TABLE(QUEUE_ROW_)
#undef QUEUE_ROW_
};

enum { NUMBERS_N = sizeof(numbers) / sizeof(numbers[0]) };
enum { QUEUE_MATCH, QUEUE_PUSH_BY, QUEUE_CONSUME_BY, QUEUE_NUMBERS };

static const char *const keys[QUEUE_NUMBERS + NUMBERS_N] = {"match", "push", "consume",
#define QUEUE_KEY_(field, key, unit, min, max, def, help) key,
							    POLICY_QUEUE_TABLE(QUEUE_KEY_)
#undef QUEUE_KEY_
};

static const char *const who_words[] = {"nobody", "users", "anybody"};
static const enum policy_who who[] = {POLICY_NOBODY, POLICY_USERS, POLICY_ANYBODY};

static uint64_t *field_of(struct policy_queue *rule, const struct setting *s)
{
	return (uint64_t *)(void *)((char *)rule + s->offset);
}

void config_queue_defaults(struct policy_queue *rule)
{
	struct config_load none = {0};

	*rule = (struct policy_queue){0};
	for (size_t i = 0; i < NUMBERS_N; i++) {
		bool good = setting_int(&none, &numbers[i], "", numbers[i].def,
					field_of(rule, &numbers[i]));

		assert(good);
		(void)good;
	}
}

static void set(struct config_file *f, size_t name, const yaml_node_t *key,
		const yaml_node_t *value, void *object)
{
	struct policy_queue *rule = object;
	enum policy_queue_action action;
	const struct setting *s;
	const char *text;
	size_t which = 0;
	char *where;

	if (name == QUEUE_MATCH) {
		rule->match = file_pattern(f, key, value, "queue");
		return;
	}
	if (name < QUEUE_NUMBERS) {
		action = name == QUEUE_PUSH_BY ? POLICY_PUSH : POLICY_CONSUME;
		if (file_who(f, key, value, who_words, 3, &which, &rule->named[action]))
			rule->may[action] = who[which];
		return;
	}
	s = &numbers[name - QUEUE_NUMBERS];
	text = file_scalar(f, key, value, "one value");
	if (!text)
		return;
	where = file_where(f, key);
	setting_int(f->l, s, where, text, field_of(rule, s));
	free(where);
}

static void read_queue(struct config_file *f, const yaml_node_t *key,
		       const yaml_node_t *value, struct config_namespace *ns)
{
	static const struct file_keys all = {"a key of a rule for queues", keys,
					     QUEUE_NUMBERS + NUMBERS_N, set};
	struct policy_queue *rule;

	ns->queues = mem_realloc(ns->queues, (ns->queues_n + 1) * sizeof(*ns->queues));
	rule = &ns->queues[ns->queues_n++];
	config_queue_defaults(rule);
	file_mapping(f, value, "queues", &all, rule);
	if (value->type == YAML_MAPPING_NODE && !rule->match)
		file_error_at(f, value, (const char *)key->data.scalar.value,
			      "a rule has no match; write the queues it is for, such as "
			      "match: \"jobs:*\"");
	if (rule->backoff_ms > rule->backoff_ms_max)
		file_error_at(f, value, (const char *)key->data.scalar.value,
			      "backoff is longer than backoffMax");
	for (size_t i = 0; rule->match && i + 1 < ns->queues_n; i++) {
		if (strcmp(ns->queues[i].match, rule->match) == 0)
			file_error_at(
				f, value, (const char *)key->data.scalar.value,
				"an earlier rule matches %s too, and the first that "
				"matches decides",
				config_shown(rule->match));
	}
	if (!rule->match) /* reported; no NULL for those who look at the others */
		rule->match = mem_strndup("", 0);
}

void file_queues(struct config_file *f, const yaml_node_t *key, const yaml_node_t *value,
		 struct config_namespace *ns)
{
	const yaml_node_item_t *item;

	if (value->type != YAML_SEQUENCE_NODE) {
		file_error(f, key, "is no list; write \"- match: …\" and so on below it");
		return;
	}
	for (item = value->data.sequence.items.start;
	     item < value->data.sequence.items.top; item++) {
		if (!file_spend(f))
			return;
		read_queue(f, key, file_node(f, *item), ns);
	}
}

void config_queues_reference(struct buf *out)
{
	buf_str(out,
		"\n"
		"| key of a rule for queues | value |\n"
		"| --- | --- |\n"
		"| `match` | The queues it is for, as of a rule for rooms; required |\n"
		"| `push` | Who may push: `nobody`, `users`, also with names (`users "
		"vendor.*`), or `anybody`. Default: `nobody` |\n"
		"| `consume` | Who may consume, likewise. Default: `nobody` |\n");
	for (size_t i = 0; i < NUMBERS_N; i++) {
		buf_printf(out, "| `%s` | %s. ", numbers[i].key, numbers[i].help);
		setting_bounds(out, &numbers[i]);
		buf_printf(out, ". Default: `%s` |\n", numbers[i].def);
	}
}
