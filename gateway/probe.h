/* `gatehouse --probe URL`: does this URL answer with success? For the health checks of
 * container images, which have no curl. A program of its own in the same file: it knows
 * neither configuration nor node, blocks, and the process ends with it. */
#ifndef GATEHOUSE_GATEWAY_PROBE_H
#define GATEHOUSE_GATEWAY_PROBE_H

#include <stdbool.h>

/* Is this what the command line asks for? --probe counts only as the first argument. */
bool probe_asked(int argc, char *const *argv);

/* GET the URL, and return the code to exit with: 0 if the status of the answer is 2xx,
 * else 1, with a line on standard error that says what came instead. Each step (connect,
 * send, receive) may take five seconds. */
int probe_run(int argc, char *const *argv);

#endif
