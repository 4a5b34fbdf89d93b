#include "server.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ARGS_MAX = 32, START_SECONDS = 30 };

_Noreturn static void die(const char *what)
{
	fprintf(stderr, "server: %s: %s\n", what, strerror(errno));
	abort();
}

uint16_t free_port(void)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	socklen_t n = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || bind(fd, (struct sockaddr *)&in, n) ||
	    getsockname(fd, (struct sockaddr *)&in, &n))
		die("no free port");
	close(fd);
	return ntohs(in.sin_port);
}

static void run(const struct server *s, const char *const *more)
{
	char port[8];
	const char *args[ARGS_MAX] = {
		"redis-server", "--unixsocket", s->path,     "--port",
		port,		"--bind",	"127.0.0.1", "--dir",
		s->dir,		"--save",	"",	     "--loglevel",
		"warning",	"--logfile",	"redis.log", "--daemonize",
		"no",		"--appendonly", "no"};
	size_t n = 19;

	snprintf(port, sizeof(port), "%u", (unsigned)s->port);
	for (size_t i = 0; more && more[i]; i++)
		args[n++] = more[i];
	args[n] = NULL;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	execvp(args[0], (char *const *)(const void *)args);
	_exit(127);
}

static bool answers(struct server *s, const char *password)
{
	redisReply *r;
	bool ok;

	s->ctl = redisConnectUnix(s->path);
	if (!s->ctl || s->ctl->err) {
		if (s->ctl)
			redisFree(s->ctl);
		s->ctl = NULL;
		return false;
	}
	if (password)
		freeReplyObject(redisCommand(s->ctl, "AUTH %s", password));
	r = redisCommand(s->ctl, "PING");
	ok = r && r->type == REDIS_REPLY_STATUS;
	freeReplyObject(r);
	if (!ok) {
		redisFree(s->ctl);
		s->ctl = NULL;
	}
	return ok;
}

void server_start(struct server *s, const char *const *more)
{
	const struct timespec pause = {0, 5000000};
	const char *password = NULL;
	time_t end = time(NULL) + START_SECONDS;

	if (!s->dir[0]) {
		snprintf(s->dir, sizeof(s->dir), "/tmp/gh-adapter-XXXXXX");
		if (!mkdtemp(s->dir))
			die("mkdtemp");
		snprintf(s->path, sizeof(s->path), "%s/redis", s->dir);
	}
	for (size_t i = 0; more && more[i]; i++) {
		if (!strcmp(more[i], "--requirepass"))
			password = more[i + 1];
	}
	s->pid = fork();
	if (s->pid < 0)
		die("fork");
	if (s->pid == 0)
		run(s, more);
	while (!answers(s, password)) {
		if (time(NULL) > end || waitpid(s->pid, NULL, WNOHANG) != 0) {
			fprintf(stderr, "server: redis-server does not start, see %s\n",
				s->dir);
			abort();
		}
		nanosleep(&pause, NULL);
	}
}

void server_signal(struct server *s, int sig)
{
	if (kill(s->pid, sig))
		die("kill");
}

void server_kill(struct server *s)
{
	if (s->ctl)
		redisFree(s->ctl);
	s->ctl = NULL;
	server_signal(s, SIGKILL);
	waitpid(s->pid, NULL, 0);
	s->pid = 0;
}

static void empty(const char *path)
{
	struct dirent *e;
	DIR *d = opendir(path);

	while (d && (e = readdir(d))) {
		if (e->d_name[0] != '.')
			unlinkat(dirfd(d), e->d_name, 0);
	}
	if (d)
		closedir(d);
}

void server_stop(struct server *s)
{
	char aof[sizeof(s->dir) + 16];

	if (s->pid)
		server_kill(s);
	snprintf(aof, sizeof(aof), "%s/appendonlydir", s->dir);
	empty(aof);
	rmdir(aof); /* where there is one */
	empty(s->dir);
	if (rmdir(s->dir))
		die("rmdir");
	*s = (struct server){0};
}

long long server_ask(struct server *s, const char *fmt, ...)
{
	redisReply *r;
	long long n;
	va_list ap;

	va_start(ap, fmt);
	r = redisvCommand(s->ctl, fmt, ap);
	va_end(ap);
	if (!r || r->type == REDIS_REPLY_ERROR) {
		fprintf(stderr, "server: %s: %s\n", fmt, r ? r->str : s->ctl->errstr);
		abort();
	}
	n = r->type == REDIS_REPLY_INTEGER ? r->integer
	    : r->type == REDIS_REPLY_ARRAY ? (long long)r->elements
					   : (long long)r->len;
	freeReplyObject(r);
	return n;
}

void server_publish(struct server *s, const char *channel, const void *p, size_t n)
{
	const char *words[] = {"PUBLISH", channel, p};
	const size_t lengths[] = {strlen("PUBLISH"), strlen(channel), n};
	redisReply *r = redisCommandArgv(s->ctl, 3, words, lengths);

	if (!r || r->type != REDIS_REPLY_INTEGER)
		die("PUBLISH");
	freeReplyObject(r);
}

int server_kill_clients(struct server *s, const char *suffix)
{
	redisReply *r = redisCommand(s->ctl, "CLIENT LIST");
	char *save = NULL, *line;
	int n = 0;

	if (!r || r->type != REDIS_REPLY_STRING || !r->str)
		die("CLIENT LIST");
	for (line = strtok_r(r->str, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		char *name = strstr(line, " name=");
		size_t end = name ? strcspn(name + 6, " ") : 0;

		if (!name || end < strlen(suffix) ||
		    strncmp(name + 6 + end - strlen(suffix), suffix, strlen(suffix)) != 0)
			continue;
		n += (int)server_ask(s, "CLIENT KILL ID %ld", strtol(line + 3, NULL, 10));
	}
	freeReplyObject(r);
	return n;
}
