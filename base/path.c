/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of names and walks over paths. Pure functions over bytes. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"

#define PATH_BYTES_MAX 4095

static bool is_dots(const char *name, size_t len)
{
	return name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.'));
}

bool path_name_ok(const char *name, size_t len)
{
	if (len == 0 || len > PATH_NAME_MAX || is_dots(name, len))
		return false;
	return !memchr(name, '/', len) && !memchr(name, '\0', len);
}

bool path_next(const char **cursor, const char **ret_name, size_t *ret_len)
{
	const char *name = *cursor;
	size_t len;

	while (*name == '/')
		name++;
	len = strcspn(name, "/");
	*cursor = name + len;
	if (len == 0)
		return false;
	*ret_name = name;
	*ret_len = len;
	return true;
}

bool path_relative_ok(const char *path)
{
	const char *cursor = path, *name;
	size_t total = strnlen(path, PATH_BYTES_MAX + 1), len;

	if (total == 0)
		return true;
	if (total > PATH_BYTES_MAX || path[0] == '/' || path[total - 1] == '/' ||
		strstr(path, "//"))
		return false;
	while (path_next(&cursor, &name, &len))
		if (!path_name_ok(name, len))
			return false;
	return true;
}

int path_normalize(const char *path, char *buf, size_t cap)
{
	const char *cursor = path, *name;
	size_t used = 0, len;

	if (cap == 0)
		return -ENAMETOOLONG;
	while (path_next(&cursor, &name, &len)) {
		size_t slash = used > 0;

		if (len > PATH_NAME_MAX || used + slash + len > PATH_BYTES_MAX)
			return -ENAMETOOLONG;
		if (!path_name_ok(name, len))
			return -EINVAL;
		if (used + slash + len >= cap)
			return -ENAMETOOLONG;
		if (slash)
			buf[used++] = '/';
		memcpy(buf + used, name, len);
		used += len;
	}
	buf[used] = '\0';
	return 0;
}

bool path_ident_ok(const char *s, size_t max)
{
	size_t len = strnlen(s, max < SIZE_MAX ? max + 1 : max);

	if (len == 0 || len > max || s[0] == '.' || s[0] == '-')
		return false;
	/* by hand, not isalnum: the answer must not depend on a locale */
	return strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") ==
	       len;
}

char *path_join(const char *a, const char *b)
{
	size_t alen = strlen(a), blen = strlen(b);
	size_t slash = alen > 0 && a[alen - 1] != '/';
	char *joined;

	if (alen > SIZE_MAX - 2 - blen)
		return NULL;
	joined = malloc(alen + slash + blen + 1);
	if (!joined)
		return NULL;
	memcpy(joined, a, alen);
	if (slash)
		joined[alen] = '/';
	memcpy(joined + alen + slash, b, blen + 1);
	return joined;
}
