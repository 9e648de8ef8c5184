/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where every blob of the disk tier is: oid → place, in memory, at most 48 bytes a blob (36 for the
 * entry, the rest for the table).
 *
 * The key is the first 160 bits of the oid and its length: a whole SHA-1, or a SHA-256 cut to a
 * length at which no two can be made to meet. The full oid stands in the record on disk and is
 * compared when that is first read.
 */
#pragma once
#include "storage/digest.h"

#include <stdbool.h>
#include <stdint.h>

#define DISK_KEY_BYTES 20
/* Age is kept in ticks of 64 s since the store was opened: two bytes last 48 days, then everything
 * is equally old. */
#define DISK_TICK_NS  (64ull * 1000000000ull)
#define DISK_HEAT_MAX 3
#define DISK_SIZE_MAX ((1ull << 40) - 1)

struct disk_key {
	uint8_t bytes[DISK_KEY_BYTES];
	uint8_t oid_len;
};

struct disk_place {
	uint32_t segment; /* slot in the log; 0 = a file of its own */
	uint32_t offset;  /* of the record in the segment */
	uint64_t size;
	bool proven;   /* checksum (segment) or hash (file) seen to be right since the store was
			  opened */
	uint8_t heat;  /* reads, up to DISK_HEAT_MAX */
	uint16_t used; /* tick of the last read */
};

struct disk_index;

struct disk_segment;

/* `fn` is called for a blob in a segment under the lock that also guards its removal: a reference
 * taken there is safe. */
struct disk_hold {
	struct disk_segment *(*fn)(void *arg, uint32_t segment);
	void *arg;
	struct disk_segment *segment; /* what fn returned; NULL for a blob in a file */
};

struct disk_key disk_key(const struct oid *oid);
int disk_index_new(struct disk_index **ret_index);
struct disk_index *disk_index_free(struct disk_index *ix);
/* -EEXIST: it has a place already, which stays. -ENOMEM. */
int disk_index_add(
	struct disk_index *ix, const struct disk_key *key, const struct disk_place *place);
bool disk_index_find(
	struct disk_index *ix, const struct disk_key *key, struct disk_place *ret_place);
/* The same for a reader: counts the read at tick `now` (ret_place shows the heat before it) and
 * holds the segment. */
bool disk_index_use(struct disk_index *ix, const struct disk_key *key, uint16_t now,
	struct disk_hold *hold, struct disk_place *ret_place);
/* These act only if the blob is still at `place` (segment, offset and size): someone may have
 * repaired or moved it. */
void disk_index_prove(
	struct disk_index *ix, const struct disk_key *key, const struct disk_place *place);
bool disk_index_drop(
	struct disk_index *ix, const struct disk_key *key, const struct disk_place *place);
bool disk_index_move(struct disk_index *ix, const struct disk_key *key,
	const struct disk_place *place, const struct disk_place *to);
/* Visit every entry; true removes it. Locks are let go between small groups, so entries that come
 * or go meanwhile may or may not be seen. `fn` runs under an index lock: it must be short and must
 * not call the index. */
typedef bool (*disk_index_visit)(
	void *arg, const struct disk_key *key, const struct disk_place *place);
void disk_index_each(struct disk_index *ix, disk_index_visit fn, void *arg);
uint64_t disk_index_count(struct disk_index *ix);
