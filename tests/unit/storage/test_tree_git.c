/* SPDX-License-Identifier: Apache-2.0 */
/* A packed directory is the one of its id, or it is refused. */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

#include "tree/tree_git.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct entry {
	const char *git_mode, *name;
	uint32_t mode;
	uint8_t oid; /* all its bytes; 0: a submodule */
};

/* In Git's order: "a" the directory sorts as "a/". */
static const struct entry entries[] = {
	{"100644", "a-b", S_IFREG | 0644, 1},
	{"100755", "a.c", S_IFREG | 0755, 2},
	{"40000", "a", S_IFDIR | 0755, 3},
	{"120000", "a0", S_IFLNK | 0777, 4},
	{"100644", "\xff\x80", S_IFREG | 0644, 5},
};
#define ENTRIES (sizeof(entries) / sizeof(entries[0]))

static struct oid git_oid(const struct entry *e, size_t count, uint8_t oid_len)
{
	uint8_t object[1024];
	size_t at = 0;
	struct oid oid;

	for (size_t i = 0; i < count; i++) {
		at += (size_t)snprintf((char *)object + at, sizeof(object) - at, "%s %s",
			      e[i].git_mode, e[i].name) +
		      1;
		memset(object + at, e[i].oid, oid_len);
		at += oid_len;
	}
	assert_int_equal(digest_object(oid_len == 32 ? DIGEST_SHA256 : DIGEST_SHA1, OBJECT_TREE,
				 object, at, &oid),
		0);
	return oid;
}

static void *record(
	const struct entry *e, size_t count, uint8_t oid_len, struct tree_view *ret_view)
{
	struct tree_builder *b = tree_builder_new(oid_len);
	void *data;
	size_t len;

	for (size_t i = 0; i < count; i++) {
		struct tree_builder_entry be = {.name = e[i].name,
			.name_len = strlen(e[i].name),
			.mode = e[i].mode,
			.size_known = true,
			.size = 7};

		if (e[i].oid) {
			be.oid.len = oid_len;
			memset(be.oid.bytes, e[i].oid, oid_len);
		}
		assert_int_equal(tree_builder_add(b, &be), 0);
	}
	assert_int_equal(tree_builder_finish(b, &data, &len), 0);
	tree_builder_free(b);
	assert_int_equal(tree_view_over(data, len, ret_view), 0);
	return data;
}

static void test_the_same_directory(void **state)
{
	(void)state;
	for (uint8_t oid_len = 20; oid_len <= 32; oid_len = (uint8_t)(oid_len + 12))
		for (size_t count = 0; count <= ENTRIES; count++) {
			struct oid oid = git_oid(entries, count, oid_len);
			struct tree_view view;
			void *data = record(entries, count, oid_len, &view);

			assert_int_equal(tree_git_matches(&view, &oid), 0);
			oid.bytes[3] ^= 1;
			assert_int_equal(tree_git_matches(&view, &oid), -EBADMSG);
			free(data);
		}
}

static void test_any_change_is_noticed(void **state)
{
	struct oid oid = git_oid(entries, ENTRIES, 20);

	(void)state;
	for (size_t i = 0; i < ENTRIES; i++)
		for (unsigned what = 0; what < 3; what++) {
			struct entry changed[ENTRIES];
			struct tree_view view;
			void *data;

			memcpy(changed, entries, sizeof(entries));
			if (what == 0)
				changed[i].oid ^= 0x10;
			else if (what == 1)
				changed[i].name = "other";
			else
				changed[i].mode = changed[i].mode == (S_IFREG | 0644)
							  ? S_IFREG | 0755
							  : S_IFREG | 0644;
			data = record(changed, ENTRIES, 20, &view);
			assert_int_equal(tree_git_matches(&view, &oid), -EBADMSG);
			free(data);
		}
}

static void test_a_submodule_cannot_be_proven(void **state)
{
	static const struct entry one = {"160000", "sub", S_IFDIR | 0755, 0};
	struct oid oid = git_oid(&one, 1, 20);
	struct tree_view view;
	void *data = record(&one, 1, 20, &view);

	(void)state;
	assert_int_equal(tree_git_matches(&view, &oid), -EBADMSG);
	free(data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_same_directory),
		cmocka_unit_test(test_any_change_is_noticed),
		cmocka_unit_test(test_a_submodule_cannot_be_proven),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
