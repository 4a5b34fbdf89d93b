/* The supervisor of several workers (worker.h): the process a service manager knows. It
 * starts the workers, starts those again that end, passes on what it is told, and answers
 * operators for all of them. It serves no clients.
 *
 * It ends when it was told to and all workers have, or when the first workers could not
 * start, with their exit code. */
#ifndef GATEHOUSE_GATEWAY_SUPERVISOR_H
#define GATEHOUSE_GATEWAY_SUPERVISOR_H

#include "gateway/config.h"

/* How many processes the configuration asks for. */
unsigned supervisor_workers(const struct config *c);
/* Run that many, with the same arguments as this process has. The exit code: 0 ended as
 * told, 1 could not start, was told twice, or a worker ended badly when it was told to
 * stop, 2 wrong settings. */
int supervisor_run(const struct config *c, unsigned workers, char **argv);

#endif
