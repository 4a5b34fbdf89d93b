/* Time and randomness come in through this one struct, so that tests run hours in
 * milliseconds and repeat a run from its seed. */
#ifndef GATEHOUSE_ADAPTER_ENV_H
#define GATEHOUSE_ADAPTER_ENV_H

#include <stddef.h>
#include <stdint.h>

struct env {
	/* Milliseconds that never go back; only differences mean something. */
	uint64_t (*now_ms)(void *ctx);
	/* Milliseconds since 1970 UTC, for what people and tokens see. */
	uint64_t (*wall_ms)(void *ctx);
	/* Fill `out` with bytes nobody can guess. */
	void (*random)(void *ctx, void *out, size_t n);
	void *ctx;
};

/* The real one: the system's clocks and getrandom(2). */
extern const struct env env_system;

static inline uint64_t env_now_ms(const struct env *e)
{
	return e->now_ms(e->ctx);
}

/* From `now` until `at`; 0 if that is over. */
static inline uint64_t env_ms_left(uint64_t at, uint64_t now)
{
	return at > now ? at - now : 0;
}

static inline uint64_t env_wall_ms(const struct env *e)
{
	return e->wall_ms(e->ctx);
}

static inline void env_random(const struct env *e, void *out, size_t n)
{
	e->random(e->ctx, out, n);
}

#endif
