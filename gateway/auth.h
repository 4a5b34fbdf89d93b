/* Who a client is: the JSON Web Token in auth.token of its CONNECT. HS256 only, whatever
 * the token says; `sub` is the user. Without a secret and where configured to, auth.user
 * is believed instead. */
#ifndef GATEHOUSE_GATEWAY_AUTH_H
#define GATEHOUSE_GATEWAY_AUTH_H

#include "adapter/env.h"
#include "gateway/config.h"

enum {
	AUTH_USER_MAX = 200,   /* bytes of a user's name */
	AUTH_TOKEN_MAX = 8192, /* bytes of a token */
	/* `exp` and `nbf` may be missed by so much, since the clock of who made the token
	 * is never quite ours. */
	AUTH_LEEWAY_MS = 5000
};

struct auth_result {
	char *user; /* malloc'ed; NULL: none. UTF-8 without control characters */
	/* Wall clock; 0: never. The leeway is added; never beyond the year 9999. */
	uint64_t expires_ms;
	/* NULL: admitted. Else what the client reads as connect_error.message, a
	 * constant: "authentication required", "invalid token", "token expired", "token
	 * not yet valid", "token without expiry" or "invalid user". There is then no
	 * user. */
	const char *refused;
};

/* Judge the CONNECT payload `auth` (encoded map, or empty) for a namespace. A token or
 * user that is null counts as none. */
void auth_check(const struct config *c, const struct config_namespace *ns,
		const struct env *env, struct slice auth, struct auth_result *result);

#endif
