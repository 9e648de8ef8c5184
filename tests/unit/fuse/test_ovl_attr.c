/* SPDX-License-Identifier: Apache-2.0 */
/* Attributes: of lower entries, of upper objects without a syscall, link counts of directories,
 * removed objects, and df. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "overlay/ovl_state.h"
#include "ovl_world.h"

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	world_init(w);
	fake_lower_add(w->fake, "d/a/x", S_IFREG | 0644, "x", 1);
	fake_lower_add(w->fake, "d/b/x", S_IFREG | 0644, "x", 1);
	fake_lower_add(w->fake, "d/file", S_IFREG | 0644, "12345", 5);
	fake_lower_add(w->fake, "d/link", S_IFLNK | 0777, "file", 4);
	world_open(w);
	*state = w;
	return 0;
}

static struct stat stat_of(struct world *w, const char *path)
{
	struct stat st;

	assert_int_equal(world_stat(w, path, &st), 0);
	return st;
}

static void test_lower(void **state)
{
	struct world *w = *state;
	struct stat st = stat_of(w, "d/file");

	assert_int_equal(st.st_blocks, 8);
	assert_int_equal(st.st_blksize, 4096);
	assert_int_equal(st.st_ctim.tv_sec, WORLD_TIME_S);
	st = stat_of(w, "d/link");
	assert_int_equal(st.st_size, 4);
	assert_int_equal(st.st_blocks, 0);
	st = stat_of(w, "d");
	assert_int_equal(st.st_nlink, 4);
	assert_int_equal(st.st_size, 4096);
	st = stat_of(w, "");
	assert_int_equal(st.st_nlink, 3);
	assert_int_equal(st.st_mode, S_IFDIR | 0755);
	assert_int_equal(st.st_mtim.tv_sec, WORLD_TIME_S);
	assert_int_equal(st.st_ino, ovl_ws_root_id(w->ws));
}

static void test_links_of_a_directory(void **state)
{
	struct world *w = *state;

	assert_int_equal(world_make(w, WORLD_DIR, "d/c", 0755, NULL), 0);
	assert_int_equal(stat_of(w, "d").st_nlink, 5);
	world_put(w, "d/a/new", ""); /* d/a gets an upper: it is the same directory still */
	assert_int_equal(stat_of(w, "d").st_nlink, 5);
	assert_int_equal(world_remove(w, "d/b/x", false), 0);
	assert_int_equal(world_remove(w, "d/b", true), 0);
	assert_int_equal(stat_of(w, "d").st_nlink, 4);
	world_put(w, "d/b", ""); /* a file where a lower directory was */
	assert_int_equal(stat_of(w, "d").st_nlink, 4);
	world_close(w);
	world_open(w);
	assert_int_equal(stat_of(w, "d").st_nlink, 4);
	assert_int_equal(stat_of(w, "d/a").st_nlink, 2);
	assert_int_equal(world_remove(w, "d/c", true), 0);
	assert_int_equal(stat_of(w, "d").st_nlink, 3);
}

static void test_removed_lower_file(void **state)
{
	struct world *w = *state;
	struct world_at e;
	struct stat st;
	char buf[8];

	assert_int_equal(world_walk(w, "d/file", &e), 0);
	assert_int_equal(world_remove(w, "d/file", false), 0);
	assert_int_equal(ovl_getattr(w->o, world_rq(w), e.e.id, &st), 0);
	assert_int_equal(st.st_nlink, 0);
	assert_int_equal(st.st_size, 5);
	assert_int_equal(ovl_read(w->o, world_rq(w), e.e.id, buf, sizeof(buf), 0), 5);
	world_forget(w, &e);
}

static void test_removed_upper_file_and_directory(void **state)
{
	struct world *w = *state;
	struct world_at file, dir;
	struct stat st;

	assert_int_equal(world_make(w, WORLD_FILE, "d/u", 0640, &file), 0);
	assert_int_equal(world_make(w, WORLD_DIR, "d/v", 0750, &dir), 0);
	assert_int_equal(world_remove(w, "d/u", false), 0);
	assert_int_equal(world_remove(w, "d/v", true), 0);
	assert_int_equal(ovl_getattr(w->o, world_rq(w), file.e.id, &st), 0);
	assert_int_equal(st.st_nlink, 0);
	assert_int_equal(ovl_getattr(w->o, world_rq(w), dir.e.id, &st), 0);
	assert_int_equal(st.st_nlink, 0);
	world_forget(w, &file);
	world_forget(w, &dir);
	assert_int_equal(world_count_in(w, "work/orphan"), 0);
	/* after the last FORGET there is nothing by that id */
	assert_int_equal(ovl_getattr(w->o, world_rq(w), file.e.id, &st), -ESTALE);
}

/* Attributes come from memory: what is done to the disk behind our back is not even noticed. */
static void test_no_syscall(void **state)
{
	struct world *w = *state;
	struct world_at e;
	struct stat st;

	assert_int_equal(world_make(w, WORLD_FILE, "plain", 0644, &e), 0);
	assert_int_equal(fchmodat(w->ws->upper_fd, "plain", 0600, 0), 0);
	assert_int_equal(ovl_getattr(w->o, world_rq(w), e.e.id, &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0644);
	world_forget(w, &e);
	assert_int_equal(stat_of(w, "plain").st_mode, S_IFREG | 0600);
}

static void test_stale(void **state)
{
	struct world *w = *state;
	struct stat st;

	assert_int_equal(ovl_getattr(w->o, world_rq(w), 0, &st), -ESTALE);
	assert_int_equal(
		ovl_getattr(w->o, world_rq(w), ovl_ws_root_id(w->ws) + 100000, &st), -ESTALE);
	assert_int_equal(ovl_getattr(w->o, world_rq(w), UINT64_MAX, &st), -ESTALE);
}

static void test_statfs(void **state)
{
	struct world *w = *state;
	uint64_t root = ovl_ws_root_id(w->ws), before;
	struct statvfs sv;

	assert_int_equal(ovl_statfs(w->o, world_rq(w), root, &sv), 0);
	assert_true(sv.f_blocks > 0 && sv.f_bavail <= sv.f_bfree); /* the disk */
	quota_set_limit(&w->quota, QUOTA_BYTES, 1 << 20);
	quota_set_limit(&w->quota, QUOTA_INODES, 10);
	world_put(w, "four", "x");
	before = quota_used(&w->quota, QUOTA_BYTES);
	assert_true(before > 0);
	assert_int_equal(ovl_statfs(w->o, world_rq(w), world_id(w, "four"), &sv), 0);
	assert_int_equal(sv.f_blocks, 256);
	assert_int_equal(sv.f_bfree, 256 - before / 4096);
	assert_int_equal(sv.f_files, 10);
	assert_int_equal(sv.f_ffree, 9);
	assert_int_equal(sv.f_namemax, 255);
	/* below the usage: nothing is free, nothing wraps */
	quota_set_limit(&w->quota, QUOTA_BYTES, 0);
	assert_int_equal(ovl_statfs(w->o, world_rq(w), root, &sv), 0);
	assert_int_equal(sv.f_blocks, 0);
	assert_int_equal(sv.f_bavail, 0);
	assert_int_equal(ovl_statfs(w->o, world_rq(w), OVL_ROOT_ID, &sv), 0);
	assert_int_equal(ovl_statfs(w->o, world_rq(w), 99ull << OVL_LOCAL_BITS, &sv), -ESTALE);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, world_tear_down)
	const struct CMUnitTest tests[] = {
		T(test_lower),
		T(test_links_of_a_directory),
		T(test_removed_lower_file),
		T(test_removed_upper_file_and_directory),
		T(test_no_syscall),
		T(test_stale),
		T(test_statfs),
	};
#undef T

	return cmocka_run_group_tests(tests, NULL, NULL);
}
