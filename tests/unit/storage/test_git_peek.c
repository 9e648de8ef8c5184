/* SPDX-License-Identifier: Apache-2.0 */
/* The size of an object before its content. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "origin/git_peek.h"

#include <errno.h>
#include <string.h>

#define HEADER "PACK\0\0\0\2\0\0\0\1"

static int take(struct gitpeek *p, const char *data, size_t len)
{
	return gitpeek_take(p, data, len);
}
#define TAKE(p, text) take(p, text, sizeof(text) - 1)

static void test_sizes(void **state)
{
	static const struct {
		const char *object;
		size_t len;
		uint64_t size;
	} rows[] = {
		{"\x30", 1, 0},
		{"\x3f", 1, 15},
		{"\xb0\x01", 2, 16},
		{"\xb5\x80\x80\x80\x80\x08", 6, 5 + (UINT64_C(1) << 35)},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct gitpeek p = {.have = 0};

		assert_int_equal(TAKE(&p, HEADER), 0);
		assert_false(p.known);
		for (size_t at = 0; at < rows[i].len; at++) {
			assert_false(p.known);
			assert_int_equal(take(&p, rows[i].object + at, 1), 0);
		}
		assert_true(p.known);
		assert_int_equal(p.size, rows[i].size);
		assert_int_equal(TAKE(&p, "content that is not looked at, and much of it"), 0);
		assert_int_equal(p.size, rows[i].size);
	}
}

static void test_all_at_once(void **state)
{
	struct gitpeek p = {.have = 0};

	(void)state;
	assert_int_equal(TAKE(&p, HEADER "\xb1\x02 and the content, longer than is kept"), 0);
	assert_true(p.known);
	assert_int_equal(p.size, 33);
}

static void test_what_is_none(void **state)
{
	static const struct {
		const char *data;
		size_t len;
	} rows[] = {
		{"JUNK\0\0\0\2\0\0\0\1\x30", 13},
		{"PACK\0\0\0\4\0\0\0\1\x30", 13},
		{"PACK\0\0\0\2\0\0\0\2\x30", 13}, /* two objects */
		{HEADER "\x20", 13},              /* a tree */
		{HEADER "\x70", 13},              /* a delta */
		{HEADER "\xb0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 23},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct gitpeek p = {.have = 0};

		assert_int_equal(take(&p, rows[i].data, rows[i].len), -EBADMSG);
		assert_false(p.known);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_all_at_once),
		cmocka_unit_test(test_what_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
