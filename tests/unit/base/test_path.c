/* SPDX-License-Identifier: Apache-2.0 */
/* base/path.h: what is a name, what is a path, and the canonical form. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "alloc_fault.h"
#include "base/path.h"

static void names(void **state)
{
	char longest[PATH_NAME_MAX + 2];

	(void)state;
	memset(longest, 'n', sizeof(longest));
	assert_true(path_name_ok("a", 1));
	assert_true(path_name_ok("...", 3));
	assert_true(path_name_ok("..a", 3));
	assert_true(path_name_ok("\n\xff", 2));
	assert_true(path_name_ok(longest, PATH_NAME_MAX));
	assert_false(path_name_ok(longest, PATH_NAME_MAX + 1));
	assert_false(path_name_ok("", 0));
	assert_false(path_name_ok(".", 1));
	assert_false(path_name_ok("..", 2));
	assert_false(path_name_ok("a/b", 3));
	assert_false(path_name_ok("a\0b", 3));
}

static void relative_paths(void **state)
{
	char longest[4097];

	(void)state;
	assert_true(path_relative_ok(""));
	assert_true(path_relative_ok("a"));
	assert_true(path_relative_ok("a/b/.c"));
	assert_false(path_relative_ok("/a"));
	assert_false(path_relative_ok("a/"));
	assert_false(path_relative_ok("a//b"));
	assert_false(path_relative_ok("a/../b"));
	assert_false(path_relative_ok("a/."));
	for (size_t i = 0; i < sizeof(longest); i++)
		longest[i] = i % 2 ? '/' : 'a';
	longest[4095] = '\0';
	assert_true(path_relative_ok(longest));
	longest[4095] = '/';
	longest[4096] = '\0';
	assert_false(path_relative_ok(longest));
}

static void check_normal(const char *path, const char *expect)
{
	char out[64];

	assert_int_equal(path_normalize(path, out, sizeof(out)), 0);
	assert_string_equal(out, expect);
	assert_true(path_relative_ok(out));
}

static void normal_form(void **state)
{
	(void)state;
	check_normal("", "");
	check_normal("/", "");
	check_normal("///", "");
	check_normal("/a//b/", "a/b");
	check_normal("a/b", "a/b");
	check_normal("//...//x y", ".../x y");
}

static void normal_form_refuses(void **state)
{
	char out[8], longest[5000], whole[5000];

	(void)state;
	assert_int_equal(path_normalize(".", out, sizeof(out)), -EINVAL);
	assert_int_equal(path_normalize("/a/../b", out, sizeof(out)), -EINVAL);
	assert_int_equal(path_normalize("a/./b", out, sizeof(out)), -EINVAL);
	assert_int_equal(path_normalize("1234567", out, sizeof(out)), 0);
	assert_int_equal(path_normalize("12345678", out, sizeof(out)), -ENAMETOOLONG);
	assert_int_equal(path_normalize("a", out, 0), -ENAMETOOLONG);
	memset(longest, 'a', sizeof(longest));
	longest[256] = '\0';
	assert_int_equal(path_normalize(longest, whole, sizeof(whole)), -ENAMETOOLONG);
	longest[255] = '\0';
	assert_int_equal(path_normalize(longest, whole, sizeof(whole)), 0);
	for (size_t i = 0; i < sizeof(longest); i++)
		longest[i] = i % 2 ? '/' : 'a';
	longest[4999] = '\0';
	assert_int_equal(path_normalize(longest, whole, sizeof(whole)), -ENAMETOOLONG);
}

static void walk(void **state)
{
	const char *cursor = "a/bc//d", *name;
	size_t len;

	(void)state;
	assert_true(path_next(&cursor, &name, &len));
	assert_int_equal(len, 1);
	assert_memory_equal(name, "a", 1);
	assert_true(path_next(&cursor, &name, &len));
	assert_int_equal(len, 2);
	assert_memory_equal(name, "bc", 2);
	assert_true(path_next(&cursor, &name, &len));
	assert_memory_equal(name, "d", 1);
	assert_false(path_next(&cursor, &name, &len));
	assert_false(path_next(&cursor, &name, &len));
}

static void identifiers(void **state)
{
	(void)state;
	assert_true(path_ident_ok("team-a_1.x", 64));
	assert_true(path_ident_ok("_x", 2));
	assert_false(path_ident_ok("abc", 2));
	assert_false(path_ident_ok("", 64));
	assert_false(path_ident_ok("-rf", 64));
	assert_false(path_ident_ok(".hidden", 64));
	assert_false(path_ident_ok("a/b", 64));
	assert_false(path_ident_ok("a b", 64));
	assert_false(path_ident_ok("\xc3\xa4", 64));
}

static void check_join(const char *a, const char *b, const char *expect)
{
	char *joined = path_join(a, b);

	assert_string_equal(joined, expect);
	free(joined);
}

static void join(void **state)
{
	(void)state;
	check_join("a", "b", "a/b");
	check_join("/", "b", "/b");
	check_join("a/", "b", "a/b");
	check_join("", "b", "b");
	check_join("a", "", "a/");
	alloc_fault_arm(0);
	assert_null(path_join("a", "b"));
	assert_true(alloc_fault_disarm());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names),
		cmocka_unit_test(relative_paths),
		cmocka_unit_test(normal_form),
		cmocka_unit_test(normal_form_refuses),
		cmocka_unit_test(walk),
		cmocka_unit_test(identifiers),
		cmocka_unit_test(join),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
