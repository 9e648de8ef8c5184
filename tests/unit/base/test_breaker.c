/* SPDX-License-Identifier: Apache-2.0 */
/* base/breaker.h: opens after failures in a row, asks once, closes on success. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/breaker.h"

#define FAILURES 3
#define OPEN_MIN 100
#define OPEN_MAX 350

static struct breaker opened(uint64_t now)
{
	struct breaker b;

	breaker_init(&b, FAILURES, OPEN_MIN, OPEN_MAX);
	for (unsigned i = 0; i < FAILURES; i++)
		assert_int_equal(breaker_failure(&b, now), i + 1 == FAILURES);
	assert_int_equal(b.state, BREAKER_OPEN);
	return b;
}

static void a_success_in_between_starts_the_count_anew(void **state)
{
	struct breaker b;

	(void)state;
	breaker_init(&b, FAILURES, OPEN_MIN, OPEN_MAX);
	for (unsigned i = 0; i < 10 * FAILURES; i++) {
		assert_true(breaker_allows(&b, i));
		if (i % FAILURES == FAILURES - 1)
			assert_false(breaker_success(&b));
		else
			assert_false(breaker_failure(&b, i));
	}
	assert_int_equal(b.state, BREAKER_CLOSED);
}

static void open_refuses_until_its_time(void **state)
{
	struct breaker b = opened(1000);

	(void)state;
	assert_false(breaker_allows(&b, 1000));
	assert_false(breaker_allows(&b, 1000 + OPEN_MIN - 1));
	assert_true(breaker_allows(&b, 1000 + OPEN_MIN));
	assert_int_equal(b.state, BREAKER_HALF_OPEN);
}

static void one_trial_at_a_time(void **state)
{
	struct breaker b = opened(0);

	(void)state;
	assert_true(breaker_allows(&b, OPEN_MIN));
	assert_false(breaker_allows(&b, OPEN_MIN));
	assert_true(breaker_success(&b));
	assert_true(breaker_allows(&b, OPEN_MIN));
	assert_true(breaker_allows(&b, OPEN_MIN));
}

static void a_failed_trial_doubles_the_wait_up_to_a_limit(void **state)
{
	const uint64_t waits[] = {OPEN_MIN, 2 * OPEN_MIN, OPEN_MAX, OPEN_MAX};
	struct breaker b = opened(0);
	uint64_t now = 0;

	(void)state;
	for (unsigned i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
		assert_false(breaker_allows(&b, now + waits[i] - 1));
		now += waits[i];
		assert_true(breaker_allows(&b, now));
		assert_true(breaker_failure(&b, now));
	}
	now += OPEN_MAX;
	assert_true(breaker_allows(&b, now));
	assert_true(breaker_success(&b));
	for (unsigned i = 0; i < FAILURES; i++)
		(void)breaker_failure(&b, now);
	assert_true(breaker_allows(&b, now + OPEN_MIN)); /* the wait starts small again */
}

static void late_failures_do_not_prolong(void **state)
{
	struct breaker b = opened(0);

	(void)state;
	assert_false(breaker_failure(&b, OPEN_MIN - 1));
	assert_true(breaker_allows(&b, OPEN_MIN));
}

static void a_lost_trial_is_given_to_the_next(void **state)
{
	struct breaker b = opened(0);

	(void)state;
	assert_true(breaker_allows(&b, OPEN_MIN));
	breaker_forget(&b, OPEN_MIN + 1);
	assert_true(breaker_allows(&b, OPEN_MIN + 1));
	assert_false(breaker_allows(&b, OPEN_MIN + OPEN_MAX)); /* nobody reports */
	assert_true(breaker_allows(&b, OPEN_MIN + 1 + OPEN_MAX));
	breaker_forget(&b, UINT64_MAX);
	assert_true(breaker_allows(&b, UINT64_MAX));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_success_in_between_starts_the_count_anew),
		cmocka_unit_test(open_refuses_until_its_time),
		cmocka_unit_test(one_trial_at_a_time),
		cmocka_unit_test(a_failed_trial_doubles_the_wait_up_to_a_limit),
		cmocka_unit_test(late_failures_do_not_prolong),
		cmocka_unit_test(a_lost_trial_is_given_to_the_next),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
