/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocks: which ids belong to the entries of which lower directory. A block is made when a
 * directory is entered for the first time and stays for the life of the workspace, across restarts
 * (BLOCK record), so that its ids always mean the same entries.
 *
 * Blocks are appended in order of their ids to an array that never moves (segments that double in
 * size), and the count is published after the block: whoever resolves an id searches without a
 * lock. The other way, from directory to block, is a table under `lock` (rank OVL_TABLE): it is
 * needed only when a directory is entered.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "overlay/ovl_internal.h"
#include "overlay/ovl_state.h"

#define FIRST_SEGMENT 16u
#define SEGMENTS      24u /* 16 * (2^24 - 1) blocks */

struct ovl_blocks {
	struct lock lock;
	struct hashmap by_dir;  /* directory's id → its newest block */
	_Atomic uint32_t count; /* changed under lock */
	struct ovl_block
		*segment[SEGMENTS]; /* an element is set before the first count that needs it */
};

int ovl_blocks_open(struct ovl_ws *ws)
{
	ws->blocks = calloc(1, sizeof(*ws->blocks));
	if (!ws->blocks)
		return -ENOMEM;
	lock_init(&ws->blocks->lock, LOCK_RANK_OVL_TABLE);
	hashmap_init(&ws->blocks->by_dir);
	return 0;
}

void ovl_blocks_close(struct ovl_ws *ws)
{
	struct ovl_blocks *b = ws->blocks;

	if (!b)
		return;
	for (unsigned i = 0; i < SEGMENTS; i++)
		free(b->segment[i]);
	hashmap_fini(&b->by_dir);
	lock_fini(&b->lock);
	free(b);
	ws->blocks = NULL;
}

static unsigned segment_of(uint32_t idx, uint32_t *ret_at)
{
	unsigned segment = 31u - (unsigned)__builtin_clz(idx / FIRST_SEGMENT + 1);

	*ret_at = idx - FIRST_SEGMENT * ((1u << segment) - 1);
	return segment;
}

static struct ovl_block *block_at(const struct ovl_blocks *b, uint32_t idx)
{
	uint32_t at;
	unsigned segment = segment_of(idx, &at);

	return &b->segment[segment][at];
}

bool ovl_block_of(const struct ovl_ws *ws, uint64_t local, struct ovl_block *ret_block)
{
	const struct ovl_blocks *b = ws->blocks;
	/* acquire: pairs with the release in append, the blocks below the count are complete */
	uint32_t lo = 0, hi = atomic_load_explicit(&b->count, memory_order_acquire);
	const struct ovl_block *found;

	while (lo < hi) { /* the last block whose base is <= local is at lo - 1 */
		uint32_t mid = lo + (hi - lo) / 2;

		if (block_at(b, mid)->base <= local)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (!lo)
		return false;
	found = block_at(b, lo - 1);
	if (local - found->base >= found->count)
		return false;
	*ret_block = *found;
	return true;
}

static int append_locked(struct ovl_blocks *b, const struct ovl_block *block)
{
	uint32_t count =
		atomic_load_explicit(&b->count, memory_order_relaxed); /* changes under lock only */
	uint32_t at;
	unsigned segment = segment_of(count, &at);

	if (segment >= SEGMENTS)
		return -ENOSPC;
	if (!b->segment[segment])
		b->segment[segment] = calloc((size_t)FIRST_SEGMENT << segment, sizeof(*block));
	if (!b->segment[segment])
		return -ENOMEM;
	b->segment[segment][at] = *block;
	if (!block->part) {
		hashmap_remove(&b->by_dir, block->dir_id); /* it got another tree */
		if (hashmap_insert(&b->by_dir, block->dir_id, &b->segment[segment][at]) < 0)
			return -ENOMEM;
	}
	/* release: see ovl_block_of */
	atomic_store_explicit(&b->count, count + 1, memory_order_release);
	return 0;
}

int ovl_block_get(struct ovl_ws *ws, uint64_t dir_id, const struct oid *tree, uint32_t count,
	uint64_t *ret_base)
{
	struct ovl_blocks *b = ws->blocks;
	struct ovl_block block = {.count = count,
		.tree = *tree,
		.dir_id = dir_id,
		.time_ns = ws->generation ? clock_from_timespec(&ws->lower_time) : 0};
	const struct ovl_block *old;
	int r;

	LOCK_GUARD(&b->lock);
	old = hashmap_find(&b->by_dir, dir_id);
	if (old && oid_equal(&old->tree, tree) && old->count == count) {
		*ret_base = old->base;
		return 0;
	}
	/* Ids and the place in the array are taken under one lock: the array stays sorted. */
	r = ovl_ids_alloc(ws, count, &block.base);
	if (!r)
		r = ovl_journal_block(ws, &block);
	if (!r)
		r = append_locked(b, &block);
	if (!r)
		*ret_base = block.base;
	return r;
}

int ovl_block_add_part(struct ovl_ws *ws, const struct ovl_block *block)
{
	int r;

	LOCK_GUARD(&ws->blocks->lock);
	r = ovl_journal_block(ws, block);
	return r ? r : append_locked(ws->blocks, block);
}

bool ovl_block_newest(struct ovl_ws *ws, uint64_t dir_id, struct ovl_block *ret_block)
{
	const struct ovl_block *found;

	LOCK_GUARD(&ws->blocks->lock);
	found = hashmap_find(&ws->blocks->by_dir, dir_id);
	if (found)
		*ret_block = *found;
	return found != NULL;
}

int ovl_blocks_restore(struct ovl_ws *ws, const struct ovl_block *block)
{
	struct ovl_blocks *b = ws->blocks;
	uint32_t count;

	LOCK_GUARD(&b->lock);
	count = atomic_load_explicit(&b->count, memory_order_relaxed); /* changes under lock only */
	if (!block->count || !ovl_ids_known(ws, block->base) ||
		!ovl_ids_known(ws, block->base + block->count - 1))
		return -EBADMSG;
	if (count) {
		const struct ovl_block *last = block_at(b, count - 1);

		if (block->base < last->base + last->count)
			return -EBADMSG;
	}
	return append_locked(b, block);
}
