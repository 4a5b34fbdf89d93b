#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "gateway/config_parts.h"
#include "proto/mem.h"

/* The flags that are no settings. */
static const char *const other_flags[] = {"--config",	    "--dev",  "--no-dev",
					  "--check-config", "--help", "--version"};
enum { OTHER_FLAGS_N = sizeof(other_flags) / sizeof(other_flags[0]) };

/* One flag, with what may follow it. */
struct flag {
	char name[SETTING_NAME_MAX]; /* up to its '=' */
	const char *value;	     /* NULL: none */
	bool attached;		     /* as --name=value */
};

/* What other servers call the place where they listen. */
static bool says_where(const char *flag)
{
	static const char *const names[] = {"--port", "-p", "--host", "--bind",
					    "--address"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(flag, names[i]) == 0)
			return true;
	}
	return false;
}

static void unknown_flag(struct config_load *l, const char *name)
{
	char names[SETTINGS_N][SETTING_NAME_MAX];
	const char *all[SETTINGS_N + OTHER_FLAGS_N], *nearest;

	if (strcmp(name, "--probe") ==
	    0) { /* probe.h: it is looked for before all this */
		config_error(l, name, "must come first, with a URL and nothing else");
		return;
	}
	l->unknown = true;
	for (size_t i = 0; i < SETTINGS_N; i++) {
		setting_flag(&settings[i], names[i]);
		all[i] = names[i];
	}
	memcpy(all + SETTINGS_N, other_flags, sizeof(other_flags));
	nearest = says_where(name)
			  ? "--listen"
			  : config_nearest(name, all, SETTINGS_N + OTHER_FLAGS_N);
	if (nearest)
		config_error(l, config_name(name), "no such flag; did you mean %s?",
			     nearest);
	else
		config_error(l, config_name(name), "no such flag; --help lists them all");
}

/* The setting of a flag. `off`: it came as --no-NAME, which only a BOOL has. */
static const struct setting *flag_setting(const char *name, bool *off)
{
	for (size_t i = 0; i < SETTINGS_N; i++) {
		char flag[SETTING_NAME_MAX];

		setting_flag(&settings[i], flag);
		*off = strncmp(name, "--no-", 5) == 0 &&
		       settings[i].type == SETTING_BOOL &&
		       strcmp(name + 5, flag + 2) == 0;
		if (*off || strcmp(name, flag) == 0)
			return &settings[i];
	}
	return NULL;
}

static bool flag_other(struct config_load *l, struct flag *f, struct config_command *cmd,
		       bool *took_next)
{
	bool *const switches[OTHER_FLAGS_N] = {NULL,	    &cmd->dev,	&cmd->dev,
					       &cmd->check, &cmd->help, &cmd->version};

	if (strcmp(f->name, "--config") == 0) {
		if (!f->value || !*f->value)
			config_error(l, f->name, "needs the name of a YAML file");
		else
			cmd->file = f->value;
		*took_next = f->value && !f->attached;
		return true;
	}
	for (size_t i = 1; i < OTHER_FLAGS_N; i++) {
		if (strcmp(f->name, other_flags[i]) != 0)
			continue;
		if (f->attached)
			config_error(l, f->name, "takes no value");
		*switches[i] = strcmp(f->name, "--no-dev") != 0;
		if (switches[i] == &cmd->dev)
			cmd->dev_given = true;
		return true;
	}
	return false;
}

/* Returns whether it took the argument behind it. */
static bool flag_take(struct config_load *l, struct flag *f, struct config_command *cmd)
{
	bool off, took_next = false, ignored;
	const struct setting *s;

	if (flag_other(l, f, cmd, &took_next))
		return took_next;
	s = flag_setting(f->name, &off);
	if (!s) {
		unknown_flag(l, f->name);
		/* Its value, which would be taken for another mistake. */
		return f->value && !f->attached;
	}
	if (off) {
		if (f->attached)
			config_error(l, f->name, "takes no value");
		cmd->flags[SETTING_INDEX(s)] = "false";
		return false;
	}
	if (s->type == SETTING_BOOL && !f->attached &&
	    !(f->value && setting_bool(f->value, &ignored))) {
		cmd->flags[SETTING_INDEX(s)] = "true";
		return false;
	}
	if (!f->value) {
		config_error(l, f->name, "needs a value: %s", s->help);
		return false;
	}
	cmd->flags[SETTING_INDEX(s)] = f->value;
	if (s->type == SETTING_LIST)
		setting_split(&cmd->flag_lists[SETTING_INDEX(s)], f->value);
	return !f->attached;
}

static bool is_flag(const char *arg)
{
	return strncmp(arg, "--", 2) == 0 || strcmp(arg, "-h") == 0;
}

void config_read_flags(struct config_load *l, int argc, char *const *argv,
		       struct config_command *cmd)
{
	for (int i = 1; i < argc; i++) {
		const char *arg = strcmp(argv[i], "-h") == 0 ? "--help" : argv[i];
		struct flag f = {0};
		size_t n = strcspn(arg, "=");

		if (arg[0] != '-' || arg[1] == '\0') {
			/* Not shown: it may be a secret that lost its flag. */
			char where[32];

			snprintf(where, sizeof(where), "argument %d", i);
			if (i == 1)
				config_error(l, where,
					     "is no command; there are emit, queue and "
					     "bench, and flags, which begin with --");
			else
				config_error(l, where,
					     "is no flag, nor the value of one; flags "
					     "begin with --, --help lists them all");
			continue;
		}
		snprintf(f.name, sizeof(f.name), "%.*s", n < 60 ? (int)n : 60, arg);
		f.attached = arg[n] == '=';
		if (f.attached)
			f.value = arg + n + 1;
		else if (i + 1 < argc && !is_flag(argv[i + 1]))
			f.value = argv[i + 1];
		if (flag_take(l, &f, cmd))
			i++;
	}
}

/* Kubernetes describes every service NAME of a namespace to its containers as
 * NAME_SERVICE_HOST, NAME_PORT=tcp://… and so on. One named gatehouse, or
 * gatehouse-redis, must not stop the node. */
static bool is_service_link(const char *name, const char *value)
{
	static const char *const marks[] = {"_SERVICE_HOST", "_SERVICE_PORT"};
	const char *port = strstr(name, "_PORT_");
	size_t n = strlen(name);

	for (size_t i = 0; i < 2; i++) {
		if (strstr(name, marks[i]))
			return true;
	}
	if (n > 5 && strcmp(name + n - 5, "_PORT") == 0)
		return strstr(value, "://") != NULL;
	return port && isdigit((unsigned char)port[6]);
}

static void unknown_variable(struct config_load *l, const char *name)
{
	char names[SETTINGS_N][SETTING_NAME_MAX];
	const char *all[SETTINGS_N + 2], *nearest;
	char shown[SETTING_NAME_MAX];

	for (size_t i = 0; i < SETTINGS_N; i++) {
		setting_env(&settings[i], names[i]);
		all[i] = names[i];
	}
	l->unknown = true;
	all[SETTINGS_N] = "GATEHOUSE_CONFIG";
	all[SETTINGS_N + 1] = "GATEHOUSE_DEV";
	snprintf(shown, sizeof(shown), "%s", name);
	nearest = config_nearest(name, all, SETTINGS_N + 2);
	if (nearest)
		config_error(l, config_name(shown), "no such setting; did you mean %s?",
			     nearest);
	else
		config_error(l, config_name(shown),
			     "no such setting; --help lists them all (variables that "
			     "begin with %s belong to this program)",
			     CONFIG_ENV_PREFIX);
}

static void read_variable(struct config_load *l, const char *name, const char *value,
			  struct config_command *cmd)
{
	bool dev = false;

	if (strcmp(name, "GATEHOUSE_CONFIG") == 0) {
		if (!cmd->file && *value)
			cmd->file = value;
		return;
	}
	if (strcmp(name, "GATEHOUSE_DEV") == 0) {
		if (*value && !setting_bool(value, &dev))
			config_error(l, name, "%s is neither true nor false",
				     config_shown(value));
		if (!cmd->dev_given)
			cmd->dev = dev;
		return;
	}
	for (size_t i = 0; i < SETTINGS_N; i++) {
		char known[SETTING_NAME_MAX];

		setting_env(&settings[i], known);
		if (strcmp(name, known) == 0) {
			cmd->env[i] = value;
			return;
		}
	}
	if (!is_service_link(name, value))
		unknown_variable(l, name);
}

void config_read_env(struct config_load *l, char *const *env, struct config_command *cmd)
{
	for (; env && *env; env++) {
		size_t n = strcspn(*env, "=");
		char *name;

		if (strncmp(*env, CONFIG_ENV_PREFIX, strlen(CONFIG_ENV_PREFIX)) != 0 ||
		    !(*env)[n])
			continue;
		name = mem_strndup(*env, n);
		read_variable(l, name, *env + n + 1, cmd);
		free(name);
	}
}
