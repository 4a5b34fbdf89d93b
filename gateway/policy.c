#include "gateway/policy.h"

static const char user_mark[] = "{user}";

/* Pattern and name from two positions on; the positions after the last `*` are where a
 * mismatch goes back to, one character further. */
bool policy_match(const char *pattern, struct slice room, struct slice user)
{
	const size_t mark_n = sizeof(user_mark) - 1;
	const char *p = pattern, *star = NULL;
	size_t i = 0, star_i = 0;

	for (;;) {
		if (*p == '*') {
			star = ++p;
			star_i = i;
			continue;
		}
		/* A look before the call: this runs for each character of each rule. */
		if (*p == '{' && strncmp(p, user_mark, mark_n) == 0) {
			if (user.n && slice_starts(slice_skip(room, i), user)) {
				p += mark_n;
				i += user.n;
				continue;
			}
		} else if (*p && i < room.n && (uint8_t)*p == room.p[i]) {
			p++;
			i++;
			continue;
		} else if (!*p && i == room.n) {
			return true;
		}
		if (!star || star_i >= room.n)
			return false;
		p = star;
		i = ++star_i;
	}
}

const struct policy_room *policy_find(const struct policy_room *rooms, size_t n,
				      struct slice room, struct slice user)
{
	for (size_t i = 0; i < n; i++) {
		if (policy_match(rooms[i].match, room, user))
			return &rooms[i];
	}
	return NULL;
}

static bool has_name(const struct policy_names *names, struct slice user)
{
	for (size_t i = 0; i < names->n; i++) {
		if (policy_match(names->patterns[i], user, SLICE_EMPTY))
			return true;
	}
	return names->n == 0;
}

static bool allows(enum policy_who who, const struct policy_names *names, bool member,
		   struct slice user)
{
	switch (who) {
	case POLICY_NOBODY:
		return false;
	case POLICY_MEMBERS:
		return member;
	case POLICY_USERS:
		return user.n > 0 && has_name(names, user);
	case POLICY_ANYBODY:
		return true;
	}
	return false;
}

bool policy_allows(const struct policy_room *rule, enum policy_action action, bool member,
		   struct slice user)
{
	return rule && allows(rule->may[action], &rule->named[action], member, user);
}

const struct policy_queue *policy_find_queue(const struct policy_queue *queues, size_t n,
					     struct slice queue, struct slice user)
{
	for (size_t i = 0; i < n; i++) {
		if (policy_match(queues[i].match, queue, user))
			return &queues[i];
	}
	return NULL;
}

bool policy_allows_queue(const struct policy_queue *rule, enum policy_queue_action action,
			 struct slice user)
{
	return rule && allows(rule->may[action], &rule->named[action], false, user);
}

bool policy_event_ok(const struct policy_room *rule, struct slice event)
{
	if (!rule)
		return false;
	for (size_t i = 0; i < rule->events_n; i++) {
		if (slice_eq(slice_str(rule->events[i]), event))
			return true;
	}
	return rule->events_n == 0;
}
