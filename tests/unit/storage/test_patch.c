/* SPDX-License-Identifier: Apache-2.0 */
/* Patches, read and applied: what git writes, what others write, and what nobody should. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "layer/patch_internal.h"

#include <errno.h>
#include <string.h>

static struct patch_file first_of(const char *text)
{
	struct patch_reader r = patch_begin(text, strlen(text));
	struct patch_file f = {.line = 0};

	if (patch_next(&r, &f) != 1)
		fail_msg("line %u: %s", r.line, r.why ? r.why : "nothing");
	return f;
}

static void refused(const char *text, const char *why)
{
	struct patch_reader r = patch_begin(text, strlen(text));
	struct patch_file f;
	int err;

	while ((err = patch_next(&r, &f)) == 1)
		patch_file_fini(&f);
	assert_int_equal(err, -EBADMSG);
	assert_non_null(strstr(r.why, why));
}

static void gives(const char *text, const char *old, const char *want)
{
	struct patch_file f = first_of(text);
	struct patch_result result;
	int err = patch_apply(&f, old, strlen(old), &result);

	if (err)
		fail_msg("%d: %s, line %u", err, result.why, result.line);
	assert_string_equal(result.data, want);
	assert_int_equal(result.len, strlen(want));
	free(result.data);
	patch_file_fini(&f);
}

static void does_not_fit(const char *text, const char *old)
{
	struct patch_file f = first_of(text);
	struct patch_result result;

	assert_int_equal(patch_apply(&f, old, strlen(old), &result), -ESTALE);
	assert_non_null(result.why);
	patch_file_fini(&f);
}

static void test_header(void **state)
{
	struct patch_file f =
		first_of("From 0123456789012345678901234567890123456789 Mon Sep 17\n"
			 "Subject: x\n\n--- \n x | 2 +-\n\n"
			 "diff --git a/old name b/new name\n"
			 "old mode 100644\nnew mode 100755\n"
			 "similarity index 90%\nrename from old name\n"
			 "rename to new name\nindex 1234567..89abcde\n"
			 "--- a/old name\t\n+++ b/new name\t\n@@ -1 +1 @@\n-a\n+b\n-- \n2.39\n");

	(void)state;
	assert_string_equal(f.old_path, "old name");
	assert_string_equal(f.new_path, "new name");
	assert_int_equal(f.old_mode, 0100644);
	assert_int_equal(f.new_mode, 0100755);
	assert_true(f.renamed && !f.copied && f.new_commit && !f.binary);
	assert_string_equal(f.old_id, "1234567");
	assert_string_equal(f.new_id, "89abcde");
	assert_int_equal(f.line, 7);
	patch_file_fini(&f);
}

static void test_names(void **state)
{
	struct patch_file f =
		first_of("diff --git a/x b/y b/x b/y\nold mode 100644\nnew mode 100755\n");

	(void)state;
	assert_string_equal(f.old_path, "x b/y");
	assert_string_equal(f.new_path, "x b/y");
	patch_file_fini(&f);
	f = first_of("diff --git \"a/tab\\there \\303\\244\\\"\" \"b/tab\\there \\303\\244\\\"\"\n"
		     "new file mode 120000\nindex 0000000..1234567\n");
	assert_null(f.old_path);
	assert_string_equal(f.new_path, "tab\there \303\244\"");
	assert_int_equal(f.new_mode, 0120000);
	patch_file_fini(&f);
	f = first_of("--- old/dir/x.c\t2020-01-01 00:00:00\n+++ new/dir/x.c\t2020\n@@ -1 +1 "
		     "@@\n-a\n+b\n");
	assert_string_equal(f.old_path, "dir/x.c");
	assert_string_equal(f.new_path, "dir/x.c");
	patch_file_fini(&f);
	f = first_of("--- old/x\t1970-01-01 00:00:00.000000000 +0000\n+++ new/x\t2020\n@@ -0,0 +1 "
		     "@@\n+b\n");
	assert_null(f.old_path);
	patch_file_fini(&f);
}

/* A removed line "-- a" looks like a header. */
static void test_lines_of_hunks_are_counted(void **state)
{
	static const char text[] =
		"--- a/x\n+++ b/x\n@@ -1,3 +1,2 @@\n one\n--- a/y\n-+++ b/y\n+@@ -1 +1 @@\n"
		"--- a/z\n+++ b/z\n@@ -1 +1 @@\n-a\n+b\n";
	struct patch_reader r = patch_begin(text, strlen(text));
	struct patch_file f;

	(void)state;
	assert_int_equal(patch_next(&r, &f), 1);
	assert_string_equal(f.new_path, "x");
	patch_file_fini(&f);
	assert_int_equal(patch_next(&r, &f), 1);
	assert_string_equal(f.new_path, "z");
	patch_file_fini(&f);
	assert_int_equal(patch_next(&r, &f), 0);
	gives(text, "one\n-- a/y\n+++ b/y\n", "one\n@@ -1 +1 @@\n");
}

#define HEAD "--- a/x\n+++ b/x\n"

static void test_apply(void **state)
{
	(void)state;
	gives(HEAD "@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n", "a\nb\nc\nd\n", "a\nB\nc\nd\n");
	/* moved, in both directions */
	gives(HEAD "@@ -5,3 +5,3 @@\n a\n-b\n+B\n c\n", "x\ny\na\nb\nc\nd\n", "x\ny\na\nB\nc\nd\n");
	gives(HEAD "@@ -2,3 +2,3 @@\n a\n-b\n+B\n c\n", "1\n2\n3\n4\na\nb\nc\nd\n",
		"1\n2\n3\n4\na\nB\nc\nd\n");
	/* the second of two hunks knows how far the first one moved things */
	gives(HEAD "@@ -1,2 +1,4 @@\n a\n+1\n+2\n b\n@@ -3,3 +5,2 @@\n c\n-d\n e\n",
		"a\nb\nc\nd\ne\n", "a\n1\n2\nb\nc\ne\n");
	/* ends of line */
	gives(HEAD "@@ -1,2 +1,2 @@\n a\n-b\n\\ No newline at end of file\n+b\n", "a\nb", "a\nb\n");
	gives(HEAD "@@ -1,2 +1,2 @@\n a\n-b\n+b\n\\ No newline at end of file\n", "a\nb\n", "a\nb");
	gives(HEAD "@@ -0,0 +1,2 @@\n+a\n+b\n", "", "a\nb\n");
	gives(HEAD "@@ -1,2 +0,0 @@\n-a\n-b\n", "a\nb\n", "");
	/* an editor has eaten the blank of an empty line */
	gives(HEAD "@@ -1,3 +1,3 @@\n a\n\n-b\n+B\n", "a\n\nb\n", "a\n\nB\n");
	gives(HEAD "@@ -1 +1 @@\n-a\r\n+b\r\n", "a\r\n", "b\r\n");
}

static void test_what_does_not_fit(void **state)
{
	(void)state;
	does_not_fit(HEAD "@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n", "a\nx\nc\n");
	/* begins at the first line, so it must be there */
	does_not_fit(HEAD "@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n", "0\na\nb\nc\n");
	/* nothing behind it, so it must be the end */
	does_not_fit(HEAD "@@ -2,2 +2,2 @@\n a\n-b\n+B\n", "0\na\nb\nc\n");
	does_not_fit(HEAD "@@ -0,0 +1 @@\n+a\n", "b\n");
	does_not_fit(HEAD "@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+b\n", "a\n");
}

static void test_refused(void **state)
{
	(void)state;
	refused(HEAD "@@ -1,3 +1,3 @@\n a\n-b\n", "ends in the middle");
	refused(HEAD "@@ -1,1 +1,1 @@\n a\nrubbish\n@@ -x\n", "belongs to no file");
	refused(HEAD "@@ -1,2 +1,2 @@\n a\n?b\n", "not as long");
	refused("diff --git a/x b/y\nold mode 100644\nnew mode 100755\n", "which file");
	refused("diff --git a/x b/x\nnew file mode 100644\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n",
		"contradicts");
	refused("diff --git a/x b/x\nindex 1..2\nBinary files a/x and b/x differ\n", "--binary");
	refused("diff --git a/x b/x\nnew file mode 99\n", "header");
	refused("diff --git a/x b/x\n--- \"a/\\9\"\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n", "name");
}

/* As git diff --binary wrote it: "new\0data", then from it back to "old\0data". */
static void test_binary(void **state)
{
	static const char text[] =
		"diff --git a/x b/x\nindex 0000000..1111111 100644\nGIT binary patch\n"
		"literal 5\nMc${NkU|;|M00IC2\n\nliteral 0\nHcmV?d00001\n\n";
	struct patch_file f = first_of(text);
	struct patch_result result;

	(void)state;
	assert_true(f.binary);
	assert_int_equal(patch_apply(&f, "", 0, &result), -EBADMSG);
	assert_string_equal(result.why, "has damaged binary data");
	patch_file_fini(&f);
}

static void test_delta(void **state)
{
	static const uint8_t good[] = {4, 6, 0x90, 4, 2, 'x', 'y'};
	static const uint8_t outside[] = {4, 6, 0x91, 2, 4, 2, 'x', 'y'};
	static const uint8_t too_long[] = {4, 5, 0x90, 4, 2, 'x', 'y'};
	static const uint8_t cut[] = {4, 6, 0x90, 4, 3, 'x', 'y'};
	struct patch_result result;

	(void)state;
	assert_int_equal(patch_apply_delta(good, sizeof(good), "abcd", 4, &result), 0);
	assert_string_equal(result.data, "abcdxy");
	free(result.data);
	assert_int_equal(patch_apply_delta(good, sizeof(good), "abc", 3, &result), -ESTALE);
	assert_int_equal(patch_apply_delta(outside, sizeof(outside), "abcd", 4, &result), -EBADMSG);
	assert_int_equal(
		patch_apply_delta(too_long, sizeof(too_long), "abcd", 4, &result), -EBADMSG);
	assert_int_equal(patch_apply_delta(cut, sizeof(cut), "abcd", 4, &result), -EBADMSG);
}

static void test_old_text(void **state)
{
	struct patch_file f =
		first_of(HEAD "@@ -1 +1 @@\n-Subproject commit 1\n+Subproject commit 2\n");
	char *old;
	size_t len;

	(void)state;
	assert_int_equal(patch_old_text(&f, &old, &len), 0);
	assert_string_equal(old, "Subproject commit 1\n");
	free(old);
	patch_file_fini(&f);
	f = first_of(HEAD "@@ -2 +2 @@\n-a\n+b\n");
	assert_int_equal(patch_old_text(&f, &old, &len), -EBADMSG);
	patch_file_fini(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_header),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_lines_of_hunks_are_counted),
		cmocka_unit_test(test_apply),
		cmocka_unit_test(test_what_does_not_fit),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_binary),
		cmocka_unit_test(test_delta),
		cmocka_unit_test(test_old_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
