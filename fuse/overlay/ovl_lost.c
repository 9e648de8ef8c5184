/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which removed files are still kept for somebody. A process that is killed takes the FORGETs with
 * it that it had read and not worked off, so the kernel's count of an object may stay too high for
 * ever. That costs nothing but a count, except for a file without a name: it would take room until
 * its workspace goes. So whoever takes over asks the kernel about these (session/adopt.c).
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "overlay/ovl_internal.h"
#include "overlay/ovl_state.h"

struct found {
	uint64_t *ids;
	size_t count, cap;
};

static int note(struct found *f, uint64_t id)
{
	if (f->count == f->cap) {
		size_t cap = f->cap ? 2 * f->cap : 64;
		uint64_t *grown = reallocarray(f->ids, cap, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		f->ids = grown;
		f->cap = cap;
	}
	f->ids[f->count++] = id;
	return 0;
}

static int orphans_of(struct ovl_ws *ws, struct found *f)
{
	const unsigned both = OVL_UPPER | OVL_ORPHAN;
	int r = 0;

	for (unsigned i = 0; i < OVL_TABLE_SHARDS && r == 0; i++) {
		LOCK_GUARD(&ws->shard[i].lock);
		for (struct hashmap_cursor it = {0};
			r == 0 && hashmap_next(&ws->shard[i].map, &it);) {
			const struct ovl_node *n = it.value;

			if ((atomic_load(&n->flags) & both) == both && !S_ISDIR(n->type))
				r = note(f, n->id);
		}
	}
	return r;
}

int ovl_orphans(struct overlay *o, uint64_t **ret_ids, size_t *ret_count)
{
	struct found f = {0};
	int r = 0;

	RWLOCK_READ_GUARD(&o->lock);
	list_for_each (it, &o->workspaces) {
		struct ovl_ws *ws = list_entry(it, struct ovl_ws, link);

		/* relaxed: nobody changes it yet, see the header */
		if (r == 0 && atomic_load_explicit(&ws->orphan_count, memory_order_relaxed))
			r = orphans_of(ws, &f);
	}
	if (r < 0) {
		free(f.ids);
		return r;
	}
	*ret_ids = f.ids;
	*ret_count = f.count;
	return 0;
}
