/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Farm-wide single-flight: who of all nodes fetches a blob from its origin. A lease is a key with a
 * random token that expires by itself; only the token's holder renews or removes it (compare and
 * delete, by a script, or by WATCH where scripts are off).
 *
 *	absent ──SET NX PX──► held ──renewed until the value is written──► removed
 *	                        └── holder dies: gone within L3_LEASE_MS
 *
 * It is an optimisation, never a promise: without Redis, without a lease, or after L3_WAIT_NS
 * everyone fetches for himself.
 */
#pragma once
#include "blob/blob_redis_client.h"
#include "blob/blob_redis_queue.h"
#include "storage/digest.h"

#define L3_LEASE_MS      2000u
#define L3_CLAIMS_MAX    16384u
#define L3_LEASE_BUCKETS 1024u /* a power of two */

struct cancel;

struct l3_claim {
	struct list node;        /* in `held`, to be renewed */
	struct list named, done; /* in its bucket until it is released; then in `done` */
	struct oid oid;
	char token[33];
	uint64_t renewed_ns;
	uint64_t after; /* released: removed once the queue has written up to this mark */
};

struct l3_leases {
	struct l3_client *client;
	struct l3_queue *queue;
	struct lock mu;   /* LOCK_RANK_BLOB_TIER */
	struct list held; /* longest not renewed first; guarded by mu, as all below */
	struct list done; /* released, but what was fetched may not be written yet */
	struct list named[L3_LEASE_BUCKETS]; /* those whose fetch is under way */
	unsigned count;
	bool scripts; /* the server runs them */
};

void l3_leases_init(struct l3_leases *l, struct l3_client *client, struct l3_queue *queue);
void l3_leases_fini(struct l3_leases *l);
/* See blob_tier_ops.claim. *ret_waited: another node was waited for. */
int l3_lease_claim(struct l3_leases *l, const struct oid *oid, const struct cancel *cancel,
	uint64_t deadline_ns, struct l3_claim **ret_claim, bool *ret_waited);
/* Without waiting: which of these are for us to fetch, and the leases that we have for that. What
 * is not ours is on its way, or there. ret_claims[i] may be NULL even if ret_ours[i]: no lease was
 * to be had. */
void l3_lease_claim_many(struct l3_leases *l, const struct oid *oids, unsigned count,
	struct l3_claim **ret_claims, bool *ret_ours);
/* The fetch is over; the lease goes when the queue has written what it brought. */
void l3_lease_release(struct l3_leases *l, struct l3_claim *claim);
/* The writer's round: renew what is old, remove what is done. Next time it is due: ret_due_ns. */
void l3_leases_tend(struct l3_leases *l, uint64_t *ret_due_ns);
