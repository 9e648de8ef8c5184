/* SPDX-License-Identifier: Apache-2.0 */
/* The system's clocks, the virtual clock of the tests, and conversions. */
#include <stdatomic.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/list.h"

static uint64_t read_clock(clockid_t id)
{
	struct timespec ts = {0};

	(void)clock_gettime(id, &ts); /* fails only for a clock that does not exist */
	return clock_from_timespec(&ts);
}

static uint64_t system_mono(const struct clock *c)
{
	(void)c;
	return read_clock(CLOCK_MONOTONIC);
}

static uint64_t system_wall(const struct clock *c)
{
	(void)c;
	return read_clock(CLOCK_REALTIME);
}

const struct clock clock_system = {.mono_ns = system_mono, .wall_ns = system_wall};

static uint64_t virtual_mono(const struct clock *c)
{
	const struct clock_virtual *v = container_of(c, struct clock_virtual, clock);

	/* acquire: who sees the new time also sees what the test did before it advanced the clock
	 */
	return atomic_load_explicit(&v->mono, memory_order_acquire);
}

static uint64_t virtual_wall(const struct clock *c)
{
	const struct clock_virtual *v = container_of(c, struct clock_virtual, clock);

	return atomic_load_explicit(&v->wall, memory_order_acquire);
}

void clock_virtual_init(struct clock_virtual *v, uint64_t mono_ns, uint64_t wall_ns)
{
	v->clock = (struct clock){.mono_ns = virtual_mono, .wall_ns = virtual_wall};
	atomic_init(&v->mono, mono_ns);
	atomic_init(&v->wall, wall_ns);
}

void clock_virtual_advance(struct clock_virtual *v, uint64_t ns)
{
	/* release: pairs with the acquire of the readers above */
	atomic_fetch_add_explicit(&v->wall, ns, memory_order_release);
	atomic_fetch_add_explicit(&v->mono, ns, memory_order_release);
}

uint64_t clock_after(const struct clock *c, uint64_t delta_ns)
{
	uint64_t sum;

	if (__builtin_add_overflow(clock_mono_ns(c), delta_ns, &sum))
		return NS_NEVER;
	return sum;
}

struct timespec clock_timespec(uint64_t ns)
{
	return (struct timespec){
		.tv_sec = (time_t)(ns / NS_PER_S),
		.tv_nsec = (long)(ns % NS_PER_S),
	};
}

uint64_t clock_from_timespec(const struct timespec *ts)
{
	if (ts->tv_sec < 0)
		return 0;
	if ((uint64_t)ts->tv_sec > UINT64_MAX / NS_PER_S - 1)
		return NS_NEVER;
	return (uint64_t)ts->tv_sec * NS_PER_S + (uint64_t)ts->tv_nsec;
}

const char *clock_rfc3339(uint64_t wall_ns, char *buf, unsigned cap)
{
	struct timespec ts = clock_timespec(wall_ns);
	struct tm tm = {0};

	(void)gmtime_r(
		&ts.tv_sec, &tm); /* 64 bits of ns end in the year 2554: always representable */
	(void)snprintf(buf, cap, "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ", tm.tm_year + 1900,
		tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
		ts.tv_nsec / (long)NS_PER_MS);
	return buf;
}
