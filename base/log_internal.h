/* SPDX-License-Identifier: Apache-2.0 */
/* What log.c needs to write strings of strangers into a line. */
#pragma once
#include <stddef.h>

#include "base/log.h"

#define LOG_ESCAPE_MAX 8

/*
 * Escape the first character of `text` (`len` bytes, at least one) for inside double quotes: a
 * whole UTF-8 sequence stays as it is; quotes, backslashes and control bytes are escaped; a byte
 * that is not UTF-8 becomes \xNN in logfmt and the replacement character in JSON (which has no
 * bytes). Writes to `out`, returns its length, and how many bytes of `text` it took.
 */
size_t log_escape(const char *text, size_t len, enum log_format format,
	char out[static LOG_ESCAPE_MAX], size_t *ret_used);
