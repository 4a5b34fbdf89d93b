/* Addresses as text, networks, X-Forwarded-For. */
#include "proto/address.h"

#include <arpa/inet.h>
#include <stdlib.h>

#include "test.h"

/* NULL: not an address. */
static const struct {
	const char *text, *printed;
} addresses[] = {
	{"192.0.2.1", "192.0.2.1"},
	{"0.0.0.0", "0.0.0.0"},
	{"255.255.255.255", "255.255.255.255"},
	{"::", "::"},
	{"::1", "::1"},
	{"1::", "1::"},
	{"2001:DB8::1", "2001:db8::1"},
	{"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},
	{"2001:0db8:0000:0000:0000:0000:0000:0001", "2001:db8::1"},
	{"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},
	{"1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"},
	{"::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"},
	{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
	 "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
	{"64:ff9b::192.0.2.1", "64:ff9b::c000:201"},
	{"1:2:3:4:5:6:192.0.2.1", "1:2:3:4:5:6:c000:201"},
	{"::192.0.2.1", "::c000:201"},
	{"::ffff:192.0.2.1", "192.0.2.1"},
	{"::ffff:c000:201", "192.0.2.1"},
	{"", NULL},
	{"1", NULL},
	{"1.2.3", NULL},
	{"1.2.3.", NULL},
	{"1.2.3.4.", NULL},
	{"1.2.3.4.5", NULL},
	{"1.2.3.256", NULL},
	{"1.2.3.0004", NULL},
	{"1.2.3.04", NULL},
	{"01.2.3.4", NULL},
	{"1.2.3.-4", NULL},
	{"1.2.3.0x4", NULL},
	{" 1.2.3.4", NULL},
	{"1.2.3.4 ", NULL},
	{"1.2.3.4:80", NULL},
	{":", NULL},
	{":::", NULL},
	{"1:", NULL},
	{":1", NULL},
	{"1:2:3:4:5:6:7", NULL},
	{"1:2:3:4:5:6:7:8:9", NULL},
	{"1:2:3:4:5:6:7:8::", NULL},
	{"::1:2:3:4:5:6:7:8", NULL},
	{"1::2::3", NULL},
	{"1:::2", NULL},
	{"12345::", NULL},
	{"g::", NULL},
	{"::1%lo", NULL},
	{"[::1]", NULL},
	{"1:2:3:4:5:6:7:1.2.3.4", NULL},
	{"1.2.3.4::", NULL},
	{"::1.2.3.4:5", NULL},
	{"unknown", NULL},
};

/* As the C library reads it. */
static bool reads_too(const char *text)
{
	uint8_t ip[16];

	return inet_pton(AF_INET, text, ip) == 1 || inet_pton(AF_INET6, text, ip) == 1;
}

static void test_address(void)
{
	for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
		const char *text = addresses[i].text, *want = addresses[i].printed;
		struct address a = {ADDRESS_NONE, {7}}, again;
		enum err err = address_parse(slice_str(text), &a);
		char out[ADDRESS_TEXT_MAX];

		CHECK_ROW((err == ERR_OK) == (want != NULL), text);
		CHECK_ROW(reads_too(text) == (want != NULL), text);
		if (err != ERR_OK) {
			CHECK_ROW(a.family == ADDRESS_NONE && a.ip[0] == 7, text);
			continue;
		}
		CHECK_SLICE(slice_str(address_print(&a, out)), slice_str(want), text);
		CHECK_ROW(address_parse(slice_str(out), &again) == ERR_OK, text);
		CHECK_ROW(memcmp(&a, &again, sizeof(a)) == 0, text);
		/* Each beginning, in a block of its own. */
		for (size_t n = 0; n < strlen(text); n++) {
			char *copy = strndup(text, n);
			uint8_t *bytes = malloc(n ? n : 1);

			memcpy(bytes, text, n);
			err = address_parse(slice_of(bytes, n), &a);
			CHECK_ROW((err == ERR_OK) == reads_too(copy), copy);
			free(bytes);
			free(copy);
		}
	}
}

static void test_print(void)
{
	struct address none = {.family = ADDRESS_NONE}, un = {.family = ADDRESS_UNIX};
	char out[ADDRESS_TEXT_MAX];
	uint8_t key[ADDRESS_KEY_MAX];

	CHECK_SLICE(slice_str(address_print(&none, out)), SLICE_LIT("none"), "");
	CHECK_SLICE(slice_str(address_print(&un, out)), SLICE_LIT("unix"), "");
	CHECK(address_key(&none, key).n == 0);
	CHECK(address_key(&un, key).n == 0);
	CHECK(sizeof(none) == 17);
}

static bool same_key(const char *one, const char *other)
{
	uint8_t a_key[ADDRESS_KEY_MAX], b_key[ADDRESS_KEY_MAX];
	struct address a, b;

	return address_parse(slice_str(one), &a) == ERR_OK &&
	       address_parse(slice_str(other), &b) == ERR_OK &&
	       slice_eq(address_key(&a, a_key), address_key(&b, b_key));
}

static void test_key(void)
{
	CHECK(same_key("192.0.2.1", "192.0.2.1"));
	CHECK(!same_key("192.0.2.1", "192.0.2.2"));
	CHECK(same_key("192.0.2.1", "::ffff:192.0.2.1"));
	CHECK(same_key("2001:db8:1:2::1", "2001:db8:1:2:ffff::"));
	CHECK(!same_key("2001:db8:1:2::1", "2001:db8:1:3::1"));
	CHECK(!same_key("102:304::", "1.2.3.4"));
}

static void test_net(void)
{
	static const struct {
		const char *net, *inside, *outside;
		enum err err;
	} rows[] = {
		{"10.0.0.0/8", "10.255.0.1", "11.0.0.0", ERR_OK},
		{"10.0.0.0/8", "::ffff:10.0.0.1", "::10.0.0.1", ERR_OK},
		{"10.32.0.0/11", "10.63.255.255", "10.64.0.0", ERR_OK},
		{"192.0.2.1", "192.0.2.1", "192.0.2.0", ERR_OK},
		{"192.0.2.1/32", "192.0.2.1", "192.0.2.3", ERR_OK},
		{"0.0.0.0/0", "255.1.2.3", "::1", ERR_OK},
		{"::/0", "2001:db8::", "1.2.3.4", ERR_OK},
		{"2001:db8::/33", "2001:db8:7fff::", "2001:db8:8000::", ERR_OK},
		{"::1", "::1", "::2", ERR_OK},
		{"unix", NULL, "::1", ERR_OK},
		{"10.0.0.1/8", NULL, NULL, ERR_RANGE},
		{"2001:db8::1/64", NULL, NULL, ERR_RANGE},
		{"128.0.0.0/0", NULL, NULL, ERR_RANGE},
		{"10.0.0.0/33", NULL, NULL, ERR_SYNTAX},
		{"10.0.0.0/", NULL, NULL, ERR_SYNTAX},
		{"10.0.0.0/08", NULL, NULL, ERR_SYNTAX},
		{"10.0.0.0/8/8", NULL, NULL, ERR_SYNTAX},
		{"::/129", NULL, NULL, ERR_SYNTAX},
		{"::ffff:10.0.0.0/104", NULL, NULL, ERR_SYNTAX},
		{"/8", NULL, NULL, ERR_SYNTAX},
		{"", NULL, NULL, ERR_SYNTAX},
		{"localhost", NULL, NULL, ERR_SYNTAX},
		{"unix/0", NULL, NULL, ERR_SYNTAX},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct address_net net = {.bits = 99};
		struct address a;
		enum err err = address_net_parse(slice_str(rows[i].net), &net);

		CHECK_ROW(err == rows[i].err, rows[i].net);
		if (err != ERR_OK)
			CHECK_ROW(net.bits == 99, rows[i].net);
		if (rows[i].inside) {
			CHECK(address_parse(slice_str(rows[i].inside), &a) == ERR_OK);
			CHECK_ROW(address_in(&a, &net, 1), rows[i].net);
			CHECK_ROW(!address_in(&a, &net, 0), rows[i].net);
		}
		if (rows[i].outside) {
			CHECK(address_parse(slice_str(rows[i].outside), &a) == ERR_OK);
			CHECK_ROW(!address_in(&a, &net, 1), rows[i].net);
		}
	}
}

static void test_forwarded(void)
{
	static const struct {
		const char *peer, *header, *want;
	} rows[] = {
		{"192.0.2.9", "1.1.1.1", "192.0.2.9"}, /* not trusted: not asked */
		{"10.0.0.1", "", "10.0.0.1"},
		{"10.0.0.1", "1.1.1.1", "1.1.1.1"},
		{"10.0.0.1", "6.6.6.6, 1.1.1.1", "1.1.1.1"}, /* 6.6.6.6 is its claim */
		{"10.0.0.1", "1.1.1.1, 10.0.0.2", "1.1.1.1"},
		{"10.0.0.1", "6.6.6.6,1.1.1.1,10.0.0.3, 10.0.0.2", "1.1.1.1"},
		{"10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"},
		{"10.0.0.1", "1.1.1.1:4444", "1.1.1.1"},
		{"10.0.0.1", "2001:db8::5", "2001:db8::5"},
		{"10.0.0.1", "[2001:db8::5]:4444", "2001:db8::5"},
		{"10.0.0.1", "[2001:db8::5]", "2001:db8::5"},
		{"10.0.0.1", " \t1.1.1.1 ,, ", "1.1.1.1"},
		{"10.0.0.1", "1.1.1.1, unknown", "10.0.0.1"},
		{"10.0.0.1", "1.1.1.1, unknown, 10.0.0.2", "10.0.0.2"},
		{"10.0.0.1", "[", "10.0.0.1"},
		{"10.0.0.1", ":", "10.0.0.1"},
		{"10.0.0.1", "[1.1.1.1", "10.0.0.1"},
		{"10.0.0.1", ",,,", "10.0.0.1"},
		{"::1", "1.1.1.1", "1.1.1.1"},
		{"unix", "1.1.1.1", "1.1.1.1"},
		{"unix", "", "unix"},
	};
	struct address_net trusted[3];

	CHECK(address_net_parse(SLICE_LIT("10.0.0.0/8"), &trusted[0]) == ERR_OK);
	CHECK(address_net_parse(SLICE_LIT("::1"), &trusted[1]) == ERR_OK);
	CHECK(address_net_parse(SLICE_LIT("unix"), &trusted[2]) == ERR_OK);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct address peer = {.family = ADDRESS_UNIX}, found;
		char out[ADDRESS_TEXT_MAX];

		if (strcmp(rows[i].peer, "unix") != 0)
			CHECK(address_parse(slice_str(rows[i].peer), &peer) == ERR_OK);
		found = address_forwarded(&peer, slice_str(rows[i].header), trusted, 3);
		CHECK_SLICE(slice_str(address_print(&found, out)),
			    slice_str(rows[i].want), rows[i].header);
	}
}

int main(void)
{
	test_address();
	test_print();
	test_key();
	test_net();
	test_forwarded();
	return test_done();
}
