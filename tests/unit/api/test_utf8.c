/* SPDX-License-Identifier: Apache-2.0 */
/* utf8.c against every code point and against a repair that must always be valid. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "utf8.h"

static size_t encode(uint32_t c, char *out)
{
	if (c < 0x80)
		return out[0] = (char)c, 1;
	if (c < 0x800)
		return out[0] = (char)(0xc0 | c >> 6), out[1] = (char)(0x80 | (c & 0x3f)), 2;
	if (c < 0x10000)
		return out[0] = (char)(0xe0 | c >> 12), out[1] = (char)(0x80 | (c >> 6 & 0x3f)),
		       out[2] = (char)(0x80 | (c & 0x3f)), 3;
	return out[0] = (char)(0xf0 | c >> 18), out[1] = (char)(0x80 | (c >> 12 & 0x3f)),
	       out[2] = (char)(0x80 | (c >> 6 & 0x3f)), out[3] = (char)(0x80 | (c & 0x3f)), 4;
}

static void test_every_code_point(void **state)
{
	(void)state;
	for (uint32_t c = 0; c < 0x120000; c++) {
		char s[4];
		size_t len = encode(c, s);
		bool valid = c < 0x110000 && !(c >= 0xd800 && c < 0xe000);

		if (utf8_ok(s, len) != valid)
			fail_msg("U+%04X", c);
		if (len > 1 && utf8_ok(s, len - 1))
			fail_msg("U+%04X cut", c);
	}
	assert_true(utf8_ok("", 0));
}

static void test_repair(void **state)
{
	char out[16];
	unsigned seed = 3;

	(void)state;
	utf8_repair("a\xff\xc3\xa9\xe2\x82", out, sizeof(out));
	assert_string_equal(out, "a?\xc3\xa9??");
	utf8_repair("\xe2\x82\xac\xe2\x82\xac", out, 6); /* no room for the second */
	assert_string_equal(out, "\xe2\x82\xac");
	utf8_repair("abc", out, 1);
	assert_string_equal(out, "");
	for (unsigned i = 0; i < 100000; i++) {
		char in[12] = "";

		for (unsigned k = 0; k < 11; k++)
			in[k] = (char)(1 + rand_r(&seed) % 255);
		utf8_repair(in, out, 2 + i % 14);
		assert_true(utf8_ok(out, strlen(out)));
		if (utf8_ok(in, strlen(in)) && i % 14 == 13)
			assert_string_equal(in, out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_code_point),
		cmocka_unit_test(test_repair),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
