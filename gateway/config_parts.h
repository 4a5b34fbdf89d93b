/* Between the files that read the configuration, and for no other:
 *   config.c          the order of sources
 *   config_args.c     flags and environment
 *   config_file.c     the YAML file
 *   config_namespaces.c  the part of it that is no setting
 *   config_queues.c  rules for queues in it
 *   config_value.c    text to value and back, setting by setting
 *   config_words.c    words for errors
 *   config_listen.c   addresses to listen on
 *   config_redis.c    the Redis URL
 *   config_check.c    what only the whole shows: secrets, what contradicts what
 *   config_help.c     --help, --version and --check-config
 *   config_reference.c  the reference page
 *
 * Every mistake becomes one line of config_load.errors and reading goes on, so that one
 * run shows them all. `where` is how a line begins: "gatehouse.yaml:12: pingInterval",
 * "GATEHOUSE_PING_INTERVAL" or "--ping-interval". What a SECRET holds is in no line. */
#ifndef GATEHOUSE_GATEWAY_CONFIG_PARTS_H
#define GATEHOUSE_GATEWAY_CONFIG_PARTS_H

#include "gateway/config.h"
#include "proto/err.h"

enum setting_type {
	SETTING_BOOL,
	SETTING_INT,
	SETTING_STR,
	SETTING_SECRET,
	SETTING_LIST,
};

enum setting_unit { UNIT_NONE, UNIT_MS, UNIT_BYTES, UNIT_COUNT };

/* A row of SETTINGS_TABLE. */
struct setting {
	enum setting_type type;
	enum setting_unit unit;
	size_t offset; /* in struct config */
	const char *key;
	uint64_t min, max;
	const char *def, *dev, *help;
};

enum setting_id {
#define SETTING_ID_(type, field, key, unit, min, max, def, dev, help) SETTING_ID_##field,
	SETTINGS_TABLE(SETTING_ID_)
#undef SETTING_ID_
		SETTINGS_N
};

enum { SETTING_NAME_MAX = 64 }; /* of a flag or variable, NUL included */

extern const struct setting settings[SETTINGS_N];

/* Where a value came from, weakest first. */
enum config_source { SOURCE_DEFAULT, SOURCE_FILE, SOURCE_ENV, SOURCE_FLAG };

struct config_load {
	struct config *c;
	struct buf *errors;
	const char *const *app_names;
	char *file;	/* NULL: none */
	bool file_lost; /* it could not be read or is no YAML: who knows what it sets */
	bool check_only;
	bool unknown; /* a name was not known: it may have been meant for what is missing
		       */
	struct {
		enum config_source source;
		char *where; /* NULL: default */
		bool wrong;  /* an error was reported; the default stands in */
	} given[SETTINGS_N];
	bool namespaces_given; /* the file has the key, whatever it holds */
	/* Parallel to c->namespaces: where their `auth` stands. */
	struct str_list auth_where;
};

/* What the command line and the environment say, not yet judged. Strings are borrowed
 * from argv and environ. */
struct config_command {
	bool help, version, check;
	const char *file; /* NULL: none */
	bool dev, dev_given;
	const char *flags[SETTINGS_N];		/* NULL: no such flag */
	struct str_list flag_lists[SETTINGS_N]; /* a LIST may come several times */
	const char *env[SETTINGS_N];
};

#define CONFIG_ENV_PREFIX "GATEHOUSE_"

/* config_args.c */
void config_read_flags(struct config_load *l, int argc, char *const *argv,
		       struct config_command *cmd);
/* After the flags, which win. */
void config_read_env(struct config_load *l, char *const *env, struct config_command *cmd);

/* config.c */
void config_error(struct config_load *l, const char *where, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* NULL: no such key. */
const struct setting *setting_find(const char *key);
#define SETTING_INDEX(s) ((size_t)((s)-settings))
/* "--ping-interval" and "GATEHOUSE_PING_INTERVAL". */
void setting_flag(const struct setting *s, char name[static SETTING_NAME_MAX]);
void setting_env(const struct setting *s, char name[static SETTING_NAME_MAX]);
/* Where the person who wrote it finds the setting of that key: its source, or the key. */
const char *setting_where(const struct config_load *l, const char *key);
void str_list_add(struct str_list *list, struct slice s);
void str_list_deinit(struct str_list *list);

/* config_value.c */
/* Set one setting from one source, in place of what a weaker source gave. A scalar has
 * one value, a LIST any number; the values are copied. */
void setting_set(struct config_load *l, const struct setting *s,
		 enum config_source source, const char *where,
		 const struct str_list *values);
/* Split at commas, trim blanks, drop what is empty. */
void setting_split(struct str_list *out, const char *text);
/* A number in the unit and bounds of `s`. False: reported. */
bool setting_int(struct config_load *l, const struct setting *s, const char *where,
		 const char *text, uint64_t *out);
/* The default as text, "" if there is none. */
const char *setting_default(const struct setting *s, bool dev);
/* Append `n` in its unit, as it may be written in a file: "25s", "16MB". */
void setting_number(struct buf *out, enum setting_unit unit, uint64_t n);
bool setting_bool(const char *text, bool *value);

/* config_queues.c */
/* The defaults of a rule. */
void config_queue_defaults(struct policy_queue *rule);
/* The rows of the reference page. */
void config_queues_reference(struct buf *out);

/* config_words.c */
/* `text` in quotes for an error; control characters escaped, long ones cut. The result
 * is valid until four more were asked for. */
const char *config_shown(const char *text);
/* `text` itself, or as config_shown if it is not fit to be shown as it is. */
const char *config_name(const char *text);
/* The name among `n` that a mistyped one most likely meant; NULL: none is near. */
const char *config_nearest(const char *typed, const char *const *names, size_t n);

/* config_listen.c */
/* HOST:PORT, [IPV6]:PORT, http(s):// before these, unix:/PATH; behind that ?proxy or
 * ?mode=0660. ERR_SYNTAX: `why` gets a sentence; `at` is unchanged. */
MUST_USE enum err config_listen_parse(const char *text, struct config_listen *at,
				      struct buf *why);
void config_listen_deinit(struct config_listen *at);

/* config_redis.c */
/* NULL, or what is wrong, without anything of the URL in it; `r` is then unchanged. */
const char *config_redis_parse(const char *url, struct config_redis *r);
void config_redis_deinit(struct config_redis *r);

/* config_file.c */
void config_file_load(struct config_load *l, const char *path);
/* A whole file of at most `max` bytes appended to `out`. NULL, or what is wrong. */
const char *config_file_read(const char *path, size_t max, struct buf *out);

/* config_namespaces.c: see config_yaml.h */

/* config_check.c */
/* What --dev brings along, then secrets, then what contradicts what. */
void config_check(struct config_load *l);
/* The part of it that is about Redis. */
void config_check_redis(struct config_load *l);

/* config_help.c */
void config_help(struct buf *out);
void config_version(struct buf *out);
/* The title of the group that begins with this setting; NULL: it goes on. */
const char *setting_group(const struct setting *s);
/* "100ms to 60m" */
void setting_bounds(struct buf *out, const struct setting *s);
/* All settings as they are in effect, and from where; secrets are not shown. */
void config_summary(const struct config_load *l, struct buf *out);

#endif
