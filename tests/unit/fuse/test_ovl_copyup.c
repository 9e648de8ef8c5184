/* SPDX-License-Identifier: Apache-2.0 */
/* Copy-up: once, with everything the file had, keeping its id and what is seen of its directories;
 * or not at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "ovl_world.h"

#include <pthread.h>

#define BIG (300 * 1024)

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	static char big[BIG];

	world_init(w);
	memset(big, 'b', sizeof(big));
	fake_lower_add(w->fake, "d/e/file", S_IFREG | 0755, "content", 7);
	fake_lower_add(w->fake, "d/e/other", S_IFREG | 0644, "x", 1);
	fake_lower_add(w->fake, "d/link", S_IFLNK | 0777, "e/file", 6);
	fake_lower_add(w->fake, "big", S_IFREG | 0644, big, sizeof(big));
	world_open(w);
	*state = w;
	return 0;
}

static void a_written_file_keeps_all_but_its_bytes(void **state)
{
	struct world *w = *state;
	struct stat before, after, disk;
	char text[16] = "";
	struct world_at at;

	assert_int_equal(world_stat(w, "d/e/file", &before), 0);
	assert_int_equal(world_write(w, "d/e/file", "CON", 3, 0), 3);
	assert_int_equal(world_walk(w, "d/e/file", &at), 0);
	after = at.e.attr;
	assert_int_equal(ovl_read(w->o, world_rq(w), at.e.id, text, sizeof(text), 0), 7);
	assert_string_equal(text, "CONtent");
	world_forget(w, &at);
	assert_int_equal(after.st_ino, before.st_ino);
	assert_int_equal(after.st_mode, S_IFREG | 0755);
	assert_int_equal(after.st_nlink, 1);
	assert_int_equal(world_upper_stat(w, "d/e/file", &disk), 0);
	assert_int_equal(disk.st_size, 7);
	world_check_usage(w);
	assert_int_equal(quota_used(&w->quota, QUOTA_INODES), 3);
	assert_int_equal(quota_used(&w->quota, QUOTA_BYTES), 4096);
}

static void directories_keep_their_times_and_ids(void **state)
{
	struct stat before[2], after[2];
	struct world *w = *state;

	assert_int_equal(world_stat(w, "d", &before[0]), 0);
	assert_int_equal(world_stat(w, "d/e", &before[1]), 0);
	assert_int_equal(world_write(w, "d/e/file", "x", 1, 0), 1);
	assert_int_equal(world_stat(w, "d", &after[0]), 0);
	assert_int_equal(world_stat(w, "d/e", &after[1]), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(after[i].st_ino, before[i].st_ino);
		assert_int_equal(after[i].st_mtim.tv_sec, WORLD_TIME_S);
		assert_int_equal(after[i].st_mtim.tv_nsec, before[i].st_mtim.tv_nsec);
		assert_int_equal(after[i].st_nlink, before[i].st_nlink);
	}
}

static void truncation_to_nothing_reads_nothing(void **state)
{
	struct world *w = *state;
	struct stat st;

	assert_int_equal(world_setattr(w, "big", &(struct stat){0}, OVL_SET_SIZE), 0);
	assert_int_equal(fake_lower_stats(w->fake)->copies, 0);
	assert_int_equal(world_stat(w, "big", &st), 0);
	assert_int_equal(st.st_size, 0);
	assert_int_equal(quota_used(&w->quota, QUOTA_BYTES), 0);
}

static void fetched(void *arg, int result)
{
	*(int *)arg = result;
}

static void what_is_not_local_is_asked_for_first(void **state)
{
	struct world *w = *state;
	struct world_at at;
	int result = 1;

	assert_int_equal(world_walk(w, "big", &at), 0);
	fake_lower_set_missing(w->fake, false, true, false);
	assert_int_equal(ovl_write(w->o, world_rq(w), at.e.id, "x", 1, 0, false), -EAGAIN);
	assert_int_equal(w->rq.need.kind, LOWER_NEED_BLOB);
	assert_int_equal(world_upper_stat(w, "big", &(struct stat){0}), -ENOENT);
	assert_int_equal(quota_used(&w->quota, QUOTA_INODES), 0);
	assert_int_equal(world_count_in(w, "work/tmp"), 0);
	assert_int_equal(ovl_fetch(&w->rq.need, NS_NEVER, fetched, &result), 0);
	while (result == 1)
		(void)usleep(100);
	assert_int_equal(result, 0);
	assert_int_equal(ovl_write(w->o, world_rq(w), at.e.id, "x", 1, 0, false), 1);
	world_forget(w, &at);
	world_check_usage(w);
}

static void a_refused_copy_leaves_the_old_file(void **state)
{
	struct world *w = *state;

	quota_set_limit(&w->quota, QUOTA_BYTES, BIG / 2);
	assert_int_equal(world_write(w, "big", "x", 1, 0), -EDQUOT);
	assert_int_equal(world_upper_stat(w, "big", &(struct stat){0}), -ENOENT);
	assert_int_equal(world_count_in(w, "work/tmp"), 0);
	quota_set_limit(&w->quota, QUOTA_BYTES, QUOTA_UNLIMITED);
	quota_set_limit(&w->quota, QUOTA_INODES, 0);
	assert_int_equal(world_write(w, "big", "x", 1, 0), -EDQUOT);
	quota_set_limit(&w->quota, QUOTA_INODES, QUOTA_UNLIMITED);
	assert_int_equal(world_write(w, "big", "x", 1, 0), 1);
	world_check_usage(w);
}

static void a_symlink_is_copied_as_one(void **state)
{
	struct world *w = *state;
	struct stat st;

	assert_int_equal(world_setattr(w, "d/link", &(struct stat){.st_uid = 5}, OVL_SET_UID), 0);
	assert_int_equal(world_upper_stat(w, "d/link", &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_int_equal(st.st_uid, 5);
	assert_int_equal(st.st_size, 6);
}

static void an_unlinked_lower_file_can_still_be_written(void **state)
{
	struct world *w = *state;
	char text[16] = "";
	struct world_at at;
	struct stat st;

	assert_int_equal(world_walk(w, "d/e/file", &at), 0);
	assert_int_equal(world_remove(w, "d/e/file", false), 0);
	world_put(w, "d/e/file", "another");
	assert_int_equal(ovl_write(w->o, world_rq(w), at.e.id, "CON", 3, 0, false), 3);
	assert_int_equal(ovl_read(w->o, world_rq(w), at.e.id, text, sizeof(text), 0), 7);
	assert_string_equal(text, "CONtent");
	assert_int_equal(ovl_getattr(w->o, world_rq(w), at.e.id, &st), 0);
	assert_int_equal(st.st_nlink, 0);
	assert_int_equal(world_count_in(w, "work/orphan"), 1);
	world_check_usage(w);
	assert_int_not_equal(world_id(w, "d/e/file"), at.e.id);
	world_forget(w, &at);
	assert_int_equal(world_count_in(w, "work/orphan"), 0);
	world_check_usage(w);
}

static void a_file_of_a_removed_directory_can_still_be_written(void **state)
{
	struct world *w = *state;
	struct world_at at;
	struct stat st;

	assert_int_equal(world_walk(w, "d/e/file", &at), 0);
	assert_int_equal(world_remove(w, "d/e/file", false), 0);
	assert_int_equal(world_remove(w, "d/e/other", false), 0);
	assert_int_equal(world_remove(w, "d/e", true), 0);
	assert_int_equal(ovl_write(w->o, world_rq(w), at.e.id, "CON", 3, 0, false), 3);
	assert_int_equal(ovl_getattr(w->o, world_rq(w), at.e.id, &st), 0);
	assert_int_equal(st.st_size, 7);
	world_forget(w, &at);
	assert_int_equal(world_count_in(w, "work/orphan"), 0);
	world_check_usage(w);
}

struct writer {
	pthread_t thread;
	struct world *w;
	uint64_t id;
	char byte;
	uint64_t offset;
};

static void *write_one(void *arg)
{
	struct writer *x = arg;
	struct ovl_req rq = {.unique = 2 * (x->offset + 1)};

	assert_int_equal(ovl_write(x->w->o, &rq, x->id, &x->byte, 1, x->offset, false), 1);
	return NULL;
}

static void many_writers_copy_once(void **state)
{
	struct world *w = *state;
	struct writer x[8];
	struct world_at at;
	char text[8];

	assert_int_equal(world_walk(w, "big", &at), 0);
	for (size_t i = 0; i < 8; i++) {
		x[i] = (struct writer){.w = w, .id = at.e.id, .byte = (char)('0' + i), .offset = i};
		assert_int_equal(pthread_create(&x[i].thread, NULL, write_one, &x[i]), 0);
	}
	for (size_t i = 0; i < 8; i++)
		assert_int_equal(pthread_join(x[i].thread, NULL), 0);
	assert_int_equal(fake_lower_stats(w->fake)->copies, 1);
	assert_int_equal(ovl_read(w->o, world_rq(w), at.e.id, text, 8, 0), 8);
	assert_memory_equal(text, "01234567", 8);
	world_forget(w, &at);
	world_check_usage(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, world_tear_down)
		TEST(a_written_file_keeps_all_but_its_bytes),
		TEST(directories_keep_their_times_and_ids),
		TEST(truncation_to_nothing_reads_nothing),
		TEST(what_is_not_local_is_asked_for_first),
		TEST(a_refused_copy_leaves_the_old_file),
		TEST(a_symlink_is_copied_as_one),
		TEST(an_unlinked_lower_file_can_still_be_written),
		TEST(a_file_of_a_removed_directory_can_still_be_written),
		TEST(many_writers_copy_once),
#undef TEST
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
