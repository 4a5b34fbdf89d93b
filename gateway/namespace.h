/* A namespace clients may connect to: its sockets, its rooms, its applications. */
#ifndef GATEHOUSE_GATEWAY_NAMESPACE_H
#define GATEHOUSE_GATEWAY_NAMESPACE_H

#include "adapter/adapter.h"
#include "gateway/app.h"
#include "gateway/config.h"
#include "proto/table.h"

struct node;

/* An application as opened by a node. */
struct app {
	const struct app_ops *ops;
	void *state;
};

struct namespace
{
	struct node *node;
	const struct config_namespace *config;
	struct slice name;    /* of the configuration */
	struct table sockets; /* by id */
	struct table rooms;   /* by name; own-id rooms are not in it */
	struct app **apps;
	size_t apps_n;
};

void namespace_init(struct namespace *ns, struct node *n,
		    const struct config_namespace *config);
void namespace_deinit(struct namespace *ns);
/* As adapter_publish; logged, where there is recovery and it is not volatile. */
void namespace_publish(struct namespace *ns, const struct cluster_broadcast *b,
		       adapter_done_fn *done, void *arg);

#endif
