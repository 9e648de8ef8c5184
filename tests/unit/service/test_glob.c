/* SPDX-License-Identifier: Apache-2.0 */
/* glob.c: the cases in which Git's wildmatch and a plain fnmatch differ, and hostile patterns. */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

#include "workflow/glob.h"

#include <string.h>

static const struct {
	const char *pattern, *text;
	unsigned flags;
	bool match;
} rows[] = {
	{"foo", "foo", 0, true},
	{"foo", "Foo", 0, false},
	{"foo", "FOO", GLOB_ICASE, true},
	{"*", "a/b", 0, true},
	{"*", "a/b", GLOB_PATHNAME, false},
	{"*.c", "dir/x.c", 0, true},
	{"*.c", "dir/x.c", GLOB_PATHNAME, false},
	{"**/*.c", "dir/sub/x.c", GLOB_PATHNAME, true},
	{"**/*.c", "x.c", GLOB_PATHNAME, true},
	{"a/**/b", "a/b", GLOB_PATHNAME, true},
	{"a/**/b", "a/x/y/b", GLOB_PATHNAME, true},
	{"a/**", "a/x/y", GLOB_PATHNAME, true},
	{"a/**", "a", GLOB_PATHNAME, false},
	{"a**b", "axxb", GLOB_PATHNAME, true},
	{"a**b", "a/b", GLOB_PATHNAME, false},
	{"?", "/", GLOB_PATHNAME, false},
	{"a?c", "abc", GLOB_PATHNAME, true},
	{"[a-c]x", "bx", 0, true},
	{"[!a-c]x", "bx", 0, false},
	{"[^a-c]x", "dx", 0, true},
	{"[]]", "]", 0, true},
	{"[]-]", "-", 0, true},
	{"[[:digit:]]*", "7up", 0, true},
	{"[[:nonsense:]]", "7", 0, false},
	{"[a", "a", 0, false},
	{"[^/]", "/", GLOB_PATHNAME, false},
	{"\\*", "*", 0, true},
	{"\\*", "x", 0, false},
	{"a\\", "a\\", 0, true},
	{"", "", 0, true},
	{"", "a", 0, false},
};

static void test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (glob_match(rows[i].pattern, rows[i].text, rows[i].flags) != rows[i].match)
			fail_msg("\"%s\" against \"%s\"", rows[i].pattern, rows[i].text);
}

static void test_many_stars_end(void **state)
{
	char text[2000];

	(void)state;
	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_false(glob_match("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b", text, 0));
}

static void test_is_pattern(void **state)
{
	(void)state;
	assert_true(glob_is_pattern("a*"));
	assert_true(glob_is_pattern("a\\b"));
	assert_false(glob_is_pattern("a-b.c"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_many_stars_end),
		cmocka_unit_test(test_is_pattern),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
