/* SPDX-License-Identifier: Apache-2.0 */
/* Git LFS pointers; see lfs_pointer.h. Pure. */
#include "origin/lfs_pointer.h"

#include <string.h>

static const char version_and_oid[] = "version https://git-lfs.github.com/spec/v1\noid sha256:";
static const char size_key[] = "\nsize ";

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; /* lower case only */
}

static bool take(const char **text, size_t *len, const char *what)
{
	size_t n = strlen(what);

	if (*len < n || memcmp(*text, what, n) != 0)
		return false;
	*text += n;
	*len -= n;
	return true;
}

static bool take_sha256(const char **text, size_t *len, uint8_t *sha256)
{
	if (*len < 2 * LFS_SHA256_BYTES)
		return false;
	for (unsigned i = 0; i < LFS_SHA256_BYTES; i++) {
		int high = hex_value((*text)[2 * i]), low = hex_value((*text)[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		sha256[i] = (uint8_t)(high << 4 | low);
	}
	*text += 2 * LFS_SHA256_BYTES;
	*len -= 2 * LFS_SHA256_BYTES;
	return true;
}

/* Digits as one writes them, and the end of the line and of the text. */
static bool take_size(const char *text, size_t len, uint64_t *ret_size)
{
	uint64_t size = 0;

	if (len < 2 || text[len - 1] != '\n' || (text[0] == '0' && len != 2))
		return false;
	for (size_t i = 0; i < len - 1; i++) {
		if (text[i] < '0' || text[i] > '9' || __builtin_mul_overflow(size, 10u, &size) ||
			__builtin_add_overflow(size, (uint64_t)(text[i] - '0'), &size))
			return false;
	}
	*ret_size = size;
	return size <= INT64_MAX; /* what a file can have */
}

bool lfs_pointer_parse(const char *text, size_t len, struct lfs_pointer *ret_pointer)
{
	struct lfs_pointer p;

	if (len < LFS_POINTER_MIN || len > LFS_POINTER_MAX)
		return false;
	if (!take(&text, &len, version_and_oid) || !take_sha256(&text, &len, p.sha256) ||
		!take(&text, &len, size_key) || !take_size(text, len, &p.size))
		return false;
	*ret_pointer = p;
	return true;
}
