/* When a worker that ended is started again. */
#include "gateway/restart.h"

#include "test.h"

int main(void)
{
	static const struct {
		uint64_t lived_ms, wait_ms;
	} lives[] = {
		{0, 0},		 {0, 1000},	{10, 2000}, {59999, 4000},
		{5, 8000},	 {5, 16000},	{5, 30000}, {5, 30000},
		{60000, 0},	 {59999, 1000}, {0, 2000},  {UINT64_MAX, 0},
		{UINT64_MAX, 0}, {0, 1000},
	};
	struct restart r = {0};

	for (size_t i = 0; i < sizeof(lives) / sizeof(lives[0]); i++)
		CHECK(restart_wait(&r, lives[i].lived_ms) == lives[i].wait_ms);
	for (int i = 0; i < 1000; i++)
		CHECK(restart_wait(&r, 0) <= RESTART_MS_MAX);
	return test_done();
}
