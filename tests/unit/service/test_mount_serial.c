// SPDX-License-Identifier: Apache-2.0
/* Numbers of workspaces in a circle: around its end, past those in use, and from a journal that
 * lags. */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

#include "mount/mount_serial.h"

struct used {
	const uint32_t *serials;
	unsigned count, asked;
};

static uint32_t nearest(void *arg, uint32_t after)
{
	struct used *u = arg;
	uint32_t least = 0;

	u->asked++;
	for (unsigned i = 0; i < u->count; i++) {
		uint32_t d = serial_distance(after, u->serials[i]);

		if (!least || d < least)
			least = d;
	}
	return least;
}

static void test_a_tenant_never_runs_out_of_serials(void **state)
{
	struct used none = {.count = 0};
	struct serial_counter c = {.last = 0};

	(void)state;
	for (uint32_t i = 1; i <= SERIAL_MAX; i++)
		if (serial_give(&c, nearest, &none) != i)
			fail_msg("not %u", i);
	assert_int_equal(none.asked, 1);
	assert_int_equal(serial_give(&c, nearest, &none), 1);
	assert_int_equal(serial_give(&c, nearest, &none), 2);
}

static void test_those_in_use_are_passed_over(void **state)
{
	static const uint32_t serials[] = {SERIAL_MAX, 1, 2, 4, SERIAL_MAX - 3};
	struct used used = {serials, 5, 0};
	struct serial_counter c = {.last = SERIAL_MAX - 3};

	(void)state;
	assert_int_equal(serial_give(&c, nearest, &used), SERIAL_MAX - 2);
	assert_int_equal(serial_give(&c, nearest, &used), SERIAL_MAX - 1);
	assert_int_equal(used.asked, 1);
	assert_int_equal(serial_give(&c, nearest, &used), 3);
	assert_int_equal(serial_give(&c, nearest, &used), 5);
	used.asked = 0;
	for (uint32_t i = 6; i < SERIAL_MAX - 3; i++)
		if (serial_give(&c, nearest, &used) != i)
			fail_msg("not %u", i);
	assert_int_equal(used.asked, 0);
	assert_int_equal(serial_give(&c, nearest, &used), SERIAL_MAX - 2);
}

/* The rows of creations that were under way come in any order, also around the end; a mount that
 * was made long ago says nothing. */
static void test_what_is_later_around_the_end(void **state)
{
	struct serial_counter c = {.last = SERIAL_MAX - 1, .clear = 7};

	(void)state;
	assert_true(serial_is_later(1, SERIAL_MAX));
	assert_false(serial_is_later(SERIAL_MAX, 1));
	assert_false(serial_is_later(5, 5));
	assert_true(serial_is_later(SERIAL_MAX, 0)); /* nothing is known but this one */
	serial_note(&c, 2);
	assert_int_equal(c.last, 2);
	assert_int_equal(c.clear, 0);
	serial_note(&c, SERIAL_MAX);
	assert_int_equal(c.last, 2);
	serial_note(&c, SERIAL_MAX / 2); /* of a mount that outlived all others */
	assert_int_equal(c.last, 2);
	serial_note(&c, 3);
	assert_int_equal(c.last, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_tenant_never_runs_out_of_serials),
		cmocka_unit_test(test_those_in_use_are_passed_over),
		cmocka_unit_test(test_what_is_later_around_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
