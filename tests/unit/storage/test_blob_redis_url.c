/* SPDX-License-Identifier: Apache-2.0 */
/* Where Redis is: what is understood, and what is refused. */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

#include "base/err.h"
#include "blob/blob_redis_url.h"

#include <errno.h>
#include <string.h>

static struct l3_url parse(const char *text)
{
	struct l3_url url;
	struct err e = {0};

	if (l3_url_parse(text, &url, &e) < 0)
		fail_msg("%s: %s", text, err_message(&e));
	return url;
}

static void test_one_server(void **state)
{
	struct l3_url u = parse("redis://h");

	(void)state;
	assert_false(u.tls || u.cluster);
	assert_int_equal(u.seed_count, 1);
	assert_string_equal(u.seed[0].host, "h");
	assert_int_equal(u.seed[0].port, 6379);
	assert_int_equal(u.db, 0);
	u = parse("rediss://me:p%40%3as%2Fs@10.0.0.1:7000/3");
	assert_true(u.tls && !u.cluster);
	assert_string_equal(u.user, "me");
	assert_string_equal(u.password, "p@:s/s");
	assert_string_equal(u.seed[0].host, "10.0.0.1");
	assert_int_equal(u.seed[0].port, 7000);
	assert_int_equal(u.db, 3);
	u = parse("redis://:secret@[::1]:1/");
	assert_string_equal(u.user, "");
	assert_string_equal(u.password, "secret");
	assert_string_equal(u.seed[0].host, "::1");
	assert_int_equal(u.seed[0].port, 1);
	u = parse("redis://me@h");
	assert_string_equal(u.user, "me");
	assert_string_equal(u.password, "");
}

static void test_a_cluster(void **state)
{
	struct l3_url u = parse("rediss+cluster://u:p@a,b:1,[fe80::2]:2");

	(void)state;
	assert_true(u.tls && u.cluster);
	assert_int_equal(u.seed_count, 3);
	assert_string_equal(u.seed[1].host, "b");
	assert_int_equal(u.seed[1].port, 1);
	assert_string_equal(u.seed[2].host, "fe80::2");
}

static void test_a_socket(void **state)
{
	struct l3_url u = parse("unix:///run/re%20dis.sock?db=2");

	(void)state;
	assert_string_equal(u.seed[0].host, "/run/re dis.sock");
	assert_int_equal(u.seed[0].port, 0);
	assert_int_equal(u.db, 2);
	u = parse("unix://me:pw@/s");
	assert_string_equal(u.user, "me");
	assert_string_equal(u.password, "pw");
	assert_string_equal(u.seed[0].host, "/s");
}

static void test_what_is_not_understood_is_refused(void **state)
{
	static const char *const bad[] = {"", "h", "http://h", "redis:/h", "redis://", "redis:///0",
		"redis://h:", "redis://h:0", "redis://h:65536", "redis://h:1x", "redis://h/x",
		"redis://h/65536", "redis://a,b", "redis://::1", "redis://[::1", "redis://[::1]x",
		"redis://h h", "redis://h/0/1", "redis+cluster://h/1", "redis+cluster://a,",
		"redis+cluster://,a", "redis://u:p%4@h", "redis://u:%00@h", "redis://u:%zz@h",
		"unix://", "unix://h", "unix://relative/x", "unix:///s?x=1",
		"unix:///s?db=", "redis+cluster://1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17"};

	(void)state;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct l3_url url = {.db = 77};
		struct err e = {0};

		if (l3_url_parse(bad[i], &url, &e) != -EINVAL)
			fail_msg("%s was accepted", bad[i]);
		assert_int_equal(url.db, 77);
		assert_true(strlen(err_message(&e)) > 10);
	}
}

static void test_a_password_is_in_no_message(void **state)
{
	static const char *const bad[] = {"redis://u:hunter2@h:x", "redis://u:hunter2@h/x",
		"redis://u:hun/ter2@h", "redis://u:hunter2%@h", "redis://hunter2:x"};

	(void)state;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct l3_url url;
		struct err e = {0};

		assert_int_equal(l3_url_parse(bad[i], &url, &e), -EINVAL);
		assert_null(strstr(err_message(&e), "hun"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_server),
		cmocka_unit_test(test_a_cluster),
		cmocka_unit_test(test_a_socket),
		cmocka_unit_test(test_what_is_not_understood_is_refused),
		cmocka_unit_test(test_a_password_is_in_no_message),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
