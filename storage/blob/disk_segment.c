/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Append to and read from one segment file. Records are never changed once written, so readers need
 * no lock: they hold the descriptor and know the place. Everything read from disk is checked before
 * it is believed: a record against its checksum and the oid that was asked for, once per process
 * (the index remembers), lengths always.
 */
#include "blob/disk_segment.h"

#include "base/cleanup.h"
#include "base/crc32c.h"
#include "base/io.h"
#include "blob/disk_sidecar.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>

#define SEGMENT_MAGIC   0x47455343u /* "CSEG" */
#define SEGMENT_VERSION 1u
#define RECORD_MAGIC    0x434552b1u
#define NAME_BYTES      32
#define CHECK_CHUNK     8192

struct segment_header {
	uint32_t magic, version;
	uint64_t id;
};
static_assert(sizeof(struct segment_header) == DISK_SEGMENT_HEADER, "layout");

struct record_header {
	uint32_t magic;
	uint8_t oid_len;
	uint8_t zero[3];
	uint32_t size;
	uint32_t crc;
	uint8_t oid[OID_MAX_BYTES];
};
static_assert(sizeof(struct record_header) == DISK_RECORD_HEADER, "layout");

static const char *file_name(uint64_t id, const char *suffix, char *buf)
{
	(void)snprintf(buf, NAME_BYTES, "%016" PRIx64 ".%s", id, suffix);
	return buf;
}

bool disk_segment_parse_name(const char *name, uint64_t *ret_id)
{
	char expect[NAME_BYTES], *end;
	uint64_t id;

	errno = 0;
	id = strtoull(name, &end, 16);
	if (errno || end == name || strcmp(file_name(id, "seg", expect), name) != 0)
		return false;
	*ret_id = id;
	return true;
}

static void segment_release(struct disk_handle *h)
{
	struct disk_segment *s = (struct disk_segment *)h; /* its first member */

	if (h->fd >= 0)
		(void)close(h->fd); /* a cache: what did not reach the disk fails its checksum */
	free(s->rows);
	free(s);
}

static struct disk_segment *segment_new(uint64_t id)
{
	struct disk_segment *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->handle.fd = -1;
	s->handle.release = segment_release;
	ref_init(&s->handle.ref);
	s->id = id;
	s->bytes = DISK_SEGMENT_HEADER;
	return s;
}

static void segment_cleanup(struct disk_segment **s)
{
	if (*s)
		disk_handle_put(&(*s)->handle);
}

int disk_segment_create(int dirfd, uint64_t id, struct disk_segment **ret_segment)
{
	__attribute__((cleanup(segment_cleanup))) struct disk_segment *s = segment_new(id);
	const struct segment_header header = {.magic = htole32(SEGMENT_MAGIC),
		.version = htole32(SEGMENT_VERSION),
		.id = htole64(id)};
	char name[NAME_BYTES];
	int r;

	if (!s)
		return -ENOMEM;
	s->handle.fd = openat(
		dirfd, file_name(id, "seg", name), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (s->handle.fd < 0)
		return -errno;
	r = io_pwrite_full(s->handle.fd, &header, sizeof(header), 0);
	if (r < 0) {
		disk_segment_unlink(dirfd, id);
		return r;
	}
	*ret_segment = TAKE_PTR(s);
	return 0;
}

static int add_row(
	struct disk_segment *s, const struct disk_key *key, uint32_t offset, uint32_t size)
{
	struct disk_row *row;

	if (s->row_count == s->row_cap) {
		uint32_t cap = s->row_cap ? s->row_cap * 2 : 256;
		struct disk_row *rows = reallocarray(s->rows, cap, sizeof(*rows));

		if (!rows)
			return -ENOMEM;
		s->rows = rows;
		s->row_cap = cap;
	}
	row = &s->rows[s->row_count++];
	*row = (struct disk_row){.oid_len = key->oid_len, .offset = offset, .size = size};
	memcpy(row->key, key->bytes, DISK_KEY_BYTES);
	return 0;
}

static bool header_ok(const struct record_header *h)
{
	return le32toh(h->magic) == RECORD_MAGIC && (h->oid_len == 20 || h->oid_len == 32);
}

static struct oid header_oid(const struct record_header *h)
{
	return oid_from_bytes(h->oid, h->oid_len);
}

static uint32_t header_crc(const struct record_header *h)
{
	struct record_header copy = *h;

	copy.crc = 0;
	return crc32c(0, &copy, sizeof(copy));
}

int disk_segment_append(struct disk_segment *s, const struct oid *oid, const void *data, size_t len,
	uint32_t *ret_offset)
{
	static const uint8_t padding[8];
	struct record_header h = {.magic = htole32(RECORD_MAGIC),
		.oid_len = oid->len,
		.size = htole32((uint32_t)len)};
	uint32_t total = disk_record_bytes(len), offset = s->bytes;
	struct disk_key key = disk_key(oid);
	struct iovec iov[] = {
		{&h, sizeof(h)},
		{(void *)data, len},
		{(void *)padding, total - DISK_RECORD_HEADER - len},
	};
	ssize_t n;
	int r;

	memcpy(h.oid, oid->bytes, oid->len);
	h.crc = htole32(crc32c(header_crc(&h), data, len));
	r = add_row(s, &key, offset, (uint32_t)len);
	if (r < 0)
		return r;
	n = pwritev(s->handle.fd, iov, 3, offset);
	r = n < 0 ? -errno : (size_t)n < total ? -ENOSPC : 0;
	if (r < 0) {
		s->row_count--;
		(void)ftruncate(
			s->handle.fd, offset); /* if it stays, the next append overwrites it */
		return r;
	}
	s->bytes += total;
	*ret_offset = offset;
	return 0;
}

static int io_result(int r)
{
	return r == -ENODATA ? -EIO : r; /* shorter than it was: damaged */
}

static int check_header(
	const struct record_header *h, const struct disk_key *key, const struct disk_place *place)
{
	if (!header_ok(h) || h->oid_len != key->oid_len || le32toh(h->size) != place->size)
		return -EIO;
	return memcmp(h->oid, key->bytes, DISK_KEY_BYTES) == 0 ? 0 : -EIO;
}

/* Header and bytes in one system call, straight into the caller's buffer. */
static int read_checked_whole(const struct disk_segment *s, const struct oid *oid,
	const struct disk_place *place, void *buf)
{
	struct disk_key key = disk_key(oid);
	struct record_header h;
	struct iovec iov[] = {{&h, sizeof(h)}, {buf, place->size}};
	struct oid is;
	ssize_t n;
	int r;

	n = preadv(s->handle.fd, iov, 2, place->offset);
	if (n < 0)
		return -errno;
	if ((uint64_t)n != sizeof(h) + place->size)
		return -EIO;
	r = check_header(&h, &key, place);
	if (r < 0)
		return r;
	is = header_oid(&h);
	if (!oid_equal(&is, oid) || crc32c(header_crc(&h), buf, place->size) != le32toh(h.crc))
		return -EIO;
	return 0;
}

/* The caller wants a part only: check the whole in pieces on the stack. */
static int check_in_pieces(
	const struct disk_segment *s, const struct oid *oid, const struct disk_place *place)
{
	struct disk_key key = disk_key(oid);
	uint8_t chunk[CHECK_CHUNK];
	struct record_header h;
	struct oid is;
	uint32_t crc;
	int r;

	r = io_pread_full(s->handle.fd, &h, sizeof(h), place->offset);
	if (r == 0)
		r = check_header(&h, &key, place);
	if (r < 0)
		return io_result(r);
	crc = header_crc(&h);
	for (uint64_t at = 0; at < place->size; at += sizeof(chunk)) {
		size_t part = place->size - at < sizeof(chunk) ? place->size - at : sizeof(chunk);

		r = io_pread_full(s->handle.fd, chunk, part, place->offset + sizeof(h) + at);
		if (r < 0)
			return io_result(r);
		crc = crc32c(crc, chunk, part);
	}
	is = header_oid(&h);
	return oid_equal(&is, oid) && crc == le32toh(h.crc) ? 0 : -EIO;
}

ssize_t disk_segment_read(const struct disk_segment *s, const struct oid *oid,
	const struct disk_place *place, void *buf, size_t len, uint64_t offset)
{
	int r = 0;

	if (offset >= place->size)
		len = 0;
	else if (len > place->size - offset)
		len = place->size - offset;
	if (!place->proven && offset == 0 && len == place->size) {
		r = read_checked_whole(s, oid, place, buf);
	} else {
		if (!place->proven)
			r = check_in_pieces(s, oid, place);
		if (r == 0)
			r = io_result(io_pread_full(s->handle.fd, buf, len,
				place->offset + DISK_RECORD_HEADER + offset));
	}
	return r < 0 ? r : (ssize_t)len;
}

int disk_segment_load(const struct disk_segment *s, const struct disk_key *key,
	const struct disk_place *place, uint8_t *buf, struct oid *ret_oid, const uint8_t **ret_data)
{
	struct record_header h;
	int r;

	r = io_pread_full(s->handle.fd, buf, DISK_RECORD_HEADER + place->size, place->offset);
	if (r < 0)
		return io_result(r);
	memcpy(&h, buf, sizeof(h));
	r = check_header(&h, key, place);
	if (r < 0)
		return r;
	if (crc32c(header_crc(&h), buf + sizeof(h), place->size) != le32toh(h.crc))
		return -EIO;
	*ret_oid = header_oid(&h);
	*ret_data = buf + sizeof(h);
	return 0;
}

/* Rows by walking the headers. Stops at the first that is not whole and cuts the file there. */
static int walk(struct disk_segment *s, uint64_t file_bytes)
{
	uint64_t at = DISK_SEGMENT_HEADER;

	while (s->row_count < DISK_SEGMENT_ROWS_MAX && file_bytes - at >= DISK_RECORD_HEADER) {
		struct record_header h;
		struct disk_key key;
		struct oid oid;
		uint64_t size;
		int r;

		r = io_pread_full(s->handle.fd, &h, sizeof(h), at);
		if (r < 0)
			return r;
		size = le32toh(h.size);
		if (!header_ok(&h) || size > file_bytes ||
			disk_record_bytes(size) > file_bytes - at)
			break;
		oid = header_oid(&h);
		key = disk_key(&oid);
		r = add_row(s, &key, (uint32_t)at, (uint32_t)size);
		if (r < 0)
			return r;
		at += disk_record_bytes(size);
	}
	s->bytes = (uint32_t)at;
	if (at < file_bytes && ftruncate(s->handle.fd, (off_t)at) < 0)
		return -errno;
	return 0;
}

int disk_segment_open(int dirfd, uint64_t id, struct disk_segment **ret_segment, bool *ret_sealed)
{
	__attribute__((cleanup(segment_cleanup))) struct disk_segment *s = segment_new(id);
	struct segment_header header;
	char name[NAME_BYTES];
	struct stat st;
	bool sealed;
	int r;

	if (!s)
		return -ENOMEM;
	s->handle.fd = openat(dirfd, file_name(id, "seg", name), O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (s->handle.fd < 0 || fstat(s->handle.fd, &st) < 0)
		return -errno;
	r = io_pread_full(s->handle.fd, &header, sizeof(header), 0);
	if (r < 0)
		return io_result(r);
	if (le32toh(header.magic) != SEGMENT_MAGIC || le32toh(header.version) != SEGMENT_VERSION ||
		le64toh(header.id) != id || (uint64_t)st.st_size > UINT32_MAX)
		return -EIO;
	sealed = disk_sidecar_read(dirfd, s, (uint64_t)st.st_size) == 0;
	if (!sealed) {
		s->row_count = 0;
		r = walk(s, (uint64_t)st.st_size);
		if (r < 0)
			return io_result(r);
	}
	*ret_sealed = sealed;
	*ret_segment = TAKE_PTR(s);
	return 0;
}

void disk_segment_forget_rows(struct disk_segment *s)
{
	free(TAKE_PTR(s->rows));
	s->row_cap = 0; /* row_count stays: it was charged */
}

void disk_segment_unlink(int dirfd, uint64_t id)
{
	char name[NAME_BYTES];

	(void)unlinkat(dirfd, file_name(id, "seg", name),
		0); /* left over: found again at the next start */
	disk_sidecar_unlink(dirfd, id);
}
