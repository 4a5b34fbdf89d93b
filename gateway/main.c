#include "gateway/queues_app.h"
#include "gateway/rooms_app.h"
#include "gateway/run.h"

int main(int argc, char **argv)
{
	const struct app_ops *const apps[] = {&rooms_app, &queues_app, NULL};

	return gatehouse_run(argc, argv, apps);
}
