/* SPDX-License-Identifier: Apache-2.0 */
/* base/quota.h: a charge fits everywhere or changes nothing, also from many threads at once. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/quota.h"
#include "death.h"

#define THREADS 4
#define ROUNDS  5000

static void charge_up_to_the_limit(void **state)
{
	struct quota q;

	(void)state;
	quota_init(&q, NULL);
	assert_int_equal(quota_charge(&q, QUOTA_BYTES, 1 << 20), 0);
	quota_set_limit(&q, QUOTA_INODES, 2);
	assert_int_equal(quota_charge(&q, QUOTA_INODES, 2), 0);
	assert_int_equal(quota_charge(&q, QUOTA_INODES, 1), -EDQUOT);
	assert_int_equal(quota_used(&q, QUOTA_INODES), 2);
	assert_int_equal(quota_refused(&q, QUOTA_INODES), 1);
	assert_int_equal(quota_refused(&q, QUOTA_BYTES), 0);
	quota_release(&q, QUOTA_INODES, 1);
	assert_int_equal(quota_charge(&q, QUOTA_INODES, 1), 0);
	assert_int_equal(quota_limit(&q, QUOTA_INODES), 2);
}

static void refusal_by_the_parent_changes_nothing(void **state)
{
	struct quota tenant, workspace;

	(void)state;
	quota_init(&tenant, NULL);
	quota_init(&workspace, &tenant);
	quota_set_limit(&tenant, QUOTA_BYTES, 100);
	quota_set_limit(&workspace, QUOTA_BYTES, 1000);
	assert_int_equal(quota_charge(&workspace, QUOTA_BYTES, 60), 0);
	assert_int_equal(quota_charge(&workspace, QUOTA_BYTES, 41), -EDQUOT);
	assert_int_equal(quota_used(&workspace, QUOTA_BYTES), 60);
	assert_int_equal(quota_used(&tenant, QUOTA_BYTES), 60);
	assert_int_equal(quota_refused(&tenant, QUOTA_BYTES), 1);
	assert_int_equal(quota_available(&workspace, QUOTA_BYTES), 40);
	quota_fini(&workspace);
	assert_int_equal(quota_used(&tenant, QUOTA_BYTES), 0);
}

static void lowered_limit_takes_nothing_away(void **state)
{
	struct quota q;

	(void)state;
	quota_init(&q, NULL);
	assert_int_equal(quota_charge(&q, QUOTA_BYTES, 50), 0);
	quota_set_limit(&q, QUOTA_BYTES, 10);
	assert_int_equal(quota_used(&q, QUOTA_BYTES), 50);
	assert_int_equal(quota_available(&q, QUOTA_BYTES), 0);
	assert_int_equal(quota_charge(&q, QUOTA_BYTES, 1), -EDQUOT);
	assert_int_equal(quota_charge(&q, QUOTA_BYTES, 0), 0);
}

static void a_limit_of_zero(void **state)
{
	struct quota q;

	(void)state;
	quota_init(&q, NULL);
	quota_set_limit(&q, QUOTA_MOUNTS, 0);
	assert_int_equal(quota_charge(&q, QUOTA_MOUNTS, 1), -EDQUOT);
	quota_charge_force(&q, QUOTA_MOUNTS, 3);
	assert_int_equal(quota_used(&q, QUOTA_MOUNTS), 3);
}

static void nothing_wraps_around(void **state)
{
	struct quota q;

	(void)state;
	quota_init(&q, NULL);
	assert_int_equal(quota_available(&q, QUOTA_BYTES), QUOTA_UNLIMITED);
	assert_int_equal(quota_charge(&q, QUOTA_BYTES, UINT64_MAX - 1), 0);
	assert_int_equal(quota_charge(&q, QUOTA_BYTES, 2), -EDQUOT);
	quota_charge_force(&q, QUOTA_BYTES, 100);
	assert_int_equal(quota_used(&q, QUOTA_BYTES), UINT64_MAX);
}

static void release_too_much(void)
{
	struct quota tenant, workspace;

	quota_init(&tenant, NULL);
	quota_init(&workspace, &tenant);
	quota_charge_force(&tenant, QUOTA_BYTES, 10);
	quota_charge_force(&workspace, QUOTA_BYTES, 5);
	quota_release(&workspace, QUOTA_BYTES, 100);
	/* only reached without assertions: what the parent holds for others stays */
	if (quota_used(&workspace, QUOTA_BYTES) != 0 || quota_used(&tenant, QUOTA_BYTES) != 10)
		_Exit(1);
}

static void giving_back_too_much_is_a_bug_and_clamped(void **state)
{
	struct death d = death_of(release_too_much);

	(void)state;
#ifdef NDEBUG
	assert_int_equal(d.exit_code, 0);
#else
	assert_true(d.aborted);
	assert_non_null(strstr(d.output, "more given back"));
#endif
}

struct race {
	struct quota *workspace;
	unsigned long held;
};

/* Charge and release at random sizes; never above the limit, and keep some at the end. */
static void *charge_and_release(void *arg)
{
	struct race *race = arg;

	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t amount = i % 7 + 1;

		if (quota_charge(race->workspace, QUOTA_BYTES, amount) < 0)
			continue;
		if (quota_used(race->workspace->parent, QUOTA_BYTES) > 10)
			return (void *)"above the limit";
		if (i % 1000 == 0)
			race->held += amount;
		else
			quota_release(race->workspace, QUOTA_BYTES, amount);
	}
	return NULL;
}

static void threads_never_pass_the_limit(void **state)
{
	struct quota tenant, workspace[THREADS];
	struct race race[THREADS];
	pthread_t threads[THREADS];
	uint64_t held = 0;

	(void)state;
	quota_init(&tenant, NULL);
	quota_set_limit(&tenant, QUOTA_BYTES, 10);
	for (int i = 0; i < THREADS; i++) {
		quota_init(&workspace[i], &tenant);
		race[i] = (struct race){.workspace = &workspace[i]};
		assert_int_equal(
			pthread_create(&threads[i], NULL, charge_and_release, &race[i]), 0);
	}
	for (int i = 0; i < THREADS; i++) {
		void *problem;

		assert_int_equal(pthread_join(threads[i], &problem), 0);
		assert_null(problem);
		assert_int_equal(quota_used(&workspace[i], QUOTA_BYTES), race[i].held);
		held += race[i].held;
	}
	assert_int_equal(quota_used(&tenant, QUOTA_BYTES), held);
	for (int i = 0; i < THREADS; i++)
		quota_fini(&workspace[i]);
	assert_int_equal(quota_used(&tenant, QUOTA_BYTES), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(charge_up_to_the_limit),
		cmocka_unit_test(refusal_by_the_parent_changes_nothing),
		cmocka_unit_test(lowered_limit_takes_nothing_away),
		cmocka_unit_test(a_limit_of_zero),
		cmocka_unit_test(nothing_wraps_around),
		cmocka_unit_test(giving_back_too_much_is_a_bug_and_clamped),
		cmocka_unit_test(threads_never_pass_the_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
