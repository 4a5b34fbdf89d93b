/* A Redis and the connections to it, in one process and under the test's thumb: what a
 * node asks for is carried out, and what comes back delivered, only when bus_step says
 * so, in an order the test draws. Within each connection the order is kept, as it is with
 * Redis: a node has one for commands and one that subscribes, and answers on the one may
 * overtake messages on the other. */
#ifndef GATEHOUSE_TESTS_SIM_BUS_H
#define GATEHOUSE_TESTS_SIM_BUS_H

#include "adapter/adapter.h"
#include "proto/buf.h"
#include "proto/list.h"
#include "store.h"

enum { BUS_NODES_MAX = 4, BUS_QUEUES = 4 };

struct bus_node {
	struct adapter base;
	struct bus *bus;
	bool dead; /* its process is gone: it hears and says nothing any more */
	bool deaf; /* its connection for subscriptions is cut */
	bool mute; /* that for commands: what is numbered does not count until it is back
		    */
	/* commands out, their answers in, subscriptions out, messages in */
	struct link queues[BUS_QUEUES];
	struct link subscribed; /* channels */
	struct link again;	/* session requests whose answer a cut took */
	uint64_t position;	/* the highest number it has heard */
};

struct bus {
	struct bus_node nodes[BUS_NODES_MAX];
	size_t n;
	struct store store;
};

/* Give `real`'s place to an adapter of the bus; its events go on. */
struct adapter *bus_join(struct bus *b, const struct adapter *real);
/* The end of it: what waits hears ERR_CLOSED. */
void bus_leave(struct bus_node *n);
/* Cut the connection that brings messages: what was on its way to it is lost. */
void bus_cut(struct bus_node *n);
/* Cut the other one: what the node asks for waits. Of what it hears, the numbered
 * messages are left for when it is back, which does not hold for the others. */
void bus_cut_commands(struct bus_node *n);
bool bus_is_cut(const struct bus_node *n);
/* It is back: the node hears what was numbered meanwhile, in order. */
void bus_mend(struct bus_node *n);
/* How many things could happen next. */
size_t bus_choices(const struct bus *b);
/* Let the `choice`th of them happen; the node that was told something, or NULL. */
struct bus_node *bus_step(struct bus *b, size_t choice);
/* Publish as a peer that is no node: `data` is an encoded array. */
void bus_publish(struct bus *b, const char *nsp, const char *room, struct slice data);
/* Likewise, numbered and logged; to several rooms, or to all. The number. */
uint64_t bus_publish_logged(struct bus *b, const struct cluster_broadcast *message);
void bus_init(struct bus *b);
void bus_deinit(struct bus *b);

#endif
