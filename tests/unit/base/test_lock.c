/* SPDX-License-Identifier: Apache-2.0 */
/* base/lock.h: mutual exclusion works, and debug builds abort on an order that could deadlock. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/lock.h"
#include "death.h"

#define THREADS 4
#define ROUNDS  20000

/* With assertions: aborted, both words in the message. Without: the check is not there, and nothing
 * happens. */
static void expect_abort(void (*fn)(void), const char *word, const char *other)
{
	struct death d = death_of(fn);

#ifdef NDEBUG
	(void)word, (void)other;
	assert_int_equal(d.exit_code, 0);
#else
	assert_true(d.aborted);
	assert_non_null(strstr(d.output, word));
	assert_non_null(strstr(d.output, other));
#endif
}

static void wrong_order(void)
{
	struct lock kv, mounts;

	lock_init(&kv, LOCK_RANK_KV);
	lock_init(&mounts, LOCK_RANK_MOUNTS);
	LOCK_GUARD(&kv);
	LOCK_GUARD(&mounts);
}

static void two_of_one_rank(void)
{
	struct lock a, b;

	lock_init(&a, LOCK_RANK_BLOB);
	lock_init(&b, LOCK_RANK_BLOB);
	LOCK_GUARD(&a);
	LOCK_GUARD(&b);
}

static void read_under_write_of_higher_rank(void)
{
	struct rwlock dir;
	struct lock leaf;

	rwlock_init(&dir, LOCK_RANK_OVL_DIR);
	lock_init(&leaf, LOCK_RANK_LEAF);
	LOCK_GUARD(&leaf);
	RWLOCK_READ_GUARD(&dir);
}

static void pair_and_a_third(void)
{
	struct lock dir[3];

	for (int i = 0; i < 3; i++)
		lock_init(&dir[i], LOCK_RANK_OVL_DIR);
	lock_acquire_pair(&dir[2], &dir[0]);
	lock_acquire(&dir[1]);
}

static void wait_under_a_higher_lock(void)
{
	struct lock mount, leaf;
	struct cond c;

	lock_init(&mount, LOCK_RANK_MOUNT);
	lock_init(&leaf, LOCK_RANK_LEAF);
	cond_init(&c);
	LOCK_GUARD(&mount);
	LOCK_GUARD(&leaf);
	(void)cond_wait_until(&c, &mount, 1);
}

static void not_held(void)
{
	struct lock l;

	lock_init(&l, LOCK_RANK_TENANT);
	lock_assert_held(&l);
}

static void order_violations_abort_and_name_both_ranks(void **state)
{
	(void)state;
	expect_abort(wrong_order, "MOUNTS(30)", "KV(80)");
	expect_abort(two_of_one_rank, "acquire BLOB(74)", "holding BLOB(74)");
	expect_abort(read_under_write_of_higher_rank, "read OVL_DIR(62)", "LEAF(100)");
	expect_abort(pair_and_a_third, "acquire OVL_DIR(62)", "holding OVL_DIR(62)");
	expect_abort(wait_under_a_higher_lock, "wait with MOUNT(35)", "LEAF(100)");
	expect_abort(not_held, "must be held", "TENANT(40)");
}

#ifndef NDEBUG
static void taken_twice(void)
{
	struct lock l;

	lock_init(&l, LOCK_RANK_MOUNT);
	lock_acquire(&l);
	lock_acquire(&l);
}

static void released_twice(void)
{
	struct lock l;

	lock_init(&l, LOCK_RANK_MOUNT);
	lock_acquire(&l);
	lock_release(&l);
	lock_release(&l);
}

/* Without the checks these two hang or are undefined, so they run with assertions only. */
static void misuse_of_one_lock_aborts(void **state)
{
	(void)state;
	expect_abort(taken_twice, "MOUNT(35)", "the same lock");
	expect_abort(released_twice, "released but not held", "MOUNT(35)");
}
#endif

static void rising_order_in_any_release_order(void **state)
{
	struct lock low, mid, high;

	(void)state;
	lock_init(&low, LOCK_RANK_API);
	lock_init(&mid, LOCK_RANK_OVL);
	lock_init(&high, LOCK_RANK_LEAF);
	lock_acquire(&low);
	lock_acquire(&mid);
	lock_release(&low);
	lock_acquire(&high);
	lock_assert_held(&high);
	lock_release(&mid);
	lock_release(&high);
	lock_acquire(&low); /* nothing left behind */
	lock_release(&low);
	lock_fini(&low);
	lock_fini(&mid);
	lock_fini(&high);
	lock_fini(NULL);
}

static void try_may_go_against_the_order(void **state)
{
	struct lock low, high;

	(void)state;
	lock_init(&low, LOCK_RANK_API);
	lock_init(&high, LOCK_RANK_LEAF);
	lock_acquire(&high);
	assert_true(lock_try(&low));
	assert_false(lock_try(&low));
	lock_release(&low);
	lock_release(&high);
	lock_fini(&low);
	lock_fini(&high);
}

struct world {
	struct lock a, b;
	struct rwlock rw;
	struct cond changed;
	unsigned long count, guarded_by_rw;
	bool ready, seen;
};

static void *add_under_pairs(void *arg)
{
	struct world *w = arg;

	for (unsigned i = 0; i < ROUNDS; i++) {
		struct lock *first = i % 2 ? &w->a : &w->b, *second = i % 3 ? &w->a : &w->b;

		lock_acquire_pair(first, second);
		if (first != second)
			w->count++;
		lock_release_pair(first, second);
	}
	return NULL;
}

static void pairs_exclude_and_do_not_deadlock(void **state)
{
	struct world w = {0};
	pthread_t threads[THREADS];
	unsigned long expect = 0;

	(void)state;
	lock_init(&w.a, LOCK_RANK_OVL_DIR);
	lock_init(&w.b, LOCK_RANK_OVL_DIR);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, add_under_pairs, &w), 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	for (unsigned i = 0; i < ROUNDS; i++)
		expect += (i % 2 != 0) != (i % 3 != 0);
	assert_int_equal(w.count, expect * THREADS);
	lock_fini(&w.a);
	lock_fini(&w.b);
}

static void *read_and_write(void *arg)
{
	struct world *w = arg;

	for (unsigned i = 0; i < ROUNDS / 10; i++) {
		{
			RWLOCK_READ_GUARD(&w->rw);
			if (w->guarded_by_rw % 2 != 0)
				return (void *)"a reader saw half a write";
		}
		RWLOCK_WRITE_GUARD(&w->rw);
		w->guarded_by_rw++;
		w->guarded_by_rw++;
	}
	return NULL;
}

static void writers_exclude_readers(void **state)
{
	struct world w = {0};
	pthread_t threads[THREADS];
	void *problem;

	(void)state;
	rwlock_init(&w.rw, LOCK_RANK_OVL_WS);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, read_and_write, &w), 0);
	for (int i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(threads[i], &problem), 0);
		assert_null(problem);
	}
	assert_int_equal(w.guarded_by_rw, 2ul * THREADS * (ROUNDS / 10));
	rwlock_fini(&w.rw);
	rwlock_fini(NULL);
}

static void *wait_for_ready(void *arg)
{
	struct world *w = arg;

	LOCK_GUARD(&w->a);
	while (!w->ready)
		cond_wait(&w->changed, &w->a);
	w->seen = true;
	cond_broadcast(&w->changed);
	return NULL;
}

static void conditions(void **state)
{
	struct world w = {0};
	pthread_t thread;
	uint64_t start = clock_mono_ns(&clock_system), deadline = start + 5 * NS_PER_MS;

	(void)state;
	lock_init(&w.a, LOCK_RANK_POOL);
	cond_init(&w.changed);
	lock_acquire(&w.a);
	while (cond_wait_until(&w.changed, &w.a, deadline))
		; /* spurious */
	assert_true(clock_mono_ns(&clock_system) >= deadline);
	lock_assert_held(&w.a);
	assert_int_equal(pthread_create(&thread, NULL, wait_for_ready, &w), 0);
	w.ready = true;
	cond_signal(&w.changed);
	while (!w.seen)
		assert_true(cond_wait_until(&w.changed, &w.a, start + 60 * NS_PER_S));
	lock_release(&w.a);
	assert_int_equal(pthread_join(thread, NULL), 0);
	cond_fini(&w.changed);
	cond_fini(NULL);
	lock_fini(&w.a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(order_violations_abort_and_name_both_ranks),
#ifndef NDEBUG
		cmocka_unit_test(misuse_of_one_lock_aborts),
#endif
		cmocka_unit_test(rising_order_in_any_release_order),
		cmocka_unit_test(try_may_go_against_the_order),
		cmocka_unit_test(pairs_exclude_and_do_not_deadlock),
		cmocka_unit_test(writers_exclude_readers),
		cmocka_unit_test(conditions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
