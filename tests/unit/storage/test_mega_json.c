/* SPDX-License-Identifier: Apache-2.0 */
/* origin/mega_json.h: exactly what a Mega server says, and nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "origin/mega_json.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static int listing(const char *text, struct mega_listing *l)
{
	return mega_json_listing(text, strlen(text), l);
}

static void test_listing(void **state)
{
	struct mega_listing l;

	(void)state;
	assert_int_equal(
		listing("{\"req_result\":true,\"data\":["
			"{\"name\":\"d\",\"content_type\":\"directory\",\"oid\":\"" A "\"},"
			"{\"name\":\"x +#\\u00e4\",\"content_type\":\"file\",\"oid\":\"" A
			"\",\"more\":1}],\"err_message\":\"\"}",
			&l),
		0);
	assert_int_equal(l.count, 2);
	assert_string_equal(l.entries[0].name, "d");
	assert_true(l.entries[0].directory);
	assert_string_equal(l.entries[1].name, "x +#\xc3\xa4");
	assert_int_equal(l.entries[1].name_len, 6);
	assert_false(l.entries[1].directory);
	assert_int_equal(l.entries[1].oid.len, 20);
	assert_int_equal(l.entries[1].oid.bytes[0], 0xaa);
	mega_listing_fini(&l);
	assert_int_equal(listing("{\"req_result\":true,\"data\":[]}", &l), 0);
	assert_int_equal(l.count, 0);
	mega_listing_fini(&l);
}

static void test_listings_that_are_none(void **state)
{
#define ITEM(name, type, oid)                                                                      \
	"{\"req_result\":true,\"data\":[{\"name\":" name ",\"content_type\":" type ",\"oid\":" oid \
	"}]}"
	static const char *const rows[] = {"", "{", "[]", "null", "{\"data\":[]}",
		"{\"req_result\":false,\"data\":[]}", "{\"req_result\":true,\"data\":null}",
		"{\"req_result\":true,\"data\":{}}", "{\"req_result\":true,\"data\":[1]}",
		"{\"req_result\":1,\"data\":[]}", "{\"req_result\":true,\"data\":[]} x",
		"{\"req_result\":true,\"req_result\":true,\"data\":[]}",
		ITEM("\"\"", "\"file\"", "\"" A "\""), ITEM("\".\"", "\"file\"", "\"" A "\""),
		ITEM("\"..\"", "\"file\"", "\"" A "\""), ITEM("\"a/b\"", "\"file\"", "\"" A "\""),
		ITEM("\"a\\u0000b\"", "\"file\"", "\"" A "\""), ITEM("1", "\"file\"", "\"" A "\""),
		ITEM("\"a\"", "\"link\"", "\"" A "\""), ITEM("\"a\"", "1", "\"" A "\""),
		ITEM("\"a\"", "\"file\"", "\"abc\""), ITEM("\"a\"", "\"file\"", "null")};
#undef ITEM
	struct mega_listing l;

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(listing(rows[i], &l), -EIO);
}

static void test_deep_json_is_refused(void **state)
{
	static char text[100000];
	struct mega_listing l;

	(void)state;
	memset(text, '[', sizeof(text) - 1);
	assert_int_equal(listing(text, &l), -EIO);
}

static void test_commit(void **state)
{
	static const struct {
		const char *date;
		int64_t time_s;
	} rows[] = {
		{"\"1700000000\"", 1700000000},
		{"\"0\"", 0},
		{"\"-5\"", 0},
		{"\"2023-11-14T22:13:20Z\"", 1700000000},
		{"\"2023-11-14 22:13:20 +0000\"", 1700000000},
		{"\"yesterday\"", 0},
		{"\"2023-11-14\"", 0},
		{"\"99999999999999999999\"", 0},
		{"17", 0},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct mega_commit c;
		char text[200];

		(void)snprintf(text, sizeof(text), "{\"oid\":\"" A "\",\"date\":%s}", rows[i].date);
		assert_int_equal(mega_json_commit(text, strlen(text), &c), 0);
		assert_int_equal(c.time_s, rows[i].time_s);
		assert_int_equal(c.oid.len, 20);
	}
}

static void test_commits_that_are_none(void **state)
{
	static const char *const rows[] = {"", "{}", "[]", "\"" A "\"", "{\"oid\":1}",
		"{\"oid\":\"main\"}", "{\"oid\":\"" A "\\u0000\"}", "http ready"};
	struct mega_commit c;

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(mega_json_commit(rows[i], strlen(rows[i]), &c), -EIO);
}

#define HISTORY(items) "{\"req_result\":true,\"data\":{\"total\":9,\"items\":[" items "]}}"
#define B              "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

struct seen {
	unsigned commits, parents, files;
	struct origin_change_file last;
	char path[64], old_path[64];
};

static int note_commit(void *arg, const struct oid *commit, const struct oid *parents, size_t count)
{
	struct seen *s = arg;

	assert_int_equal(commit->bytes[0], 0xaa);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(parents[i].bytes[0], 0xbb);
	s->commits++;
	s->parents += (unsigned)count;
	return s->commits == 3 ? -ECANCELED : 0;
}

static int history(const char *text, struct seen *s)
{
	*s = (struct seen){0};
	return mega_json_history(text, strlen(text), note_commit, s);
}

static void test_history(void **state)
{
#define ITEM(parents) "{\"sha\":\"" A "\",\"date\":\"\",\"parents\":[" parents "]}"
	static const char *const rows[] = {"", "[]", "{\"data\":{\"items\":[]}}",
		"{\"req_result\":true,\"data\":[]}", HISTORY("1"), HISTORY("{\"sha\":\"" A "\"}"),
		HISTORY("{\"sha\":\"main\",\"parents\":[]}"), HISTORY(ITEM("1")),
		HISTORY(ITEM("\"main\"")), HISTORY(ITEM("\"" B "\\u0000\""))};
	struct seen s;

	(void)state;
	assert_int_equal(history(HISTORY(ITEM("\"" B "\"") "," ITEM("")), &s), 0);
	assert_int_equal(s.commits, 2);
	assert_int_equal(s.parents, 1);
	assert_int_equal(history(HISTORY(ITEM("\"" B "\",\"" B "\"")), &s), 0);
	assert_int_equal(s.parents, 2);
	assert_int_equal(history(HISTORY(""), &s), 0);
	assert_int_equal(
		history(HISTORY(ITEM("") "," ITEM("") "," ITEM("") "," ITEM("")), &s), -ECANCELED);
	assert_int_equal(s.commits, 3);
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(history(rows[i], &s), -EIO);
#undef ITEM
}

static void test_more_parents_than_a_commit_can_have(void **state)
{
	static char text[65 * 50], whole[sizeof(text) + 200];
	size_t len = 0;
	struct seen s;

	(void)state;
	for (unsigned i = 0; i < 65; i++)
		len += (size_t)snprintf(
			text + len, sizeof(text) - len, "%s\"" B "\"", i ? "," : "");
	(void)snprintf(whole, sizeof(whole), HISTORY("{\"sha\":\"" A "\",\"parents\":[%s]}"), text);
	assert_int_equal(history(whole, &s), -EIO);
	assert_int_equal(s.commits, 0);
}

static int note_file(void *arg, const struct origin_change_file *file)
{
	struct seen *s = arg;

	s->files++;
	s->last = *file;
	(void)snprintf(s->path, sizeof(s->path), "%s", file->path);
	(void)snprintf(
		s->old_path, sizeof(s->old_path), "%s", file->old_path ? file->old_path : "");
	return 0;
}

static int files(const char *text, struct seen *s)
{
	*s = (struct seen){0};
	return mega_json_files(text, strlen(text), note_file, s);
}

static void test_files(void **state)
{
#define LIST(items)           "{\"req_result\":true,\"data\":[" items "],\"err_message\":\"\"}"
#define FILE_OF(path, action) "{\"path\":" path ",\"sha\":\"" A "\",\"action\":" action "}"
	static const char *const rows[] = {"", "{}", LIST("1"),
		"{\"req_result\":true,\"data\":null}", "{\"req_result\":false,\"data\":[]}",
		LIST(FILE_OF("\"a\"", "\"added\"")), LIST(FILE_OF("\"a\"", "null")),
		LIST(FILE_OF("\"\"", "\"new\"")), LIST(FILE_OF("\"../a\"", "\"new\"")),
		LIST(FILE_OF("\"/a\"", "\"new\"")), LIST(FILE_OF("\"a\\u0000b\"", "\"new\"")),
		LIST(FILE_OF("1", "\"deleted\"")), LIST(FILE_OF("\"a\"", "\"renamed\"")),
		LIST("{\"path\":\"a\",\"sha\":\"main\",\"action\":\"new\"}"),
		LIST("{\"path\":\"a\",\"sha\":\"" A
		     "\",\"action\":\"renamed\",\"old_path\":\"b/../c\"}")};
	struct seen s;

	(void)state;
	assert_int_equal(files(LIST(""), &s), 0);
	assert_int_equal(
		files(LIST(FILE_OF("\"a/b\"", "\"new\"") "," FILE_OF("\"c\"", "\"deleted\"")), &s),
		0);
	assert_int_equal(s.files, 2);
	assert_int_equal(s.last.action, ORIGIN_FILE_DELETED);
	assert_string_equal(s.path, "c");
	assert_int_equal(files(LIST("{\"path\":\"a\",\"sha\":\"" A
				    "\",\"action\":\"renamed\",\"old_path\":\"d/e\","
				    "\"similarity\":70}"),
				 &s),
		0);
	assert_int_equal(s.last.action, ORIGIN_FILE_RENAMED);
	assert_string_equal(s.old_path, "d/e");
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(files(rows[i], &s), -EIO);
		assert_int_equal(s.files, 0);
	}
#undef LIST
#undef FILE_OF
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_listing),
		cmocka_unit_test(test_listings_that_are_none),
		cmocka_unit_test(test_deep_json_is_refused),
		cmocka_unit_test(test_commit),
		cmocka_unit_test(test_commits_that_are_none),
		cmocka_unit_test(test_history),
		cmocka_unit_test(test_more_parents_than_a_commit_can_have),
		cmocka_unit_test(test_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
