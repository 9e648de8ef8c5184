/* SPDX-License-Identifier: Apache-2.0 */
/* Which files a prefetch's paths mean. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "prefetch_match.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

static bool file(const char *pattern, unsigned depth, const char *path)
{
	const struct prefetch_match m = {&pattern, 1, depth};

	return prefetch_match_wanted(&m, path, false);
}

static bool dir(const char *pattern, unsigned depth, const char *path)
{
	const struct prefetch_match m = {&pattern, 1, depth};

	return prefetch_match_wanted(&m, path, true);
}

static void test_plain_paths(void **state)
{
	(void)state;
	assert_true(file("src/main.c", UINT_MAX, "src/main.c"));
	assert_false(file("src/main.c", UINT_MAX, "src/main.h"));
	assert_false(file("src/main.c", UINT_MAX, "main.c"));
	assert_true(dir("src/main.c", UINT_MAX, "src"));
	assert_false(dir("src/main.c", UINT_MAX, "lib"));
	assert_true(file("src", UINT_MAX, "src/a/b/c"));
	assert_true(dir("src", UINT_MAX, "src/a"));
	assert_false(file("src", UINT_MAX, "srcs/a"));
	assert_true(file("", UINT_MAX, "a/b"));
	assert_true(dir("", UINT_MAX, "a"));
}

static void test_patterns(void **state)
{
	(void)state;
	assert_true(file("src/*.c", UINT_MAX, "src/main.c"));
	assert_false(file("src/*.c", UINT_MAX, "src/sub/main.c"));
	assert_true(file("src/*.c", UINT_MAX, "src/dir.c/inside"));
	assert_true(file("*/[mn]ain.?", UINT_MAX, "src/main.c"));
	assert_true(file("**/*.h", UINT_MAX, "a.h"));
	assert_true(file("**/*.h", UINT_MAX, "a/b/c/d.h"));
	assert_false(file("**/*.h", UINT_MAX, "a/b/c/d.c"));
	assert_true(dir("**/*.h", UINT_MAX, "a/b/c"));
	assert_true(file("a/**/z/*.h", UINT_MAX, "a/z/x.h"));
	assert_true(file("a/**/z/*.h", UINT_MAX, "a/b/z/x.h"));
	assert_false(file("a/**/z/*.h", UINT_MAX, "b/z/x.h"));
	assert_false(dir("a/**/z/*.h", UINT_MAX, "b"));
	assert_true(file("**", UINT_MAX, "x/.hidden"));
	assert_true(file("*", UINT_MAX, ".hidden"));
}

static void test_depth(void **state)
{
	const struct prefetch_match all = {NULL, 0, 1};

	(void)state;
	assert_true(file("src", 1, "src/a"));
	assert_true(file("src", 1, "src/d/a"));
	assert_false(file("src", 1, "src/d/e/a"));
	assert_true(dir("src", 1, "src/d"));
	assert_false(dir("src", 1, "src/d/e"));
	assert_true(prefetch_match_wanted(&all, "a", false));
	assert_true(prefetch_match_wanted(&all, "d", true));
	assert_true(prefetch_match_wanted(&all, "d/a", false));
	assert_false(prefetch_match_wanted(&all, "d/e", true));
	assert_false(prefetch_match_wanted(&all, "d/e/a", false));
}

static void test_several(void **state)
{
	const char *const patterns[] = {"src/a", "doc/*.md"};
	const struct prefetch_match m = {patterns, 2, UINT_MAX};

	(void)state;
	assert_true(prefetch_match_wanted(&m, "src/a/x", false));
	assert_true(prefetch_match_wanted(&m, "doc/x.md", false));
	assert_false(prefetch_match_wanted(&m, "doc/x.txt", false));
	assert_false(prefetch_match_wanted(&m, "lib", true));
}

static void test_bad_ones(void **state)
{
	static const char *const bad[] = {"/abs", "a/../b", "a//b", "./a", "**/a/**/b/**", "x/"};
	const char *many[PREFETCH_PATTERNS_MAX + 1];
	struct err e = {0};

	(void)state;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		const struct prefetch_match m = {&bad[i], 1, UINT_MAX};

		assert_int_equal(prefetch_match_check(&m, &e), -EINVAL);
		assert_string_equal(e.field, "paths");
	}
	for (unsigned i = 0; i <= PREFETCH_PATTERNS_MAX; i++)
		many[i] = "a";
	const struct prefetch_match m = {many, PREFETCH_PATTERNS_MAX + 1, UINT_MAX};

	assert_int_equal(prefetch_match_check(&m, &e), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain_paths),
		cmocka_unit_test(test_patterns),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_several),
		cmocka_unit_test(test_bad_ones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
