/* SPDX-License-Identifier: Apache-2.0 */
/* base/io.h, sizes and durations as people write them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/io.h"

static void check_size(const char *text, uint64_t expect)
{
	uint64_t value = 0;

	assert_true(io_parse_size(text, &value));
	assert_int_equal(value, expect);
}

static void sizes(void **state)
{
	(void)state;
	check_size("0", 0);
	check_size("1000", 1000);
	check_size("12B", 12);
	check_size("4k", 4096);
	check_size("4K", 4096);
	check_size("256MiB", 256ull << 20);
	check_size("20GiB", 20ull << 30);
	check_size("3G", 3ull << 30);
	check_size("2TiB", 2ull << 40);
	check_size("1MB", 1000000);
	check_size("18446744073709551615", UINT64_MAX);
}

static void not_sizes(void **state)
{
	static const char *const bad[] = {"", "GiB", "-1", "+1", "1.5G", "1 G", " 1", "1g", "1Gib",
		"0x10", "1GiB ", "18446744073709551616", "99999999999999999999999", "16777216TiB"};
	uint64_t value = 77;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(io_parse_size(bad[i], &value));
	assert_int_equal(value, 77);
}

static void durations(void **state)
{
	uint64_t ns = 0;

	(void)state;
	assert_true(io_parse_duration("500ms", &ns));
	assert_int_equal(ns, 500 * NS_PER_MS);
	assert_true(io_parse_duration("30s", &ns));
	assert_int_equal(ns, 30 * NS_PER_S);
	assert_true(io_parse_duration("5m", &ns));
	assert_int_equal(ns, 300 * NS_PER_S);
	assert_true(io_parse_duration("7d", &ns));
	assert_int_equal(ns, 7 * 86400 * NS_PER_S);
	assert_true(io_parse_duration("1ns", &ns));
	assert_int_equal(ns, 1);
	assert_false(io_parse_duration("30", &ns)); /* of what? */
	assert_false(io_parse_duration("s", &ns));
	assert_false(io_parse_duration("1y", &ns));
	assert_false(io_parse_duration("1000000000d", &ns));
	assert_int_equal(ns, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes),
		cmocka_unit_test(not_sizes),
		cmocka_unit_test(durations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
