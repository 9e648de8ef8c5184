/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One segment file: small blobs, one record after the other. Little-endian, records on 8-byte
 *boundaries:
 *
 *	file:   magic u32 | version u32 | id u64 | record | record | ...
 *	record: magic u32 | oid_len u8 | 0 u8 | 0 u16 | size u32 | crc32c u32 | oid [32] | size
 *bytes | padding
 *
 * The checksum covers header (with 0 in its own place) and bytes. The sidecar (.idx) of a full
 *segment lists its records, so that a start need not walk them (disk_sidecar.h). Without it the
 *records are walked from header to header, and what follows the last whole one (a torn append) is
 *cut off.
 */
#pragma once
#include "blob/disk_index.h"
#include "blob/disk_internal.h"

#define DISK_SEGMENT_HEADER   16u
#define DISK_RECORD_HEADER    48u
#define DISK_SEGMENT_ROWS_MAX 65536u

/* As in the sidecar; in memory in host order. */
struct disk_row {
	uint8_t key[DISK_KEY_BYTES];
	uint8_t oid_len;
	uint8_t zero[3];
	uint32_t offset;
	uint32_t size;
};

struct disk_segment {
	struct disk_handle handle; /* held by readers and pins; the log holds one reference */
	uint64_t id;               /* in the file names; rising */
	uint64_t charged; /* bytes reserved for file and sidecar; guarded by the log's lock */
	uint32_t bytes;   /* length of the file; guarded by the log's lock, const once sealed */
	uint32_t row_count, row_cap;
	struct disk_row *rows; /* what the sidecar will say; NULL once sealed */
};

static inline uint32_t disk_record_bytes(size_t size)
{
	return (uint32_t)((DISK_RECORD_HEADER + size + 7) & ~(size_t)7);
}

int disk_segment_create(int dirfd, uint64_t id, struct disk_segment **ret_segment);
/* Opens one that is there, with all rows. *ret_sealed: its sidecar is good. -EIO: not a segment of
 * ours. */
int disk_segment_open(int dirfd, uint64_t id, struct disk_segment **ret_segment, bool *ret_sealed);
/* On failure the file is as before. -ENOSPC, -EDQUOT as of the filesystem. */
int disk_segment_append(struct disk_segment *s, const struct oid *oid, const void *data, size_t len,
	uint32_t *ret_offset);
/* Bytes of a blob; checks the whole record first unless place->proven. -EIO: damaged. */
ssize_t disk_segment_read(const struct disk_segment *s, const struct oid *oid,
	const struct disk_place *place, void *buf, size_t len, uint64_t offset);
/* A whole record into `buf` (disk_record_bytes), checked: its oid, and where its bytes begin. */
int disk_segment_load(const struct disk_segment *s, const struct disk_key *key,
	const struct disk_place *place, uint8_t *buf, struct oid *ret_oid,
	const uint8_t **ret_data);
/* Frees the rows of one that is sealed; their count stays. */
void disk_segment_forget_rows(struct disk_segment *s);
/* Removes file and sidecar; who holds the segment can still read it. */
void disk_segment_unlink(int dirfd, uint64_t id);
/* "<id>.seg" → id. */
bool disk_segment_parse_name(const char *name, uint64_t *ret_id);
