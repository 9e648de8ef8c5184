/* SPDX-License-Identifier: Apache-2.0 */
/* Sidecars of segments: written when a segment is full and at a clean close, read at start. Pure
 * format and two file calls. */
#include "blob/disk_sidecar.h"

#include "base/cleanup.h"
#include "base/crc32c.h"
#include "base/io.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define SIDECAR_MAGIC   0x58444943u /* "CIDX" */
#define SIDECAR_VERSION 1u
#define NAME_BYTES      32

struct sidecar_header {
	uint32_t magic, version;
	uint64_t id, segment_bytes;
	uint32_t rows, crc;
};
static_assert(sizeof(struct sidecar_header) == DISK_SIDECAR_HEADER, "layout");
static_assert(sizeof(struct disk_row) == 32, "layout");

static const char *file_name(uint64_t id, char *buf)
{
	(void)snprintf(buf, NAME_BYTES, "%016" PRIx64 ".idx", id);
	return buf;
}

static bool row_ok(const struct disk_row *row, uint64_t segment_bytes)
{
	if ((row->oid_len != 20 && row->oid_len != 32) || row->offset < DISK_SEGMENT_HEADER ||
		row->offset % 8)
		return false;
	return (uint64_t)row->offset + DISK_RECORD_HEADER + row->size <= segment_bytes;
}

static int decode(struct disk_segment *s, const void *data, size_t len, uint64_t segment_bytes)
{
	struct sidecar_header h;
	const uint8_t *rows = (const uint8_t *)data + sizeof(h);

	if (len < sizeof(h))
		return -EIO;
	memcpy(&h, data, sizeof(h));
	if (le32toh(h.magic) != SIDECAR_MAGIC || le32toh(h.version) != SIDECAR_VERSION ||
		le64toh(h.id) != s->id || le64toh(h.segment_bytes) != segment_bytes ||
		le32toh(h.rows) > DISK_SEGMENT_ROWS_MAX)
		return -EIO;
	if (len - sizeof(h) != (size_t)le32toh(h.rows) * sizeof(struct disk_row) ||
		crc32c(0, rows, len - sizeof(h)) != le32toh(h.crc))
		return -EIO;
	s->row_cap = le32toh(h.rows) + 1;
	s->rows = reallocarray(s->rows, s->row_cap, sizeof(struct disk_row));
	if (!s->rows) {
		s->row_cap = 0;
		return -ENOMEM;
	}
	for (s->row_count = 0; s->row_count < le32toh(h.rows); s->row_count++) {
		struct disk_row *row = &s->rows[s->row_count];

		memcpy(row, rows + (size_t)s->row_count * sizeof(*row), sizeof(*row));
		row->offset = le32toh(row->offset);
		row->size = le32toh(row->size);
		if (!row_ok(row, segment_bytes))
			return -EIO;
	}
	s->bytes = (uint32_t)segment_bytes;
	return 0;
}

int disk_sidecar_read(int dirfd, struct disk_segment *s, uint64_t segment_bytes)
{
	_cleanup_free_ char *data = NULL;
	char name[NAME_BYTES];
	size_t len;
	int r;

	r = io_read_file(dirfd, file_name(s->id, name),
		DISK_SIDECAR_HEADER + (size_t)DISK_SEGMENT_ROWS_MAX * sizeof(struct disk_row),
		&data, &len);
	if (r < 0)
		return r;
	return decode(s, data, len, segment_bytes);
}

int disk_sidecar_write(int dirfd, const struct disk_segment *s)
{
	size_t rows_bytes = (size_t)s->row_count * sizeof(struct disk_row);
	_cleanup_free_ uint8_t *data = malloc(DISK_SIDECAR_HEADER + rows_bytes);
	struct sidecar_header h = {
		.magic = htole32(SIDECAR_MAGIC),
		.version = htole32(SIDECAR_VERSION),
		.id = htole64(s->id),
		.segment_bytes = htole64(s->bytes),
		.rows = htole32(s->row_count),
	};
	char name[NAME_BYTES];

	if (!data)
		return -ENOMEM;
	for (uint32_t i = 0; i < s->row_count; i++) {
		struct disk_row row = s->rows[i];

		row.offset = htole32(row.offset);
		row.size = htole32(row.size);
		memcpy(data + sizeof(h) + (size_t)i * sizeof(row), &row, sizeof(row));
	}
	h.crc = htole32(crc32c(0, data + sizeof(h), rows_bytes));
	memcpy(data, &h, sizeof(h));
	return io_write_file(
		dirfd, file_name(s->id, name), data, sizeof(h) + rows_bytes, 0600, false);
}

void disk_sidecar_unlink(int dirfd, uint64_t id)
{
	char name[NAME_BYTES];

	(void)unlinkat(dirfd, file_name(id, name), 0); /* a stale one does not count anyway */
}
