/* SPDX-License-Identifier: Apache-2.0 */
/* Patterns of names as Git matches them (its wildmatch). Pure; linear in practice, bounded always.
 */
#pragma once
#include <stdbool.h>

enum glob_flags {
	GLOB_PATHNAME = 1 << 0, /* '*' and '?' do not match '/', and a double star does */
	GLOB_ICASE = 1 << 1,
};
bool glob_match(const char *pattern, const char *text, unsigned flags);
/* Has it any of * ? [ \ ? */
bool glob_is_pattern(const char *text);
