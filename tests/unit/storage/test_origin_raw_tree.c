/* SPDX-License-Identifier: Apache-2.0 */
/* The decoder of Git tree objects: every mode, every malformation, every cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "origin/raw_tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define ID "\001\002\003\004\005\006\007\010\011\012\013\014\015\016\017\020\021\022\023\024"

/* A copy of exact length, so that a read beyond the end is caught. */
static int first_entry(const char *data, size_t len, struct raw_tree_entry *entry, char **keep)
{
	struct raw_tree t;

	*keep = malloc(len ? len : 1);
	memcpy(*keep, data, len);
	t = raw_tree_begin(*keep, len, 20);
	return raw_tree_next(&t, entry);
}

static void test_modes(void **state)
{
	static const struct {
		const char *text;
		int result;
		uint32_t mode;
		bool has_oid;
	} rows[] = {
		{"100644", 1, S_IFREG | 0644, true},
		{"100664", 1, S_IFREG | 0644, true},
		{"100600", 1, S_IFREG | 0644, true},
		{"100755", 1, S_IFREG | 0755, true},
		{"100700", 1, S_IFREG | 0755, true},
		{"100655", 1, S_IFREG | 0644, true},
		{"120000", 1, S_IFLNK | 0777, true},
		{"40000", 1, S_IFDIR | 0755, true},
		{"040000", 1, S_IFDIR | 0755, true},
		{"160000", 1, S_IFDIR | 0755, false},
		{"020000", -EBADMSG, 0, false}, /* a character device */
		{"644", -EBADMSG, 0, false},
		{"0", -EBADMSG, 0, false},
		{"", -EIO, 0, false},
		{"10064x", -EIO, 0, false},
		{"100648", -EIO, 0, false},
		{"00100644", -EIO, 0, false},
		{"777777777777777777777", -EIO, 0, false},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char data[64], *keep;
		size_t len = strlen(rows[i].text);
		struct raw_tree_entry entry;

		memcpy(data, rows[i].text, len);
		memcpy(data + len, " a\0" ID, 3 + 20);
		assert_int_equal(first_entry(data, len + 23, &entry, &keep), rows[i].result);
		if (rows[i].result == 1) {
			assert_int_equal(entry.mode, rows[i].mode);
			assert_int_equal(entry.oid.len, rows[i].has_oid ? 20 : 0);
			assert_int_equal(entry.name_len, 1);
		}
		free(keep);
	}
}

static void test_names(void **state)
{
	static const struct {
		const char *name;
		int result;
	} rows[] = {{"", -EBADMSG}, {".", -EBADMSG}, {"..", -EBADMSG}, {".git", -EBADMSG},
		{"a/b", -EBADMSG}, {"/", -EBADMSG}, {".gitignore", 1}, {"...", 1}, {"a\nb", 1},
		{"\377\376", 1}, {" ", 1}, {"100644 x", 1}};
	char data[400], *keep;
	struct raw_tree_entry entry;

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t len = strlen(rows[i].name);

		memcpy(data, "100644 ", 7);
		memcpy(data + 7, rows[i].name, len);
		memcpy(data + 7 + len, "\0" ID, 21);
		assert_int_equal(first_entry(data, 7 + len + 21, &entry, &keep), rows[i].result);
		free(keep);
	}
	for (size_t len = 254; len <= 257; len++) {
		memcpy(data, "100644 ", 7);
		memset(data + 7, 'n', len);
		memcpy(data + 7 + len, "\0" ID, 21);
		assert_int_equal(
			first_entry(data, 7 + len + 21, &entry, &keep), len <= 255 ? 1 : -EBADMSG);
		free(keep);
	}
}

static void test_every_cut(void **state)
{
	static const char data[] = "100644 ab\0" ID "40000 d\0" ID;
	size_t first = 10 + 20, whole = sizeof(data) - 1;

	(void)state;
	for (size_t len = 0; len <= whole; len++) {
		char *keep = malloc(len ? len : 1);
		struct raw_tree_entry entry;
		struct raw_tree t;
		int r, count = 0;

		memcpy(keep, data, len);
		t = raw_tree_begin(keep, len, 20);
		while ((r = raw_tree_next(&t, &entry)) > 0)
			count++;
		if (len == 0 || len == first || len == whole)
			assert_int_equal(r, 0);
		else
			assert_int_equal(r, -EIO);
		assert_int_equal(count, (len >= first) + (len == whole));
		free(keep);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_modes),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_every_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
