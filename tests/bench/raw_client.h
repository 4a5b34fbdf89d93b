/* The clients of bench/client.h once more, for servers that are no Socket.IO servers.
 * What to publish and to echo comes as the events of --emit and --echo, of which only
 * the room and the message are taken: RAW_CLIENT_EVENTS says how they must be. */
#ifndef GATEHOUSE_TESTS_BENCH_RAW_CLIENT_H
#define GATEHOUSE_TESTS_BENCH_RAW_CLIENT_H

#include <stdbool.h>

#define RAW_CLIENT_DIALECTS "plain, nchan, nats, http"
#define RAW_CLIENT_EVENTS                                                                \
	"--join [\"join\",\"{room}\"] --emit [\"emit\",\"{room}\",\"{message}\"] "       \
	"--echo [\"echo\",\"{room}\",\"{message}\"]"

/* Choose what all clients of the process speak. */
bool raw_client_speak(const char *dialect);

#endif
