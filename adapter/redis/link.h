/* One connection to Redis that is made again whenever it breaks: back-off with jitter,
 * the greeting (AUTH, SELECT, CLIENT SETNAME, what the owner adds, INFO), answers
 * matched to commands, probes, and a deadline for silence.
 *
 * Commands are written into redis_link_out and each is followed by one
 * redis_link_expect; redis_link_flush sends what was gathered, once per loop turn. Before
 * the greeting is done only on_greet may write. */
#ifndef GATEHOUSE_ADAPTER_REDIS_LINK_H
#define GATEHOUSE_ADAPTER_REDIS_LINK_H

#include "adapter/redis/core.h"
#include "adapter/redis/resp.h"
#include "adapter/redis/wire.h"

enum redis_link_state {
	REDIS_LINK_NEW,	       /* not opened */
	REDIS_LINK_WAITING,    /* for the next try */
	REDIS_LINK_CONNECTING, /* resolving the name counts */
	REDIS_LINK_GREETING,
	REDIS_LINK_READY,
	REDIS_LINK_CLOSED,
};

/* A command that waits for its answer, embedded in what knows what to do with it. */
struct redis_call {
	struct link link;
	/* `r` is NULL if the connection broke before: it may have been executed. */
	void (*on_reply)(struct redis_call *c, const struct resp *r);
	void *ctx;
};

struct redis_link_hooks {
	/* Add commands that must be answered before the link is ready; may be NULL. */
	void (*on_greet)(void *ctx);
	void (*on_ready)(void *ctx);
	/* It was ready and no longer is. The calls are told right after it. */
	void (*on_cut)(void *ctx);
	/* Set on the link that subscribes: what arrives answers no call. */
	void (*on_push)(void *ctx, const struct resp *r);
};

/* Borrowed for as long as the link lives. */
struct redis_link_options {
	const char *name; /* "commands" or "subscriptions": for the log and Redis */
	struct wire_target target;
	const char *username, *password; /* NULL: none */
	unsigned db;
	uint64_t reply_timeout_ms, backoff_ms_min, backoff_ms_max;
};

enum {
	REDIS_RUN_ID_MAX = 48,
	/* One string that Redis sends, see resp_reader_new. More than the largest message
	 * a node may be set to take from a client (100 MiB), and far less than what Redis
	 * lets anybody publish (512 MB). */
	REDIS_STRING_MAX = 128 * 1024 * 1024,
};

enum redis_greet { GREET_AUTH, GREET_SELECT, GREET_SETNAME, GREET_INFO, GREET_N };

struct redis_link {
	enum redis_link_state state;
	struct redis_core *core;
	const struct redis_link_hooks *hooks;
	void *ctx;
	struct redis_link_options o;
	struct wire *wire;
	size_t handles; /* of wires, the closing ones included */
	struct resp_reader *reader;
	struct buf out;
	struct link calls;
	size_t due; /* answers owed, confirmations of subscriptions included */
	struct redis_call greet[GREET_N], probe;
	bool probing, version_told, eviction_told;
	uint64_t probe_sent_us;
	unsigned tries;	    /* failed ones in a row */
	uint64_t due_ms;    /* WAITING: next try; CONNECTING: deadline */
	uint64_t heard_ms;  /* last bytes, or when an answer became due */
	uint64_t probed_ms; /* when the last probe was sent */
	uint64_t ready_ms;
	char run_id[REDIS_RUN_ID_MAX]; /* of the server; empty: it would not say */
	struct buf told;	       /* last failure logged */
	uint64_t told_ms, connected_told_ms;
};

void redis_link_init(struct redis_link *l, struct redis_core *core,
		     const struct redis_link_options *o,
		     const struct redis_link_hooks *hooks, void *ctx);
/* Only once `handles` is 0. */
void redis_link_deinit(struct redis_link *l);
void redis_link_open(struct redis_link *l);
/* For good; the calls are told, on_cut is not called. */
void redis_link_close(struct redis_link *l);

static inline struct buf *redis_link_out(struct redis_link *l)
{
	return &l->out;
}
void redis_link_expect(struct redis_link *l, struct redis_call *c);
/* For the link that subscribes: `n` confirmations are to come, or one has come. */
void redis_link_owe(struct redis_link *l, size_t n);
void redis_link_paid(struct redis_link *l);
/* Bytes written and not yet taken by the kernel. */
size_t redis_link_backlog(const struct redis_link *l);
void redis_link_flush(struct redis_link *l);

/* Cut it and try again later; `id` and `text` are logged. */
void redis_link_fail(struct redis_link *l, const char *id, const char *text);
/* Cut it for an error that Redis answered; `channel`: which one it was about, or empty.
 */
void redis_link_refused_channel(struct redis_link *l, struct slice error,
				struct slice channel);
static inline void redis_link_refused(struct redis_link *l, struct slice error)
{
	redis_link_refused_channel(l, error, SLICE_EMPTY);
}
/* Is this an error of the server's state rather than of the command, so that another
 * connection, later, may do better? */
bool redis_link_is_passing(struct slice error);

/* What is due by time. */
void redis_link_tick(struct redis_link *l, uint64_t now);
/* This process itself stood still: forget silence it did not listen to. */
void redis_link_forgive(struct redis_link *l, uint64_t now);

#endif
