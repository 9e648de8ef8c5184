/* SPDX-License-Identifier: Apache-2.0 */
/* The file that says what a workspace over a change list has staged from the start. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "workflow/change_list.h"

#include <errno.h>
#include <string.h>

#define A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define C "cccccccccccccccccccccccccccccccccccccccc"

static int decode(const char *text, struct wf_list *ret)
{
	return wf_list_decode(text, strlen(text), ret);
}

static void test_decode(void **state)
{
	struct oid a, b, c;
	struct wf_list l;

	(void)state;
	assert_int_equal(oid_parse(A, &a) | oid_parse(B, &b) | oid_parse(C, &c), 0);
	assert_int_equal(decode("coppice-list 1\nshown " A "\nbase -\nindex " B "\nsame " C " " A
				"\nsame " A " " B "\n",
				 &l),
		0);
	assert_true(oid_equal(&l.shown, &a) && oid_is_none(&l.base) && oid_equal(&l.index, &b));
	assert_true(oid_equal(wf_list_find(&l, &a), &b));
	assert_true(oid_equal(wf_list_find(&l, &c), &a));
	assert_ptr_equal(wf_list_find(&l, &b), &b);
	wf_list_fini(&l);
	assert_ptr_equal(wf_list_find(&l, &b), &b);
}

static void test_damaged(void **state)
{
	static const char *const bad[] = {
		"",
		"coppice-list 2\nshown " A "\nbase -\nindex " B "\n",
		"coppice-list 1\nshown " A "\nbase -\n",
		"coppice-list 1\nbase " A "\nshown -\nindex " B "\n",
		"coppice-list 1\nshown abc\nbase -\nindex " B "\n",
		"coppice-list 1\nshown " A "\nbase -\nindex " B "\nsame " A "\n",
		"coppice-list 1\nshown " A "\nbase -\nindex " B "\nother " A " " B "\n",
	};
	struct wf_list l;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(decode(bad[i], &l), -EBADMSG);
	assert_int_equal(wf_list_decode("coppice-list 1\n\0", 16, &l), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_decode),
		cmocka_unit_test(test_damaged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
