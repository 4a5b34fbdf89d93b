/* A library of Redis functions, which Redis keeps (FUNCTION LOAD), so that any client may
 * call them too. A node loads it when it first needs it on a connection, unless one of
 * the same or a newer version is there. Somebody may remove it; then it is loaded again.
 */
#ifndef GATEHOUSE_ADAPTER_REDIS_LIBRARY_H
#define GATEHOUSE_ADAPTER_REDIS_LIBRARY_H

#include "adapter/redis/link.h"

enum redis_library_state {
	LIBRARY_AWAY,	  /* no connection */
	LIBRARY_IDLE,	  /* not needed so far on this one */
	LIBRARY_CHECKING, /* which one is there? */
	LIBRARY_LOADING,
	LIBRARY_OPEN,
};

struct redis_library {
	enum redis_library_state state;
	struct redis_core *core;
	struct redis_link *link;
	const char *text;    /* has a line `local VERSION = <number>` */
	const char *version; /* the function that answers it */
	const char *log_id;  /* for what Redis refuses */
	struct redis_call check, load;
	uint64_t retry_ms; /* no loading before */
	uint64_t complained_ms;
};

void redis_library_init(struct redis_library *l, struct redis_core *core,
			struct redis_link *link, const char *text, const char *version,
			const char *log_id);
/* The link's hooks. */
void redis_library_on_ready(struct redis_library *l);
void redis_library_on_cut(struct redis_library *l);
/* Is it there? If not, it is on its way, or will be tried again soon. */
bool redis_library_want(struct redis_library *l);
/* Does this answer say that it is not there? Then it is loaded again when it is wanted.
 */
bool redis_library_missing(struct redis_library *l, const struct resp *r);
/* Redis refused something: say so once in a while, and reconnect if that may help. */
void redis_library_refused(struct redis_library *l, struct slice error);

#endif
