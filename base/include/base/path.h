/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of names and walks over relative paths. Paths are bytes, not text: only '/' and NUL are
 * special. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#define PATH_NAME_MAX 255

/* One path component: 1 to 255 bytes, no '/', no NUL, not "." or "..". */
bool path_name_ok(const char *name, size_t len);
/* A relative path of good components; "" is the root and good. No leading, trailing or double
 * slash. At most 4095 bytes. */
bool path_relative_ok(const char *path);
/* Canonical form of a caller's path: leading, trailing and double slashes removed. -EINVAL for "."
 * or "..", NUL, -ENAMETOOLONG. `buf` of `cap` bytes gets the NUL-terminated result. */
int path_normalize(const char *path, char *buf, size_t cap);
/* Walk: sets *name, *len to the next component of *cursor and moves it; false at the end. */
bool path_next(const char **cursor, const char **ret_name, size_t *ret_len);
/* An identifier for tenants, origins and job ids as directory names: [A-Za-z0-9._-], not starting
 * with '.' or '-', 1 to `max`. */
bool path_ident_ok(const char *s, size_t max);
/* a + "/" + b as malloc'ed string; NULL: no memory. */
char *path_join(const char *a, const char *b);
