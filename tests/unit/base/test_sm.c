/* SPDX-License-Identifier: Apache-2.0 */
/* base/sm.h: only legal edges move the machine. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/sm.h"

enum { OFF, ON, BROKEN };
static const struct sm_state states[] = {
	[OFF] = {"OFF", SM_BIT(ON)},
	[ON] = {"ON", SM_BIT(OFF) | SM_BIT(BROKEN)},
	[BROKEN] = {"BROKEN", 0},
};
static const struct sm_table lamp = {"lamp", states, 3};

static void legal_moves(void **state)
{
	struct sm m;

	(void)state;
	sm_init(&m, &lamp, OFF);
	assert_true(sm_may(&m, ON));
	assert_int_equal(sm_move(&m, ON), 0);
	assert_int_equal(m.state, ON);
	assert_int_equal(sm_move(&m, BROKEN), 0);
}

static void illegal_moves_change_nothing(void **state)
{
	struct sm m;

	(void)state;
	sm_init(&m, &lamp, OFF);
	assert_false(sm_may(&m, BROKEN));
	assert_int_equal(sm_move(&m, BROKEN), -EINVAL);
	assert_int_equal(sm_move(&m, OFF), -EINVAL);
	assert_int_equal(sm_move(&m, 3), -EINVAL);
	assert_int_equal(sm_move(&m, 40), -EINVAL);
	assert_int_equal(m.state, OFF);
}

static void names_both_ways(void **state)
{
	(void)state;
	assert_string_equal(sm_name(&lamp, BROKEN), "BROKEN");
	assert_string_equal(sm_name(&lamp, 99), "UNKNOWN");
	assert_int_equal(sm_parse(&lamp, "ON"), ON);
	assert_int_equal(sm_parse(&lamp, "on"), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(legal_moves),
		cmocka_unit_test(illegal_moves_change_nothing),
		cmocka_unit_test(names_both_ways),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
