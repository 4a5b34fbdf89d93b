/* The exposition, read line by line as Prometheus would. */
#include "gateway/metrics.h"

#include <stdlib.h>

#include "test.h"

static size_t count(const char *text, const char *what)
{
	size_t n = 0;

	for (const char *p = strstr(text, what); p; p = strstr(p + 1, what))
		n++;
	return n;
}

static void test_values(void)
{
	struct metrics m = {0};
	struct buf out = BUF_INIT;
	const char *text;

	m.conns_websocket = 3;
	m.closes_too_big = UINT64_MAX;
	m.rooms = 7;
	metrics_write(&m, "1.2.3", "memory", "a\"b\\c\nd", &out);
	text = buf_cstr(&out);
	CHECK(strstr(text, "# HELP gatehouse_conns Connections open now\n"
			   "# TYPE gatehouse_conns gauge\n"
			   "gatehouse_conns{transport=\"polling\"} 0\n"
			   "gatehouse_conns{transport=\"websocket\"} 3\n"));
	CHECK(strstr(text, "\ngatehouse_conns_closed_total{reason=\"too_big\"} "
			   "18446744073709551615\n"));
	CHECK(strstr(text, "\ngatehouse_rooms 7\n"));
	CHECK(strstr(text, "\ngatehouse_build_info{version=\"1.2.3\",adapter=\"memory\","
			   "node=\"a\\\"b\\\\c\\nd\"} 1\n"));
	CHECK(count(text, "# TYPE gatehouse_conns_closed_total counter\n") == 1);
	CHECK(count(text, "\ngatehouse_conns_closed_total{") == 10);
	buf_deinit(&out);
}

/* A name that comes back after another would be refused by Prometheus, a counter is named
 * _total and a row without help must belong to the name above it. */
static void test_table(void)
{
	static const struct {
		const char *kind, *name, *label, *help;
	} rows[] = {
#define ROW_(kind, field, name, label, help) {#kind, name, label, help},
		METRICS_TABLE(ROW_)
#undef ROW_
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *name = rows[i].name;
		size_t n = strlen(name);
		bool total = n > 6 && strcmp(name + n - 6, "_total") == 0;
		bool first = i == 0 || strcmp(rows[i - 1].name, name) != 0;

		CHECK_ROW(total == (strcmp(rows[i].kind, "COUNTER") == 0), name);
		CHECK_ROW(first == (*rows[i].help != '\0'), name);
		CHECK_ROW(!strpbrk(rows[i].help, "\\\n|"), name);
		CHECK_ROW(first || strcmp(rows[i].label, rows[i - 1].label) != 0, name);
		for (size_t j = 0; first && j < i; j++)
			CHECK_ROW(strcmp(rows[j].name, name) != 0, name);
	}
}

static void test_reference(void)
{
	struct buf out = BUF_INIT;
	const char *text;

	metrics_reference(&out);
	text = buf_cstr(&out);
	CHECK(count(text, "| `gatehouse_conns_refused_total` | counter | "
			  "`reason=\"max\"`<br>`reason=\"origin\"`<br>") == 1);
	CHECK(count(text, "`gatehouse_conns_refused_total`") == 1);
	CHECK(count(text, "`gatehouse_build_info`") == 1);
	buf_deinit(&out);
}

int main(void)
{
	test_values();
	test_table();
	test_reference();
	return test_done();
}
