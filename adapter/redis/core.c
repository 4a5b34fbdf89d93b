#include "adapter/redis/core.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/mem.h"

enum { LOG_LINE_MAX = 512, COMPLAIN_AGAIN_MS = 30000 };

struct later {
	struct link link;
	struct done done;
	enum err err;
};

void redis_core_later(struct redis_core *c, struct done done, enum err err)
{
	struct later *l = mem_zalloc(1, sizeof(*l));

	l->done = done;
	l->err = err;
	list_push(&c->later, &l->link);
}

bool redis_core_answer(struct redis_core *c)
{
	struct link due, *link;
	bool any = !list_empty(&c->later);

	link_init(&due);
	list_splice(&due, &c->later);
	while ((link = list_pop(&due))) {
		struct later l = *container_of(link, struct later, link);

		free(container_of(link, struct later, link));
		done_run(l.done, l.err);
	}
	return any;
}

void redis_core_log(const struct redis_core *c, enum adapter_log_level level,
		    const char *id, const char *fmt, ...)
{
	char text[LOG_LINE_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	c->base.events->on_log(c->base.ctx, level, id, text);
}

void redis_core_complain(const struct redis_core *c, uint64_t *last_ms, const char *id,
			 struct slice error)
{
	uint64_t now = redis_core_now(c);
	struct buf text = BUF_INIT;

	if (*last_ms && now - *last_ms < COMPLAIN_AGAIN_MS)
		return;
	*last_ms = now;
	redis_core_quote(&text, error);
	redis_core_log(c, ADAPTER_LOG_ERROR, id, "error=%s", buf_cstr(&text));
	buf_deinit(&text);
}

void redis_core_quote(struct buf *out, struct slice s)
{
	buf_byte(out, '"');
	for (size_t i = 0; i < s.n; i++) {
		uint8_t c = s.p[i];

		buf_byte(out, c < ' ' || c == 0x7f || c == '"' || c == '\\' ? '\'' : c);
	}
	buf_byte(out, '"');
}

void redis_core_put_mark(const struct redis_core *c, struct buf *out)
{
	struct slice key = buf_view(&c->key);

	if (slice_eq(key, SLICE_LIT("socket.io")))
		return;
	buf_byte(out, '@');
	for (size_t i = 0; i < key.n; i++) {
		uint8_t b = key.p[i];

		if ((b >= 'a' && b <= 'z') || (b >= 'A' && b <= 'Z') ||
		    (b >= '0' && b <= '9') || b == '.' || b == '_' || b == '-')
			buf_byte(out, b);
		else
			buf_printf(out, "%%%02X", b);
	}
}
