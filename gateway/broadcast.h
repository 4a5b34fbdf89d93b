/* From one message of the adapter to the sockets it is for: encoded once, shared by all.
 */
#ifndef GATEHOUSE_GATEWAY_BROADCAST_H
#define GATEHOUSE_GATEWAY_BROADCAST_H

#include "proto/cluster.h"

struct node;

void broadcast_deliver(struct node *n, const struct cluster_broadcast *b);

#endif
