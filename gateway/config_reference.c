#include <string.h>

#include "gateway/config_parts.h"

static const char intro[] =
	"# Configuration\n"
	"\n"
	"Every setting can be given in three places; the first of these that has it "
	"wins:\n"
	"\n"
	"1. a **flag**: `--ping-interval 25s` or `--ping-interval=25s`. A switch may "
	"stand "
	"alone\n"
	"   (`--page`) and be negated (`--no-page`). Given twice, the last counts.\n"
	"2. the **environment**: `GATEHOUSE_PING_INTERVAL=25s`.\n"
	"3. a **YAML file**: `pingInterval: 25s`. `--config FILE` or `GATEHOUSE_CONFIG` "
	"names "
	"it;\n"
	"   without either, none is read.\n"
	"\n"
	"What stands in none has its default. Settings that Socket.IO has keep its names "
	"and\n"
	"defaults. `namespaces` (below) can only be written in the file.\n"
	"\n"
	"- A **duration** is a number of milliseconds, or has a unit: `500ms`, `25s`, "
	"`2m`.\n"
	"- A number of **bytes** may have a unit: `64KiB` (1024 bytes each), `16MB` "
	"(1,000,000).\n"
	"- A **list** is a list in the file, and separated by commas elsewhere; its flag "
	"may "
	"come\n"
	"  several times.\n"
	"- A **switch** is `true` or `false`.\n"
	"- An empty value of a text or a list means: not set. `--origins=` takes away "
	"what "
	"the\n"
	"  file allows.\n"
	"- A **secret** is never shown, neither in errors nor by `--check-config`.\n"
	"\n"
	"`gatehouse --check-config` says what is wrong with a configuration, all of it "
	"at "
	"once, or\n"
	"prints what is in effect and where each value comes from. What is misspelt is "
	"an "
	"error:\n"
	"an unknown flag, an unknown key, an unknown variable that begins with "
	"`GATEHOUSE_` "
	"(other\n"
	"than those Kubernetes makes for a service named `gatehouse…`).\n"
	"\n"
	"## Settings\n"
	"\n"
	"The flag of `pingInterval` is `--ping-interval`, its variable is "
	"`GATEHOUSE_PING_INTERVAL`,\n"
	"and so on.\n";

static const char namespaces[] =
	"\n"
	"## Namespaces and rooms\n"
	"\n"
	"`namespaces` lists the namespaces clients may connect to; to others the answer "
	"is\n"
	"`Invalid namespace`. Nothing is allowed that is not written here.\n"
	"\n"
	"| key of a namespace | value |\n"
	"| --- | --- |\n"
	"| `name` | `/` or `/something`, without `#`, `,` and `?`, at most 100 bytes; "
	"required |\n"
	"| `auth` | `none`: tokens are not looked at; `optional`: a token names the "
	"user, a "
	"bad one is refused, none is fine; `required`: no good token, no connection. "
	"Required |\n"
	"| `apps` | The applications that answer its clients, asked in this order. "
	"Default: "
	"`[rooms]`, the `room:*` events, and where there are rules for queues `queues`, "
	"the "
	"`queue:*` events |\n"
	"| `recovery` | `true`: clients that were away get what they missed "
	"([recovery](recovery.md)). All nodes of a cluster say the same. Default: "
	"`false`, with `--dev` `true` |\n"
	"| `rooms` | Rules for rooms, below. The first whose `match` fits a room's name "
	"decides about it; where none fits, nothing is allowed. Default: no rules |\n"
	"| `queues` | Rules for [queues](queues.md), likewise |\n"
	"\n"
	"| key of a rule | value |\n"
	"| --- | --- |\n"
	"| `match` | The rooms it is for: a name, in which `*` is any run of characters "
	"and "
	"`{user}` the name of the user (sockets without a user do not match). Write it "
	"in "
	"quotes; required |\n"
	"| `join` | Who may join: `nobody`, `users` (sockets whose user is known), "
	"`users "
	"driver.* hub` (those whose name is one of these, in which `*` is any run of "
	"characters) or `anybody`. Default: `nobody` |\n"
	"| `emit` | Who may emit to it: `nobody`, `members`, `users`, also with names, "
	"or "
	"`anybody`. Default: `nobody` |\n"
	"| `list` | Who may ask who is in it: as for `emit`. Default: `nobody` |\n"
	"| `events` | The names of events that may be emitted. Default: any |\n"
	"| `stamp` | `true`: events carry `{from, user, at}` as their last argument, set "
	"by "
	"the server, so that nobody can pose as another. Default: `false` |\n"
	"| `announce` | `true`: members hear `room:joined` and `room:left`. Default: "
	"`false` "
	"|\n"
	"| `presence` | `true`: the cluster keeps who is in the room; `room:members` "
	"works "
	"and a join is told the count. Required for a `list` other than `nobody`. "
	"Default: "
	"`false` |\n";

static const char example[] =
	"\n"
	"A complete file:\n"
	"\n"
	"```yaml\n"
	"listen: 0.0.0.0:3000\n"
	"opsListen: 127.0.0.1:9300\n"
	"redis: redis://127.0.0.1:6379/0\n"
	"origins: [\"https://app.example\"]\n"
	"jwtSecretFile: /etc/gatehouse/jwt-secret\n"
	"\n"
	"namespaces:\n"
	"  - name: /\n"
	"    auth: optional\n"
	"    rooms:\n"
	"      - match: \"chat:*\"\n"
	"        join: anybody\n"
	"        emit: members\n"
	"        list: members\n"
	"        events: [message, typing]\n"
	"        stamp: true\n"
	"        announce: true\n"
	"        presence: true\n"
	"      - match: \"inbox:{user}\"    # each user's own; only workers write to it\n"
	"        join: users\n"
	"    queues:\n"
	"      - match: \"mailbox:{user}\"  # waits until the user is there\n"
	"        consume: users\n"
	"      - match: orders             # for workers\n"
	"        push: users\n"
	"  - name: /news\n"
	"    auth: none\n"
	"    rooms:\n"
	"      - match: \"*\"\n"
	"        join: anybody\n"
	"```\n"
	"\n"
	"## Users\n"
	"\n"
	"A client sends its token when it connects: `io({ auth: { token } })`. It is a "
	"JSON "
	"Web\n"
	"Token of at most 8 KiB, signed with HS256 (no other algorithm is accepted) and "
	"the "
	"secret\n"
	"of `jwtSecretFile` or `jwtSecret`, which has at least 32 bytes. Its `sub` is "
	"the "
	"user: a\n"
	"text of 1 to 200 bytes without control characters. `exp` must be there (unless\n"
	"`jwtRequireExp` is false) and lie ahead; `nbf`, if it is there, must not. Both "
	"may be "
	"missed\n"
	"by 5 seconds, since two clocks never quite agree.\n"
	"\n"
	"Who is refused reads why as the message of `connect_error`: `authentication "
	"required`,\n"
	"`invalid token`, `token expired`, `token not yet valid`, `token without "
	"expiry`, "
	"`invalid\n"
	"user`.\n"
	"\n"
	"Where there is no secret, `trustAuthUser` believes what a client says it is:\n"
	"`io({ auth: { user: \"ann\" } })`. In namespaces with auth `none`, too.\n"
	"\n"
	"## What --dev sets\n"
	"\n"
	"`--dev` (or `GATEHOUSE_DEV=1`) is for trying things out. It changes these "
	"defaults, "
	"and any\n"
	"setting overrides it:\n"
	"\n";

static const char dev_end[] = "\n"
			      "If the file has no `namespaces`, it adds the namespace "
			      "`/` with all applications, "
			      "with auth\n"
			      "`optional` if there is a JWT secret (then `trustAuthUser` "
			      "is off) and `none` if not, "
			      "and one\n"
			      "rule for all rooms: anybody may join and list, members "
			      "may emit; stamp, announce and\n"
			      "presence are true. Anybody may push to all queues and "
			      "consume from them; `mailbox:NAME`\n"
			      "is consumed by the user of that name only.\n";

static void default_cell(struct buf *out, const char *text)
{
	if (*text)
		buf_printf(out, "`%s`", text);
	else
		buf_str(out, "not set");
}

static void value_cell(struct buf *out, const struct setting *s)
{
	switch (s->type) {
	case SETTING_BOOL:
		buf_str(out, "switch");
		return;
	case SETTING_STR:
		buf_str(out, "text");
		return;
	case SETTING_SECRET:
		buf_str(out, "secret");
		return;
	case SETTING_LIST:
		buf_str(out, "list");
		return;
	case SETTING_INT:
		break;
	}
	if (s->unit == UNIT_MS)
		buf_str(out, "duration, ");
	else if (s->unit == UNIT_BYTES && s->min >= 1024)
		buf_str(out, "bytes, ");
	setting_bounds(out, s);
}

void config_reference(struct buf *out)
{
	buf_str(out, intro);
	for (size_t i = 0; i < SETTINGS_N; i++) {
		const char *title = setting_group(&settings[i]);

		if (title)
			buf_printf(out,
				   "\n### %s\n\n| setting | value | default | |\n"
				   "| --- | --- | --- | --- |\n",
				   title);
		buf_printf(out, "| `%s` | ", settings[i].key);
		value_cell(out, &settings[i]);
		buf_str(out, " | ");
		default_cell(out, settings[i].def);
		buf_printf(out, " | %s |\n", settings[i].help);
	}
	buf_str(out, namespaces);
	config_queues_reference(out);
	buf_str(out, example);
	buf_str(out, "| setting | default with --dev |\n| --- | --- |\n");
	for (size_t i = 0; i < SETTINGS_N; i++) {
		if (!settings[i].dev)
			continue;
		buf_printf(out, "| `%s` | ", settings[i].key);
		default_cell(out, settings[i].dev);
		buf_str(out, " |\n");
	}
	buf_str(out, dev_end);
}
