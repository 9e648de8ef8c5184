/* SPDX-License-Identifier: Apache-2.0 */
/* git_tree.c: trees as arrays and back, in Git's order, and objects that are none. */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

#include "workflow/git_tree.h"

#include <base/buf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ID "aaaaaaaaaaaaaaaaaaaa"

static int parse(const char *bytes, size_t len, struct wf_dir *ret_dir)
{
	char *copy = malloc(len + 1);

	assert_non_null(copy);
	memcpy(copy, bytes, len);
	copy[len] = '\0';
	return wf_dir_parse(copy, len, ret_dir);
}

static void test_a_tree(void **state)
{
	static const char tree[] =
		"100644 a-b\0" ID "40000 a\0" ID "100664 a0\0" ID "160000 m\0" ID;
	struct wf_dir dir;
	struct buf b;

	(void)state;
	assert_int_equal(parse(tree, sizeof(tree) - 1, &dir), 0);
	assert_int_equal(dir.count, 4);
	assert_string_equal(dir.entries[0].name, "a"); /* by bytes, not in the order of Git */
	assert_int_equal(dir.entries[2].node.mode, WF_MODE_FILE);
	assert_int_equal(wf_dir_find(&dir, "m", 1)->node.mode, WF_MODE_GITLINK);
	assert_null(wf_dir_find(&dir, "a1", 2));
	buf_init(&b, 1000);
	assert_int_equal(wf_tree_append(&b, "a-b", 3, &wf_dir_find(&dir, "a-b", 3)->node), 0);
	assert_int_equal(wf_tree_append(&b, "a", 1, &wf_dir_find(&dir, "a", 1)->node), 0);
	assert_memory_equal(b.data, tree, b.len);
	buf_fini(&b);
	wf_dir_fini(&dir);
}

static void test_order(void **state)
{
	(void)state;
	assert_true(wf_git_order("a-b", 3, false, "a", 1, true) < 0);
	assert_true(wf_git_order("a", 1, false, "a-b", 3, false) < 0);
	assert_true(wf_git_order("a", 1, true, "a0", 2, false) < 0);
	assert_true(wf_git_order("a", 1, false, "a", 1, true) < 0);
	assert_int_equal(wf_git_order("a", 1, true, "a", 1, true), 0);
}

static void test_what_is_no_tree(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} bad[] = {
		{"100644 a\0" ID "x", 9 + 20 + 1},
		{"100644 a\0aaa", 12},
		{"100644 a", 8},
		{"10064x a\0" ID, 9 + 20},
		{"010000 a\0" ID, 9 + 20},
		{"100644 ..\0" ID, 10 + 20},
		{"100644 a/b\0" ID, 11 + 20},
		{"100644 \0" ID, 8 + 20},
		{"100644 a\0" ID "100644 a\0" ID, 2 * (9 + 20)},
	};
	struct wf_dir dir;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(parse(bad[i].bytes, bad[i].len, &dir), -EBADMSG);
	assert_int_equal(parse("", 0, &dir), 0);
	assert_int_equal(dir.count, 0);
	wf_dir_fini(&dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_tree),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_what_is_no_tree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
