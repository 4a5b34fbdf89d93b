#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/config_parts.h"
#include "gateway/text.h"
#include "gateway/tls_cert.h"
#include "proto/mem.h"

enum {
	/* RFC 7518, 3.2: a key for HS256 is at least as long as its hash. */
	JWT_KEY_MIN = 32,
	JWT_KEY_MAX = 65536,
	PASSWORD_MAX = 4096,
};

static void dev_namespace(struct config_load *l);
static void check_listen(struct config_load *l);
static void take_addresses(struct config_load *l);
static void check_tls(struct config_load *l);
static void check_transports(struct config_load *l);
static void check_cors(struct config_load *l);
static void check_workers(struct config_load *l);
static void check_jwt(struct config_load *l);
static void check_namespaces(struct config_load *l);

static bool is_wrong(const struct config_load *l, const char *key)
{
	return l->given[SETTING_INDEX(setting_find(key))].wrong;
}

static bool is_given(const struct config_load *l, const char *key)
{
	return l->given[SETTING_INDEX(setting_find(key))].source != SOURCE_DEFAULT;
}

void config_check(struct config_load *l)
{
	check_listen(l);
	take_addresses(l);
	check_tls(l);
	check_transports(l);
	check_cors(l);
	config_check_redis(l);
	check_workers(l);
	check_jwt(l);
	if (l->c->dev && !l->namespaces_given)
		dev_namespace(l);
	check_namespaces(l);
}

/* Each user's mailbox is read by that user, all other queues by anybody. */
static void dev_queues(struct config_namespace *ns)
{
	static const struct {
		const char *match;
		enum policy_who consume;
	} rules[] = {
		{"mailbox:{user}", POLICY_USERS},
		{"mailbox:*", POLICY_NOBODY},
		{"*", POLICY_ANYBODY},
	};

	ns->queues_n = sizeof(rules) / sizeof(rules[0]);
	ns->queues = mem_zalloc(ns->queues_n, sizeof(*ns->queues));
	for (size_t i = 0; i < ns->queues_n; i++) {
		config_queue_defaults(&ns->queues[i]);
		ns->queues[i].match = mem_strndup(rules[i].match, strlen(rules[i].match));
		ns->queues[i].may[POLICY_PUSH] = POLICY_ANYBODY;
		ns->queues[i].may[POLICY_CONSUME] = rules[i].consume;
	}
}

/* Everything open, to try things out. */
static void dev_namespace(struct config_load *l)
{
	struct config *c = l->c;
	struct config_namespace *ns = mem_zalloc(1, sizeof(*ns));
	struct policy_room *room = mem_zalloc(1, sizeof(*room));

	room->match = mem_strndup("*", 1);
	room->may[POLICY_JOIN] = POLICY_ANYBODY;
	room->may[POLICY_EMIT] = POLICY_MEMBERS;
	room->may[POLICY_LIST] = POLICY_ANYBODY;
	room->stamp = room->announce = room->presence = true;
	ns->name = mem_strndup("/", 1);
	ns->recovery = true;
	ns->auth = c->jwt_key ? POLICY_AUTH_OPTIONAL : POLICY_AUTH_NONE;
	for (const char *const *app = l->app_names; *app; app++)
		str_list_add(&ns->apps, slice_str(*app));
	ns->rooms = room;
	ns->rooms_n = 1;
	dev_queues(ns);
	c->namespaces = ns;
	c->namespaces_n = 1;
	str_list_add(&l->auth_where, SLICE_LIT("--dev"));
}

static void check_listen(struct config_load *l)
{
	const struct config *c = l->c;

	if (c->listen.n == 0 && !is_wrong(l, "listen") && !l->unknown)
		config_error(l, setting_where(l, "listen"),
			     "is not set; write \"listen: 127.0.0.1:3000\" in the file, "
			     "--listen 127.0.0.1:3000, or --dev to try things out");
	for (size_t i = 0; i < c->listen.n; i++) {
		for (size_t j = 0; j < i; j++) {
			if (strcmp(c->listen.v[i], c->listen.v[j]) == 0)
				config_error(l, setting_where(l, "listen"),
					     "%s stands in the list twice",
					     config_shown(c->listen.v[i]));
		}
		if (c->ops_listen && strcmp(c->listen.v[i], c->ops_listen) == 0)
			config_error(
				l, setting_where(l, "opsListen"),
				"%s is where clients connect (listen); write another "
				"port, out of their reach",
				config_shown(c->ops_listen));
	}
	if (c->page && c->path && strcmp(c->path, "/") == 0)
		config_error(l, setting_where(l, "path"),
			     "\"/\" is where the page is served (page: true); write "
			     "another path, such as /socket.io/");
	if (!c->path && !is_wrong(l, "path"))
		config_error(l, setting_where(l, "path"),
			     "is empty; write a path, such as /socket.io/");
	if (!c->redis_key && !is_wrong(l, "redisKey"))
		config_error(l, setting_where(l, "redisKey"),
			     "is empty; write a prefix, such as socket.io");
	if (!c->tls_min_version && !is_wrong(l, "tlsMinVersion"))
		config_error(l, setting_where(l, "tlsMinVersion"),
			     "is empty; write 1.2 or 1.3");
	if (!c->log_level && !is_wrong(l, "logLevel"))
		config_error(l, setting_where(l, "logLevel"),
			     "is empty; write error, warn, info or debug");
	if (!c->parser && !is_wrong(l, "parser"))
		config_error(l, setting_where(l, "parser"),
			     "is empty; write auto, json or msgpack");
	if (!c->log_format && !is_wrong(l, "logFormat"))
		config_error(l, setting_where(l, "logFormat"),
			     "is empty; write text or json");
}

/* Each was read before, to judge it. */
static struct config_listen read_listen(const char *text)
{
	struct config_listen at = {0};
	struct buf why = BUF_INIT;
	enum err err = config_listen_parse(text, &at, &why);

	assert(err == ERR_OK);
	buf_deinit(&why);
	return at;
}

/* The parsed form of addresses that are used and good. */
static void take_addresses(struct config_load *l)
{
	struct config *c = l->c;

	c->listen_at = mem_zalloc(c->listen.n, sizeof(*c->listen_at));
	for (size_t i = 0; i < c->listen.n; i++)
		c->listen_at[i] = read_listen(c->listen.v[i]);
	if (c->ops_listen)
		c->ops_at = read_listen(c->ops_listen);
	c->trusted = mem_zalloc(c->trusted_proxies.n, sizeof(*c->trusted));
	for (size_t i = 0; i < c->trusted_proxies.n; i++) {
		enum err err = address_net_parse(slice_str(c->trusted_proxies.v[i]),
						 &c->trusted[i]);

		assert(err == ERR_OK);
	}
}

/* The setting that wants TLS; NULL: none does. */
static const char *tls_wanted(const struct config *c)
{
	for (size_t i = 0; i < c->listen.n; i++) {
		if (c->listen_at[i].tls)
			return "listen";
	}
	return c->ops_at.tls ? "opsListen" : NULL;
}

static void check_tls(struct config_load *l)
{
	const struct config *c = l->c;
	const char *wanted = tls_wanted(c), *wrong;
	bool listen_wrong = is_wrong(l, "listen") || is_wrong(l, "opsListen");
	struct buf why = BUF_INIT;
	struct tls_cert *cert;

	if (is_wrong(l, "tlsCert") || is_wrong(l, "tlsKey"))
		return;
	if (wanted && !(c->tls_cert && c->tls_key)) {
		config_error(l, setting_where(l, wanted),
			     "has an https:// address, which wants a certificate; set "
			     "tlsCert and tlsKey to its files");
	} else if (!wanted && !listen_wrong && (c->tls_cert || c->tls_key)) {
		config_error(l, setting_where(l, c->tls_cert ? "tlsCert" : "tlsKey"),
			     "is of no use without a listener that has TLS; write "
			     "https:// before its address in listen");
	} else if (wanted) {
		cert = tls_cert_load(c->tls_cert, c->tls_key, &wrong, &why);
		if (!cert)
			config_error(l, setting_where(l, wrong), "%s", buf_cstr(&why));
		tls_cert_free(cert);
	}
	buf_deinit(&why);
}

static void check_transports(struct config_load *l)
{
	const struct config *c = l->c;

	for (size_t i = 0; i < c->transports.n; i++) {
		if (strcmp(c->transports.v[i], "polling") != 0 &&
		    strcmp(c->transports.v[i], "websocket") != 0)
			config_error(l, setting_where(l, "transports"),
				     "%s is no transport; write polling, websocket, or "
				     "both",
				     config_shown(c->transports.v[i]));
	}
	if (c->transports.n == 0 && !is_wrong(l, "transports"))
		config_error(l, setting_where(l, "transports"),
			     "is empty; write polling, websocket, or both");
}

/* A token as of RFC 6265, which is what a cookie's name is. */
static bool is_cookie_name(const char *name)
{
	return name[strcspn(name, " \t\"(),/:;<=>?@[\\]{}")] == '\0' &&
	       text_is_plain(slice_str(name));
}

static void check_cors(struct config_load *l)
{
	const struct config *c = l->c;

	if (c->cors && c->cors_credentials && config_has_origin(c, SLICE_LIT("*")))
		config_error(l, setting_where(l, "corsCredentials"),
			     "is true while origins has \"*\": every page could act with "
			     "its visitor's cookies; list the origins");
	if (c->cookie && !is_cookie_name(c->cookie))
		config_error(l, setting_where(l, "cookie"),
			     "%s is no cookie's name; write letters, digits, - or _",
			     config_shown(c->cookie));
}

/* One newline at the end is the editor's and not part of a secret. */
static void strip_newline(struct buf *b)
{
	if (b->n && b->p[b->n - 1] == '\n')
		b->n--;
	if (b->n && b->p[b->n - 1] == '\r')
		b->n--;
}

/* The content of the file a setting names. False: reported. */
static bool read_secret(struct config_load *l, const char *key, const char *path,
			size_t max, struct buf *out)
{
	const char *wrong = config_file_read(path, max, out);

	if (wrong) {
		config_error(l, setting_where(l, key), "%s cannot be read: %s",
			     config_shown(path), wrong);
		return false;
	}
	strip_newline(out);
	if (out->n == 0)
		config_error(l, setting_where(l, key), "%s is empty", config_shown(path));
	return out->n > 0;
}

static void secret_buf_deinit(struct buf *b)
{
	if (b->p)
		explicit_bzero(b->p, b->cap);
	buf_deinit(b);
}

static void read_redis_password(struct config_load *l)
{
	struct config *c = l->c;
	struct buf secret = BUF_INIT;

	if (!c->redis && !is_wrong(l, "redis")) {
		config_error(l, setting_where(l, "redisPasswordFile"),
			     "is of no use while redis is not set");
		return;
	}
	if (read_secret(l, "redisPasswordFile", c->redis_password_file, PASSWORD_MAX,
			&secret)) {
		if (memchr(secret.p, '\0', secret.n)) {
			config_error(l, setting_where(l, "redisPasswordFile"),
				     "the password holds a NUL character");
		} else {
			if (c->redis_at.password)
				explicit_bzero(c->redis_at.password,
					       strlen(c->redis_at.password));
			free(c->redis_at.password);
			c->redis_at.password = mem_strndup(secret.p, secret.n);
		}
	}
	secret_buf_deinit(&secret);
}

void config_check_redis(struct config_load *l)
{
	const struct config *c = l->c;

	if (c->redis_password_file)
		read_redis_password(l);
	else if (c->redis_at.username && !c->redis_at.password)
		config_error(l, setting_where(l, "redis"),
			     "the URL has a user without a password; write "
			     "redis://USER:PASSWORD@HOST (redis://:PASSWORD@HOST for a "
			     "password alone), or set redisPasswordFile");
	if (c->redis_backoff_ms_min > c->redis_backoff_ms_max) {
		const char *key = is_given(l, "redisBackoffMin") ? "redisBackoffMin"
								 : "redisBackoffMax";
		struct buf text = BUF_INIT;

		buf_str(&text, "redisBackoffMin (");
		setting_number(&text, UNIT_MS, c->redis_backoff_ms_min);
		buf_str(&text, ") is longer than redisBackoffMax (");
		setting_number(&text, UNIT_MS, c->redis_backoff_ms_max);
		config_error(l, setting_where(l, key), "%s)", buf_cstr(&text));
		buf_deinit(&text);
	}
}

static void check_workers(struct config_load *l)
{
	const struct config *c = l->c;

	if (c->workers != 1 && !c->redis && !is_wrong(l, "redis") &&
	    !is_wrong(l, "workers"))
		config_error(l, setting_where(l, "workers"),
			     c->workers ? "several workers share no rooms without Redis; "
					  "set redis, or write 1"
					: "is 0, one for each core, and several share no "
					  "rooms without Redis; set redis, or write 1");
}

static void take_jwt_key(struct config_load *l, const char *key, const void *p, size_t n)
{
	struct config *c = l->c;

	if (n < JWT_KEY_MIN) {
		config_error(l, setting_where(l, key),
			     "the secret has %zu bytes; HS256 wants %d or more, such as "
			     "\"openssl rand -base64 32\" makes",
			     n, JWT_KEY_MIN);
		return;
	}
	c->jwt_key = mem_strndup(p, n);
	c->jwt_key_n = n;
}

static void check_jwt(struct config_load *l)
{
	struct config *c = l->c;
	struct buf secret = BUF_INIT;

	if (c->jwt_secret && c->jwt_secret_file) {
		config_error(l, setting_where(l, "jwtSecret"),
			     "is set, and so is jwtSecretFile; set one of them");
	} else if (c->jwt_secret) {
		take_jwt_key(l, "jwtSecret", c->jwt_secret, strlen(c->jwt_secret));
	} else if (c->jwt_secret_file) {
		if (read_secret(l, "jwtSecretFile", c->jwt_secret_file, JWT_KEY_MAX,
				&secret))
			take_jwt_key(l, "jwtSecretFile", secret.p, secret.n);
		secret_buf_deinit(&secret);
	}
	if (!c->trust_auth_user || (!c->jwt_secret && !c->jwt_secret_file))
		return;
	/* With --dev it is a default that has to give way to a secret. */
	if (is_given(l, "trustAuthUser"))
		config_error(l, setting_where(l, "trustAuthUser"),
			     "is true, but there is a JWT secret, with which users prove "
			     "who they are; leave one of them away");
	c->trust_auth_user = false;
}

static void check_namespaces(struct config_load *l)
{
	const struct config *c = l->c;
	bool secret = c->jwt_secret || c->jwt_secret_file || is_wrong(l, "jwtSecret") ||
		      is_wrong(l, "jwtSecretFile");

	if (!l->namespaces_given && !c->dev && !l->unknown)
		config_error(
			l, l->file ? l->file : "namespaces",
			"%s, so nobody could connect; write \"namespaces: [{name: /, "
			"auth: none}]\" %s, or use --dev to try things out",
			l->file ? "there are no namespaces" : "there are none",
			l->file ? "in it" : "in a file and name it with --config");
	for (size_t i = 0; i < c->namespaces_n; i++) {
		enum policy_auth auth = c->namespaces[i].auth;
		bool needs_secret = auth == POLICY_AUTH_REQUIRED ||
				    (auth == POLICY_AUTH_OPTIONAL && !c->trust_auth_user);

		if (needs_secret && !secret)
			config_error(l, l->auth_where.v[i],
				     "%s wants a secret to check tokens with; set "
				     "jwtSecretFile, or write auth: none",
				     auth == POLICY_AUTH_REQUIRED ? "\"required\""
								  : "\"optional\"");
	}
}
