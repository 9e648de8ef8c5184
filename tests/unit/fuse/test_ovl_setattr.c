/* SPDX-License-Identifier: Apache-2.0 */
/* SETATTR: what changes, what costs nothing, and what must go with it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "ovl_world.h"

static void what_changes_nothing_copies_nothing(void **state)
{
	struct world *w = *state;
	struct stat st = {.st_mode = 0755, .st_uid = 0, .st_gid = 0};

	assert_int_equal(
		world_setattr(w, "tool", &st, OVL_SET_MODE | OVL_SET_UID | OVL_SET_GID), 0);
	assert_int_equal(world_upper_stat(w, "tool", &st), -ENOENT);
	assert_int_equal(
		world_setattr(w, "tool", &(struct stat){.st_mode = 0700}, OVL_SET_MODE), 0);
	assert_int_equal(world_upper_stat(w, "tool", &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0700);
}

static void times_are_set_as_given(void **state)
{
	struct stat in = {.st_atim = {11, 12}, .st_mtim = {13, 14}}, st;
	struct world *w = *state;
	struct timespec now;

	assert_int_equal(world_setattr(w, "d/file", &in, OVL_SET_ATIME | OVL_SET_MTIME), 0);
	assert_int_equal(world_stat(w, "d/file", &st), 0);
	assert_int_equal(st.st_atim.tv_sec, 11);
	assert_int_equal(st.st_atim.tv_nsec, 12);
	assert_int_equal(st.st_mtim.tv_sec, 13);
	assert_int_equal(st.st_mtim.tv_nsec, 14);
	assert_int_equal(world_setattr(w, "d/file", &in, OVL_SET_MTIME_NOW), 0);
	assert_int_equal(world_stat(w, "d/file", &st), 0);
	(void)clock_gettime(CLOCK_REALTIME, &now);
	assert_int_equal(st.st_atim.tv_sec, 11);
	assert_in_range(now.tv_sec - st.st_mtim.tv_sec, 0, 5);
	assert_int_equal(world_setattr(w, "d", &in, OVL_SET_MTIME), 0);
	assert_int_equal(world_stat(w, "d", &st), 0);
	assert_int_equal(st.st_mtim.tv_sec, 13);
	assert_int_equal(world_setattr(w, "link", &in, OVL_SET_MTIME), 0);
	assert_int_equal(world_stat(w, "link", &st), 0);
	assert_int_equal(st.st_mtim.tv_sec, 13);
	assert_true(S_ISLNK(st.st_mode));
}

static void a_new_owner_takes_set_id_bits_away(void **state)
{
	struct world *w = *state;
	struct stat st;

	assert_int_equal(world_make(w, WORLD_FILE, "f", 06755, NULL), 0);
	assert_int_equal(
		world_setattr(w, "f", &(struct stat){.st_uid = 5}, OVL_SET_UID | OVL_SET_KILL_SUID),
		0);
	assert_int_equal(world_stat(w, "f", &st), 0);
	assert_int_equal(st.st_uid, 5);
	assert_int_equal(st.st_mode, S_IFREG | 0755);
	/* also to the owner that it has */
	assert_int_equal(world_setattr(w, "f", &(struct stat){.st_mode = 04755}, OVL_SET_MODE), 0);
	assert_int_equal(
		world_setattr(w, "f", &(struct stat){.st_uid = 5}, OVL_SET_UID | OVL_SET_KILL_SUID),
		0);
	assert_int_equal(world_stat(w, "f", &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0755);
	/* but a mode that is set together with it stays */
	assert_int_equal(world_setattr(w, "f", &(struct stat){.st_uid = 6, .st_mode = 04711},
				 OVL_SET_UID | OVL_SET_MODE | OVL_SET_KILL_SUID),
		0);
	assert_int_equal(world_stat(w, "f", &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 04711);
}

static void sizes_are_for_files(void **state)
{
	struct world *w = *state;
	struct stat st;

	assert_int_equal(
		world_setattr(w, "d", &(struct stat){.st_size = 1}, OVL_SET_SIZE), -EISDIR);
	assert_int_equal(
		world_setattr(w, "link", &(struct stat){.st_size = 1}, OVL_SET_SIZE), -EINVAL);
	assert_int_equal(
		world_setattr(w, "tool", &(struct stat){.st_size = -1}, OVL_SET_SIZE), -EINVAL);
	assert_int_equal(
		world_setattr(w, "tool", &(struct stat){.st_size = 100000}, OVL_SET_SIZE), 0);
	assert_int_equal(world_stat(w, "tool", &st), 0);
	assert_int_equal(st.st_size, 100000);
	world_check_usage(w);
	assert_int_equal(
		ovl_setattr(w->o, world_rq(w), OVL_ROOT_ID, &st, OVL_SET_MODE, &st), -EPERM);
}

static void a_change_survives_forget_and_restart(void **state)
{
	struct world *w = *state;
	struct stat st;

	assert_int_equal(world_setattr(w, "d", &(struct stat){.st_mode = 0711, .st_gid = 9},
				 OVL_SET_MODE | OVL_SET_GID),
		0);
	world_close(w);
	world_open(w);
	assert_int_equal(world_stat(w, "d", &st), 0);
	assert_int_equal(st.st_mode, S_IFDIR | 0711);
	assert_int_equal(st.st_gid, 9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_set_up, world_tear_down)
		TEST(what_changes_nothing_copies_nothing),
		TEST(times_are_set_as_given),
		TEST(a_new_owner_takes_set_id_bits_away),
		TEST(sizes_are_for_files),
		TEST(a_change_survives_forget_and_restart),
#undef TEST
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
