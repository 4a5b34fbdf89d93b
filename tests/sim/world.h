/* Three real nodes on a bus (bus.h), a clock and randomness that a seed decides, for
 * programs that draw what happens next. One world at a time. */
#ifndef GATEHOUSE_TESTS_SIM_WORLD_H
#define GATEHOUSE_TESTS_SIM_WORLD_H

#include "bus.h"
#include "gateway/node.h"

enum { NODES = 3 };

extern struct bus bus;
extern struct node *nodes[NODES];
extern struct adapter *real[NODES]; /* the adapters the nodes had before the bus's */
extern uint64_t now_ms;

uint64_t draw(void);
size_t draw_below(size_t n);
/* With the application `rooms`; all nodes are up. `config` outlives it. */
void world_start(uint64_t seed, const struct config *config);
void world_stop(void);
/* One that lives. */
size_t any_node(void);
/* Let a node do what is to be done, or all. */
void turn(size_t i);
void turn_all(void);
/* Let one of the things happen that could happen on the bus. */
void bus_some(void);
/* Flags, as a node has them: the configuration of one with --dev and Redis. */
void world_config(struct config *config);

#endif
