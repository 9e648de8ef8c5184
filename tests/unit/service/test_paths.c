/* SPDX-License-Identifier: Apache-2.0 */
/* paths.c: which paths a list of pathspecs means. */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

#include "workflow/paths.h"

#include <base/err.h>
#include <string.h>

static bool means(const char *spec, const char *other, const char *path)
{
	const char *specs[] = {spec, other};
	const struct wf_paths paths = {specs, other ? 2 : 1};
	struct wf_matcher m;
	bool has;

	assert_int_equal(wf_matcher_init(&m, &paths, NULL), 0);
	has = wf_matcher_has(&m, path, strlen(path));
	wf_matcher_fini(&m);
	return has;
}

static bool enters(const char *spec, const char *dir)
{
	const struct wf_paths paths = {&spec, 1};
	struct wf_matcher m;
	bool may;

	assert_int_equal(wf_matcher_init(&m, &paths, NULL), 0);
	may = wf_matcher_may_enter(&m, dir, strlen(dir));
	wf_matcher_fini(&m);
	return may;
}

static void test_what_is_meant(void **state)
{
	(void)state;
	assert_true(means("a", NULL, "a"));
	assert_true(means("a", NULL, "a/b"));
	assert_true(means("a/", NULL, "a/b"));
	assert_false(means("a", NULL, "ab"));
	assert_true(means(".", NULL, "x/y"));
	assert_true(means("./x", NULL, "x/y"));
	assert_true(means("*.c", NULL, "d/x.c"));
	assert_false(means(":(glob)*.c", NULL, "d/x.c"));
	assert_true(means(":(glob)**/*.c", NULL, "d/x.c"));
	assert_false(means(":(literal)*.c", NULL, "x.c"));
	assert_true(means(":(icase)README", NULL, "readme"));
	assert_true(means("a", ":!a/b", "a/c"));
	assert_false(means("a", ":!a/b", "a/b"));
	assert_false(means(":(exclude)a", NULL, "a/b"));
	assert_true(means(":(exclude)a", NULL, "b"));
	assert_true(means(":(top)a", NULL, "a"));
	assert_true(means(":/a", NULL, "a"));
}

static void test_where_to_look(void **state)
{
	(void)state;
	assert_true(enters("a/b/c", ""));
	assert_true(enters("a/b/c", "a/"));
	assert_true(enters("a/b/c", "a/b/"));
	assert_true(enters("a/b", "a/b/"));
	assert_true(enters("a/b", "a/b/c/"));
	assert_false(enters("a/b", "a/c/"));
	assert_false(enters("a/b", "ab/"));
	assert_false(enters("a", "ab/"));
	assert_true(enters("a*c", "ab/"));
	assert_false(enters("a*c", "b/"));
	assert_true(enters("*.c", "any/where/"));
}

static void test_what_is_refused(void **state)
{
	static const char *const bad[] = {
		"../x", "a/../b", ":(unknown)a", ":(glob", ":(glob,literal)a"};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		const struct wf_paths paths = {&bad[i], 1};
		struct wf_matcher m;
		struct err e = {0};

		assert_int_equal(wf_matcher_init(&m, &paths, &e), -22);
		assert_string_equal(e.field, "paths[0]");
	}
}

static void test_unmatched(void **state)
{
	const char *specs[] = {"a", "b", ":!c"};
	const struct wf_paths paths = {specs, 3};
	struct wf_matcher m;

	(void)state;
	assert_int_equal(wf_matcher_init(&m, &paths, NULL), 0);
	assert_true(wf_matcher_has(&m, "a/x", 3));
	assert_string_equal(wf_matcher_unmatched(&m)->text, "b");
	assert_true(wf_matcher_has(&m, "b", 1));
	assert_null(wf_matcher_unmatched(&m));
	wf_matcher_fini(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_meant),
		cmocka_unit_test(test_where_to_look),
		cmocka_unit_test(test_what_is_refused),
		cmocka_unit_test(test_unmatched),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
