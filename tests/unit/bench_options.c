/* The command line of `gatehouse bench`. */
#include "bench/options.h"

#include "test.h"

#define URL "http://127.0.0.1:3000"

enum { ARGS_MAX = 12 };

struct line {
	const char *args[ARGS_MAX]; /* ended by NULL */
};

static enum bench_asked read(struct bench_options *o, const struct line *line,
			     struct buf *out)
{
	char *argv[ARGS_MAX];
	int argc = 0;

	for (; line->args[argc]; argc++)
		memcpy(&argv[argc], &line->args[argc], sizeof(argv[0]));
	return bench_options_read(o, argc, argv, out);
}

static void test_times(void)
{
	static const struct {
		const char *text;
		enum err err;
		uint64_t ms;
	} rows[] = {
		{"500ms", ERR_OK, 500},
		{"30s", ERR_OK, 30000},
		{"5m", ERR_OK, 300000},
		{"1h", ERR_OK, 3600000},
		{"0s", ERR_OK, 0},
		{"", ERR_SYNTAX, 0},
		{"30", ERR_SYNTAX, 0},
		{"s", ERR_SYNTAX, 0},
		{"-1s", ERR_SYNTAX, 0},
		{" 1s", ERR_SYNTAX, 0},
		{"1.5s", ERR_SYNTAX, 0},
		{"1s ", ERR_SYNTAX, 0},
		{"1d", ERR_SYNTAX, 0},
		{"99999999999999999999s", ERR_RANGE, 0},
		{"18446744073709551615s", ERR_RANGE, 0},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t ms = 0;

		CHECK_ROW(bench_read_time(rows[i].text, &ms) == rows[i].err,
			  rows[i].text);
		CHECK_ROW(ms == rows[i].ms, rows[i].text);
	}
}

/* Each is wrong, and the sentence names what and where. */
static void test_wrong(void)
{
	static const struct {
		struct line line;
		const char *says;
	} rows[] = {
		{{{NULL}}, "needs a scenario"},
		{{{"fanout", NULL}}, "needs the server's URL"},
		{{{"fan-out", URL, NULL}}, "no scenario 'fan-out'"},
		{{{"echo", URL, "more", NULL}}, "'more' is too much"},
		{{{"echo", URL, "--con", "5", NULL}}, "no option '--con'"},
		{{{"echo", URL, "--connsx", "5", NULL}}, "no option '--connsx'"},
		{{{"echo", URL, "--conns", NULL}}, "--conns needs a value: N"},
		{{{"echo", URL, "--conns", "0", NULL}},
		 "--conns: '0' is no number from 1"},
		{{{"echo", URL, "--conns", "x", NULL}}, "--conns: 'x' is no number"},
		{{{"echo", URL, "--conns", "", NULL}}, "--conns: '' is no number"},
		{{{"echo", URL, "--conns", "-1", NULL}}, "'-1' is no number"},
		{{{"echo", URL, "--conns=1000001", NULL}}, "'1000001' is no number"},
		{{{"echo", URL, "--conns", "99999999999999999999", NULL}},
		 "is no number"},
		{{{"echo", URL, "--in-flight", "65", NULL}}, "from 1 to 64"},
		{{{"echo", URL, "--duration", "10", NULL}},
		 "--duration: '10' is no time"},
		{{{"echo", URL, "--duration", "25h", NULL}}, "--duration: '25h'"},
		{{{"echo", URL, "--duration", "1ms", NULL}}, "--duration: '1ms'"},
		{{{"echo", URL, "--size", "63", NULL}}, "from 64 to 65536"},
		{{{"echo", URL, "--transport", "ws", NULL}}, "none of websocket|polling"},
		{{{"echo", URL, "--transport", "poll", NULL}}, "'poll' is none of"},
		{{{"echo", URL, "--transport", "", NULL}}, "'' is none of"},
		{{{"echo", URL, "--acks=yes", NULL}}, "--acks takes no value"},
		{{{"echo", URL, "--server-pid", "0", NULL}}, "'0' is no process id"},
		{{{"echo", URL, "--server-pid", "1x", NULL}}, "'1x' is no process id"},
		{{{"echo", URL, "--join", "room", NULL}}, "--join: must be a JSON array"},
		{{{"echo", URL, "--join", "[1]", NULL}}, "--join: must be a JSON array"},
		{{{"echo", URL, "--join", "[\"a\"", NULL}}, "--join: must be"},
		{{{"echo", URL, "--join", "[\"a\",{room}]", NULL}}, "--join: must be"},
		{{{"echo", URL, "--emit", "[\"a\"]", NULL}},
		 "--emit: must hold {message}"},
		{{{"echo", URL, "--path", "x", NULL}}, "--path: begins with '/'"},
		{{{"echo", URL, "--path", "/a b", NULL}}, "--path"},
		{{{"echo", URL, "--namespace", "a", NULL}}, "--namespace: begins"},
		{{{"echo", URL, "--namespace", "/a,b", NULL}}, "--namespace"},
		{{{"echo", URL, "--auth", "1", NULL}}, "--auth: must be a JSON object"},
		{{{"echo", URL, "--auth", "{", NULL}}, "--auth: must be a JSON object"},
		{{{"echo", URL, "--room-prefix", "a\"b", NULL}}, "--room-prefix"},
		{{{"poll", URL, "--transport", "upgrade", NULL}}, "is about polling"},
		{{{"echo", URL, "--publish-to", URL, NULL}}, "only fanout and rooms"},
		{{{"rooms", URL, "--rooms", "10000", "--members", "101", NULL}},
		 "1000000 at most"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct bench_options o;
		struct buf out = BUF_INIT;

		CHECK_ROW(read(&o, &rows[i].line, &out) == BENCH_ASKED_WRONG,
			  rows[i].says);
		CHECK_ROW(strstr(buf_cstr(&out), rows[i].says) != NULL, buf_cstr(&out));
		buf_deinit(&out);
	}
}

static void test_defaults(void)
{
	static const struct {
		const char *scenario;
		enum bench_scenario is;
		unsigned transport;
		uint64_t conns, rooms, members, in_flight, duration_ms;
	} rows[] = {
		{"connect", BENCH_CONNECT, CLIENT_WEBSOCKET, 1000, 0, 0, 0, 0},
		{"idle", BENCH_IDLE, CLIENT_WEBSOCKET, 1000, 0, 0, 0, 30000},
		{"fanout", BENCH_FANOUT, CLIENT_WEBSOCKET, 1000, 1, 0, 8, 10000},
		{"rooms", BENCH_ROOMS, CLIENT_WEBSOCKET, 0, 200, 10, 1, 10000},
		{"echo", BENCH_ECHO, CLIENT_WEBSOCKET, 100, 0, 0, 1, 10000},
		{"poll", BENCH_POLL, CLIENT_POLLING, 100, 0, 0, 1, 10000},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct line line = {{rows[i].scenario, URL, NULL}};
		struct bench_options o;
		struct buf out = BUF_INIT;

		CHECK_ROW(read(&o, &line, &out) == BENCH_ASKED_RUN, buf_cstr(&out));
		CHECK_ROW(o.scenario == rows[i].is, rows[i].scenario);
		CHECK_ROW(o.conns == rows[i].conns, rows[i].scenario);
		CHECK_ROW(o.rooms == rows[i].rooms, rows[i].scenario);
		CHECK_ROW(o.members == rows[i].members, rows[i].scenario);
		CHECK_ROW(o.in_flight == rows[i].in_flight, rows[i].scenario);
		CHECK_ROW(o.duration_ms == rows[i].duration_ms, rows[i].scenario);
		CHECK_ROW(o.transport == rows[i].transport, rows[i].scenario);
		CHECK_ROW(o.size == 128, rows[i].scenario);
		CHECK_ROW(o.timeout_ms == 5000, rows[i].scenario);
		CHECK_ROW(!o.remote && !o.acks && !o.pids.n, rows[i].scenario);
		CHECK_ROW(strcmp(o.path, "/socket.io/") == 0, rows[i].scenario);
		CHECK_ROW(*o.auth == 0 && *o.json == 0, rows[i].scenario);
		buf_deinit(&out);
	}
}

static void test_values(void)
{
	static const struct line line = {{"--conns=7", "echo", "--duration", "2m", URL,
					  "--server-pid", "12", "--server-pid=13",
					  "--acks", "--transport=upgrade", "--join=none",
					  NULL}};
	struct bench_options o;
	struct buf out = BUF_INIT;

	CHECK(read(&o, &line, &out) == BENCH_ASKED_RUN);
	CHECK(o.scenario == BENCH_ECHO);
	CHECK(strcmp(o.url, URL) == 0);
	CHECK(o.conns == 7);
	CHECK(o.duration_ms == 120000);
	CHECK(o.pids.n == 2 && o.pids.v[0] == 12 && o.pids.v[1] == 13);
	CHECK(o.acks);
	CHECK(o.transport == CLIENT_UPGRADE);
	CHECK(strcmp(o.join, "none") == 0);
	buf_deinit(&out);
}

/* Every option and scenario is in --help, and --help counts wherever it stands. */
static void test_help(void)
{
	static const char *const names[] = {
#define HELP_OPTION_(type, field, flag, ...) flag,
		BENCH_OPTION_TABLE(HELP_OPTION_)
#undef HELP_OPTION_
			"--list",
	};
	static const struct line lines[] = {{{"--help", NULL}},
					    {{"echo", "--nonsense", "--help", NULL}}};
	static const struct line list = {{"--list", NULL}};
	struct bench_options o;

	for (size_t k = 0; k < 2; k++) {
		struct buf out = BUF_INIT;

		CHECK(read(&o, &lines[k], &out) == BENCH_ASKED_TEXT);
		for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
			CHECK_ROW(strstr(buf_cstr(&out), names[i]) != NULL, names[i]);
		for (int i = BENCH_CONNECT; i <= BENCH_POLL; i++) {
			const char *name = bench_scenario_name((enum bench_scenario)i);

			CHECK_ROW(strstr(buf_cstr(&out), name) != NULL, name);
		}
		buf_deinit(&out);
	}
	{
		struct buf out = BUF_INIT;

		CHECK(read(&o, &list, &out) == BENCH_ASKED_TEXT);
		CHECK(strstr(buf_cstr(&out), "  fanout\n") != NULL);
		CHECK(strstr(buf_cstr(&out), "--conns 1000") != NULL);
		buf_deinit(&out);
	}
}

static void test_targets(void)
{
	static const struct {
		const char *url;
		enum err err;
		bool loopback, many;
		const char *host, *path;
	} rows[] = {
		{"http://127.0.0.1:3000", ERR_OK, true, true, "127.0.0.1:3000", ""},
		{"http://127.0.0.1:3000/", ERR_OK, true, true, "127.0.0.1:3000", ""},
		{"http://127.9.8.7", ERR_OK, true, true, "127.9.8.7", ""},
		{"http://127.0.0.1:1/io/", ERR_OK, true, true, "127.0.0.1:1", "/io/"},
		{"http://[::1]:3000/io/", ERR_OK, true, false, "[::1]:3000", "/io/"},
		{"http://192.0.2.1:80", ERR_OK, false, false, "192.0.2.1:80", ""},
		{"http://[2001:db8::1]", ERR_OK, false, false, "[2001:db8::1]", ""},
		{"https://127.0.0.1", ERR_SYNTAX, false, false, "", ""},
		{"127.0.0.1:3000", ERR_SYNTAX, false, false, "", ""},
		{"http://", ERR_SYNTAX, false, false, "", ""},
		{"http://:80", ERR_SYNTAX, false, false, "", ""},
		{"http://127.0.0.1:", ERR_SYNTAX, false, false, "", ""},
		{"http://127.0.0.1:0", ERR_SYNTAX, false, false, "", ""},
		{"http://127.0.0.1:65536", ERR_SYNTAX, false, false, "", ""},
		{"http://127.0.0.1:8x", ERR_SYNTAX, false, false, "", ""},
		{"http://127.0.0.1/?a", ERR_SYNTAX, false, false, "", ""},
		{"http://127.0.0.1/a b", ERR_SYNTAX, false, false, "", ""},
		{"http://user@127.0.0.1/", ERR_SYNTAX, false, false, "", ""},
		{"http://[::1", ERR_SYNTAX, false, false, "", ""},
		{"http://[::1]x", ERR_SYNTAX, false, false, "", ""},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct net net = {0};
		struct buf why = BUF_INIT;
		enum err err = net_target(&net, rows[i].url, &why);

		CHECK_ROW(err == rows[i].err, rows[i].url);
		CHECK_ROW((err == ERR_OK) == (why.n == 0), rows[i].url);
		if (err == ERR_OK) {
			CHECK_ROW(net.loopback == rows[i].loopback, rows[i].url);
			CHECK_ROW(net.many_sources == rows[i].many, rows[i].url);
			CHECK_ROW(strcmp(net.host, rows[i].host) == 0, rows[i].url);
			CHECK_ROW(strcmp(net.path, rows[i].path) == 0, rows[i].url);
		}
		buf_deinit(&why);
	}
}

int main(void)
{
	test_times();
	test_wrong();
	test_defaults();
	test_values();
	test_help();
	test_targets();
	return test_done();
}
