/* SPDX-License-Identifier: Apache-2.0 */
/* Keys of sessions: stale ones find nothing, retiring waits for users, under several threads too.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "session/slots.h"

#include <base/clock.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

/* The table never looks into a session. */
static struct session *fake(uintptr_t n)
{
	return (struct session *)(n << 4);
}

static void test_stale_keys_find_nothing(void **state)
{
	struct slots *t = slots_new();
	uint64_t first, second;

	(void)state;
	assert_non_null(t);
	assert_int_equal(slots_claim(t, fake(1), &first), 0);
	assert_ptr_equal(slots_ref(t, first), fake(1));
	slots_unref(t, first);
	assert_true(slots_retire(t, first, 0));
	assert_null(slots_ref(t, first));
	assert_int_equal(slots_claim(t, fake(2), &second), 0);
	assert_int_not_equal(first, second); /* the same slot, another generation */
	assert_null(slots_ref(t, first));
	assert_ptr_equal(slots_ref(t, second), fake(2));
	slots_unref(t, second);
	assert_null(slots_ref(t, UINT64_MAX));
	assert_true(slots_retire(t, second, 0));
	assert_null(slots_free(t));
}

static void test_retire_waits_for_users(void **state)
{
	struct slots *t = slots_new();
	uint64_t key, other;

	(void)state;
	assert_int_equal(slots_claim(t, fake(1), &key), 0);
	assert_non_null(slots_ref(t, key));
	assert_false(slots_retire(t, key, clock_after(&clock_system, NS_PER_MS)));
	assert_null(slots_ref(t, key)); /* no new users */
	slots_unref(t, key);
	assert_int_equal(slots_claim(t, fake(2), &other), 0);
	assert_int_not_equal(key >> 32, other >> 32); /* a lost slot is not used again */
	assert_true(slots_retire(t, other, 0));
	assert_null(slots_free(t));
}

static void test_full_table(void **state)
{
	struct slots *t = slots_new();
	uint64_t key;

	(void)state;
	for (unsigned i = 0; i < SLOTS_MAX; i++)
		assert_int_equal(slots_claim(t, fake(i + 1), &key), 0);
	assert_int_equal(slots_claim(t, fake(1), &key), -EMFILE);
	assert_true(slots_retire(t, key, 0));
	assert_int_equal(slots_claim(t, fake(1), &key), 0);
	assert_null(slots_free(t));
}

struct user {
	struct slots *t;
	_Atomic uint64_t key;
	_Atomic bool stop;
	_Atomic unsigned inside, hits;
};

static void *use(void *arg)
{
	struct user *u = arg;

	while (!atomic_load(&u->stop)) {
		uint64_t key = atomic_load(&u->key);

		if (!slots_ref(u->t, key))
			continue;
		atomic_fetch_add(&u->inside, 1);
		atomic_fetch_add(&u->hits, 1);
		atomic_fetch_sub(&u->inside, 1);
		slots_unref(u->t, key);
	}
	return NULL;
}

static void test_users_race_with_retiring(void **state)
{
	struct user u = {.t = slots_new()};
	pthread_t thread[2];

	(void)state;
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, use, &u), 0);
	for (unsigned i = 0; i < 500 || (atomic_load(&u.hits) == 0 && i < 100000); i++) {
		uint64_t key;

		assert_int_equal(slots_claim(u.t, fake(1), &key), 0);
		atomic_store(&u.key, key);
		assert_true(slots_retire(u.t, key, clock_after(&clock_system, 10 * NS_PER_S)));
		assert_int_equal(atomic_load(&u.inside), 0); /* nobody uses it after */
	}
	atomic_store(&u.stop, true);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_join(thread[i], NULL), 0);
	assert_null(slots_free(u.t));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stale_keys_find_nothing),
		cmocka_unit_test(test_retire_waits_for_users),
		cmocka_unit_test(test_full_table),
		cmocka_unit_test(test_users_race_with_retiring),
	};

	return cmocka_run_group_tests_name("slots", tests, NULL, NULL);
}
