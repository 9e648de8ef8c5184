/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The blob store: contents by oid in tiers, fastest first (memory, disk; Redis, if it is
 * configured), behind blob_tier.h. What is local is read without waiting for anyone; what is not is
 * fetched from a source, once for all who ask (single-flight), verified by hash, stored, and then
 * read like everything else. A blob that is pinned is never evicted.
 *
 * Layout on disk: blobs up to `small_max` are appended to segment files; larger ones have a file
 * each, published by rename. See storage/blob/README.md.
 */
#pragma once
#include "storage/digest.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct cancel;
struct clock;
struct err;
struct health;
struct metrics;
struct blob_store;

struct blob_config {
	const char *dir;       /* disk tier; created if missing */
	uint64_t memory_bytes; /* L1 budget */
	uint64_t disk_bytes;   /* L2 budget; eviction from 95% down to 85% */
	uint32_t small_max;    /* 0 = 64 KiB */
	const struct clock *clock;
	struct metrics *metrics; /* may be NULL */
	struct health *health;   /* may be NULL */
};
int blob_store_open(struct blob_store **ret_store, const struct blob_config *config, struct err *e);
struct blob_store *blob_store_close(struct blob_store *bs);

/* Bytes read into `buf` (short only at the end of the blob), from a local tier without blocking on
 * anyone else. -EAGAIN: not local, fetch it. -EIO: damaged on disk: it has been dropped, so that a
 * fetch repairs it (answer -EAGAIN then follows). Hot path: no allocation. */
ssize_t blob_read(
	struct blob_store *bs, const struct oid *oid, void *buf, size_t len, uint64_t offset);
bool blob_is_local(struct blob_store *bs, const struct oid *oid);
/* It is too large to be kept while the disk takes nothing: it can be read, in parts that are each
 * fetched anew, but neither copied nor hashed. */
bool blob_is_windowed(struct blob_store *bs, const struct oid *oid);

/* A pinned local blob, for copying: bytes [offset, offset + size) of fd. The fd belongs to the
 * store; do not close it. */
struct blob_pin {
	int fd;
	uint64_t offset, size;
	void *handle;
};
int blob_pin(struct blob_store *bs, const struct oid *oid,
	struct blob_pin *ret_pin); /* -EAGAIN: not local */
void blob_unpin(struct blob_store *bs, struct blob_pin *pin);

/* Where content comes from. `sink` takes the bytes in order; the producer must stop at its first
 * error and return it. */
struct blob_sink {
	int (*begin)(struct blob_sink *s, uint64_t size); /* once, before any write */
	int (*write)(struct blob_sink *s, const void *data, size_t len);
};
struct blob_source {
	/* Blocking, on a thread of the caller of blob_fetch. 0, -ENOENT (the source is sure), -EIO,
	 * -ETIMEDOUT, -EHOSTUNREACH. */
	int (*produce)(void *arg, const struct oid *oid, struct blob_sink *sink,
		const struct cancel *cancel, uint64_t deadline_ns);
	void *arg;
	bool cheap; /* no network: agreeing with other nodes on who asks would cost more */
	bool here;  /* it has this one at hand: no remote tier is asked before it */
};
/* Make `oid` local. Blocks; call it on a fetch thread. Whoever asks for the same oid meanwhile
 * waits for the one fetch (until the own deadline). The hash is verified before anyone can read: a
 * wrong one is -EBADMSG and stores nothing. -ENOSPC: the disk is full and nothing could be evicted
 * (a small blob still enters L1 and is then a success). */
int blob_fetch(struct blob_store *bs, const struct oid *oid, const struct blob_source *source,
	const struct cancel *cancel, uint64_t deadline_ns);
/* Make local what remote tiers have of these, in as few round trips as it takes; no source is
 * asked, nothing is waited for but those tiers' own short deadlines. For prefetching, and before a
 * source is asked for many. Blocks. How many are local now. */
unsigned blob_fetch_shared(struct blob_store *bs, const struct oid *oids, unsigned count,
	const struct cancel *cancel, uint64_t deadline_ns);
/* Before one request for many to a source: which of these are for us to ask for, because no other
 * process that shares a remote tier does? Those that are not come from that tier when they are
 * asked for one by one. *ret_claims, to be released when what was ours is local; NULL: no claim was
 * to be had. Asks the remote tier, and waits for nobody else. */
struct blob_claims;
void blob_claim_many(struct blob_store *bs, const struct oid *oids, unsigned count, bool *ret_ours,
	struct blob_claims **ret_claims);
struct blob_claims *blob_claims_release(struct blob_store *bs, struct blob_claims *claims);
/* Size of a local blob. -EAGAIN: not local. */
int blob_local_size(struct blob_store *bs, const struct oid *oid, uint64_t *ret_size);
/* Store bytes that the caller has (verified too). */
int blob_put(struct blob_store *bs, const struct oid *oid, const void *data, size_t len);

struct blob_tier_stats {
	char name[16];
	uint64_t blobs, bytes, budget_bytes, hits, misses, evictions, evicted_bytes, errors, pinned;
	uint64_t drops;   /* remote: what was not written because it would have had to wait */
	char state[16];   /* remote: "up", "probing", "down"; local: "" */
	char reason[200]; /* remote: its last failure, for a person */
};
struct blob_stats {
	struct blob_tier_stats tier[6];
	unsigned tier_count;
	uint64_t fetches, fetched_bytes, joined, failed, verify_failures;
};
void blob_stats(struct blob_store *bs, struct blob_stats *ret_stats);
