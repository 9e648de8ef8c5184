/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where contents of Git LFS are, as the batch API has told for many at once, until each is fetched.
 * A place serves once, and for a minute at most: servers sign them for a time. Bounded: the oldest
 * are forgotten. Any thread.
 */
#pragma once
#include "base/hashmap.h"
#include "base/list.h"
#include "base/lock.h"
#include "origin/lfs_json.h"

#define LFS_PLACES_MAX 2048u

struct lfs_places {
	struct lock lock;   /* LOCK_RANK_LEAF */
	struct hashmap map; /* first bytes of the SHA-256 → place; guarded by lock, as the next */
	struct list order;  /* the oldest first */
	uint64_t life_ns;   /* const */
};

void lfs_places_init(struct lfs_places *p);
void lfs_places_fini(struct lfs_places *p);
/* Takes the action over, and leaves nothing in it. Without memory it is asked for again. */
void lfs_places_put(struct lfs_places *p, const struct lfs_pointer *object,
	struct lfs_action *action, uint64_t now_ns);
/* Is one known? It is not any more then, and the caller's. */
bool lfs_places_take(struct lfs_places *p, const struct lfs_pointer *object, uint64_t now_ns,
	struct lfs_action *ret_action);
bool lfs_places_has(struct lfs_places *p, const struct lfs_pointer *object, uint64_t now_ns);
