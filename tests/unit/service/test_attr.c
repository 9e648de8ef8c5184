/* SPDX-License-Identifier: Apache-2.0 */
/* attr.c, eol.c: what .gitattributes say of a path, and what that does to ends of lines. */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

#include "workflow/attr.h"
#include "workflow/eol.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "text=+ eol=lf": all that is known, in the order of enum wf_attr_name. */
static const char *known(const char *rules, const char *path)
{
	static const char *const names[WF_ATTRS] = {
		"diff", "merge", "text", "crlf", "eol", "filter"};
	struct wf_attr_file *f = wf_attr_parse(rules, strlen(rules), true);
	struct wf_attr attrs[WF_ATTRS] = {0};
	const char *slash = strrchr(path, '/');
	static char out[512];
	int len = 0;

	assert_non_null(f);
	wf_attr_apply(f, f, path, slash ? (size_t)(slash + 1 - path) : 0, attrs);
	out[0] = '\0';
	for (unsigned i = 0; i < WF_ATTRS; i++)
		if (attrs[i].state != WF_ATTR_UNKNOWN)
			len += snprintf(out + len, sizeof(out) - (size_t)len, "%s%s=%s",
				len ? " " : "", names[i],
				attrs[i].state == WF_ATTR_SET     ? "+"
				: attrs[i].state == WF_ATTR_UNSET ? "-"
				: attrs[i].state == WF_ATTR_VALUE ? attrs[i].value
								  : "!");
	(void)wf_attr_free(f);
	return out;
}

static void test_rules(void **state)
{
	(void)state;
	assert_string_equal(known("*.c text\n", "a/b.c"), "text=+");
	assert_string_equal(known("*.c text\n", "a/b.h"), "");
	assert_string_equal(known("*.c -text eol=lf\r\n", "b.c"), "text=- eol=lf");
	assert_string_equal(known("* text=auto\n*.c !text\n", "b.c"), "text=!");
	assert_string_equal(known("*.c text\n*.c -text\n", "b.c"), "text=-");
	assert_string_equal(known("*.c text -text\n", "b.c"), "text=-");
	assert_string_equal(known("/b.c text\n", "a/b.c"), "");
	assert_string_equal(known("a/b.c text\n", "a/b.c"), "text=+");
	assert_string_equal(known("a/** filter=lfs\n", "a/x/b"), "filter=lfs");
	assert_string_equal(known("a/ text\n!b text\n# c text\n \t\n", "b"), "");
	assert_string_equal(known("\"odd \\\"name\" text\n", "odd \"name"), "text=+");
	assert_string_equal(known("b whitespace=x other\n", "b"), "");
	assert_string_equal(known("b", "b"), "");
}

static void test_macros(void **state)
{
	(void)state;
	assert_string_equal(known("*.x binary\n", "a.x"), "diff=- merge=- text=-");
	assert_string_equal(known("*.x binary diff\n", "a.x"), "diff=+ merge=- text=-");
	assert_string_equal(known("*.x diff binary\n", "a.x"), "diff=- merge=- text=-");
	assert_string_equal(known("*.x -binary\n", "a.x"), "");
	assert_string_equal(
		known("[attr]mine filter=lfs -text\n*.x mine\n", "a.x"), "text=- filter=lfs");
	assert_string_equal(known("[attr]a b\n[attr]b a text\n*.x a\n", "a.x"), "text=+");
}

static enum wf_eol eol(const char *rules)
{
	struct wf_attr_file *f = wf_attr_parse(rules, strlen(rules), true);
	struct wf_attr attrs[WF_ATTRS] = {0};
	enum wf_eol how;

	assert_non_null(f);
	wf_attr_apply(f, f, "x", 0, attrs);
	for (unsigned i = 0; i < WF_ATTRS; i++)
		if (attrs[i].state == WF_ATTR_UNKNOWN)
			attrs[i].state = WF_ATTR_UNSPECIFIED;
	how = wf_eol_of(attrs);
	(void)wf_attr_free(f);
	return how;
}

static void test_what_is_text(void **state)
{
	(void)state;
	assert_int_equal(eol(""), WF_EOL_KEEP);
	assert_int_equal(eol("x text\n"), WF_EOL_TEXT);
	assert_int_equal(eol("x -text eol=crlf\n"), WF_EOL_KEEP);
	assert_int_equal(eol("x text=auto\n"), WF_EOL_AUTO);
	assert_int_equal(eol("x text=auto eol=crlf\n"), WF_EOL_AUTO);
	assert_int_equal(eol("x eol=crlf\n"), WF_EOL_TEXT);
	assert_int_equal(eol("x eol=other\n"), WF_EOL_KEEP);
	assert_int_equal(eol("x crlf=input\n"), WF_EOL_TEXT);
	assert_int_equal(eol("x -crlf\n"), WF_EOL_KEEP);
}

static void check_clean(enum wf_eol how, const char *text, const char *expected)
{
	char data[64];
	size_t len = strlen(text);

	memcpy(data, text, len + 1);
	if (wf_eol_matters(how, data, len))
		data[wf_eol_clean(how, data, len)] = '\0';
	assert_string_equal(data, expected);
}

static void test_ends_of_lines(void **state)
{
	(void)state;
	check_clean(WF_EOL_KEEP, "a\r\nb", "a\r\nb");
	check_clean(WF_EOL_TEXT, "a\r\nb\n", "a\nb\n");
	check_clean(WF_EOL_TEXT, "a\r\nb\rc", "a\nb\rc");
	check_clean(WF_EOL_TEXT, "a\r", "a\r");
	check_clean(WF_EOL_AUTO, "a\r\nb\r\n", "a\nb\n");
	check_clean(WF_EOL_AUTO, "a\r\nb\rc", "a\r\nb\rc");
	check_clean(WF_EOL_AUTO, "\1\2\3\r\n", "\1\2\3\r\n");
	assert_false(wf_eol_matters(WF_EOL_AUTO, "a\0\r\n", 4));
	assert_true(wf_eol_matters(WF_EOL_TEXT, "a\0\r\n", 4));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_macros),
		cmocka_unit_test(test_what_is_text),
		cmocka_unit_test(test_ends_of_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
