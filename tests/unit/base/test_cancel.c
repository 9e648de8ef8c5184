/* SPDX-License-Identifier: Apache-2.0 */
/* base/cancel.h: fired once, seen by all; a removed callback never runs and a running one is waited
 * for. */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "alloc_fault.h"
#include "base/cancel.h"
#include "base/clock.h"

static void count(void *arg)
{
	++*(int *)arg;
}

static void poll_and_check(void **state)
{
	struct cancel *c = cancel_new();

	(void)state;
	assert_false(cancel_fired(NULL));
	assert_int_equal(cancel_check(NULL, NS_NEVER), 0);
	assert_int_equal(cancel_check(NULL, 1), -ETIMEDOUT);
	assert_false(cancel_fired(c));
	assert_int_equal(cancel_check(c, NS_NEVER), 0);
	cancel_fire(c);
	cancel_fire(c);
	assert_true(cancel_fired(c));
	assert_int_equal(cancel_check(c, 1), -ECANCELED);
	assert_null(cancel_unref(c));
	assert_null(cancel_unref(NULL));
	assert_null(cancel_ref(NULL));
}

static void callbacks_run_once_in_order_unless_removed(void **state)
{
	struct cancel *c = cancel_new();
	int first = 0, second = 0, removed = 0, late = 0, a, b;

	(void)state;
	a = cancel_on(c, count, &first);
	b = cancel_on(c, count, &removed);
	assert_true(cancel_on(c, count, &second) > 0);
	assert_true(a > 0 && b > 0 && a != b);
	assert_true(cancel_off(c, b));
	assert_false(cancel_off(c, b));
	cancel_fire(c);
	cancel_fire(c);
	assert_int_equal(first, 1);
	assert_int_equal(second, 1);
	assert_int_equal(removed, 0);
	assert_false(cancel_off(c, a));
	assert_false(cancel_off(c, 0));
	assert_int_equal(cancel_on(c, count, &late), 0); /* already cancelled: at once */
	assert_int_equal(late, 1);
	(void)cancel_unref(c);
}

static void unfired_callbacks_are_freed(void **state)
{
	struct cancel *c = cancel_new();
	int n = 0;

	(void)state;
	assert_true(cancel_on(c, count, &n) > 0);
	(void)cancel_ref(c);
	(void)cancel_unref(c);
	assert_true(cancel_on(c, count, &n) > 0);
	(void)cancel_unref(c);
	assert_int_equal(n, 0);
}

struct self {
	struct cancel *c;
	int handle;
	bool answer;
	bool ran;
};

static void remove_myself(void *arg)
{
	struct self *s = arg;

	s->answer = cancel_off(s->c, s->handle);
	s->ran = true;
}

static void off_from_inside_does_not_deadlock(void **state)
{
	struct self s = {.c = cancel_new(), .answer = true};

	(void)state;
	s.handle = cancel_on(s.c, remove_myself, &s);
	cancel_fire(s.c);
	assert_true(s.ran);
	assert_false(s.answer);
	(void)cancel_unref(s.c);
}

static void sleep_ends_at_the_deadline(void **state)
{
	struct cancel *c = cancel_new();
	uint64_t deadline = clock_after(&clock_system, 3 * NS_PER_MS);

	(void)state;
	assert_int_equal(cancel_sleep_until(c, deadline), -ETIMEDOUT);
	assert_true(clock_mono_ns(&clock_system) >= deadline);
	deadline = clock_after(&clock_system, 3 * NS_PER_MS);
	assert_int_equal(cancel_sleep_until(NULL, deadline), -ETIMEDOUT);
	assert_true(clock_mono_ns(&clock_system) >= deadline);
	(void)cancel_unref(c);
}

static void *sleeper(void *arg)
{
	return (void *)(intptr_t)cancel_sleep_until(arg, clock_after(&clock_system, 60 * NS_PER_S));
}

static void fire_wakes_sleepers(void **state)
{
	struct cancel *c = cancel_new();
	pthread_t threads[3];
	void *answer;

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, sleeper, c), 0);
	cancel_fire(c);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(pthread_join(threads[i], &answer), 0);
		assert_int_equal((intptr_t)answer, -ECANCELED);
	}
	assert_int_equal(cancel_sleep_until(c, NS_NEVER), -ECANCELED);
	(void)cancel_unref(c);
}

struct slow {
	sem_t entered, go_on;
	struct cancel *c;
	int handle;
	int plain; /* not atomic: the thread sanitizer checks that off() orders it */
};

static void slow_callback(void *arg)
{
	struct slow *s = arg;

	(void)sem_post(&s->entered);
	(void)sem_wait(&s->go_on);
	s->plain = 1;
}

static void *fire(void *arg)
{
	cancel_fire(((struct slow *)arg)->c);
	return NULL;
}

static void *let_go(void *arg)
{
	(void)sem_post(&((struct slow *)arg)->go_on);
	return NULL;
}

static void off_waits_for_a_running_callback(void **state)
{
	struct slow s = {.c = cancel_new()};
	pthread_t firing, releasing;

	(void)state;
	assert_int_equal(sem_init(&s.entered, 0, 0), 0);
	assert_int_equal(sem_init(&s.go_on, 0, 0), 0);
	s.handle = cancel_on(s.c, slow_callback, &s);
	assert_int_equal(pthread_create(&firing, NULL, fire, &s), 0);
	(void)sem_wait(&s.entered);
	assert_int_equal(pthread_create(&releasing, NULL, let_go, &s), 0);
	assert_false(cancel_off(s.c, s.handle));
	assert_int_equal(s.plain, 1);
	assert_int_equal(pthread_join(firing, NULL), 0);
	assert_int_equal(pthread_join(releasing, NULL), 0);
	(void)sem_destroy(&s.entered);
	(void)sem_destroy(&s.go_on);
	(void)cancel_unref(s.c);
}

static void bump(void *arg)
{
	atomic_fetch_add((_Atomic int *)arg, 1);
}

/* Register and remove while another thread fires: each callback either ran or was removed, never
 * both, never neither. */
static void on_and_off_against_fire(void **state)
{
	(void)state;
	for (int round = 0; round < 200; round++) {
		struct slow s = {.c = cancel_new()};
		_Atomic int ran = 0;
		int removed = 0, handles[8];
		pthread_t firing;

		assert_int_equal(pthread_create(&firing, NULL, fire, &s), 0);
		for (int i = 0; i < 8; i++)
			handles[i] = cancel_on(s.c, bump, &ran);
		for (int i = 0; i < 8; i++)
			removed += cancel_off(s.c, handles[i]);
		assert_int_equal(atomic_load(&ran) + removed, 8);
		assert_int_equal(pthread_join(firing, NULL), 0);
		(void)cancel_unref(s.c);
	}
}

static void no_memory(void **state)
{
	struct cancel *c = cancel_new();
	int n = 0;

	(void)state;
	alloc_fault_arm(0);
	assert_null(cancel_new());
	assert_true(alloc_fault_disarm());
	alloc_fault_arm(0);
	assert_int_equal(cancel_on(c, count, &n), -ENOMEM);
	assert_true(alloc_fault_disarm());
	cancel_fire(c);
	assert_int_equal(n, 0);
	(void)cancel_unref(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(poll_and_check),
		cmocka_unit_test(callbacks_run_once_in_order_unless_removed),
		cmocka_unit_test(unfired_callbacks_are_freed),
		cmocka_unit_test(off_from_inside_does_not_deadlock),
		cmocka_unit_test(sleep_ends_at_the_deadline),
		cmocka_unit_test(fire_wakes_sleepers),
		cmocka_unit_test(off_waits_for_a_running_callback),
		cmocka_unit_test(on_and_off_against_fire),
		cmocka_unit_test(no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
