#include <ctype.h>
#include <stdlib.h>
#include <sys/un.h>

#include "gateway/config_parts.h"
#include "proto/mem.h"

enum { REDIS_PORT = 6379, DB_MAX = 999999 };

static const char wrong_escape[] = "the URL has a % that no two hex digits (other than "
				   "00) follow; write %25 for a %";
static const char wrong_db[] =
	"the URL does not end in the number of a database; write redis://HOST:PORT/0 or "
	"unix:///PATH?db=0";
static const char wrong_host[] =
	"the URL names no host; write redis://HOST:PORT/DB or "
	"redis://USER:PASSWORD@HOST:PORT/DB, with %XX for / ? # @ : in user and password";
static const char wrong_port[] =
	"the URL has no port from 1 to 65535 behind its host; write redis://HOST:6379/0, "
	"with %XX for / ? # @ : in user and password";
static const char wrong_path[] = "the URL names no socket; write unix:///PATH?db=0 with "
				 "a path of at most 107 bytes";
static const char wrong_scheme[] = "the URL begins neither with redis:// nor with "
				   "unix://; write redis://HOST:6379/0 "
				   "or unix:///PATH?db=0";
static const char no_tls[] = "TLS to Redis is not supported yet; write redis:// and keep "
			     "the way there private";

static const char *parse_tcp(struct slice rest, struct config_redis *r);
static const char *parse_unix(struct slice rest, struct config_redis *r);

const char *config_redis_parse(const char *url, struct config_redis *r)
{
	struct config_redis parsed = {.port = REDIS_PORT};
	struct slice s = slice_str(url);
	const char *wrong;

	if (slice_starts(s, SLICE_LIT("redis://")))
		wrong = parse_tcp(slice_skip(s, strlen("redis://")), &parsed);
	else if (slice_starts(s, SLICE_LIT("unix://")))
		wrong = parse_unix(slice_skip(s, strlen("unix://")), &parsed);
	else
		wrong = slice_starts(s, SLICE_LIT("rediss://")) ? no_tls : wrong_scheme;
	if (wrong) {
		config_redis_deinit(&parsed);
		return wrong;
	}
	config_redis_deinit(r);
	*r = parsed;
	return NULL;
}

static void secret_free(char *secret)
{
	if (secret)
		explicit_bzero(secret, strlen(secret));
	free(secret);
}

void config_redis_deinit(struct config_redis *r)
{
	free(r->host);
	free(r->path);
	free(r->username);
	secret_free(r->password);
	*r = (struct config_redis){0};
}

/* The bytes before the first of `stops`; all if there is none. */
static struct slice before(struct slice s, const char *stops)
{
	size_t n = 0;

	while (n < s.n && !strchr(stops, s.p[n]))
		n++;
	return slice_of(s.p, n);
}

static int hex(uint8_t c)
{
	if (isdigit(c))
		return c - '0';
	return isxdigit(c) ? tolower(c) - 'a' + 10 : -1;
}

/* Percent-decoded; NULL: malformed. */
static char *decode(struct slice s)
{
	char *out = mem_alloc(s.n + 1);
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++) {
		int high, low;

		if (s.p[i] != '%') {
			out[n++] = (char)s.p[i];
			continue;
		}
		high = i + 2 < s.n ? hex(s.p[i + 1]) : -1;
		low = i + 2 < s.n ? hex(s.p[i + 2]) : -1;
		if (high < 0 || low < 0 || high * 16 + low == 0) {
			free(out);
			return NULL;
		}
		out[n++] = (char)(high * 16 + low);
		i += 2;
	}
	out[n] = '\0';
	return out;
}

/* Digits only, from min to max. */
static bool number(struct slice s, unsigned min, unsigned max, unsigned *value)
{
	unsigned n = 0;

	if (s.n == 0 || s.n > 7)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (!isdigit(s.p[i]))
			return false;
		n = n * 10 + (unsigned)(s.p[i] - '0');
	}
	*value = n;
	return n >= min && n <= max;
}

/* user:password, user or :password */
static const char *parse_user(struct slice s, struct config_redis *r)
{
	struct slice user = before(s, ":");

	if (user.n) {
		r->username = decode(user);
		if (!r->username)
			return wrong_escape;
	}
	if (user.n + 1 < s.n) {
		r->password = decode(slice_skip(s, user.n + 1));
		if (!r->password)
			return wrong_escape;
	}
	return NULL;
}

/* What stands before the last '@' is user and password; moves *s behind it. */
static const char *take_user(struct slice *s, struct config_redis *r)
{
	const uint8_t *at = s->n ? memrchr(s->p, '@', s->n) : NULL;
	struct slice user;

	if (!at)
		return NULL;
	user = slice_of(s->p, (size_t)(at - s->p));
	*s = slice_skip(*s, user.n + 1);
	return parse_user(user, r);
}

static const char *parse_host(struct slice s, struct config_redis *r)
{
	static const char letters[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
	bool v6 = s.n && s.p[0] == '[';
	struct slice host = v6 ? before(slice_skip(s, 1), "]") : before(s, ":");
	struct slice rest;
	unsigned port = REDIS_PORT;

	if (host.n == 0 || (v6 && host.n + 2 > s.n))
		return wrong_host;
	for (size_t i = 0; i < host.n; i++) {
		if (host.p[i] == '\0' ||
		    !strchr(v6 ? "0123456789abcdefABCDEF:.%" : letters, host.p[i]))
			return wrong_host;
	}
	rest = slice_skip(s, host.n + (v6 ? 2 : 0));
	if (rest.n &&
	    (rest.p[0] != ':' || !number(slice_skip(rest, 1), 1, UINT16_MAX, &port)))
		return wrong_port;
	r->host = mem_strndup(host.p, host.n);
	r->port = (uint16_t)port;
	return NULL;
}

static const char *parse_tcp(struct slice rest, struct config_redis *r)
{
	struct slice authority = before(rest, "/?#");
	struct slice path = slice_skip(rest, authority.n);
	const char *wrong = take_user(&authority, r);

	if (!wrong)
		wrong = parse_host(authority, r);
	if (wrong)
		return wrong;
	if (path.n == 0 || slice_eq(path, SLICE_LIT("/")))
		return NULL;
	return path.p[0] == '/' && number(slice_skip(path, 1), 0, DB_MAX, &r->db)
		       ? NULL
		       : wrong_db;
}

static const char *parse_unix(struct slice rest, struct config_redis *r)
{
	const size_t path_max = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1;
	struct slice authority = before(rest, "/?#");
	struct slice path, query;
	const char *wrong;

	rest = slice_skip(rest, authority.n);
	wrong = take_user(&authority, r);
	if (wrong)
		return wrong;
	path = before(rest, "?");
	query = slice_skip(rest, path.n);
	if (authority.n || path.n < 2)
		return wrong_path;
	r->path = decode(path);
	if (!r->path)
		return wrong_escape;
	if (strlen(r->path) > path_max)
		return wrong_path;
	if (query.n == 0)
		return NULL;
	return slice_starts(query, SLICE_LIT("?db=")) &&
			       number(slice_skip(query, 4), 0, DB_MAX, &r->db)
		       ? NULL
		       : wrong_db;
}
