/* What a configuration says, from each source, and what is said about a wrong one. */
#include "gateway/config.h"

#include <stdlib.h>
#include <unistd.h>

#include "gateway/config_parts.h"
#include "test.h"

static char dir[] = "/tmp/gatehouse-config-XXXXXX";

static const char *const apps[] = {"rooms", "echo", NULL};

struct loaded {
	struct config c;
	struct buf out, errors;
	enum config_result result;
};

enum { WORDS_MAX = 20 };

/* Words separated by '|', in a list that ends with NULL. */
struct words {
	char *text, *v[WORDS_MAX + 2];
	int n;
};

static void words_init(struct words *w, const char *first, const char *text)
{
	char *rest;

	*w = (struct words){.text = strdup(text)};
	if (first)
		w->v[w->n++] = strdup(first);
	for (rest = w->text; rest && *text;) {
		char *word = strsep(&rest, "|");

		if (w->n <= WORDS_MAX)
			w->v[w->n++] = word;
	}
}

static void words_deinit(struct words *w, bool first)
{
	if (first)
		free(w->v[0]);
	free(w->text);
}

static void write_file(const char *name, const void *text, size_t n)
{
	FILE *f = fopen(name, "w");

	if (!f || fwrite(text, 1, n, f) != n || fclose(f) != 0) {
		perror(name);
		exit(1);
	}
}

/* `file`: NULL for none, else the content of conf.yaml. The rest separated by '|'. */
static void load(struct loaded *l, const char *file, const char *env, const char *args)
{
	struct words env_words, arg_words;
	char all[4096];

	if (file)
		write_file("conf.yaml", file, strlen(file));
	snprintf(all, sizeof(all), "%s%s%s", file ? "--config|conf.yaml" : "",
		 file && *args ? "|" : "", args);
	words_init(&env_words, NULL, env);
	words_init(&arg_words, "gatehouse", all);
	l->out = l->errors = BUF_INIT;
	l->result = config_load(&l->c, arg_words.n, arg_words.v, env_words.v, apps,
				&l->out, &l->errors);
	CHECK((l->result == CONFIG_WRONG) == (l->errors.n > 0));
	words_deinit(&env_words, false);
	words_deinit(&arg_words, true);
}

static void unload(struct loaded *l)
{
	config_deinit(&l->c);
	buf_deinit(&l->out);
	buf_deinit(&l->errors);
}

#define GOOD   "listen: 127.0.0.1:3000\nnamespaces: [{name: /, auth: none}]\n"
#define SECRET "0123456789abcdef0123456789abcdef"

static const struct {
	const char *name, *file, *env, *args, *errors;
} wrong[] = {
	{"nothing", NULL, "", "",
	 "listen: is not set; write \"listen: 127.0.0.1:3000\" in the file, --listen "
	 "127.0.0.1:3000, or --dev to try things out\n"
	 "namespaces: there are none, so nobody could connect; write \"namespaces: "
	 "[{name: "
	 "/, auth: none}]\" in a file and name it with --config, or use --dev to try "
	 "things out\n"},
	{"file without namespaces", "listen: 127.0.0.1:3000\n", "", "",
	 "conf.yaml: there are no namespaces, so nobody could connect; write "
	 "\"namespaces: "
	 "[{name: /, auth: none}]\" in it, or use --dev to try things out\n"},
	/* numbers */
	{"duration", GOOD "pingInterval: 25 hours\n", "", "",
	 "conf.yaml:3: pingInterval: \"25 hours\" is not a duration; write milliseconds "
	 "or "
	 "a number with ms, s or m, from 100ms to 60m, such as 25s\n"},
	{"duration too small", NULL, "GATEHOUSE_PING_INTERVAL=99", "--dev",
	 "GATEHOUSE_PING_INTERVAL: \"99\" is too small; write milliseconds or a number "
	 "with ms, s or m, from 100ms to 60m, such as 25s\n"},
	{"duration too large", NULL, "", "--dev|--ping-interval=61m",
	 "--ping-interval: \"61m\" is too large; write milliseconds or a number with ms, "
	 "s "
	 "or m, from 100ms to 60m, such as 25s\n"},
	{"beyond 64 bits", NULL, "", "--dev|--ping-interval|18446744073709551616",
	 "--ping-interval: \"18446744073709551616\" is too large; write milliseconds or "
	 "a "
	 "number with ms, s or m, from 100ms to 60m, such as 25s\n"},
	{"beyond 64 bits by the unit", NULL, "",
	 "--dev|--ping-interval|18446744073709551s",
	 "--ping-interval: \"18446744073709551s\" is too large; write milliseconds or a "
	 "number with ms, s or m, from 100ms to 60m, such as 25s\n"},
	{"bytes", NULL, "", "--dev|--outbox-max|lots",
	 "--outbox-max: \"lots\" is not a number of bytes; write bytes or a number with "
	 "kB, MB, GB, KiB, MiB or GiB, from 64KiB to 1GiB, such as 4MB\n"},
	{"few bytes", NULL, "", "--dev|--max-room-name|0",
	 "--max-room-name: \"0\" is too small; write bytes or a number with kB, MB, GB, "
	 "KiB, MiB or GiB, from 1 byte to 4KiB, such as 200\n"},
	{"count", NULL, "", "--dev|--max-conns|1k",
	 "--max-conns: \"1k\" is not a whole number; write a whole number, from 1 to "
	 "10000000, such as 100000\n"},
	{"negative", NULL, "", "--dev|--max-conns|-1",
	 "--max-conns: \"-1\" is not a whole number; write a whole number, from 1 to "
	 "10000000, such as 100000\n"},
	{"empty number", NULL, "GATEHOUSE_MAX_CONNS=", "--dev",
	 "GATEHOUSE_MAX_CONNS: \"\" is not a whole number; write a whole number, from 1 "
	 "to "
	 "10000000, such as 100000\n"},
	{"escapes", NULL, "", "--dev|--max-conns|\x1b[31m\n",
	 "--max-conns: \"\\u001b[31m\\n\" is not a whole number; write a whole number, "
	 "from 1 to 10000000, such as 100000\n"},
	{"long value", NULL, "",
	 "--dev|--max-conns|"
	 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	 "--max-conns: \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…\" "
	 "is not a whole number; write a whole number, from 1 to 10000000, such as "
	 "100000\n"},
	{"bool", GOOD "page: maybe\n", "", "",
	 "conf.yaml:3: page: \"maybe\" is neither true nor false\n"},
	/* flags */
	{"unknown flag", NULL, "", "--dev|--ping-intervall|3s",
	 "--ping-intervall: no such flag; did you mean --ping-interval?\n"},
	{"camel case flag", NULL, "", "--dev|--pingInterval=3s",
	 "--pingInterval: no such flag; did you mean --ping-interval?\n"},
	{"flag like none", NULL, "", "--dev|--frobnicate",
	 "--frobnicate: no such flag; --help lists them all\n"},
	{"flag that steers the terminal", NULL, "", "--dev|--\x1b[31m",
	 "\"--\\u001b[31m\": no such flag; --help lists them all\n"},
	{"one dash", NULL, "", "-dev", "-dev: no such flag; did you mean --dev?\n"},
	{"port", NULL, "", "--port|80", "--port: no such flag; did you mean --listen?\n"},
	{"no value", NULL, "", "--dev|--max-conns",
	 "--max-conns: needs a value: Connections one node takes; more are refused with "
	 "503\n"},
	{"a flag for a value", NULL, "", "--redis-key|--dev",
	 "--redis-key: needs a value: Prefix of the Redis channels; the option `key` of "
	 "the Socket.IO Redis adapter\n"},
	{"stray argument", NULL, "", "--dev|redis://u:hunter2@h",
	 "argument 2: is no flag, nor the value of one; flags begin with --, --help "
	 "lists them all\n"},
	{"value of a switch", NULL, "", "--dev=yes", "--dev: takes no value\n"},
	{"value of a negation", NULL, "", "--dev|--no-page=1",
	 "--no-page: takes no value\n"},
	{"negation of no switch", NULL, "", "--dev|--no-redis",
	 "--no-redis: no such flag; --help lists them all\n"},
	{"no config file", NULL, "", "--dev|--config",
	 "--config: needs the name of a YAML file\n"},
	/* environment */
	{"unknown variable", NULL, "GATEHOUSE_PING_INTERVALL=3s|GATEHOUSES=1", "--dev",
	 "GATEHOUSE_PING_INTERVALL: no such setting; did you mean "
	 "GATEHOUSE_PING_INTERVAL?\n"},
	{"variable like none", NULL, "GATEHOUSE_FROBNICATE=", "--dev",
	 "GATEHOUSE_FROBNICATE: no such setting; --help lists them all (variables that "
	 "begin with GATEHOUSE_ belong to this program)\n"},
	{"bad dev", NULL, "GATEHOUSE_DEV=maybe", "--dev",
	 "GATEHOUSE_DEV: \"maybe\" is neither true nor false\n"},
	/* the file as a file */
	{"missing file", NULL, "GATEHOUSE_CONFIG=nowhere.yaml", "--dev",
	 "nowhere.yaml: cannot be read: No such file or directory\n"},
	{"a directory", NULL, "", "--dev|--config|.",
	 ".: cannot be read: Is a directory\n"},
	{"missing file alone", NULL, "", "--config|nowhere.yaml",
	 "nowhere.yaml: cannot be read: No such file or directory\n"},
	{"broken file alone", "listen: a:80\n\tpage: no\n", "GATEHOUSE_PAGE=x", "",
	 "conf.yaml:2: the line begins with a tab; YAML wants spaces there\n"
	 "GATEHOUSE_PAGE: \"x\" is neither true nor false\n"},
	{"empty file", "", "", "--dev",
	 "conf.yaml: holds no settings; write some, such as \"listen: 127.0.0.1:3000\", "
	 "or "
	 "leave the file away\n"},
	{"comments alone", "# listen: x\n", "", "--dev",
	 "conf.yaml: holds no settings; write some, such as \"listen: 127.0.0.1:3000\", "
	 "or "
	 "leave the file away\n"},
	{"tab", "namespaces:\n\t- name: /\n", "", "--dev",
	 "conf.yaml:2: the line begins with a tab; YAML wants spaces there\n"},
	{"broken", "listen: [a\nredis: b\n", "", "--dev",
	 "conf.yaml:2: is not YAML: did not find expected ',' or ']', while parsing a "
	 "flow "
	 "sequence (begun in line 1)\n"},
	{"unknown alias", "listen: *a\n", "", "--dev",
	 "conf.yaml:1: is not YAML: found undefined alias\n"},
	{"not UTF-8", "listen: \xff\n", "", "--dev",
	 "conf.yaml: is not YAML: invalid leading UTF-8 octet, at byte 8\n"},
	{"a list", "- a\n", "", "--dev",
	 "conf.yaml:1: a list stands where lines of KEY: VALUE belong\n"},
	{"a word", "listen\n", "", "--dev",
	 "conf.yaml:1: one value stands where lines of KEY: VALUE belong\n"},
	{"two documents", "page: true\n---\npage: false\n", "", "--dev",
	 "conf.yaml:3: a second document begins; write all in one, without lines of "
	 "---\n"},
	{"twice", "path: /a\npage: true\npath: /b\n", "", "--dev",
	 "conf.yaml:3: \"path\" was given in line 1 already\n"},
	{"unknown key", "pingIntervall: 3s\n", "", "--dev",
	 "conf.yaml:1: \"pingIntervall\" is not a setting; did you mean pingInterval?\n"},
	{"kebab key", "ping-interval: 3s\n", "", "--dev",
	 "conf.yaml:1: \"ping-interval\" is not a setting; did you mean pingInterval?\n"},
	{"key like none", "frob: 3s\n", "", "--dev",
	 "conf.yaml:1: \"frob\" is not a setting\n"},
	{"dev in the file", "dev: true\n", "", "--dev",
	 "conf.yaml:1: dev: belongs on the command line, as --dev, or in the "
	 "environment, "
	 "as GATEHOUSE_DEV=1\n"},
	{"merge key", "<<: {page: true}\n", "", "--dev",
	 "conf.yaml:1: <<: merge keys are not supported; write the keys out, or alias "
	 "whole values\n"},
	{"a key that is a list", "? [a]\n: b\n", "", "--dev",
	 "conf.yaml:1: a list stands where the name of a setting belongs\n"},
	{"list for a scalar", "path: [/a]\n", "", "--dev",
	 "conf.yaml:1: path: is a list; write one value\n"},
	{"mapping for a list", "origins: {a: b}\n", "", "--dev",
	 "conf.yaml:1: origins: is a mapping; write a list or one value\n"},
	{"list in a list", "origins: [[a]]\n", "", "--dev",
	 "conf.yaml:1: origins: is a list; write a list of single values\n"},
	{"no value in the file", "path:\n", "", "--dev",
	 "conf.yaml:1: path: has no value; write one, or leave the line away\n"},
	{"null", "path: ~\n", "", "--dev",
	 "conf.yaml:1: path: has no value; write one, or leave the line away\n"},
	{"NUL", "path: \"/a\\0b\"\n", "", "--dev",
	 "conf.yaml:1: path: holds a NUL character\n"},
	{"control character", "path: \"/a\\nb\"\n", "", "--dev",
	 "conf.yaml:1: path: \"/a\\nb\" holds control characters or is not UTF-8\n"},
	{"several", "path: x\nlogLevel: loud\n", "GATEHOUSE_PAGE=2",
	 "--dev|--max-rooms=no",
	 "conf.yaml:1: path: \"x\" is no URL path; write one that begins with /, without "
	 "?, "
	 "#, % or spaces, such as /socket.io/\n"
	 "conf.yaml:2: logLevel: \"loud\" is not one of error, warn, info, debug\n"
	 "GATEHOUSE_PAGE: \"2\" is neither true nor false\n"
	 "--max-rooms: \"no\" is not a whole number; write a whole number, from 1 to "
	 "100000, such as 100\n"},
	{"wrong though overridden", "path: x\n", "", "--dev|--path|/y",
	 "conf.yaml:1: path: \"x\" is no URL path; write one that begins with /, without "
	 "?, "
	 "#, % or spaces, such as /socket.io/\n"},
	/* single settings */
	{"port alone", NULL, "", "--dev|--listen|8080",
	 "--listen: \"8080\" does not say on which address; write 127.0.0.1:8080 for "
	 "this "
	 "machine alone or 0.0.0.0:8080 for all its addresses\n"},
	{"colon and port", NULL, "", "--dev|--listen|:8080",
	 "--listen: \":8080\" does not say on which address; write 127.0.0.1:8080 for "
	 "this "
	 "machine alone or 0.0.0.0:8080 for all its addresses\n"},
	{"star and port", NULL, "", "--dev|--listen|*:8080",
	 "--listen: \"*:8080\" does not say on which address; write 127.0.0.1:8080 for "
	 "this machine alone or 0.0.0.0:8080 for all its addresses\n"},
	{"host alone", NULL, "", "--dev|--ops-listen|localhost",
	 "--ops-listen: \"localhost\" has no port; write HOST:PORT, such as "
	 "localhost:3000\n"},
	{"ops where clients are", NULL, "", "--dev|--listen|a:80,b:80|--ops-listen|b:80",
	 "--ops-listen: \"b:80\" is where clients connect (listen); write another port, "
	 "out of their reach\n"},
	{"port too large", NULL, "", "--dev|--listen|a:65536",
	 "--listen: \"a:65536\" does not end in a port from 0 to 65535; write HOST:PORT, "
	 "such as 127.0.0.1:3000\n"},
	{"IPv6 without brackets", NULL, "", "--dev|--listen|::1:80",
	 "--listen: \"::1:80\" is no address; write HOST:PORT or [IPV6]:PORT, such as "
	 "127.0.0.1:3000 or [::1]:3000\n"},
	{"TLS without a port", NULL, "", "--dev|--listen|https://host",
	 "--listen: \"https://host\" has no port; write HOST:PORT, such as host:3000\n"},
	{"TLS without a host", NULL, "", "--dev|--listen|https://:443",
	 "--listen: \"https://:443\" does not say on which address; write 127.0.0.1:443 "
	 "for this machine alone or 0.0.0.0:443 for all its addresses\n"},
	{"path behind TLS", NULL, "", "--dev|--listen|https://host:443/x",
	 "--listen: \"https://host:443/x\" does not end in a port from 0 to 65535; write "
	 "HOST:PORT, such as 127.0.0.1:3000\n"},
	{"another scheme", NULL, "", "--dev|--listen|wss://host:443",
	 "--listen: \"wss://host:443\" begins with something unknown; write HOST:PORT, "
	 "https://HOST:PORT for TLS, or unix:/PATH\n"},
	{"unix without a path", NULL, "", "--dev|--listen|unix:",
	 "--listen: \"unix:\" names no socket; write unix:/PATH with a path of at most "
	 "107 bytes, such as unix:/run/gatehouse/clients.sock\n"},
	{"unix with a relative path", NULL, "", "--dev|--listen|unix:run/x",
	 "--listen: \"unix:run/x\" names no socket; write unix:/PATH with a path of at "
	 "most 107 bytes, such as unix:/run/gatehouse/clients.sock\n"},
	{"unix with a directory", NULL, "", "--dev|--ops-listen|unix:/run/",
	 "--ops-listen: \"unix:/run/\" names no socket; write unix:/PATH with a path of "
	 "at most 107 bytes, such as unix:/run/gatehouse/clients.sock\n"},
	{"unix with a long path", NULL, "",
	 "--dev|--listen|unix:/"
	 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	 "--listen: \"unix:/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…\" "
	 "names no socket; write unix:/PATH with a path of at most 107 bytes, such as "
	 "unix:/run/gatehouse/clients.sock\n"},
	{"mode", NULL, "", "--dev|--listen|unix:/x?mode=rw",
	 "--listen: \"unix:/x?mode=rw\" has no mode from 0 to 0777 behind mode=; write "
	 "it as chmod takes it, such as mode=0660\n"},
	{"large mode", NULL, "", "--dev|--listen|unix:/x?mode=1777",
	 "--listen: \"unix:/x?mode=1777\" has no mode from 0 to 0777 behind mode=; write "
	 "it as chmod takes it, such as mode=0660\n"},
	{"option of a unix socket", NULL, "", "--dev|--listen|unix:/x?owner=me",
	 "--listen: \"unix:/x?owner=me\" has something behind its ? that is no option; "
	 "there are ?proxy and ?mode=0660, and ?proxy&mode=0660 is both\n"},
	{"mode of a port", NULL, "", "--dev|--listen|a:80?mode=0660",
	 "--listen: \"a:80?mode=0660\" has something behind its ? that is no option; "
	 "there is ?proxy\n"},
	{"proxy=yes", NULL, "", "--dev|--listen|a:80?proxy=yes",
	 "--listen: \"a:80?proxy=yes\" has something behind its ? that is no option; "
	 "there is ?proxy\n"},
	{"TLS without a certificate", NULL, "", "--dev|--listen|a:80,https://a:443",
	 "--listen: has an https:// address, which wants a certificate; set tlsCert and "
	 "tlsKey to its files\n"},
	{"TLS without a key", NULL, "", "--dev|--ops-listen|https://a:443|--tls-cert|x",
	 "--ops-listen: has an https:// address, which wants a certificate; set tlsCert "
	 "and tlsKey to its files\n"},
	{"a certificate without TLS", NULL, "", "--dev|--tls-cert|x|--tls-key|y",
	 "--tls-cert: is of no use without a listener that has TLS; write https:// "
	 "before its address in listen\n"},
	{"a certificate that is none", NULL, "",
	 "--dev|--listen|https://a:443|--tls-cert|conf.yaml|--tls-key|y",
	 "--tls-cert: \"conf.yaml\" holds no certificate in PEM form (\"-----BEGIN "
	 "CERTIFICATE-----\")\n"},
	{"no TLS version", NULL, "",
	 "--dev|--tls-min-version=", "--tls-min-version: is empty; write 1.2 or 1.3\n"},
	{"a host as a proxy", NULL, "", "--dev|--trusted-proxies|10.0.0.1,proxy",
	 "--trusted-proxies: \"proxy\" is no address and no network; write such as "
	 "10.0.0.5, 10.0.0.0/8, 2001:db8::/32, or unix for who comes by a unix socket\n"},
	{"bits behind the prefix", NULL, "", "--dev|--trusted-proxies|10.0.0.1/8",
	 "--trusted-proxies: \"10.0.0.1/8\" has bits set behind its prefix; write the "
	 "network's first address, such as 10.0.0.0/8\n"},
	{"listen twice", NULL, "", "--dev|--listen|a:80,b:80|--listen|a:80",
	 "--listen: \"a:80\" stands in the list twice\n"},
	{"listen emptied", NULL, "", "--dev|--listen|",
	 "--listen: is not set; write \"listen: 127.0.0.1:3000\" in the file, --listen "
	 "127.0.0.1:3000, or --dev to try things out\n"},
	{"path of the page", NULL, "", "--dev|--path|/",
	 "--path: \"/\" is where the page is served (page: true); write another path, "
	 "such "
	 "as /socket.io/\n"},
	{"key with a pattern", NULL, "", "--dev|--redis-key|a*",
	 "--redis-key: \"a*\" cannot be a prefix of channels: at most 100 bytes, none of "
	 "* "
	 "? [ ] \\\n"},
	{"empty key", NULL, "", "--dev|--redis-key|",
	 "--redis-key: is empty; write a prefix, such as socket.io\n"},
	{"log format", NULL, "", "--dev|--log-format|xml",
	 "--log-format: \"xml\" is neither text nor json\n"},
	{"origin with a path", NULL, "", "--dev|--origins|https://a.b/",
	 "--origins: \"https://a.b/\" goes on behind the host; leave that away; write "
	 "SCHEME://HOST or SCHEME://HOST:PORT such as https://app.example, or same, or "
	 "*\n"},
	{"origin without scheme", NULL, "", "--dev|--origins|a.b",
	 "--origins: \"a.b\" is no origin; write SCHEME://HOST or SCHEME://HOST:PORT "
	 "such as "
	 "https://app.example, or same, or *\n"},
	{"origin with a wildcard", NULL, "", "--dev|--origins|https://*.b",
	 "--origins: \"https://*.b\" holds a wildcard, which only stands alone; list the "
	 "origins; write SCHEME://HOST or SCHEME://HOST:PORT such as "
	 "https://app.example, "
	 "or same, or *\n"},
	/* Redis: nothing of the URL is shown */
	{"redis scheme", NULL, "", "--dev|--redis|http://u:hunter2@h",
	 "--redis: the URL begins neither with redis:// nor with unix://; write "
	 "redis://HOST:6379/0 or unix:///PATH?db=0\n"},
	{"redis TLS", NULL, "GATEHOUSE_REDIS=rediss://u:hunter2@h", "--dev",
	 "GATEHOUSE_REDIS: TLS to Redis is not supported yet; write redis:// and keep "
	 "the "
	 "way there private\n"},
	{"redis user alone", NULL, "", "--dev|--redis|redis://user@h",
	 "--redis: the URL has a user without a password; write "
	 "redis://USER:PASSWORD@HOST "
	 "(redis://:PASSWORD@HOST for a password alone), or set redisPasswordFile\n"},
	{"redis list in the file", "redis: [redis://u:hunter2@h]\n", "", "--dev",
	 "conf.yaml:1: redis: is a list; write one value\n"},
	{"password file without redis", NULL, "", "--dev|--redis-password-file|x",
	 "--redis-password-file: is of no use while redis is not set\n"},
	{"no password file", NULL, "", "--dev|--redis=redis://h|--redis-password-file|x",
	 "--redis-password-file: \"x\" cannot be read: No such file or directory\n"},
	{"empty password file", NULL, "",
	 "--dev|--redis=redis://h|--redis-password-file|newline",
	 "--redis-password-file: \"newline\" is empty\n"},
	{"back-off", "redisBackoffMin: 6s\n", "", "--dev",
	 "conf.yaml:1: redisBackoffMin: redisBackoffMin (6s) is longer than "
	 "redisBackoffMax "
	 "(5s)\n"},
	{"back-off from above", NULL, "", "--dev|--redis-backoff-max|50",
	 "--redis-backoff-max: redisBackoffMin (100ms) is longer than redisBackoffMax "
	 "(50ms)\n"},
	/* workers */
	{"workers without redis", "workers: 3\n", "", "--dev",
	 "conf.yaml:1: workers: several workers share no rooms without Redis; set redis, "
	 "or write 1\n"},
	{"a worker for each core without redis", NULL, "", "--dev|--workers|0",
	 "--workers: is 0, one for each core, and several share no rooms without Redis; "
	 "set redis, or write 1\n"},
	/* tokens */
	{"short secret", NULL, "", "--dev|--jwt-secret|hunter2",
	 "--jwt-secret: the secret has 7 bytes; HS256 wants 32 or more, such as "
	 "\"openssl "
	 "rand -base64 32\" makes\n"},
	{"short secret file", NULL, "", "--dev|--jwt-secret-file|short",
	 "--jwt-secret-file: the secret has 31 bytes; HS256 wants 32 or more, such as "
	 "\"openssl rand -base64 32\" makes\n"},
	{"two secrets", "jwtSecret: " SECRET "\n", "GATEHOUSE_JWT_SECRET_FILE=short",
	 "--dev",
	 "conf.yaml:1: jwtSecret: is set, and so is jwtSecretFile; set one of them\n"},
	{"secret and trust", "trustAuthUser: true\njwtSecret: " SECRET "\n", "", "--dev",
	 "conf.yaml:1: trustAuthUser: is true, but there is a JWT secret, with which "
	 "users "
	 "prove who they are; leave one of them away\n"},
	/* namespaces */
	{"namespaces no list", "namespaces: {name: /}\n", "", "--dev",
	 "conf.yaml:1: namespaces: is no list; write \"- name: /\" and so on below it\n"},
	{"namespaces empty", "namespaces: []\n", "", "--dev",
	 "conf.yaml:1: namespaces: is empty, so nobody could connect; write \"- name: "
	 "/\" and "
	 "so on below it\n"},
	{"namespace a word", "namespaces:\n  - /\n", "", "--dev",
	 "conf.yaml:2: namespaces: one value stands where lines of KEY: VALUE belong\n"},
/* rules for queues */
#define QUEUES_ "namespaces:\n  - name: /\n    auth: none\n    queues:"
	{"queues no list", QUEUES_ " {match: x}\n", "", "--dev",
	 "conf.yaml:4: queues: is no list; write \"- match: …\" and so on below it\n"},
	{"queues without match", QUEUES_ "\n      - push: users\n", "", "--dev",
	 "conf.yaml:5: queues: a rule has no match; write the queues it is for, such as "
	 "match: \"jobs:*\"\n"},
	{"queues, a bad who", QUEUES_ "\n      - {match: x, push: members}\n", "",
	 "--dev",
	 "conf.yaml:5: push: \"members\" is not one of nobody, users, anybody\n"},
	{"queues, an unknown key", QUEUES_ "\n      - {match: x, maxLenght: 3}\n", "",
	 "--dev",
	 "conf.yaml:5: \"maxLenght\" is not a key of a rule for queues; did you mean "
	 "maxLength?\n"},
	{"queues, a short lease", QUEUES_ "\n      - {match: x, lease: 1ms}\n", "",
	 "--dev",
	 "conf.yaml:5: lease: \"1ms\" is too small; write milliseconds or a number with "
	 "ms, s or m, from 1s to 60m, such as 15s\n"},
	{"queues, back-off", QUEUES_ "\n      - {match: x, backoff: 2m}\n", "", "--dev",
	 "conf.yaml:5: queues: backoff is longer than backoffMax\n"},
	{"queues, twice", QUEUES_ "\n      - match: x\n      - match: x\n", "", "--dev",
	 "conf.yaml:6: queues: an earlier rule matches \"x\" too, and the first that "
	 "matches decides\n"},
#undef QUEUES_
	{"namespace without keys", "namespaces:\n  - {}\n", "", "--dev",
	 "conf.yaml:2: namespaces: an entry has no name; write name: / or name: "
	 "/SOMETHING\n"
	 "conf.yaml:2: namespaces: an entry has no auth; write auth: none, optional or "
	 "required\n"},
	{"namespace names",
	 "namespaces:\n- {auth: none, name: a}\n- {auth: none, name: '/#'}\n", "",
	 "--dev",
	 "conf.yaml:2: name: \"a\" is no name of a namespace; write / or /SOMETHING, "
	 "without # , ? and control characters, of at most 100 bytes\n"
	 "conf.yaml:3: name: \"/#\" is no name of a namespace; write / or /SOMETHING, "
	 "without # , ? and control characters, of at most 100 bytes\n"},
	{"namespace twice",
	 "namespaces:\n- {auth: none, name: /a}\n- {auth: none, name: /a}\n", "", "--dev",
	 "conf.yaml:3: name: \"/a\" stands in the list already\n"},
	{"namespace key", "namespaces:\n- {auth: none, name: /a, room: []}\n", "",
	 "--dev",
	 "conf.yaml:2: \"room\" is not a key of a namespace; did you mean rooms?\n"},
	{"auth word", "namespaces:\n- {auth: yes, name: /a}\n", "", "--dev",
	 "conf.yaml:2: auth: \"yes\" is not one of none, optional, required\n"},
	{"auth without secret",
	 "namespaces:\n- {auth: required, name: /a}\n- {auth: optional, name: /b}\n", "",
	 "--listen|a:1",
	 "conf.yaml:2: auth: \"required\" wants a secret to check tokens with; set "
	 "jwtSecretFile, or write auth: none\n"
	 "conf.yaml:3: auth: \"optional\" wants a secret to check tokens with; set "
	 "jwtSecretFile, or write auth: none\n"},
	{"unknown application",
	 "namespaces:\n- {auth: none, name: /a, apps: [room, echo]}\n", "", "--dev",
	 "conf.yaml:2: apps: there is no application \"room\"; known: rooms, echo\n"},
	{"no applications", "namespaces:\n- {auth: none, name: /a, apps: []}\n", "",
	 "--dev",
	 "conf.yaml:2: apps: is empty, so nothing would be answered; leave it away for "
	 "[rooms]\n"},
	{"application twice",
	 "namespaces:\n- {auth: none, name: /a, apps: [echo, echo]}\n", "", "--dev",
	 "conf.yaml:2: apps: \"echo\" stands in the list twice\n"},
#define RULE(keys) "namespaces:\n- name: /\n  auth: none\n  rooms:\n  - " keys "\n"
	{"rule without match", RULE("{join: users}"), "", "--dev",
	 "conf.yaml:5: rooms: a rule has no match; write the rooms it is for, such as "
	 "match: \"chat:*\"\n"},
	{"rule with an empty match", RULE("match: ''"), "", "--dev",
	 "conf.yaml:5: match: \"\" can match no room; write a name, in which * is any "
	 "run of "
	 "characters and {user} the name of the user\n"},
	{"star without quotes", RULE("match: *"), "", "--dev",
	 "conf.yaml:5: is not YAML: did not find expected alphabetic or numeric "
	 "character, "
	 "while scanning an alias (begun in line 5)\n"},
	{"rule word", RULE("{match: a, join: everybody}"), "", "--dev",
	 "conf.yaml:5: join: \"everybody\" is not one of nobody, members, users, "
	 "anybody\n"},
	{"names of no users", RULE("{match: a, join: anybody a*}"), "", "--dev",
	 "conf.yaml:5: join: \"anybody a*\" is not one of nobody, members, users, "
	 "anybody\n"},
	{"members join", RULE("{match: a, join: members}"), "", "--dev",
	 "conf.yaml:5: join: \"members\" are in the room already; write nobody, users or "
	 "anybody\n"},
	{"rule key", RULE("{match: a, emits: anybody}"), "", "--dev",
	 "conf.yaml:5: \"emits\" is not a key of a rule for rooms; did you mean emit?\n"},
	{"rule bool", RULE("{match: a, stamp: 3}"), "", "--dev",
	 "conf.yaml:5: stamp: \"3\" is neither true nor false\n"},
	{"no events", RULE("{match: a, events: []}"), "", "--dev",
	 "conf.yaml:5: events: is empty; leave it away to allow any event, or write "
	 "emit: "
	 "nobody to allow none\n"},
	{"list without presence", RULE("match: a\n    list: users"), "", "--dev",
	 "conf.yaml:6: list: wants presence: true in the same rule, since without it "
	 "nobody "
	 "knows who is in a room\n"},
	{"same pattern", RULE("match: a\n  - match: b\n  - match: a"), "", "--dev",
	 "conf.yaml:7: match: an earlier rule matches \"a\" too, and the first that "
	 "matches "
	 "decides\n"},
	{"rules no list", "namespaces:\n- {name: /, auth: none, rooms: {match: a}}\n", "",
	 "--dev",
	 "conf.yaml:2: rooms: is no list; write \"- match: …\" and so on below it\n"},
};

static void test_wrong(void)
{
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct loaded l;

		load(&l, wrong[i].file, wrong[i].env, wrong[i].args);
		CHECK_ROW(l.result == CONFIG_WRONG, wrong[i].name);
		CHECK_SLICE(buf_view(&l.errors), slice_str(wrong[i].errors),
			    wrong[i].name);
		CHECK_ROW(!strstr(buf_cstr(&l.errors), "hunter2"), wrong[i].name);
		unload(&l);
	}
}

static bool str_eq(const char *got, const char *want)
{
	return got && want ? strcmp(got, want) == 0 : got == want;
}

static void test_listen(void)
{
	struct loaded l;
	const struct config_listen *at;

	load(&l, NULL, "",
	     "--dev|--listen|host:80,HTTP://[::1]:0,unix:/a/b?proxy&mode=600,unix:///c|"
	     "--listen|1.2.3.4:5?proxy|--trusted-proxies|unix,10.0.0.0/8");
	CHECK_SLICE(buf_view(&l.errors), SLICE_EMPTY, "listen");
	CHECK(l.c.listen.n == 5);
	at = l.c.listen_at;
	CHECK(str_eq(at[0].host, "host") && str_eq(at[0].port, "80") && !at[0].path);
	CHECK(!at[0].tls && !at[0].proxy && str_eq(at[0].text, "host:80"));
	CHECK(str_eq(at[1].host, "::1") && str_eq(at[1].port, "0") && !at[1].tls);
	CHECK(str_eq(at[2].path, "/a/b") && at[2].mode == 0600 && at[2].proxy);
	CHECK(!at[2].host && !at[2].port);
	CHECK(str_eq(at[3].path, "/c") && at[3].mode == 0660 && !at[3].proxy);
	CHECK(str_eq(at[4].host, "1.2.3.4") && str_eq(at[4].port, "5") && at[4].proxy);
	CHECK(str_eq(l.c.ops_at.host, "127.0.0.1") && str_eq(l.c.ops_at.port, "0"));
	CHECK(l.c.trusted_proxies.n == 2);
	CHECK(l.c.trusted[0].base.family == ADDRESS_UNIX && l.c.trusted[1].bits == 8);
	unload(&l);
}

static void test_dev(void)
{
	struct loaded l;
	const struct config *c = &l.c;
	const struct policy_room *room;

	load(&l, NULL, "", "--dev");
	CHECK_SLICE(buf_view(&l.errors), SLICE_EMPTY, "dev");
	CHECK(l.result == CONFIG_RUN);
	CHECK(c->dev && c->page && c->trust_auth_user && c->jwt_require_exp);
	CHECK(c->listen.n == 1 && str_eq(c->listen.v[0], "127.0.0.1:3000"));
	CHECK(str_eq(c->ops_listen, "127.0.0.1:0"));
	CHECK(c->origins.n == 1 && str_eq(c->origins.v[0], "*"));
	CHECK(!c->redis && !c->jwt_key && !c->redis_at.host && !c->redis_at.path);
	CHECK(str_eq(c->path, "/socket.io/") && str_eq(c->redis_key, "socket.io"));
	CHECK(c->ping_interval_ms == 25000 && c->ping_timeout_ms == 20000);
	CHECK(c->connect_timeout_ms == 45000 && c->max_http_buffer_size == 1000000);
	CHECK(c->socket_send_buffer == 131072 && c->outbox_bytes_max == 4000000);
	CHECK(c->namespaces_n == 1 && str_eq(c->namespaces[0].name, "/"));
	CHECK(c->namespaces[0].auth == POLICY_AUTH_NONE);
	CHECK(c->namespaces[0].apps.n == 2 && str_eq(c->namespaces[0].apps.v[1], "echo"));
	CHECK(c->namespaces[0].rooms_n == 1);
	room = c->namespaces[0].rooms;
	CHECK(str_eq(room->match, "*") && room->events_n == 0);
	CHECK(room->may[POLICY_JOIN] == POLICY_ANYBODY);
	CHECK(room->may[POLICY_EMIT] == POLICY_MEMBERS);
	CHECK(room->may[POLICY_LIST] == POLICY_ANYBODY);
	CHECK(room->stamp && room->announce && room->presence);
	unload(&l);

	load(&l, NULL, "GATEHOUSE_DEV=1|GATEHOUSE_JWT_SECRET=" SECRET, "");
	CHECK(l.result == CONFIG_RUN && c->dev);
	CHECK(c->namespaces[0].auth == POLICY_AUTH_OPTIONAL && !c->trust_auth_user);
	CHECK(c->jwt_key_n == 32 && memcmp(c->jwt_key, SECRET, 32) == 0);
	unload(&l);

	load(&l, GOOD, "GATEHOUSE_DEV=1", "--no-dev");
	CHECK(l.result == CONFIG_RUN && !c->dev && !c->page);
	unload(&l);
}

/* Who: a word, or users of some names. */
static void test_who(void)
{
	struct loaded l;
	const struct policy_room *room;
	const struct policy_queue *queue;

	load(&l,
	     "namespaces:\n  - name: /\n    auth: none\n    rooms:\n"
	     "      - {match: a, join: users driver.*  hub, emit: members, list: users,"
	     " presence: true}\n"
	     "    queues:\n      - {match: q, push: 'users v*', consume: anybody}\n",
	     "", "--dev");
	CHECK_SLICE(buf_view(&l.errors), SLICE_EMPTY, "who");
	room = &l.c.namespaces[0].rooms[0];
	queue = &l.c.namespaces[0].queues[0];
	CHECK(room->may[POLICY_JOIN] == POLICY_USERS && room->named[POLICY_JOIN].n == 2);
	CHECK(str_eq(room->named[POLICY_JOIN].patterns[0], "driver.*"));
	CHECK(str_eq(room->named[POLICY_JOIN].patterns[1], "hub"));
	CHECK(room->may[POLICY_EMIT] == POLICY_MEMBERS &&
	      room->named[POLICY_EMIT].n == 0);
	CHECK(room->may[POLICY_LIST] == POLICY_USERS && room->named[POLICY_LIST].n == 0);
	CHECK(queue->may[POLICY_PUSH] == POLICY_USERS &&
	      queue->named[POLICY_PUSH].n == 1);
	CHECK(str_eq(queue->named[POLICY_PUSH].patterns[0], "v*"));
	CHECK(queue->may[POLICY_CONSUME] == POLICY_ANYBODY);
	unload(&l);
}

/* Flag over environment over file over default, for each kind of setting. */
static void test_precedence(void)
{
	static const char file[] = GOOD "path: /file\npage: true\npingInterval: "
					"1s\norigins: [same, 'http://F']\n";
	struct loaded l;
	const struct config *c = &l.c;

	load(&l, file, "", "");
	CHECK_SLICE(buf_view(&l.errors), SLICE_EMPTY, "file");
	CHECK(str_eq(c->path, "/file/") && c->page && c->ping_interval_ms == 1000);
	CHECK(c->origins.n == 2 && str_eq(c->origins.v[1], "http://f"));
	CHECK(c->ping_timeout_ms == 20000 && !c->ops_listen && !c->trust_auth_user);
	unload(&l);

	load(&l, file,
	     "HOME=/|GATEHOUSE_PATH=/env|GATEHOUSE_PAGE=off|GATEHOUSE_PING_INTERVAL=2s|"
	     "GATEHOUSE_ORIGINS= https://E:443 ,, http://e:80,https://e:80",
	     "");
	CHECK_SLICE(buf_view(&l.errors), SLICE_EMPTY, "environment");
	CHECK(str_eq(c->path, "/env/") && !c->page && c->ping_interval_ms == 2000);
	CHECK(c->origins.n == 3 && str_eq(c->origins.v[0], "https://e"));
	CHECK(str_eq(c->origins.v[1], "http://e") &&
	      str_eq(c->origins.v[2], "https://e:80"));
	unload(&l);

	load(&l, file,
	     "GATEHOUSE_PATH=/env|GATEHOUSE_PAGE=0|GATEHOUSE_PING_INTERVAL=2s|"
	     "GATEHOUSE_ORIGINS=https://e",
	     "--path|/flag|--page|--ping-interval=3m|--origins|http://a|--origins=http://"
	     "b, "
	     "http://c|--path|/last/");
	CHECK_SLICE(buf_view(&l.errors), SLICE_EMPTY, "flags");
	CHECK(str_eq(c->path, "/last/") && c->page && c->ping_interval_ms == 180000);
	CHECK(c->origins.n == 3 && str_eq(c->origins.v[2], "http://c"));
	unload(&l);

	/* A file named by a flag wins over one named in the environment. */
	load(&l, GOOD, "GATEHOUSE_CONFIG=nowhere", "--page|false|--no-jwt-require-exp");
	CHECK(l.result == CONFIG_RUN && !c->page && !c->jwt_require_exp);
	unload(&l);

	/* Empty is not set, and overrides. */
	load(&l, GOOD "redis: redis://h\norigins: '*'\nopsListen: a:0\n",
	     "GATEHOUSE_REDIS=|GATEHOUSE_ORIGINS=", "--ops-listen=");
	CHECK_SLICE(buf_view(&l.errors), SLICE_EMPTY, "emptied");
	CHECK(!c->redis && !c->redis_at.host && c->origins.n == 0 && !c->ops_listen);
	unload(&l);
}

/* What Kubernetes adds to the environment for services named gatehouse… is no mistake. */
static void test_service_links(void)
{
	struct loaded l;

	load(&l, NULL,
	     "GATEHOUSE_SERVICE_HOST=10.0.0.1|GATEHOUSE_SERVICE_PORT=80|"
	     "GATEHOUSE_SERVICE_PORT_HTTP=80|GATEHOUSE_PORT=tcp://10.0.0.1:80|"
	     "GATEHOUSE_PORT_80_TCP=tcp://10.0.0.1:80|GATEHOUSE_PORT_80_TCP_PROTO=tcp|"
	     "GATEHOUSE_REDIS_PORT=tcp://10.0.0.2:6379|GATEHOUSE_REDIS_SERVICE_HOST=a",
	     "--dev");
	CHECK_SLICE(buf_view(&l.errors), SLICE_EMPTY, "service links");
	unload(&l);
	load(&l, NULL, "GATEHOUSE_PORT=3000", "--dev");
	CHECK(l.result == CONFIG_WRONG);
	unload(&l);
}

static void test_namespaces(void)
{
	static const char file[] = "listen: [127.0.0.1:80, '[::1]:80']\n"
				   "trustAuthUser: on\n"
				   "namespaces:\n"
				   "  - name: /\n"
				   "    auth: optional\n"
				   "    apps: [echo, rooms]\n"
				   "    rooms: &rules\n"
				   "      - match: \"chat:*\"\n"
				   "        join: anybody\n"
				   "        emit: members\n"
				   "        list: users\n"
				   "        events: [message, typing]\n"
				   "        stamp: true\n"
				   "        presence: true\n"
				   "      - {match: 'inbox:{user}', join: users, emit: "
				   "nobody, announce: true}\n"
				   "  - {name: /chat, auth: none, rooms: *rules}\n"
				   "  - {name: /quiet, auth: none, rooms: []}\n";
	struct loaded l;
	const struct config_namespace *ns;

	load(&l, file, "", "");
	CHECK_SLICE(buf_view(&l.errors), SLICE_EMPTY, "namespaces");
	CHECK(l.c.namespaces_n == 3 && l.c.listen.n == 2);
	if (l.c.namespaces_n == 3) {
		ns = l.c.namespaces;
		CHECK(str_eq(ns[0].name, "/") && ns[0].auth == POLICY_AUTH_OPTIONAL);
		CHECK(ns[0].apps.n == 2 && str_eq(ns[0].apps.v[0], "echo"));
		CHECK(ns[1].apps.n == 1 && str_eq(ns[1].apps.v[0], "rooms"));
		CHECK(ns[0].rooms_n == 2 && ns[1].rooms_n == 2 && ns[2].rooms_n == 0);
		CHECK(str_eq(ns[1].rooms[0].match, "chat:*"));
		CHECK(ns[0].rooms[0].may[POLICY_LIST] == POLICY_USERS);
		CHECK(ns[0].rooms[0].events_n == 2);
		CHECK(str_eq(ns[0].rooms[0].events[1], "typing"));
		CHECK(ns[0].rooms[0].stamp && !ns[0].rooms[0].announce);
		CHECK(ns[0].rooms[1].may[POLICY_JOIN] == POLICY_USERS);
		CHECK(ns[0].rooms[1].may[POLICY_EMIT] == POLICY_NOBODY);
		CHECK(ns[0].rooms[1].may[POLICY_LIST] == POLICY_NOBODY);
		CHECK(ns[0].rooms[1].announce && !ns[0].rooms[1].presence);
	}
	unload(&l);
}

static void test_redis(void)
{
	static const struct {
		const char *url, *host, *path, *user, *password;
		unsigned port, db;
		bool good;
	} rows[] = {
		{"redis://h", "h", NULL, NULL, NULL, 6379, 0, true},
		{"redis://h/", "h", NULL, NULL, NULL, 6379, 0, true},
		{"redis://127.0.0.1:1/15", "127.0.0.1", NULL, NULL, NULL, 1, 15, true},
		{"redis://:pw@h:2", "h", NULL, NULL, "pw", 2, 0, true},
		{"redis://u:p:w@h", "h", NULL, "u", "p:w", 6379, 0, true},
		{"redis://u:a@b@h", "h", NULL, "u", "a@b", 6379, 0, true},
		{"redis://u%40:%2f%3F%25@h/1", "h", NULL, "u@", "/?%", 6379, 1, true},
		{"redis://u@h", "h", NULL, "u", NULL, 6379, 0, true},
		{"redis://[::1]", "::1", NULL, NULL, NULL, 6379, 0, true},
		{"redis://:pw@[fe80::1]:7/2", "fe80::1", NULL, NULL, "pw", 7, 2, true},
		{"unix:///run/r.sock", NULL, "/run/r.sock", NULL, NULL, 6379, 0, true},
		{"unix:///r%20s?db=3", NULL, "/r s", NULL, NULL, 6379, 3, true},
		{"unix://u:p@/r", NULL, "/r", "u", "p", 6379, 0, true},
		{"", NULL, NULL, NULL, NULL, 0, 0, false},
		{"redis:", NULL, NULL, NULL, NULL, 0, 0, false},
		{"redis://", NULL, NULL, NULL, NULL, 0, 0, false},
		{"redis:///0", NULL, NULL, NULL, NULL, 0, 0, false},
		{"redis://:pw@", NULL, NULL, NULL, NULL, 0, 0, false},
		{"redis://:pw@:6379", NULL, NULL, NULL, NULL, 0, 0, false},
		{"redis://h:", NULL, NULL, NULL, NULL, 0, 0, false},
		{"redis://h:0", NULL, NULL, NULL, NULL, 0, 0, false},
		{"redis://h:65536", NULL, NULL, NULL, NULL, 0, 0, false},
		{"redis://h:1x", NULL, NULL, NULL, NULL, 0, 0, false},
		{"redis://u:a/b@h", NULL, NULL, NULL, NULL, 0, 0, false},
		{"redis://[::1", NULL, NULL, NULL, NULL, 0, 0, false},
		{"redis://[]:1", NULL, NULL, NULL, NULL, 0, 0, false},
		{"redis://[::1]x", NULL, NULL, NULL, NULL, 0, 0, false},
		{"redis://h/x", NULL, NULL, NULL, NULL, 0, 0, false},
		{"redis://h/1000000", NULL, NULL, NULL, NULL, 0, 0, false},
		{"redis://h?db=1", NULL, NULL, NULL, NULL, 0, 0, false},
		{"redis://h h", NULL, NULL, NULL, NULL, 0, 0, false},
		{"redis://u%:p@h", NULL, NULL, NULL, NULL, 0, 0, false},
		{"redis://u%4:p@h", NULL, NULL, NULL, NULL, 0, 0, false},
		{"redis://u:%00@h", NULL, NULL, NULL, NULL, 0, 0, false},
		{"unix://", NULL, NULL, NULL, NULL, 0, 0, false},
		{"unix:///", NULL, NULL, NULL, NULL, 0, 0, false},
		{"unix://run/r.sock", NULL, NULL, NULL, NULL, 0, 0, false},
		{"unix:///r?db=", NULL, NULL, NULL, NULL, 0, 0, false},
		{"unix:///r?x=1", NULL, NULL, NULL, NULL, 0, 0, false},
		{"unix:///"
		 "0123456789012345678901234567890123456789012345678901234567890123456"
		 "789012345678901234567890123456789012345678",
		 NULL, NULL, NULL, NULL, 0, 0, false},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct config_redis r = {0};
		const char *why = config_redis_parse(rows[i].url, &r);

		CHECK_ROW(!why == rows[i].good, rows[i].url);
		CHECK_ROW(str_eq(r.host, rows[i].host), rows[i].url);
		CHECK_ROW(str_eq(r.path, rows[i].path), rows[i].url);
		CHECK_ROW(str_eq(r.username, rows[i].user), rows[i].url);
		CHECK_ROW(str_eq(r.password, rows[i].password), rows[i].url);
		CHECK_ROW(r.port == rows[i].port && r.db == rows[i].db, rows[i].url);
		config_redis_deinit(&r);
	}
}

static void test_secret_files(void)
{
	struct loaded l;

	load(&l, NULL, "", "--dev|--jwt-secret-file|secret");
	CHECK(l.result == CONFIG_RUN && l.c.jwt_key_n == 33);
	CHECK(memcmp(l.c.jwt_key, "\0" SECRET, 33) == 0);
	unload(&l);
	load(&l, NULL, "",
	     "--dev|--redis=redis://"
	     "u:url@h|--redis-password-file=password|--jwt-secret=" SECRET
	     "|--check-config");
	CHECK(l.result == CONFIG_DONE && str_eq(l.c.redis_at.password, "hunter2"));
	CHECK(str_eq(l.c.redis_at.username, "u"));
	CHECK(strstr(buf_cstr(&l.out), "redis                set "));
	CHECK(!strstr(buf_cstr(&l.out), "hunter2"));
	CHECK(!strstr(buf_cstr(&l.out), "url@"));
	CHECK(!strstr(buf_cstr(&l.out), SECRET));
	unload(&l);
}

/* A file of a few lines must not become millions of rules. */
static void test_alias_bomb(void)
{
	struct buf file = BUF_INIT;
	struct loaded l;

	buf_str(&file, "x: &e [a");
	for (int i = 0; i < 2000; i++)
		buf_str(&file, ",a");
	buf_str(&file, "]\nrule: &r [");
	for (int i = 0; i < 2000; i++)
		buf_str(&file, "{match: a, events: *e},");
	buf_str(&file, "]\nnamespaces: [");
	for (int i = 0; i < 2000; i++)
		buf_str(&file, "{name: /, auth: none, rooms: *r},");
	buf_str(&file, "]\n");
	load(&l, buf_cstr(&file), "", "--dev");
	CHECK(l.result == CONFIG_WRONG);
	CHECK(strstr(buf_cstr(&l.errors), "conf.yaml: holds too much; more than 100000 "
					  "values, aliases counted as often as they are "
					  "used\n"));
	unload(&l);
	buf_deinit(&file);
	load(&l, "namespaces: &n [*n]\n", "", "--dev");
	CHECK(l.result == CONFIG_WRONG);
	unload(&l);
}

static void test_help(void)
{
	struct loaded l;
	size_t column = 0, longest = 0;
	const char *text;

	load(&l, NULL, "GATEHOUSE_NONSENSE=1", "--nonsense|-h");
	CHECK(l.result == CONFIG_DONE);
	text = buf_cstr(&l.out);
	for (const char *p = text; *p; p++) {
		column = *p == '\n' ? 0 : column + (((uint8_t)*p & 0xc0) != 0x80);
		longest = column > longest ? column : longest;
	}
	CHECK(longest > 80 && longest <= 100);
	for (size_t i = 0; i < SETTINGS_N; i++) {
		char flag[SETTING_NAME_MAX], line[SETTING_NAME_MAX + 8];

		setting_flag(&settings[i], flag);
		snprintf(line, sizeof(line), "\n  %s ", flag);
		CHECK_ROW(strstr(text, line) != NULL, flag);
	}
	CHECK(strstr(text,
		     "\n  --ping-interval TIME\n      How often the server pings each "
		     "client. From 100ms to 60m. Default: 25s.\n"));
	unload(&l);
	load(&l, NULL, "", "--version");
	CHECK(l.result == CONFIG_DONE);
	CHECK(slice_starts(buf_view(&l.out), SLICE_LIT("gatehouse 0.")));
	unload(&l);
}

/* A default that is wrong would be reported at each start, by the key alone. */
static void test_table(void)
{
	for (size_t i = 0; i < SETTINGS_N; i++) {
		CHECK_ROW(settings[i].type != SETTING_INT || *settings[i].def,
			  settings[i].key);
		CHECK_ROW(!strpbrk(settings[i].help, "|\n"), settings[i].key);
		for (size_t j = 0; j < i; j++)
			CHECK_ROW(strcmp(settings[i].key, settings[j].key) != 0,
				  settings[i].key);
	}
}

static void test_nearest(void)
{
	static const char *const names[] = {"pingInterval", "pingTimeout", "path"};

	CHECK(str_eq(config_nearest("pingInterval", names, 3), "pingInterval"));
	CHECK(str_eq(config_nearest("pnigtimeout", names, 3), "pingTimeout"));
	CHECK(str_eq(config_nearest("pth", names, 3), "path"));
	CHECK(str_eq(config_nearest("htap", names, 3), NULL));
	CHECK(str_eq(config_nearest("", names, 3), NULL));
	CHECK(str_eq(config_nearest("a name far too long to be one that was mistyped",
				    names, 3),
		     NULL));
}

static void rows_files(void)
{
	write_file("newline", "\r\n", 2);
	write_file("short", SECRET, 31);
	write_file("secret", "\0" SECRET "\n", 34);
	write_file("password", "hunter2\r\n", 9);
}

static void clean(void)
{
	static const char *const names[] = {"newline", "short", "secret", "password",
					    "conf.yaml"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unlink(names[i]);
	if (chdir("/") == 0)
		rmdir(dir);
}

int main(void)
{
	if (!mkdtemp(dir) || chdir(dir) != 0) {
		perror(dir);
		return 1;
	}
	rows_files();
	test_table();
	test_nearest();
	test_redis();
	test_wrong();
	test_listen();
	test_dev();
	test_who();
	test_precedence();
	test_service_links();
	test_namespaces();
	test_secret_files();
	test_alias_bomb();
	test_help();
	clean();
	return test_done();
}
