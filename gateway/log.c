#include "gateway/log.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "adapter/env.h"
#include "gateway/text.h"

static struct {
	enum log_level level;
	bool json;
	unsigned worker;
} setup = {LOG_INFO, false, 0};

static const struct {
	const char *text, *name;
} levels[] = {
	[LOG_ERROR] = {"ERROR", "error"},
	[LOG_WARN] = {"WARN", "warn"},
	[LOG_INFO] = {"INFO", "info"},
	[LOG_DEBUG] = {"DEBUG", "debug"},
};

enum { ARGS_MAX = 32 };

/* An argument of log_event and the conversion it is for. */
struct arg {
	char conversion;
	int precision; /* -1: none */
	union {
		const char *s;
		long i;
		unsigned long u;
		double real;
	};
};

/* What a conversion or template gave: text, or text that is a number in JSON too. */
enum kind { KIND_TEXT, KIND_NUMBER };

static void line_begin(struct buf *line, enum log_level level, const char *id);
static void line_end(struct buf *line);
static void gather(struct arg *out, const char *fmt, va_list args);
static const char *put_field(struct buf *line, const char *fmt, const struct arg **args);

void log_setup(enum log_level level, bool json)
{
	setup.level = level;
	setup.json = json;
}

void log_set_worker(unsigned number)
{
	setup.worker = number;
}

bool log_enabled(enum log_level level)
{
	return level <= setup.level;
}

bool log_level_from(const char *name, enum log_level *level)
{
	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		if (strcmp(levels[i].name, name) == 0) {
			*level = (enum log_level)i;
			return true;
		}
	}
	return false;
}

void log_event(enum log_level level, const char *id, const char *fmt, ...)
{
	struct buf line = BUF_INIT;
	struct arg args[ARGS_MAX] = {0};
	const struct arg *next = args;
	va_list ap;

	if (!log_enabled(level))
		return;
	line_begin(&line, level, id);
	va_start(ap, fmt);
	gather(args, fmt, ap);
	va_end(ap);
	while (*fmt)
		fmt = *fmt == ' ' ? fmt + 1 : put_field(&line, fmt, &next);
	line_end(&line);
	buf_deinit(&line);
}

static void line_begin(struct buf *line, enum log_level level, const char *id)
{
	uint64_t now = env_wall_ms(&env_system);
	time_t seconds = (time_t)(now / 1000);
	char day[32];
	struct tm tm;

	gmtime_r(&seconds, &tm);
	strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
	if (setup.json)
		buf_printf(line,
			   "{\"time\":\"%s.%03uZ\",\"level\":\"%s\",\"event\":\"%s\"",
			   day, (unsigned)(now % 1000), levels[level].name, id);
	else
		buf_printf(line, "%s.%03uZ %s %s", day, (unsigned)(now % 1000),
			   levels[level].text, id);
	if (setup.worker)
		buf_printf(line, setup.json ? ",\"worker\":%u" : " worker=%u",
			   setup.worker);
}

static void line_end(struct buf *line)
{
	struct slice rest;

	buf_str(line, setup.json ? "}\n" : "\n");
	/* One write a line, so that lines of several processes on one pipe do not mix. */
	for (rest = buf_view(line); rest.n;) {
		ssize_t n = write(STDERR_FILENO, rest.p, rest.n);

		if (n > 0)
			rest = slice_skip(rest, (size_t)n);
		else if (n == 0 || errno != EINTR)
			return; /* nobody to tell */
	}
}

/* May it stand in a text line without quotes? */
static bool is_bare(struct slice s)
{
	if (s.n == 0 || s.n > LOG_VALUE_MAX || !text_is_plain(s))
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (strchr(" =\"\\", s.p[i]))
			return false;
	}
	return true;
}

static void put(struct buf *line, struct slice key, struct slice value, enum kind kind)
{
	if (setup.json) {
		buf_str(line, ",\"");
		buf_slice(line, key);
		buf_str(line, "\":");
	} else {
		buf_byte(line, ' ');
		buf_slice(line, key);
		buf_byte(line, '=');
	}
	if (setup.json ? kind == KIND_NUMBER : is_bare(value))
		buf_slice(line, value);
	else
		text_quote(line, value, LOG_VALUE_MAX);
}

/* So that every length but none is the same 64 bits. */
static_assert(sizeof(long) == sizeof(long long), "LP64");
static_assert(sizeof(long) == sizeof(size_t), "LP64");
static_assert(sizeof(long) == sizeof(intmax_t), "LP64");

/* Read the argument of each conversion in `fmt`, in order. */
static void gather(struct arg *out, const char *fmt, va_list args)
{
	const struct arg *end = out + ARGS_MAX;

	for (const char *p = strchr(fmt, '%'); p; p = strchr(p, '%'), out++) {
		bool wide = false;

		assert(out < end);
		out->precision = -1;
		if (*++p == '.' && p[1] == '*') {
			out->precision = va_arg(args, int);
			p += 2;
		} else if (*p == '.') {
			for (out->precision = 0, p++; isdigit((unsigned char)*p); p++)
				out->precision = out->precision * 10 + (*p - '0');
		}
		for (; *p && strchr("hlzj", *p); p++)
			wide = *p != 'h';
		assert(*p);
		out->conversion = *p;
		if (strchr("di", *p))
			out->i = wide ? va_arg(args, long) : va_arg(args, int);
		else if (strchr("ux", *p))
			out->u = wide ? va_arg(args, unsigned long)
				      : va_arg(args, unsigned);
		else if (strchr("fg", *p))
			out->real = va_arg(args, double);
		else if (*p == 's')
			out->s = va_arg(args, const char *);
		else if (*p == 'c')
			out->i = va_arg(args, int);
		else
			assert(*p == '%' && "or a conversion that log.h does not list");
		p++;
	}
}

/* Append the argument as its conversion says. */
static enum kind convert(struct buf *out, const struct arg *arg)
{
	const char *s;

	switch (arg->conversion) {
	case 's':
		s = arg->s ? arg->s : "(null)";
		buf_append(out, s,
			   arg->precision < 0 ? strlen(s)
					      : strnlen(s, (size_t)arg->precision));
		return KIND_TEXT;
	case 'c':
		buf_byte(out, (uint8_t)arg->i);
		return KIND_TEXT;
	case 'd':
	case 'i':
		buf_printf(out, "%ld", arg->i);
		return KIND_NUMBER;
	case 'u':
		buf_printf(out, "%lu", arg->u);
		return KIND_NUMBER;
	case 'x':
		buf_printf(out, "%lx", arg->u);
		return KIND_TEXT;
	case 'f':
	case 'g':
		buf_printf(out, arg->conversion == 'f' ? "%.*f" : "%.*g",
			   arg->precision < 0 ? 6 : arg->precision, arg->real);
		return isfinite(arg->real) ? KIND_NUMBER : KIND_TEXT;
	default:
		buf_byte(out, '%');
		return KIND_TEXT;
	}
}

/* A template up to its end: a space, or the end of `fmt` if it takes the rest. */
static enum kind fill(struct buf *out, const char **fmt, bool rest,
		      const struct arg **args)
{
	enum kind kind = KIND_TEXT;
	size_t parts = 0;

	for (; **fmt && (rest || **fmt != ' '); parts++) {
		if (**fmt != '%') {
			buf_byte(out, (uint8_t) * (*fmt)++);
			kind = KIND_TEXT;
			continue;
		}
		*fmt = strchr(*fmt + 1, (*args)->conversion) + 1;
		kind = convert(out, (*args)++);
	}
	return parts == 1 ? kind : KIND_TEXT;
}

static size_t key_length(struct slice s)
{
	size_t n = 0;

	while (n < s.n && (isalnum(s.p[n]) || s.p[n] == '_'))
		n++;
	return n;
}

static bool is_number(struct slice s)
{
	size_t i = s.n && s.p[0] == '-';

	/* Fifteen digits survive in a double, which is what readers of JSON have. */
	if (i == s.n || s.n - i > 15 || (s.p[i] == '0' && s.n - i > 1))
		return false;
	for (; i < s.n; i++) {
		if (!isdigit(s.p[i]))
			return false;
	}
	return true;
}

/* The value at the head of *text, up to a space or the closing quote. */
static void take_value(struct slice *text, bool rest, struct buf *value)
{
	bool quoted = text->n && text->p[0] == '"';
	size_t i = quoted;

	for (; i < text->n; i++) {
		uint8_t c = text->p[i];

		if (quoted ? c == '"' : c == ' ' && !rest)
			break;
		if (quoted && c == '\\' && i + 1 < text->n)
			c = text->p[++i];
		buf_byte(value, c);
	}
	*text = slice_skip(*text, i < text->n ? i + 1 : i);
}

/* A text of ready fields. What is none becomes the field msg, with all behind it. */
static void put_fields(struct buf *line, struct slice text)
{
	struct buf value = BUF_INIT;

	while (text.n) {
		struct slice key = slice_of(text.p, key_length(text));
		bool quoted;

		if (text.p[0] == ' ') {
			text = slice_skip(text, 1);
			continue;
		}
		buf_clear(&value);
		if (key.n == 0 || key.n == text.n || text.p[key.n] != '=') {
			put(line, SLICE_LIT("msg"), text, KIND_TEXT);
			break;
		}
		text = slice_skip(text, key.n + 1);
		quoted = text.n && text.p[0] == '"';
		take_value(&text, slice_eq(key, SLICE_LIT("msg")), &value);
		put(line, key, buf_view(&value),
		    !quoted && is_number(buf_view(&value)) ? KIND_NUMBER : KIND_TEXT);
	}
	buf_deinit(&value);
}

/* One field of `fmt`; returns what is behind it. */
static const char *put_field(struct buf *line, const char *fmt, const struct arg **args)
{
	struct slice key = slice_of(fmt, key_length(slice_str(fmt)));
	struct buf value = BUF_INIT;

	if (key.n == 0) {
		assert(*fmt == '%');
		fill(&value, &fmt, false, args);
		put_fields(line, buf_view(&value));
	} else {
		enum kind kind;

		assert(fmt[key.n] == '=');
		fmt += key.n + 1;
		kind = fill(&value, &fmt, slice_eq(key, SLICE_LIT("msg")), args);
		put(line, key, buf_view(&value), kind);
	}
	buf_deinit(&value);
	return fmt;
}
