/* A node is one gateway process: it owns the loop's objects, the adapter, the namespaces
 * with their applications, and the conns, and it drives them: everything that happened in
 * a loop turn is finished before the loop sleeps (node_turn). */
#ifndef GATEHOUSE_GATEWAY_NODE_H
#define GATEHOUSE_GATEWAY_NODE_H

#include <uv.h>

#include "adapter/adapter.h"
#include "gateway/address_book.h"
#include "gateway/config.h"
#include "gateway/conns.h"
#include "gateway/metrics.h"
#include "gateway/move.h"
#include "gateway/namespace.h"
#include "gateway/ops.h"
#include "gateway/polling.h"
#include "gateway/recovery.h"
#include "gateway/relay.h"
#include "gateway/upgrade.h"
#include "proto/id.h"

enum {
	NODE_SCRATCH_KEEP = 256 * 1024,
	NODE_IDS_DRAWN = 16, /* ids whose randomness is asked for in one system call */
};

enum node_state {
	NODE_STARTING, /* not ready yet: the backend was never up */
	NODE_READY,
	NODE_LINGERING, /* told to stop; takes clients until load balancers noticed */
	NODE_DRAINING,	/* takes no clients, and those it has leave */
	NODE_CLOSING,	/* no conn is left; the adapter says good-bye */
	NODE_STOPPED,	/* everything is closed */
};

/* What who stops a node hears, in this order. */
struct node_stop_events {
	/* Take no clients any more: close their listeners. */
	void (*on_drain)(void *arg);
	/* node_free may follow. */
	void (*on_stopped)(void *arg);
};

struct node {
	uv_loop_t *loop;
	const struct env *env;
	const struct config *config;
	struct adapter *adapter;
	struct namespace *namespaces;
	struct app *apps;
	size_t apps_n;
	struct conns conns;
	struct address_book addresses;
	struct pollings pollings;
	struct upgrades upgrades;
	struct relays relays;
	struct moves moves;
	struct recoveries recoveries;
	struct link acks;	  /* due from clients, by time */
	struct link room_ops;	  /* joins to finish at the end of the turn */
	struct link dead_sockets; /* to free at the end of the turn */
	uv_prepare_t prepare;
	uv_check_t check;
	uv_timer_t timer;
	uint64_t timer_at;
	uint64_t drain_at;   /* LINGERING: when to drain */
	uint64_t drained_at; /* DRAINING: until when clients of other nodes' sessions and
			      * last words are waited for, once no conn is left */
	enum node_state state;
	bool backend_up;
	uint64_t start_wall_ms;
	uint64_t woke_ms; /* when the loop last woke up; 0: not yet */
	uint64_t turn_max_ms, turn_max_before_ms; /* longest turn of this time, and of the
						     one before */
	uint64_t turn_max_at_ms;		  /* when this time began */
	uint64_t mark;				  /* number of the last broadcast */
	uint32_t sockets_made;
	uint64_t malformed; /* broadcasts whose data could not be encoded */
	uint64_t seed[2];
	uint8_t id_random[NODE_IDS_DRAWN * ID_RANDOM_LEN];
	size_t id_random_n;		 /* bytes of it that are no id yet */
	struct buf decode, encode, text; /* scratch: one packet in, one out, its JSON */
	struct json_bins bins;
	struct metrics metrics;
	struct ops_source ops; /* what operators see of it; the supervisor puts its own */
	const struct node_stop_events *stop_events;
	void *stop_arg;
	unsigned closing_handles;
	char code[NODE_CODE_LEN + 1];
};

/* Build the node. `apps`, ended by NULL, are those the configuration may name. Everything
 * passed in outlives the node. */
struct node *node_new(uv_loop_t *loop, const struct env *env, const struct config *config,
		      const struct app_ops *const *apps);
/* Connect the backend; conns may come. */
void node_start(struct node *n);
/* Not ready from now on. After drainDelay the conns leave, evenly over drainTime; when
 * the last is gone the adapter closes. Conns that are gone before, or never were there,
 * are not waited for. Once. */
void node_stop(struct node *n, const struct node_stop_events *events, void *arg);
static inline bool node_is_stopping(const struct node *n)
{
	return n->state > NODE_READY;
}
void node_free(struct node *n);

/* How to reach Redis, as configured; borrows from `c`. */
struct adapter_redis_options node_redis_options(const struct config *c);

/* NULL if it is not configured. */
struct namespace *node_namespace(struct node *n, struct slice name);
struct app *node_app(struct node *n, struct slice name);
/* Draw an id: this node's code and 14 random characters. */
void node_new_id(struct node *n, char id[ID_LEN]);
/* Encode a packet for the transports; one reference. Errors as frame_ws_sio. */
MUST_USE enum err node_frame(struct node *n, const struct sio_packet *packet,
			     enum frame_encoding encoding, struct frame **out);
/* Bring the gauges of n->metrics up to date. */
void node_measure(struct node *n);

#endif
