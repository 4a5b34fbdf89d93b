/* `gatehouse bench`: load for a Socket.IO server, and what came of it. A program of its
 * own in the same file: it knows neither configuration nor node, stands on proto/ alone,
 * and the process ends with it. */
#ifndef GATEHOUSE_BENCH_BENCH_H
#define GATEHOUSE_BENCH_BENCH_H

#include <stdbool.h>

/* Is this what the command line asks for? The word counts only as the first argument. */
bool bench_asked(int argc, char *const *argv);

/* Do it, and return the code to exit with: 0; 1 if a message was lost, doubled, reordered
 * or misrouted, or a connection failed; 2 if it could not begin; 130 if told to stop
 * twice. */
int bench_run(int argc, char *const *argv);

#endif
