/* SPDX-License-Identifier: Apache-2.0 */
/* New objects: owner, mode, what may stand in the way, what may not be made. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "ovl_world.h"

#include <sys/sysmacros.h>

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	world_init(w);
	fake_lower_add(w->fake, "d/file", S_IFREG | 0644, "lower", 5);
	fake_lower_add(w->fake, "d/sub/x", S_IFREG | 0644, "x", 1);
	world_open(w);
	*state = w;
	return 0;
}

static void an_object_belongs_to_the_caller(void **state)
{
	struct world *w = *state;
	struct stat st;

	w->rq.uid = 1000;
	w->rq.gid = 1001;
	(void)umask(077); /* of the daemon: must not matter */
	assert_int_equal(world_make(w, WORLD_FILE, "d/new", 06755, NULL), 0);
	assert_int_equal(world_make(w, WORLD_DIR, "dir", 0775, NULL), 0);
	assert_int_equal(world_symlink(w, "s", "target"), 0);
	(void)umask(0);
	assert_int_equal(world_stat(w, "d/new", &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 06755);
	assert_int_equal(st.st_uid, 1000);
	assert_int_equal(st.st_gid, 1001);
	assert_int_equal(world_stat(w, "dir", &st), 0);
	assert_int_equal(st.st_mode, S_IFDIR | 0775);
	assert_int_equal(st.st_uid, 1000);
	assert_int_equal(st.st_nlink, 2);
	assert_int_equal(world_stat(w, "s", &st), 0);
	assert_int_equal(st.st_uid, 1000);
	assert_int_equal(st.st_size, 6);
	world_check_usage(w);
}

static void a_set_gid_directory_hands_its_group_on(void **state)
{
	struct world *w = *state;
	struct stat st;

	assert_int_equal(world_make(w, WORLD_DIR, "g", 0775, NULL), 0);
	assert_int_equal(world_setattr(w, "g", &(struct stat){.st_gid = 77, .st_mode = 02775},
				 OVL_SET_GID | OVL_SET_MODE),
		0);
	w->rq.gid = 5;
	assert_int_equal(world_make(w, WORLD_FILE, "g/f", 0644, NULL), 0);
	assert_int_equal(world_make(w, WORLD_DIR, "g/d", 0755, NULL), 0);
	assert_int_equal(world_stat(w, "g/f", &st), 0);
	assert_int_equal(st.st_gid, 77);
	assert_int_equal(st.st_mode, S_IFREG | 0644);
	assert_int_equal(world_stat(w, "g/d", &st), 0);
	assert_int_equal(st.st_gid, 77);
	assert_int_equal(st.st_mode, S_IFDIR | 02755);
}

static void what_exists_is_not_made_again(void **state)
{
	struct world *w = *state;
	struct world_at at;
	struct ovl_entry e;

	assert_int_equal(world_make(w, WORLD_FILE, "d/file", 0644, NULL), -EEXIST);
	assert_int_equal(world_make(w, WORLD_DIR, "d", 0644, NULL), -EEXIST);
	assert_int_equal(world_make(w, WORLD_FILE, "no/file", 0644, NULL), -ENOENT);
	/* without O_EXCL it is opened, and truncated if asked */
	assert_int_equal(world_walk(w, "d", &at), 0);
	assert_int_equal(ovl_create(w->o, world_rq(w), at.e.id, "file", 0600, 0, &e), 0);
	assert_int_equal(e.attr.st_size, 5);
	ovl_forget(w->o, e.id, 1);
	assert_int_equal(ovl_create(w->o, world_rq(w), at.e.id, "file", 0600, O_TRUNC, &e), 0);
	assert_int_equal(e.attr.st_size, 0);
	assert_int_equal(e.attr.st_mode, S_IFREG | 0644);
	ovl_forget(w->o, e.id, 1);
	assert_int_equal(ovl_create(w->o, world_rq(w), at.e.id, "sub", 0600, 0, &e), -EISDIR);
	world_forget(w, &at);
}

static void a_directory_over_a_whiteout_hides_the_lower(void **state)
{
	struct world *w = *state;
	bool opaque;

	assert_int_equal(world_remove(w, "d/sub/x", false), 0);
	assert_int_equal(world_remove(w, "d/sub", true), 0);
	assert_int_equal(world_make(w, WORLD_DIR, "d/sub", 0755, NULL), 0);
	assert_int_equal(world_id(w, "d/sub/x"), 0);
	assert_int_equal(ovl_opaque_get(w->ws->upper_fd, "d/sub", &opaque), 0);
	assert_true(opaque);
	world_close(w);
	world_open(w);
	assert_int_equal(world_id(w, "d/sub/x"), 0);
	assert_int_not_equal(world_id(w, "d/sub"), 0);
	assert_int_equal(world_count_in(w, "work/tmp"), 0);
}

static void a_whiteout_cannot_be_made_from_inside(void **state)
{
	struct world *w = *state;
	uint64_t root = ovl_ws_root_id(w->ws);
	struct ovl_entry e;

	assert_int_equal(
		ovl_mknod(w->o, world_rq(w), root, "n", S_IFCHR | 0600, makedev(0, 0), &e), -EPERM);
	assert_int_equal(
		ovl_mknod(w->o, world_rq(w), root, "n", S_IFCHR | 0600, makedev(1, 3), &e), 0);
	assert_int_equal(e.attr.st_rdev, makedev(1, 3));
	ovl_forget(w->o, e.id, 1);
	assert_int_equal(ovl_mknod(w->o, world_rq(w), root, "..", S_IFREG, 0, &e), -EINVAL);
	assert_int_equal(ovl_mknod(w->o, world_rq(w), root, "a/b", S_IFREG, 0, &e), -EINVAL);
	assert_int_equal(ovl_mknod(w->o, world_rq(w), OVL_ROOT_ID, "a", S_IFREG, 0, &e), -EPERM);
}

static void inodes_are_refused_beyond_the_quota(void **state)
{
	struct world *w = *state;

	quota_set_limit(&w->quota, QUOTA_INODES, 1);
	assert_int_equal(world_make(w, WORLD_FILE, "a", 0644, NULL), 0);
	assert_int_equal(world_make(w, WORLD_FILE, "b", 0644, NULL), -EDQUOT);
	assert_int_equal(world_id(w, "b"), 0);
	assert_int_equal(world_remove(w, "a", false), 0);
	assert_int_equal(world_make(w, WORLD_DIR, "b", 0755, NULL), 0);
	world_check_usage(w);
}

static void a_nameless_file_lives_until_it_is_forgotten(void **state)
{
	struct world *w = *state;
	struct ovl_entry e, named;

	assert_int_equal(ovl_tmpfile(w->o, world_rq(w), ovl_ws_root_id(w->ws), 0640, &e), 0);
	assert_int_equal(e.attr.st_nlink, 0);
	assert_int_equal(ovl_write(w->o, world_rq(w), e.id, "abc", 3, 0, false), 3);
	world_check_usage(w);
	assert_int_equal(quota_used(&w->quota, QUOTA_INODES), 1);
	ovl_forget(w->o, e.id, 1);
	assert_int_equal(quota_used(&w->quota, QUOTA_INODES), 0);
	assert_int_equal(quota_used(&w->quota, QUOTA_BYTES), 0);
	assert_int_equal(world_count_in(w, "work/orphan"), 0);

	assert_int_equal(ovl_tmpfile(w->o, world_rq(w), ovl_ws_root_id(w->ws), 0640, &e), 0);
	assert_int_equal(
		ovl_link(w->o, world_rq(w), e.id, ovl_ws_root_id(w->ws), "named", &named), 0);
	assert_int_equal(named.id, e.id);
	assert_int_equal(named.attr.st_nlink, 1);
	ovl_forget(w->o, e.id, 2);
	assert_int_equal(world_id(w, "named"), e.id);
	world_check_usage(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, world_tear_down)
		TEST(an_object_belongs_to_the_caller),
		TEST(a_set_gid_directory_hands_its_group_on),
		TEST(what_exists_is_not_made_again),
		TEST(a_directory_over_a_whiteout_hides_the_lower),
		TEST(a_whiteout_cannot_be_made_from_inside),
		TEST(inodes_are_refused_beyond_the_quota),
		TEST(a_nameless_file_lives_until_it_is_forgotten),
#undef TEST
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
