/* SPDX-License-Identifier: Apache-2.0 */
/* heading.c: which line stands behind the numbers of a hunk. tests/e2e/test_diff_headings.py
 * compares the languages with Git. */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

#include "workflow/heading.h"

#include <base/buf.h>
#include <base/cancel.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FOREVER (~UINT64_C(0))

/* Of hunks that begin with these lines (-1 ends them): "[ one][ two]". */
static const char *headings(const char *driver, const char *text, const int *lines)
{
	struct wf_headings *h = wf_headings_new(NULL, FOREVER);
	struct wf_heading_search s;
	static char out[512];
	struct buf b;

	assert_non_null(h);
	buf_init(&b, sizeof(out) - 1);
	assert_int_equal(wf_heading_search_init(&s, h, driver, text, strlen(text)), 0);
	for (; *lines >= 0; lines++) {
		(void)buf_putc(&b, '[');
		assert_int_equal(wf_heading_append(&s, (size_t)*lines, &b), 0);
		(void)buf_putc(&b, ']');
	}
	assert_int_equal(buf_error(&b), 0);
	(void)snprintf(out, sizeof(out), "%s", buf_cstr(&b));
	buf_fini(&b);
	(void)wf_headings_free(h);
	return out;
}
#define OF(driver, text, ...) headings(driver, text, (const int[]){__VA_ARGS__, -1})

static void test_default(void **state)
{
	(void)state;
	assert_string_equal(OF(NULL, "a\n b\nc  \n d\n", 0, 1, 2, 3, 4), "[][ a][ a][ c][ c]");
	assert_string_equal(OF("nothing", "1\n_x\n$y\n", 1, 2, 3), "[][ _x][ $y]");
	assert_string_equal(OF(NULL, "", 0), "[]");
	assert_string_equal(OF(NULL, "\n\nx", 2, 3, 4), "[][ x][ x]");
	/* a line of the hunk before counts, one above it that did not is not asked again */
	assert_string_equal(OF(NULL, " 0\n 1\n 2\nx\n 4\n", 3, 5), "[][ x]");
}

static void test_cut_at_80_bytes(void **state)
{
	char line[128], wanted[128];

	(void)state;
	memset(line, 'a', sizeof(line) - 2);
	line[79] = ' ';
	line[sizeof(line) - 2] = '\n';
	line[sizeof(line) - 1] = '\0';
	(void)snprintf(wanted, sizeof(wanted), "[ %.79s]", line);
	assert_string_equal(OF(NULL, line, 1), wanted);
	assert_string_equal(OF("cpp", line, 1), wanted);
}

static void test_languages(void **state)
{
	(void)state;
	assert_string_equal(OF("cpp", "int f()\npublic:\n x\n", 3), "[ int f()]");
	assert_string_equal(
		OF("python", "def f():\r\n  def g():\n x\n", 1, 2), "[ def f():][ def g():]");
	assert_string_equal(OF("fortran", " SubRoutine x\n! function y\n", 2), "[ SubRoutine x]");
	assert_string_equal(OF("bash", " f() { x\n", 1), "[ f()]");
	assert_string_equal(OF("golang", "type T struct { x\n", 1), "[ type T struct {]");
}

static void test_a_long_line_is_no_heading(void **state)
{
	size_t len = 1u << 20;
	char *text = malloc(len + 8);

	(void)state;
	assert_non_null(text);
	memset(text, 'a', len);
	memcpy(text + len, "\n b\n", 5);
	assert_string_equal(OF("cpp", text, 2), "[]");
	free(text);
}

static void test_ends_when_cancelled(void **state)
{
	struct wf_headings *h = wf_headings_new(NULL, 1);
	struct wf_heading_search s;
	struct buf b;

	(void)state;
	assert_non_null(h);
	buf_init(&b, 100);
	assert_int_equal(wf_heading_search_init(&s, h, NULL, " \n \n", 4), 0);
	assert_int_equal(wf_heading_append(&s, 2, &b), -ETIMEDOUT);
	buf_fini(&b);
	(void)wf_headings_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_default),
		cmocka_unit_test(test_cut_at_80_bytes),
		cmocka_unit_test(test_languages),
		cmocka_unit_test(test_a_long_line_is_no_heading),
		cmocka_unit_test(test_ends_when_cancelled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
