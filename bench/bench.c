#include "bench/bench.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/load.h"
#include "bench/report.h"

enum {
	FILES_BESIDES = 64,
	PORTS_PER_SOURCE = 20000, /* Linux has 28,232 unless told otherwise */
	PROCESSES_MAX = 256,
	TICK_NS = 5000000,
	REST_NS = 20000000, /* a tenth of this time or less of CPU in it is rest */
	QUIET_MS = 200,	    /* nothing may come for so long after the last message came */
	CLOSE_MS = 2000,
	SECOND_MS = 1000,
	TELL_MS = 10000, /* between lines of progress to who is no terminal */
};

struct bench {
	struct bench_options options;
	struct bench_plan plan;
	struct bench_result result;
	pid_t children[PROCESSES_MAX];
	bool child_died;
	bool to_terminal;
	uint64_t began_ns, told_ns;
};

/* How often we were told to stop. */
static volatile sig_atomic_t stops;

static void on_stop(int signal)
{
	(void)signal;
	stops++;
}

bool bench_asked(int argc, char *const *argv)
{
	return argc > 1 && strcmp(argv[1], "bench") == 0;
}

/* --- before it begins --- */

static unsigned files_per_conn(const struct bench_options *o)
{
	return o->transport + 1; /* WebSocket; GET and POST; all three */
}

static bool raise_file_limit(const struct bench *b)
{
	struct rlimit limit;
	uint64_t need = ((uint64_t)b->result.conns / b->plan.processes + 1) *
				files_per_conn(&b->options) +
			b->options.members * files_per_conn(&b->options) + FILES_BESIDES;
	rlim_t before;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= need)
		return true;
	before = limit.rlim_cur;
	limit.rlim_cur = limit.rlim_max < need ? limit.rlim_max : need;
	if (limit.rlim_max < need || setrlimit(RLIMIT_NOFILE, &limit) != 0) {
		fprintf(stderr,
			"gatehouse bench: each of %u processes needs %" PRIu64
			" open files, the limit is %ju: fewer connections, or more "
			"--processes, or raise it (ulimit -n)\n",
			b->plan.processes, need, (uintmax_t)limit.rlim_max);
		return false;
	}
	fprintf(stderr, "gatehouse bench: limit of open files raised from %ju to %ju\n",
		(uintmax_t)before, (uintmax_t)limit.rlim_cur);
	return true;
}

static bool find_server(const struct bench *b, struct net *net, const char *url)
{
	struct buf why = BUF_INIT;
	enum err err = net_target(net, url, &why);
	uint64_t ports = (uint64_t)b->result.conns * files_per_conn(&b->options);

	if (err == ERR_OK && !net->loopback && !b->options.remote) {
		buf_str(&why, "is not this machine; --remote says that its owner agrees");
		err = ERR_DENIED;
	}
	if (err != ERR_OK)
		fprintf(stderr, "gatehouse bench: %s: %s\n", url, buf_cstr(&why));
	buf_deinit(&why);
	net->sources = (uint32_t)b->options.sources;
	if (!net->sources && ports > PORTS_PER_SOURCE)
		net->sources = (uint32_t)(ports / PORTS_PER_SOURCE + 1);
	if (!net->many_sources)
		net->sources = 0;
	if (net->sources > NET_SOURCES_MAX)
		net->sources = NET_SOURCES_MAX;
	return err == ERR_OK;
}

static bool find_servers(struct bench *b)
{
	const char *publish_to = b->options.publish_to;

	return find_server(b, &b->plan.net, b->options.url) &&
	       (!*publish_to || find_server(b, &b->plan.publish_net, publish_to));
}

/* 0: one is no more. */
static bool read_usage(const struct bench *b, struct usage *usage)
{
	int pid;

	if (usage_read(b->options.pids.v, b->options.pids.n, usage, &pid) == ERR_OK)
		return true;
	fprintf(stderr, "gatehouse bench: --server-pid: there is no process %d\n", pid);
	return false;
}

static uint64_t own_cpu_ns(const struct bench *b)
{
	struct usage usage;
	int pid;

	return usage_read(b->children, b->plan.processes, &usage, &pid) == ERR_OK
		       ? usage.cpu_ns
		       : 0;
}

static unsigned process_count(const struct bench *b)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	uint64_t n = b->options.processes;
	/* Rooms are not divided. */
	uint64_t most =
		b->options.scenario == BENCH_ROOMS ? b->options.rooms : b->result.conns;

	if (n == 0)
		n = cores > 0 ? (uint64_t)cores : 1;
	if (n > PROCESSES_MAX)
		n = PROCESSES_MAX;
	return (unsigned)(n < most ? n : most);
}

/* Memory the children share with us, as zeros. */
static bool share(struct bench *b)
{
	size_t bytes = sizeof(struct bench_shared) +
		       b->plan.processes * sizeof(struct bench_part);
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		       -1, 0);

	if (p == MAP_FAILED) {
		fprintf(stderr, "gatehouse bench: mmap: %s\n", strerror(errno));
		return false;
	}
	b->plan.shared = p;
	for (unsigned i = 0; i < b->plan.processes; i++)
		atomic_store(&b->plan.shared->parts[i].done, -1);
	return true;
}

/* --- children --- */

static _Noreturn void child(const struct bench *b, unsigned index, pid_t parent)
{
	/* Ctrl-C goes to all processes of a terminal, and our parent decides. */
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_DFL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(0);
	bench_load(&b->plan, index);
	exit(0);
}

static bool start_children(struct bench *b)
{
	pid_t parent = getpid();

	for (unsigned i = 0; i < b->plan.processes; i++) {
		b->children[i] = fork();
		if (b->children[i] == 0)
			child(b, i, parent);
		if (b->children[i] < 0) {
			fprintf(stderr, "gatehouse bench: fork: %s\n", strerror(errno));
			return false;
		}
	}
	return true;
}

static void kill_children(const struct bench *b)
{
	for (unsigned i = 0; i < b->plan.processes; i++) {
		if (b->children[i] > 0)
			kill(b->children[i], SIGKILL);
	}
}

/* Notice one that ended before its time. */
static void look_after_children(struct bench *b)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (unsigned i = 0; i < b->plan.processes; i++) {
			if (b->children[i] == pid)
				b->children[i] = 0;
		}
		if (!b->child_died)
			fprintf(stderr,
				"gatehouse bench: one of its processes ended with %s "
				"%d\n",
				WIFSIGNALED(status) ? "signal" : "code",
				WIFSIGNALED(status) ? WTERMSIG(status)
						    : WEXITSTATUS(status));
		b->child_died = true;
	}
}

static bool wait_for_children(const struct bench *b)
{
	bool ok = true;

	for (unsigned i = 0; i < b->plan.processes; i++) {
		int status = 0;

		if (b->children[i] > 0 && waitpid(b->children[i], &status, 0) > 0)
			ok = ok && status == 0;
	}
	return ok;
}

/* --- phases --- */

static bool told_to_end(const struct bench *b)
{
	return stops > 1 || b->child_died;
}

static void sum_counts(const struct bench *b, uint64_t counts[BENCH_COUNTS_N])
{
	for (unsigned k = 0; k < BENCH_COUNTS_N; k++) {
		counts[k] = 0;
		for (unsigned i = 0; i < b->plan.processes; i++)
			counts[k] +=
				atomic_load_explicit(&b->plan.shared->parts[i].counts[k],
						     memory_order_relaxed);
	}
}

static bool all_done(const struct bench *b, enum bench_phase phase)
{
	for (unsigned i = 0; i < b->plan.processes; i++) {
		if (atomic_load(&b->plan.shared->parts[i].done) < (int)phase)
			return false;
	}
	return true;
}

static void tell(struct bench *b, enum bench_phase phase,
		 const uint64_t counts[BENCH_COUNTS_N])
{
	uint64_t now = bench_now_ns();
	uint64_t every_ms = b->to_terminal ? SECOND_MS : TELL_MS;
	struct buf line = BUF_INIT;

	if (now - b->told_ns < every_ms * 1000000)
		return;
	b->told_ns = now;
	bench_report_progress(&b->options, b->result.conns, phase,
			      (double)(now - b->began_ns) / 1e9, counts, &line);
	fputs(buf_cstr(&line), stderr);
	buf_deinit(&line);
}

static void tick(struct bench *b, enum bench_phase phase, uint64_t counts[BENCH_COUNTS_N])
{
	const struct timespec step = {.tv_nsec = TICK_NS};

	nanosleep(&step, NULL);
	look_after_children(b);
	sum_counts(b, counts);
	tell(b, phase, counts);
}

/* Let all do a phase until all have done it, or `max_ms` are over, or, if `stoppable`,
 * the user has had enough. */
static void do_phase(struct bench *b, enum bench_phase phase, uint64_t max_ms,
		     bool stoppable)
{
	uint64_t counts[BENCH_COUNTS_N], began = bench_now_ns();

	atomic_store(&b->plan.shared->phase, (int)phase);
	do {
		tick(b, phase, counts);
	} while (!all_done(b, phase) && !told_to_end(b) && !(stoppable && stops) &&
		 bench_now_ns() - began < max_ms * 1000000);
}

/* What counts as going on. */
static uint64_t activity(enum bench_phase phase, const uint64_t n[BENCH_COUNTS_N])
{
	if (phase == BENCH_PHASE_CONNECT)
		return n[BENCH_COUNT_MEMBERS];
	return n[BENCH_COUNT_DELIVERED] + n[BENCH_COUNT_DOUBLED] + n[BENCH_COUNT_FAILED];
}

/* A phase that may go on for as long as something happens: it ends when nothing has for
 * `quiet_ms` after all were done, or for `timeout_ms` before. */
static void do_while_active(struct bench *b, enum bench_phase phase, uint64_t quiet_ms,
			    uint64_t timeout_ms, bool stoppable)
{
	uint64_t counts[BENCH_COUNTS_N], before = 0, active_ns = bench_now_ns();

	atomic_store(&b->plan.shared->phase, (int)phase);
	for (;;) {
		uint64_t now, wait_ms;

		tick(b, phase, counts);
		now = bench_now_ns();
		if (activity(phase, counts) != before) {
			before = activity(phase, counts);
			active_ns = now;
		}
		wait_ms = all_done(b, phase) ? quiet_ms : timeout_ms;
		if (now - active_ns >= wait_ms * 1000000 || told_to_end(b) ||
		    (stoppable && stops))
			return;
	}
}

static void connect_all(struct bench *b)
{
	uint64_t began = bench_now_ns();

	atomic_store(&b->plan.shared->connect_ns, began);
	/* Clients that fail have --timeout each, and two of those in which nobody at all
	 * came in mean that nobody will. */
	do_while_active(b, BENCH_PHASE_CONNECT, 0, 2 * b->options.timeout_ms + SECOND_MS,
			true);
	b->result.connect_ns = bench_now_ns() - began;
}

static void run_messages(struct bench *b)
{
	uint64_t own = own_cpu_ns(b), began = bench_now_ns();

	atomic_store(&b->plan.shared->run_ns, began);
	do_phase(b, BENCH_PHASE_RUN, b->options.duration_ms, true);
	b->result.run_ns = bench_now_ns() - began;
	do_phase(b, BENCH_PHASE_STOP, CLOSE_MS, false);
	do_while_active(b, BENCH_PHASE_SETTLE, QUIET_MS, b->options.timeout_ms, false);
	b->result.own_cpu_ns = own_cpu_ns(b) - own;
}

/* What the server has used once it rests: it is still busy with good-byes when the last
 * client has seen its own. */
static bool read_idle(const struct bench *b, struct usage *usage)
{
	const struct timespec step = {.tv_nsec = REST_NS};
	uint64_t before, began = bench_now_ns();

	if (!b->options.pids.n)
		return true;
	if (!read_usage(b, usage))
		return false;
	do {
		before = usage->cpu_ns;
		nanosleep(&step, NULL);
		if (!read_usage(b, usage))
			return false;
	} while (usage->cpu_ns - before > REST_NS / 10 && !told_to_end(b) &&
		 bench_now_ns() - began < CLOSE_MS * 1000000ull);
	return true;
}

static bool run_all(struct bench *b)
{
	struct bench_result *r = &b->result;
	uint64_t counts[BENCH_COUNTS_N];
	bool counted = read_usage(b, &r->before);

	connect_all(b);
	counted = counted && read_usage(b, &r->connected);
	sum_counts(b, counts);
	r->run = r->connected;
	r->own_cpu_ns = own_cpu_ns(b);
	if (!stops && !told_to_end(b) && counts[BENCH_COUNT_MEMBERS] &&
	    b->options.scenario != BENCH_CONNECT)
		run_messages(b);
	counted = counted && read_usage(b, &r->end);
	r->interrupted = stops > 0;
	do_phase(b, BENCH_PHASE_COUNT, CLOSE_MS, false);
	counted = counted && read_usage(b, &r->open);
	do_phase(b, BENCH_PHASE_CLOSE, CLOSE_MS, false);
	counted = counted && read_idle(b, &r->closed);
	if (told_to_end(b)) {
		kill_children(b);
		return false;
	}
	atomic_store(&b->plan.shared->phase, BENCH_PHASE_END);
	return counted;
}

/* --- the end --- */

static bool write_json(const struct bench *b)
{
	bool to_stdout = strcmp(b->options.json, "-") == 0;
	FILE *f = to_stdout ? stdout : fopen(b->options.json, "we");
	struct buf out = BUF_INIT;
	bool ok = f != NULL;

	bench_report_json(&b->result, &out);
	if (f)
		ok = fwrite(out.p, 1, out.n, f) == out.n;
	if (f && (to_stdout ? fflush(f) : fclose(f)) != 0)
		ok = false;
	if (!ok)
		fprintf(stderr, "gatehouse bench: --json: %s: %s\n", b->options.json,
			strerror(errno));
	buf_deinit(&out);
	return ok;
}

static int report(struct bench *b)
{
	struct buf table = BUF_INIT;

	bench_result_merge(&b->result, b->plan.shared);
	if (strcmp(b->options.json, "-") != 0) {
		bench_report_table(&b->result, &table);
		fputs(buf_cstr(&table), stdout);
		buf_deinit(&table);
	}
	if (*b->options.json && !write_json(b))
		return 2;
	return bench_result_ok(&b->result) ? 0 : 1;
}

static bool prepare(struct bench *b)
{
	struct usage ignored;

	b->result.options = b->plan.options = &b->options;
	b->result.conns = bench_conns(&b->options);
	b->plan.processes = b->result.processes = process_count(b);
	b->plan.run = (uint32_t)(bench_now_ns() ^ (uint64_t)getpid() << 16);
	b->plan.nudge = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	b->to_terminal = isatty(STDERR_FILENO);
	return b->plan.nudge >= 0 && find_servers(b) && raise_file_limit(b) &&
	       read_usage(b, &ignored) && share(b);
}

static int run(struct bench *b)
{
	bool complete;

	if (!prepare(b))
		return 2;
	signal(SIGINT, on_stop);
	signal(SIGTERM, on_stop);
	b->began_ns = b->told_ns = bench_now_ns();
	if (!start_children(b)) {
		kill_children(b);
		return 2;
	}
	complete = run_all(b);
	if (!wait_for_children(b) || stops > 1)
		return stops > 1 ? 130 : 1;
	if (!complete)
		return 1;
	return report(b);
}

int bench_run(int argc, char *const *argv)
{
	static struct bench bench; /* its histograms are large */
	struct buf text = BUF_INIT;
	int code = 0;

	switch (bench_options_read(&bench.options, argc - 2, argv + 2, &text)) {
	case BENCH_ASKED_RUN:
		code = run(&bench);
		break;
	case BENCH_ASKED_TEXT:
		fputs(buf_cstr(&text), stdout);
		break;
	case BENCH_ASKED_WRONG:
		fprintf(stderr, "gatehouse bench: %s\n", buf_cstr(&text));
		code = 2;
		break;
	}
	buf_deinit(&text);
	return code;
}
