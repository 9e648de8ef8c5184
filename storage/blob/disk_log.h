/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The segments of the disk tier: one that is appended to, the others full and never changed. A
 * segment has a slot, by which the index names it; slots are fixed in number, so is the number of
 * open descriptors.
 */
#pragma once
#include "blob/disk_segment.h"

struct disk_log;

struct disk_log_config {
	int parent_fd;          /* "segments" is made in it */
	uint64_t segment_bytes; /* a full one; at most 2 GiB */
	uint32_t slots;         /* at least; more if more are found */
	struct disk_index *index;
	struct disk_space *space;
};

/* Opens what is there, and enters every record into the index. Damaged segments are removed. */
int disk_log_open(struct disk_log **ret_log, const struct disk_log_config *config);
/* Writes the sidecar of the open segment. */
struct disk_log *disk_log_close(struct disk_log *log);
/* Bytes that an append of `len` needs reserved before. */
uint64_t disk_log_cost(size_t len);
struct disk_append {
	const struct oid *oid;
	const void *data;
	size_t len;
	uint16_t used;                 /* tick of its last use */
	const struct disk_place *from; /* it is carried over from there; NULL: it is new */
};
/* Append and enter into the index. A new blob that the index has already is left alone. *ret_stored
 * tells whether the reservation was used; it is written on failure too. -ENOSPC, -EDQUOT, -ENOMEM,
 * -EIO. */
int disk_log_append(struct disk_log *log, const struct disk_append *a, bool *ret_stored);
/* For struct disk_hold: a reference on the segment in the slot, and a pin as well. Drop it with
 * disk_handle_put. */
struct disk_segment *disk_log_hold(void *log, uint32_t slot);
struct disk_segment *disk_log_hold_pinned(void *log, uint32_t slot);
uint32_t disk_log_slots(const struct disk_log *log); /* slot numbers are below it */
/* A full segment that nobody has pinned: its bytes and number; false if not. */
bool disk_log_evictable(struct disk_log *log, uint32_t slot, uint64_t *ret_bytes, uint64_t *ret_id);
/* For a visitor of the index that removes the segment's entries: nobody can pin a blob that is
 * removed now. */
bool disk_log_pinned(const struct disk_log *log, uint32_t slot);
/* Forget a segment which the index no longer names: removes its files. Bytes given back. */
uint64_t disk_log_remove(struct disk_log *log, uint32_t slot);
