/* Others on the same Redis: what peers that are no Gatehouse nodes publish, what this
 * node subscribes to, and servers that do not want us. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "harness.h"
#include "test.h"

static struct server server;

#define FOREIGN(channel, literal)                                                        \
	server_publish(&server, channel, literal, sizeof(literal) - 1)

static void fence(struct node *n)
{
	static unsigned number;
	char text[32], line[64];

	snprintf(text, sizeof(text), "fence%u", ++number);
	snprintf(line, sizeof(line), "/ e:%s", text);
	publish(n, "/", NULL, NULL, 0, text, NULL);
	WAIT(strings_count(&n->heard, line) == 1);
}

/* [uid, {type:2, data:["e","x"], nsp}, {rooms:["r"], except:[], flags:{}}] */
#define PACKET(nsp_)                                                                     \
	"\x83\xa4type\x02\xa4"                                                           \
	"data\x92\xa1"                                                                   \
	"e\xa1x\xa3nsp" nsp_
#define OPTS                                                                             \
	"\x83\xa5rooms\x91\xa1r\xa6"                                                     \
	"except\x90\xa5"                                                                 \
	"flags\x80"

static void test_foreign(void)
{
	struct setup s = setup_of(&server);
	struct node *a = node_up(&s, "AAAAAA");
	struct adapter_stats stats;

	join(a, "r");
	/* The emitter, and a Node server with a field more. */
	FOREIGN("socket.io#/#r#", "\x93\xa7"
				  "emitter" PACKET("\xa1/") OPTS);
	FOREIGN("socket.io#/#r#", "\x94\xa6"
				  "AbC_-9" PACKET("\xa1/") OPTS "\x05");
	FOREIGN("socket.io#/#", "\x93\xa7"
				"emitter" PACKET("\xa1/") "\x80");
	/* To the own-id room, as for io.to(socketId). */
	FOREIGN("socket.io#/#AAAAAA00000000000001#",
		"\x93\xa7"
		"emitter" PACKET("\xa1/") "\x81\xa5rooms\x91\xb4"
					  "AAAAAA00000000000001");
	fence(a);
	CHECK(a->heard.n == 5);
	CHECK(strings_count(&a->heard, "/ rooms=r e:x foreign") == 2);
	CHECK(strings_count(&a->heard, "/ e:x foreign") == 1);
	CHECK(strings_count(&a->heard, "/ rooms=AAAAAA00000000000001 e:x foreign") == 1);
	adapter_stats_get(a->a, &stats);
	CHECK(stats.malformed == 0 && stats.received == 5);
	/* What is no message at all, or says another namespace than its channel. */
	FOREIGN("socket.io#/#r#", "");
	FOREIGN("socket.io#/#r#", "hello");
	FOREIGN("socket.io#/#r#", "\xc1");
	FOREIGN("socket.io#/#", "\x93\xa7"
				"emitter");
	FOREIGN("socket.io#/#r#", "\x93\xa7"
				  "emitter" PACKET("\xa6/other") OPTS);
	FOREIGN("socket.io#/#AAAAAA00000000000001#", "\xdd\xff\xff\xff\xff");
	fence(a);
	CHECK(a->heard.n == 6);
	adapter_stats_get(a->a, &stats);
	CHECK(stats.malformed == 6 && stats.received == 12);
	/* Not from a node. */
	FOREIGN("socket.io-node#AAAAAA#", "");
	FOREIGN("socket.io-node#AAAAAA#", "BBBBB");
	FOREIGN("socket.io-node#AAAAAA#", "BBBBBBhi");
	WAIT(strings_count(&a->heard, "told BBBBBB hi") == 1);
	adapter_stats_get(a->a, &stats);
	CHECK(stats.malformed == 8 && stats.told == 3);
	CHECK(stats.received == 12 && a->heard.n == 7);
	CHECK(a->downs == 0);
	node_end(a);
}

/* Exactly the channels of design: nothing for requests, nothing per socket. */
static void test_channels(void)
{
	struct setup s = setup_of(&server);
	struct node *a = node_up(&s, "AAAAAA");

	join(a, "r");
	join(a, "AAAAAA00000000000001");
	CHECK(server_ask(&server, "PUBSUB CHANNELS") == 4);
	CHECK(server_ask(&server, "PUBSUB CHANNELS %s", "socket.io-node#AAAAAA#") == 1);
	CHECK(server_ask(&server, "PUBSUB CHANNELS %s", "socket.io#/#") == 1);
	CHECK(server_ask(&server, "PUBSUB CHANNELS %s", "socket.io#/other#") == 1);
	CHECK(server_ask(&server, "PUBSUB CHANNELS %s", "socket.io#/#r#") == 1);
	CHECK(server_ask(&server, "PUBSUB NUMPAT") == 2);
	unsubscribe(a, "/", "r");
	WAIT(server_ask(&server, "PUBSUB CHANNELS") == 3);
	node_end(a);
	WAIT(server_ask(&server, "PUBSUB NUMPAT") == 0);
}

/* A message of megabytes, in pieces through every buffer. */
static void test_large(void)
{
	enum { N = 3 << 20 };
	struct setup s = setup_of(&server);
	struct node *a, *b;
	char *text = malloc(N + 1);

	memset(text, 'x', N);
	text[N] = '\0';
	s.o.publish_waiting_bytes_max = 16 << 20;
	a = node_up(&s, "AAAAAA");
	b = node_up(&s, "BBBBBB");
	for (int i = 0; i < 4; i++) {
		publish(a, "/", NULL, NULL, 0, text, NULL);
		publish(a, "/", NULL, NULL, 0, "small", NULL);
	}
	WAIT(b->heard.n == 8);
	CHECK(strings_count(&b->heard, "/ e:small") == 4);
	for (size_t i = 0; i < b->heard.n; i += 2)
		CHECK(strlen(b->heard.v[i]) == N + 4);
	free(text);
	node_end(a);
	node_end(b);
}

static void publish_x(const char *channel, long long n)
{
	server_ask(&server, "EVAL %s 0 %s %lld",
		   "return redis.call('PUBLISH', ARGV[1], string.rep('x', ARGV[2]))",
		   channel, n);
}

/* A message that no node can want: passed over, whatever it is in, and told of. */
static void test_too_large(void)
{
	enum { MAX = 128 << 20 };
	struct setup s = setup_of(&server);
	struct node *a = node_up(&s, "AAAAAA");
	struct adapter_stats stats;

	/* Redis itself would cut whoever is that far behind. */
	server_ask(&server, "CONFIG SET client-output-buffer-limit %s", "pubsub 0 0 0");
	join(a, "r");
	publish_x("socket.io#/#r#", MAX + 1);
	fence(a);
	CHECK(strings_count(&a->logs, "redis_message_too_large") == 1);
	CHECK(strings_find(&a->told, "redis_message_too_large bytes=134217729 ",
			   "channel=\"socket.io#/#r#\"") == 1);
	publish_x("socket.io#/#AAAAAA00000000000001#", MAX + 1);
	fence(a);
	adapter_stats_get(a->a, &stats);
	CHECK(stats.malformed == 2);
	CHECK(a->heard.n == 2);
	CHECK(a->downs == 0);
	CHECK(strings_count(&a->logs, "redis_message_too_large") == 1);
	node_end(a);
	server_ask(&server, "CONFIG SET client-output-buffer-limit %s",
		   "pubsub 33554432 8388608 60");
}

static void test_tcp(void)
{
	struct setup s = setup_of(&server);
	struct node *a, *b;

	s.r.path = NULL;
	s.r.port = server.port;
	s.r.host = "127.0.0.1";
	a = node_up(&s, "AAAAAA");
	/* A name of several addresses, of which it may listen on the second only. */
	s.r.host = "localhost";
	b = node_up(&s, "BBBBBB");
	join(b, "r");
	say(a, "r", "x");
	WAIT(strings_count(&b->heard, "/ rooms=r e:x") == 1);
	node_end(a);
	node_end(b);
}

/* The linker puts this in uv_getaddrinfo's place: "several.test" has two addresses,
 * 127.0.0.2 and 127.0.0.1. */
int __real_uv_getaddrinfo(uv_loop_t *loop, uv_getaddrinfo_t *req, uv_getaddrinfo_cb cb,
			  const char *node, const char *service,
			  const struct addrinfo *hints);
int __wrap_uv_getaddrinfo(uv_loop_t *loop, uv_getaddrinfo_t *req, uv_getaddrinfo_cb cb,
			  const char *node, const char *service,
			  const struct addrinfo *hints);

static uv_getaddrinfo_cb resolved;
static char resolved_port[8];

static void on_second_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *second)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	struct addrinfo *first = NULL;

	CHECK(getaddrinfo("127.0.0.2", resolved_port, &hints, &first) == 0);
	first->ai_next = second;
	resolved(req, status, first);
}

int __wrap_uv_getaddrinfo(uv_loop_t *loop, uv_getaddrinfo_t *req, uv_getaddrinfo_cb cb,
			  const char *node, const char *service,
			  const struct addrinfo *hints)
{
	if (strcmp(node, "several.test") != 0)
		return __real_uv_getaddrinfo(loop, req, cb, node, service, hints);
	resolved = cb;
	snprintf(resolved_port, sizeof(resolved_port), "%s", service);
	return __real_uv_getaddrinfo(loop, req, on_second_resolved, "127.0.0.1", service,
				     hints);
}

enum { BLACKHOLE_FDS = 5 };

/* An address that takes no connection and refuses none: a listener that never accepts,
 * its queue full. */
static void blackhole(uint16_t port, int fds[BLACKHOLE_FDS])
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};

	CHECK(inet_pton(AF_INET, "127.0.0.2", &in.sin_addr) == 1);
	for (size_t i = 0; i < BLACKHOLE_FDS; i++) {
		fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		CHECK(fds[i] >= 0);
		if (i == 0) {
			CHECK(bind(fds[0], (struct sockaddr *)&in, sizeof(in)) == 0);
			CHECK(listen(fds[0], 0) == 0);
		} else {
			(void)connect(fds[i], (struct sockaddr *)&in, sizeof(in));
		}
	}
}

/* The first of several addresses says nothing: the second has its turn in the same try.
 */
static void test_silent_address(void)
{
	struct setup s = setup_of(&server);
	int fds[BLACKHOLE_FDS];
	struct node *n;

	blackhole(server.port, fds);
	s.r.path = NULL;
	s.r.port = server.port;
	s.r.reply_timeout_ms = 1000;
	s.r.host = "127.0.0.2";
	n = node_new(&s, "AAAAAA");
	WAIT(strings_count(&n->logs, "redis_unreachable") > 0); /* it is silent */
	node_end(n);
	s.r.host = "several.test";
	n = node_up(&s, "AAAAAA");
	CHECK(strings_count(&n->logs, "redis_unreachable") == 0);
	node_end(n);
	for (size_t i = 0; i < BLACKHOLE_FDS; i++)
		close(fds[i]);
}

/* Never up, and the log says why; a node that may is up. */
static void refused(const struct setup *s, const char *id)
{
	struct node *n = node_new(s, "RRRRRR");
	struct answer got = {0};

	WAIT(strings_count(&n->logs, id) > 0);
	CHECK_ROW(!n->up && n->ups == 0, id);
	publish(n, "/", NULL, NULL, 0, "x", &got);
	node_close(n);
	WAIT(n->closed);
	CHECK_ROW(got.calls == 1 && got.err == ERR_CLOSED, id);
	node_free(n);
}

static void test_refusals(void)
{
	static const char *const more[] = {"--requirepass", "secret", "--databases", "2",
					   NULL};
	struct server guarded = {0};
	struct answer fenced = {0};
	struct node *a, *b;
	struct setup s;
	char replica[8];

	server_start(&guarded, more);
	server_ask(&guarded, "ACL SETUSER gate on >pw ~gh:* &* +@all -@dangerous +info");
	server_ask(&guarded, "ACL SETUSER deaf on >pw ~gh:* resetchannels +@all");
	s = setup_of(&guarded);
	refused(&s, "redis_auth_needed");
	s.r.password = "wrong";
	refused(&s, "redis_auth_failed");
	s.r.username = "gate";
	refused(&s, "redis_auth_failed");
	s.r.password = "pw";
	a = node_up(&s, "AAAAAA");
	b = node_up(&s, "BBBBBB");
	fence_with(a, "BBBBBB", "x", &fenced);
	WAIT(fenced.calls && b->heard.n == 1);
	CHECK(fenced.err == ERR_OK); /* channels are no keys */
	node_end(a);
	node_end(b);
	s.r.username = "deaf";
	refused(&s, "redis_not_permitted");
	s.r.username = NULL;
	s.r.password = "secret";
	s.r.db = 1;
	node_end(node_up(&s, "AAAAAA"));
	s.r.db = 2;
	refused(&s, "redis_db_invalid");
	s.r.db = 0;
	snprintf(replica, sizeof(replica), "%u", (unsigned)free_port());
	server_ask(&guarded, "REPLICAOF 127.0.0.1 %s", replica); /* nobody there */
	refused(&s, "redis_readonly");
	server_ask(&guarded, "REPLICAOF NO ONE");
	node_end(node_up(&s, "AAAAAA"));
	server_stop(&guarded);
	s = setup_of(&server);
	s.r.password = "secret";
	refused(&s, "redis_auth_failed"); /* a Redis without one */
	s.r.password = NULL;
	s.r.path = "/nonexistent/redis";
	refused(&s, "redis_unreachable");
	s.r.path = NULL;
	s.r.host = "localhost";
	s.r.port = free_port();
	refused(&s, "redis_unreachable");
	s.r.host = "host.invalid";
	refused(&s, "redis_unreachable");
}

#define PATTERNS                                                                         \
	"&socket.io#/#AAAAAA??????????????# &socket.io#/other#AAAAAA??????????????#"

/* One channel that the user may not have: the log names it. When it may, all is well. */
static void test_channel_refused(void)
{
	struct setup s = setup_of(&server);
	struct node *n;

	server_ask(&server, "ACL SETUSER some on >pw ~gh:* +@all resetchannels "
			    "&socket.io-node#* &socket.io#/# &socket.io#/#r* " PATTERNS);
	s.r.username = "some";
	s.r.password = "pw";
	n = node_new(&s, "AAAAAA");
	WAIT(strings_find(&n->told, "redis_not_permitted",
			  " channel=\"socket.io#/other#\" ") == 1);
	CHECK(n->ups == 0);
	CHECK(strings_find(&n->told, "redis_not_permitted", " channel=") == 1);
	server_ask(&server, "ACL SETUSER some &socket.io#/other#");
	WAIT(n->up);
	/* Later, one of many rooms. */
	join(n, "r1");
	subscribe(n, "/", "r2", NULL);
	subscribe(n, "/", "secret", NULL);
	subscribe(n, "/", "r3", NULL);
	WAIT(strings_find(&n->told, "redis_not_permitted",
			  " channel=\"socket.io#/#secret#\" ") == 1);
	unsubscribe(n, "/", "secret");
	WAIT(n->up);
	say(n, "r3", "x");
	WAIT(strings_count(&n->heard, "/ rooms=r3 e:x") == 1);
	node_end(n);
	server_ask(&server, "ACL DELUSER some");
}

/* A Redis that may throw presence away is told of, once. */
static void test_evicts(void)
{
	static const struct {
		const char *maxmemory, *policy;
		bool told;
	} evictions[] = {
		{"1gb", "allkeys-lru", true}, {"1gb", "allkeys-random", true},
		{"0", "allkeys-lru", false},  {"1gb", "volatile-ttl", false},
		{"1gb", "noeviction", false},
	};
	struct setup s = setup_of(&server);

	for (size_t i = 0; i < sizeof(evictions) / sizeof(evictions[0]); i++) {
		struct node *n;

		server_ask(&server, "CONFIG SET maxmemory %s maxmemory-policy %s",
			   evictions[i].maxmemory, evictions[i].policy);
		n = node_up(&s, "AAAAAA");
		CHECK(server_kill_clients(&server, "AAAAAA-commands") == 1);
		WAIT(n->ups == 2);
		CHECK_ROW(strings_count(&n->logs, "redis_evicts") == evictions[i].told,
			  evictions[i].policy);
		CHECK_ROW(strings_find(&n->told, "redis_evicts maxmemory=1073741824 ",
				       evictions[i].policy) == evictions[i].told,
			  evictions[i].policy);
		node_end(n);
	}
	server_ask(&server, "CONFIG SET maxmemory 0 maxmemory-policy noeviction");
}

/* A Redis that stops being the primary: presence is refused, so the node reconnects and
 * waits for one that is. */
static void test_demoted(void)
{
	struct server demoted = {0};
	struct answer got = {0};
	struct setup s;
	struct node *a;
	char sid[ID_LEN + 1];

	server_start(&demoted, NULL);
	s = setup_of(&demoted);
	a = node_up(&s, "AAAAAA");
	server_ask(&demoted, "REPLICAOF 127.0.0.1 %u", (unsigned)free_port());
	add(a, "r", sid_of(a, 1, sid), "u", &got);
	WAIT(!a->up);
	CHECK(strings_count(&a->logs, "redis_readonly") > 0);
	server_ask(&demoted, "REPLICAOF NO ONE");
	WAIT(a->up && got.calls);
	CHECK(got.err == ERR_OK && got.count == 1);
	node_end(a);
	server_stop(&demoted);
}

int main(void)
{
	bool ok;

	server.port = free_port();
	server_start(&server, NULL);
	test_foreign();
	test_channels();
	test_large();
	test_too_large();
	test_tcp();
	test_silent_address();
	test_refusals();
	test_channel_refused();
	test_evicts();
	test_demoted();
	ok = harness_end();
	server_stop(&server);
	return test_done() || !ok;
}
