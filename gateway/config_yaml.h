/* Walking the YAML document, shared by config_file.c (settings) and config_namespaces.c.
 * The document is libyaml's tree, in which an alias is the node it stands for: depth is
 * bounded by what is looked for, and file_spend bounds what aliases can multiply. */
#ifndef GATEHOUSE_GATEWAY_CONFIG_YAML_H
#define GATEHOUSE_GATEWAY_CONFIG_YAML_H

#include <yaml.h>

#include "gateway/config_parts.h"

struct config_file {
	struct config_load *l;
	const char *name;
	yaml_document_t doc;
	size_t spent;
};

/* The keys a mapping may have. `set` hears of each once, with its index in `names`. */
struct file_keys {
	const char *what; /* "a setting", "a key of a namespace" */
	const char *const *names;
	size_t n;
	void (*set)(struct config_file *f, size_t name, const yaml_node_t *key,
		    const yaml_node_t *value, void *object);
};

const yaml_node_t *file_node(struct config_file *f, int id);
/* Errors about the value of `key`, or at `node` under the name of `what`. */
void file_error(struct config_file *f, const yaml_node_t *key, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void file_error_at(struct config_file *f, const yaml_node_t *node, const char *what,
		   const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* "gatehouse.yaml:12: pingInterval", for free(). */
char *file_where(const struct config_file *f, const yaml_node_t *key);
size_t file_line(const yaml_node_t *node);

/* False: too many nodes were visited, which was reported once. */
bool file_spend(struct config_file *f);
/* The text of a scalar. NULL: another kind of value, or none; reported. `want` says what
 * belongs there: "one value". */
const char *file_scalar(struct config_file *f, const yaml_node_t *key,
			const yaml_node_t *value, const char *want);
/* Every pair of the mapping to keys->set. What is no mapping, unknown or doubled is
 * reported. */
void file_mapping(struct config_file *f, const yaml_node_t *map, const char *name,
		  const struct file_keys *keys, void *object);
/* A sequence of scalars, or one scalar. False: reported. */
bool file_strings(struct config_file *f, const yaml_node_t *key, const yaml_node_t *value,
		  struct str_list *out);

/* config_namespaces.c: the value of the key `namespaces`. */
void file_namespaces(struct config_file *f, const yaml_node_t *key,
		     const yaml_node_t *value);
/* Which of the words; false: none, reported. */
bool file_word(struct config_file *f, const yaml_node_t *key, const yaml_node_t *value,
	       const char *const *words, size_t n, size_t *which);
/* Likewise who may do something, where "users" may be followed by patterns of their
 * names. */
bool file_who(struct config_file *f, const yaml_node_t *key, const yaml_node_t *value,
	      const char *const *words, size_t n, size_t *which,
	      struct policy_names *names);
/* A pattern of names, for free(). NULL: reported. `what` it is to match: "room". */
char *file_pattern(struct config_file *f, const yaml_node_t *key,
		   const yaml_node_t *value, const char *what);

/* config_queues.c: the value of the key `queues` of a namespace. */
void file_queues(struct config_file *f, const yaml_node_t *key, const yaml_node_t *value,
		 struct config_namespace *ns);

#endif
