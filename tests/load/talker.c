#include "talker.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

static char failure[320];
static struct client_context context;
static const struct talker_events *events;

const char *talker_failure(void)
{
	return failure;
}

const char *talker_state_name(enum talker_state state)
{
	static const char *const names[TALKER_STATES] = {
		"idle", "coming",  "member", "leaving",
		"left", "closing", "closed", "failed",
	};
	return names[state];
}

static struct talker *talker_of(struct client *c)
{
	return (struct talker *)c; /* its first member */
}

static void set_state(struct talker *t, enum talker_state state)
{
	enum talker_state before = t->state;

	assert(before != TALKER_FAILED);
	t->state = state;
	events->on_state(t, before);
}

static void fail(struct talker *t, const char *what, const char *text)
{
	char all[256];

	snprintf(all, sizeof(all), "%s %.120s", what, text);
	client_fail(&t->client, &context, CLIENT_ERROR_PROTOCOL, all);
}

static void send_text(struct talker *t, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void send_text(struct talker *t, const char *fmt, ...)
{
	char text[256];
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	assert(n > 0 && (size_t)n < sizeof(text));
	client_send(&t->client, slice_of(text, (size_t)n));
	client_flush(&t->client, &context);
}

/* --- what arrives --- */

static void on_member(struct client *c)
{
	set_state(talker_of(c), TALKER_MEMBER);
}

static void on_failed(struct client *c, enum client_error error, const char *text)
{
	snprintf(failure, sizeof(failure), "%s: %s", client_error_text(error), text);
	set_state(talker_of(c), TALKER_FAILED);
}

static void on_gone(struct client *c)
{
	set_state(talker_of(c), TALKER_CLOSED);
}

/* A string of what came, as long as what is expected. */
static void copy(char text[128], struct slice data)
{
	snprintf(text, 128, "%.*s", (int)(data.n < 127 ? data.n : 127),
		 (const char *)data.p);
}

/* An event another member, or this one, emitted to the room: ["m",sender,k]. */
static void on_event(struct client *c, struct slice data)
{
	struct talker *t = talker_of(c);
	unsigned sender, k;
	char text[128], end[2];

	copy(text, data);
	if (sscanf(text, "[\"m\",%u,%u%1[]]", &sender, &k, end) != 3 ||
	    sender >= t->room_size) {
		fail(t, "unexpected event", text);
		return;
	}
	if (k != t->next[sender])
		events->on_wrong(t, k < t->next[sender] ? "doubled or out of order"
							: "lost or out of order");
	t->next[sender] = k + 1;
	t->received++;
	t->order = (t->order ^ (sender << 16 ^ k)) * 1099511628211u;
}

static void on_ack(struct client *c, uint64_t id, struct slice data)
{
	struct talker *t = talker_of(c);
	char text[128];

	copy(text, data);
	if (strncmp(text, "[{\"ok\":true", 11) != 0) {
		fail(t, "refused:", text);
	} else if (t->state == TALKER_LEAVING) {
		set_state(t, TALKER_LEFT);
	} else if (t->state == TALKER_MEMBER && id == t->acked && id < t->emitted) {
		t->acked++;
		events->on_ack(t);
	} else {
		fail(t, "an ack that is not due:", text);
	}
}

static bool join(struct client *c, struct buf *out, bool *replies)
{
	buf_printf(out, "420[\"room:join\",\"open:load:%u\"]", talker_of(c)->room);
	*replies = true;
	return true;
}

static void on_nothing(struct client *c)
{
	(void)c;
}

static void on_bytes(size_t n)
{
	(void)n;
}

static const struct client_ops ops = {
	.on_member = on_member,
	.on_failed = on_failed,
	.on_gone = on_gone,
	.on_event = on_event,
	.on_ack = on_ack,
	.on_ping = on_nothing,
	.on_answer = on_nothing,
	.on_bytes = on_bytes,
	.join = join,
};

/* --- public --- */

void talker_setup(struct net *net, const char *path, const struct talker_events *heard_by)
{
	events = heard_by;
	context = (struct client_context){.net = net, .ops = &ops, .path = path};
}

void talker_init(struct talker *t, uint32_t number, uint32_t room_size, uint32_t talkers)
{
	*t = (struct talker){.number = number, .room = number / room_size};
	client_init(&t->client, number, CLIENT_WEBSOCKET);
	t->first = t->room * room_size;
	t->room_size = talkers - t->first < room_size ? talkers - t->first : room_size;
	t->order = 14695981039346656037u;
}

void talker_deinit(struct talker *t)
{
	client_deinit(&t->client);
}

void talker_connect(struct talker *t)
{
	assert(t->state == TALKER_IDLE);
	set_state(t, TALKER_COMING);
	client_connect(&t->client, &context);
}

void talker_emit(struct talker *t)
{
	uint32_t k = t->emitted++;

	assert(t->state == TALKER_MEMBER);
	send_text(t, "42%u[\"room:emit\",\"open:load:%u\",\"m\",%u,%u]", k, t->room,
		  t->number - t->first, k);
}

void talker_leave(struct talker *t)
{
	assert(t->state == TALKER_MEMBER);
	set_state(t, TALKER_LEAVING);
	send_text(t, "420[\"room:leave\",\"open:load:%u\"]", t->room);
}

void talker_close(struct talker *t)
{
	assert(t->state == TALKER_LEFT);
	set_state(t, TALKER_CLOSING);
	client_close(&t->client, &context);
}

void talker_on_ready(struct pipe *pipe, uint32_t ready)
{
	client_on_ready(pipe->owner, &context, pipe, ready);
}
