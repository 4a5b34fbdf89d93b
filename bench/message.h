/* What the load generator says to a server: events made from templates, in which the
 * message is a string of a given size that holds its number and when it was to be sent.
 * Servers pass the string on; where they put it in the event that comes out does not
 * matter. */
#ifndef GATEHOUSE_BENCH_MESSAGE_H
#define GATEHOUSE_BENCH_MESSAGE_H

#include "proto/buf.h"
#include "proto/err.h"

enum { MESSAGE_SIZE_MIN = 64, MESSAGE_SIZE_MAX = 65536 };

struct message {
	uint32_t run;  /* tells messages of one run from those of others */
	uint32_t room; /* it was sent to */
	uint64_t number;
	uint64_t due_ns; /* when it was to be sent */
};

/* Append the message as text of exactly `size` bytes that need no escapes in JSON. */
void message_write(struct buf *out, const struct message *m, size_t size);

/* Find a message of this run in what came. ERR_NOT_FOUND: there is none. */
MUST_USE enum err message_find(struct slice text, uint32_t run, struct message *m);

/* Append a Socket.IO EVENT packet ("42…") made from a template, JSON of an array in which
 * {room} stands for the room's name, {message} for the message and {conn} for the number
 * of the connection. `nsp` is empty or ends with a comma. `id`: negative for no ack. */
struct event {
	struct slice nsp, room, message;
	uint32_t conn;
	int64_t id;
};
void message_event(struct buf *out, const char *template, const struct event *e);

/* Is it a template? ERR_SYNTAX: with its placeholders filled in it is no JSON array that
 * begins with a string. ERR_NOT_FOUND: it lacks {message}, and `needs_message`. */
MUST_USE enum err message_template_check(const char *template, bool needs_message);

#endif
