/* SPDX-License-Identifier: Apache-2.0 */
/* origin/mega_memory.h: what is learned is there after a restart; the first place is kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "alloc_fault.h"
#include "base/err.h"
#include "origin/mega_memory.h"
#include "storage/origin.h"
#include "tmpdir.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct oid id(uint8_t n, uint8_t len)
{
	struct oid o = {.len = len};

	o.bytes[0] = n;
	o.bytes[len - 1] = 7;
	return o;
}

static struct mega_memory *opened(const char *dir)
{
	const struct origin_config config = {.name = "m", .state_dir = dir};
	struct mega_memory *m = NULL;
	struct err e = {0};

	assert_int_equal(mega_memory_open(&m, &config, &e), 0);
	return m;
}

static void learn(struct mega_memory *m, unsigned count)
{
	struct mega_facts *f = mega_facts_new();
	struct oid commit = id(1, 20), other = id(2, 32);

	assert_non_null(f);
	for (unsigned i = 0; i < count; i++) {
		struct oid tree = id((uint8_t)i, 20);

		tree.bytes[1] = (uint8_t)(i >> 8);
		mega_facts_place(f, &tree, &commit, "a/b c", 5);
		mega_facts_place(f, &tree, &other, "later", 5);
		mega_facts_size(f, &tree, i * 1000ull);
	}
	assert_int_equal(mega_memory_learn(m, f), 0);
	mega_facts_free(f);
}

static void test_it_remembers_over_a_restart(void **state)
{
	struct mega_memory *m;
	struct tmpdir dir;
	const struct mega_root root = {.tree = id(9, 32), .time_s = 1700000000};
	struct oid commit = id(1, 20), tree = id(44, 20), unknown = id(99, 32);
	struct mega_place place;
	struct mega_root found;
	uint64_t size;

	(void)state;
	tmpdir_init(&dir);
	m = opened(dir.path);
	learn(m, 2000);
	assert_int_equal(mega_memory_put_root(m, &commit, &root), 0);
	mega_memory_close(m);
	m = opened(dir.path);
	assert_int_equal(mega_memory_place(m, &tree, &place), 0);
	assert_string_equal(place.path, "a/b c");
	assert_true(oid_equal(&place.commit, &commit));
	free(place.path);
	assert_int_equal(mega_memory_size(m, &tree, &size), 0);
	assert_int_equal(size, 44000);
	assert_int_equal(mega_memory_root(m, &commit, &found), 0);
	assert_true(oid_equal(&found.tree, &root.tree));
	assert_int_equal(found.time_s, root.time_s);
	assert_int_equal(mega_memory_place(m, &root.tree, &place), 0);
	assert_string_equal(place.path, "");
	free(place.path);
	assert_int_equal(mega_memory_place(m, &unknown, &place), -ENOENT);
	assert_int_equal(mega_memory_size(m, &unknown, &size), -ENOENT);
	assert_int_equal(mega_memory_root(m, &unknown, &found), -ENOENT);
	mega_memory_close(m);
	tmpdir_fini(&dir);
}

static void test_memory_shortage_is_an_error(void **state)
{
	struct mega_memory *m;
	struct tmpdir dir;
	struct oid commit = id(1, 20), tree = id(3, 20);
	unsigned n = 0;
	int r;

	(void)state;
	tmpdir_init(&dir);
	m = opened(dir.path);
	do {
		struct mega_facts *f;

		alloc_fault_arm(n++);
		f = mega_facts_new();
		r = -ENOMEM;
		if (f) {
			mega_facts_place(f, &tree, &commit, "p", 1);
			mega_facts_size(f, &tree, 5);
			r = mega_memory_learn(m, f);
		}
		mega_facts_free(f);
		alloc_fault_disarm();
		assert_true(r == 0 || r == -ENOMEM);
	} while (r < 0 && n < 100);
	assert_int_equal(r, 0);
	assert_true(n > 3);
	mega_memory_close(m);
	tmpdir_fini(&dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_it_remembers_over_a_restart),
		cmocka_unit_test(test_memory_shortage_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
