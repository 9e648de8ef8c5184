/* SPDX-License-Identifier: Apache-2.0 */
/* base/clock.h: the system's time moves, the tests' time only when told to, nothing overflows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"

static void system_clocks(void **state)
{
	uint64_t before = clock_mono_ns(&clock_system);
	struct timespec now;

	(void)state;
	assert_int_equal(clock_gettime(CLOCK_REALTIME, &now), 0);
	assert_true(clock_mono_ns(&clock_system) >= before);
	assert_true(clock_wall_ns(&clock_system) >= clock_from_timespec(&now));
	assert_true(clock_wall_ns(&clock_system) - clock_from_timespec(&now) < 60 * NS_PER_S);
}

static void virtual_clock_moves_only_when_told(void **state)
{
	struct clock_virtual v;

	(void)state;
	clock_virtual_init(&v, 5, 1000);
	assert_int_equal(clock_mono_ns(&v.clock), 5);
	assert_int_equal(clock_mono_ns(&v.clock), 5);
	clock_virtual_advance(&v, 10);
	assert_int_equal(clock_mono_ns(&v.clock), 15);
	assert_int_equal(clock_wall_ns(&v.clock), 1010);
}

static void after_does_not_overflow(void **state)
{
	struct clock_virtual v;

	(void)state;
	clock_virtual_init(&v, 100, 0);
	assert_int_equal(clock_after(&v.clock, 1), 101);
	assert_int_equal(clock_after(&v.clock, NS_NEVER), NS_NEVER);
	assert_int_equal(clock_after(&v.clock, NS_NEVER - 50), NS_NEVER);
}

static void timespec_both_ways(void **state)
{
	struct timespec ts = clock_timespec(3 * NS_PER_S + 7);

	(void)state;
	assert_int_equal(ts.tv_sec, 3);
	assert_int_equal(ts.tv_nsec, 7);
	assert_int_equal(clock_from_timespec(&ts), 3 * NS_PER_S + 7);
	assert_int_equal(clock_from_timespec(&(struct timespec){.tv_sec = -1}), 0);
	assert_int_equal(clock_from_timespec(&(struct timespec){.tv_sec = INT64_MAX}), NS_NEVER);
}

static void rfc3339(void **state)
{
	char text[32];

	(void)state;
	assert_string_equal(clock_rfc3339(0, text, sizeof(text)), "1970-01-01T00:00:00.000Z");
	assert_string_equal(clock_rfc3339(1795300560ull * NS_PER_S + 123456789, text, sizeof(text)),
		"2026-11-21T22:36:00.123Z");
	assert_string_equal(
		clock_rfc3339(UINT64_MAX, text, sizeof(text)), "2554-07-21T23:34:33.709Z");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(system_clocks),
		cmocka_unit_test(virtual_clock_moves_only_when_told),
		cmocka_unit_test(after_does_not_overflow),
		cmocka_unit_test(timespec_both_ways),
		cmocka_unit_test(rfc3339),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
