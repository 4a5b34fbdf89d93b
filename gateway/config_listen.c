#include <stdlib.h>
#include <strings.h>
#include <sys/un.h>

#include "gateway/config_parts.h"
#include "proto/mem.h"

enum { UNIX_MODE = 0660, UNIX_PATH_MAX = sizeof(((struct sockaddr_un *)0)->sun_path) };

static const char digits[] = "0123456789";

/* Take `prefix` off, in whatever case. */
static bool take_prefix(const char **text, const char *prefix)
{
	size_t n = strlen(prefix);

	if (strncasecmp(*text, prefix, n) != 0)
		return false;
	*text += n;
	return true;
}

static bool parse_mode(struct slice value, unsigned *mode)
{
	*mode = 0;
	for (size_t i = 0; i < value.n; i++) {
		if (value.p[i] < '0' || value.p[i] > '7')
			return false;
		*mode = *mode * 8 + (unsigned)(value.p[i] - '0');
		if (*mode > 0777)
			return false;
	}
	return value.n > 0;
}

/* "proxy" and "mode=0660", separated by &. */
static bool parse_options(struct slice options, const char *text,
			  struct config_listen *at, struct buf *why)
{
	while (options.n) {
		const uint8_t *end = memchr(options.p, '&', options.n);
		size_t n = end ? (size_t)(end - options.p) : options.n;
		struct slice option = slice_of(options.p, n);

		options = slice_skip(options, end ? n + 1 : n);
		if (slice_eq(option, SLICE_LIT("proxy"))) {
			at->proxy = true;
		} else if (at->path && slice_starts(option, SLICE_LIT("mode="))) {
			if (parse_mode(slice_skip(option, strlen("mode=")), &at->mode))
				continue;
			buf_printf(why,
				   "%s has no mode from 0 to 0777 behind mode=; write it "
				   "as chmod takes it, such as mode=0660",
				   config_shown(text));
			return false;
		} else {
			buf_printf(why,
				   "%s has something behind its ? that is no option; "
				   "there %s",
				   config_shown(text),
				   at->path ? "are ?proxy and ?mode=0660, and "
					      "?proxy&mode=0660 is both"
					    : "is ?proxy");
			return false;
		}
	}
	return true;
}

static bool parse_path(const char *path, size_t n, const char *text,
		       struct config_listen *at, struct buf *why)
{
	if (n >= 2 && path[0] == '/' && path[1] == '/') { /* unix:///run/x */
		path += 2;
		n -= 2;
	}
	if (n < 2 || path[0] != '/' || path[n - 1] == '/' || n >= UNIX_PATH_MAX) {
		buf_printf(why,
			   "%s names no socket; write unix:/PATH with a path of at most "
			   "%d bytes, such as unix:/run/gatehouse/clients.sock",
			   config_shown(text), (int)UNIX_PATH_MAX - 1);
		return false;
	}
	at->path = mem_strndup(path, n);
	at->mode = UNIX_MODE;
	return true;
}

/* What stands before the port, if there is none or nothing. */
static void say_no_address(const char *text, const char *address, struct buf *why)
{
	const char *colon = strrchr(address, ':'), *port = colon ? colon + 1 : address;
	size_t n = strspn(port, digits);

	if (n == 0 || port[n] || n > 5)
		port = "3000";
	buf_printf(why,
		   "%s does not say on which address; write 127.0.0.1:%s for this "
		   "machine alone or 0.0.0.0:%s for all its addresses",
		   config_shown(text), port, port);
}

static bool is_host(const char *host, size_t n)
{
	if (host[0] == '[')
		return n >= 4 && host[n - 1] == ']' &&
		       strspn(host + 1, "0123456789abcdefABCDEF:.%") >= n - 2;
	return strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
			    "0123456789.-_") == n;
}

/* HOST:PORT; an IPv6 host stands in brackets. */
static bool parse_tcp(const char *address, const char *text, struct config_listen *at,
		      struct buf *why)
{
	const char *port = strrchr(address, ':');
	size_t host_n = port ? (size_t)(port - address) : 0, port_n;

	if (!port && address[strspn(address, digits)]) {
		buf_printf(why, "%s has no port; write HOST:PORT, such as %s:3000",
			   config_shown(text), config_name(address));
		return false;
	}
	if (!port || host_n == 0 || (host_n == 1 && address[0] == '*')) {
		say_no_address(text, address, why);
		return false;
	}
	port_n = strspn(port + 1, digits);
	if (port_n == 0 || port_n > 5 || port[1 + port_n] ||
	    strtol(port + 1, NULL, 10) > 65535) {
		buf_printf(why,
			   "%s does not end in a port from 0 to 65535; write HOST:PORT, "
			   "such as 127.0.0.1:3000",
			   config_shown(text));
		return false;
	}
	if (!is_host(address, host_n)) {
		buf_printf(why,
			   "%s is no address; write HOST:PORT or [IPV6]:PORT, such as "
			   "127.0.0.1:3000 or [::1]:3000",
			   config_shown(text));
		return false;
	}
	if (address[0] == '[')
		at->host = mem_strndup(address + 1, host_n - 2);
	else
		at->host = mem_strndup(address, host_n);
	at->port = mem_strndup(port + 1, port_n);
	return true;
}

enum err config_listen_parse(const char *text, struct config_listen *at, struct buf *why)
{
	struct config_listen parsed = {0};
	const char *options = strchr(text, '?'), *rest;
	char *address =
		mem_strndup(text, options ? (size_t)(options - text) : strlen(text));
	bool good;

	rest = address;
	if (take_prefix(&rest, "unix:")) {
		good = parse_path(rest, strlen(rest), text, &parsed, why);
	} else {
		if (take_prefix(&rest, "https://"))
			parsed.tls = true;
		else
			take_prefix(&rest, "http://");
		good = !strstr(rest, "://");
		if (good)
			good = parse_tcp(rest, text, &parsed, why);
		else
			buf_printf(why,
				   "%s begins with something unknown; write HOST:PORT, "
				   "https://HOST:PORT for TLS, or unix:/PATH",
				   config_shown(text));
	}
	if (good && options)
		good = parse_options(slice_str(options + 1), text, &parsed, why);
	free(address);
	if (!good) {
		config_listen_deinit(&parsed);
		return ERR_SYNTAX;
	}
	parsed.text = mem_strndup(text, strlen(text));
	*at = parsed;
	return ERR_OK;
}

void config_listen_deinit(struct config_listen *at)
{
	free(at->text);
	free(at->host);
	free(at->port);
	free(at->path);
	*at = (struct config_listen){0};
}
