// SPDX-License-Identifier: Apache-2.0
/*
 * Farm-wide single-flight for what an origin downloads beyond what it was asked for. A claim is a
 * lease on each blob; when they have come they are stored like those that are read, which offers
 * them to Redis, and the leases end behind them. If too many claims wait for that the leases end at
 * once: the others then download for themselves.
 *
 *	claim ─► origin downloads ─► give ─► stored here, offered to Redis ─► released
 *	not ours ─► bring: until it is in Redis, or the lease is gone
 *
 * Threads: fetch threads claim and bring; "farm-give" of the lane gives, one claim after the other.
 */
#include "storage_peers.h"

#include "base/cancel.h"
#include "base/clock.h"
#include "base/pool.h"
#include "storage/origin_peers.h"

#include <stdlib.h>

#define GIVE_QUEUE_MAX 64
#define GIVE_LIMIT_NS  (30 * NS_PER_S)
#define GIVE_LATER_MAX 2048 /* blobs, beyond which nothing is fetched ahead */

struct peer_claim {
	struct lane *lane;
	struct blob_claims *claims;
	size_t count;
	struct oid blobs[];
};

static struct peer_claim *claim(void *arg, const struct oid *blobs, size_t count, bool *ret_ours)
{
	struct lane *lane = arg;
	struct peer_claim *c = calloc(1, sizeof(*c) + count * sizeof(c->blobs[0]));

	for (size_t i = 0; i < count; i++)
		ret_ours[i] = true;
	if (!c)
		return NULL;
	c->lane = lane;
	blob_claim_many(lane->st->blobs, blobs, (unsigned)count, ret_ours, &c->claims);
	if (!c->claims) {
		free(c);
		return NULL;
	}
	for (size_t i = 0; i < count; i++)
		if (ret_ours[i])
			c->blobs[c->count++] = blobs[i];
	gauge_add(&lane->given_later, (int64_t)c->count);
	return c;
}

static void claim_end(struct peer_claim *c)
{
	gauge_add(&c->lane->given_later, -(int64_t)c->count);
	(void)blob_claims_release(c->lane->st->blobs, c->claims);
	free(c);
}

static void run_give(void *arg)
{
	struct peer_claim *c = arg;
	struct storage *st = c->lane->st;
	struct blob_source source = origin_blob_source(c->lane->origin);
	uint64_t until_ns = clock_after(&clock_system, GIVE_LIMIT_NS);
	const struct cancel *ends = c->lane->giving_ends;

	source.here = true;
	for (size_t i = 0; i < c->count && cancel_check(ends, until_ns) == 0; i++)
		if (blob_is_local(st->blobs, &c->blobs[i]) ||
			origin_has_blob(c->lane->origin, &c->blobs[i]))
			/* what fails here is found out by who reads it; what someone else is just
			 * storing is waited for */
			(void)blob_fetch(st->blobs, &c->blobs[i], &source, ends, until_ns);
	claim_end(c);
}

static void give(void *arg, struct peer_claim *c)
{
	struct lane *lane = arg;

	if (c && pool_submit(lane->giving, run_give, c, false) < 0)
		claim_end(c);
}

static void bring(void *arg, const struct oid *blobs, size_t count, const struct cancel *cancel,
	uint64_t deadline_ns)
{
	struct lane *lane = arg;

	(void)blob_fetch_shared(lane->st->blobs, blobs, (unsigned)count, cancel, deadline_ns);
}

static bool busy(void *arg)
{
	const struct lane *lane = arg;

	return gauge_get(&lane->given_later) > GIVE_LATER_MAX;
}

static bool local_size(void *arg, const struct oid *blob, uint64_t *ret_size)
{
	struct lane *lane = arg;

	return blob_is_local(lane->st->blobs, blob) &&
	       blob_local_size(lane->st->blobs, blob, ret_size) == 0;
}

void peers_start(struct lane *lane)
{
	const struct pool_config config = {"farm-give", 1, GIVE_QUEUE_MAX};
	const struct origin_peers peers = {.arg = lane,
		.claim = claim,
		.give = give,
		.busy = busy,
		.bring = bring,
		.size = local_size};

	if (!lane->st->redis || !lane->origin || (origin_caps(lane->origin) & ORIGIN_CAP_LOCAL))
		return;
	lane->giving_ends = cancel_new();
	if (lane->giving_ends && pool_new(&lane->giving, &config) == 0)
		origin_set_peers(lane->origin, &peers);
}

void peers_stop(struct lane *lane)
{
	if (lane->giving_ends)
		cancel_fire(lane->giving_ends);
	lane->giving = pool_free(lane->giving);
	lane->giving_ends = cancel_unref(lane->giving_ends);
}
