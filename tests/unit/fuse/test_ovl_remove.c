/* SPDX-License-Identifier: Apache-2.0 */
/* unlink and rmdir: what the lower has stays away, what is in use stays usable, the quota gets back
 * what was taken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "ovl_world.h"

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	world_init(w);
	fake_lower_add(w->fake, "d/file", S_IFREG | 0644, "lower", 5);
	fake_lower_add(w->fake, "d/sub/x", S_IFREG | 0644, "x", 1);
	fake_lower_add(w->fake, "module", S_IFDIR | 0755, "", 1);
	world_open(w);
	*state = w;
	return 0;
}

static void a_removed_lower_file_stays_away(void **state)
{
	struct world *w = *state;
	struct stat st;

	assert_int_equal(world_remove(w, "d/file", false), 0);
	assert_int_equal(world_id(w, "d/file"), 0);
	assert_int_equal(world_remove(w, "d/file", false), -ENOENT);
	assert_int_equal(world_upper_stat(w, "d/file", &st), 0);
	assert_true(ovl_is_whiteout(&st));
	world_close(w);
	world_open(w);
	assert_int_equal(world_id(w, "d/file"), 0);
	world_check_usage(w);
}

static void a_copied_file_goes_and_the_lower_does_not_come_back(void **state)
{
	struct world *w = *state;
	struct stat st;

	assert_int_equal(world_write(w, "d/file", "L", 1, 0), 1);
	assert_int_equal(world_remove(w, "d/file", false), 0);
	assert_int_equal(world_upper_stat(w, "d/file", &st), 0);
	assert_true(ovl_is_whiteout(&st));
	assert_int_equal(quota_used(&w->quota, QUOTA_BYTES), 0);
	world_check_usage(w);
}

static void an_open_file_is_kept_until_it_is_forgotten(void **state)
{
	struct world *w = *state;
	struct world_at at;
	struct stat st;
	char text[8] = "";

	world_put(w, "mine", "bytes");
	assert_int_equal(world_walk(w, "mine", &at), 0);
	assert_int_equal(world_remove(w, "mine", false), 0);
	assert_int_equal(world_id(w, "mine"), 0);
	assert_int_equal(ovl_getattr(w->o, world_rq(w), at.e.id, &st), 0);
	assert_int_equal(st.st_nlink, 0);
	assert_int_equal(ovl_write(w->o, world_rq(w), at.e.id, "B", 1, 0, false), 1);
	assert_int_equal(ovl_read(w->o, world_rq(w), at.e.id, text, sizeof(text), 0), 5);
	assert_string_equal(text, "Bytes");
	assert_int_equal(world_count_in(w, "work/orphan"), 1);
	world_check_usage(w);
	world_forget(w, &at);
	assert_int_equal(world_count_in(w, "work/orphan"), 0);
	assert_int_equal(quota_used(&w->quota, QUOTA_BYTES), 0);
	assert_int_equal(quota_used(&w->quota, QUOTA_INODES), 0);
}

static void types_are_told_apart(void **state)
{
	struct world *w = *state;

	assert_int_equal(world_remove(w, "d", false), -EISDIR);
	assert_int_equal(world_remove(w, "d/file", true), -ENOTDIR);
	assert_int_equal(world_remove(w, "d", true), -ENOTEMPTY);
	assert_int_equal(world_remove(w, "nothing", true), -ENOENT);
}

static void a_directory_full_of_whiteouts_is_empty(void **state)
{
	struct world *w = *state;
	struct stat st;

	assert_int_equal(world_remove(w, "d/sub/x", false), 0);
	assert_int_equal(world_remove(w, "d/sub", true), 0);
	assert_int_equal(world_id(w, "d/sub"), 0);
	assert_int_equal(world_stat(w, "d", &st), 0);
	assert_int_equal(st.st_nlink, 2);
	assert_int_equal(world_remove(w, "d/file", false), 0);
	assert_int_equal(world_remove(w, "d", true), 0);
	assert_int_equal(world_upper_stat(w, "d", &st), 0);
	assert_true(ovl_is_whiteout(&st));
	assert_int_equal(world_count_in(w, "work/tmp"), 0);
	world_check_usage(w);
	assert_int_equal(quota_used(&w->quota, QUOTA_INODES), 0);
}

static void a_removed_directory_that_is_open_can_be_looked_at(void **state)
{
	struct world *w = *state;
	struct world_at at;
	struct ovl_entry e;
	struct stat st;

	assert_int_equal(world_make(w, WORLD_DIR, "mine", 0755, &at), 0);
	assert_int_equal(world_remove(w, "mine", true), 0);
	assert_int_equal(ovl_getattr(w->o, world_rq(w), at.e.id, &st), 0);
	assert_int_equal(st.st_nlink, 0);
	assert_int_equal(ovl_mkdir(w->o, world_rq(w), at.e.id, "x", 0755, &e), -ENOENT);
	assert_int_equal(ovl_setattr(w->o, world_rq(w), at.e.id, &(struct stat){.st_mode = 0700},
				 OVL_SET_MODE, &st),
		0);
	assert_int_equal(st.st_mode, S_IFDIR | 0700);
	world_forget(w, &at);
	assert_int_equal(world_make(w, WORLD_DIR, "mine", 0755, NULL), 0);
	world_check_usage(w);
}

static void a_full_quota_does_not_refuse_removal(void **state)
{
	struct world *w = *state;

	quota_set_limit(&w->quota, QUOTA_INODES, 0);
	quota_set_limit(&w->quota, QUOTA_BYTES, 0);
	assert_int_equal(world_remove(w, "d/sub/x", false), 0);
	assert_int_equal(world_remove(w, "d/sub", true), 0);
	assert_int_equal(world_make(w, WORLD_FILE, "d/new", 0644, NULL), -EDQUOT);
	assert_int_equal(world_remove(w, "d/file", false), 0);
	world_check_usage(w);
	assert_int_equal(world_remove(w, "d", true), 0);
	world_check_usage(w);
	assert_int_equal(quota_used(&w->quota, QUOTA_INODES), 0);
}

static void a_submodule_can_be_removed(void **state)
{
	struct world *w = *state;

	assert_int_equal(world_remove(w, "module", true), 0);
	assert_int_equal(world_id(w, "module"), 0);
}

static void a_whole_tree_can_be_removed_and_made_again(void **state)
{
	struct world *w = *state;

	for (int round = 0; round < 3; round++) {
		if (round > 0) {
			assert_int_equal(world_make(w, WORLD_DIR, "d", 0755, NULL), 0);
			assert_int_equal(world_make(w, WORLD_DIR, "d/sub", 0755, NULL), 0);
			world_put(w, "d/sub/x", "again");
			world_put(w, "d/file", "again");
		}
		assert_int_equal(world_remove(w, "d/sub/x", false), 0);
		assert_int_equal(world_remove(w, "d/sub", true), 0);
		assert_int_equal(world_remove(w, "d/file", false), 0);
		assert_int_equal(world_remove(w, "d", true), 0);
		world_check_usage(w);
		assert_int_equal(quota_used(&w->quota, QUOTA_INODES), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, world_tear_down)
		TEST(a_removed_lower_file_stays_away),
		TEST(a_copied_file_goes_and_the_lower_does_not_come_back),
		TEST(an_open_file_is_kept_until_it_is_forgotten),
		TEST(types_are_told_apart),
		TEST(a_directory_full_of_whiteouts_is_empty),
		TEST(a_removed_directory_that_is_open_can_be_looked_at),
		TEST(a_full_quota_does_not_refuse_removal),
		TEST(a_submodule_can_be_removed),
		TEST(a_whole_tree_can_be_removed_and_made_again),
#undef TEST
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
