#include "bench/report.h"

#include <inttypes.h>

#include "proto/json.h"

static const struct {
	const char *name;
	double percent;
} percentiles[] = {{"p50", 50}, {"p90", 90}, {"p99", 99}, {"p99.9", 99.9}, {"max", 100}};
enum { PERCENTILES_N = sizeof(percentiles) / sizeof(percentiles[0]) };

void bench_result_merge(struct bench_result *r, const struct bench_shared *shared)
{
	uint64_t first = 0, last = 0;

	for (unsigned i = 0; i < r->processes; i++) {
		const struct bench_part *part = &shared->parts[i];

		for (unsigned k = 0; k < BENCH_COUNTS_N; k++)
			r->counts[k] += atomic_load(&part->counts[k]);
		for (unsigned k = 0; k < CLIENT_ERRORS_N; k++) {
			r->errors[k] += part->errors[k];
			if (part->errors[k] && !r->error_texts[k])
				r->error_texts[k] = part->error_texts[k];
		}
		hist_merge(&r->connect, &part->connect);
		hist_merge(&r->latency, &part->latency);
		if (part->first_ns && (!first || part->first_ns < first))
			first = part->first_ns;
		if (part->last_ns > last)
			last = part->last_ns;
	}
	/* From the first message to the last arrival: waiting for those that did not
	 * come is no work. */
	if (last > first && first)
		r->run_ns = last - first;
}

bool bench_result_ok(const struct bench_result *r)
{
	static const enum bench_count wrong[] = {
		BENCH_COUNT_FAILED, BENCH_COUNT_LOST, BENCH_COUNT_DOUBLED,
		BENCH_COUNT_REORDERED, BENCH_COUNT_MISROUTED};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		if (r->counts[wrong[i]])
			return false;
	}
	return r->interrupted || r->counts[BENCH_COUNT_MEMBERS] == r->conns;
}

static double per(double a, double b)
{
	return b > 0 ? a / b : 0;
}

static double seconds(uint64_t ns)
{
	return (double)ns / 1e9;
}

static double rss_per_conn(const struct bench_result *r)
{
	return per((double)r->connected.rss_bytes - (double)r->before.rss_bytes,
		   (double)r->counts[BENCH_COUNT_MEMBERS]);
}

/* --- table --- */

static void row(struct buf *out, const char *name)
{
	buf_printf(out, "%-16s", name);
}

static void times(struct buf *out, const char *name, const struct hist *h)
{
	if (!h->n)
		return;
	row(out, name);
	for (size_t i = 0; i < PERCENTILES_N; i++) {
		double us = (double)hist_percentile(h, percentiles[i].percent) / 1e3;

		buf_printf(out, us < 1000 ? "%s %.0f µs   " : "%s %.2f ms   ",
			   percentiles[i].name, us < 1000 ? us : us / 1e3);
	}
	out->n -= 3;
	buf_byte(out, '\n');
}

static void server_rows(const struct bench_result *r, struct buf *out)
{
	uint64_t connect = r->connected.cpu_ns - r->before.cpu_ns;
	uint64_t run = r->end.cpu_ns - r->run.cpu_ns;
	uint64_t close = r->closed.cpu_ns - r->open.cpu_ns;

	if (!r->options->pids.n)
		return;
	row(out, "server, connect");
	buf_printf(out, "%.2f s CPU, %.1f µs a connection\n", seconds(connect),
		   per((double)connect / 1e3, (double)r->counts[BENCH_COUNT_MEMBERS]));
	if (r->options->scenario != BENCH_CONNECT) {
		row(out, "server, then");
		buf_printf(out, "%.2f s CPU", seconds(run));
		if (r->counts[BENCH_COUNT_DELIVERED])
			buf_printf(out, ", %.2f µs a message delivered",
				   per((double)run / 1e3,
				       (double)r->counts[BENCH_COUNT_DELIVERED]));
		buf_byte(out, '\n');
	}
	row(out, "server, close");
	buf_printf(out, "%.2f s CPU, %.1f µs a connection\n", seconds(close),
		   per((double)close / 1e3, (double)r->counts[BENCH_COUNT_GONE]));
	row(out, "server, memory");
	buf_printf(out,
		   "%.1f MB before, %.1f MB with all connected: %.2f KB a connection, "
		   "%.1f MB at the end\n",
		   (double)r->before.rss_bytes / 1e6,
		   (double)r->connected.rss_bytes / 1e6, rss_per_conn(r) / 1e3,
		   (double)r->end.rss_bytes / 1e6);
}

static void message_rows(const struct bench_result *r, struct buf *out)
{
	const uint64_t *n = r->counts;

	if (!n[BENCH_COUNT_SENT])
		return;
	row(out, "sent");
	buf_printf(out, "%" PRIu64 " in %.2f s, %.0f a second\n", n[BENCH_COUNT_SENT],
		   seconds(r->run_ns),
		   per((double)n[BENCH_COUNT_SENT], seconds(r->run_ns)));
	row(out, "delivered");
	buf_printf(out, "%" PRIu64 ", %.0f a second\n", n[BENCH_COUNT_DELIVERED],
		   per((double)n[BENCH_COUNT_DELIVERED], seconds(r->run_ns)));
	times(out, "latency", &r->latency);
	row(out, "wrong");
	buf_printf(out,
		   "%" PRIu64 " lost, %" PRIu64 " doubled, %" PRIu64
		   " reordered, %" PRIu64 " misrouted\n",
		   n[BENCH_COUNT_LOST], n[BENCH_COUNT_DOUBLED], n[BENCH_COUNT_REORDERED],
		   n[BENCH_COUNT_MISROUTED]);
}

void bench_report_table(const struct bench_result *r, struct buf *out)
{
	const struct bench_options *o = r->options;
	const uint64_t *n = r->counts;

	buf_printf(out, "\n%s of %s, %s, %u processes%s\n",
		   bench_scenario_name(o->scenario), o->url,
		   bench_transport_name((enum client_transport)o->transport),
		   r->processes, r->interrupted ? ", interrupted" : "");
	row(out, "connected");
	buf_printf(out,
		   "%" PRIu64 " of %" PRIu32 " in %.2f s, %.0f a second; %" PRIu64
		   " failed\n",
		   n[BENCH_COUNT_MEMBERS], r->conns, seconds(r->connect_ns),
		   per((double)n[BENCH_COUNT_MEMBERS], seconds(r->connect_ns)),
		   n[BENCH_COUNT_FAILED]);
	times(out, "connect time", &r->connect);
	message_rows(r, out);
	if (o->scenario == BENCH_IDLE) {
		row(out, "heartbeats");
		buf_printf(out, "%" PRIu64 " in %.2f s\n", n[BENCH_COUNT_PINGS],
			   seconds(r->run_ns));
	}
	server_rows(r, out);
	row(out, "the load itself");
	buf_printf(out, "%.2f s CPU\n", seconds(r->own_cpu_ns));
	for (unsigned i = 0; i < CLIENT_ERRORS_N; i++) {
		if (!r->errors[i])
			continue;
		row(out, "errors");
		buf_printf(out, "%" PRIu64 " %s: %s\n", r->errors[i],
			   client_error_text((enum client_error)i), r->error_texts[i]);
	}
}

/* --- JSON --- */

static void json_times(struct buf *out, const char *name, const struct hist *h)
{
	buf_printf(out, "  \"%s_us\": {\"n\": %" PRIu64, name, h->n);
	for (size_t i = 0; i < PERCENTILES_N; i++)
		buf_printf(out, ", \"%s\": %.3f", percentiles[i].name,
			   (double)hist_percentile(h, percentiles[i].percent) / 1e3);
	buf_str(out, "},\n");
}

/* The same of latency, finely enough to draw. */
static void json_distribution(struct buf *out, const struct hist *h)
{
	static const double percents[] = {1,	5,    10,   20,	   30,	  40,	50,
					  60,	70,   80,   90,	   95,	  98,	99,
					  99.5, 99.8, 99.9, 99.95, 99.98, 99.99};
	const char *between = "";

	buf_str(out, "  \"latency_distribution_us\": [");
	for (size_t i = 0; i < sizeof(percents) / sizeof(percents[0]) && h->n; i++) {
		buf_printf(out, "%s[%g, %.3f]", between, percents[i],
			   (double)hist_percentile(h, percents[i]) / 1e3);
		between = ", ";
	}
	buf_str(out, "],\n");
}

static void json_text(struct buf *out, const char *key, const char *value)
{
	buf_printf(out, "  \"%s\": ", key);
	json_str(out, slice_str(value));
	buf_str(out, ",\n");
}

static void json_server(const struct bench_result *r, struct buf *out)
{
	uint64_t connect = r->connected.cpu_ns - r->before.cpu_ns;
	uint64_t run = r->end.cpu_ns - r->run.cpu_ns;
	uint64_t close = r->closed.cpu_ns - r->open.cpu_ns;

	if (!r->options->pids.n)
		return;
	buf_printf(
		out,
		"  \"server\": {\"connect_cpu_s\": %.6f, \"connect_cpu_us_each\": %.3f, "
		"\"run_cpu_s\": %.6f, \"run_cpu_us_each\": %.3f, "
		"\"close_cpu_s\": %.6f, \"close_cpu_us_each\": %.3f, "
		"\"rss_before\": %" PRIu64 ", \"rss_connected\": %" PRIu64
		", \"rss_end\": %" PRIu64 ", \"rss_each\": %.0f},\n",
		seconds(connect),
		per((double)connect / 1e3, (double)r->counts[BENCH_COUNT_MEMBERS]),
		seconds(run),
		per((double)run / 1e3, (double)r->counts[BENCH_COUNT_DELIVERED]),
		seconds(close),
		per((double)close / 1e3, (double)r->counts[BENCH_COUNT_GONE]),
		r->before.rss_bytes, r->connected.rss_bytes, r->end.rss_bytes,
		rss_per_conn(r));
}

static void json_errors(const struct bench_result *r, struct buf *out)
{
	const char *between = "";

	buf_str(out, "  \"errors\": {");
	for (unsigned i = 0; i < CLIENT_ERRORS_N; i++) {
		if (!r->errors[i])
			continue;
		buf_printf(out, "%s\"%s\": {\"n\": %" PRIu64 ", \"first\": ", between,
			   client_error_key((enum client_error)i), r->errors[i]);
		json_str(out, slice_str(r->error_texts[i]));
		buf_byte(out, '}');
		between = ", ";
	}
	buf_str(out, "}\n");
}

void bench_report_json(const struct bench_result *r, struct buf *out)
{
	static const char *const keys[] = {
#define COUNT_KEY_(name, key) (key),
		BENCH_COUNT_TABLE(COUNT_KEY_)
#undef COUNT_KEY_
	};
	const struct bench_options *o = r->options;

	buf_str(out, "{\n");
	json_text(out, "scenario", bench_scenario_name(o->scenario));
	json_text(out, "url", o->url);
	if (*o->publish_to)
		json_text(out, "publish_to", o->publish_to);
	json_text(out, "transport",
		  bench_transport_name((enum client_transport)o->transport));
	buf_printf(out,
		   "  \"processes\": %u,\n  \"conns\": %" PRIu32 ",\n  \"size\": %" PRIu64
		   ",\n  \"rate\": %" PRIu64 ",\n  \"in_flight\": %" PRIu64
		   ",\n  \"interrupted\": %s,\n"
		   "  \"ok\": %s,\n  \"connect_s\": %.6f,\n  \"run_s\": %.6f,\n"
		   "  \"load_cpu_s\": %.6f,\n",
		   r->processes, r->conns, o->size, o->rate, o->in_flight,
		   r->interrupted ? "true" : "false",
		   bench_result_ok(r) ? "true" : "false", seconds(r->connect_ns),
		   seconds(r->run_ns), seconds(r->own_cpu_ns));
	buf_str(out, "  \"counts\": {");
	for (unsigned i = 0; i < BENCH_COUNTS_N; i++)
		buf_printf(out, "%s\"%s\": %" PRIu64, i ? ", " : "", keys[i],
			   r->counts[i]);
	buf_str(out, "},\n");
	json_times(out, "connect", &r->connect);
	json_times(out, "latency", &r->latency);
	json_distribution(out, &r->latency);
	json_server(r, out);
	json_errors(r, out);
	buf_str(out, "}\n");
}

/* --- progress --- */

void bench_report_progress(const struct bench_options *o, uint32_t conns,
			   enum bench_phase phase, double at,
			   const uint64_t n[BENCH_COUNTS_N], struct buf *out)
{
	static const char *const phases[] = {"connect", "run",	 "stop", "settle",
					     "count",	"close", "end"};

	buf_printf(out, "%7.1f s  %-7s  %" PRIu64 " of %" PRIu32 " connected", at,
		   phases[phase], n[BENCH_COUNT_MEMBERS], conns);
	if (n[BENCH_COUNT_FAILED])
		buf_printf(out, ", %" PRIu64 " failed", n[BENCH_COUNT_FAILED]);
	if (n[BENCH_COUNT_SENT])
		buf_printf(out, ", %" PRIu64 " sent, %" PRIu64 " delivered",
			   n[BENCH_COUNT_SENT], n[BENCH_COUNT_DELIVERED]);
	if (o->scenario == BENCH_IDLE)
		buf_printf(out, ", %" PRIu64 " heartbeats", n[BENCH_COUNT_PINGS]);
	if (n[BENCH_COUNT_DOUBLED] || n[BENCH_COUNT_REORDERED])
		buf_printf(out, ", %" PRIu64 " doubled, %" PRIu64 " reordered",
			   n[BENCH_COUNT_DOUBLED], n[BENCH_COUNT_REORDERED]);
	buf_byte(out, '\n');
}
