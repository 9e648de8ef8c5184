/* SPDX-License-Identifier: Apache-2.0 */
/* base/hashmap.h: behaves like a plain array of present keys, through growth, shrinking and every
 * removal order. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "alloc_fault.h"
#include "base/hashmap.h"

#define KEYS 4096

static char values[KEYS];

static void empty(void **state)
{
	struct hashmap m;
	struct hashmap_cursor it = {0};

	(void)state;
	hashmap_init(&m);
	assert_null(hashmap_find(&m, 0));
	assert_null(hashmap_remove(&m, 0));
	assert_false(hashmap_next(&m, &it));
	assert_int_equal(hashmap_count(&m), 0);
	hashmap_fini(&m);
	hashmap_fini(NULL);
}

static void insert_find_remove(void **state)
{
	struct hashmap m;

	(void)state;
	hashmap_init(&m);
	assert_int_equal(hashmap_insert(&m, 0, &values[0]), 0);
	assert_int_equal(hashmap_insert(&m, UINT64_MAX, &values[1]), 0);
	assert_int_equal(hashmap_insert(&m, 0, &values[2]), -EEXIST);
	assert_int_equal(hashmap_insert(&m, 5, NULL), -EINVAL);
	assert_ptr_equal(hashmap_find(&m, 0), &values[0]);
	assert_ptr_equal(hashmap_find(&m, UINT64_MAX), &values[1]);
	assert_ptr_equal(hashmap_remove(&m, 0), &values[0]);
	assert_null(hashmap_remove(&m, 0));
	assert_int_equal(hashmap_count(&m), 1);
	hashmap_fini(&m);
}

/* Random inserts and removals against an array that says what must be there. */
static void agrees_with_a_plain_array(void **state)
{
	unsigned seed = 20261121;
	bool present[KEYS] = {false};
	size_t count = 0;
	struct hashmap m;

	(void)state;
	hashmap_init(&m);
	for (int i = 0; i < 60000; i++) {
		/* phases that mostly grow and mostly shrink */
		bool add = (unsigned)rand_r(&seed) % 10 < (i / 10000 % 2 ? 2u : 8u);
		uint64_t key = (uint64_t)rand_r(&seed) % KEYS;

		if (add) {
			assert_int_equal(hashmap_insert(&m, key << 20, &values[key]),
				present[key] ? -EEXIST : 0);
			count += !present[key];
			present[key] = true;
		} else {
			assert_ptr_equal(
				hashmap_remove(&m, key << 20), present[key] ? &values[key] : NULL);
			count -= present[key];
			present[key] = false;
		}
		assert_int_equal(hashmap_count(&m), count);
		if (i % 1000 == 0)
			for (uint64_t k = 0; k < KEYS; k++)
				assert_ptr_equal(
					hashmap_find(&m, k << 20), present[k] ? &values[k] : NULL);
	}
	hashmap_fini(&m);
}

static void iteration_sees_each_entry_once(void **state)
{
	bool seen[1000] = {false};
	size_t count = 0;
	struct hashmap m;

	(void)state;
	hashmap_init(&m);
	for (uint64_t k = 0; k < 1000; k++)
		assert_int_equal(hashmap_insert(&m, k, &values[k]), 0);
	for (struct hashmap_cursor it = {0}; hashmap_next(&m, &it); count++) {
		assert_true(it.key < 1000 && !seen[it.key]);
		assert_ptr_equal(it.value, &values[it.key]);
		seen[it.key] = true;
	}
	assert_int_equal(count, 1000);
	hashmap_fini(&m);
}

static void grows_and_shrinks(void **state)
{
	struct hashmap m;

	(void)state;
	hashmap_init(&m);
	for (uint64_t k = 0; k < KEYS; k++)
		assert_int_equal(hashmap_insert(&m, k, &values[k]), 0);
	assert_true(m.cap >= KEYS && m.cap <= 4 * KEYS);
	for (uint64_t k = 0; k < KEYS - 2; k++)
		assert_non_null(hashmap_remove(&m, k));
	assert_true(m.cap <= 32);
	assert_non_null(hashmap_find(&m, KEYS - 1));
	hashmap_fini(&m);
}

static void reserved_inserts_need_no_memory(void **state)
{
	struct hashmap m;

	(void)state;
	hashmap_init(&m);
	assert_int_equal(hashmap_reserve(&m, 1000), 0);
	alloc_fault_arm(0);
	for (uint64_t k = 0; k < 1000; k++)
		assert_int_equal(hashmap_insert(&m, k, &values[k]), 0);
	assert_false(alloc_fault_disarm());
	assert_int_equal(hashmap_reserve(&m, SIZE_MAX), -ENOMEM);
	hashmap_fini(&m);
}

static void no_memory(void **state)
{
	struct hashmap m;
	uint64_t k = 0;

	(void)state;
	hashmap_init(&m);
	alloc_fault_arm(0);
	assert_int_equal(hashmap_insert(&m, 1, &values[1]), -ENOMEM);
	assert_true(alloc_fault_disarm());
	for (;; k++) { /* until the table is full and must grow */
		alloc_fault_arm(k == 0 ? 1 : 0);
		int r = hashmap_insert(&m, k, &values[k]);

		if (alloc_fault_disarm()) {
			assert_int_equal(r, -ENOMEM);
			break;
		}
		assert_int_equal(r, 0);
	}
	for (uint64_t i = 0; i < k; i++) /* nothing was lost */
		assert_ptr_equal(hashmap_find(&m, i), &values[i]);
	for (; k < KEYS; k++)
		assert_int_equal(hashmap_insert(&m, k, &values[k]), 0);
	for (uint64_t i = 0; i < KEYS; i++) { /* removal never fails, even when it cannot shrink */
		alloc_fault_arm(0);
		assert_ptr_equal(hashmap_remove(&m, i), &values[i]);
		(void)alloc_fault_disarm();
	}
	assert_int_equal(hashmap_count(&m), 0);
	hashmap_fini(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty),
		cmocka_unit_test(insert_find_remove),
		cmocka_unit_test(agrees_with_a_plain_array),
		cmocka_unit_test(iteration_sees_each_entry_once),
		cmocka_unit_test(grows_and_shrinks),
		cmocka_unit_test(reserved_inserts_need_no_memory),
		cmocka_unit_test(no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
