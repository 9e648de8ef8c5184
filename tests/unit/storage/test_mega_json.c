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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_listing),
		cmocka_unit_test(test_listings_that_are_none),
		cmocka_unit_test(test_deep_json_is_refused),
		cmocka_unit_test(test_commit),
		cmocka_unit_test(test_commits_that_are_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
