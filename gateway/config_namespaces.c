#include <stdlib.h>
#include <string.h>

#include "gateway/config_yaml.h"
#include "gateway/text.h"
#include "proto/mem.h"

enum { NAME_BYTES_MAX = 100, PATTERN_BYTES_MAX = 4096 };

enum { NS_NAME, NS_AUTH, NS_APPS, NS_RECOVERY, NS_ROOMS, NS_QUEUES, NS_KEYS };
static const char *const ns_keys[NS_KEYS] = {"name",	 "auth",  "apps",
					     "recovery", "rooms", "queues"};

enum {
	ROOM_MATCH,
	ROOM_JOIN,
	ROOM_EMIT,
	ROOM_LIST,
	ROOM_EVENTS,
	ROOM_STAMP,
	ROOM_ANNOUNCE,
	ROOM_PRESENCE,
	ROOM_KEYS
};
static const char *const room_keys[ROOM_KEYS] = {
	"match", "join", "emit", "list", "events", "stamp", "announce", "presence"};

static const char *const auth_words[] = {
	[POLICY_AUTH_NONE] = "none",
	[POLICY_AUTH_OPTIONAL] = "optional",
	[POLICY_AUTH_REQUIRED] = "required",
};

static const char *const who_words[] = {
	[POLICY_NOBODY] = "nobody",
	[POLICY_MEMBERS] = "members",
	[POLICY_USERS] = "users",
	[POLICY_ANYBODY] = "anybody",
};

/* A namespace while it is read. */
struct ns_reading {
	struct config_namespace *ns;
	char *auth_where;
	/* The keys there are, with whatever value, so that one mistake is one error. */
	const yaml_node_t *seen[NS_KEYS];
};

struct room_reading {
	struct policy_room *room;
	const yaml_node_t *seen[ROOM_KEYS];
};

static void read_namespace(struct config_file *f, const yaml_node_t *key,
			   const yaml_node_t *value);
static void ns_set(struct config_file *f, size_t name, const yaml_node_t *key,
		   const yaml_node_t *value, void *object);
static void read_rooms(struct config_file *f, const yaml_node_t *key,
		       const yaml_node_t *value, struct config_namespace *ns);
static void room_set(struct config_file *f, size_t name, const yaml_node_t *key,
		     const yaml_node_t *value, void *object);

void file_namespaces(struct config_file *f, const yaml_node_t *key,
		     const yaml_node_t *value)
{
	const yaml_node_item_t *item;

	f->l->namespaces_given = true;
	if (value->type != YAML_SEQUENCE_NODE) {
		file_error(f, key, "is no list; write \"- name: /\" and so on below it");
		return;
	}
	if (value->data.sequence.items.start == value->data.sequence.items.top)
		file_error(f, key,
			   "is empty, so nobody could connect; write \"- name: /\" "
			   "and so on below it");
	for (item = value->data.sequence.items.start;
	     item < value->data.sequence.items.top; item++) {
		if (!file_spend(f))
			return;
		read_namespace(f, key, file_node(f, *item));
	}
}

bool file_word(struct config_file *f, const yaml_node_t *key, const yaml_node_t *value,
	       const char *const *words, size_t n, size_t *which)
{
	const char *text = file_scalar(f, key, value, "one word");
	struct buf all = BUF_INIT;

	if (!text)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (strcmp(words[i], text) == 0) {
			*which = i;
			buf_deinit(&all);
			return true;
		}
		buf_printf(&all, "%s%s", i ? ", " : "", words[i]);
	}
	file_error(f, key, "%s is not one of %s", config_shown(text), buf_cstr(&all));
	buf_deinit(&all);
	return false;
}

static void read_bool(struct config_file *f, const yaml_node_t *key,
		      const yaml_node_t *value, bool *out)
{
	const char *text = file_scalar(f, key, value, "true or false");

	if (text && !setting_bool(text, out))
		file_error(f, key, "%s is neither true nor false", config_shown(text));
}

/* ---- namespaces ---- */

static bool app_known(const struct config_file *f, const char *app)
{
	for (const char *const *name = f->l->app_names; *name; name++) {
		if (strcmp(*name, app) == 0)
			return true;
	}
	return false;
}

static void unknown_app(struct config_file *f, const yaml_node_t *key, const char *app)
{
	struct buf known = BUF_INIT;

	for (const char *const *name = f->l->app_names; *name; name++)
		buf_printf(&known, "%s%s", known.n ? ", " : "", *name);
	file_error(f, key, "there is no application %s; known: %s", config_shown(app),
		   buf_cstr(&known));
	buf_deinit(&known);
}

static void read_namespace(struct config_file *f, const yaml_node_t *key,
			   const yaml_node_t *value)
{
	static const struct file_keys keys = {"a key of a namespace", ns_keys, NS_KEYS,
					      ns_set};
	struct config *c = f->l->c;
	struct ns_reading r = {0};

	c->namespaces = mem_realloc(c->namespaces,
				    (c->namespaces_n + 1) * sizeof(*c->namespaces));
	r.ns = &c->namespaces[c->namespaces_n++];
	*r.ns = (struct config_namespace){.recovery = c->dev};
	file_mapping(f, value, "namespaces", &keys, &r);
	if (value->type == YAML_MAPPING_NODE) {
		if (!r.seen[NS_NAME])
			file_error_at(f, value, (const char *)key->data.scalar.value,
				      "an entry has no name; write name: / or name: "
				      "/SOMETHING");
		if (!r.seen[NS_AUTH])
			file_error_at(f, value, (const char *)key->data.scalar.value,
				      "an entry has no auth; write auth: none, optional "
				      "or required");
		if (!r.seen[NS_APPS]) {
			if (app_known(f, "rooms"))
				str_list_add(&r.ns->apps, SLICE_LIT("rooms"));
			else
				unknown_app(f, key, "rooms");
			if (r.ns->queues_n && app_known(f, "queues"))
				str_list_add(&r.ns->apps, SLICE_LIT("queues"));
		}
	}
	if (!r.ns->name) /* reported; no NULL for those who look at the others */
		r.ns->name = mem_strndup("", 0);
	str_list_add(&f->l->auth_where, slice_str(r.auth_where ? r.auth_where : ""));
	free(r.auth_where);
}

static void read_name(struct config_file *f, const yaml_node_t *key,
		      const yaml_node_t *value, struct config_namespace *ns)
{
	const char *text = file_scalar(f, key, value, "one name");
	const struct config *c = f->l->c;

	if (!text)
		return;
	if (text[0] != '/' || strpbrk(text, "#,?") || strlen(text) > NAME_BYTES_MAX ||
	    !text_is_plain(slice_str(text))) {
		file_error(f, key,
			   "%s is no name of a namespace; write / or /SOMETHING, without "
			   "# , ? and control characters, of at most %d bytes",
			   config_shown(text), NAME_BYTES_MAX);
		return;
	}
	for (size_t i = 0; i + 1 < c->namespaces_n; i++) {
		if (strcmp(c->namespaces[i].name, text) == 0) {
			file_error(f, key, "%s stands in the list already",
				   config_shown(text));
			return;
		}
	}
	ns->name = mem_strndup(text, strlen(text));
}

static void read_apps(struct config_file *f, const yaml_node_t *key,
		      const yaml_node_t *value, struct config_namespace *ns)
{
	if (!file_strings(f, key, value, &ns->apps))
		return;
	if (ns->apps.n == 0)
		file_error(f, key,
			   "is empty, so nothing would be answered; leave it away "
			   "for [rooms]");
	for (size_t i = 0; i < ns->apps.n; i++) {
		if (!app_known(f, ns->apps.v[i]))
			unknown_app(f, key, ns->apps.v[i]);
		for (size_t j = 0; j < i; j++) {
			if (strcmp(ns->apps.v[i], ns->apps.v[j]) == 0)
				file_error(f, key, "%s stands in the list twice",
					   config_shown(ns->apps.v[i]));
		}
	}
}

static void ns_set(struct config_file *f, size_t name, const yaml_node_t *key,
		   const yaml_node_t *value, void *object)
{
	struct ns_reading *r = object;
	size_t which = 0;

	r->seen[name] = key;
	switch (name) {
	case NS_NAME:
		read_name(f, key, value, r->ns);
		break;
	case NS_AUTH:
		if (file_word(f, key, value, auth_words,
			      sizeof(auth_words) / sizeof(auth_words[0]), &which)) {
			r->ns->auth = (enum policy_auth)which;
			free(r->auth_where);
			r->auth_where = file_where(f, key);
		}
		break;
	case NS_APPS:
		read_apps(f, key, value, r->ns);
		break;
	case NS_RECOVERY:
		read_bool(f, key, value, &r->ns->recovery);
		break;
	case NS_ROOMS:
		read_rooms(f, key, value, r->ns);
		break;
	case NS_QUEUES:
		file_queues(f, key, value, r->ns);
		break;
	default:
		abort();
	}
}

/* ---- rooms ---- */

static void read_room(struct config_file *f, const yaml_node_t *key,
		      const yaml_node_t *value, struct config_namespace *ns)
{
	static const struct file_keys keys = {"a key of a rule for rooms", room_keys,
					      ROOM_KEYS, room_set};
	struct policy_room *rooms =
		mem_realloc(ns->rooms, (ns->rooms_n + 1) * sizeof(*ns->rooms));
	struct room_reading r = {.room = &rooms[ns->rooms_n]};

	ns->rooms = rooms;
	ns->rooms_n++;
	*r.room = (struct policy_room){0};
	file_mapping(f, value, "rooms", &keys, &r);
	if (value->type == YAML_MAPPING_NODE && !r.seen[ROOM_MATCH])
		file_error_at(f, value, (const char *)key->data.scalar.value,
			      "a rule has no match; write the rooms it is for, such as "
			      "match: \"chat:*\"");
	if (r.room->may[POLICY_LIST] != POLICY_NOBODY && !r.room->presence)
		file_error(
			f, r.seen[ROOM_LIST],
			"wants presence: true in the same rule, since without it nobody "
			"knows who is in a room");
	for (size_t i = 0; r.room->match && i + 1 < ns->rooms_n; i++) {
		if (strcmp(rooms[i].match, r.room->match) == 0)
			file_error(f, r.seen[ROOM_MATCH],
				   "an earlier rule matches %s too, and the first that "
				   "matches decides",
				   config_shown(r.room->match));
	}
	if (!r.room->match)
		r.room->match = mem_strndup("", 0);
}

static void read_rooms(struct config_file *f, const yaml_node_t *key,
		       const yaml_node_t *value, struct config_namespace *ns)
{
	const yaml_node_item_t *item;

	if (value->type != YAML_SEQUENCE_NODE) {
		file_error(f, key, "is no list; write \"- match: …\" and so on below it");
		return;
	}
	for (item = value->data.sequence.items.start;
	     item < value->data.sequence.items.top; item++) {
		if (!file_spend(f))
			return;
		read_room(f, key, file_node(f, *item), ns);
	}
}

char *file_pattern(struct config_file *f, const yaml_node_t *key,
		   const yaml_node_t *value, const char *what)
{
	const char *text = file_scalar(f, key, value, "one pattern");

	if (!text)
		return NULL;
	if (!*text || strlen(text) > PATTERN_BYTES_MAX) {
		file_error(f, key,
			   "%s can match no %s; write a name, in which * is any run of "
			   "characters and {user} the name of the user",
			   config_shown(text), what);
		return NULL;
	}
	return mem_strndup(text, strlen(text));
}

/* The words behind "users", or NULL. */
static const char *names_of(const yaml_node_t *value)
{
	static const char users[] = "users ";
	const char *text = (const char *)value->data.scalar.value;

	if (value->type != YAML_SCALAR_NODE ||
	    strncmp(text, users, sizeof(users) - 1) != 0)
		return NULL;
	return text + sizeof(users) - 1;
}

bool file_who(struct config_file *f, const yaml_node_t *key, const yaml_node_t *value,
	      const char *const *words, size_t n, size_t *which,
	      struct policy_names *names)
{
	const char *text = names_of(value);
	struct str_list patterns = {NULL, 0};

	if (!text)
		return file_word(f, key, value, words, n, which);
	if (strlen(text) > PATTERN_BYTES_MAX) {
		file_error(f, key, "names more users than fit into %d bytes",
			   PATTERN_BYTES_MAX);
		return false;
	}
	while (*(text += strspn(text, " "))) {
		size_t len = strcspn(text, " ");

		str_list_add(&patterns, slice_of(text, len));
		text += len;
	}
	for (*which = 0; *which + 1 < n && strcmp(words[*which], "users") != 0;)
		++*which;
	names->patterns = patterns.v;
	names->n = patterns.n;
	return true;
}

static void read_who(struct config_file *f, const yaml_node_t *key,
		     const yaml_node_t *value, struct policy_room *room,
		     enum policy_action action)
{
	size_t which;

	if (!file_who(f, key, value, who_words, sizeof(who_words) / sizeof(who_words[0]),
		      &which, &room->named[action]))
		return;
	if (action == POLICY_JOIN && which == POLICY_MEMBERS) {
		file_error(f, key,
			   "\"members\" are in the room already; write nobody, "
			   "users or anybody");
		return;
	}
	room->may[action] = (enum policy_who)which;
}

static void read_events(struct config_file *f, const yaml_node_t *key,
			const yaml_node_t *value, struct policy_room *room)
{
	struct str_list events = {NULL, 0};

	if (!file_strings(f, key, value, &events)) {
		str_list_deinit(&events);
		return;
	}
	if (events.n == 0)
		file_error(f, key,
			   "is empty; leave it away to allow any event, or write "
			   "emit: nobody to allow none");
	room->events = events.v;
	room->events_n = events.n;
}

static void room_set(struct config_file *f, size_t name, const yaml_node_t *key,
		     const yaml_node_t *value, void *object)
{
	struct room_reading *r = object;

	r->seen[name] = key;
	switch (name) {
	case ROOM_MATCH:
		r->room->match = file_pattern(f, key, value, "room");
		break;
	case ROOM_JOIN:
		read_who(f, key, value, r->room, POLICY_JOIN);
		break;
	case ROOM_EMIT:
		read_who(f, key, value, r->room, POLICY_EMIT);
		break;
	case ROOM_LIST:
		read_who(f, key, value, r->room, POLICY_LIST);
		break;
	case ROOM_EVENTS:
		read_events(f, key, value, r->room);
		break;
	case ROOM_STAMP:
		read_bool(f, key, value, &r->room->stamp);
		break;
	case ROOM_ANNOUNCE:
		read_bool(f, key, value, &r->room->announce);
		break;
	case ROOM_PRESENCE:
		read_bool(f, key, value, &r->room->presence);
		break;
	default:
		abort();
	}
}
