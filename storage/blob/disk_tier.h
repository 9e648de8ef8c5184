/* SPDX-License-Identifier: Apache-2.0 */
/* The disk tier as its parts see it; private to blob_disk.c, disk_open.c and disk_reclaim.c. */
#pragma once
#include "base/clock.h"
#include "blob/blob_internal.h"
#include "blob/disk_file.h"
#include "blob/disk_log.h"

struct disk_tier {
	int dirfd;
	uint32_t small_max;
	uint64_t segment_bytes;
	const struct clock *clock;
	uint64_t opened_ns;
	struct disk_index *index;
	struct disk_log *log;
	struct disk_files *files;
	struct disk_space space;
	struct blob_counters counters;
	struct gauge pins;
	struct lock reclaim_lock; /* one eviction at a time */
};

extern const struct blob_tier_ops blob_disk_ops;
void disk_tier_close(void *tier); /* a half-built one is fine */
/* Free at least `want_bytes`, if that much is cold and unpinned. Blocks on the disk. */
int disk_reclaim(struct disk_tier *t, uint64_t want_bytes, uint64_t *ret_freed);
