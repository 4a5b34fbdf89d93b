/* `gatehouse queue …`: what an operator or a script does with queues, through the same
 * Redis as the nodes. */
#ifndef GATEHOUSE_GATEWAY_TOOL_QUEUE_H
#define GATEHOUSE_GATEWAY_TOOL_QUEUE_H

#include "proto/buf.h"
#include "proto/err.h"

/* The whole of it; argv[0] is the first word behind "queue". Returns the exit code: 0, 1
 * (Redis is away, or refused it) or 2 (it was called wrongly). */
int tool_queue(int argc, char *const *argv);

/* What a command line says. For tool_queue.c; split off since nothing in it needs Redis.
 */
enum tool_queue_command {
	TOOL_HELP,
	TOOL_PUSH,
	TOOL_PEEK,
	TOOL_DEPTH,
	TOOL_DEAD_LIST,
	TOOL_DEAD_REQUEUE,
	TOOL_DEAD_DROP,
};

struct tool_queue_args {
	enum tool_queue_command command;
	bool json, raw;
	const char *group, *key; /* NULL: none */
	uint64_t delay_ms, ttl_ms, after;
	size_t limit;
	char *const *words; /* queue, and what follows it */
	size_t words_n;
	/* Flags of settings, with the program's name before them. */
	char **settings;
	int settings_n;
};

/* Sentences about what is wrong go to `errors`, one a line: ERR_SYNTAX. */
MUST_USE enum err tool_queue_read(int argc, char *const *argv, struct tool_queue_args *a,
				  struct buf *errors);
void tool_queue_args_deinit(struct tool_queue_args *a);
void tool_queue_help(struct buf *out);

#endif
