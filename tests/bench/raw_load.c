/* bench-raw DIALECT SCENARIO URL [options]: `gatehouse bench` for servers that speak no
 * Socket.IO. Everything but the clients is the same program. */
#include <stdio.h>

#include "bench/bench.h"
#include "tests/bench/raw_client.h"

int main(int argc, char **argv)
{
	if (argc < 2 || !raw_client_speak(argv[1])) {
		fprintf(stderr, "usage: bench-raw DIALECT SCENARIO URL [options]\n"
				"Dialects: " RAW_CLIENT_DIALECTS "\n"
				"The rest is as `gatehouse bench --help` says.\n");
		return 2;
	}
	return bench_run(argc, argv);
}
