/* The log: one event, one line on standard error, as text or as JSON. An event has a
 * stable id (`conn_closed`) and key=value fields; what may repeat per message is a
 * counter in metrics.h instead.
 *
 *     2026-01-31T12:00:00.123Z INFO conn_closed conn=k3…Xw reason=ping_timeout
 *     {"time":"…","level":"info","event":"conn_closed","conn":"k3…Xw","reason":"…"}
 *
 * Whatever a client chose may be logged as it is: a value is quoted where it has to be
 * and cut after LOG_VALUE_MAX bytes, so it can neither end its line nor add a field. */
#ifndef GATEHOUSE_GATEWAY_LOG_H
#define GATEHOUSE_GATEWAY_LOG_H

#include <stdbool.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

enum { LOG_VALUE_MAX = 1000 };

/* Set once at start. Until then: text, info. */
void log_setup(enum log_level level, bool json);
/* Lines of a worker have its number as their first field, `worker`; 0: none. */
void log_set_worker(unsigned number);
bool log_enabled(enum log_level level);
/* From "error", "warn", "info" or "debug". False: none of these. */
bool log_level_from(const char *name, enum log_level *level);

/* `fmt` gives the fields: "conn=%s room=%.*s count=%zu". The spaces in `fmt` part them,
 * those in arguments do not; the field `msg` stands last and takes the rest of `fmt`.
 * A %s that stands alone ("conn=%s %s") is a text of ready fields, as the adapter makes
 * them: key=value or key="quoted value", quotes and backslashes escaped by backslashes.
 * Conversions: s d i u x c f g %, with h l ll z j and a precision for s, f and g. In JSON
 * a field that is one conversion of a number is a number. */
void log_event(enum log_level level, const char *id, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
