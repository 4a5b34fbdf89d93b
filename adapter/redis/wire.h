/* One try to reach a server: resolve, connect, then bytes both ways, until it breaks or
 * is closed. It never tries again; redis_link makes the next wire.
 *
 * wire_close detaches it at once: no callback follows, and it frees itself when libuv has
 * let go of its handle. So a link can begin its next wire while the last one still ends.
 */
#ifndef GATEHOUSE_ADAPTER_REDIS_WIRE_H
#define GATEHOUSE_ADAPTER_REDIS_WIRE_H

#include <uv.h>

#include "proto/buf.h"

struct wire_events {
	void (*on_open)(void *ctx);
	/* `p` is valid for the call; the wire may be closed in it. */
	void (*on_read)(void *ctx, const uint8_t *p, size_t n);
	/* Nothing follows but wire_close, which the owner calls. `why` is one line. */
	void (*on_broken)(void *ctx, const char *why);
};

struct wire_target {
	const char *host; /* NULL: `path` */
	uint16_t port;
	const char *path;
};

struct wire;

/* `handles` counts the handles libuv still holds, for the owner's own end; it outlives
 * them. NULL: it could not even begin, *why says so. */
struct wire *wire_open(uv_loop_t *loop, const struct wire_target *target,
		       const struct wire_events *events, void *ctx, size_t *handles,
		       const char **why);
/* Send what `out` holds as far as it goes and queue the rest; `out` is empty afterwards,
 * unless an earlier rest is still on its way: then it is unchanged, and the caller comes
 * again. False: broken; on_broken is not called. */
bool wire_send(struct wire *w, struct buf *out);
/* While it connects: of the addresses of a host each has an equal share of the time until
 * `due_ms`, so that one that says nothing does not keep it from the next. The owner ends
 * the try itself at `due_ms`. */
void wire_tick(struct wire *w, uint64_t now, uint64_t due_ms);
/* Bytes queued in libuv. */
size_t wire_backlog(const struct wire *w);
void wire_close(struct wire *w);

#endif
