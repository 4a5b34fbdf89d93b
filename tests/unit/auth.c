/* Who is let in, and under which name: tokens made by libjwt, and tokens nobody should
 * make. */
#include "gateway/auth.h"

#include <stdlib.h>

#include <jwt.h>

#include "proto/mem.h"
#include "proto/mp.h"
#include "test.h"

#define KEY "0123456789abcdef0123456789abcdef"
#define NOW 1800000000

static uint64_t fake_wall_ms(void *ctx)
{
	(void)ctx;
	return (uint64_t)NOW * 1000;
}

static const struct env env = {.wall_ms = fake_wall_ms};

enum mode { TRUSTING = 1, NO_KEY = 2, NO_EXP = 4 };

/* The CONNECT payload {key: value}; an empty key: no payload. */
static void check_payload(struct slice payload, enum policy_auth auth, unsigned mode,
			  struct auth_result *r)
{
	char key[] = KEY;
	struct config c = {
		.jwt_key = mode & NO_KEY ? NULL : key,
		.jwt_key_n = mode & NO_KEY ? 0 : strlen(key),
		.jwt_require_exp = !(mode & NO_EXP),
		.trust_auth_user = mode & TRUSTING,
	};
	struct config_namespace ns = {.auth = auth};

	auth_check(&c, &ns, &env, payload, r);
}

static void check_string(const char *name, struct slice value, enum policy_auth auth,
			 unsigned mode, struct auth_result *r)
{
	struct buf payload = BUF_INIT;
	msgpack_packer pk;

	mp_packer(&pk, &payload);
	msgpack_pack_map(&pk, 1);
	mp_pack_str(&pk, slice_str(name));
	mp_pack_str(&pk, value);
	check_payload(buf_view(&payload), auth, mode, r);
	buf_deinit(&payload);
}

static void expect(const struct auth_result *r, const char *user, const char *refused,
		   const char *row)
{
	CHECK_ROW(!refused == !r->refused, row);
	if (refused && r->refused)
		CHECK_SLICE(slice_str(r->refused), slice_str(refused), row);
	CHECK_ROW(!user == !r->user, row);
	if (user && r->user)
		CHECK_SLICE(slice_str(r->user), slice_str(user), row);
	CHECK_ROW(!r->refused || r->expires_ms == 0, row);
	free(r->user);
}

/* A token with these claims (JSON), signed by libjwt. */
static char *sign_with(const char *claims, const char *headers, jwt_alg_t alg,
		       const char *key)
{
	jwt_t *jwt = NULL;
	char *token;

	if (jwt_new(&jwt) != 0 || jwt_add_grants_json(jwt, claims) != 0 ||
	    (headers && jwt_add_headers_json(jwt, headers) != 0) ||
	    jwt_set_alg(jwt, alg, (const unsigned char *)key,
			key ? (int)strlen(key) : 0) != 0) {
		fprintf(stderr, "libjwt does not sign %s\n", claims);
		exit(1);
	}
	token = jwt_encode_str(jwt);
	jwt_free(jwt);
	if (!token)
		exit(1);
	return token;
}

static char *sign(const char *claims)
{
	return sign_with(claims, NULL, JWT_ALG_HS256, KEY);
}

static void test_claims(void)
{
	static const struct {
		const char *claims, *user, *refused;
		uint64_t expires_ms;
		unsigned mode;
	} rows[] = {
		{"{\"sub\":\"ann\",\"exp\":1800000060}", "ann", NULL, 1800000065000, 0},
		{"{\"sub\":\"zoë 😀\",\"exp\":1800000060.5}", "zoë 😀", NULL, 1800000065500,
		 0},
		{"{\"sub\":\"ann\",\"exp\":1799999996}", "ann", NULL, 1800000001000, 0},
		{"{\"sub\":\"ann\",\"exp\":1799999995}", NULL, "token expired", 0, 0},
		{"{\"sub\":\"ann\",\"exp\":1}", NULL, "token expired", 0, 0},
		{"{\"sub\":\"ann\",\"exp\":0}", NULL, "token expired", 0, 0},
		{"{\"sub\":\"ann\",\"exp\":-1}", NULL, "token expired", 0, 0},
		{"{\"sub\":\"ann\",\"exp\":-1e300}", NULL, "token expired", 0, 0},
		{"{\"sub\":\"ann\",\"exp\":-9223372036854775808}", NULL, "token expired",
		 0, 0},
		{"{\"sub\":\"ann\",\"exp\":9223372036854775807}", "ann", NULL,
		 253402300804000, 0},
		{"{\"sub\":\"ann\",\"exp\":1e300}", "ann", NULL, 253402300804000, 0},
		{"{\"sub\":\"ann\",\"exp\":\"1800000060\"}", NULL, "invalid token", 0, 0},
		{"{\"sub\":\"ann\",\"exp\":null}", NULL, "invalid token", 0, 0},
		{"{\"sub\":\"ann\",\"exp\":true}", NULL, "invalid token", 0, 0},
		{"{\"sub\":\"ann\",\"exp\":[1800000060]}", NULL, "invalid token", 0, 0},
		{"{\"sub\":\"ann\",\"exp\":\"x\"}", NULL, "invalid token", 0, NO_EXP},
		{"{\"sub\":\"ann\"}", NULL, "token without expiry", 0, 0},
		{"{\"sub\":\"ann\"}", "ann", NULL, 0, NO_EXP},
		{"{\"sub\":\"ann\",\"exp\":1}", NULL, "token expired", 0, NO_EXP},
		{"{\"sub\":\"ann\",\"exp\":1800000060,\"nbf\":1800000005}", "ann", NULL,
		 1800000065000, 0},
		{"{\"sub\":\"ann\",\"exp\":1800000060,\"nbf\":1800000006}", NULL,
		 "token not yet valid", 0, 0},
		{"{\"sub\":\"ann\",\"exp\":1800000060,\"nbf\":\"1\"}", NULL,
		 "invalid token", 0, 0},
		{"{\"exp\":1800000060}", NULL, "invalid token", 0, 0},
		{"{\"sub\":7,\"exp\":1800000060}", NULL, "invalid token", 0, 0},
		{"{\"sub\":null,\"exp\":1800000060}", NULL, "invalid token", 0, 0},
		{"{\"sub\":\"\",\"exp\":1800000060}", NULL, "invalid token", 0, 0},
		{"{\"sub\":\"a\\nb\",\"exp\":1800000060}", NULL, "invalid token", 0, 0},
		{"{\"sub\":\"\\u009b\",\"exp\":1800000060}", NULL, "invalid token", 0, 0},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *token = sign(rows[i].claims);
		struct auth_result r;

		check_string("token", slice_str(token), POLICY_AUTH_REQUIRED,
			     rows[i].mode, &r);
		CHECK_ROW(r.expires_ms == rows[i].expires_ms, rows[i].claims);
		expect(&r, rows[i].user, rows[i].refused, rows[i].claims);
		free(token);
	}
}

static void test_user_length(void)
{
	for (int n = AUTH_USER_MAX; n <= AUTH_USER_MAX + 1; n++) {
		char name[AUTH_USER_MAX + 2], claims[AUTH_USER_MAX + 50], *token;
		const bool good = n <= AUTH_USER_MAX;
		struct auth_result r;

		memset(name, 'x', sizeof(name));
		name[n] = '\0';
		snprintf(claims, sizeof(claims), "{\"sub\":\"%s\",\"exp\":1900000000}",
			 name);
		token = sign(claims);
		check_string("token", slice_str(token), POLICY_AUTH_REQUIRED, 0, &r);
		expect(&r, good ? name : NULL, good ? NULL : "invalid token", "length");
		free(token);
		check_string("user", slice_str(name), POLICY_AUTH_NONE, NO_KEY | TRUSTING,
			     &r);
		expect(&r, good ? name : NULL, good ? NULL : "invalid user", "length");
	}
}

static void refuse(const char *row, struct slice token)
{
	struct auth_result r;

	check_string("token", token, POLICY_AUTH_OPTIONAL, 0, &r);
	expect(&r, NULL, "invalid token", row);
}

#define GOOD_CLAIMS "{\"sub\":\"ann\",\"exp\":1900000000}"

/* Signed well, but not with what we pinned. */
static void test_algorithms(void)
{
	static const jwt_alg_t others[] = {JWT_ALG_NONE, JWT_ALG_HS384, JWT_ALG_HS512};
	char *token;

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		token = sign_with(GOOD_CLAIMS, NULL, others[i],
				  others[i] == JWT_ALG_NONE ? NULL : KEY);
		refuse(jwt_alg_str(others[i]), slice_str(token));
		free(token);
	}
	token = sign_with(GOOD_CLAIMS, NULL, JWT_ALG_HS256, KEY "x");
	refuse("another key", slice_str(token));
	free(token);
	token = sign_with(GOOD_CLAIMS, "{\"crit\":[\"b64\"],\"b64\":false}",
			  JWT_ALG_HS256, KEY);
	refuse("crit", slice_str(token));
	free(token);
}

static void test_malformed(void)
{
	/* {"alg":…,"typ":"JWT"} and {"sub":"ann","exp":1900000000} in base64url */
#define NONE  "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0"
#define HS256 "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"
#define RS256 "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9"
#define ANN   "eyJzdWIiOiJhbm4iLCJleHAiOjE5MDAwMDAwMDB9"
	static const char *const rows[] = {
		"",
		".",
		"..",
		"...",
		"a.b.c",
		"not a token",
		HS256,
		HS256 ".",
		HS256 "." ANN,
		HS256 "." ANN ".",
		HS256 "." ANN ".AAAA",
		HS256 "." ANN "." ANN "." ANN,
		"." ANN ".AAAA",
		HS256 "..AAAA",
		NONE "." ANN ".",
		NONE "." ANN,
		NONE "." ANN ".AAAA",
		RS256 "." ANN ".AAAA",
		"e30." ANN ".AAAA",	     /* {} */
		"bm90anNvbg." ANN ".AAAA",   /* notjson */
		"W10." ANN ".AAAA",	     /* [] */
		"eyJhbGciOjF9." ANN ".AAAA", /* {"alg":1} */
	};
	char *good = sign(GOOD_CLAIMS), *changed, *large;
	size_t n = strlen(good);
	struct auth_result r;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		refuse(rows[i], slice_str(rows[i]));
	check_string("token", slice_str(good), POLICY_AUTH_OPTIONAL, 0, &r);
	expect(&r, "ann", NULL, "the good one");
	for (size_t i = 0; i < n; i++)
		refuse("truncated", slice_of(good, i));
	for (size_t i = 0; i < n; i++) {
		changed = strdup(good);
		changed[i] = changed[i] == 'A' ? 'B' : 'A';
		refuse("one letter changed", slice_str(changed));
		free(changed);
	}
	for (size_t i = 0; i <= n; i++) {
		changed = mem_alloc(n + 1);
		memcpy(changed, good, i);
		changed[i] = '\0';
		memcpy(changed + i + 1, good + i, n - i);
		refuse("a NUL", slice_of(changed, n + 1));
		changed[i] = '\n';
		refuse("a newline", slice_of(changed, n + 1));
		free(changed);
	}
	large = mem_alloc(100000);
	memset(large, 'A', 100000);
	refuse("100 KB", slice_of(large, 100000));
	for (size_t i = 0; i < n; i++)
		large[i] = good[i];
	refuse("100 KB that begins well", slice_of(large, 100000));
	free(large);
	free(good);
}

static void test_payloads(void)
{
	static const struct {
		const char *name;
		enum policy_auth auth;
		unsigned mode;
		const char *refused;
		struct {
			const char *p;
			size_t n;
		} payload;
	} rows[] = {
#define BYTES(s) {s, sizeof(s) - 1}
		{"no payload", POLICY_AUTH_NONE, 0, NULL, BYTES("")},
		{"no payload", POLICY_AUTH_OPTIONAL, 0, NULL, BYTES("")},
		{"no payload", POLICY_AUTH_REQUIRED, 0, "authentication required",
		 BYTES("")},
		{"empty map", POLICY_AUTH_OPTIONAL, 0, NULL, BYTES("\x80")},
		{"empty map", POLICY_AUTH_REQUIRED, 0, "authentication required",
		 BYTES("\x80")},
		{"null", POLICY_AUTH_OPTIONAL, 0, NULL, BYTES("\x81\xa5token\xc0")},
		{"null", POLICY_AUTH_REQUIRED, 0, "authentication required",
		 BYTES("\x81\xa5token\xc0")},
		{"number", POLICY_AUTH_OPTIONAL, 0, "invalid token",
		 BYTES("\x81\xa5token\x07")},
		{"map", POLICY_AUTH_OPTIONAL, 0, "invalid token",
		 BYTES("\x81\xa5token\x80")},
		{"looked at by no one", POLICY_AUTH_NONE, 0, NULL,
		 BYTES("\x81\xa5token\xa1x")},
		{"empty string", POLICY_AUTH_OPTIONAL, 0, "invalid token",
		 BYTES("\x81\xa5token\xa0")},
		{"no key to check with", POLICY_AUTH_OPTIONAL, NO_KEY, "invalid token",
		 BYTES("\x81\xa5token\xa1x")},
		{"a user in place of a token", POLICY_AUTH_OPTIONAL, 0, NULL,
		 BYTES("\x81\xa4user\xa3"
		       "ann")},
		{"a user in place of a token", POLICY_AUTH_REQUIRED, TRUSTING,
		 "authentication required",
		 BYTES("\x81\xa4user\xa3"
		       "ann")},
		{"not trusting", POLICY_AUTH_REQUIRED, NO_KEY, "authentication required",
		 BYTES("\x81\xa4user\xa3"
		       "ann")},
		{"user is a number", POLICY_AUTH_NONE, NO_KEY | TRUSTING, "invalid user",
		 BYTES("\x81\xa4user\x07")},
		{"user is empty", POLICY_AUTH_NONE, NO_KEY | TRUSTING, "invalid user",
		 BYTES("\x81\xa4user\xa0")},
		{"user is no UTF-8", POLICY_AUTH_NONE, NO_KEY | TRUSTING, "invalid user",
		 BYTES("\x81\xa4user\xa3\xed\xa0\x80")},
		{"user is null", POLICY_AUTH_NONE, NO_KEY | TRUSTING, NULL,
		 BYTES("\x81\xa4user\xc0")},
	};
	struct auth_result r;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		check_payload(slice_of(rows[i].payload.p, rows[i].payload.n),
			      rows[i].auth, rows[i].mode, &r);
		expect(&r, NULL, rows[i].refused, rows[i].name);
	}
	check_string("user", SLICE_LIT("ann"), POLICY_AUTH_NONE, NO_KEY | TRUSTING, &r);
	expect(&r, "ann", NULL, "trusted");
}

int main(void)
{
	test_claims();
	test_user_length();
	test_algorithms();
	test_malformed();
	test_payloads();
	return test_done();
}
