/* SPDX-License-Identifier: Apache-2.0 */
/* base/io.h, trees: mkdir -p, and a removal that is bounded neither by depth nor by width and stays
 * inside. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "alloc_fault.h"
#include "base/cancel.h"
#include "base/io.h"
#include "tmpdir.h"

static struct tmpdir dir;
static int top = -1;

static int enter(void **state)
{
	(void)state;
	tmpdir_init(&dir);
	top = open(dir.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return top < 0;
}

static int leave(void **state)
{
	(void)state;
	(void)close(top);
	(void)io_remove_tree(AT_FDCWD, dir.path); /* deeper than the fixture's own removal can go */
	return 0;
}

static bool there(const char *path)
{
	struct stat st;

	return fstatat(top, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static void touch(int fd, const char *name)
{
	int file = openat(fd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(file >= 0);
	(void)close(file);
}

static void make_directories(void **state)
{
	char path[512];

	(void)state;
	assert_int_equal(io_mkdirs(tmpdir_path(&dir, "a/b//c/", path, sizeof(path)), 0700), 0);
	assert_int_equal(io_mkdirs(path, 0700), 0);
	assert_true(there("a/b/c"));
	touch(top, "file");
	assert_int_equal(io_mkdirs(tmpdir_path(&dir, "file", path, sizeof(path)), 0700), -ENOTDIR);
	assert_int_equal(
		io_mkdirs(tmpdir_path(&dir, "file/x", path, sizeof(path)), 0700), -ENOTDIR);
	assert_int_equal(io_mkdirs("/", 0700), 0);
	assert_int_equal(io_mkdirs("", 0700), -ENOENT);
	assert_int_equal(io_mkdirs("/proc/none", 0700), -ENOENT);
	alloc_fault_arm(0);
	assert_int_equal(io_mkdirs("/x", 0700), -ENOMEM);
	assert_true(alloc_fault_disarm());
}

static void removes_files_links_and_nothing(void **state)
{
	(void)state;
	touch(top, "f");
	assert_int_equal(symlinkat("f", top, "link"), 0);
	assert_int_equal(io_remove_tree(top, "link"), 0);
	assert_true(there("f"));
	assert_int_equal(io_remove_tree(top, "f"), 0);
	assert_false(there("f"));
	assert_int_equal(io_remove_tree(top, "f"), 0);
	assert_int_equal(io_remove_tree(top, "none/below"), 0);
	assert_int_equal(io_remove_tree(top, "."), -EINVAL);
	assert_int_equal(io_remove_tree(top, "a/.."), -EINVAL);
	assert_int_equal(io_remove_tree(top, ""), -EINVAL);
}

static void does_not_follow_symlinks(void **state)
{
	(void)state;
	assert_int_equal(mkdirat(top, "kept", 0700), 0);
	touch(top, "kept/file");
	assert_int_equal(mkdirat(top, "tree", 0700), 0);
	assert_int_equal(symlinkat("../kept", top, "tree/link"), 0);
	assert_int_equal(symlinkat("/", top, "tree/root"), 0);
	assert_int_equal(io_remove_tree(top, "tree"), 0);
	assert_false(there("tree"));
	assert_true(there("kept/file"));
}

/* Every directory has files and sub-directories; names that are hard to handle. */
static void make_wide(int fd, int depth)
{
	char name[32];

	for (int i = 0; i < 3; i++) {
		(void)snprintf(name, sizeof(name), "f%d \n\xff", i);
		touch(fd, name);
		if (depth == 0)
			continue;
		(void)snprintf(name, sizeof(name), "-d%d", i);
		assert_int_equal(mkdirat(fd, name, 0700), 0);
		int below = openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		make_wide(below, depth - 1);
		(void)close(below);
	}
}

static void removes_a_wide_tree(void **state)
{
	(void)state;
	assert_int_equal(mkdirat(top, "tree", 0700), 0);
	int fd = openat(top, "tree", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	make_wide(fd, 4);
	(void)close(fd);
	assert_int_equal(io_remove_tree(top, "tree"), 0);
	assert_false(there("tree"));
}

/* Deeper than PATH_MAX, with fewer descriptors than levels. */
static void removes_a_deep_tree_with_few_descriptors(void **state)
{
	struct rlimit old, few;
	int fd = dup(top);

	(void)state;
	for (int i = 0; i < 3000; i++) {
		assert_int_equal(mkdirat(fd, "deeper", 0700), 0);
		int below = openat(fd, "deeper", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		assert_true(below >= 0);
		(void)close(fd);
		fd = below;
	}
	(void)close(fd);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	few = (struct rlimit){.rlim_cur = 32, .rlim_max = old.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	assert_int_equal(io_remove_tree(top, "deeper"), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_false(there("deeper"));
}

static _Atomic bool busy;

/* Somebody who keeps making directories and moving them about. */
static void *keep_adding(void *arg)
{
	unsigned i = 0;

	(void)arg;
	while (atomic_load(&busy)) {
		char name[64], other[64];

		(void)snprintf(name, sizeof(name), "t/d%u", i % 7);
		(void)snprintf(other, sizeof(other), "t/d%u/x", ++i % 7);
		(void)mkdirat(top, name, 0700);
		(void)mkdirat(top, other, 0700);
		(void)renameat(top, name, top, other);
		(void)symlinkat("kept", top, name);
	}
	return NULL;
}

static void removal_against_a_busy_writer(void **state)
{
	pthread_t thread;
	int bad = 0;

	(void)state;
	assert_int_equal(mkdirat(top, "kept", 0700), 0);
	touch(top, "kept/file");
	atomic_store(&busy, true);
	assert_int_equal(pthread_create(&thread, NULL, keep_adding, NULL), 0);
	for (int i = 0; i < 200; i++) {
		(void)mkdirat(top, "t", 0700);
		int r = io_remove_tree(top, "t");

		/* it ends, and says so if it could not keep up */
		if (r != 0 && r != -ENOTEMPTY && r != -ESTALE && r != -ENOTDIR && r != -ELOOP)
			bad = r;
	}
	atomic_store(&busy, false);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(bad, 0);
	assert_int_equal(io_remove_tree(top, "t"), 0);
	assert_true(there("kept/file"));
}

static void absolute_paths(void **state)
{
	char path[512];

	(void)state;
	assert_int_equal(mkdirat(top, "a", 0700), 0);
	assert_int_equal(mkdirat(top, "a/b", 0700), 0);
	assert_int_equal(io_remove_tree(AT_FDCWD, tmpdir_path(&dir, "a", path, sizeof(path))), 0);
	assert_false(there("a"));
}

static void no_memory_leaves_the_rest(void **state)
{
	(void)state;
	for (unsigned n = 0;; n++) {
		int r;

		(void)mkdirat(top, "t", 0700);
		(void)mkdirat(top, "t/u", 0700);
		(void)mkdirat(top, "t/u/v", 0700);
		alloc_fault_arm(n);
		r = io_remove_tree(top, "t");
		if (!alloc_fault_disarm()) {
			assert_int_equal(r, 0);
			break;
		}
		assert_int_equal(r, -ENOMEM);
	}
	assert_false(there("t"));
}

/* In a mount namespace of its own: a mount inside the tree, and one on the tree itself. 99: no
 * right to mount here. */
static int mount_child(void)
{
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return 99;
	top = open(dir.path,
		O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* the old one lies in the old namespace */
	if (fchdir(top) < 0 || mount("kept", "t/u", NULL, MS_BIND, NULL) < 0)
		return 98;
	if (io_remove_tree(top, "t") != -EXDEV)
		return 1;
	if (!there("kept/file"))
		return 2;
	if (io_remove_tree(top, "t/u") != -EXDEV)
		return 3;
	return there("kept/file") ? 0 : 4;
}

static void never_enters_a_mount(void **state)
{
	pid_t pid;
	int status;

	(void)state;
	assert_int_equal(mkdirat(top, "kept", 0700), 0);
	touch(top, "kept/file");
	assert_int_equal(mkdirat(top, "t", 0700), 0);
	assert_int_equal(mkdirat(top, "t/u", 0700), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(mount_child());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 99)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

#define in_place(test) cmocka_unit_test_setup_teardown(test, enter, leave)

static void a_removal_that_is_cancelled_goes_on_later(void **state)
{
	struct cancel *cancel = cancel_new();
	int fd;

	(void)state;
	assert_int_equal(mkdirat(top, "tree", 0700), 0);
	fd = openat(top, "tree", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	make_wide(fd, 2);
	(void)close(fd);
	cancel_fire(cancel);
	assert_int_equal(io_remove_tree_until(top, "tree", cancel), -ECANCELED);
	assert_true(there("tree/-d0/-d1"));
	cancel_unref(cancel);
	cancel = cancel_new();
	assert_int_equal(io_remove_tree_until(top, "tree", cancel), 0);
	assert_false(there("tree"));
	cancel_unref(cancel);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_place(make_directories),
		in_place(removes_files_links_and_nothing),
		in_place(does_not_follow_symlinks),
		in_place(removes_a_wide_tree),
		in_place(a_removal_that_is_cancelled_goes_on_later),
		in_place(removes_a_deep_tree_with_few_descriptors),
		in_place(removal_against_a_busy_writer),
		in_place(absolute_paths),
		in_place(no_memory_leaves_the_rest),
		in_place(never_enters_a_mount),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
