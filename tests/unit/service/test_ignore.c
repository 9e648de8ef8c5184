/* SPDX-License-Identifier: Apache-2.0 */
/* ignore.c: rules from text, and the last one that matches decides. */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

#include "workflow/ignore.h"

#include <string.h>

/* 1: ignored, 0: told not to be, -1: no rule says anything. */
static int verdict(const char *rules, const char *path, bool is_dir)
{
	struct wf_ignore *ig = wf_ignore_parse(rules, strlen(rules));
	const char *slash = strrchr(path, '/');
	const struct wf_ignore_rule *rule;
	int answer;

	assert_non_null(ig);
	rule = wf_ignore_find(ig, path, slash ? (size_t)(slash + 1 - path) : 0, is_dir);
	answer = rule ? !rule->negated : -1;
	wf_ignore_free(ig);
	return answer;
}

static void test_rules(void **state)
{
	(void)state;
	assert_int_equal(verdict("*.o\n", "a/b.o", false), 1);
	assert_int_equal(verdict("*.o\n!b.o\n", "a/b.o", false), 0);
	assert_int_equal(verdict("/b\n", "a/b", false), -1);
	assert_int_equal(verdict("/b\n", "b", false), 1);
	assert_int_equal(verdict("a/b\n", "a/b", false), 1);
	assert_int_equal(verdict("a/b\n", "x/a/b", false), -1);
	assert_int_equal(verdict("b/\n", "a/b", false), -1);
	assert_int_equal(verdict("b/\n", "a/b", true), 1);
	assert_int_equal(verdict("**/b\n", "x/y/b", false), 1);
	assert_int_equal(verdict("# b\n\\#b\n", "#b", false), 1);
	assert_int_equal(verdict("# b\n", "# b", false), -1);
	assert_int_equal(verdict("\\!b\n", "!b", false), 1);
	assert_int_equal(verdict("b  \n", "b", false), 1);
	assert_int_equal(verdict("b\\ \n", "b ", false), 1);
	assert_int_equal(verdict("b\r\n", "b", false), 1);
	assert_int_equal(verdict("\xef\xbb\xbf"
				 "b\n",
				 "b", false),
		1);
	assert_int_equal(verdict("b", "b", false), 1);
	assert_int_equal(verdict("/\n!\n\n", "b", false), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_rules)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
