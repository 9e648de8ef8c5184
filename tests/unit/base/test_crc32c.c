/* SPDX-License-Identifier: Apache-2.0 */
/* base/crc32c.h: the vectors of RFC 3720 (iSCSI), and that hardware and table agree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "crc32c_internal.h"

static void known_vectors(void **state)
{
	unsigned char bytes[32];

	(void)state;
	assert_int_equal(crc32c(0, "", 0), 0);
	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
	memset(bytes, 0, sizeof(bytes));
	assert_int_equal(crc32c(0, bytes, sizeof(bytes)), 0x8a9136aa);
	memset(bytes, 0xff, sizeof(bytes));
	assert_int_equal(crc32c(0, bytes, sizeof(bytes)), 0x62a8ab43);
	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (unsigned char)i;
	assert_int_equal(crc32c(0, bytes, sizeof(bytes)), 0x46dd794e);
	assert_int_equal(crc32c_table(0, bytes, sizeof(bytes)), 0x46dd794e);
}

static void parts_add_up(void **state)
{
	const char *text = "the quick brown fox jumps over the lazy dog";
	size_t len = strlen(text);

	(void)state;
	for (size_t cut = 0; cut <= len; cut++)
		assert_int_equal(
			crc32c(crc32c(0, text, cut), text + cut, len - cut), crc32c(0, text, len));
}

static void hardware_agrees_with_the_table(void **state)
{
	unsigned char bytes[300];

	(void)state;
	if (!crc32c_has_hardware())
		skip();
	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (unsigned char)(i * 131 + 7);
	for (size_t start = 0; start < 16; start++)
		for (size_t len = 0; len < sizeof(bytes) - start; len++)
			assert_int_equal(crc32c_hardware(9, bytes + start, len),
				crc32c_table(9, bytes + start, len));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_vectors),
		cmocka_unit_test(parts_add_up),
		cmocka_unit_test(hardware_agrees_with_the_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
