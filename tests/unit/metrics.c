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
	CHECK(count(text, "\ngatehouse_conns_closed_total{") == 12);
	buf_deinit(&out);
}

static void test_scales(void)
{
	struct metrics m = {.process_start_ms = 1700000000007,
			    .process_cpu_us = 2000045,
			    .turn_max_ms = 90};
	struct buf out = BUF_INIT;
	const char *text;

	metrics_write(&m, "1", "redis", NULL, &out);
	text = buf_cstr(&out);
	CHECK(strstr(text, "\nprocess_start_time_seconds 1700000000.007\n"));
	CHECK(strstr(text, "\nprocess_cpu_seconds_total 2.000045\n"));
	CHECK(strstr(text, "\ngatehouse_loop_turn_max_seconds 0.090\n"));
	CHECK(strstr(text,
		     "\ngatehouse_build_info{version=\"1\",adapter=\"redis\"} 1\n"));
	buf_deinit(&out);
}

static void test_turns(void)
{
	static const uint64_t ms[] = {0, 5, 6, 10, 25, 26, 51, 1000, 1001, 5000};
	struct metrics m = {0};
	struct buf out = BUF_INIT;
	const char *text;

	for (size_t i = 0; i < sizeof(ms) / sizeof(ms[0]); i++)
		metrics_count_turn(&m, ms[i]);
	metrics_write(&m, "1", "memory", "node", &out);
	text = buf_cstr(&out);
	CHECK(strstr(text, "# TYPE gatehouse_loop_turn_seconds histogram\n"
			   "gatehouse_loop_turn_seconds_bucket{le=\"0.005\"} 2\n"
			   "gatehouse_loop_turn_seconds_bucket{le=\"0.01\"} 4\n"
			   "gatehouse_loop_turn_seconds_bucket{le=\"0.025\"} 5\n"
			   "gatehouse_loop_turn_seconds_bucket{le=\"0.05\"} 6\n"
			   "gatehouse_loop_turn_seconds_bucket{le=\"0.1\"} 7\n"
			   "gatehouse_loop_turn_seconds_bucket{le=\"0.25\"} 7\n"
			   "gatehouse_loop_turn_seconds_bucket{le=\"1\"} 8\n"
			   "gatehouse_loop_turn_seconds_bucket{le=\"+Inf\"} 10\n"
			   "gatehouse_loop_turn_seconds_count 10\n"
			   "gatehouse_loop_turn_seconds_sum 7.124\n"));
	buf_deinit(&out);
}

static void test_totals(void)
{
	const struct metrics a = {.conns_websocket = 3,
				  .conns_opened = 10,
				  .backend_up = 1,
				  .backend_rtt_us = 200,
				  .turns_10ms = 1,
				  .turns_ms = 9,
				  .process_cpu_us = 5};
	const struct metrics b = {.conns_websocket = 4,
				  .conns_opened = 20,
				  .backend_up = 0,
				  .backend_rtt_us = 100,
				  .turns_10ms = 2,
				  .turns_ms = 18,
				  .process_cpu_us = 7};
	struct metrics total;

	metrics_total_begin(&total);
	metrics_total_end(&total);
	CHECK(total.backend_up == 0 && total.conns_websocket == 0);

	metrics_total_begin(&total);
	metrics_total_add(&total, &a);
	CHECK(total.backend_up == 1);
	metrics_total_add(&total, &b);
	metrics_total_end(&total);
	CHECK(total.conns_websocket == 7 && total.conns_opened == 30);
	CHECK(total.backend_up == 0 && total.backend_rtt_us == 200);
	CHECK(total.turns_10ms == 3 && total.turns_ms == 27);
	CHECK(total.process_cpu_us == 12);

	metrics_total_begin(&total);
	metrics_total_add_counters(&total, &a);
	metrics_total_add(&total, &b);
	metrics_total_end(&total);
	CHECK(total.conns_websocket == 4 && total.conns_opened == 30);
	CHECK(total.backend_rtt_us == 100 && total.turns_ms == 27);
	CHECK(total.process_cpu_us == 12);
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

		CHECK_ROW(total == (strncmp(rows[i].kind, "COUNTER", 7) == 0), name);
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
	CHECK(count(text, "| `gatehouse_conns_refused_total` | counter | sum | "
			  "`reason=\"max\"`<br>`reason=\"origin\"`<br>") == 1);
	CHECK(count(text, "`gatehouse_conns_refused_total`") == 1);
	CHECK(count(text, "`gatehouse_build_info`") == 1);
	buf_deinit(&out);
}

int main(void)
{
	test_values();
	test_scales();
	test_turns();
	test_totals();
	test_table();
	test_reference();
	return test_done();
}
