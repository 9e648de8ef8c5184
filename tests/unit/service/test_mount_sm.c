/* SPDX-License-Identifier: Apache-2.0 */
/* The table of legal edges of a mount's life. */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

#include "mount/mount_sm.h"

#include <errno.h>
#include <service/mounts.h>

static bool may(enum mount_state from, enum mount_state to)
{
	struct sm sm;

	sm_init(&sm, &mount_sm_table, from);
	return sm_may(&sm, to);
}

static void test_edges(void **state)
{
	(void)state;
	assert_true(may(MOUNT_PROVISIONING, MOUNT_READY));
	assert_true(may(MOUNT_PROVISIONING, MOUNT_FAILED));
	assert_true(may(MOUNT_READY, MOUNT_EXPIRED));
	assert_true(may(MOUNT_READY, MOUNT_DELETING));
	assert_true(may(MOUNT_EXPIRED, MOUNT_DELETING));
	assert_true(may(MOUNT_DELETING, MOUNT_DELETED));
	assert_true(may(MOUNT_FAILED, MOUNT_READY)); /* repaired, at start */
	assert_false(may(MOUNT_READY, MOUNT_DELETED));
	assert_false(may(MOUNT_EXPIRED, MOUNT_READY));
	assert_false(may(MOUNT_DELETING, MOUNT_READY));
	assert_false(may(MOUNT_DELETING, MOUNT_FAILED));
}

static void test_deleted_is_the_end(void **state)
{
	(void)state;
	for (unsigned to = MOUNT_PROVISIONING; to <= MOUNT_EXPIRED; to++)
		assert_false(may(MOUNT_DELETED, (enum mount_state)to));
}

static void test_everything_that_is_not_deleted_can_be_deleted(void **state)
{
	(void)state;
	for (unsigned from = MOUNT_PROVISIONING; from <= MOUNT_EXPIRED; from++)
		if (from != MOUNT_DELETED && from != MOUNT_DELETING)
			assert_true(may((enum mount_state)from, MOUNT_DELETING));
}

static void test_names(void **state)
{
	(void)state;
	assert_string_equal(mount_state_name(MOUNT_PROVISIONING), "PROVISIONING");
	assert_string_equal(mount_state_name(MOUNT_EXPIRED), "EXPIRED");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_edges),
		cmocka_unit_test(test_deleted_is_the_end),
		cmocka_unit_test(test_everything_that_is_not_deleted_can_be_deleted),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
