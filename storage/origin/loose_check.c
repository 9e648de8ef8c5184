/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks the zlib stream of a loose object to its end, keeping nothing. A door to zlib. Costs
 * one failed open for an object that is packed, and one more inflating for a loose one, of which a
 * served repository has few. Pure but for the files; any thread.
 */
#include "origin/loose_check.h"

#include "base/cleanup.h"
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#define PIECE           (32u << 10)
#define ALTERNATES_MAX  (64u << 10)
#define ALTERNATES_DEEP 5

static int add_dir(struct loose_dirs *dirs, const char *dir, unsigned depth)
{
	_cleanup_free_ char *path = NULL, *text = NULL;
	char *line, *rest;
	size_t len;

	if (dirs->count == LOOSE_DIRS_MAX || depth > ALTERNATES_DEEP)
		return 0;
	dirs->dir[dirs->count] = strdup(dir);
	if (!dirs->dir[dirs->count++] || asprintf(&path, "%s/info/alternates", dir) < 0)
		return -ENOMEM;
	if (io_read_file(AT_FDCWD, path, ALTERNATES_MAX, &text, &len) < 0)
		return 0; /* none */
	for (line = strtok_r(text, "\r\n", &rest); line; line = strtok_r(NULL, "\r\n", &rest)) {
		_cleanup_free_ char *other = NULL;
		int r;

		if (*line == '#')
			continue;
		if (asprintf(&other, "%s%s%s", *line == '.' ? dir : "", *line == '.' ? "/" : "",
			    line) < 0)
			return -ENOMEM;
		r = add_dir(dirs, other, depth + 1);
		if (r < 0)
			return r;
	}
	return 0;
}

int loose_dirs_init(struct loose_dirs *dirs, const char *objects)
{
	int r;

	*dirs = (struct loose_dirs){0};
	r = add_dir(dirs, objects, 0);
	if (r < 0)
		loose_dirs_fini(dirs);
	return r;
}

void loose_dirs_fini(struct loose_dirs *dirs)
{
	for (unsigned i = 0; i < dirs->count; i++)
		free(dirs->dir[i]);
	dirs->count = 0;
}

/* Inflate everything. -EIO if the file ends before the stream does. */
static int walk(int fd, z_stream *z, uint8_t *in, uint8_t *out)
{
	for (;;) {
		ssize_t n = read(fd, in, PIECE);
		int r;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		z->next_in = in;
		z->avail_in = (uInt)n;
		do {
			z->next_out = out;
			z->avail_out = PIECE;
			r = inflate(z, Z_NO_FLUSH);
		} while (r == Z_OK && (z->avail_in > 0 || z->avail_out == 0));
		if (r != Z_OK && r != Z_BUF_ERROR)
			return 0; /* the end, or damage that libgit2 reports itself */
	}
}

static int check_file(int fd)
{
	_cleanup_free_ uint8_t *buf = malloc(2 * (size_t)PIECE);
	z_stream z = {0};
	int r;

	if (!buf || inflateInit(&z) != Z_OK)
		return -ENOMEM;
	r = walk(fd, &z, buf, buf + PIECE);
	(void)inflateEnd(&z); /* frees; cannot fail on a stream that was initialised */
	return r;
}

int loose_check(const struct loose_dirs *dirs, const struct oid *oid)
{
	char hex[OID_HEX_MAX], path[4096 + OID_HEX_MAX];

	(void)oid_hex(oid, hex);
	for (unsigned i = 0; i < dirs->count; i++) {
		_cleanup_close_ int fd = -1;
		int r;

		if (snprintf(path, sizeof(path), "%s/%.2s/%s", dirs->dir[i], hex, hex + 2) >=
			(int)sizeof(path))
			continue;
		fd = open(path, O_RDONLY | O_CLOEXEC);
		r = fd < 0 ? 0 : check_file(fd);
		if (r < 0)
			return r;
	}
	return 0;
}
