/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See pack.h, and gitformat-pack(5). The file is "PACK", version and count, which is not known
 * before the end; then of each object its type and size, and its bytes through zlib; at the end the
 * SHA-1 of all, so sealing reads the file once more. It has no name until then (O_TMPFILE).
 *
 * Compression is the fastest: what is sent is compressed for sending by those who send it.
 */
#include "workflow/pack.h"

#include "workflow/pack_index.h"

#include <arpa/inet.h>
#include <base/buf.h>
#include <base/cleanup.h>
#include <base/io.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define OUT_BYTES   (256u << 10)
#define LEVEL       Z_BEST_SPEED
#define FULL_BYTES  (UINT64_C(1) << 30)
#define FULL_COUNT  (UINT32_C(1) << 18) /* some 15 MiB of memory */
#define OBJECT_MAX  (256u << 20)
#define INDEX_MAX   (64u << 20)
#define HEADER_SIZE 12u

struct wf_pack {
	int dirfd, fd; /* objects/pack; the file */
	z_stream z;
	bool has_z;
	uint8_t *out; /* the last `out_len` bytes, not written yet */
	size_t out_len;
	uint64_t written;
	uint32_t crc; /* of the object that is being written */
	int error;
	struct wf_pack_index index;
};

int wf_pack_new(int dirfd, struct wf_pack **ret_pack)
{
	struct wf_pack *p = calloc(1, sizeof(*p));
	int r = 0;

	if (!p)
		return -ENOMEM;
	p->fd = -1;
	p->dirfd = openat(dirfd, "objects/pack", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (p->dirfd >= 0)
		p->fd = openat(p->dirfd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (p->fd < 0)
		r = errno == EISDIR || errno == EINVAL ? -EOPNOTSUPP : -errno;
	p->out = malloc(OUT_BYTES);
	p->out_len = HEADER_SIZE; /* written when it is sealed */
	p->has_z = deflateInit(&p->z, LEVEL) == Z_OK;
	if (r == 0 && (!p->out || !p->has_z))
		r = -ENOMEM;
	if (r < 0)
		(void)wf_pack_free(p);
	else
		*ret_pack = p;
	return r;
}

struct wf_pack *wf_pack_free(struct wf_pack *p)
{
	if (!p)
		return NULL;
	if (p->has_z)
		(void)deflateEnd(&p->z); /* frees; says only whether there was more to come */
	if (p->fd >= 0)
		(void)close(p->fd); /* sealed and synced, or gone */
	if (p->dirfd >= 0)
		(void)close(p->dirfd); /* a directory */
	wf_pack_index_fini(&p->index);
	free(p->out);
	free(p);
	return NULL;
}

/* ---- writing ---- */

static int flush(struct wf_pack *p)
{
	int r = io_pwrite_full(p->fd, p->out, p->out_len, p->written);

	if (r < 0)
		return r;
	p->written += p->out_len;
	p->out_len = 0;
	return 0;
}

static int put(struct wf_pack *p, const uint8_t *data, size_t len)
{
	int r = OUT_BYTES - p->out_len < len ? flush(p) : 0;

	if (r < 0)
		return r;
	memcpy(p->out + p->out_len, data, len);
	p->out_len += len;
	p->crc = (uint32_t)crc32(p->crc, data, (uInt)len);
	return 0;
}

/* Type and size: four bits of it, then seven in each further byte. */
static int put_head(struct wf_pack *p, enum wf_object type, size_t len)
{
	uint8_t head[10];
	size_t n = 0;

	head[0] = (uint8_t)((unsigned)type << 4 | (len & 15));
	for (len >>= 4; len; len >>= 7) {
		head[n++] |= 0x80;
		head[n] = len & 0x7f;
	}
	return put(p, head, n + 1);
}

static int put_deflated(struct wf_pack *p, const void *data, size_t len)
{
	int r = 0, z = Z_OK;

	if (deflateReset(&p->z) != Z_OK)
		return -EIO;
	p->z.next_in = (Bytef *)data;
	p->z.avail_in = (uInt)len;
	while (r == 0 && z == Z_OK) {
		size_t before = p->out_len;

		p->z.next_out = p->out + p->out_len;
		p->z.avail_out = (uInt)(OUT_BYTES - p->out_len);
		z = deflate(&p->z, Z_FINISH);
		p->out_len = OUT_BYTES - p->z.avail_out;
		p->crc = (uint32_t)crc32(p->crc, p->out + before, (uInt)(p->out_len - before));
		if (z == Z_BUF_ERROR)
			z = Z_OK; /* there was no room at all */
		if (z == Z_OK)
			r = flush(p);
	}
	return r < 0 ? r : z == Z_STREAM_END ? 0 : -EIO;
}

static int add(
	struct wf_pack *p, const struct oid *oid, enum wf_object type, const void *data, size_t len)
{
	struct wf_pack_entry entry = {.type = (uint8_t)type,
		.offset = (uint32_t)(p->written + p->out_len),
		.size = (uint32_t)len};
	int r;

	p->crc = 0;
	r = put_head(p, type, len);
	if (r == 0)
		r = put_deflated(p, data, len);
	if (r < 0)
		return r;
	entry.crc = p->crc;
	memcpy(entry.oid, oid->bytes, sizeof(entry.oid));
	return wf_pack_index_add(&p->index, &entry);
}

int wf_pack_add(
	struct wf_pack *p, const struct oid *oid, enum wf_object type, const void *data, size_t len)
{
	if (len > OBJECT_MAX || oid->len != WF_PACK_SHA)
		return -EFBIG;
	if (p->error == 0)
		p->error = add(p, oid, type, data, len);
	return p->error;
}

bool wf_pack_is_full(const struct wf_pack *p)
{
	return p->written >= FULL_BYTES || p->index.count >= FULL_COUNT;
}

/* ---- reading ---- */

bool wf_pack_has(const struct wf_pack *p, const struct oid *oid, uint64_t *ret_size)
{
	const struct wf_pack_entry *entry = wf_pack_index_find(&p->index, oid);

	if (entry)
		*ret_size = entry->size;
	return entry != NULL;
}

/* All of it, as it is in the file. */
static int read_packed(
	struct wf_pack *p, const struct wf_pack_entry *entry, uint8_t **ret_packed, size_t *ret_len)
{
	bool last = entry + 1 == p->index.entries + p->index.count;
	uint64_t end = last ? p->written + p->out_len : entry[1].offset;
	size_t len = (size_t)(end - entry->offset);
	uint8_t *packed = malloc(len);
	int r = packed ? flush(p) : -ENOMEM;

	if (r == 0)
		r = io_pread_full(p->fd, packed, len, entry->offset);
	if (r < 0) {
		free(packed);
		return r;
	}
	*ret_packed = packed;
	*ret_len = len;
	return 0;
}

static int unpack(const uint8_t *packed, size_t packed_len, char *data, size_t len)
{
	size_t head = 0;
	uLongf out = (uLongf)len + 1; /* of nothing there must be a place, too */

	while (head < packed_len && packed[head] & 0x80)
		head++;
	if (++head > packed_len ||
		uncompress((Bytef *)data, &out, packed + head, (uLong)(packed_len - head)) != Z_OK)
		return -EIO;
	return out == len ? 0 : -EIO;
}

int wf_pack_read(struct wf_pack *p, const struct oid *oid, enum wf_object type, void **ret_data,
	size_t *ret_len)
{
	const struct wf_pack_entry *entry = wf_pack_index_find(&p->index, oid);
	_cleanup_free_ uint8_t *packed = NULL;
	_cleanup_free_ char *data = NULL;
	size_t packed_len;
	int r;

	if (!entry)
		return -ENOENT;
	if (entry->type != (uint8_t)type)
		return -EIO;
	r = read_packed(p, entry, &packed, &packed_len);
	if (r < 0)
		return r;
	data = malloc((size_t)entry->size + 1);
	r = data ? unpack(packed, packed_len, data, entry->size) : -ENOMEM;
	if (r < 0)
		return r;
	data[entry->size] = '\0';
	*ret_len = entry->size;
	*ret_data = TAKE_PTR(data);
	return 0;
}

/* ---- sealing ---- */

static int write_header(struct wf_pack *p)
{
	const uint32_t header[] = {
		htonl(0x5041434b), htonl(2), htonl((uint32_t)p->index.count)}; /* "PACK" */

	_Static_assert(sizeof(header) == HEADER_SIZE, "as it was left");
	return io_pwrite_full(p->fd, header, sizeof(header), 0);
}

static int hash_file(struct wf_pack *p, uint8_t ret_sha[WF_PACK_SHA])
{
	struct digest *digest = NULL;
	uint8_t len;
	int r = digest_new(&digest, DIGEST_SHA1);

	for (uint64_t at = 0; r == 0 && at < p->written;) {
		size_t want = p->written - at < OUT_BYTES ? (size_t)(p->written - at) : OUT_BYTES;

		r = io_pread_full(p->fd, p->out, want, at);
		if (r == 0)
			r = digest_update(digest, p->out, want);
		at += want;
	}
	if (r == 0)
		r = digest_final(digest, ret_sha, &len);
	(void)digest_free(digest);
	return r;
}

static int give_name(const struct wf_pack *p, const char *name)
{
	char self[32];

	(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", p->fd);
	if (unlinkat(p->dirfd, name, 0) < 0 && errno != ENOENT) /* of a verb that did not end */
		return -errno;
	return linkat(AT_FDCWD, self, p->dirfd, name, AT_SYMLINK_FOLLOW) < 0 ? -errno : 0;
}

static int write_index(
	struct wf_pack *p, const char *name, const uint8_t sha[WF_PACK_SHA], bool durable)
{
	struct digest *digest;
	struct buf b;
	uint8_t sum[WF_PACK_SHA], len;
	int r;

	buf_init(&b, INDEX_MAX);
	wf_pack_index_encode(&p->index, sha, &b);
	r = buf_error(&b);
	if (r == 0)
		r = digest_new(&digest, DIGEST_SHA1);
	if (r == 0) {
		r = digest_update(digest, b.data, b.len);
		if (r == 0)
			r = digest_final(digest, sum, &len);
		(void)digest_free(digest);
	}
	if (r == 0)
		r = buf_append(&b, sum, sizeof(sum));
	if (r == 0)
		r = io_write_file(p->dirfd, name, b.data, b.len, 0600, durable);
	buf_fini(&b);
	return r;
}

static int seal(struct wf_pack *p, bool durable)
{
	uint8_t sha[WF_PACK_SHA];
	char hex[OID_HEX_MAX], pack[64], index[64];
	struct oid name;
	int r = flush(p);

	if (r == 0)
		r = write_header(p);
	if (r == 0)
		r = hash_file(p, sha);
	if (r == 0)
		r = io_pwrite_full(p->fd, sha, sizeof(sha), p->written);
	if (r == 0 && durable && fsync(p->fd) < 0)
		r = -errno;
	if (r < 0)
		return r;
	name = oid_from_bytes(sha, sizeof(sha));
	(void)snprintf(pack, sizeof(pack), "pack-%s.pack", oid_hex(&name, hex));
	(void)snprintf(index, sizeof(index), "pack-%s.idx", hex);
	r = give_name(p, pack);
	if (r == 0)
		r = write_index(p, index, sha, durable);
	if (r < 0)
		(void)unlinkat(p->dirfd, pack, 0); /* without an index it is nothing */
	return r;
}

int wf_pack_seal(struct wf_pack *p, bool durable)
{
	if (p->error == 0)
		p->error = seal(p, durable);
	return p->error;
}
