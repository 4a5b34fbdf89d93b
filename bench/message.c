#include "bench/message.h"

#include <assert.h>
#include <inttypes.h>

#include "proto/json.h"

#define MARK "gh~"

void message_write(struct buf *out, const struct message *m, size_t size)
{
	size_t end = out->n + size;

	assert(size >= MESSAGE_SIZE_MIN);
	buf_printf(out, MARK "%08" PRIx32 "~%" PRIu32 "~%" PRIu64 "~%" PRIu64 "~", m->run,
		   m->room, m->number, m->due_ns);
	assert(out->n <= end);
	memset(buf_reserve(out, end - out->n), 'x', end - out->n);
	buf_commit(out, end - out->n);
}

/* A number up to the next '~'. */
static bool take_number(struct slice *s, unsigned base, uint64_t *value)
{
	size_t i = 0;

	for (*value = 0; i < s->n && s->p[i] != '~'; i++) {
		unsigned c = s->p[i];
		unsigned digit = c >= 'a' ? c - 'a' + 10 : c - '0';

		if (digit >= base || *value > (UINT64_MAX - digit) / base)
			return false;
		*value = *value * base + digit;
	}
	if (i == 0 || i == s->n)
		return false;
	*s = slice_skip(*s, i + 1);
	return true;
}

static bool read_numbers(struct slice text, uint32_t run, struct message *m)
{
	uint64_t its_run, room;

	if (!take_number(&text, 16, &its_run) || its_run != run ||
	    !take_number(&text, 10, &room) || room > UINT32_MAX ||
	    !take_number(&text, 10, &m->number) || !take_number(&text, 10, &m->due_ns))
		return false;
	m->run = run;
	m->room = (uint32_t)room;
	return true;
}

enum err message_find(struct slice text, uint32_t run, struct message *m)
{
	const uint8_t *at;

	while ((at = memmem(text.p, text.n, MARK, sizeof(MARK) - 1))) {
		struct message found;

		text = slice_skip(text, (size_t)(at - text.p) + sizeof(MARK) - 1);
		if (read_numbers(text, run, &found)) {
			*m = found;
			return ERR_OK;
		}
	}
	return ERR_NOT_FOUND;
}

/* Append `template` with its placeholders filled in. */
static void fill(struct buf *out, const char *template, const struct event *e)
{
	const char *brace;

	while ((brace = strchr(template, '{'))) {
		buf_append(out, template, (size_t)(brace - template));
		if (strncmp(brace, "{room}", 6) == 0) {
			buf_slice(out, e->room);
			template = brace + 6;
		} else if (strncmp(brace, "{message}", 9) == 0) {
			buf_slice(out, e->message);
			template = brace + 9;
		} else if (strncmp(brace, "{conn}", 6) == 0) {
			buf_printf(out, "%" PRIu32, e->conn);
			template = brace + 6;
		} else {
			buf_byte(out, '{');
			template = brace + 1;
		}
	}
	buf_str(out, template);
}

void message_event(struct buf *out, const char *template, const struct event *e)
{
	buf_str(out, "42");
	buf_slice(out, e->nsp);
	if (e->id >= 0)
		buf_printf(out, "%" PRId64, e->id);
	fill(out, template, e);
}

enum err message_template_check(const char *template, bool needs_message)
{
	const struct event e = {.room = SLICE_LIT("r"), .message = SLICE_LIT("m")};
	struct buf text = BUF_INIT, mp = BUF_INIT;
	enum err err = ERR_OK;

	fill(&text, template, &e);
	if (!slice_starts(buf_view(&text), SLICE_LIT("[\"")) ||
	    json_to_mp(buf_view(&text), NULL, &mp) != ERR_OK)
		err = ERR_SYNTAX;
	else if (needs_message && !strstr(template, "{message}"))
		err = ERR_NOT_FOUND;
	buf_deinit(&text);
	buf_deinit(&mp);
	return err;
}
