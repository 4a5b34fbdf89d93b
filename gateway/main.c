#include "bench/bench.h"
#include "gateway/queues_app.h"
#include "gateway/rooms_app.h"
#include "gateway/run.h"
#include "gateway/tool_emit.h"
#include "gateway/tool_queue.h"

int main(int argc, char **argv)
{
	const struct app_ops *const apps[] = {&rooms_app, &queues_app, NULL};

	if (argc > 1 && strcmp(argv[1], "queue") == 0)
		return tool_queue(argc - 2, argv + 2);
	if (argc > 1 && strcmp(argv[1], "emit") == 0)
		return tool_emit(argc - 2, argv + 2);
	if (bench_asked(argc, argv))
		return bench_run(argc, argv);
	return gatehouse_run(argc, argv, apps);
}
