#include "adapter/redis/link.h"

#include <assert.h>
#include <stdlib.h>

#include "proto/mem.h"

enum {
	FEED_BYTES = 8 * 1024, /* see resp_reader_feed */
	PROBE_MS = 1000,       /* pause between probes */
	TELL_AGAIN_MS = 30000, /* the same failure, over and over */
	VERSION_MIN = 7,
	OUT_KEEP_BYTES = 256 * 1024
};

static void on_open(void *ctx);
static void on_read(void *ctx, const uint8_t *p, size_t n);
static void on_broken(void *ctx, const char *why);
static void on_greet_reply(struct redis_call *c, const struct resp *r);
static void on_probe_reply(struct redis_call *c, const struct resp *r);

static const struct wire_events wire_events = {on_open, on_read, on_broken};

void redis_link_init(struct redis_link *l, struct redis_core *core,
		     const struct redis_link_options *o,
		     const struct redis_link_hooks *hooks, void *ctx)
{
	*l = (struct redis_link){.core = core, .hooks = hooks, .ctx = ctx, .o = *o};
	link_init(&l->calls);
	for (size_t i = 0; i < GREET_N; i++)
		l->greet[i] = (struct redis_call){.on_reply = on_greet_reply, .ctx = l};
	l->probe = (struct redis_call){.on_reply = on_probe_reply, .ctx = l};
}

void redis_link_deinit(struct redis_link *l)
{
	assert(l->state == REDIS_LINK_NEW || l->state == REDIS_LINK_CLOSED);
	assert(l->handles == 0);
	resp_reader_free(l->reader);
	buf_deinit(&l->out);
	buf_deinit(&l->told);
}

/* The one place where the state changes. */
static void set_state(struct redis_link *l, enum redis_link_state to)
{
	static const unsigned from[] = {
		[REDIS_LINK_NEW] = 0,
		[REDIS_LINK_WAITING] = 1u << REDIS_LINK_NEW |
				       1u << REDIS_LINK_CONNECTING |
				       1u << REDIS_LINK_GREETING | 1u << REDIS_LINK_READY,
		[REDIS_LINK_CONNECTING] = 1u << REDIS_LINK_WAITING,
		[REDIS_LINK_GREETING] = 1u << REDIS_LINK_CONNECTING,
		[REDIS_LINK_READY] = 1u << REDIS_LINK_GREETING,
		[REDIS_LINK_CLOSED] = ~(1u << REDIS_LINK_CLOSED),
	};

	assert(from[to] & 1u << l->state);
	l->state = to;
}

void redis_link_open(struct redis_link *l)
{
	l->due_ms = redis_core_now(l->core);
	set_state(l, REDIS_LINK_WAITING);
}

/* Full jitter: anywhere up to a limit that doubles, so that the nodes of a cluster do
 * not come back in step. */
static uint64_t backoff_ms(struct redis_link *l)
{
	uint64_t limit = l->o.backoff_ms_min, random;

	for (unsigned i = 0; i < l->tries && limit < l->o.backoff_ms_max; i++)
		limit *= 2;
	if (limit > l->o.backoff_ms_max)
		limit = l->o.backoff_ms_max;
	if (l->tries < 64)
		l->tries++;
	env_random(l->core->base.env, &random, sizeof(random));
	return random % (limit + 1);
}

/* Let go of the connection and of what it owed. */
static void drop(struct redis_link *l)
{
	struct link calls, *link;

	if (l->wire)
		wire_close(l->wire);
	l->wire = NULL;
	buf_clear(&l->out);
	buf_trim(&l->out, OUT_KEEP_BYTES);
	l->due = 0;
	l->probing = false;
	link_init(&calls);
	list_splice(&calls, &l->calls);
	while ((link = list_pop(&calls))) {
		struct redis_call *c = container_of(link, struct redis_call, link);

		c->on_reply(c, NULL);
	}
}

void redis_link_close(struct redis_link *l)
{
	set_state(l, REDIS_LINK_CLOSED);
	drop(l);
}

/* A server that stays away says so once in a while, not with every try. */
static void tell(struct redis_link *l, const char *id, const char *text)
{
	uint64_t now = redis_core_now(l->core);
	struct slice last = buf_view(&l->told);

	if (slice_eq(last, slice_str(text)) && now - l->told_ms < TELL_AGAIN_MS)
		return;
	buf_clear(&l->told);
	buf_str(&l->told, text);
	l->told_ms = now;
	redis_core_log(l->core, ADAPTER_LOG_WARN, id, "link=%s %s", l->o.name, text);
}

void redis_link_fail(struct redis_link *l, const char *id, const char *text)
{
	bool was_ready = l->state == REDIS_LINK_READY;
	uint64_t now = redis_core_now(l->core);

	if (l->state == REDIS_LINK_WAITING || l->state == REDIS_LINK_CLOSED)
		return;
	if (was_ready && now - l->ready_ms > l->o.backoff_ms_max) {
		l->tries = 0; /* it had been fine */
		buf_clear(&l->told);
	}
	tell(l, id, text);
	l->due_ms = now + backoff_ms(l);
	set_state(l, REDIS_LINK_WAITING);
	if (was_ready)
		l->hooks->on_cut(l->ctx);
	/* on_cut may have closed the adapter, but that ends in a later turn. */
	drop(l);
}

/* What Redis answers when it is not the command's fault, and what to do about it. */
static const struct {
	const char *prefix, *id, *hint;
	bool passing;
} refusals[] = {
	{"WRONGPASS", "redis_auth_failed", "check the user and the password", true},
	{"NOAUTH", "redis_auth_needed", "this Redis asks for a password; none was set",
	 true},
	{"ERR AUTH", "redis_auth_failed",
	 "this Redis has no password; set none, or set one there", true},
	{"ERR Client sent AUTH", "redis_auth_failed",
	 "this Redis has no password; set none, or set one there", true},
	{"NOPERM", "redis_not_permitted",
	 "the user's ACL must allow keys ~gh:*, channels &* (a pattern is subscribed to) "
	 "and +@all -@dangerous +info",
	 false},
	{"LOADING", "redis_loading", "Redis reads its data; waiting", true},
	{"READONLY", "redis_readonly", "this is a replica; connect to the primary", true},
	{"MASTERDOWN", "redis_readonly", "this is a replica; connect to the primary",
	 true},
	{"ERR DB index", "redis_db_invalid", "this Redis has fewer databases", true},
	{"ERR invalid DB index", "redis_db_invalid", "this Redis has fewer databases",
	 true},
	{"ERR syntax error", "redis_version_old", "Redis 7.0 or newer is needed", true},
	{"ERR max number of clients", "redis_clients_max", "raise maxclients of Redis",
	 true},
	{"DENIED", "redis_protected", "Redis is in protected mode; set a password there",
	 true},
};

enum { REFUSALS_N = sizeof(refusals) / sizeof(refusals[0]) };

static size_t refusal_of(struct slice error)
{
	size_t i = 0;

	while (i < REFUSALS_N && !slice_starts(error, slice_str(refusals[i].prefix)))
		i++;
	return i;
}

bool redis_link_is_passing(struct slice error)
{
	size_t i = refusal_of(error);

	return i < REFUSALS_N && refusals[i].passing;
}

void redis_link_refused_channel(struct redis_link *l, struct slice error,
				struct slice channel)
{
	size_t i = refusal_of(error);
	struct buf text = BUF_INIT;

	buf_str(&text, "error=");
	redis_core_quote(&text, error);
	if (channel.n) {
		buf_str(&text, " channel=");
		redis_core_quote(&text, channel);
	}
	if (i < REFUSALS_N)
		buf_printf(&text, " hint=\"%s\"", refusals[i].hint);
	redis_link_fail(l, i < REFUSALS_N ? refusals[i].id : "redis_refused",
			buf_cstr(&text));
	buf_deinit(&text);
}

/* Only here it is said where: who mistyped the address has to see what became of it. */
static void unreachable(struct redis_link *l, const char *why)
{
	const struct wire_target *at = &l->o.target;
	struct buf text = BUF_INIT, where = BUF_INIT;

	buf_str(&where, at->host ? at->host : at->path);
	if (at->host)
		buf_printf(&where, ":%u", (unsigned)at->port);
	buf_str(&text, "at=");
	redis_core_quote(&text, buf_view(&where));
	buf_str(&text, " error=");
	redis_core_quote(&text, slice_str(why));
	redis_link_fail(l, "redis_unreachable", buf_cstr(&text));
	buf_deinit(&where);
	buf_deinit(&text);
}

static void on_broken(void *ctx, const char *why)
{
	struct redis_link *l = ctx;
	struct buf text = BUF_INIT;

	if (l->state == REDIS_LINK_CONNECTING) {
		unreachable(l, why);
		return;
	}
	buf_str(&text, "error=");
	redis_core_quote(&text, slice_str(why));
	redis_link_fail(l, "redis_cut", buf_cstr(&text));
	buf_deinit(&text);
}

static void connect_now(struct redis_link *l, uint64_t now)
{
	const char *why = "";

	set_state(l, REDIS_LINK_CONNECTING);
	l->due_ms = now + l->o.reply_timeout_ms;
	resp_reader_free(l->reader);
	l->reader = resp_reader_new(REDIS_STRING_MAX);
	l->wire = wire_open(l->core->options.loop, &l->o.target, &wire_events, l,
			    &l->handles, &why);
	if (!l->wire)
		on_broken(l, why);
}

/* All at once: Redis answers in order, and after a refusal nothing else counts. */
static void on_open(void *ctx)
{
	struct redis_link *l = ctx;
	struct buf name = BUF_INIT;

	set_state(l, REDIS_LINK_GREETING);
	if (l->o.password) {
		resp_command(&l->out, l->o.username ? 3 : 2);
		resp_word_str(&l->out, "AUTH");
		if (l->o.username)
			resp_word_str(&l->out, l->o.username);
		resp_word_str(&l->out, l->o.password);
		redis_link_expect(l, &l->greet[GREET_AUTH]);
	}
	resp_command(&l->out, 2);
	resp_word_str(&l->out, "SELECT");
	resp_word_u64(&l->out, l->o.db);
	redis_link_expect(l, &l->greet[GREET_SELECT]);
	buf_printf(&name, "gatehouse-%s-%s", l->core->base.node_code, l->o.name);
	resp_command(&l->out, 3);
	resp_word_str(&l->out, "CLIENT");
	resp_word_str(&l->out, "SETNAME");
	resp_word(&l->out, buf_view(&name));
	redis_link_expect(l, &l->greet[GREET_SETNAME]);
	buf_deinit(&name);
	if (l->hooks->on_greet)
		l->hooks->on_greet(l->ctx);
	resp_command(&l->out, 4);
	resp_word_str(&l->out, "INFO");
	resp_word_str(&l->out, "server");
	resp_word_str(&l->out, "replication");
	resp_word_str(&l->out, "memory");
	redis_link_expect(l, &l->greet[GREET_INFO]);
}

/* The value of a `name:value` line of INFO; empty if there is none. */
static struct slice info_get(struct slice info, struct slice name)
{
	while (info.n) {
		const uint8_t *end = memchr(info.p, '\n', info.n);
		size_t n = end ? (size_t)(end - info.p) : info.n;
		struct slice line = {info.p, n};

		info = slice_skip(info, end ? n + 1 : n);
		if (line.n && line.p[line.n - 1] == '\r')
			line.n--;
		if (slice_starts(line, name))
			return slice_skip(line, name.n);
	}
	return SLICE_EMPTY;
}

/* Not atoi: a slice has no end that it would stop at. */
static unsigned leading_number(struct slice s)
{
	unsigned n = 0;

	for (size_t i = 0; i < s.n && s.p[i] >= '0' && s.p[i] <= '9' && n < 1000; i++)
		n = n * 10 + (unsigned)(s.p[i] - '0');
	return n;
}

/* A Redis that may throw away any key. Nothing would put it right: a node whose rooms are
 * forgotten leaves its members behind when it dies. Told by the link for commands, which
 * is the one that has to do with keys. */
static void check_eviction(struct redis_link *l, struct slice info)
{
	struct slice max = info_get(info, SLICE_LIT("maxmemory:"));
	struct slice policy = info_get(info, SLICE_LIT("maxmemory_policy:"));

	bool keys = slice_starts(policy, SLICE_LIT("allkeys-"));
	/* Logs and sessions expire; one that is evicted is taken for empty. */
	bool logs = l->core->options.sessions.on &&
		    slice_starts(policy, SLICE_LIT("volatile-"));

	if (l->eviction_told || l->hooks->on_push || leading_number(max) == 0 ||
	    (!keys && !logs))
		return;
	l->eviction_told = true;
	redis_core_log(l->core, ADAPTER_LOG_WARN, "redis_evicts",
		       "maxmemory=%.*s maxmemory_policy=%.*s hint=\"%s; set "
		       "maxmemory-policy to noeviction\"",
		       SLICE_FMT(max), SLICE_FMT(policy),
		       keys ? "members of rooms may get lost or stay for ever"
			    : "clients that were away may miss events and not be told");
}

static void greeted(struct redis_link *l, struct slice info)
{
	struct slice run_id = info_get(info, SLICE_LIT("run_id:"));
	struct slice version = info_get(info, SLICE_LIT("redis_version:"));

	if (slice_eq(info_get(info, SLICE_LIT("role:")), SLICE_LIT("slave"))) {
		redis_link_refused(l, SLICE_LIT("READONLY it says role:slave"));
		return;
	}
	if (!l->version_told && version.n && leading_number(version) < VERSION_MIN) {
		l->version_told = true;
		redis_core_log(l->core, ADAPTER_LOG_WARN, "redis_version_old",
			       "version=%.*s needed=%d.0", SLICE_FMT(version),
			       VERSION_MIN);
	}
	check_eviction(l, info);
	if (run_id.n >= sizeof(l->run_id))
		run_id.n = sizeof(l->run_id) - 1;
	memset(l->run_id, 0, sizeof(l->run_id));
	if (run_id.n)
		memcpy(l->run_id, run_id.p, run_id.n);
	set_state(l, REDIS_LINK_READY);
	l->ready_ms = l->probed_ms = redis_core_now(l->core);
	l->core->stats.connects++;
	/* Unless it is cut again and again right after it. */
	if (l->tries <= 1 || l->ready_ms - l->connected_told_ms >= TELL_AGAIN_MS) {
		l->connected_told_ms = l->ready_ms;
		redis_core_log(l->core, ADAPTER_LOG_INFO, "redis_connected",
			       "link=%s version=%.*s run_id=%s tries=%u", l->o.name,
			       SLICE_FMT(version), l->run_id, l->tries);
	}
	l->hooks->on_ready(l->ctx);
}

static void on_greet_reply(struct redis_call *c, const struct resp *r)
{
	struct redis_link *l = c->ctx;
	enum redis_greet step = (enum redis_greet)(c - l->greet);

	if (!r)
		return;
	if (r->type == RESP_ERROR) {
		/* The name only serves people; without INFO a failover between the two
		 * links goes unnoticed, which an ACL may want to pay for. */
		if (step == GREET_SETNAME)
			return;
		if (step != GREET_INFO || !slice_starts(r->s, SLICE_LIT("NOPERM"))) {
			redis_link_refused(l, r->s);
			return;
		}
	}
	if (step == GREET_INFO)
		greeted(l, r->type == RESP_STR ? r->s : SLICE_EMPTY);
}

void redis_link_owe(struct redis_link *l, size_t n)
{
	if (l->due == 0)
		l->heard_ms = redis_core_now(l->core);
	l->due += n;
}

void redis_link_paid(struct redis_link *l)
{
	assert(l->due > 0);
	l->due--;
}

void redis_link_expect(struct redis_link *l, struct redis_call *c)
{
	assert(l->state == REDIS_LINK_GREETING || l->state == REDIS_LINK_READY);
	redis_link_owe(l, 1);
	list_push(&l->calls, &c->link);
}

size_t redis_link_backlog(const struct redis_link *l)
{
	return l->out.n + (l->wire ? wire_backlog(l->wire) : 0);
}

void redis_link_flush(struct redis_link *l)
{
	if (l->out.n && !wire_send(l->wire, &l->out))
		redis_link_fail(l, "redis_cut", "error=\"cannot write\"");
}

static void probed(struct redis_link *l)
{
	l->probing = false;
	/* A real duration, so from the real clock. */
	l->core->stats.rtt_us = uv_hrtime() / 1000 - l->probe_sent_us;
	if (l->core->stats.rtt_us == 0)
		l->core->stats.rtt_us = 1;
}

static void probe_answered(struct redis_link *l, const struct resp *r)
{
	if (r->type == RESP_ERROR && redis_link_is_passing(r->s))
		redis_link_refused(l, r->s);
	else
		probed(l);
}

static void on_probe_reply(struct redis_call *c, const struct resp *r)
{
	if (r)
		probe_answered(c->ctx, r);
}

/* PING's answer depends on whether anything is subscribed to at that moment. */
static bool is_pong(const struct resp *r)
{
	if (r->type == RESP_STATUS)
		return slice_eq(r->s, SLICE_LIT("PONG"));
	return resp_is_array(r, 2) && slice_eq(r->v[0].s, SLICE_LIT("pong"));
}

/* On the link that subscribes an error does not say which command it answers. It is the
 * probe if no confirmation is due; and MISCONF, of a Redis that cannot save, is said to
 * PING and never to SUBSCRIBE. */
static bool is_probe_refused(const struct redis_link *l, const struct resp *r)
{
	return r->type == RESP_ERROR &&
	       (l->due == 1 || slice_starts(r->s, SLICE_LIT("MISCONF")));
}

static void dispatch(struct redis_link *l, const struct resp *r)
{
	struct link *first;

	if (l->state == REDIS_LINK_READY && l->hooks->on_push) {
		if (l->probing && (is_pong(r) || is_probe_refused(l, r))) {
			redis_link_paid(l);
			probe_answered(l, r);
		} else {
			l->hooks->on_push(l->ctx, r);
		}
		return;
	}
	first = list_pop(&l->calls);
	if (first) {
		struct redis_call *c = container_of(first, struct redis_call, link);

		redis_link_paid(l);
		c->on_reply(c, r);
	} else if (r->type == RESP_ERROR) { /* before it hangs up, as at maxclients */
		redis_link_refused(l, r->s);
	} else {
		redis_link_fail(l, "redis_protocol", "error=\"an answer to no command\"");
	}
}

static void on_read(void *ctx, const uint8_t *p, size_t n)
{
	struct redis_link *l = ctx;
	struct wire *wire = l->wire;

	l->heard_ms = redis_core_now(l->core);
	while (n) {
		size_t piece = n < FEED_BYTES ? n : FEED_BYTES;
		const struct resp *r;
		enum err err = resp_reader_feed(l->reader, p, piece);

		p += piece;
		n -= piece;
		while (!err && !(err = resp_reader_next(l->reader, &r))) {
			dispatch(l, r);
			if (l->wire != wire)
				return; /* cut by what it carried; p is gone */
		}
		if (err != ERR_NOT_FOUND) {
			struct buf text = BUF_INIT;

			buf_str(&text, "error=");
			redis_core_quote(&text, slice_str(resp_reader_why(l->reader)));
			redis_link_fail(l, "redis_protocol", buf_cstr(&text));
			buf_deinit(&text);
			return;
		}
	}
}

static void probe(struct redis_link *l, uint64_t now)
{
	l->probing = true;
	l->probed_ms = now;
	l->probe_sent_us = uv_hrtime() / 1000;
	resp_command(&l->out, 1);
	resp_word_str(&l->out, "PING");
	if (l->hooks->on_push)
		redis_link_owe(l, 1);
	else
		redis_link_expect(l, &l->probe);
}

void redis_link_tick(struct redis_link *l, uint64_t now)
{
	uint64_t probe_ms = l->o.reply_timeout_ms / 2 < PROBE_MS
				    ? l->o.reply_timeout_ms / 2
				    : PROBE_MS;

	switch (l->state) {
	case REDIS_LINK_NEW:
	case REDIS_LINK_CLOSED:
		break;
	case REDIS_LINK_WAITING:
		if (now >= l->due_ms)
			connect_now(l, now);
		break;
	case REDIS_LINK_CONNECTING:
		if (now >= l->due_ms)
			unreachable(l, "no connection within the time limit");
		else
			wire_tick(l->wire, now, l->due_ms);
		break;
	case REDIS_LINK_GREETING:
	case REDIS_LINK_READY:
		if (l->due && now - l->heard_ms >= l->o.reply_timeout_ms)
			redis_link_fail(l, "redis_silent",
					"error=\"no answer within the time limit\"");
		else if (l->state == REDIS_LINK_READY && !l->probing &&
			 now - l->probed_ms >= probe_ms)
			probe(l, now);
		break;
	}
}

void redis_link_forgive(struct redis_link *l, uint64_t now)
{
	l->heard_ms = now;
	if (l->state == REDIS_LINK_CONNECTING)
		l->due_ms = now + l->o.reply_timeout_ms;
}
