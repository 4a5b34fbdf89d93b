#include "gateway/restart.h"

uint64_t restart_wait(struct restart *r, uint64_t lived_ms)
{
	if (lived_ms >= RESTART_LIVED_MS)
		*r = (struct restart){0};
	if (r->failures++ == 0)
		return 0;
	r->wait_ms = r->wait_ms ? r->wait_ms * 2 : RESTART_MS_MIN;
	if (r->wait_ms > RESTART_MS_MAX)
		r->wait_ms = RESTART_MS_MAX;
	return r->wait_ms;
}
