// SPDX-License-Identifier: Apache-2.0
/*
 * Lanes: each origin has its own threads, in pools: directories, blobs, digests, prefetches. An
 * origin that hangs keeps its own threads busy and no one else's; large blobs never hold up a
 * directory, for which the kernel holds locks up to the root; and prefetches, however many, never
 * hold a thread that a waiting job needs. Threads start on first need.
 */
#include "storage_internal.h"

#include "base/pool.h"

#include <errno.h>
#include <stdlib.h>

#define FOREGROUND_QUEUE_MAX 8192
#define BACKGROUND_QUEUE_MAX 4096

static int start_pools(struct lane *lane, unsigned threads)
{
	const struct pool_config trees = {"fetch-tree", threads, FOREGROUND_QUEUE_MAX};
	const struct pool_config blobs = {"fetch-blob", threads, FOREGROUND_QUEUE_MAX};
	const struct pool_config digests = {"digest", threads, FOREGROUND_QUEUE_MAX};
	const struct pool_config background = {
		"prefetch", threads > 1 ? threads / 2 : 1, BACKGROUND_QUEUE_MAX};
	int r = pool_new(&lane->foreground[FETCH_TREE], &trees);

	if (r == 0)
		r = pool_new(&lane->foreground[FETCH_BLOB], &blobs);
	if (r == 0)
		r = pool_new(&lane->foreground[FETCH_DIGESTS], &digests);
	if (r == 0)
		r = pool_new(&lane->background, &background);
	return r;
}

int lane_new(struct lane **ret_lane, struct storage *st, struct origin *origin)
{
	struct lane *lane = calloc(1, sizeof(*lane));
	int r;

	if (!lane)
		return -ENOMEM;
	list_init(&lane->node);
	r = start_pools(lane, st->fetch_threads);
	if (r < 0) {
		lane_free(lane);
		return r;
	}
	lane->origin = origin ? origin_ref(origin) : NULL;
	*ret_lane = lane;
	return 0;
}

struct lane *lane_free(struct lane *lane)
{
	if (!lane)
		return NULL;
	for (unsigned kind = 0; kind < FETCH_KIND_COUNT; kind++)
		pool_free(lane->foreground[kind]);
	pool_free(lane->background);
	if (lane->origin)
		origin_unref(lane->origin);
	free(lane);
	return NULL;
}

/* A handful of origins: a walk is cheaper than a table. */
struct lane *lane_of_locked(struct storage *st, const struct origin *origin)
{
	lock_assert_held(&st->mu);
	list_for_each (it, &st->lanes) {
		struct lane *lane = list_entry(it, struct lane, node);

		if (lane->origin == origin)
			return lane;
	}
	return st->stray;
}
