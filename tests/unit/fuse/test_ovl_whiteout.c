/* SPDX-License-Identifier: Apache-2.0 */
/* Whiteouts and the overlay's marks on disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "ovl_world.h"

#include <sys/xattr.h>

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	world_init(w);
	fake_lower_add(w->fake, "a", S_IFREG | 0644, "a", 1);
	world_open(w);
	*state = w;
	return 0;
}

static void whiteouts_share_an_inode_that_is_renewed_when_lost(void **state)
{
	struct world *w = *state;
	struct stat first, second, third;

	assert_int_equal(ovl_whiteout_make(w->ws, w->ws->work_fd, "tmp/w1"), 0);
	assert_int_equal(ovl_whiteout_make(w->ws, w->ws->work_fd, "tmp/w2"), 0);
	assert_int_equal(ovl_whiteout_make(w->ws, w->ws->work_fd, "tmp/w1"), -EEXIST);
	(void)unlinkat(w->ws->work_fd, "whiteout", 0);
	assert_int_equal(ovl_whiteout_make(w->ws, w->ws->work_fd, "tmp/w3"), 0);
	assert_int_equal(fstatat(w->ws->work_fd, "tmp/w1", &first, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(fstatat(w->ws->work_fd, "tmp/w2", &second, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(fstatat(w->ws->work_fd, "tmp/w3", &third, AT_SYMLINK_NOFOLLOW), 0);
	assert_true(ovl_is_whiteout(&first) && ovl_is_whiteout(&third));
	assert_int_equal(first.st_ino, second.st_ino);
	assert_int_not_equal(first.st_ino, third.st_ino);
}

static void a_swap_is_one_step(void **state)
{
	struct world *w = *state;
	struct stat st;

	world_put(w, "f", "bytes");
	assert_int_equal(
		ovl_whiteout_swap(w->ws, w->ws->upper_fd, "f", w->ws->work_fd, "tmp/t"), 0);
	assert_int_equal(world_upper_stat(w, "f", &st), 0);
	assert_true(ovl_is_whiteout(&st));
	assert_int_equal(fstatat(w->ws->work_fd, "tmp/t", &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(st.st_size, 5);
	assert_int_equal(ovl_whiteout_swap(w->ws, w->ws->upper_fd, "none", w->ws->work_fd, "tmp/u"),
		-ENOENT);
	assert_int_equal(fstatat(w->ws->work_fd, "tmp/u", &st, AT_SYMLINK_NOFOLLOW), -1);
	/* back, so that the workspace's tables are right again */
	assert_int_equal(ovl_whiteout_replace(w->ws, "tmp/t", w->ws->upper_fd, "f", false), 0);
}

static void marks_are_read_as_they_were_written(void **state)
{
	struct world *w = *state;
	int up = w->ws->upper_fd, fd;
	struct oid oid = {.len = 20, .bytes = {1, 2, 3}}, back;
	uint64_t local;
	bool yes;

	assert_int_equal(world_make(w, WORLD_DIR, "d", 0755, NULL), 0);
	assert_int_equal(world_symlink(w, "s", "nowhere"), 0);
	fd = openat(up, "d", O_PATH | O_DIRECTORY);
	assert_int_equal(ovl_opaque_get(up, "d", &yes), 0);
	assert_false(yes);
	assert_int_equal(ovl_opaque_set(fd), 0);
	assert_int_equal(ovl_opaque_get(up, "d", &yes), 0);
	assert_true(yes);
	assert_int_equal(ovl_redirect_get(up, "d", &back, &yes), 0);
	assert_false(yes);
	assert_int_equal(ovl_redirect_set(fd, &oid), 0);
	assert_int_equal(ovl_redirect_get(up, "d", &back, &yes), 0);
	assert_true(yes && oid_equal(&oid, &back));
	assert_int_equal(ovl_mark_set(up, "s", 0x123456789a), 0);
	assert_int_equal(ovl_mark_get(up, "s", &local), 0);
	assert_int_equal(local, 0x123456789a);
	(void)close(fd);
}

static void marks_that_are_not_ours_are_not_believed(void **state)
{
	struct world *w = *state;
	int up = w->ws->upper_fd;
	struct oid oid;
	uint64_t local = 5;
	bool yes;

	assert_int_equal(world_make(w, WORLD_DIR, "d", 0755, NULL), 0);
	assert_int_equal(ovl_xattr_at_set(up, "d", OVL_XATTR_REDIRECT, "../../etc", 9, 0), 0);
	assert_int_equal(ovl_redirect_get(up, "d", &oid, &yes), -EIO);
	assert_int_equal(ovl_xattr_at_set(up, "d", OVL_XATTR_OPAQUE, "yes", 3, 0), 0);
	assert_int_equal(ovl_opaque_get(up, "d", &yes), 0);
	assert_false(yes);
	assert_int_equal(ovl_xattr_at_set(up, "d", OVL_XATTR_NODE, "short", 5, 0), 0);
	assert_int_equal(ovl_mark_get(up, "d", &local), 0);
	assert_int_equal(local, 0);
	assert_int_equal(ovl_mark_get(up, "none", &local), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, world_tear_down)
		TEST(whiteouts_share_an_inode_that_is_renewed_when_lost),
		TEST(a_swap_is_one_step),
		TEST(marks_are_read_as_they_were_written),
		TEST(marks_that_are_not_ours_are_not_believed),
#undef TEST
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
