#include "adapter/redis/library.h"

#include <assert.h>
#include <stdlib.h>

enum { RETRY_MS = 1000 };

static void on_checked(struct redis_call *call, const struct resp *r);
static void on_loaded(struct redis_call *call, const struct resp *r);

void redis_library_init(struct redis_library *l, struct redis_core *core,
			struct redis_link *link, const char *text, const char *version,
			const char *log_id)
{
	*l = (struct redis_library){.core = core,
				    .link = link,
				    .text = text,
				    .version = version,
				    .log_id = log_id};
	l->check = (struct redis_call){.on_reply = on_checked, .ctx = l};
	l->load = (struct redis_call){.on_reply = on_loaded, .ctx = l};
}

/* The one place where the state changes. */
static void set_state(struct redis_library *l, enum redis_library_state to)
{
	static const unsigned from[] = {
		[LIBRARY_AWAY] = ~0u,
		[LIBRARY_IDLE] = 1u << LIBRARY_AWAY | 1u << LIBRARY_CHECKING |
				 1u << LIBRARY_LOADING | 1u << LIBRARY_OPEN,
		[LIBRARY_CHECKING] = 1u << LIBRARY_IDLE,
		[LIBRARY_LOADING] = 1u << LIBRARY_CHECKING,
		[LIBRARY_OPEN] = 1u << LIBRARY_CHECKING | 1u << LIBRARY_LOADING,
	};

	assert(from[to] & 1u << l->state);
	l->state = to;
}

/* The version in its text, so that it is said once. */
static int64_t version(const struct redis_library *l)
{
	const char *at = strstr(l->text, "local VERSION = ");

	assert(at);
	return strtoll(at + strlen("local VERSION = "), NULL, 10);
}

static bool is_missing(const struct resp *r)
{
	return r->type == RESP_ERROR &&
	       slice_starts(r->s, SLICE_LIT("ERR Function not found"));
}

void redis_library_refused(struct redis_library *l, struct slice error)
{
	redis_core_complain(l->core, &l->complained_ms, l->log_id, error);
	if (redis_link_is_passing(error))
		redis_link_refused(l->link, error);
}

static void retry_later(struct redis_library *l, struct slice error)
{
	set_state(l, LIBRARY_IDLE);
	l->retry_ms = redis_core_now(l->core) + RETRY_MS;
	redis_library_refused(l, error);
}

static void on_loaded(struct redis_call *call, const struct resp *r)
{
	struct redis_library *l = call->ctx;

	if (!r || l->state != LIBRARY_LOADING)
		return;
	if (r->type == RESP_ERROR)
		retry_later(l, r->s);
	else
		set_state(l, LIBRARY_OPEN);
}

static void on_checked(struct redis_call *call, const struct resp *r)
{
	struct redis_library *l = call->ctx;
	struct buf *out = redis_link_out(l->link);

	if (!r || l->state != LIBRARY_CHECKING)
		return;
	if (r->type == RESP_INT && r->i >= version(l)) {
		set_state(l, LIBRARY_OPEN);
		return;
	}
	if (r->type == RESP_ERROR && !is_missing(r)) {
		retry_later(l, r->s);
		return;
	}
	set_state(l, LIBRARY_LOADING);
	resp_command(out, 4);
	resp_word_str(out, "FUNCTION");
	resp_word_str(out, "LOAD");
	resp_word_str(out, "REPLACE");
	resp_word_str(out, l->text);
	redis_link_expect(l->link, &l->load);
}

void redis_library_on_ready(struct redis_library *l)
{
	set_state(l, LIBRARY_IDLE);
	l->retry_ms = 0;
}

void redis_library_on_cut(struct redis_library *l)
{
	set_state(l, LIBRARY_AWAY);
}

bool redis_library_want(struct redis_library *l)
{
	struct buf *out = redis_link_out(l->link);

	if (l->state != LIBRARY_IDLE || redis_core_now(l->core) < l->retry_ms)
		return l->state == LIBRARY_OPEN;
	set_state(l, LIBRARY_CHECKING);
	resp_command(out, 3);
	resp_word_str(out, "FCALL");
	resp_word_str(out, l->version);
	resp_word_str(out, "0");
	redis_link_expect(l->link, &l->check);
	return false;
}

bool redis_library_missing(struct redis_library *l, const struct resp *r)
{
	if (!is_missing(r))
		return false;
	if (l->state == LIBRARY_OPEN)
		set_state(l, LIBRARY_IDLE);
	return true;
}
