/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time as an object that is passed in, so that tests own it. Monotonic nanoseconds for waits and
 * deadlines, wall-clock nanoseconds since the epoch for what is shown or stored. A virtual clock
 * moves only when told to.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define NS_PER_US UINT64_C(1000)
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S  UINT64_C(1000000000)
#define NS_NEVER  UINT64_MAX

struct clock {
	uint64_t (*mono_ns)(const struct clock *c);
	uint64_t (*wall_ns)(const struct clock *c);
};

/* The system's clocks. Const, never freed. */
extern const struct clock clock_system;

struct clock_virtual {
	struct clock clock; /* pass &v.clock */
	_Atomic uint64_t mono;
	_Atomic uint64_t wall;
};
void clock_virtual_init(struct clock_virtual *v, uint64_t mono_ns, uint64_t wall_ns);
void clock_virtual_advance(struct clock_virtual *v, uint64_t ns);

static inline uint64_t clock_mono_ns(const struct clock *c)
{
	return c->mono_ns(c);
}

static inline uint64_t clock_wall_ns(const struct clock *c)
{
	return c->wall_ns(c);
}

/* now + delta without overflow; NS_NEVER stays NS_NEVER. */
uint64_t clock_after(const struct clock *c, uint64_t delta_ns);
struct timespec clock_timespec(uint64_t ns);
uint64_t clock_from_timespec(const struct timespec *ts);
/* RFC 3339 in UTC with milliseconds, e.g. 2026-11-21T22:36:00.123Z. `buf` of at least 32 bytes. */
const char *clock_rfc3339(uint64_t wall_ns, char *buf, unsigned cap);
