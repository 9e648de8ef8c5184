/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers with units, as people write them in the config: sizes and durations. Pure. */
#include <string.h>

#include "base/clock.h"
#include "base/io.h"

struct unit {
	const char *word;
	uint64_t factor;
};

/* A bare letter is binary, as for dd and every build tool; "B" after it alone makes it decimal, as
 * the SI has it. */
static const struct unit size_units[] = {
	{"", 1},
	{"B", 1},
	{"k", 1ull << 10},
	{"K", 1ull << 10},
	{"M", 1ull << 20},
	{"G", 1ull << 30},
	{"T", 1ull << 40},
	{"KiB", 1ull << 10},
	{"MiB", 1ull << 20},
	{"GiB", 1ull << 30},
	{"TiB", 1ull << 40},
	{"kB", 1000ull},
	{"KB", 1000ull},
	{"MB", 1000000ull},
	{"GB", 1000000000ull},
	{"TB", 1000000000000ull},
	{NULL, 0},
};

static const struct unit duration_units[] = {
	{"ns", 1},
	{"us", NS_PER_US},
	{"ms", NS_PER_MS},
	{"s", NS_PER_S},
	{"m", 60 * NS_PER_S},
	{"h", 3600 * NS_PER_S},
	{"d", 86400 * NS_PER_S},
	{NULL, 0},
};

/* Digits, then exactly one of the words. */
static bool parse(const char *text, const struct unit *units, uint64_t *ret_value)
{
	const char *at = text;
	uint64_t number = 0;

	for (; *at >= '0' && *at <= '9'; at++)
		if (__builtin_mul_overflow(number, 10u, &number) ||
			__builtin_add_overflow(number, (uint64_t)(*at - '0'), &number))
			return false;
	if (at == text)
		return false;
	for (; units->word; units++)
		if (strcmp(at, units->word) == 0)
			return !__builtin_mul_overflow(number, units->factor, ret_value);
	return false;
}

bool io_parse_size(const char *text, uint64_t *ret_bytes)
{
	uint64_t value;

	if (!parse(text, size_units, &value))
		return false;
	*ret_bytes = value;
	return true;
}

bool io_parse_duration(const char *text, uint64_t *ret_ns)
{
	uint64_t value;

	if (!parse(text, duration_units, &value))
		return false;
	*ret_ns = value;
	return true;
}
