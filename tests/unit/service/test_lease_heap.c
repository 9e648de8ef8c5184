/* SPDX-License-Identifier: Apache-2.0 */
/* Deadlines of leases, driven by a virtual clock. */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

#include "mount/lease_heap.h"

#include <base/clock.h>
#include <stdlib.h>

#define COUNT 500

static void test_pops_in_order_of_time(void **state)
{
	static struct lease_node nodes[COUNT];
	struct lease_heap h = {0};
	struct clock_virtual clock;
	unsigned popped = 0;
	uint64_t last = 0;

	(void)state;
	clock_virtual_init(&clock, 1000, 0);
	assert_int_equal(lease_heap_reserve(&h, COUNT), 0);
	for (unsigned i = 0; i < COUNT; i++)
		lease_heap_set(&h, &nodes[i], 1000 + i * 7919u % 5003u);
	for (unsigned i = 0; i < COUNT; i += 3) /* renewed */
		lease_heap_set(&h, &nodes[i], 10000 + i);
	for (unsigned i = 1; i < COUNT; i += 3) /* deleted meanwhile */
		lease_heap_remove(&h, &nodes[i]);
	for (; clock_mono_ns(&clock.clock) < 6100; clock_virtual_advance(&clock, 50))
		for (struct lease_node *n;
			(n = lease_heap_pop_due(&h, clock_mono_ns(&clock.clock)));) {
			assert_int_equal((n - nodes) % 3, 2);
			assert_true(n->due_ns >= last && n->due_ns <= clock_mono_ns(&clock.clock));
			last = n->due_ns;
			popped++;
		}
	assert_int_equal(popped, COUNT / 3);
	assert_int_equal(h.count, (COUNT + 2) / 3);
	assert_ptr_equal(lease_heap_first(&h), &nodes[0]);
	lease_heap_fini(&h);
}

static void test_nothing_is_due_before_its_time(void **state)
{
	struct lease_node node = {0};
	struct lease_heap h = {0};

	(void)state;
	assert_null(lease_heap_first(&h));
	assert_int_equal(lease_heap_reserve(&h, 1), 0);
	lease_heap_set(&h, &node, 100);
	assert_null(lease_heap_pop_due(&h, 99));
	assert_ptr_equal(lease_heap_pop_due(&h, 100), &node);
	assert_null(lease_heap_pop_due(&h, 100));
	lease_heap_remove(&h, &node); /* harmless */
	lease_heap_fini(&h);
}

/* Random operations against a plain search. */
static void test_agrees_with_a_search(void **state)
{
	static struct lease_node nodes[64];
	struct lease_heap h = {0};
	unsigned seed = 42;

	(void)state;
	assert_int_equal(lease_heap_reserve(&h, 64), 0);
	for (unsigned round = 0; round < 20000; round++) {
		struct lease_node *n = &nodes[rand_r(&seed) % 64];
		uint64_t soonest = UINT64_MAX;

		if (rand_r(&seed) % 3)
			lease_heap_set(&h, n, (uint64_t)rand_r(&seed) % 1000);
		else
			lease_heap_remove(&h, n);
		for (unsigned i = 0; i < 64; i++)
			if (nodes[i].place && nodes[i].due_ns < soonest)
				soonest = nodes[i].due_ns;
		assert_true(
			h.count ? lease_heap_first(&h)->due_ns == soonest : soonest == UINT64_MAX);
	}
	lease_heap_fini(&h);
}

static void test_restart_keeps_a_lease_but_leaves_time_to_renew(void **state)
{
	const uint64_t now = 1000 * NS_PER_S;

	(void)state;
	assert_int_equal(lease_after_restart(now + 200 * NS_PER_S, 300, now), now + 200 * NS_PER_S);
	assert_int_equal(lease_after_restart(now - 50 * NS_PER_S, 300, now), now + 30 * NS_PER_S);
	assert_int_equal(lease_after_restart(now + 29 * NS_PER_S, 300, now), now + 30 * NS_PER_S);
	assert_int_equal(lease_after_restart(now - 50 * NS_PER_S, 10, now), now + 10 * NS_PER_S);
	/* the clock was set back by a day */
	assert_int_equal(
		lease_after_restart(now + 86400 * NS_PER_S, 300, now), now + 300 * NS_PER_S);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pops_in_order_of_time),
		cmocka_unit_test(test_nothing_is_due_before_its_time),
		cmocka_unit_test(test_agrees_with_a_search),
		cmocka_unit_test(test_restart_keeps_a_lease_but_leaves_time_to_renew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
