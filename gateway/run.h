/* The program: configuration, signals, start and end. */
#ifndef GATEHOUSE_GATEWAY_RUN_H
#define GATEHOUSE_GATEWAY_RUN_H

#include "gateway/app.h"

/* Run a node with these applications (ended by NULL) until SIGTERM or SIGINT. The exit
 * code: 0 ended as told, 1 could not start or was told twice, 2 wrong settings. */
int gatehouse_run(int argc, char **argv, const struct app_ops *const *apps);

#endif
