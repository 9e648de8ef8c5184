/* SPDX-License-Identifier: Apache-2.0 */
/* origin/lfs_json.h: where an object is, or why not; nothing of a hostile answer gets further. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "origin/lfs_json.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define HEX "0101010101010101010101010101010101010101010101010101010101010101"

static struct lfs_pointer wanted(void)
{
	struct lfs_pointer p = {.size = 7};

	memset(p.sha256, 1, sizeof(p.sha256));
	return p;
}

static int answer(const char *text, struct lfs_action *a)
{
	const struct lfs_pointer w = wanted();

	return lfs_json_answer(text, strlen(text), &w, a);
}

static void test_request(void **state)
{
	const struct lfs_pointer w = wanted();
	struct buf out;

	(void)state;
	buf_init(&out, 4096);
	lfs_json_request(&out, LFS_DOWNLOAD, &w, 1);
	assert_string_equal(buf_cstr(&out),
		"{\"operation\":\"download\",\"transfers\":[\"basic\"],\"hash_algo\":\"sha256\","
		"\"objects\":[{\"oid\":\"" HEX "\",\"size\":7}]}");
	buf_fini(&out);
}

#define OBJECT(more) "{\"objects\":[{\"oid\":\"" HEX "\"," more "}]}"
#define ACTION(more) OBJECT("\"actions\":{\"download\":{" more "}}")

static void test_action(void **state)
{
	struct lfs_action a;

	(void)state;
	assert_int_equal(answer(ACTION("\"href\":\"https://h/x?s=1\",\"header\":{"
				       "\"Authorization\":\"RemoteAuth x\",\"Host\":\"evil\"}"),
				 &a),
		0);
	assert_string_equal(a.href, "https://h/x?s=1");
	assert_string_equal(a.headers[0], "Authorization: RemoteAuth x");
	assert_null(a.headers[1]); /* how the request is sent is ours */
	lfs_action_fini(&a);
	assert_int_equal(answer(ACTION("\"href\":\"http://h/\""), &a), 0);
	assert_null(a.headers[0]);
	lfs_action_fini(&a);
}

static void test_errors(void **state)
{
	static const struct {
		const char *text;
		int r;
	} rows[] = {
		{OBJECT("\"error\":{\"code\":404,\"message\":\"x\"}"), -ENOENT},
		{OBJECT("\"error\":{\"code\":410}"), -ENOENT},
		{OBJECT("\"error\":{\"code\":403}"), -EACCES},
		{OBJECT("\"error\":{\"code\":500}"), -EIO},
		{OBJECT("\"error\":\"x\""), -EIO},
		{OBJECT("\"size\":7"), -EIO},
		{"", -EIO},
		{"[]", -EIO},
		{"{}", -EIO},
		{"{\"objects\":[]}", -EIO},
		{"{\"objects\":[{\"oid\":\"02\",\"actions\":{}}]}", -EIO},
		{ACTION("\"href\":\"file:///etc/passwd\""), -EIO},
		{ACTION("\"href\":\"ftp://h/\""), -EIO},
		{ACTION("\"href\":\"/relative\""), -EIO},
		{ACTION("\"href\":\"http://h/\\u0000\""), -EIO},
		{ACTION("\"href\":\"http://h/ x\""), -EIO},
		{ACTION("\"href\":5"), -EIO},
		{ACTION("\"href\":\"http://h/\",\"header\":[]"), -EIO},
		{ACTION("\"href\":\"http://h/\",\"header\":{\"a\":1}"), -EIO},
		{ACTION("\"href\":\"http://h/\",\"header\":{\"a\":\"b\\r\\nc: d\"}"), -EIO},
		{ACTION("\"href\":\"http://h/\",\"header\":{\"a\\nb\":\"c\"}"), -EIO},
		{ACTION("\"href\":\"http://h/\",\"header\":{\"a: b\":\"c\"}"), -EIO},
		{ACTION("\"href\":\"http://h/\",\"header\":{\"a\":\"b\\u0000\"}"), -EIO},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct lfs_action a;

		assert_int_equal(answer(rows[i].text, &a), rows[i].r);
	}
}

#define HEX2 "0202020202020202020202020202020202020202020202020202020202020202"
#define HEX3 "0303030303030303030303030303030303030303030303030303030303030303"
#define PLACED(hex) \
	"{\"oid\":\"" hex "\",\"actions\":{\"download\":{\"href\":\"http://h/" hex "\"}}}"

static void count_place(void *arg, const struct lfs_pointer *object, struct lfs_action *action)
{
	unsigned *seen = arg;

	assert_non_null(strstr(action->href, object->sha256[0] == 1 ? HEX : HEX2));
	seen[object->sha256[0] - 1]++;
}

static int answers(const char *text, unsigned seen[2])
{
	struct lfs_pointer both[2] = {wanted(), wanted()};
	const struct lfs_batch batch = {both, 2};

	memset(both[1].sha256, 2, sizeof(both[1].sha256));
	seen[0] = seen[1] = 0;
	return lfs_json_answers(text, strlen(text), &batch, count_place, seen);
}

/* Those that were asked for and have a place; what is wrong with one says nothing of the others. */
static void test_many(void **state)
{
	unsigned seen[2];

	(void)state;
	assert_int_equal(
		answers("{\"objects\":[" PLACED(HEX2) "," PLACED(HEX) "," PLACED(HEX3) "]}", seen),
		0);
	assert_int_equal(seen[0] + 10 * seen[1], 11);
	assert_int_equal(answers("{\"objects\":[" PLACED(HEX2) ",{\"oid\":\"" HEX
							       "\",\"error\":{\"code\":404}}]}",
				 seen),
		0);
	assert_int_equal(seen[0] + 10 * seen[1], 10);
	assert_int_equal(answers("{\"objects\":[{\"oid\":\"" HEX "\",\"actions\":{\"download\":"
				 "{\"href\":\"file:///x\"}}}," PLACED(HEX2) ",5]}",
				 seen),
		0);
	assert_int_equal(seen[0] + 10 * seen[1], 10);
	assert_int_equal(answers("{}", seen), -EIO);
	assert_int_equal(answers("", seen), -EIO);
	assert_int_equal(answers("{\"objects\":{}}", seen), -EIO);
}

static void test_request_for_many(void **state)
{
	struct lfs_pointer both[2] = {wanted(), wanted()};
	struct buf out;

	(void)state;
	memset(both[1].sha256, 2, sizeof(both[1].sha256));
	buf_init(&out, 4096);
	lfs_json_request(&out, LFS_DOWNLOAD, both, 2);
	assert_non_null(
		strstr(buf_cstr(&out), "\"objects\":[{\"oid\":\"" HEX
				       "\",\"size\":7},{\"oid\":\"" HEX2 "\",\"size\":7}]}"));
	buf_fini(&out);
}

static void test_upload(void **state)
{
	struct lfs_action upload, verify;
	struct lfs_pointer w = wanted();
	const char *text =
		OBJECT("\"size\":1,\"actions\":{\"upload\":{\"href\":\"http://h/up\","
		       "\"header\":{\"A\":\"b\"}},\"verify\":{\"href\":\"http://h/v\"}}");

	(void)state;
	assert_int_equal(lfs_json_upload_answer(text, strlen(text), &w, &upload, &verify), 0);
	assert_string_equal(upload.href, "http://h/up");
	assert_string_equal(upload.headers[0], "A: b");
	assert_string_equal(verify.href, "http://h/v");
	lfs_action_fini(&upload);
	lfs_action_fini(&verify);
	text = OBJECT("\"size\":1"); /* the server has it */
	assert_int_equal(lfs_json_upload_answer(text, strlen(text), &w, &upload, &verify), 0);
	assert_null(upload.href);
	assert_null(verify.href);
	text = OBJECT("\"error\":{\"code\":403}");
	assert_int_equal(lfs_json_upload_answer(text, strlen(text), &w, &upload, &verify), -EACCES);
	text = OBJECT("\"actions\":{\"upload\":{\"href\":\"http://h/\"},\"verify\":5}");
	assert_int_equal(lfs_json_upload_answer(text, strlen(text), &w, &upload, &verify), -EIO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_request),
		cmocka_unit_test(test_action),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_request_for_many),
		cmocka_unit_test(test_upload),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
