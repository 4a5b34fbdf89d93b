/* The numbered messages as this node hears them (adapter/session.h): its position, and
 * what it missed while its subscriptions were cut, from the last messages that Redis
 * keeps of all. And the node's log channel, `<key>-log#<code>#`, on which what has a
 * place in the order of messages comes to it: see lua/rooms.lua.
 *
 * With sessions off it does nothing and is always live. */
#ifndef GATEHOUSE_ADAPTER_REDIS_STREAM_H
#define GATEHOUSE_ADAPTER_REDIS_STREAM_H

#include "adapter/redis/library.h"
#include "adapter/redis/pubsub.h"

enum redis_stream_state {
	STREAM_AWAY,	/* not everything is connected and subscribed */
	STREAM_SYNCING, /* it hears all again; what it missed is to come first */
	STREAM_LIVE,
};

enum { STREAM_ERA_LEN = 8, STREAM_ERA_MAX = 24 };

/* What the log channel brings that is not the stream's own. */
struct redis_stream_events {
	void (*on_reply)(void *ctx, uint64_t token, uint64_t number, bool end,
			 const struct slice *messages, size_t n);
};

struct redis_stream {
	enum redis_stream_state state;
	struct redis_core *core;
	struct redis_link *link; /* of commands */
	struct redis_pubsub *pubsub;
	struct redis_library *library;
	const struct redis_stream_events *events;
	void *ctx;
	bool ever;  /* it was live before */
	bool asked; /* the answer to gh_sync is to come */
	bool due;  /* the answer of gh_sync itself, on the link of commands, is to come */
	bool told; /* that data was lost, since its era was heard: the next look knows of
		      it */
	uint64_t losses; /* as Redis said last: another one if data was lost since */
	uint64_t token;	 /* drawn last, for whatever comes on the log channel */
	uint64_t sync_token;
	uint64_t sync_ms; /* LIVE: next look */
	char era[STREAM_ERA_MAX + 1];
	uint64_t number; /* position */
	uint64_t known;	 /* highest number known of this era */
	char next_era[STREAM_ERA_LEN + 1];
	struct redis_call sync;
	struct buf base, channel, caps, text;
	struct cluster_rooms decoded;
	struct slice *messages;
	size_t messages_cap;
};

void redis_stream_init(struct redis_stream *s, struct redis_core *core,
		       struct redis_link *link, struct redis_pubsub *pubsub,
		       struct redis_library *library,
		       const struct redis_stream_events *events, void *ctx);
void redis_stream_deinit(struct redis_stream *s);
static inline bool redis_stream_on(const struct redis_stream *s)
{
	return s->core->options.sessions.on;
}
/* Links are ready and subscriptions live; one of them no longer. */
void redis_stream_on_restored(struct redis_stream *s);
void redis_stream_on_cut(struct redis_stream *s);
static inline bool redis_stream_is_live(const struct redis_stream *s)
{
	return s->state == STREAM_LIVE || !redis_stream_on(s);
}
/* A numbered message came: is it to be delivered? Not while what was missed is to come.
 */
bool redis_stream_hear(struct redis_stream *s, const struct cluster_broadcast *b);
/* What came on the log channel. */
void redis_stream_on_log(struct redis_stream *s, struct slice message);
/* Redis answered a publish, or a leave: the last number, and its era. */
void redis_stream_on_published(struct redis_stream *s, uint64_t number, struct slice era);
void redis_stream_turn(struct redis_stream *s);
/* The position's number and text. */
uint64_t redis_stream_position(const struct redis_stream *s, struct slice *offset);
/* Append the text of that number in the present era. */
void redis_stream_put_offset(const struct redis_stream *s, uint64_t number,
			     struct buf *out);

#endif
