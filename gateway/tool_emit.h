/* `gatehouse emit …`: publish an event to a room from a shell, so that clients that are
 * away get it when they come back (docs/recovery.md). */
#ifndef GATEHOUSE_GATEWAY_TOOL_EMIT_H
#define GATEHOUSE_GATEWAY_TOOL_EMIT_H

/* The whole of it; argv[0] is the first word behind "emit". Returns the exit code: 0, 1
 * (Redis is away, or refused it) or 2 (it was called wrongly). */
int tool_emit(int argc, char *const *argv);

#endif
