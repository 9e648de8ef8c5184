/* SPDX-License-Identifier: Apache-2.0 */
/* Hard links: one node under all its names, counted right, charged once, opened whichever names are
 * left. */
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
	fake_lower_add(w->fake, "gone", S_IFREG | 0644, "gone", 4);
	world_open(w);
	*state = w;
	return 0;
}

static nlink_t links(struct world *w, const char *path)
{
	struct stat st;

	assert_int_equal(world_stat(w, path, &st), 0);
	return st.st_nlink;
}

static void all_names_are_one_node(void **state)
{
	struct world *w = *state;
	uint64_t id = world_id(w, "d/file");

	assert_int_equal(world_link(w, "d/file", "a"), 0);
	assert_int_equal(world_link(w, "a", "d/b"), 0);
	assert_int_equal(world_id(w, "a"), id);
	assert_int_equal(world_id(w, "d/b"), id);
	assert_int_equal(world_id(w, "d/file"), id);
	assert_int_equal(links(w, "d/b"), 3);
	assert_int_equal(quota_used(&w->quota, QUOTA_INODES), 2);
	world_check_usage(w);
	world_close(w);
	world_open(w);
	assert_int_equal(world_id(w, "a"), id);
	assert_int_equal(world_id(w, "d/file"), id);
	assert_int_equal(links(w, "a"), 3);
	world_check_usage(w);
}

static void any_name_may_go_first(void **state)
{
	struct world *w = *state;

	for (int first = 0; first < 2; first++) {
		world_put(w, "a", "bytes");
		assert_int_equal(world_link(w, "a", "b"), 0);
		assert_int_equal(world_remove(w, first ? "b" : "a", false), 0);
		assert_int_equal(links(w, first ? "a" : "b"), 1);
		assert_int_equal(world_write(w, first ? "a" : "b", "B", 1, 0), 1);
		assert_int_equal(world_remove(w, first ? "a" : "b", false), 0);
		assert_int_equal(world_count_in(w, "work/links"), 0);
		assert_int_equal(quota_used(&w->quota, QUOTA_INODES), 0);
		assert_int_equal(quota_used(&w->quota, QUOTA_BYTES), 0);
	}
}

static void an_open_file_outlives_all_its_names(void **state)
{
	struct world *w = *state;
	struct world_at at;
	char text[8] = "";
	struct stat st;

	world_put(w, "a", "bytes");
	assert_int_equal(world_link(w, "a", "b"), 0);
	assert_int_equal(world_walk(w, "b", &at), 0);
	assert_int_equal(world_remove(w, "a", false), 0);
	assert_int_equal(world_remove(w, "b", false), 0);
	assert_int_equal(ovl_read(w->o, world_rq(w), at.e.id, text, sizeof(text), 0), 5);
	assert_int_equal(ovl_getattr(w->o, world_rq(w), at.e.id, &st), 0);
	assert_int_equal(st.st_nlink, 0);
	world_check_usage(w);
	world_forget(w, &at);
	assert_int_equal(world_count_in(w, "work/links"), 0);
	assert_int_equal(world_count_in(w, "work/orphan"), 0);
	assert_int_equal(quota_used(&w->quota, QUOTA_INODES), 0);
}

static void a_link_over_a_whiteout_and_what_is_refused(void **state)
{
	struct world *w = *state;

	assert_int_equal(world_link(w, "d/file", "gone"), -EEXIST);
	assert_int_equal(world_remove(w, "gone", false), 0);
	assert_int_equal(world_link(w, "d/file", "gone"), 0);
	assert_int_equal(world_id(w, "gone"), world_id(w, "d/file"));
	assert_int_equal(world_link(w, "d", "dir"), -EPERM);
	assert_int_equal(world_link(w, "none", "x"), -ENOENT);
	assert_int_equal(world_remove(w, "gone", false), 0);
	assert_int_equal(world_id(w, "gone"), 0);
	world_check_usage(w);
}

static void a_symlink_and_a_fifo_can_be_linked(void **state)
{
	struct world *w = *state;

	assert_int_equal(world_symlink(w, "s", "target"), 0);
	assert_int_equal(world_make(w, WORLD_FIFO, "f", 0600, NULL), 0);
	assert_int_equal(world_link(w, "s", "s2"), 0);
	assert_int_equal(world_link(w, "f", "f2"), 0);
	assert_int_equal(world_id(w, "s"), world_id(w, "s2"));
	assert_int_equal(world_remove(w, "s", false), 0);
	assert_int_equal(links(w, "s2"), 1);
	world_check_usage(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, world_tear_down)
		TEST(all_names_are_one_node),
		TEST(any_name_may_go_first),
		TEST(an_open_file_outlives_all_its_names),
		TEST(a_link_over_a_whiteout_and_what_is_refused),
		TEST(a_symlink_and_a_fifo_can_be_linked),
#undef TEST
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
