#include <assert.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <strings.h>

#include "gateway/config_parts.h"
#include "gateway/log.h"
#include "gateway/text.h"
#include "proto/mem.h"

struct unit {
	const char *name;
	uint64_t factor;
};

/* Largest first, decimal before binary: the first that divides a number shows it. */
static const struct unit units_ms[] = {{"m", 60000}, {"s", 1000}, {"ms", 1}, {NULL, 0}};
static const struct unit units_bytes[] = {
	{"GB", 1000000000}, {"GiB", 1U << 30}, {"MB", 1000000}, {"MiB", 1U << 20},
	{"kB", 1000},	    {"KiB", 1U << 10}, {"B", 1},	{NULL, 0}};
static const struct unit units_none[] = {{"", 1}, {NULL, 0}};

/* Judges a value of a STR, SECRET or LIST, which is not empty; may replace it by its
 * canonical form. False: reported. */
typedef bool value_check(struct config_load *l, const char *where, char **value);

static value_check check_address, check_net, check_tls_version, check_redis, check_path,
	check_redis_key, check_origin, check_log_level, check_log_format, check_parser;

static const struct {
	const char *key;
	value_check *check;
} checks[] = {
	{"listen", check_address},     {"opsListen", check_address},
	{"trustedProxies", check_net}, {"tlsMinVersion", check_tls_version},
	{"redis", check_redis},	       {"path", check_path},
	{"redisKey", check_redis_key}, {"origins", check_origin},
	{"logLevel", check_log_level}, {"logFormat", check_log_format},
	{"parser", check_parser},
};

static void *field_of(const struct config_load *l, const struct setting *s)
{
	return (char *)l->c + s->offset;
}

static const struct unit *units_of(enum setting_unit unit)
{
	switch (unit) {
	case UNIT_MS:
		return units_ms;
	case UNIT_BYTES:
		return units_bytes;
	case UNIT_NONE:
	case UNIT_COUNT:
		break;
	}
	return units_none;
}

const char *setting_default(const struct setting *s, bool dev)
{
	return dev && s->dev ? s->dev : s->def;
}

void setting_number(struct buf *out, enum setting_unit unit, uint64_t n)
{
	const struct unit *u = units_of(unit);

	if (unit == UNIT_BYTES && n > 0 && n < 1024) {
		buf_printf(out, n == 1 ? "%" PRIu64 " byte" : "%" PRIu64 " bytes", n);
		return;
	}
	while (n % u->factor != 0)
		u++;
	if (u->factor == 1 && unit == UNIT_BYTES)
		buf_printf(out, "%" PRIu64, n);
	else
		buf_printf(out, "%" PRIu64 "%s", n / u->factor, n ? u->name : "");
}

bool setting_bool(const char *text, bool *value)
{
	static const struct {
		const char *text;
		bool value;
	} words[] = {{"true", true},   {"yes", true}, {"on", true},   {"1", true},
		     {"false", false}, {"no", false}, {"off", false}, {"0", false}};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcasecmp(words[i].text, text) == 0) {
			*value = words[i].value;
			return true;
		}
	}
	return false;
}

/* ERR_SYNTAX: not a number with a unit that is known. ERR_RANGE: beyond 64 bits. */
static enum err parse_number(const char *text, enum setting_unit unit, uint64_t *value)
{
	const struct unit *u = units_of(unit);
	uint64_t n = 0;
	bool over = false;
	const char *p = text;

	for (; isdigit((unsigned char)*p); p++) {
		uint64_t digit = (uint64_t)(*p - '0');

		over = over || n > (UINT64_MAX - digit) / 10;
		n = n * 10 + digit;
	}
	if (p == text)
		return ERR_SYNTAX;
	if (*p) {
		while (u->name && (!*u->name || strcasecmp(u->name, p) != 0))
			u++;
		if (!u->name)
			return ERR_SYNTAX;
		over = over || n > UINT64_MAX / u->factor;
		n *= u->factor;
	}
	if (over)
		return ERR_RANGE;
	*value = n;
	return ERR_OK;
}

/* What would be right: "write milliseconds or a number with ms, s or m, from 100ms to
 * 60m, such as 25s". */
static void number_advice(struct buf *out, const struct setting *s)
{
	static const char *const forms[] = {
		[UNIT_NONE] = "a whole number",
		[UNIT_COUNT] = "a whole number",
		[UNIT_MS] = "milliseconds or a number with ms, s or m",
		[UNIT_BYTES] = "bytes or a number with kB, MB, GB, KiB, MiB or GiB",
	};

	buf_printf(out, "write %s, from ", forms[s->unit]);
	setting_number(out, s->unit, s->min);
	buf_str(out, " to ");
	setting_number(out, s->unit, s->max);
	buf_printf(out, ", such as %s", s->def);
}

bool setting_int(struct config_load *l, const struct setting *s, const char *where,
		 const char *text, uint64_t *out)
{
	static const char *const nouns[] = {
		[UNIT_NONE] = "a whole number",
		[UNIT_COUNT] = "a whole number",
		[UNIT_MS] = "a duration",
		[UNIT_BYTES] = "a number of bytes",
	};
	struct buf advice = BUF_INIT;
	uint64_t value = 0;
	enum err err = parse_number(text, s->unit, &value);
	bool good = err == ERR_OK && value >= s->min && value <= s->max;

	if (good) {
		*out = value;
		return true;
	}
	number_advice(&advice, s);
	if (err == ERR_SYNTAX)
		config_error(l, where, "%s is not %s; %s", config_shown(text),
			     nouns[s->unit], buf_cstr(&advice));
	else
		config_error(l, where, "%s is too %s; %s", config_shown(text),
			     err == ERR_OK && value < s->min ? "small" : "large",
			     buf_cstr(&advice));
	buf_deinit(&advice);
	return false;
}

static bool set_int(struct config_load *l, const struct setting *s, const char *where,
		    const char *text)
{
	return setting_int(l, s, where, text, field_of(l, s));
}

static bool set_bool(struct config_load *l, const struct setting *s, const char *where,
		     const char *text)
{
	if (setting_bool(text, field_of(l, s)))
		return true;
	config_error(l, where, "%s is neither true nor false", config_shown(text));
	return false;
}

static bool check_text(struct config_load *l, const struct setting *s, const char *where,
		       char **value)
{
	if (s->type != SETTING_SECRET && !text_is_plain(slice_str(*value))) {
		config_error(l, where, "%s holds control characters or is not UTF-8",
			     config_shown(*value));
		return false;
	}
	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
		if (strcmp(checks[i].key, s->key) == 0)
			return checks[i].check(l, where, value);
	}
	return true;
}

static bool set_text(struct config_load *l, const struct setting *s, const char *where,
		     const char *text)
{
	char **field = field_of(l, s);
	char *value = *text ? mem_strndup(text, strlen(text)) : NULL;

	if (value && !check_text(l, s, where, &value)) {
		free(value);
		return false;
	}
	if (!value && strcmp(s->key, "redis") == 0)
		config_redis_deinit(&l->c->redis_at);
	free(*field);
	*field = value;
	return true;
}

static bool set_list(struct config_load *l, const struct setting *s, const char *where,
		     const struct str_list *values)
{
	struct str_list *field = field_of(l, s);
	struct str_list list = {NULL, 0};
	bool good = true;

	for (size_t i = 0; i < values->n; i++) {
		str_list_add(&list, slice_str(values->v[i]));
		if (!check_text(l, s, where, &list.v[i]))
			good = false;
	}
	if (!good) {
		str_list_deinit(&list);
		return false;
	}
	str_list_deinit(field);
	*field = list;
	return true;
}

void setting_set(struct config_load *l, const struct setting *s,
		 enum config_source source, const char *where,
		 const struct str_list *values)
{
	size_t i = SETTING_INDEX(s);
	bool good = false;

	assert(source >= l->given[i].source);
	assert(s->type == SETTING_LIST || values->n == 1);
	switch (s->type) {
	case SETTING_BOOL:
		good = set_bool(l, s, where, values->v[0]);
		break;
	case SETTING_INT:
		good = set_int(l, s, where, values->v[0]);
		break;
	case SETTING_STR:
	case SETTING_SECRET:
		good = set_text(l, s, where, values->v[0]);
		break;
	case SETTING_LIST:
		good = set_list(l, s, where, values);
		break;
	}
	if (!good)
		l->given[i].wrong = true;
	if (source != SOURCE_DEFAULT) {
		free(l->given[i].where);
		l->given[i].where = mem_strndup(where, strlen(where));
		l->given[i].source = source;
	}
}

void setting_split(struct str_list *out, const char *text)
{
	while (*text) {
		size_t n = strcspn(text, ","), skip = strspn(text, " \t");
		size_t from = skip < n ? skip : n, to = n;

		while (to > from && strchr(" \t", text[to - 1]))
			to--;
		if (to > from)
			str_list_add(out, slice_of(text + from, to - from));
		text += text[n] ? n + 1 : n;
	}
}

static bool check_address(struct config_load *l, const char *where, char **value)
{
	struct config_listen at = {0};
	struct buf why = BUF_INIT;
	bool good = config_listen_parse(*value, &at, &why) == ERR_OK;

	if (!good)
		config_error(l, where, "%s", buf_cstr(&why));
	config_listen_deinit(&at);
	buf_deinit(&why);
	return good;
}

static bool check_net(struct config_load *l, const char *where, char **value)
{
	struct address_net net;
	enum err err = address_net_parse(slice_str(*value), &net);

	if (err == ERR_RANGE)
		config_error(l, where,
			     "%s has bits set behind its prefix; write the network's "
			     "first address, such as 10.0.0.0/8",
			     config_shown(*value));
	else if (err != ERR_OK)
		config_error(l, where,
			     "%s is no address and no network; write such as 10.0.0.5, "
			     "10.0.0.0/8, 2001:db8::/32, or unix for who comes by a "
			     "unix socket",
			     config_shown(*value));
	return err == ERR_OK;
}

static bool check_tls_version(struct config_load *l, const char *where, char **value)
{
	if (strcmp(*value, "1.2") == 0 || strcmp(*value, "1.3") == 0)
		return true;
	config_error(l, where, "%s is neither 1.2 nor 1.3", config_shown(*value));
	return false;
}

static bool check_redis(struct config_load *l, const char *where, char **value)
{
	const char *wrong = config_redis_parse(*value, &l->c->redis_at);

	if (wrong)
		config_error(l, where, "%s", wrong);
	return !wrong;
}

static bool check_redis_key(struct config_load *l, const char *where, char **value)
{
	if (strlen(*value) > 100 || strpbrk(*value, "*?[]\\")) {
		config_error(l, where,
			     "%s cannot be a prefix of channels: at most 100 bytes, none "
			     "of * ? [ ] \\",
			     config_shown(*value));
		return false;
	}
	return true;
}

static bool check_path(struct config_load *l, const char *where, char **value)
{
	size_t n = strlen(*value);

	if (**value != '/' || strpbrk(*value, "?#% ") || n > 200) {
		config_error(l, where,
			     "%s is no URL path; write one that begins with /, without "
			     "?, #, %% or spaces, such as /socket.io/",
			     config_shown(*value));
		return false;
	}
	if ((*value)[n - 1] != '/') {
		*value = mem_realloc(*value, n + 2);
		memcpy(*value + n, "/", 2);
	}
	return true;
}

/* As browsers write an origin: in lower case, without the port that goes without
 * saying. */
static void origin_canonical(char *origin)
{
	static const char *const implied[][2] = {{"http://", ":80"},
						 {"https://", ":443"}};

	for (char *p = origin; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	for (size_t i = 0; i < 2; i++) {
		size_t n = strlen(origin), tail = strlen(implied[i][1]);

		if (strncmp(origin, implied[i][0], strlen(implied[i][0])) == 0 &&
		    n > tail && strcmp(origin + n - tail, implied[i][1]) == 0)
			origin[n - tail] = '\0';
	}
}

static bool check_origin(struct config_load *l, const char *where, char **value)
{
	static const char alnum[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789";
	const char *text = *value, *host = strstr(text, "://"), *wrong = NULL;
	size_t n;

	if (strcmp(text, "*") == 0 || strcmp(text, "same") == 0)
		return true;
	if (strchr(text, '*')) {
		wrong = "holds a wildcard, which only stands alone; list the origins";
	} else if (!host || host == text || strspn(text, alnum) == 0) {
		wrong = "is no origin";
	} else {
		host += 3;
		n = strcspn(host, "/?#");
		if (host[n])
			wrong = "goes on behind the host; leave that away";
		else if (n == 0 || strpbrk(host, " @,"))
			wrong = "is no origin";
	}
	if (wrong) {
		config_error(l, where,
			     "%s %s; write SCHEME://HOST or SCHEME://HOST:PORT such as "
			     "https://app.example, or same, or *",
			     config_shown(text), wrong);
		return false;
	}
	origin_canonical(*value);
	return true;
}

static bool check_log_level(struct config_load *l, const char *where, char **value)
{
	enum log_level level;

	if (log_level_from(*value, &level))
		return true;
	config_error(l, where, "%s is not one of error, warn, info, debug",
		     config_shown(*value));
	return false;
}

static bool check_log_format(struct config_load *l, const char *where, char **value)
{
	if (strcmp(*value, "text") == 0 || strcmp(*value, "json") == 0)
		return true;
	config_error(l, where, "%s is neither text nor json", config_shown(*value));
	return false;
}

static bool check_parser(struct config_load *l, const char *where, char **value)
{
	if (strcmp(*value, "auto") == 0 || strcmp(*value, "json") == 0 ||
	    strcmp(*value, "msgpack") == 0)
		return true;
	config_error(l, where, "%s is not one of auto, json, msgpack",
		     config_shown(*value));
	return false;
}
