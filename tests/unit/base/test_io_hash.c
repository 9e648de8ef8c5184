/* SPDX-License-Identifier: Apache-2.0 */
/* base/io.h, io_hash: SipHash-1-3, against an independent implementation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/io.h"

/* hash(bytes(range(n))) of Python 3.11 with PYTHONHASHSEED=0, which is SipHash-1-3 under the key 0,
 * 0. */
static void agrees_with_python(void **state)
{
	static const struct {
		unsigned len;
		uint64_t hash;
	} known[] = {
		{1, 0x68a914128e01e473},
		{7, 0x2f098ab0c751325a},
		{8, 0xead411e67ebe2eea},
		{15, 0xf30eb725bb91c9ea},
		{16, 0x8972188433a5c5b7},
		{63, 0x385d3e39e5f37359},
	};
	const uint64_t key[2] = {0, 0};
	unsigned char bytes[64];

	(void)state;
	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (unsigned char)i;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		assert_int_equal(io_hash(bytes, known[i].len, key), known[i].hash);
}

/* The first of the published vectors: empty input, key 00 01 .. 0f. */
static void both_halves_of_the_key_count(void **state)
{
	const uint64_t key[2] = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
	const uint64_t swapped[2] = {key[1], key[0]};

	(void)state;
	assert_int_equal(io_hash("", 0, key), 0xabac0158050fc4dc);
	assert_int_not_equal(io_hash("", 0, swapped), 0xabac0158050fc4dc);
}

static void unaligned_input(void **state)
{
	const uint64_t key[2] = {1, 2};
	char bytes[] = "xxxxxxxxabcdefghijk";

	(void)state;
	for (int start = 0; start < 8; start++) {
		for (int i = 0; i < 11; i++)
			bytes[start + i] = (char)('a' + i);
		assert_int_equal(io_hash(bytes + start, 11, key), io_hash("abcdefghijk", 11, key));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(agrees_with_python),
		cmocka_unit_test(both_halves_of_the_key_count),
		cmocka_unit_test(unaligned_input),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
