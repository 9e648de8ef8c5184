/* SPDX-License-Identifier: Apache-2.0 */
/* The heap of deadlines against a plain search, with removals from everywhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "session/park_heap.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#define TIMERS 200u

static uint32_t next_random(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(*seed >> 33);
}

static uint64_t smallest(const struct park_timer *t, const bool *in)
{
	uint64_t best = UINT64_MAX;

	for (unsigned i = 0; i < TIMERS; i++)
		if (in[i] && t[i].deadline_ns < best)
			best = t[i].deadline_ns;
	return best;
}

static void test_random_pushes_and_removals(void **state)
{
	struct park_timer timer[TIMERS] = {0};
	bool in[TIMERS] = {false};
	uint64_t seed = 20261121;
	struct park_heap h;

	(void)state;
	print_message("seed %llu\n", (unsigned long long)seed);
	assert_int_equal(park_heap_init(&h, TIMERS), 0);
	for (unsigned step = 0; step < 20000; step++) {
		unsigned i = next_random(&seed) % TIMERS;
		struct park_timer *first;

		if (in[i]) {
			park_heap_remove(&h, &timer[i]);
			assert_int_equal(timer[i].index, 0);
		} else {
			timer[i].deadline_ns = next_random(&seed) % 50; /* many are equal */
			park_heap_push(&h, &timer[i]);
		}
		in[i] = !in[i];
		first = park_heap_first(&h);
		if (first)
			assert_int_equal(first->deadline_ns, smallest(timer, in));
		else
			assert_int_equal(smallest(timer, in), UINT64_MAX);
	}
	park_heap_fini(&h);
}

static void test_removing_what_is_in_none(void **state)
{
	struct park_timer t = {.deadline_ns = 1};
	struct park_heap h;

	(void)state;
	assert_int_equal(park_heap_init(&h, 1), 0);
	park_heap_remove(&h, &t);
	park_heap_push(&h, &t);
	park_heap_remove(&h, &t);
	park_heap_remove(&h, &t);
	assert_null(park_heap_first(&h));
	park_heap_fini(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_pushes_and_removals),
		cmocka_unit_test(test_removing_what_is_in_none),
	};

	return cmocka_run_group_tests_name("park heap", tests, NULL, NULL);
}
