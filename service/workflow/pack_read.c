/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See pack_read.h, and gitformat-pack(5) for both files. They are this machine's own, but a disk
 * may lie: an index is looked through once before it is used, and content is checked against its
 * name.
 */
#include "workflow/pack_read.h"

#include "workflow/pack_index.h"

#include <arpa/inet.h>
#include <base/cleanup.h>
#include <base/io.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <zlib.h>

#define FANOUT     256u
#define HEAD_BYTES (2u * 4 + FANOUT * 4)
#define EACH_BYTES (WF_PACK_SHA + 4u + 4u) /* id, checksum, offset */
#define TAIL_BYTES (2u * WF_PACK_SHA)
#define PIECE      (16u << 10)
#define OBJECT_MAX (256u << 20)
#define PACKS_MAX  100000u

struct one {
	int fd;               /* of the pack */
	const uint8_t *index; /* mapped */
	size_t index_len;
	uint32_t count;
};

struct wf_packs {
	struct one *at;
	size_t count, cap;
	z_stream z;
	bool has_z;
};

static uint32_t number_at(const uint8_t *at)
{
	uint32_t big;

	memcpy(&big, at, sizeof(big));
	return ntohl(big);
}

static uint32_t fanout(const struct one *o, unsigned byte)
{
	return number_at(o->index + 8 + 4 * (size_t)byte);
}

/* ---- opening ---- */

static bool index_ok(struct one *o)
{
	if (o->index_len < HEAD_BYTES + TAIL_BYTES || number_at(o->index) != 0xff744f63 ||
		number_at(o->index + 4) != 2)
		return false;
	for (unsigned i = 1; i < FANOUT; i++)
		if (fanout(o, i) < fanout(o, i - 1))
			return false;
	o->count = fanout(o, FANOUT - 1);
	return o->index_len == HEAD_BYTES + TAIL_BYTES + (size_t)o->count * EACH_BYTES;
}

static void close_one(struct one *o)
{
	if (o->index)
		(void)munmap((void *)o->index, o->index_len);
	if (o->fd >= 0)
		(void)close(o->fd); /* for reading */
}

static int map_index(int dirfd, const char *name, struct one *o)
{
	_cleanup_close_ int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	void *map;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size <= 0)
		return -EIO;
	map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	o->index = map;
	o->index_len = (size_t)st.st_size;
	return index_ok(o) ? 0 : -EIO;
}

/* "pack-....idx" */
static int open_one(int dirfd, const char *index_name, struct one *ret)
{
	struct one o = {.fd = -1};
	char name[NAME_MAX + 8];
	int r;

	(void)snprintf(name, sizeof(name), "%.*s.pack", (int)strlen(index_name) - 4, index_name);
	r = map_index(dirfd, index_name, &o);
	if (r == 0)
		o.fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (r == 0 && o.fd < 0)
		r = -errno;
	if (r < 0)
		close_one(&o);
	else
		*ret = o;
	return r;
}

static int add(struct wf_packs *p, int dirfd, const char *name)
{
	size_t len = strlen(name);

	if (len < 5 || strncmp(name, "pack-", 5) != 0 || strcmp(name + len - 4, ".idx") != 0)
		return 0;
	if (p->count == PACKS_MAX)
		return -EIO;
	if (p->count == p->cap) {
		size_t cap = p->cap ? 2 * p->cap : 8;
		struct one *grown = reallocarray(p->at, cap, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		p->at = grown;
		p->cap = cap;
	}
	if (open_one(dirfd, name, &p->at[p->count]) < 0)
		return -EIO;
	p->count++;
	return 0;
}

int wf_packs_open(int dirfd, struct wf_packs **ret_packs)
{
	struct wf_packs *p = calloc(1, sizeof(*p));
	int fd = openat(dirfd, "objects/pack", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	int r = d ? 0 : -errno;

	if (!d && fd >= 0)
		(void)close(fd); /* a directory */
	if (!p)
		r = -ENOMEM;
	while (r == 0 && (entry = readdir(d)))
		r = add(p, fd, entry->d_name);
	if (d)
		(void)closedir(d);
	if (r == 0 && p->count) {
		p->has_z = inflateInit(&p->z) == Z_OK;
		r = p->has_z ? 0 : -ENOMEM;
	}
	if (r < 0)
		(void)wf_packs_free(p);
	else
		*ret_packs = p;
	return r;
}

struct wf_packs *wf_packs_free(struct wf_packs *p)
{
	if (!p)
		return NULL;
	for (size_t i = 0; i < p->count; i++)
		close_one(&p->at[i]);
	if (p->has_z)
		(void)inflateEnd(&p->z); /* frees */
	free(p->at);
	free(p);
	return NULL;
}

size_t wf_packs_count(const struct wf_packs *p)
{
	return p->count;
}

/* ---- finding ---- */

/* False: it is not in this one. */
static bool find_in(const struct one *o, const uint8_t *oid, uint64_t *ret_offset)
{
	const uint8_t *ids = o->index + HEAD_BYTES;
	size_t low = oid[0] ? fanout(o, oid[0] - 1u) : 0, high = fanout(o, oid[0]);

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order = memcmp(ids + mid * WF_PACK_SHA, oid, WF_PACK_SHA);

		if (order == 0) {
			*ret_offset =
				number_at(ids + (size_t)o->count * (WF_PACK_SHA + 4u) + mid * 4);
			return true;
		}
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return false;
}

static const struct one *find(const struct wf_packs *p, const struct oid *oid, uint64_t *ret_offset)
{
	for (size_t i = p->count; oid->len == WF_PACK_SHA && i-- > 0;)
		if (find_in(&p->at[i], oid->bytes, ret_offset))
			return &p->at[i];
	return NULL;
}

bool wf_packs_has(const struct wf_packs *p, const struct oid *oid)
{
	uint64_t offset;

	return find(p, oid, &offset) != NULL;
}

/* ---- reading ---- */

struct head {
	unsigned type;
	uint64_t size;
	size_t len;
};

static bool parse_head(const uint8_t *at, size_t len, struct head *ret)
{
	struct head h = {.type = len ? at[0] >> 4 & 7u : 0, .size = len ? at[0] & 15u : 0};
	unsigned shift = 4;

	while (h.len < len && at[h.len++] & 0x80) {
		if (h.len == len || shift > 32)
			return false;
		h.size |= (uint64_t)(at[h.len] & 0x7f) << shift;
		shift += 7;
	}
	*ret = h;
	return h.len > 0 && h.size <= OBJECT_MAX && h.type >= WF_COMMIT && h.type <= WF_BLOB;
}

static ssize_t read_some(const struct one *o, uint8_t piece[PIECE], uint64_t offset)
{
	ssize_t n;

	do
		n = pread(o->fd, piece, PIECE, (off_t)offset);
	while (n < 0 && errno == EINTR);
	return n > 0 ? n : n < 0 ? -errno : -EIO;
}

int wf_packs_size(const struct wf_packs *p, const struct oid *oid, uint64_t *ret_size)
{
	uint8_t start[16];
	uint64_t offset;
	const struct one *o = find(p, oid, &offset);
	struct head head;

	if (!o)
		return -ENOENT;
	if (io_pread_full(o->fd, start, sizeof(start), offset) < 0 ||
		!parse_head(start, sizeof(start), &head))
		return -EIO;
	*ret_size = head.size;
	return 0;
}

/* The rest of an object, whose first bytes are in `piece`. */
static int inflate_object(struct wf_packs *p, const struct one *o, uint8_t piece[PIECE],
	uint64_t offset, char *data, size_t len)
{
	int z = Z_OK;

	if (inflateReset(&p->z) != Z_OK)
		return -EIO;
	p->z.next_out = (Bytef *)data;
	p->z.avail_out = (uInt)len + 1; /* of nothing there must be a place, too */
	for (;;) {
		ssize_t n;

		z = inflate(&p->z, Z_NO_FLUSH);
		if (z != Z_OK || p->z.avail_in)
			break;
		n = read_some(o, piece, offset);
		if (n < 0)
			return (int)n;
		offset += (uint64_t)n;
		p->z.next_in = piece;
		p->z.avail_in = (uInt)n;
	}
	return z == Z_STREAM_END && p->z.total_out == len ? 0 : -EIO;
}

static int read_object(struct wf_packs *p, const struct one *o, uint64_t offset,
	struct head *ret_head, char **ret_data)
{
	uint8_t piece[PIECE];
	ssize_t n = read_some(o, piece, offset);
	char *data;
	int r;

	if (n < 0)
		return (int)n;
	if (!parse_head(piece, (size_t)n, ret_head))
		return -EIO;
	data = malloc((size_t)ret_head->size + 1);
	if (!data)
		return -ENOMEM;
	p->z.next_in = piece + ret_head->len;
	p->z.avail_in = (uInt)((size_t)n - ret_head->len);
	r = inflate_object(p, o, piece, offset + (uint64_t)n, data, (size_t)ret_head->size);
	if (r < 0)
		free(data);
	else
		*ret_data = data;
	return r;
}

int wf_packs_read(struct wf_packs *p, const struct oid *oid, enum wf_object type, void **ret_data,
	size_t *ret_len)
{
	uint64_t offset;
	const struct one *o = find(p, oid, &offset);
	_cleanup_free_ char *data = NULL;
	struct head head;
	int r;

	if (!o)
		return -ENOENT;
	r = read_object(p, o, offset, &head, &data);
	if (r == 0 && (head.type != (unsigned)type || digest_verify(oid, wf_object_kind(type), data,
							      (size_t)head.size) < 0))
		r = -EIO;
	if (r < 0)
		return r;
	data[head.size] = '\0';
	*ret_len = (size_t)head.size;
	*ret_data = TAKE_PTR(data);
	return 0;
}
