// SPDX-License-Identifier: Apache-2.0
/* The heap of waiters gives the earliest first, whatever was added and taken out before. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "alloc_fault.h"
#include "storage_internal.h"

#define COUNT 300

static uint64_t earliest(const struct waiter *w, const bool *in)
{
	uint64_t first = UINT64_MAX;

	for (unsigned i = 0; i < COUNT; i++)
		if (in[i] && w[i].deadline_ns < first)
			first = w[i].deadline_ns;
	return first;
}

static void test_first_is_always_the_earliest(void **state)
{
	static struct waiter w[COUNT];
	bool in[COUNT] = {false};
	struct deadline_heap h = {0};
	unsigned seed = 42, count = 0;

	(void)state;
	for (unsigned step = 0; step < 20000; step++) {
		unsigned i = (unsigned)rand_r(&seed) % COUNT;

		if (in[i]) {
			deadline_heap_remove(&h, &w[i]);
			count--;
		} else {
			w[i].deadline_ns = (unsigned)rand_r(&seed) % 100;
			assert_int_equal(deadline_heap_reserve(&h), 0);
			deadline_heap_add(&h, &w[i]);
			count++;
		}
		in[i] = !in[i];
		assert_int_equal(h.count, count);
		if (count)
			assert_true(deadline_heap_first(&h)->deadline_ns == earliest(w, in));
		else
			assert_null(deadline_heap_first(&h));
	}
	deadline_heap_fini(&h);
}

static void test_reserve_without_memory(void **state)
{
	struct deadline_heap h = {0};

	(void)state;
	alloc_fault_arm(0);
	assert_int_equal(deadline_heap_reserve(&h), -ENOMEM);
	assert_true(alloc_fault_disarm());
	assert_int_equal(deadline_heap_reserve(&h), 0);
	deadline_heap_fini(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_is_always_the_earliest),
		cmocka_unit_test(test_reserve_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
