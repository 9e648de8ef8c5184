/* SPDX-License-Identifier: Apache-2.0 */
/* Secrets from files; see http_secret.h. A control byte in one could end a header line early, so it
 * is refused. */
#include "origin/http_secret.h"

#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define SECRET_MAX_BYTES 16384

void http_secret_init(struct http_secret *s, const char *path)
{
	*s = (struct http_secret){.path = path};
}

static void forget(struct http_secret *s)
{
	if (s->text)
		explicit_bzero(s->text, strlen(s->text));
	free(s->text);
	s->text = NULL;
}

void http_secret_fini(struct http_secret *s)
{
	forget(s);
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
	       a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* Cuts at the end of the first line. */
static int first_line(char *text, size_t len)
{
	char *end = memchr(text, '\n', len);

	if (end)
		*end = '\0';
	else
		end = text + len;
	if (end > text && end[-1] == '\r')
		*--end = '\0';
	for (const char *p = text; p < end; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			return -EINVAL;
	return end > text ? 0 : -EINVAL;
}

int http_secret_get(struct http_secret *s, const char **ret_text)
{
	struct stat st;
	char *text;
	size_t len;
	int r;

	*ret_text = NULL;
	if (!s->path)
		return 0;
	if (stat(s->path, &st) < 0)
		return -errno;
	if (!s->text || !same_file(&st, &s->seen)) {
		r = io_read_file(AT_FDCWD, s->path, SECRET_MAX_BYTES, &text, &len);
		if (r < 0)
			return r;
		forget(s);
		s->text = text;
		r = first_line(text, len);
		if (r < 0) {
			forget(s);
			return r;
		}
		s->seen = st; /* of before the reading: a change meanwhile is seen next time */
	}
	*ret_text = s->text;
	return 0;
}
