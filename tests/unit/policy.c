/* Room patterns and permissions. */
#include "gateway/policy.h"
#include "test.h"

static void test_match(void)
{
	static const struct {
		const char *pattern, *room, *user;
		bool match;
	} rows[] = {
		{"lobby", "lobby", "", true},
		{"lobby", "lobby2", "", false},
		{"lobby2", "lobby", "", false},
		{"", "", "", true},
		{"", "a", "", false},
		{"*", "", "", true},
		{"*", "anything # at all", "", true},
		{"chat:*", "chat:", "", true},
		{"chat:*", "chat", "", false},
		{"*:chat", "a:chat:chat", "", true},
		{"a*b*c", "a--b-b--c", "", true},
		{"a*b*c", "a--b-b--", "", false},
		{"inbox:{user}", "inbox:ann", "ann", true},
		{"inbox:{user}", "inbox:ann", "bob", false},
		{"inbox:{user}", "inbox:ann2", "ann", false},
		{"inbox:{user}", "inbox:", "", false},
		{"inbox:{user}", "inbox:{user}", "", false},
		{"*:{user}", "x:y:ann", "ann", true},
		{"{user}*", "ann:1", "ann", true},
		{"{user}", "*", "*", true},
		{"{user}", "x", "*",
		 false}, /* a user named like a pattern is no pattern */
		{"{use", "{use", "", true},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		CHECK_ROW(policy_match(rows[i].pattern, slice_str(rows[i].room),
				       slice_str(rows[i].user)) == rows[i].match,
			  rows[i].pattern);
}

static void test_rules(void)
{
	char all[] = "*", chat[] = "chat:*", say[] = "say";
	char *events[] = {say};
	const struct policy_room rules[] = {
		{.match = chat,
		 .may = {POLICY_USERS, POLICY_MEMBERS, POLICY_ANYBODY},
		 .events = events,
		 .events_n = 1},
		{.match = all, .may = {POLICY_NOBODY, POLICY_ANYBODY, POLICY_NOBODY}},
	};
	const struct policy_room *r =
		policy_find(rules, 2, SLICE_LIT("chat:a"), SLICE_EMPTY);

	CHECK(r == &rules[0]);
	CHECK(policy_find(rules, 2, SLICE_LIT("x"), SLICE_EMPTY) == &rules[1]);
	CHECK(policy_find(rules, 1, SLICE_LIT("x"), SLICE_EMPTY) == NULL);
	CHECK(!policy_allows(NULL, POLICY_JOIN, true, SLICE_LIT("u")));
	CHECK(!policy_allows(r, POLICY_JOIN, false, SLICE_EMPTY));
	CHECK(policy_allows(r, POLICY_JOIN, false, SLICE_LIT("u")));
	CHECK(!policy_allows(r, POLICY_EMIT, false, SLICE_LIT("u")));
	CHECK(policy_allows(r, POLICY_EMIT, true, SLICE_EMPTY));
	CHECK(policy_allows(r, POLICY_LIST, false, SLICE_EMPTY));
	CHECK(!policy_allows(&rules[1], POLICY_JOIN, true, SLICE_LIT("u")));
	CHECK(policy_event_ok(r, SLICE_LIT("say")));
	CHECK(!policy_event_ok(r, SLICE_LIT("shout")));
	CHECK(policy_event_ok(&rules[1], SLICE_LIT("shout")));
	CHECK(!policy_event_ok(NULL, SLICE_LIT("say")));
}

static void test_names(void)
{
	char all[] = "*", drivers[] = "driver.*", hub[] = "hub";
	char *staff[] = {drivers, hub}, *only_drivers[] = {drivers};
	const struct policy_room room = {
		.match = all,
		.may = {POLICY_USERS, POLICY_USERS, POLICY_MEMBERS},
		.named = {{staff, 2}, {NULL, 0}, {NULL, 0}},
	};
	const struct policy_queue queue = {
		.match = all,
		.may = {POLICY_USERS, POLICY_USERS},
		.named = {{only_drivers, 1}, {staff, 2}},
	};
	const struct slice ben = SLICE_LIT("driver.ben"), desk = SLICE_LIT("hub"),
			   ann = SLICE_LIT("vendor.ann");

	CHECK(policy_allows(&room, POLICY_JOIN, false, ben));
	CHECK(policy_allows(&room, POLICY_JOIN, false, desk));
	CHECK(!policy_allows(&room, POLICY_JOIN, true, ann));
	CHECK(!policy_allows(&room, POLICY_JOIN, false, SLICE_LIT("hub2")));
	CHECK(!policy_allows(&room, POLICY_JOIN, false, SLICE_LIT("a driver.ben")));
	CHECK(!policy_allows(&room, POLICY_JOIN, false, SLICE_EMPTY));
	CHECK(policy_allows(&room, POLICY_EMIT, false, ann));
	CHECK(policy_allows(&room, POLICY_LIST, true, ann));
	CHECK(policy_allows_queue(&queue, POLICY_PUSH, ben));
	CHECK(!policy_allows_queue(&queue, POLICY_PUSH, desk));
	CHECK(policy_allows_queue(&queue, POLICY_CONSUME, desk));
	CHECK(!policy_allows_queue(&queue, POLICY_CONSUME, ann));
	CHECK(!policy_allows_queue(&queue, POLICY_CONSUME, SLICE_EMPTY));
}

static void test_queues(void)
{
	char own[] = "mailbox:{user}", others[] = "mailbox:*";
	const struct policy_queue rules[] = {
		{.match = own, .may = {POLICY_ANYBODY, POLICY_USERS}},
		{.match = others, .may = {POLICY_USERS, POLICY_NOBODY}},
	};
	const struct slice ann = SLICE_LIT("ann"), none = SLICE_EMPTY;

	CHECK(policy_find_queue(rules, 2, SLICE_LIT("mailbox:ann"), ann) == &rules[0]);
	CHECK(policy_find_queue(rules, 2, SLICE_LIT("mailbox:bob"), ann) == &rules[1]);
	CHECK(policy_find_queue(rules, 2, SLICE_LIT("mailbox:ann"), none) == &rules[1]);
	CHECK(policy_find_queue(rules, 2, SLICE_LIT("x"), ann) == NULL);
	CHECK(policy_allows_queue(&rules[0], POLICY_PUSH, none));
	CHECK(!policy_allows_queue(&rules[0], POLICY_CONSUME, none));
	CHECK(policy_allows_queue(&rules[0], POLICY_CONSUME, ann));
	CHECK(policy_allows_queue(&rules[1], POLICY_PUSH, ann));
	CHECK(!policy_allows_queue(&rules[1], POLICY_CONSUME, ann));
	CHECK(!policy_allows_queue(NULL, POLICY_PUSH, ann));
}

int main(void)
{
	test_match();
	test_rules();
	test_names();
	test_queues();
	return test_done();
}
