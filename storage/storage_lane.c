// SPDX-License-Identifier: Apache-2.0
/*
 * Lanes: each origin has its own threads, in two pools. An origin that hangs keeps its own threads
 * busy and no one else's, and prefetches, however many, never hold a thread that a waiting job
 * needs. Threads start on first need.
 */
#include "storage_internal.h"

#include "base/pool.h"

#include <errno.h>
#include <stdlib.h>

#define FOREGROUND_QUEUE_MAX 8192
#define BACKGROUND_QUEUE_MAX 4096

int lane_new(struct lane **ret_lane, struct storage *st, struct origin *origin)
{
	const struct pool_config foreground = {
		.name = "fetch",
		.threads_max = st->fetch_threads,
		.queue_max = FOREGROUND_QUEUE_MAX,
	};
	const struct pool_config background = {
		.name = "prefetch",
		.threads_max = st->fetch_threads > 1 ? st->fetch_threads / 2 : 1,
		.queue_max = BACKGROUND_QUEUE_MAX,
	};
	struct lane *lane = calloc(1, sizeof(*lane));
	int r;

	if (!lane)
		return -ENOMEM;
	list_init(&lane->node);
	r = pool_new(&lane->foreground, &foreground);
	if (r == 0)
		r = pool_new(&lane->background, &background);
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
	pool_free(lane->foreground);
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
