/* SPDX-License-Identifier: Apache-2.0 */
/* The names in a patch, as git writes them: plain, or in quotes with escapes of C. Pure. */
#include "layer/patch_internal.h"

#include <stdlib.h>
#include <string.h>

static int unescape(const char **at, const char *end)
{
	static const char names[] = "abtnvfr\"\\", bytes[] = "\a\b\t\n\v\f\r\"\\";
	const char *found;
	int byte = 0;

	if (*at == end)
		return -1;
	found = **at ? strchr(names, **at) : NULL;
	if (found) {
		++*at;
		return (unsigned char)bytes[found - names];
	}
	for (unsigned i = 0; i < 3; i++) {
		if (*at == end || **at < '0' || **at > '7')
			return -1;
		byte = byte * 8 + (*(*at)++ - '0');
	}
	return byte > 0 && byte < 256 ? byte : -1;
}

/* As git writes names with odd bytes: in quotes. To the caller: free. */
static char *unquote(const char *at, const char *end, const char **ret_end)
{
	char *out = malloc((size_t)(end - at) + 1);
	size_t n = 0;

	for (at++; out && at < end && *at != '"';) {
		int byte = (unsigned char)*at++;

		if (byte == '\\')
			byte = unescape(&at, end);
		if (byte <= 0) {
			free(out);
			return NULL;
		}
		out[n++] = (char)byte;
	}
	if (!out || at == end) {
		free(out);
		return NULL;
	}
	out[n] = '\0';
	*ret_end = at + 1;
	return out;
}

static char *behind_slash(const char *name, size_t len)
{
	const char *slash = memchr(name, '/', len);

	if (!slash || slash + 1 == name + len || memchr(name, '\0', len))
		return NULL;
	return strndup(slash + 1, (size_t)(name + len - slash - 1));
}

char *patch_name(const char *at, const char *end, bool strip)
{
	char *whole, *name;

	if (at < end && *at == '"') {
		whole = unquote(at, end, &at);
		if (!whole || !strip)
			return whole;
		name = behind_slash(whole, strlen(whole));
		free(whole);
		return name;
	}
	if (at == end || memchr(at, '\0', (size_t)(end - at)))
		return NULL;
	return strip ? behind_slash(at, (size_t)(end - at)) : strndup(at, (size_t)(end - at));
}

char *patch_common_name(const char *at, const char *end)
{
	char *first, *second = NULL;

	if (at < end && *at == '"') {
		first = unquote(at, end, &at);
		if (first && at < end && *at == ' ')
			second = patch_name(at + 1, end, true);
		if (first && second) {
			char *name = behind_slash(first, strlen(first));

			if (name && strcmp(name, second) == 0) {
				free(first);
				free(second);
				return name;
			}
			free(name);
		}
		free(first);
		free(second);
		return NULL;
	}
	for (const char *split = at; (split = memchr(split, ' ', (size_t)(end - split))); split++) {
		first = behind_slash(at, (size_t)(split - at));
		second = patch_name(split + 1, end, true);
		if (first && second && strcmp(first, second) == 0) {
			free(second);
			return first;
		}
		free(first);
		free(second);
	}
	return NULL;
}
