/* SPDX-License-Identifier: Apache-2.0 */
/* Notes of what Redis did not have serve once, and not for long. */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

#include "base/clock.h"
#include "blob/blob_redis_missed.h"

#include <stdlib.h>

static void test_a_note_serves_once_and_not_for_long(void **state)
{
	struct l3_missed *m = malloc(sizeof(*m));
	const struct oid a = {20, {1, 2, 3}}, b = {20, {4, 5, 6}};

	(void)state;
	assert_non_null(m);
	l3_missed_init(m);
	assert_false(l3_missed_take(m, &a, NS_PER_S));
	l3_missed_add(m, &a, NS_PER_S);
	assert_false(l3_missed_take(m, &b, NS_PER_S));
	assert_true(l3_missed_take(m, &a, NS_PER_S));
	assert_false(l3_missed_take(m, &a, NS_PER_S));
	l3_missed_add(m, &a, NS_PER_S);
	assert_false(l3_missed_take(m, &a, 2 * NS_PER_S));
	l3_missed_fini(m);
	free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_note_serves_once_and_not_for_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
