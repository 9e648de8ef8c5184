/* SPDX-License-Identifier: Apache-2.0 */
/* The flag that keeps workspaces apart on ext4 is set, and nothing else. */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

#include "mount/dir_spread.h"
#include "tmpdir.h"

#include <base/cleanup.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>

static unsigned flags_of(const char *dir)
{
	_cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	unsigned flags = 0;

	assert_true(fd >= 0);
	return ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0 ? 0 : flags;
}

static void test_children_are_spread_on_ext4_and_other_flags_stay(void **state)
{
	CLEANUP(tmpdir_fini) struct tmpdir dir = {0};
	unsigned before, wanted;
	struct statfs fs;

	(void)state;
	tmpdir_init(&dir);
	assert_int_equal(statfs(dir.path, &fs), 0);
	before = flags_of(dir.path);
	wanted = fs.f_type == EXT4_SUPER_MAGIC ? before | FS_TOPDIR_FL : before;
	dir_spread_children(dir.path);
	assert_int_equal(flags_of(dir.path), wanted);
	dir_spread_children(dir.path);
	assert_int_equal(flags_of(dir.path), wanted);
}

static void test_no_such_directory_is_harmless(void **state)
{
	(void)state;
	dir_spread_children("/nonexistent/directory");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_children_are_spread_on_ext4_and_other_flags_stay),
		cmocka_unit_test(test_no_such_directory_is_harmless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
