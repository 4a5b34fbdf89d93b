/* A private redis-server on a unix socket in a directory of its own, and a blocking
 * connection to ask it things and to play the foreign peer. It dies with the test. */
#ifndef GATEHOUSE_TESTS_ADAPTER_SERVER_H
#define GATEHOUSE_TESTS_ADAPTER_SERVER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <hiredis/hiredis.h>

struct server {
	pid_t pid; /* 0: not running */
	char dir[64], path[96];
	uint16_t port; /* 0: unix socket only */
	redisContext *ctl;
};

/* Start it and wait until it answers. `more`: further arguments, NULL-terminated. */
void server_start(struct server *s, const char *const *more);
/* kill -9; the directory stays, so that it may be started again. */
void server_kill(struct server *s);
void server_signal(struct server *s, int sig);
/* End it and remove the directory. */
void server_stop(struct server *s);
/* An integer answer, or the number of elements of an array, or the length of a string;
 * aborts on an error. */
long long server_ask(struct server *s, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* Publish any bytes, as a peer would. */
void server_publish(struct server *s, const char *channel, const void *p, size_t n);
/* Kill the connections whose name ends so. How many there were. */
int server_kill_clients(struct server *s, const char *suffix);
/* A port nobody listens on. */
uint16_t free_port(void);

#endif
