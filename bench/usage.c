#include "bench/usage.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* The first bytes of /proc/PID/NAME, as a string. */
static bool read_file(int pid, const char *name, char *text, size_t size)
{
	char path[64];
	FILE *f;
	size_t n;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	f = fopen(path, "re");
	if (!f)
		return false;
	n = fread(text, 1, size - 1, f);
	text[n] = 0;
	fclose(f);
	return n > 0;
}

/* In ticks of 10 ms; where the kernel has no clock of a process to offer. */
static bool read_stat(int pid, uint64_t *cpu_ns)
{
	char text[1024], *end;
	uint64_t user, system;

	if (!read_file(pid, "stat", text, sizeof(text)))
		return false;
	end = strrchr(text, ')'); /* of the name, which may hold anything */
	if (!end ||
	    sscanf(end + 1,
		   " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64,
		   &user, &system) != 2)
		return false;
	*cpu_ns = (user + system) * (1000000000 / (uint64_t)sysconf(_SC_CLK_TCK));
	return true;
}

static bool read_cpu(int pid, uint64_t *cpu_ns)
{
	clockid_t clock;
	struct timespec t;

	if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) != 0)
		return read_stat(pid, cpu_ns);
	*cpu_ns = (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
	return true;
}

static bool read_rss(int pid, uint64_t *bytes)
{
	char text[128];
	uint64_t pages;

	if (!read_file(pid, "statm", text, sizeof(text)) ||
	    sscanf(text, "%*u %" SCNu64, &pages) != 1)
		return false;
	*bytes = pages * (uint64_t)sysconf(_SC_PAGESIZE);
	return true;
}

enum err usage_read(const int *pids, size_t n, struct usage *sum, int *pid)
{
	struct usage all = {0};

	for (size_t i = 0; i < n; i++) {
		struct usage one;

		if (!read_cpu(pids[i], &one.cpu_ns) ||
		    !read_rss(pids[i], &one.rss_bytes)) {
			*pid = pids[i];
			return ERR_NOT_FOUND;
		}
		all.cpu_ns += one.cpu_ns;
		all.rss_bytes += one.rss_bytes;
	}
	*sum = all;
	return ERR_OK;
}
