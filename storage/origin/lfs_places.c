// SPDX-License-Identifier: Apache-2.0
/* See lfs_places.h. */
#include "origin/lfs_places.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

#define LIFE_NS (60 * NS_PER_S)

struct place {
	struct list node;
	uint8_t sha256[LFS_SHA256_BYTES];
	uint64_t until_ns;
	struct lfs_action action;
};

static uint64_t key_of(const uint8_t sha256[LFS_SHA256_BYTES])
{
	uint64_t key;

	memcpy(&key, sha256, sizeof(key));
	return key;
}

void lfs_places_init(struct lfs_places *p)
{
	*p = (struct lfs_places){.life_ns = LIFE_NS};
	lock_init(&p->lock, LOCK_RANK_LEAF);
	hashmap_init(&p->map);
	list_init(&p->order);
}

static void forget_locked(struct lfs_places *p, struct place *place)
{
	(void)hashmap_remove(&p->map, key_of(place->sha256));
	list_remove(&place->node);
	lfs_action_fini(&place->action);
	free(place);
}

void lfs_places_fini(struct lfs_places *p)
{
	list_for_each_safe (it, &p->order)
		forget_locked(p, list_entry(it, struct place, node));
	hashmap_fini(&p->map);
	lock_fini(&p->lock);
}

/* NULL: none, or it is too old, or another content with the same first bytes. */
static struct place *find_locked(
	struct lfs_places *p, const struct lfs_pointer *object, uint64_t now_ns)
{
	struct place *place = hashmap_find(&p->map, key_of(object->sha256));

	if (!place || now_ns >= place->until_ns ||
		memcmp(place->sha256, object->sha256, LFS_SHA256_BYTES) != 0)
		return NULL;
	return place;
}

void lfs_places_put(struct lfs_places *p, const struct lfs_pointer *object,
	struct lfs_action *action, uint64_t now_ns)
{
	struct place *place = calloc(1, sizeof(*place)), *old;
	LOCK_GUARD(&p->lock);

	old = hashmap_find(&p->map, key_of(object->sha256));
	if (!old && hashmap_count(&p->map) >= LFS_PLACES_MAX)
		old = list_entry(list_first(&p->order), struct place, node);
	if (old)
		forget_locked(p, old);
	if (!place || hashmap_insert(&p->map, key_of(object->sha256), place) < 0) {
		free(place);
		lfs_action_fini(action);
		return;
	}
	memcpy(place->sha256, object->sha256, LFS_SHA256_BYTES);
	place->until_ns = now_ns + p->life_ns;
	place->action = *action;
	*action = (struct lfs_action){0};
	list_push_back(&p->order, &place->node);
}

bool lfs_places_take(struct lfs_places *p, const struct lfs_pointer *object, uint64_t now_ns,
	struct lfs_action *ret_action)
{
	struct place *place;
	LOCK_GUARD(&p->lock);

	place = find_locked(p, object, now_ns);
	if (!place)
		return false;
	*ret_action = place->action;
	place->action = (struct lfs_action){0};
	forget_locked(p, place);
	return true;
}

bool lfs_places_has(struct lfs_places *p, const struct lfs_pointer *object, uint64_t now_ns)
{
	LOCK_GUARD(&p->lock);
	return find_locked(p, object, now_ns) != NULL;
}
