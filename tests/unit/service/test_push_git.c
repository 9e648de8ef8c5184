/* SPDX-License-Identifier: Apache-2.0 */
/* push_git.c: lines of progress as git prints them. */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

#include "workflow/push.h"

static void test_lines(void **state)
{
	struct wf_push_progress p;

	(void)state;
	assert_true(wf_push_parse_progress("Enumerating objects: 12", &p));
	assert_int_equal(p.phase, WF_PUSH_COUNTING);
	assert_int_equal(p.objects, 12);
	assert_int_equal(p.total, 0);
	assert_true(wf_push_parse_progress("Compressing objects:  50% (2/4)", &p));
	assert_int_equal(p.phase, WF_PUSH_COMPRESSING);
	assert_int_equal(p.objects, 2);
	assert_int_equal(p.total, 4);
	assert_true(wf_push_parse_progress(
		"Writing objects: 100% (3/3), 1.50 MiB | 7.00 KiB/s, done.", &p));
	assert_int_equal(p.phase, WF_PUSH_WRITING);
	assert_int_equal(p.objects, 3);
	assert_int_equal(p.bytes, 3 << 19);
	assert_true(wf_push_parse_progress("Writing objects: 100% (3/3), 281 bytes | 281.00", &p));
	assert_int_equal(p.bytes, 281);
	assert_false(wf_push_parse_progress("fatal: unable to access", &p));
	assert_false(wf_push_parse_progress("", &p));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_lines)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
