/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tar decoder. A header is a block of 512 bytes; those of kind 'x' (pax) and 'L', 'K' (GNU) say
 * something about the one that follows. Archives are of strangers: no field is believed before it
 * is checked against what is there.
 */
#include "storage/tar.h"

#include "base/path.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define BLOCK 512u

/* Of the POSIX header; all of it text but what GNU tar writes for large numbers. */
struct header {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type,
		linkname[100], magic[6], version[2], uname[32], gname[32], devmajor[8], devminor[8],
		prefix[155], pad[12];
};
_Static_assert(sizeof(struct header) == BLOCK, "a header is a block");

/* What headers before said about the member. */
struct said {
	char path[4096], link[4096];
	bool has_size;
	uint64_t size;
};

struct tar_reader tar_begin(const void *data, size_t len)
{
	return (struct tar_reader){.data = data, .len = len};
}

static int bad(struct tar_reader *r, const char *why)
{
	r->why = why;
	return -EBADMSG;
}

/* Octal digits, with blanks around, or 0x80 and a large number. */
static bool number(const char *field, size_t len, uint64_t *ret)
{
	const unsigned char *f = (const unsigned char *)field;
	uint64_t n = 0;
	size_t i = 0;

	if (f[0] == 0x80) {
		for (i = 1; i < len; i++) {
			if (n >> 56)
				return false;
			n = n << 8 | f[i];
		}
		*ret = n;
		return true;
	}
	while (i < len && field[i] == ' ')
		i++;
	for (; i < len && field[i] >= '0' && field[i] <= '7'; i++) {
		if (n >> 60)
			return false;
		n = n << 3 | (uint64_t)(field[i] - '0');
	}
	for (; i < len; i++)
		if (field[i] != ' ' && field[i] != '\0')
			return false;
	*ret = n;
	return true;
}

static bool checksum_ok(const struct header *h)
{
	const unsigned char *bytes = (const unsigned char *)h;
	uint64_t sum = 0, want;

	for (size_t i = 0; i < BLOCK; i++) {
		size_t at = offsetof(struct header, checksum);

		sum += i >= at && i < at + sizeof(h->checksum) ? ' ' : bytes[i];
	}
	return number(h->checksum, sizeof(h->checksum), &want) && want == sum;
}

static bool is_zero(const char *block)
{
	for (size_t i = 0; i < BLOCK; i++)
		if (block[i])
			return false;
	return true;
}

/* ---- what extensions say ---- */

static bool keep_text(char *to, size_t cap, const char *text, size_t len)
{
	if (len >= cap || memchr(text, '\0', len))
		return false;
	memcpy(to, text, len);
	to[len] = '\0';
	return true;
}

/* "<length> <key>=<value>\n", one after the other; the length counts all of it. */
static int pax(struct tar_reader *r, const char *data, size_t len, struct said *said)
{
	while (len) {
		uint64_t record = 0;
		const char *key, *value, *equals;
		size_t i = 0, value_len;

		for (; i < len && i < 10 && data[i] >= '0' && data[i] <= '9'; i++)
			record = record * 10 + (uint64_t)(data[i] - '0');
		if (i == 0 || i == len || data[i] != ' ' || record > len || record < i + 3 ||
			data[record - 1] != '\n')
			return bad(r, "has a damaged extended header");
		key = data + i + 1;
		equals = memchr(key, '=', (size_t)(data + record - 1 - key));
		if (!equals)
			return bad(r, "has a damaged extended header");
		value = equals + 1;
		value_len = (size_t)(data + record - 1 - value);
		if (equals - key == 4 && memcmp(key, "path", 4) == 0) {
			if (!keep_text(said->path, sizeof(said->path), value, value_len))
				return bad(r, "has a path that is too long");
		} else if (equals - key == 8 && memcmp(key, "linkpath", 8) == 0) {
			if (!keep_text(said->link, sizeof(said->link), value, value_len))
				return bad(r, "has a link that is too long");
		} else if (equals - key == 4 && memcmp(key, "size", 4) == 0) {
			said->size = 0;
			if (value_len == 0 || value_len > 18)
				return bad(r, "has a damaged extended header");
			for (size_t k = 0; k < value_len; k++) {
				if (value[k] < '0' || value[k] > '9')
					return bad(r, "has a damaged extended header");
				said->size = said->size * 10 + (uint64_t)(value[k] - '0');
			}
			said->has_size = true;
		} else if (equals - key > 11 && memcmp(key, "GNU.sparse.", 11) == 0) {
			return bad(r, "has a sparse file; make the archive without --sparse");
		}
		data += record;
		len -= record;
	}
	return 0;
}

static int gnu_long(struct tar_reader *r, const char *data, size_t len, char *to, size_t cap)
{
	len = strnlen(data, len);
	return len && keep_text(to, cap, data, len) ? 0 : bad(r, "has a name that is too long");
}

/* ---- members ---- */

/* In place: no slashes at the end, no "./" before. */
static bool clean_path(char *path)
{
	const char *from = path;
	size_t len = strlen(path);

	while (len && path[len - 1] == '/')
		path[--len] = '\0';
	while (from[0] == '.' && from[1] == '/')
		from += 2;
	memmove(path, from, strlen(from) + 1);
	return path_relative_ok(path);
}

static int member_paths(
	struct tar_reader *r, const struct header *h, const struct said *said, struct tar_member *m)
{
	bool ustar = memcmp(h->magic, "ustar", 6) == 0;
	int n;

	if (said->path[0])
		n = snprintf(m->path, sizeof(m->path), "%s", said->path);
	else if (ustar && h->prefix[0])
		n = snprintf(m->path, sizeof(m->path), "%.155s/%.100s", h->prefix, h->name);
	else
		n = snprintf(m->path, sizeof(m->path), "%.100s", h->name);
	if (n < 0 || (size_t)n >= sizeof(m->path))
		return bad(r, "has a path that is too long");
	if (said->link[0])
		(void)snprintf(m->link, sizeof(m->link), "%s", said->link);
	else
		(void)snprintf(m->link, sizeof(m->link), "%.100s", h->linkname);
	if (m->kind == TAR_DIRECTORY && strspn(m->path, "./") == strlen(m->path) &&
		!strstr(m->path, ".."))
		m->path[0] = '\0'; /* the root itself */
	else if (!clean_path(m->path) || !m->path[0])
		return bad(r, "has a path that is absolute or leads outside");
	if (m->kind == TAR_HARDLINK && (!clean_path(m->link) || !m->link[0]))
		return bad(r, "has a hard link that leads outside");
	if (m->kind == TAR_SYMLINK && !m->link[0])
		return bad(r, "has a symlink to nowhere");
	return 0;
}

static int member(
	struct tar_reader *r, const struct header *h, const struct said *said, struct tar_member *m)
{
	uint64_t mode;

	switch (h->type) {
	case '0':
	case '\0':
	case '7':
		m->kind = TAR_FILE;
		break;
	case '1':
		m->kind = TAR_HARDLINK;
		break;
	case '2':
		m->kind = TAR_SYMLINK;
		break;
	case '5':
		m->kind = TAR_DIRECTORY;
		break;
	default:
		return bad(r, "has a device, fifo or other thing that is no file");
	}
	if (!number(h->mode, sizeof(h->mode), &mode))
		return bad(r, "has a damaged header");
	m->executable = mode & 0100;
	return member_paths(r, h, said, m);
}

/* The bytes behind a header, and past them. */
static int take_data(struct tar_reader *r, uint64_t size, const char **ret_data, size_t *ret_len)
{
	if (size > r->len - r->at)
		return bad(r, "says that it is longer than it is");
	*ret_data = r->data + r->at;
	*ret_len = (size_t)size;
	size = (size + BLOCK - 1) / BLOCK * BLOCK;
	r->at = size > r->len - r->at ? r->len : r->at + (size_t)size;
	return 0;
}

/* A header that tells about the next one: 1; another one: 0. */
static int extension(
	struct tar_reader *r, char type, const char *data, size_t len, struct said *said)
{
	int err = 0;

	if (type == 'x')
		err = pax(r, data, len, said);
	else if (type == 'L')
		err = gnu_long(r, data, len, said->path, sizeof(said->path));
	else if (type == 'K')
		err = gnu_long(r, data, len, said->link, sizeof(said->link));
	else if (type != 'g') /* about all: dates and comments */
		return 0;
	return err < 0 ? err : 1;
}

int tar_next(struct tar_reader *r, struct tar_member *ret_member)
{
	struct said said = {.path = ""};

	while (r->at < r->len) {
		struct header h;
		uint64_t size;
		int err;

		if (r->len - r->at < BLOCK)
			return bad(r, "is cut short, or no tar archive (compressed ones are not "
				      "taken)");
		if (is_zero(r->data + r->at))
			return 0;
		memcpy(&h, r->data + r->at, BLOCK);
		if (!checksum_ok(&h))
			return bad(r, "is damaged, or no tar archive (compressed ones are not "
				      "taken)");
		r->at += BLOCK;
		if (!number(h.size, sizeof(h.size), &size))
			return bad(r, "has a damaged header");
		if (said.has_size && h.type != 'x' && h.type != 'L' && h.type != 'K')
			size = said.size;
		*ret_member = (struct tar_member){.kind = TAR_FILE};
		if (h.type >= '1' && h.type <= '6')
			size = 0; /* some archivers tell that of the file that a link is to */
		err = take_data(r, size, &ret_member->data, &ret_member->len);
		if (err == 0)
			err = extension(r, h.type, ret_member->data, ret_member->len, &said);
		if (err < 0)
			return err;
		if (err == 0) {
			err = member(r, &h, &said, ret_member);
			return err < 0 ? err : 1;
		}
	}
	return 0;
}
