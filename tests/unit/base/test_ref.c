/* SPDX-License-Identifier: Apache-2.0 */
/* base/ref.h: exactly one holder is the last, and it sees what the others wrote. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/ref.h"

#define THREADS 4

static void count_up_and_down(void **state)
{
	struct ref r;

	(void)state;
	ref_init(&r);
	ref_get(&r);
	assert_true(ref_try_get(&r));
	assert_false(ref_put(&r));
	assert_false(ref_put(&r));
	assert_true(ref_put(&r));
	assert_false(ref_try_get(&r)); /* dead stays dead */
}

struct shared {
	struct ref ref;
	int written[THREADS]; /* not atomic: the thread sanitizer checks the order */
	_Atomic int next, last_count, sum;
};

static void *write_and_put(void *arg)
{
	struct shared *s = arg;
	int me = atomic_fetch_add(&s->next, 1), sum = 0;

	for (int i = 0; i < 1000; i++) {
		ref_get(&s->ref);
		if (ref_put(&s->ref))
			return NULL; /* impossible: we hold one */
	}
	s->written[me] = me + 1;
	if (!ref_put(&s->ref))
		return NULL;
	for (int i = 0; i < THREADS; i++)
		sum += s->written[i];
	atomic_store(&s->sum, sum);
	atomic_fetch_add(&s->last_count, 1);
	return NULL;
}

static void the_last_one_sees_all(void **state)
{
	struct shared s = {0};
	pthread_t threads[THREADS];

	(void)state;
	ref_init(&s.ref);
	for (int i = 1; i < THREADS; i++)
		ref_get(&s.ref);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, write_and_put, &s), 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(s.last_count, 1);
	assert_int_equal(s.sum, THREADS * (THREADS + 1) / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(count_up_and_down),
		cmocka_unit_test(the_last_one_sees_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
