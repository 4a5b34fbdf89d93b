/* What `gatehouse queue` and `gatehouse emit` have in common: a connection to the Redis
 * of the nodes, requests that are waited for, and what is said when it does not work. */
#ifndef GATEHOUSE_GATEWAY_TOOL_H
#define GATEHOUSE_GATEWAY_TOOL_H

#include <uv.h>

#include "adapter/adapter.h"
#include "gateway/config.h"

/* Exit codes: Redis is away, or refused it; it was called wrongly. */
enum { TOOL_CODE_FAILED = 1, TOOL_CODE_WRONG = 2 };

struct tool {
	struct config config;
	uv_loop_t loop;
	uv_prepare_t prepare;
	struct adapter *adapter;
	size_t under_way;
	enum err err;	/* the first */
	struct buf log; /* the last thing Redis's connection had to say */
	bool up, told;	/* connected once; that it is waited for was said */
	bool closed;
};

/* Connect as these flags say, the program's name before them; `logged`: to publish what
 * is numbered and logged. ERR_SYNTAX: the reasons are in `errors`. */
MUST_USE enum err tool_open(struct tool *t, int argc, char *const *argv, bool logged,
			    struct buf *errors);
void tool_close(struct tool *t);
/* In every case. */
void tool_deinit(struct tool *t);
/* Until so few requests are under way. */
void tool_wait(struct tool *t, size_t under_way);
/* One of them was answered. */
void tool_answered(struct tool *t, enum err err);
/* Say that it failed, and why. The exit code. */
int tool_failed(struct tool *t, const char *name);

#endif
