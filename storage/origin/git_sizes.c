/* SPDX-License-Identifier: Apache-2.0 */
/* See git_sizes.h. */
#include "origin/git_sizes.h"

#include "base/io.h"

#define SIZES_MAX 262144u

int gitsizes_init(struct gitsizes *s)
{
	int r;

	lock_init(&s->lock, LOCK_RANK_LEAF);
	hashmap_init(&s->map);
	r = io_random(s->key, sizeof(s->key));
	return r < 0 ? r : digest_object(DIGEST_SHA1, OBJECT_BLOB, "", 0, &s->empty);
}

void gitsizes_fini(struct gitsizes *s)
{
	hashmap_fini(&s->map);
	lock_fini(&s->lock);
}

void gitsizes_put(struct gitsizes *s, const struct oid *blob, uint64_t size)
{
	uint64_t key = io_hash(blob->bytes, blob->len, s->key);
	LOCK_GUARD(&s->lock);

	if (size >= UINTPTR_MAX || (size == 0) != oid_equal(blob, &s->empty))
		return;
	if (hashmap_count(&s->map) >= SIZES_MAX) {
		hashmap_fini(&s->map);
		hashmap_init(&s->map);
	}
	(void)hashmap_remove(&s->map, key); /* what was told before: the last one counts */
	/* without memory it is asked for again */
	(void)hashmap_insert(&s->map, key, (void *)(uintptr_t)(size + 1));
}

bool gitsizes_get(struct gitsizes *s, const struct oid *blob, uint64_t *ret_size)
{
	uint64_t key = io_hash(blob->bytes, blob->len, s->key);
	void *value;
	LOCK_GUARD(&s->lock);

	value = hashmap_find(&s->map, key);
	if (!value)
		return false;
	*ret_size = (uintptr_t)value - 1;
	return true;
}
