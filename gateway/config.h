/* The configuration of a node: the table of settings.h, and what only a file can say
 * (namespaces and their policies). Flag over environment over file over default.
 *
 * Errors are sentences for the person who wrote the setting: they name where it stands
 * (file and line, variable or flag), the key, the value, and what would be right. */
#ifndef GATEHOUSE_GATEWAY_CONFIG_H
#define GATEHOUSE_GATEWAY_CONFIG_H

#include "gateway/policy.h"
#include "gateway/settings.h"
#include "proto/address.h"
#include "proto/buf.h"
#include "proto/eio.h"
#include "proto/err.h"

struct str_list {
	char **v;
	size_t n;
};

/* A namespace clients may connect to. */
struct config_namespace {
	char *name; /* "/" or "/name"; no '#', no ',', at most 100 bytes */
	enum policy_auth auth;
	bool recovery;		   /* clients get what they missed while away */
	struct str_list apps;	   /* applications that serve it, asked in this order */
	struct policy_room *rooms; /* the first that matches a room's name decides */
	size_t rooms_n;
	struct policy_queue *queues; /* likewise */
	size_t queues_n;
};

/* Where to listen, as `listen` and `opsListen` say it. */
struct config_listen {
	char *text;	   /* as it was written */
	char *host, *port; /* NULL: a unix socket */
	char *path;	   /* of a unix socket */
	unsigned mode;	   /* of its file */
	bool tls;
	bool proxy; /* each connection begins with a PROXY protocol header */
};

#define CONFIG_TYPE_BOOL   bool
#define CONFIG_TYPE_INT	   uint64_t
#define CONFIG_TYPE_STR	   char *
#define CONFIG_TYPE_SECRET char *
#define CONFIG_TYPE_LIST   struct str_list

struct config {
#define CONFIG_FIELD_(type, field, key, unit, min, max, def, dev, help)                  \
	CONFIG_TYPE_##type field;
	SETTINGS_TABLE(CONFIG_FIELD_)
#undef CONFIG_FIELD_
	bool dev;
	struct config_listen *listen_at; /* from `listen`, as many */
	struct config_listen ops_at;	 /* from `opsListen`; used if that is set */
	struct address_net *trusted;	 /* from `trustedProxies`, as many */
	struct config_namespace *namespaces;
	size_t namespaces_n;
	/* From `redis`; used if it is set. */
	struct config_redis {
		char *host; /* NULL: unix socket at `path` */
		uint16_t port;
		char *path;
		char *username, *password; /* NULL: none */
		unsigned db;
	} redis_at;
	char *jwt_key; /* from jwtSecret or jwtSecretFile; NULL: no tokens */
	size_t jwt_key_n;
};

enum config_result {
	CONFIG_RUN,   /* go on with the configuration */
	CONFIG_DONE,  /* --help, --version or a good --check-config: printed, exit 0 */
	CONFIG_WRONG, /* the reasons are in `errors`, one a line: exit 2 */
};

/* Read flags, environment (`env`: as environ) and the file they name. `app_names`, ended
 * by NULL: the applications this program has. What --help and so on print goes to `out`.
 * `c` is filled in every case and must be given to config_deinit. */
enum config_result config_load(struct config *c, int argc, char *const *argv,
			       char *const *env, const char *const *app_names,
			       struct buf *out, struct buf *errors);
/* The same for a program beside the nodes that needs their Redis and nothing else: what
 * would keep a node from starting is no mistake. ERR_SYNTAX: the reasons are in `errors`.
 */
MUST_USE enum err config_load_redis(struct config *c, int argc, char *const *argv,
				    char *const *env, const char *const *app_names,
				    struct buf *errors);
void config_deinit(struct config *c);

/* Is it in the list; may clients use it? */
bool config_has_origin(const struct config *c, struct slice origin);
bool config_has_transport(const struct config *c, enum eio_transport transport);

/* The reference page docs/configuration.md, from the table. */
void config_reference(struct buf *out);

#endif
