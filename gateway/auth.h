/* Who a client is: the JSON Web Token in auth.token of its CONNECT. HS256 only, whatever
 * the token says; `sub` is the user. */
#ifndef GATEHOUSE_GATEWAY_AUTH_H
#define GATEHOUSE_GATEWAY_AUTH_H

#include "adapter/env.h"
#include "gateway/config.h"

enum { AUTH_USER_MAX = 200 }; /* bytes of a user's name */

struct auth_result {
	char *user;	     /* malloc'ed; NULL: none */
	uint64_t expires_ms; /* wall clock; 0: never */
	/* NULL: admitted. Else what the client reads as connect_error.message; a
	 * constant, such as "authentication required", "token expired", "invalid token".
	 */
	const char *refused;
};

/* Judge the CONNECT payload `auth` (encoded map, or empty) for a namespace. */
void auth_check(const struct config *c, const struct config_namespace *ns,
		const struct env *env, struct slice auth, struct auth_result *result);

#endif
