#include "gateway/namespace.h"

#include <assert.h>
#include <stdlib.h>

#include "gateway/node.h"
#include "proto/mem.h"

void namespace_init(struct namespace *ns, struct node *n,
		    const struct config_namespace *config)
{
	*ns = (struct namespace){
		.node = n,
		.config = config,
		.name = slice_str(config->name),
		.apps_n = config->apps.n,
		.apps = mem_zalloc(config->apps.n, sizeof(struct app *)),
	};
	table_init(&ns->sockets, n->seed);
	table_init(&ns->rooms, n->seed);
	for (size_t i = 0; i < ns->apps_n; i++) {
		ns->apps[i] = node_app(n, slice_str(config->apps.v[i]));
		assert(ns->apps[i]); /* config_load knows the names */
	}
}

void namespace_deinit(struct namespace *ns)
{
	assert(ns->sockets.n == 0 && ns->rooms.n == 0);
	table_deinit(&ns->sockets);
	table_deinit(&ns->rooms);
	free(ns->apps);
}

void namespace_publish(struct namespace *ns, const struct cluster_broadcast *b,
		       adapter_done_fn *done, void *arg)
{
	struct cluster_broadcast logged = *b;

	if (ns->config->recovery && !(b->flags & (CLUSTER_VOLATILE | CLUSTER_LOCAL)))
		logged.flags |= CLUSTER_LOGGED;
	adapter_publish(ns->node->adapter, &logged, done, arg);
}
