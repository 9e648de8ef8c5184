/* SPDX-License-Identifier: Apache-2.0 */
/* diff_stat.c: the drawings of git 2.39 for the same changes, at several widths. */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

#include "workflow/diff_stat.h"

static const struct {
	const char *name;
	struct wf_stat_row counts;
} changes[] = {
	{"a/very/long/path/of/directories/that/does/not/fit/file.c", {.added = 1, .deleted = 0}},
	{"bin", {.added = 12, .deleted = 3, .binary = true}},
	{"short/big", {.added = 400, .deleted = 499}},
	{"old_name => short/new_name", {.added = 0, .deleted = 0}},
	{"x", {.added = 0, .deleted = 7}},
};

static void check(unsigned width, size_t count, const char *wanted)
{
	struct wf_stat stat;
	struct buf out;

	wf_stat_init(&stat);
	buf_init(&out, 1 << 20);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(wf_stat_add(&stat, changes[i].name, &changes[i].counts), 0);
	assert_int_equal(wf_stat_draw(&stat, width, &out), 0);
	assert_int_equal(wf_stat_sum(&stat, &out), 0);
	assert_string_equal(buf_cstr(&out), wanted);
	buf_fini(&out);
	wf_stat_fini(&stat);
}

static const char at_20[] = " .../file.c |   1 +\n"
			    " bin        | Bin 3 -> 12 bytes\n"
			    " short/big  | 899 +++---\n"
			    " ...ew_name |   0\n"
			    " x          |   7 -\n"
			    " 5 files changed, 401 insertions(+), 506 deletions(-)\n";

static const char at_60[] = " .../that/does/not/fit/file.c           |   1 +\n"
			    " bin                                    | Bin 3 -> 12 by"
			    "tes\n"
			    " short/big                              | 899 ++++++----"
			    "---\n"
			    " old_name => short/new_name             |   0\n"
			    " x                                      |   7 -\n"
			    " 5 files changed, 401 insertions(+), 506 deletions(-)\n";

static const char at_80[] = " .../path/of/directories/that/does/not/fit/file.c   |   "
			    "1 +\n"
			    " bin                                                | Bi"
			    "n 3 -> 12 bytes\n"
			    " short/big                                          | 89"
			    "9 +++++++++------------\n"
			    " old_name => short/new_name                         |   0\n"
			    " x                                                  |   "
			    "7 -\n"
			    " 5 files changed, 401 insertions(+), 506 deletions(-)\n";

static const char at_200[] = " a/very/long/path/of/directories/that/does/not/fit/file."
			     "c |   1 +\n"
			     " bin                                                    "
			     "  | Bin 3 -> 12 bytes\n"
			     " short/big                                              "
			     "  | 899 ++++++++++++++++++++++++++++++++++++++++++++++++"
			     "++++++++++++--------------------------------------------"
			     "-------------------------------\n"
			     " old_name => short/new_name                             "
			     "  |   0\n"
			     " x                                                      "
			     "  |   7 --\n"
			     " 5 files changed, 401 insertions(+), 506 deletions(-)\n";

static void test_widths(void **state)
{
	const size_t all = sizeof(changes) / sizeof(changes[0]);

	(void)state;
	check(20, all, at_20);
	check(60, all, at_60);
	check(80, all, at_80);
	check(200, all, at_200);
	check(0, all, at_80);
}

static void test_few(void **state)
{
	(void)state;
	check(0, 0, "");
	check(0, 1,
		" a/very/long/path/of/directories/that/does/not/fit/file.c | 1 +\n"
		" 1 file changed, 1 insertion(+)\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_widths), cmocka_unit_test(test_few)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
