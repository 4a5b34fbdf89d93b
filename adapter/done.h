/* Whom to tell how something ended: one of the five callbacks of adapter.h with its
 * argument, so that what waits can be answered without knowing what it is. */
#ifndef GATEHOUSE_ADAPTER_DONE_H
#define GATEHOUSE_ADAPTER_DONE_H

#include "adapter/adapter.h"

enum done_kind { DONE_PLAIN, DONE_COUNT, DONE_MEMBERS, DONE_QUEUE, DONE_SESSION };

struct done {
	enum done_kind kind;
	union {
		adapter_done_fn *plain;
		adapter_count_fn *count;
		adapter_members_fn *members;
		adapter_queue_fn *queue;
		adapter_session_fn *session;
	};
	void *arg;
};

static inline struct done done_plain(adapter_done_fn *fn, void *arg)
{
	return (struct done){.kind = DONE_PLAIN, .plain = fn, .arg = arg};
}

static inline struct done done_count(adapter_count_fn *fn, void *arg)
{
	return (struct done){.kind = DONE_COUNT, .count = fn, .arg = arg};
}

static inline struct done done_members(adapter_members_fn *fn, void *arg)
{
	return (struct done){.kind = DONE_MEMBERS, .members = fn, .arg = arg};
}

static inline struct done done_queue(adapter_queue_fn *fn, void *arg)
{
	return (struct done){.kind = DONE_QUEUE, .queue = fn, .arg = arg};
}

static inline struct done done_session(adapter_session_fn *fn, void *arg)
{
	return (struct done){.kind = DONE_SESSION, .session = fn, .arg = arg};
}

/* Tell it, with no count and no members. A function that is NULL wants to hear nothing.
 * By value: the callee may free what held it. */
static inline void done_run(struct done d, enum err err)
{
	switch (d.kind) {
	case DONE_PLAIN:
		if (d.plain)
			d.plain(d.arg, err);
		break;
	case DONE_COUNT:
		if (d.count)
			d.count(d.arg, err, 0);
		break;
	case DONE_MEMBERS:
		if (d.members)
			d.members(d.arg, err, 0, NULL, 0, false);
		break;
	case DONE_QUEUE:
		if (d.queue)
			d.queue(d.arg, err, NULL);
		break;
	case DONE_SESSION:
		if (d.session)
			d.session(d.arg, err, NULL);
		break;
	}
}

#endif
