/* SPDX-License-Identifier: Apache-2.0 */
/* Strings of strangers, made safe for a log line: no quote, newline or terminal sequence gets
 * through. Pure. */
#include <stdio.h>
#include <string.h>

#include "log_internal.h"

/* Length of the valid UTF-8 sequence at `s` (RFC 3629: shortest form, no surrogates), 0 if there is
 * none. */
static size_t utf8_len(const unsigned char *s, size_t len)
{
	size_t need = s[0] < 0x80   ? 1
		      : s[0] < 0xc2 ? 0
		      : s[0] < 0xe0 ? 2
		      : s[0] < 0xf0 ? 3
		      : s[0] < 0xf5 ? 4
				    : 0;

	if (need == 0 || need > len)
		return 0;
	for (size_t i = 1; i < need; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
		(s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return need;
}

static size_t escape_byte(unsigned char c, enum log_format format, char *out)
{
	static const char special[] = "\"\\\n\r\t";
	static const char letter[] = "\"\\nrt";
	const char *at = memchr(special, c, sizeof(special) - 1);

	if (at) {
		out[0] = '\\';
		out[1] = letter[at - special];
		return 2;
	}
	if (format == LOG_LOGFMT)
		return (size_t)snprintf(out, LOG_ESCAPE_MAX, "\\x%02x", c);
	return (size_t)snprintf(out, LOG_ESCAPE_MAX, "\\u%04x", c < 0x80 ? c : 0xfffd);
}

size_t log_escape(const char *text, size_t len, enum log_format format,
	char out[static LOG_ESCAPE_MAX], size_t *ret_used)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t whole = utf8_len(s, len);
	/* C1 controls (U+0080 to U+009F) can drive a terminal like the C0 ones */
	bool c1 = whole == 2 && s[0] == 0xc2 && s[1] < 0xa0;

	if (whole > 1 && !c1) {
		memcpy(out, s, whole);
		*ret_used = whole;
		return whole;
	}
	*ret_used = c1 ? 2 : 1;
	if (c1)
		return (size_t)snprintf(out, LOG_ESCAPE_MAX, "\\u%04x", s[1]);
	if (s[0] >= 0x20 && s[0] < 0x7f && s[0] != '"' && s[0] != '\\') {
		out[0] = (char)s[0];
		return 1;
	}
	return escape_byte(s[0], format, out);
}
