/* SPDX-License-Identifier: Apache-2.0 */
/* When Redis is asked, by a clock of our own. */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

#include "base/clock.h"
#include "blob/blob_redis_breaker.h"

static void fail_three(struct l3_breaker *b)
{
	assert_false(l3_breaker_failed(b));
	assert_false(l3_breaker_failed(b));
	assert_true(l3_breaker_failed(b));
}

static void test_it_opens_after_three_in_a_row_and_probes(void **state)
{
	struct clock_virtual clock;
	struct l3_breaker b;

	(void)state;
	clock_virtual_init(&clock, NS_PER_S, 0);
	l3_breaker_init(&b, &clock.clock);
	assert_false(l3_breaker_failed(&b));
	assert_false(l3_breaker_failed(&b));
	assert_false(l3_breaker_succeeded(&b)); /* no row */
	fail_three(&b);
	assert_int_equal(l3_breaker_state(&b), L3_DOWN);
	assert_false(l3_breaker_allow(&b));
	clock_virtual_advance(&clock, 249 * NS_PER_MS);
	assert_false(l3_breaker_allow(&b));
	clock_virtual_advance(&clock, 65 * NS_PER_MS); /* and the jitter */
	assert_true(l3_breaker_allow(&b));
	assert_int_equal(l3_breaker_state(&b), L3_PROBING);
	assert_false(l3_breaker_allow(&b)); /* one probe at a time */
	assert_true(l3_breaker_succeeded(&b));
	assert_int_equal(l3_breaker_state(&b), L3_UP);
	assert_true(l3_breaker_allow(&b));
	l3_breaker_fini(&b);
}

static void test_each_failed_probe_waits_longer_up_to_a_limit(void **state)
{
	struct clock_virtual clock;
	struct l3_breaker b;
	uint64_t wait_ns = 250 * NS_PER_MS;

	(void)state;
	clock_virtual_init(&clock, NS_PER_S, 0);
	l3_breaker_init(&b, &clock.clock);
	fail_three(&b);
	for (unsigned i = 0; i < 10; i++) {
		clock_virtual_advance(&clock, wait_ns - 1);
		assert_false(l3_breaker_allow(&b));
		clock_virtual_advance(&clock, wait_ns / 4 + 1);
		assert_true(l3_breaker_allow(&b));
		assert_false(l3_breaker_failed(&b)); /* no edge: it was down before */
		wait_ns = wait_ns * 2 < 10 * NS_PER_S ? wait_ns * 2 : 10 * NS_PER_S;
	}
	assert_int_equal(wait_ns, 10 * NS_PER_S);
	l3_breaker_fini(&b);
}

static void test_a_probe_that_says_nothing_leaves_the_door_ajar(void **state)
{
	struct clock_virtual clock;
	struct l3_breaker b;

	(void)state;
	clock_virtual_init(&clock, NS_PER_S, 0);
	l3_breaker_init(&b, &clock.clock);
	fail_three(&b);
	clock_virtual_advance(&clock, NS_PER_S);
	assert_true(l3_breaker_allow(&b));
	l3_breaker_forget(&b);
	assert_true(l3_breaker_allow(&b));
	assert_false(l3_breaker_allow(&b));
	clock_virtual_advance(&clock, 11 * NS_PER_S); /* it was lost */
	assert_true(l3_breaker_allow(&b));
	l3_breaker_fini(&b);
}

static void test_jitter_differs(void **state)
{
	struct clock_virtual clock;
	struct l3_breaker b[8];
	unsigned early = 0;

	(void)state;
	for (unsigned i = 0; i < 8; i++) {
		clock_virtual_init(&clock, NS_PER_S + i * 7919, 0);
		l3_breaker_init(&b[i], &clock.clock);
		fail_three(&b[i]);
		clock_virtual_advance(&clock, 281 * NS_PER_MS); /* the middle */
		early += l3_breaker_allow(&b[i]) ? 1 : 0;
		l3_breaker_fini(&b[i]);
	}
	assert_in_range(early, 1, 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_it_opens_after_three_in_a_row_and_probes),
		cmocka_unit_test(test_each_failed_probe_waits_longer_up_to_a_limit),
		cmocka_unit_test(test_a_probe_that_says_nothing_leaves_the_door_ajar),
		cmocka_unit_test(test_jitter_differs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
