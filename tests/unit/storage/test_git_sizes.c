/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes that a server told: the last one counts, and none makes a file seem to be empty. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "origin/git_sizes.h"

static void test_told_and_corrected(void **state)
{
	struct oid some = {.len = 20, .bytes = {1}}, empty;
	struct gitsizes s;
	uint64_t size = 77;

	(void)state;
	assert_int_equal(gitsizes_init(&s), 0);
	assert_int_equal(oid_parse("e69de29bb2d1d6434b8b29ae775ad8c2e48c5391", &empty), 0);
	assert_false(gitsizes_get(&s, &some, &size));
	gitsizes_put(&s, &some, 0);
	assert_false(gitsizes_get(&s, &some, &size));
	gitsizes_put(&s, &some, 5);
	assert_true(gitsizes_get(&s, &some, &size));
	assert_int_equal(size, 5);
	gitsizes_put(&s, &some, 6);
	assert_true(gitsizes_get(&s, &some, &size));
	assert_int_equal(size, 6);
	gitsizes_put(&s, &empty, 6);
	assert_false(gitsizes_get(&s, &empty, &size));
	gitsizes_put(&s, &empty, 0);
	assert_true(gitsizes_get(&s, &empty, &size));
	assert_int_equal(size, 0);
	gitsizes_fini(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_told_and_corrected),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
