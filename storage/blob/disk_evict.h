/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which parts of the disk tier go when it fills up. Policy only: no I/O, no locks, time comes in as
 * the ages of the candidates.
 *
 * Eviction starts when usage would pass 95% of the budget and frees down to 85%, so that it is rare
 * and works in bulk. The unit is a segment or a large file. The coldest go first: last read longest
 * ago; among equals the older segment (lower order).
 */
#pragma once
#include "blob/disk_index.h"

#include <stdbool.h>
#include <stdint.h>

#define DISK_EVICT_BATCH 512
/* A blob in an evicted segment that was read this often is carried over instead of dropped. */
#define DISK_EVICT_HOT 2

struct disk_candidate {
	uint64_t bytes;
	uint64_t order;      /* id of a segment; 0 for a file */
	uint32_t segment;    /* slot; 0 = a file */
	uint16_t used;       /* tick of the last read */
	struct disk_key key; /* of a file */
	uint64_t size;
};

/* The coldest candidates offered so far, at most DISK_EVICT_BATCH of them. */
struct disk_evict_plan {
	uint64_t want_bytes;
	unsigned count;
	struct disk_candidate heap[DISK_EVICT_BATCH]; /* the warmest of them on top */
};

/* Bytes to free so that `more` fits below the high mark: down to the low one. 0: nothing to do. */
uint64_t disk_evict_want(uint64_t budget, uint64_t used, uint64_t more);
void disk_evict_begin(struct disk_evict_plan *plan, uint64_t want_bytes);
void disk_evict_offer(struct disk_evict_plan *plan, const struct disk_candidate *candidate);
/* Ends the offering: heap[] is sorted, coldest first. */
void disk_evict_sort(struct disk_evict_plan *plan);
