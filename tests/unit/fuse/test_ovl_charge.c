/* SPDX-License-Identifier: Apache-2.0 */
/* What objects cost: the function of stat by its cases, and the recount over an upper. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "ovl_world.h"

static uint64_t cost(mode_t type, off_t size, blkcnt_t blocks)
{
	struct stat st = {.st_mode = type | 0644, .st_size = size, .st_blocks = blocks};

	return ovl_charge_of(&st);
}

static void a_full_file_costs_its_rounded_size(void **state)
{
	(void)state;
	assert_int_equal(cost(S_IFREG, 0, 0), 0);
	assert_int_equal(cost(S_IFREG, 1, 8), 4096);
	assert_int_equal(cost(S_IFREG, 4096, 8), 4096);
	assert_int_equal(cost(S_IFREG, 4097, 16), 8192);
}

static void the_filesystems_own_blocks_cost_nothing(void **state)
{
	(void)state;
	assert_int_equal(cost(S_IFREG, 4096, 16), 4096);              /* an attribute block */
	assert_int_equal(cost(S_IFREG, 1 << 20, 2048 + 16), 1 << 20); /* map blocks */
	assert_int_equal(cost(S_IFREG, 0, 8), 0);
}

static void a_sparse_file_costs_what_it_uses(void **state)
{
	(void)state;
	assert_int_equal(cost(S_IFREG, 1 << 30, 8), 4096);
	assert_int_equal(cost(S_IFREG, 1 << 30, 0), 0);
}

static void preallocation_beyond_the_size_costs(void **state)
{
	(void)state;
	assert_int_equal(cost(S_IFREG, 100, 2048), 1 << 20);
	assert_int_equal(cost(S_IFREG, 0, 2048), 1 << 20);
}

static void only_files_cost_bytes(void **state)
{
	(void)state;
	assert_int_equal(cost(S_IFDIR, 4096, 8), 0);
	assert_int_equal(cost(S_IFLNK, 3000, 8), 0);
	assert_int_equal(cost(S_IFIFO, 0, 8), 0);
}

static void odd_numbers_from_a_filesystem_do_no_harm(void **state)
{
	(void)state;
	assert_int_equal(cost(S_IFREG, -1, 8), 0);
	assert_int_equal(cost(S_IFREG, 8, -1), 0);
	assert_int_equal(cost(S_IFREG, INT64_MAX, 8), 4096);
}

static void a_recount_counts_each_inode_once_and_no_whiteout(void **state)
{
	uint64_t bytes, inodes;
	struct world w;

	(void)state;
	world_init(&w);
	fake_lower_add(w.fake, "gone", S_IFREG | 0644, "x", 1);
	world_open(&w);
	world_put(&w, "a", "12345");
	assert_int_equal(world_link(&w, "a", "b"), 0);
	assert_int_equal(world_make(&w, WORLD_DIR, "d", 0755, NULL), 0);
	assert_int_equal(world_symlink(&w, "d/s", "a"), 0);
	assert_int_equal(world_remove(&w, "gone", false), 0);
	assert_int_equal(ovl_charge_scan(w.ws, &bytes, &inodes), 0);
	assert_int_equal(bytes, 4096);
	assert_int_equal(inodes, 3);
	world_check_usage(&w);
	world_fini(&w);
}

static void a_walk_is_deeper_than_paths_and_descriptors(void **state)
{
	struct world_at at = {0};
	uint64_t bytes, inodes;
	struct world w;

	(void)state;
	world_init(&w);
	fake_lower_add(w.fake, "a", S_IFREG | 0644, "x", 1);
	world_open(&w);
	at.e.id = ovl_ws_root_id(w.ws);
	for (int i = 0; i < 300; i++) {
		char name[100];
		struct ovl_entry e;

		memset(name, 'a' + i % 26, 99);
		name[99] = '\0';
		assert_int_equal(ovl_mkdir(w.o, world_rq(&w), at.e.id, name, 0755, &e), 0);
		world_descend(&w, &at, &e);
	}
	assert_int_equal(ovl_charge_scan(w.ws, &bytes, &inodes), 0);
	assert_int_equal(inodes, 300);
	world_forget(&w, &at);
	world_fini(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_full_file_costs_its_rounded_size),
		cmocka_unit_test(the_filesystems_own_blocks_cost_nothing),
		cmocka_unit_test(a_sparse_file_costs_what_it_uses),
		cmocka_unit_test(preallocation_beyond_the_size_costs),
		cmocka_unit_test(only_files_cost_bytes),
		cmocka_unit_test(odd_numbers_from_a_filesystem_do_no_harm),
		cmocka_unit_test(a_recount_counts_each_inode_once_and_no_whiteout),
		cmocka_unit_test(a_walk_is_deeper_than_paths_and_descriptors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
