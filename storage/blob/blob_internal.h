/* SPDX-License-Identifier: Apache-2.0 */
/* What blob.c, blob_fetch.c and the tiers share. */
#pragma once
#include "base/list.h"
#include "base/lock.h"
#include "base/metrics.h"
#include "blob/blob_hash.h"
#include "storage/blob_tier.h"

#define BLOB_SMALL_MAX_DEFAULT (64u * 1024)
#define BLOB_SMALL_MAX_LIMIT   (1024u * 1024)
#define BLOB_TIERS_MAX         6
#define BLOB_FLIGHT_BUCKETS    256

/* Counters of one tier: of the registry, or own ones where there is none. */
struct blob_counters {
	struct counter *hits, *misses, *evictions, *evicted_bytes, *errors;
	struct counter own[5];
};
void blob_counters_init(struct blob_counters *c, struct metrics *metrics, const char *tier);
void blob_counters_get(const struct blob_counters *c, struct blob_tier_stats *ret_stats);

/* The memory tier: blobs up to `item_max` bytes, `budget` in all, bookkeeping included. */
int blob_mem_new(struct blob_tier *ret_tier, uint64_t budget_bytes, uint32_t item_max,
	struct metrics *metrics);

/* What the disk would not take, while it is full or cannot be written: whole blobs in memory, up to
 * a quarter of `budget` each. Named "spill". */
int blob_spill_new(struct blob_tier *ret_tier, uint64_t budget_bytes, struct metrics *metrics);

struct blob_disk_config {
	const char *dir;
	uint64_t budget_bytes;
	uint32_t small_max;
	const struct clock *clock;
	struct metrics *metrics;
};
int blob_disk_new(struct blob_tier *ret_tier, const struct blob_disk_config *config, struct err *e);

struct blob_store {
	struct blob_tier tier[BLOB_TIERS_MAX]; /* const once threads use the store */
	unsigned tier_count;
	const struct blob_tier *memory; /* NULL: no memory tier */
	const struct blob_tier *spill;  /* NULL: none */
	uint64_t spill_max;             /* bytes of one blob in it */
	const struct blob_tier *window; /* parts of what is larger */
	struct health *health;          /* may be NULL */
	uint32_t small_max;
	const struct clock *clock;
	struct metrics *metrics;
	struct blob_hash_key hash_key;
	struct counter *fetches, *fetched_bytes, *joined, *failed, *verify_failures;
	struct counter own[5];
	struct lock flight_lock;
	struct list flight[BLOB_FLIGHT_BUCKETS]; /* guarded by flight_lock */
};

/* The first tier with hook `begin`: where large blobs go. NULL: none. */
const struct blob_tier *blob_large_tier(const struct blob_store *bs);
/* Keep a small blob, verified, in every local tier that takes it, and if `share` in remote ones. 0
 * if a local one did. */
int blob_keep_small(
	struct blob_store *bs, const struct oid *oid, const void *data, size_t len, bool share);
/* Is this the disk's fault, not the blob's or ours? */
bool blob_disk_refuses(int r);
/* What the disk said to a blob of this size: 0 or an error. Noted in the health of the node. */
void blob_disk_said(struct blob_store *bs, uint64_t size, int r);
/* Tell remote tiers of a large one. */
void blob_share_large(struct blob_store *bs, const struct oid *oid, uint64_t size);
/* 0 if a local tier can read it, after proving what needs proof; -EAGAIN if none has it. */
int blob_settle(struct blob_store *bs, const struct oid *oid, const struct cancel *cancel,
	uint64_t deadline_ns);

/* The verifying sink (blob_sink.c): bytes go to memory (small) or into the large tier, and through
 * the hash. */
struct blob_intake {
	struct blob_sink sink; /* first: a sink is its intake */
	struct blob_store *bs;
	const struct oid *oid;
	struct digest *digest;
	uint8_t *small;             /* buffer of a small blob, or of one that spills */
	const struct blob_tier *to; /* where a large one flows */
	void *write;                /* of that tier */
	uint64_t size, done;
	bool begun;
	bool no_disk; /* in: do not try the disk */
	bool whole;   /* in: a part of it is of no use */
	bool spill;   /* it is kept in memory, though large */
	bool refused; /* out: the disk took it at first, and then did not */
	bool share;   /* remote tiers get it too: it does not come from one */
	int error;    /* the first failure; what follows is refused */
};
void blob_intake_init(struct blob_intake *in, struct blob_store *bs, const struct oid *oid);
/* After the producer said 0: verify and store. Frees everything, whatever the result. -EBADMSG: not
 * what the oid says. */
int blob_intake_commit(struct blob_intake *in);
void blob_intake_abort(struct blob_intake *in);
