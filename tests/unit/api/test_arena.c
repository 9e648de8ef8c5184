/* SPDX-License-Identifier: Apache-2.0 */
/* arena.c: alignment, zeroing, the limit, overflow, and failure of the allocation below it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdalign.h>
#include <string.h>

#include "alloc_fault.h"
#include "arena.h"

static void test_pieces(void **state)
{
	struct arena a;
	static const char zero[5000];

	(void)state;
	arena_init(&a, ARENA_MAX_BYTES);
	for (size_t size = 0; size < sizeof(zero); size += 7) {
		char *p = arena_alloc(&a, size);

		assert_non_null(p);
		assert_int_equal((uintptr_t)p % alignof(max_align_t), 0);
		assert_memory_equal(p, zero, size);
		memset(p, 0xaa, size); /* must not show up in a later piece */
	}
	assert_string_equal(arena_strdup(&a, "text"), "text");
	arena_fini(&a);
	arena_fini(&a); /* harmless twice */
}

static void test_limit(void **state)
{
	struct arena a;

	(void)state;
	arena_init(&a, 10000);
	assert_null(arena_alloc(&a, 10001));
	assert_null(arena_alloc(&a, SIZE_MAX));
	assert_null(arena_alloc(&a, 10000)); /* the block's header counts too */
	assert_non_null(arena_alloc(&a, 9000));
	assert_null(arena_alloc(&a, 2000));
	assert_true(a.used_bytes <= 10000);
	arena_fini(&a);
}

static void test_many_small_ones_end_too(void **state)
{
	struct arena a;
	size_t count = 0;

	(void)state;
	arena_init(&a, (size_t)1 << 20);
	while (arena_alloc(&a, 16))
		count++;
	assert_true(count > 50000 && count <= 65536);
	assert_true(a.used_bytes <= (size_t)1 << 20);
	arena_fini(&a);
}

static void test_array_overflow(void **state)
{
	struct arena a;

	(void)state;
	arena_init(&a, ARENA_MAX_BYTES);
	assert_null(arena_array(&a, SIZE_MAX / 2, 4));
	assert_non_null(arena_array(&a, 3, 4));
	arena_fini(&a);
}

static void test_no_memory(void **state)
{
	struct arena a;

	(void)state;
	arena_init(&a, ARENA_MAX_BYTES);
	alloc_fault_arm(0);
	assert_null(arena_alloc(&a, 1));
	assert_true(alloc_fault_disarm());
	assert_non_null(arena_alloc(&a, 1));
	arena_fini(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_many_small_ones_end_too),
		cmocka_unit_test(test_array_overflow),
		cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
