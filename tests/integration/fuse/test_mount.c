/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The product's overlay through a real mount: what a job does all day, what it costs in messages,
 * and what happens when the lower must be fetched or fails.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mount_world.h"

#include "session/wire.h"

#include <base/clock.h>
#include <base/io.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *at(struct mount_world *w, const char *name)
{
	return mount_world_at(w, name);
}

static void write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(io_write_full(fd, text, strlen(text)), 0);
	assert_int_equal(close(fd), 0);
}

static void assert_text(const char *path, const char *text)
{
	char *got = NULL;
	size_t len;

	assert_int_equal(io_read_file(AT_FDCWD, path, 1 << 22, &got, &len), 0);
	assert_string_equal(got, text);
	free(got);
}

/* ---- walking ---- */

struct walked {
	unsigned files, dirs, links;
	uint64_t bytes;
};
static struct walked walked; /* nftw has no argument */

static int visit(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)path;
	(void)ftw;
	walked.files += type == FTW_F;
	walked.dirs += type == FTW_D;
	walked.links += type == FTW_SL;
	walked.bytes += type == FTW_F ? (uint64_t)st->st_size : 0;
	return type == FTW_NS || type == FTW_DNR ? -1 : 0;
}

static void walk(struct mount_world *w)
{
	walked = (struct walked){0};
	assert_int_equal(nftw(at(w, ""), visit, 16, FTW_PHYS), 0);
	assert_int_equal(walked.files, 1008);
	assert_int_equal(walked.dirs, 6);
	assert_int_equal(walked.links, 1);
}

static void read_all(struct mount_world *w)
{
	char name[32], text[32];

	for (unsigned i = 0; i < 1000; i++) {
		(void)snprintf(name, sizeof(name), "many/%03u", i); /* fits, as the next */
		(void)snprintf(text, sizeof(text), "number %u\n", i);
		assert_text(at(w, name), text);
	}
}

static void test_cold_then_warm(void **state)
{
	struct mount_world *w = *state;
	struct sess_stats cold, warm;

	sess_stats(w->s, &cold);
	walk(w);
	read_all(w);
	walk(w); /* attributes whose access time the kernel doubts after a first READ or READDIR */
	read_all(w);
	sess_stats(w->s, &cold);
	walk(w);
	read_all(w);
	assert_int_equal(access(at(w, "none"), F_OK), -1);
	assert_int_equal(access(at(w, "none"), F_OK), -1);
	sess_stats(w->s, &warm);
	for (unsigned op = 0; op < 64; op++) {
		uint64_t n = warm.requests[op] - cold.requests[op];

		if (op == WIRE_GETATTR)
			assert_true(n <= 6); /* a directory's access time, see docs/threads.md */
		else if (op == WIRE_LOOKUP)
			assert_int_equal(n, 1); /* "none", once */
		else
			assert_int_equal(n, 0);
	}
	assert_int_equal(warm.requests[WIRE_OPEN] > 2, 0); /* answered ENOSYS once or twice, ever */
}

static void test_big_file_and_link(void **state)
{
	struct mount_world *w = *state;
	char *big = NULL;
	size_t len;

	assert_int_equal(io_read_file(AT_FDCWD, at(w, "big"), 1 << 22, &big, &len), 0);
	assert_int_equal(len, (1 << 20) + 17);
	for (size_t i = 0; i < len; i++)
		if (big[i] != (char)(i * 2654435761u >> 13))
			fail_msg("byte %zu differs", i);
	free(big);
	assert_text(at(w, "link"), "int main(void)\n{\n\treturn 0;\n}\n");
}

/* ---- changing ---- */

static void test_write_rename_unlink(void **state)
{
	struct mount_world *w = *state;
	struct stat st;
	char buf[16];
	int fd;

	write_text(at(w, "new"), "fresh");
	assert_text(at(w, "new"), "fresh");
	write_text(at(w, "README"), "over the lower");
	assert_text(at(w, "README"), "over the lower");
	assert_int_equal(rename(at(w, "src/lib/a.c"), at(w, "moved.c")), 0);
	assert_text(at(w, "moved.c"), "int a;\n");
	assert_int_equal(access(at(w, "src/lib/a.c"), F_OK), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(rename(at(w, "src/lib"), at(w, "lib2")), 0);
	assert_text(at(w, "lib2/deep/x"), "deep\n");
	assert_text(at(w, "lib2/b.c"), "int b;\n");
	assert_int_equal(access(at(w, "src/lib"), F_OK), -1);

	fd = open(at(w, "new"), O_RDWR);
	assert_true(fd >= 0);
	assert_int_equal(unlink(at(w, "new")), 0);
	assert_int_equal(pread(fd, buf, sizeof(buf), 0), 5);
	assert_int_equal(pwrite(fd, "FRESH and longer", 16, 0), 16);
	assert_int_equal(pread(fd, buf, sizeof(buf), 0), 16);
	assert_memory_equal(buf, "FRESH and longer", 16);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_nlink, 0);
	assert_int_equal(close(fd), 0);

	/* A lower file that is open while it is removed, and while it is changed. */
	fd = open(at(w, "lib2/c.c"), O_RDONLY);
	assert_true(fd >= 0);
	write_text(at(w, "lib2/c.c"), "changed");
	assert_int_equal(pread(fd, buf, sizeof(buf), 0), 7);
	assert_memory_equal(buf, "changed", 7);
	assert_int_equal(unlink(at(w, "lib2/c.c")), 0);
	assert_int_equal(pread(fd, buf, sizeof(buf), 0), 7);
	assert_int_equal(close(fd), 0);
}

static void test_append_truncate_mmap(void **state)
{
	struct mount_world *w = *state;
	int fd = open(at(w, "README"), O_RDWR | O_APPEND);
	struct stat st;
	char *map;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "more", 4), 4);
	assert_text(at(w, "README"), "read me\nmore");
	assert_int_equal(ftruncate(fd, 4096), 0);
	map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(map, MAP_FAILED);
	memcpy(map, "MAPPED", 6);
	assert_int_equal(msync(map, 4096, MS_SYNC), 0);
	assert_int_equal(munmap(map, 4096), 0);
	assert_int_equal(fsync(fd), 0);
	assert_int_equal(close(fd), 0);
	assert_int_equal(stat(at(w, "README"), &st), 0);
	assert_int_equal(st.st_size, 4096);
	assert_int_equal(truncate(at(w, "README"), 8), 0);
	assert_text(at(w, "README"), "MAPPEDe\n");
}

static void test_tmpfile_link_and_modes(void **state)
{
	struct mount_world *w = *state;
	int fd = open(at(w, "src"), O_TMPFILE | O_RDWR, 0640);
	struct stat st;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "unnamed", 7), 7);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_nlink, 0);
	assert_int_equal(linkat(fd, "", AT_FDCWD, at(w, "named"), AT_EMPTY_PATH), 0);
	assert_int_equal(close(fd), 0);
	assert_text(at(w, "named"), "unnamed");
	assert_int_equal(link(at(w, "named"), at(w, "src/second")), 0);
	assert_int_equal(stat(at(w, "named"), &st), 0);
	assert_int_equal(st.st_nlink, 2);
	assert_int_equal(chmod(at(w, "named"), 04755), 0);
	assert_int_equal(chown(at(w, "named"), 1, 1), 0);
	assert_int_equal(stat(at(w, "src/second"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0755); /* a new owner loses set-id, through any name */
	assert_int_equal(st.st_uid, 1);
}

/* Somebody else's write or truncation takes set-id bits away, and everyone sees that at once. */
static void test_foreign_write_drops_set_id(void **state)
{
	struct mount_world *w = *state;
	int dir = open(at(w, ""), O_PATH | O_DIRECTORY); /* the way there is closed to others */

	assert_true(dir >= 0);
	for (int truncating = 0; truncating < 2; truncating++) {
		struct stat st;
		int status;
		pid_t pid;

		write_text(at(w, "set-id"), "text");
		assert_int_equal(chmod(at(w, "set-id"), 06777), 0);
		assert_int_equal(stat(at(w, "set-id"), &st), 0);
		assert_int_equal(st.st_mode & 07777, 06777);
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0) {
			int fd = setgid(1) < 0 || setuid(1) < 0 ? -1
								: openat(dir, "set-id", O_WRONLY);
			int r = truncating ? ftruncate(fd, 1) : (int)write(fd, "x", 1);

			_exit(fd < 0 ? 1 : r < 0 ? 2 : 0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
		assert_int_equal(stat(at(w, "set-id"), &st), 0);
		assert_int_equal(st.st_mode & 07777, 0777);
	}
	assert_int_equal(close(dir), 0);
}

/* A file that was removed makes room at once, though its quota is given back by a FORGET that comes
 * after the removal; a quota that is really full refuses without waiting. */
static void test_removal_makes_room_at_once(void **state)
{
	struct mount_world *w = *state;
	char name[32];
	uint64_t begin_ns, used;
	int fd;

	write_text(at(w, "f0"), "x");
	used = quota_used(&w->quota, QUOTA_INODES);
	quota_set_limit(&w->quota, QUOTA_INODES, used);
	for (unsigned i = 0; i < 1000; i++) {
		(void)snprintf(name, sizeof(name), "f%u", i); /* fits, as the next */
		assert_int_equal(unlink(at(w, name)), 0);
		(void)snprintf(name, sizeof(name), "f%u", i + 1);
		fd = creat(at(w, name), 0644);
		assert_true(fd >= 0);
		assert_int_equal(close(fd), 0);
	}
	assert_int_equal(quota_used(&w->quota, QUOTA_INODES), used);
	begin_ns = clock_mono_ns(&clock_system);
	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(creat(at(w, "one-more"), 0644), -1);
		assert_int_equal(errno, EDQUOT);
	}
	assert_true(clock_mono_ns(&clock_system) - begin_ns < NS_PER_S);
	fd = open(at(w, "f1000"), O_RDONLY);
	assert_true(fd >= 0);
	assert_int_equal(unlink(at(w, "f1000")), 0);
	begin_ns = clock_mono_ns(&clock_system);
	assert_int_equal(creat(at(w, "one-more"), 0644), -1); /* it may be closed any moment */
	assert_int_equal(errno, EDQUOT);
	assert_true(clock_mono_ns(&clock_system) - begin_ns < 5 * NS_PER_S);
	assert_int_equal(close(fd), 0);
	fd = creat(at(w, "one-more"), 0644);
	assert_true(fd >= 0);
	assert_int_equal(close(fd), 0);
}

static void test_exec_and_remove_everything(void **state)
{
	struct mount_world *w = *state;
	pid_t pid = fork();
	struct dirent *entry;
	int status, fd;
	DIR *d;

	assert_true(pid >= 0);
	if (pid == 0) {
		(void)freopen("/dev/null", "w", stdout); /* the tool talks */
		(void)execl(at(w, "bin/tool"), "tool", (char *)NULL);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	fd = open(at(w, ""), O_RDONLY | O_DIRECTORY);
	assert_true(fd >= 0);
	assert_int_equal(io_remove_tree(fd, "many"), 0);
	assert_int_equal(io_remove_tree(fd, "src"), 0);
	assert_int_equal(mkdirat(fd, "many", 0755), 0);
	assert_int_equal(close(fd), 0);
	write_text(at(w, "many/only"), "x");
	d = opendir(at(w, "many"));
	assert_non_null(d);
	for (unsigned n = 0; (entry = readdir(d)); n++)
		assert_true(entry->d_name[0] == '.' || strcmp(entry->d_name, "only") == 0);
	assert_int_equal(closedir(d), 0);
	assert_int_equal(access(at(w, "many/000"), F_OK), -1);
	assert_int_equal(errno, ENOENT);
}

static void test_quota_and_statfs(void **state)
{
	struct mount_world *w = *state;
	static char block[1 << 20];
	struct statvfs st;
	int fd = open(at(w, "grow"), O_WRONLY | O_CREAT, 0644), r = 0;
	unsigned mib = 0;

	assert_true(fd >= 0);
	for (; mib < 80 && r == 0; mib += r == 0)
		r = io_write_full(fd, block, sizeof(block));
	assert_int_equal(r, -EDQUOT);
	assert_true(mib >= 60 && mib <= 64);
	(void)close(fd); /* its error was met above */
	assert_int_equal(statvfs(at(w, ""), &st), 0);
	assert_true(st.f_blocks * st.f_frsize <= 64u << 20);
	assert_int_equal(unlink(at(w, "grow")), 0);
	/* What it took comes back with the kernel's FORGET, a moment later: nobody must notice. */
	write_text(at(w, "fits"), "again");
}

static void test_changes_survive_a_restart(void **state)
{
	struct mount_world *w = *state;
	struct stat before, after;

	write_text(at(w, "src/new.c"), "kept");
	write_text(at(w, "README"), "changed");
	assert_int_equal(unlink(at(w, "src/lib/b.c")), 0);
	assert_int_equal(rename(at(w, "src/lib/deep"), at(w, "deep")), 0);
	assert_int_equal(stat(at(w, "src/new.c"), &before), 0);
	mount_world_restart(w);
	assert_text(at(w, "src/new.c"), "kept");
	assert_text(at(w, "README"), "changed");
	assert_text(at(w, "deep/x"), "deep\n");
	assert_int_equal(access(at(w, "src/lib/b.c"), F_OK), -1);
	assert_int_equal(access(at(w, "src/lib/deep"), F_OK), -1);
	assert_int_equal(stat(at(w, "src/new.c"), &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
}

/* ---- fetching ---- */

static void test_everything_missing_is_fetched(void **state)
{
	struct mount_world *w = *state;
	struct sess_stats stats;

	fake_lower_set_missing(w->lower, true, true, true);
	mount_world_restart(w);
	walk(w);
	read_all(w);
	assert_text(at(w, "src/lib/a.c"), "int a;\n");
	write_text(at(w, "src/lib/deep/x"), "new"); /* copies up through fetched trees */
	assert_text(at(w, "src/lib/deep/x"), "new");
	sess_stats(w->s, &stats);
	assert_true(stats.parked_total >= 1000);
}

static void test_a_failing_lower_is_never_absence(void **state)
{
	static const int errors[] = {EIO, ETIMEDOUT, EHOSTUNREACH};
	struct mount_world *w = *state;
	struct stat st;
	char *got;
	size_t len;
	int fd;

	fake_lower_set_missing(w->lower, true, true, false);
	mount_world_restart(w);
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		fake_lower_set_fetch_error(w->lower, -errors[i]);
		assert_int_equal(stat(at(w, "src/main.c"), &st), -1);
		assert_int_equal(errno, errors[i]);
		fd = open(at(w, "none"), O_RDONLY | O_CREAT | O_EXCL, 0644);
		assert_int_equal(fd, -1);
		assert_int_equal(errno, errors[i]);
	}
	/* Nothing of that was remembered. */
	fake_lower_set_fetch_error(w->lower, 0);
	assert_int_equal(stat(at(w, "src/main.c"), &st), 0);
	fake_lower_set_fetch_error(w->lower, -EHOSTUNREACH);
	assert_int_equal(
		io_read_file(AT_FDCWD, at(w, "src/main.c"), 4096, &got, &len), -EHOSTUNREACH);
	assert_int_equal(truncate(at(w, "src/main.c"), 3), -1); /* needs the content to copy up */
	assert_int_equal(errno, EHOSTUNREACH);
	fake_lower_set_fetch_error(w->lower, 0);
	assert_int_equal(truncate(at(w, "src/main.c"), 3), 0);
	assert_text(at(w, "src/main.c"), "int");
}

/* ---- workspaces that come and go ---- */

static void test_workspace_comes_and_goes(void **state)
{
	struct mount_world *w = *state;
	struct ovl_ws_config config = {.name = "two", .serial = 2, .quota = &w->quota};
	struct ovl_ws *two;
	char dir[300], buf[8];
	const char *readme;
	int fd;

	readme = farm_fixture_path(&w->f, "a", "two/README");
	assert_int_equal(access(readme, F_OK), -1);
	(void)snprintf(dir, sizeof(dir), "%s/two-dir", w->f.dir.path); /* fits */
	config.dir = dir;
	config.lower = fake_lower_open(w->lower);
	config.root_tree = w->root;
	assert_int_equal(ovl_ws_add(w->o, &config, &two, NULL), 0);
	sess_workspace_added(w->s, "two");
	assert_text(readme, "read me\n");
	write_text(farm_fixture_path(&w->f, "a", "two/mine"), "x");
	assert_int_equal(access(at(w, "mine"), F_OK), -1);
	assert_int_equal(rename(farm_fixture_path(&w->f, "a", "two/mine"), at(w, "mine")), -1);
	assert_int_equal(errno, EXDEV);

	fd = open(farm_fixture_path(&w->f, "a", "two/src/main.c"), O_RDONLY);
	assert_true(fd >= 0);
	ovl_ws_remove(w->o, two);
	sess_workspace_removed(w->s, "two");
	assert_int_equal(access(readme, F_OK), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(pread(fd, buf, sizeof(buf), 0), -1); /* answered, not hanging */
	assert_int_equal(errno, ESTALE);
	assert_int_equal(close(fd), 0);
	assert_text(at(w, "README"), "read me\n");
}

int main(void)
{
#define WITH_MOUNT(test) \
	cmocka_unit_test_setup_teardown(test, mount_world_setup, mount_world_teardown)
	const struct CMUnitTest tests[] = {
		WITH_MOUNT(test_cold_then_warm),
		WITH_MOUNT(test_big_file_and_link),
		WITH_MOUNT(test_write_rename_unlink),
		WITH_MOUNT(test_append_truncate_mmap),
		WITH_MOUNT(test_tmpfile_link_and_modes),
		WITH_MOUNT(test_foreign_write_drops_set_id),
		WITH_MOUNT(test_exec_and_remove_everything),
		WITH_MOUNT(test_quota_and_statfs),
		WITH_MOUNT(test_removal_makes_room_at_once),
		WITH_MOUNT(test_changes_survive_a_restart),
		WITH_MOUNT(test_everything_missing_is_fetched),
		WITH_MOUNT(test_a_failing_lower_is_never_absence),
		WITH_MOUNT(test_workspace_comes_and_goes),
	};
#undef WITH_MOUNT

	return cmocka_run_group_tests_name("mount", tests, NULL, NULL);
}
