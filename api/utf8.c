/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One step function says how long the character at a position is, after the table 3-7 of the
 * Unicode standard (well-formed byte sequences); checking and repairing are loops over it. Pure.
 */
#include "utf8.h"

#include <string.h>

/* Range of the second byte for the leads that restrict it; every other continuation is 80..BF. */
static void second_range(unsigned char lead, unsigned char *ret_low, unsigned char *ret_high)
{
	*ret_low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
	*ret_high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
}

/* Length of the character at s, 0 if there is none. */
static size_t step(const unsigned char *s, size_t len)
{
	unsigned char low, high;
	size_t need;

	if (s[0] < 0x80)
		return 1;
	if (s[0] < 0xc2 || s[0] > 0xf4)
		return 0;
	need = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
	if (len < need)
		return 0;
	second_range(s[0], &low, &high);
	if (s[1] < low || s[1] > high)
		return 0;
	for (size_t i = 2; i < need; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	return need;
}

bool utf8_ok(const char *s, size_t len)
{
	const unsigned char *p = (const unsigned char *)s;

	while (len) {
		size_t n = step(p, len);

		if (!n)
			return false;
		p += n;
		len -= n;
	}
	return true;
}

void utf8_repair(const char *s, char *out, size_t cap)
{
	size_t len = strlen(s), used = 0;

	if (!cap)
		return;
	while (len) {
		size_t n = step((const unsigned char *)s, len);
		size_t taken = n ? n : 1;

		if (used + taken >= cap)
			break;
		if (n)
			memcpy(out + used, s, n);
		else
			out[used] = '?';
		used += taken;
		s += taken;
		len -= taken;
	}
	out[used] = '\0';
}
