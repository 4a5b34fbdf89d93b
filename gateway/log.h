/* The log: one event, one line on standard error, as text or as JSON. An event has a
 * stable id (`conn_closed`) and key=value fields; what may repeat per message is a
 * counter in metrics.h instead. */
#ifndef GATEHOUSE_GATEWAY_LOG_H
#define GATEHOUSE_GATEWAY_LOG_H

#include <stdbool.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* Set once at start. Until then: text, info. */
void log_setup(enum log_level level, bool json);
bool log_enabled(enum log_level level);

/* `fmt` gives the fields as `key=value key=value`; a value that may hold spaces or quotes
 * is written as key=%s through log_quote'd text or is the last one, named `msg`, which
 * takes the rest of the line. Control characters are escaped in both formats. */
void log_event(enum log_level level, const char *id, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
