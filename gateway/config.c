#include "gateway/config.h"

#include <assert.h>
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "gateway/config_parts.h"
#include "proto/mem.h"

const struct setting settings[SETTINGS_N] = {
#define SETTING_ROW_(type, field, key, unit, min, max, def, dev, help)                   \
	{SETTING_##type,                                                                 \
	 UNIT_##unit,                                                                    \
	 offsetof(struct config, field),                                                 \
	 key,                                                                            \
	 min,                                                                            \
	 max,                                                                            \
	 def,                                                                            \
	 dev,                                                                            \
	 help},
	SETTINGS_TABLE(SETTING_ROW_)
#undef SETTING_ROW_
};

static void set_scalar(struct config_load *l, const struct setting *s,
		       enum config_source source, const char *where, const char *value);
static void set_defaults(struct config_load *l);
static void set_env(struct config_load *l, const struct config_command *cmd);
static void set_flags(struct config_load *l, const struct config_command *cmd);
static void load_deinit(struct config_load *l, struct config_command *cmd);

/* From the weakest source to the strongest. */
static void set_all(struct config_load *l, const struct config_command *cmd)
{
	l->c->dev = cmd->dev;
	set_defaults(l);
	if (cmd->file)
		config_file_load(l, cmd->file);
	set_env(l, cmd);
	set_flags(l, cmd);
}

enum config_result config_load(struct config *c, int argc, char *const *argv,
			       char *const *env, const char *const *app_names,
			       struct buf *out, struct buf *errors)
{
	struct config_load l = {.c = c, .errors = errors, .app_names = app_names};
	struct config_command cmd = {0};
	enum config_result result = CONFIG_DONE;
	size_t errors_before = errors->n;

	*c = (struct config){0};
	config_read_flags(&l, argc, argv, &cmd);
	if (cmd.help) {
		errors->n = errors_before;
		config_help(out);
	} else if (cmd.version) {
		errors->n = errors_before;
		config_version(out);
	} else {
		config_read_env(&l, env, &cmd);
		set_all(&l, &cmd);
		if (!l.file_lost) /* else what it holds would count as not set */
			config_check(&l);
		if (errors->n > errors_before)
			result = CONFIG_WRONG;
		else if (cmd.check)
			config_summary(&l, out);
		else
			result = CONFIG_RUN;
	}
	load_deinit(&l, &cmd);
	return result;
}

enum err config_load_redis(struct config *c, int argc, char *const *argv,
			   char *const *env, const char *const *app_names,
			   struct buf *errors)
{
	struct config_load l = {.c = c, .errors = errors, .app_names = app_names};
	struct config_command cmd = {0};
	size_t errors_before = errors->n;

	*c = (struct config){0};
	config_read_flags(&l, argc, argv, &cmd);
	config_read_env(&l, env, &cmd);
	set_all(&l, &cmd);
	if (!l.file_lost)
		config_check_redis(&l);
	if (!l.file_lost && !c->redis && errors->n == errors_before)
		config_error(&l, "redis",
			     "is not set; write --redis redis://HOST:6379, or --config "
			     "with the file of a node");
	load_deinit(&l, &cmd);
	return errors->n > errors_before ? ERR_SYNTAX : ERR_OK;
}

static void secret_free(char *secret)
{
	if (secret)
		explicit_bzero(secret, strlen(secret));
	free(secret);
}

static void names_deinit(struct policy_names *names, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		for (size_t j = 0; j < names[i].n; j++)
			free(names[i].patterns[j]);
		free(names[i].patterns);
	}
}

static void namespace_deinit(struct config_namespace *ns)
{
	for (size_t i = 0; i < ns->rooms_n; i++) {
		struct policy_room *room = &ns->rooms[i];

		for (size_t j = 0; j < room->events_n; j++)
			free(room->events[j]);
		free(room->events);
		names_deinit(room->named, POLICY_ACTIONS);
		free(room->match);
	}
	free(ns->rooms);
	for (size_t i = 0; i < ns->queues_n; i++) {
		names_deinit(ns->queues[i].named, POLICY_QUEUE_ACTIONS);
		free(ns->queues[i].match);
	}
	free(ns->queues);
	str_list_deinit(&ns->apps);
	free(ns->name);
}

void config_deinit(struct config *c)
{
	const size_t listen_n = c->listen.n;

	for (size_t i = 0; i < SETTINGS_N; i++) {
		void *field = (char *)c + settings[i].offset;

		switch (settings[i].type) {
		case SETTING_STR:
			free(*(char **)field);
			break;
		case SETTING_SECRET:
			secret_free(*(char **)field);
			break;
		case SETTING_LIST:
			str_list_deinit(field);
			break;
		case SETTING_BOOL:
		case SETTING_INT:
			break;
		}
	}
	for (size_t i = 0; i < c->namespaces_n; i++)
		namespace_deinit(&c->namespaces[i]);
	free(c->namespaces);
	config_redis_deinit(&c->redis_at);
	for (size_t i = 0; c->listen_at && i < listen_n; i++)
		config_listen_deinit(&c->listen_at[i]);
	free(c->listen_at);
	config_listen_deinit(&c->ops_at);
	free(c->trusted);
	if (c->jwt_key)
		explicit_bzero(c->jwt_key, c->jwt_key_n);
	free(c->jwt_key);
	*c = (struct config){0};
}

void str_list_add(struct str_list *list, struct slice s)
{
	list->v = mem_realloc(list->v, (list->n + 1) * sizeof(*list->v));
	list->v[list->n++] = mem_strndup(s.p, s.n);
}

void str_list_deinit(struct str_list *list)
{
	for (size_t i = 0; i < list->n; i++)
		free(list->v[i]);
	free(list->v);
	*list = (struct str_list){NULL, 0};
}

void config_error(struct config_load *l, const char *where, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	assert(n >= 0);
	buf_printf(l->errors, "%s: %s\n", where, text);
	free(text);
}

const struct setting *setting_find(const char *key)
{
	for (size_t i = 0; i < SETTINGS_N; i++) {
		if (strcmp(settings[i].key, key) == 0)
			return &settings[i];
	}
	return NULL;
}

/* pingInterval with `prefix` before it and `joint` between its words. */
static void setting_name(const char *prefix, const char *key, char joint, bool upper,
			 char name[static SETTING_NAME_MAX])
{
	size_t n = strlen(prefix);

	memcpy(name, prefix, n);
	for (; *key; key++) {
		unsigned char c = (unsigned char)*key;

		assert(n + 3 < SETTING_NAME_MAX);
		/* allowEIO3 is --allow-eio3. */
		if (isupper(c) && !isupper((unsigned char)key[-1]))
			name[n++] = joint;
		name[n++] = (char)(upper ? toupper(c) : tolower(c));
	}
	name[n] = '\0';
}

void setting_flag(const struct setting *s, char name[static SETTING_NAME_MAX])
{
	setting_name("--", s->key, '-', false, name);
}

void setting_env(const struct setting *s, char name[static SETTING_NAME_MAX])
{
	setting_name(CONFIG_ENV_PREFIX, s->key, '_', true, name);
}

const char *setting_where(const struct config_load *l, const char *key)
{
	const struct setting *s = setting_find(key);

	assert(s);
	return l->given[SETTING_INDEX(s)].where ? l->given[SETTING_INDEX(s)].where : key;
}

static void set_flags(struct config_load *l, const struct config_command *cmd)
{
	for (size_t i = 0; i < SETTINGS_N; i++) {
		char name[SETTING_NAME_MAX];

		setting_flag(&settings[i], name);
		if (!cmd->flags[i])
			continue;
		if (settings[i].type == SETTING_LIST)
			setting_set(l, &settings[i], SOURCE_FLAG, name,
				    &cmd->flag_lists[i]);
		else
			set_scalar(l, &settings[i], SOURCE_FLAG, name, cmd->flags[i]);
	}
}

static void set_env(struct config_load *l, const struct config_command *cmd)
{
	for (size_t i = 0; i < SETTINGS_N; i++) {
		char name[SETTING_NAME_MAX];

		setting_env(&settings[i], name);
		if (cmd->env[i])
			set_scalar(l, &settings[i], SOURCE_ENV, name, cmd->env[i]);
	}
}

/* From text outside the file, where a list is separated by commas. */
static void set_scalar(struct config_load *l, const struct setting *s,
		       enum config_source source, const char *where, const char *value)
{
	struct str_list list = {NULL, 0};

	if (s->type == SETTING_LIST)
		setting_split(&list, value);
	else
		str_list_add(&list, slice_str(value));
	setting_set(l, s, source, where, &list);
	str_list_deinit(&list);
}

static void set_defaults(struct config_load *l)
{
	for (size_t i = 0; i < SETTINGS_N; i++)
		set_scalar(l, &settings[i], SOURCE_DEFAULT, settings[i].key,
			   setting_default(&settings[i], l->c->dev));
}

static void load_deinit(struct config_load *l, struct config_command *cmd)
{
	for (size_t i = 0; i < SETTINGS_N; i++) {
		free(l->given[i].where);
		str_list_deinit(&cmd->flag_lists[i]);
	}
	str_list_deinit(&l->auth_where);
	free(l->file);
}

static bool list_has(const struct str_list *list, struct slice what)
{
	for (size_t i = 0; i < list->n; i++) {
		if (slice_eq(slice_str(list->v[i]), what))
			return true;
	}
	return false;
}

bool config_has_origin(const struct config *c, struct slice origin)
{
	return list_has(&c->origins, origin);
}

bool config_has_transport(const struct config *c, enum eio_transport transport)
{
	switch (transport) {
	case EIO_POLLING:
		return list_has(&c->transports, SLICE_LIT("polling"));
	case EIO_WEBSOCKET:
		return list_has(&c->transports, SLICE_LIT("websocket"));
	case EIO_TRANSPORT_UNKNOWN:
		break;
	}
	return false;
}
