/* Ports that workers share: nobody else comes in, whoever listens gets connections. */
#include "gateway/ports.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "gateway/config_parts.h"
#include "test.h"

/* What a configuration says of `listen`. */
struct entries {
	char *texts[2];
	struct config_listen at[2];
	struct config config;
};

static void entries_init(struct entries *e, const char *first, const char *second)
{
	const char *const texts[] = {first, second};
	struct buf why = BUF_INIT;

	*e = (struct entries){0};
	e->config.listen.v = e->texts;
	e->config.listen_at = e->at;
	for (size_t i = 0; i < 2 && texts[i]; i++) {
		CHECK_ROW(config_listen_parse(texts[i], &e->at[i], &why) == ERR_OK,
			  texts[i]);
		e->config.listen.n++;
	}
	buf_deinit(&why);
}

static void entries_deinit(struct entries *e)
{
	for (size_t i = 0; i < e->config.listen.n; i++)
		config_listen_deinit(&e->at[i]);
}

static int port_of(int fd)
{
	struct sockaddr_in at = {0};
	socklen_t n = sizeof(at);

	CHECK(getsockname(fd, (struct sockaddr *)&at, &n) == 0);
	return ntohs(at.sin_port);
}

/* A process alone, or other workers, that want the same address. */
static void check_taken(struct entries *e)
{
	struct listen_sockets alone;
	struct ports others;
	struct buf error = BUF_INIT;

	CHECK(listen_sockets_open(&e->at[0], "listen", 0, &alone, &error) == ERR_IO);
	CHECK(ports_open(&others, &e->config, &error) == ERR_IO);
	CHECK(others.n == 0);
	CHECK(strstr(buf_cstr(&error), "stop it or choose another"));
	buf_deinit(&error);
}

static bool connects(int port)
{
	struct sockaddr_in at = {.sin_family = AF_INET,
				 .sin_port = htons((uint16_t)port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool good;

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	good = connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0;
	CHECK(good || errno == ECONNREFUSED);
	close(fd);
	return good;
}

static void check_connects(int port, int times)
{
	for (int i = 0; i < times; i++)
		CHECK(connects(port));
}

static void test_shared(void)
{
	struct entries any, one;
	struct ports p;
	struct buf error = BUF_INIT;
	char address[32];
	int fds[3], port;

	entries_init(&any, "127.0.0.1:0", NULL);
	CHECK(ports_open(&p, &any.config, &error) == ERR_OK);
	CHECK(p.n == 1 && p.entries[0] == 0);
	port = port_of(p.sockets[0].fd);
	snprintf(address, sizeof(address), "127.0.0.1:%d", port);
	entries_init(&one, address, NULL);

	CHECK(!connects(port)); /* held, but nobody listens */
	check_taken(&one);
	for (int i = 0; i < 3; i++) {
		fds[i] = ports_share(&p, 0, &any.config);
		CHECK(fds[i] >= 0);
		CHECK(port_of(fds[i]) == port);
	}
	CHECK(!connects(port));
	CHECK(listen_socket_begin(fds[1]));
	check_taken(&one);
	check_connects(port, 20);
	CHECK(listen_socket_begin(fds[0]));
	CHECK(listen_socket_begin(fds[2]));
	close(fds[1]);
	check_connects(port, 10);
	check_taken(&one);
	close(fds[0]);
	close(fds[2]);
	CHECK(!connects(port));
	check_taken(&one);
	ports_close(&p);

	CHECK(ports_open(&p, &one.config, &error) == ERR_OK); /* it is free again */
	ports_close(&p);
	CHECK(error.n == 0);
	buf_deinit(&error);
	entries_deinit(&any);
	entries_deinit(&one);
}

/* One of several addresses is taken: nothing stays open. */
static void test_half(void)
{
	struct entries any, two, first;
	struct listen_sockets holder;
	struct ports p;
	struct buf error = BUF_INIT;
	char taken[32], other[32];

	entries_init(&any, "127.0.0.1:0", NULL);
	CHECK(listen_sockets_open(&any.at[0], "listen", 0, &holder, &error) == ERR_OK);
	snprintf(taken, sizeof(taken), "127.0.0.1:%d", port_of(holder.v[0].fd));
	snprintf(other, sizeof(other), "127.0.0.2:%d", port_of(holder.v[0].fd));
	entries_init(&two, other, taken);
	entries_init(&first, other, NULL);
	CHECK(ports_open(&p, &two.config, &error) == ERR_IO);
	CHECK(p.n == 0);
	CHECK(ports_open(&p, &first.config, &error) == ERR_OK);
	ports_close(&p);
	listen_socket_close(&holder.v[0], NULL);
	buf_deinit(&error);
	entries_deinit(&any);
	entries_deinit(&two);
	entries_deinit(&first);
}

/* All have the same socket, and its file goes when all of them have gone. */
static void test_unix(void)
{
	char directory[] = "/tmp/gatehouse-ports-XXXXXX", text[64];
	struct entries e;
	struct ports p;
	struct buf error = BUF_INIT;
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	int shared, client;

	CHECK(mkdtemp(directory) != NULL);
	snprintf(text, sizeof(text), "unix:%s/s", directory);
	entries_init(&e, text, NULL);
	memcpy(name.sun_path, e.at[0].path, strlen(e.at[0].path));
	CHECK(ports_open(&p, &e.config, &error) == ERR_OK);
	shared = ports_share(&p, 0, &e.config);
	CHECK(shared >= 0 && listen_socket_begin(shared));
	ports_close(&p);
	client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(connect(client, (struct sockaddr *)&name, sizeof(name)) == 0);
	CHECK(access(e.at[0].path, F_OK) == 0);
	ports_remove(&p, &e.config);
	CHECK(access(e.at[0].path, F_OK) != 0);
	close(client);
	close(shared);
	rmdir(directory);
	buf_deinit(&error);
	entries_deinit(&e);
}

int main(void)
{
	test_shared();
	test_half();
	test_unix();
	return test_done();
}
