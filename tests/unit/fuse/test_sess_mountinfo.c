/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of /proc/self/mountinfo, with everything proc(5) allows in them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "session/mountinfo.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static bool parse(const char *line, char *buf, size_t cap, struct mount_point *m)
{
	(void)snprintf(buf, cap, "%s", line); /* the tests' lines fit */
	return mountinfo_parse(buf, m);
}

static void test_fields(void **state)
{
	struct mount_point m;
	char buf[256];

	(void)state;
	assert_true(
		parse("36 35 0:58 / /run/c/mnt/a rw,noatime master:1 - fuse.coppice coppice rw\n",
			buf, sizeof(buf), &m));
	assert_int_equal(m.major, 0);
	assert_int_equal(m.minor, 58);
	assert_string_equal(m.path, "/run/c/mnt/a");
	assert_string_equal(m.fstype, "fuse.coppice");
	assert_string_equal(m.source, "coppice");
}

static void test_no_optional_field_and_many(void **state)
{
	struct mount_point m;
	char buf[256];

	(void)state;
	assert_true(parse("1 0 8:1 / / rw - ext4 /dev/sda1 rw", buf, sizeof(buf), &m));
	assert_string_equal(m.fstype, "ext4");
	assert_true(parse("1 0 8:1 / / rw shared:1 master:2 propagate_from:3 - xfs x rw", buf,
		sizeof(buf), &m));
	assert_string_equal(m.fstype, "xfs");
}

static void test_escapes(void **state)
{
	struct mount_point m;
	char buf[256];

	(void)state;
	assert_true(parse(
		"1 0 8:1 / /a\\040b\\134c\\012d\\04 rw - ext4 x\\040y rw", buf, sizeof(buf), &m));
	assert_string_equal(m.path, "/a b\\c\nd\\04");
	assert_string_equal(m.source, "x y");
}

static void test_a_dash_in_a_name_is_not_the_separator(void **state)
{
	struct mount_point m;
	char buf[256];

	(void)state;
	assert_true(parse("1 0 8:1 / /a-b rw - fuse.coppice co - pp rw", buf, sizeof(buf), &m));
	assert_string_equal(m.path, "/a-b");
	assert_string_equal(m.fstype, "fuse.coppice");
}

static void test_broken_lines(void **state)
{
	static const char *const lines[] = {"", "\n", "1", "1 2 3 4 5",
		"1 0 x:y / / rw - ext4 x rw", "1 0 8:1 / / rw ext4 x rw", "1 0 8:1 / / rw - ",
		"1 0 8:1 / / rw -", "1 0 8:1 / /", "1 0 8:1 / / rw - ext4"};
	struct mount_point m;
	char buf[64];

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		assert_false(parse(lines[i], buf, sizeof(buf), &m));
}

static void test_below(void **state)
{
	(void)state;
	assert_true(mountinfo_below("/run/c", "/run/c"));
	assert_true(mountinfo_below("/run/c/mnt", "/run/c"));
	assert_true(mountinfo_below("/run/c/mnt", "/run/c/"));
	assert_true(mountinfo_below("/anything", "/"));
	assert_false(mountinfo_below("/run/coppice", "/run/c"));
	assert_false(mountinfo_below("/run", "/run/c"));
}

static int count(void *arg, const struct mount_point *m)
{
	unsigned *n = arg;

	assert_true(m->path[0] == '/');
	(*n)++;
	return 0;
}

static int stop_at_once(void *arg, const struct mount_point *m)
{
	(void)arg;
	(void)m;
	return 7;
}

static void test_this_machine(void **state)
{
	unsigned n = 0, major, minor;

	(void)state;
	assert_int_equal(mountinfo_each(count, &n), 0);
	assert_true(n > 0);
	assert_int_equal(mountinfo_each(stop_at_once, NULL), 7);
	assert_int_equal(
		mountinfo_device("/", &major, &minor), -ENOENT); /* mounted, but not ours */
	assert_int_equal(mountinfo_sweep("/nonexistent"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_no_optional_field_and_many),
		cmocka_unit_test(test_escapes),
		cmocka_unit_test(test_a_dash_in_a_name_is_not_the_separator),
		cmocka_unit_test(test_broken_lines),
		cmocka_unit_test(test_below),
		cmocka_unit_test(test_this_machine),
	};

	return cmocka_run_group_tests_name("mountinfo", tests, NULL, NULL);
}
