#include "adapter/redis/scripts.h"

#include <assert.h>

static const char *const texts[] = {
#define REDIS_SCRIPT_ROW_(NAME, name) [SCRIPT_##NAME] = redis_script_##name,
	REDIS_SCRIPTS_TABLE(REDIS_SCRIPT_ROW_)
#undef REDIS_SCRIPT_ROW_
};

static void on_loaded(struct redis_call *c, const struct resp *r)
{
	struct redis_scripts *s = c->ctx;
	char *sha = s->sha[c - s->load];

	assert(s->loading > 0);
	s->loading--;
	if (!r)
		return;
	if (r->type == RESP_ERROR) {
		redis_link_refused(s->link, r->s);
	} else if (r->type != RESP_STR || r->s.n != REDIS_SHA_LEN) {
		redis_link_fail(s->link, "redis_protocol",
				"error=\"SCRIPT LOAD answered no hash\"");
	} else {
		memcpy(sha, r->s.p, REDIS_SHA_LEN);
		sha[REDIS_SHA_LEN] = '\0';
	}
}

void redis_scripts_init(struct redis_scripts *s, struct redis_link *link)
{
	*s = (struct redis_scripts){.link = link};
	for (size_t i = 0; i < REDIS_SCRIPTS_N; i++)
		s->load[i] = (struct redis_call){.on_reply = on_loaded, .ctx = s};
}

void redis_scripts_load(struct redis_scripts *s)
{
	struct buf *out = redis_link_out(s->link);

	assert(s->loading == 0);
	for (size_t i = 0; i < REDIS_SCRIPTS_N; i++) {
		resp_command(out, 3);
		resp_word_str(out, "SCRIPT");
		resp_word_str(out, "LOAD");
		resp_word_str(out, texts[i]);
		redis_link_expect(s->link, &s->load[i]);
		s->loading++;
	}
}

void redis_scripts_reload(struct redis_scripts *s)
{
	if (s->loading)
		return;
	redis_core_log(s->link->core, ADAPTER_LOG_WARN, "redis_scripts_gone",
		       "hint=\"somebody ran SCRIPT FLUSH; loading them again\"");
	redis_scripts_load(s);
}

void redis_scripts_call(struct redis_scripts *s, enum redis_script script, size_t keys,
			size_t args)
{
	struct buf *out = redis_link_out(s->link);

	assert(s->loading == 0);
	assert(s->sha[script][0]);
	resp_command(out, 3 + keys + args);
	resp_word_str(out, "EVALSHA");
	resp_word_str(out, s->sha[script]);
	resp_word_u64(out, keys);
}

bool redis_scripts_missing(const struct resp *r)
{
	return r->type == RESP_ERROR && slice_starts(r->s, SLICE_LIT("NOSCRIPT"));
}
