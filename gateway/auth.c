#include "gateway/auth.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>

#include <jwt.h>

#include "gateway/text.h"
#include "proto/mem.h"
#include "proto/mp.h"

static const char required[] = "authentication required";
static const char invalid_token[] = "invalid token";
static const char invalid_user[] = "invalid user";
static const char expired[] = "token expired";
static const char too_early[] = "token not yet valid";
static const char no_expiry[] = "token without expiry";

/* 9999-12-31T23:59:59Z: far enough, and no sum with it overflows. */
static const double time_max_s = 253402300799.0;

static const char *check_token(const struct config *c, const struct env *env,
			       struct slice value, struct auth_result *result);
static const char *check_user(struct slice name, char **user);

/* The value of a key of the payload. False: none, or null. */
static bool payload_get(struct slice auth, struct slice key, struct slice *value)
{
	struct mp_cursor c;
	struct mp_value v;

	if (auth.n == 0 || mp_map_get(auth, key, value) != ERR_OK)
		return false;
	c = mp_cursor_of(*value);
	return mp_read(&c, &v) == ERR_OK && v.type != MP_NIL;
}

void auth_check(const struct config *c, const struct config_namespace *ns,
		const struct env *env, struct slice auth, struct auth_result *result)
{
	struct slice value, name = SLICE_EMPTY;

	*result = (struct auth_result){0};
	if (!c->jwt_key && c->trust_auth_user) {
		if (payload_get(auth, SLICE_LIT("user"), &value))
			result->refused = mp_get_str(value, &name) == ERR_OK
						  ? check_user(name, &result->user)
						  : invalid_user;
	} else if (ns->auth != POLICY_AUTH_NONE) {
		if (payload_get(auth, SLICE_LIT("token"), &value))
			result->refused = check_token(c, env, value, result);
	}
	if (!result->refused && !result->user && ns->auth == POLICY_AUTH_REQUIRED)
		result->refused = required;
	assert(!result->refused || !result->user);
}

static const char *check_user(struct slice name, char **user)
{
	if (name.n == 0 || name.n > AUTH_USER_MAX || !text_is_plain(name))
		return invalid_user;
	*user = mem_strndup(name.p, name.n);
	return NULL;
}

/* Does it consist of what a token consists of? libjwt's base64 decoder skips what it
 * does not know, and its strings end at a NUL. */
static bool has_token_shape(struct slice token)
{
	static const char letters[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.";

	if (token.n == 0 || token.n > AUTH_TOKEN_MAX)
		return false;
	for (size_t i = 0; i < token.n; i++) {
		if (!memchr(letters, token.p[i], sizeof(letters) - 1))
			return false;
	}
	return true;
}

/* A time claim in seconds, which may have decimals. ERR_NOT_FOUND: not there.
 * ERR_SYNTAX: no number. */
static enum err time_claim(jwt_t *jwt, const char *name, double *seconds)
{
	char *json = jwt_get_grants_json(jwt, name), *end;
	enum err err = ERR_OK;

	if (!json)
		return ERR_NOT_FOUND;
	if ((json[0] >= '0' && json[0] <= '9') || json[0] == '-') {
		*seconds = strtod(json, &end);
		if (*end)
			err = ERR_SYNTAX;
	} else {
		err = ERR_SYNTAX;
	}
	free(json);
	return err;
}

static const char *check_times(const struct config *c, jwt_t *jwt, uint64_t now_ms,
			       uint64_t *expires_ms)
{
	const double now = (double)now_ms / 1000, leeway = AUTH_LEEWAY_MS / 1000.0;
	double seconds = 0;
	enum err err = time_claim(jwt, "nbf", &seconds);

	if (err != ERR_OK && err != ERR_NOT_FOUND)
		return invalid_token;
	if (err == ERR_OK && seconds > now + leeway)
		return too_early;
	err = time_claim(jwt, "exp", &seconds);
	if (err == ERR_NOT_FOUND)
		return c->jwt_require_exp ? no_expiry : NULL;
	if (err != ERR_OK)
		return invalid_token;
	if (seconds + leeway <= now)
		return expired;
	if (seconds > time_max_s)
		seconds = time_max_s;
	*expires_ms = (uint64_t)((seconds + leeway) * 1000);
	return NULL;
}

/* The claims of a token whose signature holds. */
static const char *check_claims(const struct config *c, const struct env *env, jwt_t *jwt,
				struct auth_result *result)
{
	char *critical = jwt_get_headers_json(jwt, "crit");
	const char *sub, *wrong;

	/* RFC 7515, 4.1.11: extensions the token insists on, of which we know none. */
	if (critical) {
		free(critical);
		return invalid_token;
	}
	wrong = check_times(c, jwt, env_wall_ms(env), &result->expires_ms);
	if (wrong)
		return wrong;
	sub = jwt_get_grant(jwt, "sub"); /* NULL if it is no string, too */
	return sub && !check_user(slice_str(sub), &result->user) ? NULL : invalid_token;
}

static const char *check_token(const struct config *c, const struct env *env,
			       struct slice value, struct auth_result *result)
{
	const char *wrong = invalid_token;
	struct slice token;
	jwt_t *jwt = NULL;
	char *text;

	if (!c->jwt_key || mp_get_str(value, &token) != ERR_OK || !has_token_shape(token))
		return invalid_token;
	assert(c->jwt_key_n <= INT_MAX);
	text = mem_strndup(token.p, token.n);
	/* libjwt verifies with the algorithm the token names; that it was ours is what
	 * we check before we look at any claim. */
	if (jwt_decode(&jwt, text, (const unsigned char *)c->jwt_key,
		       (int)c->jwt_key_n) == 0) {
		if (jwt_get_alg(jwt) == JWT_ALG_HS256)
			wrong = check_claims(c, env, jwt, result);
		jwt_free(jwt);
	}
	free(text);
	if (wrong)
		result->expires_ms = 0;
	return wrong;
}
