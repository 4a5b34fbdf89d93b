#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gateway/config_yaml.h"
#include "gateway/text.h"
#include "proto/mem.h"

enum { FILE_BYTES_MAX = 1 << 20, PAIRS_MAX = 1000, SPENT_MAX = 100000 };

static void load_document(struct config_file *f, struct slice text);
static void parser_error(struct config_file *f, const yaml_parser_t *parser,
			 struct slice text);
static void settings_set(struct config_file *f, size_t name, const yaml_node_t *key,
			 const yaml_node_t *value, void *object);

const char *config_file_read(const char *path, size_t max, struct buf *out)
{
	const size_t before = out->n;
	const char *wrong = NULL;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return strerror(errno);
	for (;;) {
		size_t have = out->n - before;
		ssize_t n = read(fd, buf_reserve(out, max + 1 - have), max + 1 - have);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			wrong = strerror(errno);
		if (n <= 0)
			break;
		buf_commit(out, (size_t)n);
		if (out->n - before > max) {
			wrong = "it is too large";
			break;
		}
	}
	close(fd);
	if (wrong)
		out->n = before;
	return wrong;
}

void config_file_load(struct config_load *l, const char *path)
{
	struct config_file f = {.l = l};
	struct buf text = BUF_INIT;
	const char *wrong = config_file_read(path, FILE_BYTES_MAX, &text);
	const char *name = config_name(path);

	free(l->file);
	l->file = mem_strndup(name, strlen(name));
	f.name = l->file;
	l->file_lost = wrong != NULL;
	if (wrong)
		config_error(l, l->file, "cannot be read: %s", wrong);
	else
		load_document(&f, slice_of(buf_cstr(&text), text.n));
	buf_deinit(&text);
}

static void load_root(struct config_file *f)
{
	const char *names[SETTINGS_N + 1];
	const struct file_keys keys = {"a setting", names, SETTINGS_N + 1, settings_set};
	const yaml_node_t *root = yaml_document_get_root_node(&f->doc);

	for (size_t i = 0; i < SETTINGS_N; i++)
		names[i] = settings[i].key;
	names[SETTINGS_N] = "namespaces";
	if (!root)
		config_error(f->l, f->name,
			     "holds no settings; write some, such as \"listen: "
			     "127.0.0.1:3000\", or leave the file away");
	else
		file_mapping(f, root, f->name, &keys, NULL);
}

static void load_document(struct config_file *f, struct slice text)
{
	yaml_parser_t parser;
	yaml_document_t second;

	if (!yaml_parser_initialize(&parser))
		abort(); /* out of memory */
	yaml_parser_set_input_string(&parser, text.p, text.n);
	if (!yaml_parser_load(&parser, &f->doc)) {
		parser_error(f, &parser, text);
		yaml_parser_delete(&parser);
		return;
	}
	load_root(f);
	if (yaml_document_get_root_node(&f->doc)) {
		if (!yaml_parser_load(&parser, &second)) {
			parser_error(f, &parser, text);
		} else {
			const yaml_node_t *root = yaml_document_get_root_node(&second);

			if (root)
				file_error_at(f, root, NULL,
					      "a second document begins; write all in "
					      "one, without lines of ---");
			yaml_document_delete(&second);
		}
	}
	yaml_document_delete(&f->doc);
	yaml_parser_delete(&parser);
}

/* Is there a tab among the blanks that line `number` (from 0) begins with? */
static bool line_has_tab(struct slice text, size_t number)
{
	while (number > 0 && text.n) {
		const uint8_t *end = memchr(text.p, '\n', text.n);

		text = slice_skip(text, end ? (size_t)(end - text.p) + 1 : text.n);
		number--;
	}
	for (size_t i = 0; i < text.n && strchr(" \t", text.p[i]) && text.p[i]; i++) {
		if (text.p[i] == '\t')
			return true;
	}
	return false;
}

static void parser_error(struct config_file *f, const yaml_parser_t *parser,
			 struct slice text)
{
	const char *problem = parser->problem ? parser->problem : "malformed";
	size_t line = parser->problem_mark.line;
	char *where = NULL;

	f->l->file_lost = true;
	if (parser->error == YAML_READER_ERROR) {
		config_error(f->l, f->name, "is not YAML: %s, at byte %zu", problem,
			     parser->problem_offset);
		return;
	}
	if (asprintf(&where, "%s:%zu", f->name, line + 1) < 0)
		abort();
	if (line_has_tab(text, line))
		config_error(f->l, where,
			     "the line begins with a tab; YAML wants spaces there");
	else if (parser->context)
		config_error(f->l, where, "is not YAML: %s, %s (begun in line %zu)",
			     problem, parser->context, parser->context_mark.line + 1);
	else
		config_error(f->l, where, "is not YAML: %s", problem);
	free(where);
}

static void settings_set(struct config_file *f, size_t name, const yaml_node_t *key,
			 const yaml_node_t *value, void *object)
{
	struct str_list values = {NULL, 0};
	const struct setting *s;
	bool good;

	(void)object;
	if (name == SETTINGS_N) {
		file_namespaces(f, key, value);
		return;
	}
	s = &settings[name];
	if (s->type == SETTING_LIST) {
		good = file_strings(f, key, value, &values);
	} else {
		const char *text = file_scalar(f, key, value, "one value");

		good = text != NULL;
		if (text)
			str_list_add(&values, slice_str(text));
	}
	if (good) {
		char *where = file_where(f, key);

		setting_set(f->l, s, SOURCE_FILE, where, &values);
		free(where);
	} else {
		f->l->given[name].wrong = true;
	}
	str_list_deinit(&values);
}

/* ---- walking ---- */

const yaml_node_t *file_node(struct config_file *f, int id)
{
	const yaml_node_t *node = yaml_document_get_node(&f->doc, id);

	assert(node);
	return node;
}

size_t file_line(const yaml_node_t *node)
{
	return node->start_mark.line + 1;
}

static const char *text_of(const yaml_node_t *scalar)
{
	return (const char *)scalar->data.scalar.value;
}

char *file_where(const struct config_file *f, const yaml_node_t *key)
{
	char *where = NULL;

	if (asprintf(&where, "%s:%zu: %s", f->name, file_line(key), text_of(key)) < 0)
		abort();
	return where;
}

void file_error(struct config_file *f, const yaml_node_t *key, const char *fmt, ...)
{
	char *where = file_where(f, key), *text = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	assert(n >= 0);
	config_error(f->l, where, "%s", text);
	free(text);
	free(where);
}

void file_error_at(struct config_file *f, const yaml_node_t *node, const char *what,
		   const char *fmt, ...)
{
	char *where = NULL, *text = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	assert(n >= 0);
	n = asprintf(&where, what ? "%s:%zu: %s" : "%s:%zu", f->name, file_line(node),
		     what);
	assert(n >= 0);
	config_error(f->l, where, "%s", text);
	free(text);
	free(where);
}

bool file_spend(struct config_file *f)
{
	if (f->spent > SPENT_MAX)
		return false;
	if (++f->spent <= SPENT_MAX)
		return true;
	config_error(f->l, f->name,
		     "holds too much; more than %d values, aliases counted "
		     "as often as they are used",
		     SPENT_MAX);
	return false;
}

static const char *kind_of(const yaml_node_t *node)
{
	switch (node->type) {
	case YAML_SEQUENCE_NODE:
		return "a list";
	case YAML_MAPPING_NODE:
		return "a mapping";
	case YAML_SCALAR_NODE:
	case YAML_NO_NODE:
		break;
	}
	return "one value";
}

static bool is_null(const yaml_node_t *node)
{
	return node->type == YAML_SCALAR_NODE &&
	       node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
	       (!*text_of(node) || strcmp(text_of(node), "~") == 0 ||
		strcmp(text_of(node), "null") == 0);
}

const char *file_scalar(struct config_file *f, const yaml_node_t *key,
			const yaml_node_t *value, const char *want)
{
	if (value->type != YAML_SCALAR_NODE) {
		file_error(f, key, "is %s; write %s", kind_of(value), want);
		return NULL;
	}
	if (is_null(value)) {
		file_error(f, key, "has no value; write one, or leave the line away");
		return NULL;
	}
	if (strlen(text_of(value)) != value->data.scalar.length) {
		file_error(f, key, "holds a NUL character");
		return NULL;
	}
	return text_of(value);
}

bool file_strings(struct config_file *f, const yaml_node_t *key, const yaml_node_t *value,
		  struct str_list *out)
{
	const yaml_node_item_t *item;
	bool good = true;

	if (value->type != YAML_SEQUENCE_NODE) {
		const char *text = file_scalar(f, key, value, "a list or one value");

		if (text && *text)
			str_list_add(out, slice_str(text));
		return text != NULL;
	}
	for (item = value->data.sequence.items.start;
	     item < value->data.sequence.items.top; item++) {
		const char *text;

		if (!file_spend(f))
			return false;
		text = file_scalar(f, key, file_node(f, *item),
				   "a list of single values");
		if (text)
			str_list_add(out, slice_str(text));
		good = good && text;
	}
	return good;
}

/* The earlier key of the same name, or NULL. */
static const yaml_node_t *earlier(struct config_file *f, const yaml_node_t *map,
				  const yaml_node_pair_t *pair)
{
	const yaml_node_t *key = file_node(f, pair->key);
	const yaml_node_pair_t *p;

	for (p = map->data.mapping.pairs.start; p < pair; p++) {
		const yaml_node_t *other = file_node(f, p->key);

		if (other->type == YAML_SCALAR_NODE &&
		    strcmp(text_of(other), text_of(key)) == 0)
			return other;
	}
	return NULL;
}

static void unknown_key(struct config_file *f, const yaml_node_t *key,
			const struct file_keys *keys)
{
	const char *text = text_of(key), *nearest;

	if (strcmp(text, "dev") == 0) {
		file_error_at(f, key, "dev",
			      "belongs on the command line, as --dev, or "
			      "in the environment, as GATEHOUSE_DEV=1");
		return;
	}
	if (strcmp(text, "<<") == 0) {
		file_error_at(f, key, "<<",
			      "merge keys are not supported; write the keys "
			      "out, or alias whole values");
		return;
	}
	nearest = config_nearest(text, keys->names, keys->n);
	if (nearest)
		file_error_at(f, key, NULL, "%s is not %s; did you mean %s?",
			      config_shown(text), keys->what, nearest);
	else
		file_error_at(f, key, NULL, "%s is not %s", config_shown(text),
			      keys->what);
}

static void mapping_pair(struct config_file *f, const yaml_node_t *map,
			 const yaml_node_pair_t *pair, const struct file_keys *keys,
			 void *object)
{
	const yaml_node_t *key = file_node(f, pair->key), *twin;

	if (key->type != YAML_SCALAR_NODE) {
		file_error_at(f, key, NULL, "%s stands where the name of %s belongs",
			      kind_of(key), keys->what);
		return;
	}
	twin = earlier(f, map, pair);
	if (twin) {
		file_error_at(f, key, NULL, "%s was given in line %zu already",
			      config_shown(text_of(key)), file_line(twin));
		return;
	}
	for (size_t i = 0; i < keys->n; i++) {
		if (strcmp(keys->names[i], text_of(key)) == 0) {
			keys->set(f, i, key, file_node(f, pair->value), object);
			return;
		}
	}
	unknown_key(f, key, keys);
}

void file_mapping(struct config_file *f, const yaml_node_t *map, const char *name,
		  const struct file_keys *keys, void *object)
{
	const yaml_node_pair_t *pair;

	if (map->type != YAML_MAPPING_NODE) {
		file_error_at(f, map,
			      map == yaml_document_get_root_node(&f->doc) ? NULL : name,
			      "%s stands where lines of KEY: VALUE belong", kind_of(map));
		return;
	}
	if (map->data.mapping.pairs.top - map->data.mapping.pairs.start > PAIRS_MAX) {
		file_error_at(f, map, NULL, "more than %d keys", PAIRS_MAX);
		return;
	}
	for (pair = map->data.mapping.pairs.start; pair < map->data.mapping.pairs.top;
	     pair++) {
		if (!file_spend(f))
			return;
		mapping_pair(f, map, pair, keys, object);
	}
}
