/* SPDX-License-Identifier: Apache-2.0 */
/* A session over the smallest overlay: what the kernel sees, and what is left when it is closed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mini_world.h"

#include "session/wire.h"

#include <base/err.h>
#include <base/io.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

static void write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	assert_int_equal(close(fd), 0);
}

static void assert_text(const char *path, const char *text)
{
	char buf[256] = "";
	int fd = open(path, O_RDONLY);

	assert_true(fd >= 0);
	assert_int_equal(read(fd, buf, sizeof(buf) - 1), (ssize_t)strlen(text));
	assert_string_equal(buf, text);
	assert_int_equal(close(fd), 0);
}

static void test_files_and_directories(void **state)
{
	struct mini_world *w = *state;
	struct stat st;
	char buf[64] = "";

	assert_text(mini_world_at(w, "ws/hello"), "world");
	write_text(mini_world_at(w, "ws/new"), "12345");
	assert_text(mini_world_at(w, "ws/new"), "12345");
	write_text(mini_world_at(w, "ws/new"), "x");
	assert_text(mini_world_at(w, "ws/new"), "x");
	assert_int_equal(mkdir(mini_world_at(w, "ws/dir"), 0755), 0);
	assert_int_equal(rename(mini_world_at(w, "ws/new"), mini_world_at(w, "ws/dir/moved")), 0);
	assert_text(mini_world_at(w, "ws/dir/moved"), "x");
	assert_int_equal(stat(mini_world_at(w, "ws/new"), &st), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(symlink("dir/moved", mini_world_at(w, "ws/link")), 0);
	assert_int_equal(readlink(mini_world_at(w, "ws/link"), buf, sizeof(buf)), 9);
	assert_text(mini_world_at(w, "ws/link"), "x");
	assert_int_equal(truncate(mini_world_at(w, "ws/dir/moved"), 3), 0);
	assert_int_equal(stat(mini_world_at(w, "ws/dir/moved"), &st), 0);
	assert_int_equal(st.st_size, 3);
	assert_int_equal(unlink(mini_world_at(w, "ws/dir/moved")), 0);
	assert_int_equal(rmdir(mini_world_at(w, "ws/dir")), 0);
}

static void test_listing_gives_back_lookups(void **state)
{
	struct mini_world *w = *state;
	struct dirent *entry;
	unsigned count = 0;
	char name[32];
	DIR *d;

	for (unsigned i = 0; i < 2000; i++) {                       /* more than one reply */
		(void)snprintf(name, sizeof(name), "file-%04u", i); /* fits */
		mini_overlay_add(w->o, name, "");
	}
	d = opendir(mini_world_at(w, "ws"));
	assert_non_null(d);
	while ((entry = readdir(d)))
		count++;
	assert_int_equal(closedir(d), 0);
	assert_int_equal(count, 2001);
	assert_true(mini_overlay_lookups(w->o) >= 2001);
}

static void test_negative_entries_are_cached_except_below_the_root(void **state)
{
	struct sess_stats before, after;
	struct mini_world *w = *state;

	assert_int_equal(access(mini_world_at(w, "ws/none"), F_OK), -1);
	sess_stats(w->s, &before);
	for (int i = 0; i < 10; i++) {
		assert_int_equal(access(mini_world_at(w, "ws/none"), F_OK), -1);
		assert_int_equal(errno, ENOENT);
	}
	sess_stats(w->s, &after);
	assert_int_equal(after.requests[WIRE_LOOKUP], before.requests[WIRE_LOOKUP]);
	for (int i = 0; i < 10; i++)
		assert_int_equal(access(mini_world_at(w, "other-ws"), F_OK), -1);
	sess_stats(w->s, &after);
	assert_int_equal(after.requests[WIRE_LOOKUP], before.requests[WIRE_LOOKUP] + 10);
}

static void test_warm_work_costs_no_request(void **state)
{
	struct sess_stats before, after;
	struct mini_world *w = *state;
	struct stat st;

	assert_text(mini_world_at(w, "ws/hello"), "world");
	assert_int_equal(stat(mini_world_at(w, "ws/hello"), &st), 0);
	sess_stats(w->s, &before);
	for (int i = 0; i < 10; i++) {
		assert_text(mini_world_at(w, "ws/hello"), "world");
		assert_int_equal(stat(mini_world_at(w, "ws/hello"), &st), 0);
	}
	sess_stats(w->s, &after);
	assert_memory_equal(before.requests, after.requests, sizeof(before.requests));
}

static void test_what_libfuse_does_not_pass_on(void **state)
{
	struct mini_world *w = *state;
	struct stat st;
	int fd;

	/* TMPFILE reaches the overlay, and a link gives it a name. */
	fd = open(mini_world_at(w, "ws"), O_TMPFILE | O_RDWR, 0600);
	assert_true(fd >= 0);
	assert_int_equal(mini_overlay_seen(w->o)->tmpfiles, 1);
	assert_int_equal(write(fd, "tmp", 3), 3);
	assert_int_equal(linkat(fd, "", AT_FDCWD, mini_world_at(w, "ws/named"), AT_EMPTY_PATH), 0);
	assert_int_equal(close(fd), 0);
	assert_text(mini_world_at(w, "ws/named"), "tmp");
	/* A change of owner drops set-id bits, and so does it when the kernel asks. */
	assert_int_equal(chown(mini_world_at(w, "ws/hello"), 1, 1), 0);
	assert_true(mini_overlay_seen(w->o)->set & OVL_SET_KILL_SUID);
	assert_true(mini_overlay_seen(w->o)->unique != 0);
	/* ENOSYS of the overlay does not switch attributes off for the connection. */
	assert_int_equal(setxattr(mini_world_at(w, "ws/hello"), "user.x", "1", 1, 0), -1);
	assert_int_equal(errno, EOPNOTSUPP);
	assert_int_equal(setxattr(mini_world_at(w, "ws/hello"), "user.x", "1", 1, 0), -1);
	assert_int_equal(errno, EOPNOTSUPP);
	assert_int_equal(getxattr(mini_world_at(w, "ws/hello"), "user.mini", NULL, 0), 4);
	assert_int_equal(stat(mini_world_at(w, "ws/hello"), &st), 0);
}

static void test_xattrs_and_statfs(void **state)
{
	struct mini_world *w = *state;
	struct statvfs st;
	char buf[64];

	assert_int_equal(getxattr(mini_world_at(w, "ws/hello"), "user.mini", buf, sizeof(buf)), 4);
	assert_memory_equal(buf, "tiny", 4);
	assert_int_equal(getxattr(mini_world_at(w, "ws/hello"), "user.mini", buf, 2), -1);
	assert_int_equal(errno, ERANGE);
	assert_int_equal(
		getxattr(mini_world_at(w, "ws/hello"), "security.capability", buf, sizeof(buf)),
		-1);
	assert_int_equal(errno, ENODATA);
	assert_int_equal(listxattr(mini_world_at(w, "ws/hello"), buf, sizeof(buf)), 10);
	assert_int_equal(statvfs(mini_world_at(w, "ws/hello"), &st), 0);
	assert_int_equal(st.f_blocks, 1003); /* of the object asked for, not of the mount */
}

static void test_new_names_show_after_notification(void **state)
{
	struct mini_world *w = *state;

	assert_int_equal(access(mini_world_at(w, "ws/late-comer"), F_OK), -1);
	mini_overlay_add(w->o, "late-comer", "");
	sess_workspace_added(w->s, "ws"); /* drops what was cached below */
	assert_int_equal(access(mini_world_at(w, "ws/late-comer"), F_OK), 0);
}

static void test_bind_and_unbind(void **state)
{
	char target[300], inside[320];
	struct err e = {0};
	struct mini_world *w = *state;

	(void)snprintf(target, sizeof(target), "%s/here/it is", w->f.dir.path); /* fits */
	(void)snprintf(inside, sizeof(inside), "%s/hello", target);             /* fits */
	assert_int_equal(sess_bind(w->s, "ws", target, false, &e), 0);
	assert_int_equal(sess_bind(w->s, "ws", target, false, &e), -EBUSY);
	assert_text(inside, "world");
	assert_int_equal(sess_unbind(w->s, "ws", target), 0);
	assert_int_equal(sess_unbind(w->s, "ws", target), 0);
	assert_int_equal(access(inside, F_OK), -1);
	assert_int_equal(sess_bind(w->s, "absent", target, false, &e), -ENOENT);
	write_text(inside, "");
	assert_int_equal(sess_bind(w->s, "ws", target, false, &e), -ENOTEMPTY);
	assert_int_equal(sess_bind(w->s, "ws", "relative", false, &e), -EINVAL);
	assert_int_equal(sess_bind(w->s, "../ws", target, false, &e), -EINVAL);
}

static void test_bind_mount_stays_where_its_directory_was_renamed_to(void **state)
{
	char from[300], to[300], target[320], inside[340];
	struct err e = {0};
	struct mini_world *w = *state;

	(void)snprintf(from, sizeof(from), "%s/from", w->f.dir.path);
	(void)snprintf(to, sizeof(to), "%s/to", w->f.dir.path);
	(void)snprintf(target, sizeof(target), "%s/bound", from);
	(void)snprintf(inside, sizeof(inside), "%s/bound/hello", to);
	assert_int_equal(sess_bind(w->s, "ws", target, false, &e), 0);
	assert_int_equal(rename(from, to), 0);
	assert_text(inside, "world");
	assert_int_equal(sess_unbind(w->s, "other", target), 0);
	assert_text(inside, "world");
	assert_int_equal(sess_unbind(w->s, "ws", target), 0);
	assert_int_equal(access(inside, F_OK), -1);
}

static void test_bind_follows_a_link_on_the_way(void **state)
{
	char link[300], elsewhere[300], target[320], made[320];
	struct err e = {0};
	struct mini_world *w = *state;

	(void)snprintf(link, sizeof(link), "%s/link", w->f.dir.path);
	(void)snprintf(elsewhere, sizeof(elsewhere), "%s/elsewhere", w->f.dir.path);
	(void)snprintf(target, sizeof(target), "%s/bound", link);
	(void)snprintf(made, sizeof(made), "%s/bound", elsewhere);
	assert_int_equal(mkdir(elsewhere, 0755), 0);
	assert_int_equal(symlink(elsewhere, link), 0);
	assert_int_equal(sess_bind(w->s, "ws", target, false, &e), -ENOTDIR);
	assert_int_equal(access(made, F_OK), -1);
}

static void test_close_with_open_file_and_busy_directory(void **state)
{
	struct mini_world *w = *state;
	char buf[8];
	int fd;

	fd = open(mini_world_at(w, "ws/hello"), O_RDONLY);
	assert_true(fd >= 0);
	w->s = sess_close(w->s);
	assert_int_equal(count_mounts(w->f.dir.path), 0);
	assert_int_equal(
		pread(fd, buf, sizeof(buf), 0), -1); /* the connection is gone, not hanging */
	assert_int_equal(errno, ENOTCONN);
	(void)close(fd); /* fails likewise */
}

static void test_unmounted_by_somebody_else(void **state)
{
	struct mini_world *w = *state;

	assert_true(sess_alive(w->s));
	assert_int_equal(umount2(mini_world_at(w, ""), MNT_DETACH), 0);
	for (int i = 0; i < 2000 && sess_alive(w->s); i++)
		(void)usleep(1000); /* until the kernel has told the worker */
	assert_false(sess_alive(w->s));
}

static void test_dead_mount_is_replaced(void **state)
{
	struct farm_fixture f;
	struct overlay *o;
	struct session *s;
	char mnt[512], lost[600];
	struct stat st;
	int fd;

	(void)state;
	farm_fixture_init(&f, NULL);
	(void)snprintf(mnt, sizeof(mnt), "%s/mnt/a", f.dir.path); /* fits */
	assert_int_equal(io_mkdirs(mnt, 0755), 0);
	assert_int_equal(f.mounter->mount(f.mounter, "a", mnt, &fd, NULL), 0);
	assert_int_equal(close(fd), 0);
	assert_int_equal(stat(mnt, &st), -1);
	assert_int_equal(errno, ENOTCONN);
	o = mini_overlay_new();
	s = farm_fixture_open(&f, "a", o);
	assert_int_equal(stat(farm_fixture_path(&f, "a", "ws"), &st), 0);
	assert_int_equal(count_mounts(f.dir.path), 1);
	assert_int_equal(umount2(mnt, MNT_DETACH), 0);
	(void)snprintf(lost, sizeof(lost), "%s/lost", mnt); /* fits */
	assert_int_equal(mkdir(lost, 0755), -1);
	assert_int_equal(errno, ENOSPC); /* beneath it is a seal */
	assert_null(sess_close(s));
	assert_null(mini_overlay_free(o));
	farm_fixture_fini(&f);
}

static void test_init_is_saved_and_removed(void **state)
{
	struct wire_init_out out;
	char path[600], buf[4096];
	struct mini_world *w = *state;
	ssize_t n;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/sessions/a/init", w->f.dir.path); /* fits */
	fd = open(path, O_RDONLY);
	assert_true(fd >= 0);
	n = read(fd, buf, sizeof(buf));
	assert_int_equal(close(fd), 0);
	assert_true(n > 100);
	assert_memory_equal(buf, "coppINIT", 8);
	memcpy(&out, buf + n - (ssize_t)sizeof(out), sizeof(out));
	assert_true(out.flags & WIRE_INIT_PARALLEL_DIROPS);
	assert_true(out.flags & WIRE_INIT_HANDLE_KILLPRIV_V2);
	assert_int_equal(out.max_write, 1 << 20);
	assert_int_equal(out.max_background, 256);
	w->s = sess_close(w->s);
	assert_int_equal(access(path, F_OK), -1);
}

static void test_read_ahead_is_raised(void **state)
{
	char path[128], buf[32] = "";
	struct mini_world *w = *state;
	struct stat st;
	int fd;

	assert_int_equal(stat(mini_world_at(w, "ws"), &st), 0);
	(void)snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb",
		(unsigned)(st.st_dev >> 8), (unsigned)(st.st_dev & 0xff)); /* fits */
	fd = open(path, O_RDONLY);
	assert_true(fd >= 0);
	assert_true(read(fd, buf, sizeof(buf) - 1) > 0);
	assert_int_equal(close(fd), 0);
	assert_string_equal(buf, "1024\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_files_and_directories, mini_world_setup, mini_world_teardown),
		cmocka_unit_test_setup_teardown(
			test_listing_gives_back_lookups, mini_world_setup, mini_world_teardown),
		cmocka_unit_test_setup_teardown(
			test_negative_entries_are_cached_except_below_the_root, mini_world_setup,
			mini_world_teardown),
		cmocka_unit_test_setup_teardown(
			test_warm_work_costs_no_request, mini_world_setup, mini_world_teardown),
		cmocka_unit_test_setup_teardown(
			test_what_libfuse_does_not_pass_on, mini_world_setup, mini_world_teardown),
		cmocka_unit_test_setup_teardown(
			test_xattrs_and_statfs, mini_world_setup, mini_world_teardown),
		cmocka_unit_test_setup_teardown(test_new_names_show_after_notification,
			mini_world_setup, mini_world_teardown),
		cmocka_unit_test_setup_teardown(
			test_bind_and_unbind, mini_world_setup, mini_world_teardown),
		cmocka_unit_test_setup_teardown(
			test_bind_mount_stays_where_its_directory_was_renamed_to, mini_world_setup,
			mini_world_teardown),
		cmocka_unit_test_setup_teardown(
			test_bind_follows_a_link_on_the_way, mini_world_setup, mini_world_teardown),
		cmocka_unit_test_setup_teardown(test_close_with_open_file_and_busy_directory,
			mini_world_setup, mini_world_teardown),
		cmocka_unit_test_setup_teardown(
			test_unmounted_by_somebody_else, mini_world_setup, mini_world_teardown),
		cmocka_unit_test_setup_teardown(
			test_dead_mount_is_replaced, mini_world_setup, mini_world_teardown),
		cmocka_unit_test_setup_teardown(
			test_init_is_saved_and_removed, mini_world_setup, mini_world_teardown),
		cmocka_unit_test_setup_teardown(
			test_read_ahead_is_raised, mini_world_setup, mini_world_teardown),
	};

	return cmocka_run_group_tests_name("session", tests, NULL, NULL);
}
