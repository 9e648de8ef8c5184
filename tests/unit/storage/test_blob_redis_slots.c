/* SPDX-License-Identifier: Apache-2.0 */
/* What Redis Cluster says, and what it might say. */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

#include "blob/blob_redis_key.h"
#include "blob/blob_redis_slots.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <string.h>

static const struct l3_endpoint asked = {"10.1.1.1", 6379};

static void test_slots_are_those_of_the_specification(void **state)
{
	(void)state;
	assert_int_equal(l3_slot("123456789", 9), 0x31c3);
	assert_int_equal(l3_slot("foo", 3), 12182);
	assert_int_equal(l3_slot("{foo}bar", 8), 12182);
	assert_int_equal(l3_slot("x{foo}{bar}", 11), 12182);
	assert_int_not_equal(l3_slot("{}foo", 5), 12182); /* an empty tag is none */
	assert_int_equal(l3_slot("", 0), 0);
}

static void test_all_keys_of_an_object_share_a_slot(void **state)
{
	struct oid oid = {20, {9, 8, 7}};
	struct l3_key value = l3_key_value(&oid), lease = l3_key_lease(&oid);
	struct l3_key chunk = l3_key_chunk(&oid, 4095), tree = l3_key_tree(&oid);

	(void)state;
	assert_int_equal(value.slot, l3_slot(value.text, value.len));
	assert_int_equal(lease.slot, l3_slot(lease.text, lease.len));
	assert_int_equal(chunk.slot, value.slot);
	assert_int_equal(tree.slot, value.slot);
	assert_int_equal(strlen(chunk.text), chunk.len);
	assert_string_not_equal(lease.text, value.text);
	oid.len = 32;
	chunk = l3_key_chunk(&oid, UINT32_MAX);
	assert_int_equal(strlen(chunk.text), chunk.len);
	assert_int_equal(chunk.text[chunk.len - 1], '5');
}

static void expect_redirect(
	const char *text, bool ask, unsigned slot, const char *host, unsigned port)
{
	struct l3_redirect to;

	assert_int_equal(l3_redirect_parse(text, strlen(text), &asked, &to), 0);
	assert_int_equal(to.ask, ask);
	assert_int_equal(to.slot, slot);
	assert_string_equal(to.to.host, host);
	assert_int_equal(to.to.port, port);
}

static void test_redirections(void **state)
{
	static const char *const bad[] = {"", "MOVED", "MOVED ", "MOVED 1", "MOVED 1 ",
		"MOVED x h:1", "MOVED 16384 h:1", "MOVED 99999999999 h:1", "MOVED 1 h",
		"MOVED 1 h:", "MOVED 1 h:0", "MOVED 1 h:99999", "MOVED 1 h h:1", "MOVED -1 h:1",
		"ERR x", "ASKING 1 h:1", "MOVED 1 /tmp/x:1", "MOVED 1 h:1 ", "CLUSTERDOWN down"};
	struct l3_redirect to;

	(void)state;
	expect_redirect("MOVED 3999 127.0.0.1:6381", false, 3999, "127.0.0.1", 6381);
	expect_redirect("ASK 0 redis-1.example.org:1", true, 0, "redis-1.example.org", 1);
	expect_redirect("MOVED 16383 ::1:6381", false, 16383, "::1", 6381);
	expect_redirect("MOVED 5 :6381", false, 5, "10.1.1.1", 6381);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (l3_redirect_parse(bad[i], strlen(bad[i]), &asked, &to) != -EINVAL)
			fail_msg("\"%s\" was accepted", bad[i]);
}

struct seen {
	unsigned count;
	uint16_t first[4], last[4];
	struct l3_endpoint at[4];
};

static int see(void *arg, uint16_t first, uint16_t last, const struct l3_endpoint *master)
{
	struct seen *s = arg;

	assert_in_range(s->count, 0, 3);
	s->first[s->count] = first;
	s->last[s->count] = last;
	s->at[s->count++] = *master;
	return 0;
}

static int decode(const char *wire, struct seen *ret_seen)
{
	redisReader *reader = redisReaderCreate();
	void *reply = NULL;
	int r;

	assert_int_equal(redisReaderFeed(reader, wire, strlen(wire)), REDIS_OK);
	assert_int_equal(redisReaderGetReply(reader, &reply), REDIS_OK);
	assert_non_null(reply);
	r = l3_slots_decode(reply, &asked, see, ret_seen);
	freeReplyObject(reply);
	redisReaderFree(reader);
	return r;
}

static void test_a_map(void **state)
{
	struct seen s = {0};

	(void)state;
	assert_int_equal(decode("*2\r\n"
				"*4\r\n:0\r\n:5460\r\n"
				"*3\r\n$9\r\n127.0.0.1\r\n:30001\r\n$2\r\nid\r\n"
				"*3\r\n$9\r\n127.0.0.1\r\n:30004\r\n$2\r\nid\r\n"
				"*3\r\n:5461\r\n:16383\r\n*2\r\n$-1\r\n:30002\r\n",
				 &s),
		0);
	assert_int_equal(s.count, 2);
	assert_int_equal(s.last[0], 5460);
	assert_string_equal(s.at[0].host, "127.0.0.1");
	assert_int_equal(s.at[0].port, 30001);
	assert_int_equal(s.first[1], 5461);
	assert_string_equal(s.at[1].host, "10.1.1.1"); /* no host: the one that was asked */
}

static void test_lies_about_the_map(void **state)
{
	static const char *const bad[] = {"+OK\r\n", "*1\r\n:1\r\n", "*1\r\n*0\r\n",
		"*1\r\n*3\r\n:1\r\n:0\r\n*2\r\n$1\r\nh\r\n:1\r\n",
		"*1\r\n*3\r\n:-1\r\n:5\r\n*2\r\n$1\r\nh\r\n:1\r\n",
		"*1\r\n*3\r\n:0\r\n:16384\r\n*2\r\n$1\r\nh\r\n:1\r\n",
		"*1\r\n*3\r\n:0\r\n:1\r\n*1\r\n$1\r\nh\r\n", "*1\r\n*3\r\n:0\r\n:1\r\n:7\r\n",
		"*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n:1\r\n:1\r\n",
		"*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$1\r\nh\r\n:0\r\n",
		"*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$1\r\nh\r\n:70000\r\n",
		"*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$3\r\n/tm\r\n:1\r\n"};

	(void)state;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct seen s = {0};

		if (decode(bad[i], &s) != -EBADMSG || s.count)
			fail_msg("map %u was accepted", i);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_slots_are_those_of_the_specification),
		cmocka_unit_test(test_all_keys_of_an_object_share_a_slot),
		cmocka_unit_test(test_redirections),
		cmocka_unit_test(test_a_map),
		cmocka_unit_test(test_lies_about_the_map),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
