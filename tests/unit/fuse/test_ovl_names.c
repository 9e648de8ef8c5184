/* SPDX-License-Identifier: Apache-2.0 */
/* The table of names: order of the walk, counts, growth and shrinkage, and failing allocations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "alloc_fault.h"
#include "overlay/ovl_internal.h"

static struct ovl_child *put(struct ovl_names *t, const char *name, uint8_t type)
{
	return ovl_names_put(t, name, strlen(name), type);
}

static void test_put_find_remove(void **state)
{
	struct ovl_names t;

	(void)state;
	ovl_names_init(&t);
	assert_null(ovl_names_find(&t, "a", 1));
	ovl_names_remove(&t, "a", 1);
	assert_non_null(put(&t, "a", DT_REG));
	assert_non_null(put(&t, "ab", DT_DIR));
	assert_non_null(put(&t, "b", DT_WHT));
	assert_string_equal(ovl_names_find(&t, "ab", 2)->name, "ab");
	assert_ptr_equal(ovl_names_find(&t, "abc", 2), ovl_names_find(&t, "ab", 2));
	assert_null(ovl_names_find(&t, "abc", 3));
	assert_int_equal(t.count, 3);
	assert_int_equal(t.subdirs, 1);
	assert_int_equal(t.whiteouts, 1);
	ovl_names_remove(&t, "ab", 2);
	assert_int_equal(t.subdirs, 0);
	assert_int_equal(t.count, 2);
	assert_null(ovl_names_find(&t, "ab", 2));
	ovl_names_fini(&t);
}

static void test_a_change_of_type_keeps_the_child_and_the_counts(void **state)
{
	struct ovl_names t;
	struct ovl_child *c;

	(void)state;
	ovl_names_init(&t);
	c = put(&t, "x", DT_WHT);
	assert_ptr_equal(put(&t, "x", DT_DIR), c);
	assert_int_equal(t.whiteouts, 0);
	assert_int_equal(t.subdirs, 1);
	assert_int_equal(t.count, 1);
	ovl_names_fini(&t);
}

static unsigned walk(const struct ovl_names *t, uint64_t after)
{
	unsigned count = 0;
	uint64_t last = after;

	for (struct ovl_child *c = ovl_names_after(t, after); c; c = ovl_names_next(t, c)) {
		assert_true(c->hash > last);
		last = c->hash;
		count++;
	}
	return count;
}

/* 20,000 names: every one found, walked once in order, positions good in the middle of removals,
 * and an empty table at the end. */
static void test_many(void **state)
{
	struct ovl_names t;
	struct ovl_child *middle;
	char name[32];
	const unsigned total = 20000;

	(void)state;
	ovl_names_init(&t);
	for (unsigned i = 0; i < total; i++) {
		(void)snprintf(name, sizeof(name), "file-%u", i);
		assert_non_null(put(&t, name, DT_REG));
	}
	assert_int_equal(walk(&t, 0), total);
	middle = ovl_names_after(&t, 1ull << 61);
	assert_true(walk(&t, middle->hash) > total / 3 && walk(&t, middle->hash) < total);
	for (unsigned i = 0; i < total; i++) {
		(void)snprintf(name, sizeof(name), "file-%u", i);
		assert_non_null(ovl_names_find(&t, name, strlen(name)));
		ovl_names_remove(&t, name, strlen(name));
		if (i % 5000 == 0)
			assert_int_equal(walk(&t, 0), total - i - 1);
	}
	assert_int_equal(t.count, 0);
	assert_true(t.bucket_bits <= 4);
	ovl_names_fini(&t);
}

static void test_hash_is_a_position(void **state)
{
	(void)state;
	/* written down: listings that go on after a restart depend on it */
	assert_int_equal(ovl_name_hash("Makefile", 8), 0x3f548d297e9a10e6ull);
	assert_int_equal(ovl_name_hash("a", 1), 0x1e11308f5e466546ull);
	assert_int_not_equal(ovl_name_hash("a", 1), ovl_name_hash("b", 1));
	for (unsigned i = 0; i < 1000; i++) {
		uint64_t h = ovl_name_hash((const char *)&i, sizeof(i));

		assert_true(h > 0 && h < 1ull << 62);
	}
	assert_null(ovl_names_after(&(struct ovl_names){0}, UINT64_MAX));
}

static void test_no_memory(void **state)
{
	(void)state;
	for (unsigned n = 0;; n++) {
		struct ovl_names t;
		struct ovl_child *c;

		ovl_names_init(&t);
		alloc_fault_arm(n);
		c = put(&t, "name", DT_REG);
		if (!alloc_fault_disarm()) {
			assert_non_null(c);
			ovl_names_fini(&t);
			break;
		}
		assert_null(c);
		assert_null(ovl_names_find(&t, "name", 4));
		ovl_names_fini(&t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_put_find_remove),
		cmocka_unit_test(test_a_change_of_type_keeps_the_child_and_the_counts),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_hash_is_a_position),
		cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
