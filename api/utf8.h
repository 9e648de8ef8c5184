/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UTF-8 at the door: proto3 strings must be valid, or the peer's decoder refuses the whole message.
 * What comes in is checked, what goes out (messages that quote names of a repository) is repaired.
 * Pure.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

/* Well-formed UTF-8 (RFC 3629: no overlong forms, no surrogates, nothing past U+10FFFF). NUL is a
 * character here. */
bool utf8_ok(const char *s, size_t len);
/* Copy of at most `cap` - 1 bytes into `out`, NUL-terminated; every byte that is not part of a
 * character becomes '?', and a character is never cut. */
void utf8_repair(const char *s, char *out, size_t cap);
