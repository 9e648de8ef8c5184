/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of records beside a segment, "<id>.idx":
 *
 *	magic u32 | version u32 | id u64 | segment bytes u64 | rows u32 | crc32c of the rows u32 |
 *row [32] ...
 *
 * It counts only if it names the exact length of the segment: a segment that was appended to since
 *has no sidecar.
 */
#pragma once
#include "blob/disk_segment.h"

#define DISK_SIDECAR_HEADER 32u

/* Rows of the segment, from its sidecar. -ENOENT or -EIO: there is none that counts; the rows are
 * then undefined. */
int disk_sidecar_read(int dirfd, struct disk_segment *s, uint64_t segment_bytes);
/* Nothing is lost if this fails: the next start walks the records. */
int disk_sidecar_write(int dirfd, const struct disk_segment *s);
void disk_sidecar_unlink(int dirfd, uint64_t id);
