/* SPDX-License-Identifier: Apache-2.0 */
/* See git_order.h. */
#include "origin/git_order.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW_FIRST 16u
#define GROWTH       4u
#define WINDOW_MAX   2048u
#define GAP          256u /* places that a reader in order may skip */

static uint64_t key_of(const struct oid *oid)
{
	uint64_t key;

	memcpy(&key, oid->bytes, sizeof(key));
	return key;
}

int gitorder_init(struct gitorder *o)
{
	*o = (struct gitorder){.ring = calloc(GITORDER_MAX, sizeof(struct oid))};
	hashmap_init(&o->places);
	return o->ring ? 0 : -ENOMEM;
}

void gitorder_fini(struct gitorder *o)
{
	hashmap_fini(&o->places);
	free(o->ring);
	o->ring = NULL;
}

/* Its number, or `count`. */
static uint64_t find(const struct gitorder *o, const struct oid *blob)
{
	uintptr_t place = (uintptr_t)hashmap_find(&o->places, key_of(blob));

	if (place == 0 || !oid_equal(&o->ring[(place - 1) % GITORDER_MAX], blob))
		return o->count;
	return place - 1;
}

void gitorder_listed(struct gitorder *o, const struct oid *blob)
{
	struct oid *slot = &o->ring[o->count % GITORDER_MAX];

	if (find(o, blob) < o->count)
		return;
	if (o->count >= GITORDER_MAX)
		(void)hashmap_remove(&o->places, key_of(slot));
	/* Without memory, or beside another that begins alike: it is not found, and read alone. */
	(void)hashmap_insert(&o->places, key_of(blob), (void *)(uintptr_t)(o->count + 1));
	*slot = *blob;
	o->count++;
}

size_t gitorder_missed(struct gitorder *o, const struct oid *blob, struct oid *ret_next, size_t cap)
{
	uint64_t at = find(o, blob), end;
	size_t count = 0;

	if (at == o->count)
		return 0;
	if (o->last && at + 1 >= o->last && at < o->last + GAP)
		o->window = o->window ? o->window * GROWTH : WINDOW_FIRST;
	else
		o->window = 0;
	if (o->window > WINDOW_MAX)
		o->window = WINDOW_MAX;
	end = at + 1 + o->window < o->count ? at + 1 + o->window : o->count;
	for (uint64_t i = at + 1; i < end && count < cap; i++)
		ret_next[count++] = o->ring[i % GITORDER_MAX];
	o->last = at + 1 + count;
	return count;
}
