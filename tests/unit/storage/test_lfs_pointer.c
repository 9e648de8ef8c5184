/* SPDX-License-Identifier: Apache-2.0 */
/* origin/lfs_pointer.h: exactly what Git LFS writes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "origin/lfs_pointer.h"

#include <stdio.h>
#include <string.h>

#define VERSION "version https://git-lfs.github.com/spec/v1\n"
#define HEX     "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393"
#define OID     "oid sha256:" HEX "\n"

static bool parse(const char *text, struct lfs_pointer *p)
{
	return lfs_pointer_parse(text, strlen(text), p);
}

static void test_pointers(void **state)
{
	static const struct {
		const char *text;
		uint64_t size;
	} rows[] = {
		{VERSION OID "size 12345\n", 12345},
		{VERSION OID "size 0\n", 0},
		{VERSION OID "size 9223372036854775807\n", INT64_MAX},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct lfs_pointer p;

		assert_true(parse(rows[i].text, &p));
		assert_int_equal(p.size, rows[i].size);
		assert_int_equal(p.sha256[0], 0x4d);
		assert_int_equal(p.sha256[31], 0x93);
		assert_in_range(strlen(rows[i].text), LFS_POINTER_MIN, LFS_POINTER_MAX);
	}
}

static void test_what_is_none(void **state)
{
	static const char *const rows[] = {"", "hello", VERSION, VERSION OID, VERSION OID "size 1",
		VERSION OID "size \n", VERSION OID "size 01\n", VERSION OID "size -1\n",
		VERSION OID "size +1\n", VERSION OID "size 1 \n", VERSION OID "size 1\n\n",
		VERSION OID "size 1\nx\n", VERSION OID "size 1\r\n",
		VERSION OID "size 9223372036854775808\n", VERSION OID "size 99999999999999999999\n",
		OID VERSION "size 1\n", VERSION "size 1\n" OID,
		VERSION "oid sha1:" HEX "\nsize 1\n", VERSION "oid sha256: " HEX "\nsize 1\n",
		VERSION "oid sha256:" HEX "0\nsize 1\n",
		VERSION
		"oid sha256:4D7A214614AB2935C943F9E0FF69D22EADBB8F32B1258DAAA5E2CA24D17E2393\n"
		"size 1\n",
		VERSION "ext-0-foo sha256:" HEX "\n" OID "size 1\n",
		"version https://git-lfs.github.com/spec/v2\n" OID "size 1\n",
		"version http://git-lfs.github.com/spec/v1\n" OID "size 1\n",
		" " VERSION OID "size 1\n", "\xef\xbb\xbf" VERSION OID "size 1\n"};

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct lfs_pointer p;

		assert_false(parse(rows[i], &p));
	}
}

static void test_nul_bytes_are_not_the_end(void **state)
{
	char text[] = VERSION OID "size 12\n";
	struct lfs_pointer p;

	(void)state;
	text[strlen(text) - 3] = '\0';
	assert_false(lfs_pointer_parse(text, sizeof(text) - 1, &p));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pointers),
		cmocka_unit_test(test_what_is_none),
		cmocka_unit_test(test_nul_bytes_are_not_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
