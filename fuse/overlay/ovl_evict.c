/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of a node. Whoever makes pins or lookups 0 while the other is 0 claims the node with a
 * pin of its own, under the shard's lock, and hands it over: FORGET directly, unpin through
 * ws->evict, because it may be called under any lock. Here no lock is held, so the parent's can be
 * taken: under it a node that is still unwanted gets its id written into the upper (a mark), leaves
 * the table, and the name's pointer to it is cleared. A lookup that comes in between finds either
 * the node or the mark: the id stays the same.
 */
#include <errno.h>
#include <stdlib.h>

#include "overlay/ovl_internal.h"
#include "overlay/ovl_state.h"

static bool still_unwanted(struct ovl_node *n)
{
	/* acquire: all that others did to it before they unpinned */
	return atomic_load_explicit(&n->pins, memory_order_acquire) == 1 &&
	       ovl_refs_get(n->ws, n->id & OVL_LOCAL_MASK) == 0;
}

/* Whether only our claim keeps the node; then it is out of the table. Otherwise the claim is given
 * back. */
static bool leave_table(struct ovl_node *n)
{
	struct ovl_ws *ws = n->ws;
	struct ovl_shard *shard = ovl_shard_of(ws, n->id);

	LOCK_GUARD(&shard->lock);
	while (!still_unwanted(n)) {
		if (atomic_fetch_sub_explicit(&n->pins, 1, memory_order_acq_rel) > 1 ||
			ovl_refs_get(ws, n->id & OVL_LOCAL_MASK) > 0)
			return false;
		/* whoever else had it let go in between, and left it to us */
		atomic_fetch_add_explicit(&n->pins, 1, memory_order_relaxed);
	}
	(void)hashmap_remove(&shard->map, n->id);
	return true;
}

/* Without a mark the object gets another id when it is next seen; that is no reason to keep it in
 * memory. */
static void persist(struct ovl_node *n)
{
	if ((atomic_load(&n->flags) & (OVL_UPPER | OVL_ORPHAN | OVL_NODE_XATTR)) == OVL_UPPER &&
		n->name)
		(void)ovl_node_persist_id(n);
}

uint64_t ovl_nodes_freed(const struct overlay *o)
{
	return atomic_load_explicit(&o->nodes_freed, memory_order_relaxed); /* a statistic */
}

static void free_node(struct ovl_node *n)
{
	atomic_fetch_add_explicit(
		&n->ws->overlay->nodes_freed, 1, memory_order_relaxed); /* a statistic */
	ovl_shrink_gone(&n->ws->overlay->shrink);
	ovl_node_free(n);
}

void ovl_child_forget_node(struct ovl_node *parent, const struct ovl_node *n)
{
	struct ovl_child *child =
		n->name ? ovl_names_find(&parent->dir->names, n->name, n->name_len) : NULL;

	if (child && child->node == n)
		child->node = NULL;
}

void ovl_node_end(struct ovl_node *n)
{
	struct ovl_ws *ws = n->ws;

	ovl_fd_drop(n);
	if (atomic_load(&n->flags) & OVL_ORPHAN)
		ovl_orphan_reap(n);
	if (atomic_load(&n->journaled))
		ovl_journal_drop(ws, n->id);
	atomic_fetch_sub_explicit(&ws->node_count, 1, memory_order_relaxed); /* a statistic */
	if (n->dir)
		atomic_fetch_sub_explicit(
			&ws->dir_count, 1, memory_order_relaxed); /* a statistic */
	free_node(n);
}

static void evict_claimed(struct ovl_node *n)
{
	struct ovl_node *parent;
	bool gone;

	parent = ovl_parent_lock(n);
	if (still_unwanted(n))
		persist(n);
	gone = leave_table(n);
	if (gone && parent)
		ovl_child_forget_node(parent, n);
	ovl_parent_unlock(parent);
	if (gone)
		ovl_node_end(n);
}

/* The kernel's count of this id has become 0. */
static void evict_id(struct ovl_ws *ws, uint64_t id)
{
	struct ovl_shard *shard = ovl_shard_of(ws, id);
	struct ovl_node *n;

	lock_acquire(&shard->lock);
	n = hashmap_find(&shard->map, id);
	if (n && (n == ws->root || atomic_load(&n->pins) > 0))
		n = NULL; /* the last unpin will see the count */
	if (n)
		ovl_pin_raw(n);
	lock_release(&shard->lock);
	if (n)
		evict_claimed(n);
	ovl_evict_pending(ws);
}

void ovl_evict_pending(struct ovl_ws *ws)
{
	struct ovl_node *n, *next;

	/* Freeing a node may let go of its parent, which then stands in the list anew. */
	while (atomic_load_explicit(&ws->evict, memory_order_relaxed)) {
		/* acquire: pairs with the release of the push */
		n = atomic_exchange_explicit(&ws->evict, NULL, memory_order_acquire);
		for (; n; n = next) {
			next = n->evict_next;
			evict_claimed(n);
		}
	}
}

static void each_node(struct ovl_ws *ws, void (*fn)(struct ovl_node *n))
{
	for (unsigned i = 0; i < OVL_TABLE_SHARDS; i++)
		for (struct hashmap_cursor it = {0}; hashmap_next(&ws->shard[i].map, &it);)
			fn(it.value);
}

static void settle(struct ovl_node *n)
{
	persist(n);
	if (atomic_load(&n->flags) & OVL_ORPHAN)
		ovl_orphan_reap(n);
}

static void end(struct ovl_node *n)
{
	ovl_fd_drop(n);
	n->parent = NULL; /* goes too; pins mean nothing any more */
	free_node(n);
}

void ovl_evict_all(struct ovl_ws *ws, bool clean)
{
	/* While all parents are there: marks are reached through their descriptors. What waits in
	 * ws->evict is in the table too. */
	if (clean)
		each_node(ws, settle);
	each_node(ws, end);
	for (unsigned i = 0; i < OVL_TABLE_SHARDS; i++)
		hashmap_fini(&ws->shard[i].map);
	ws->root = NULL;
}

bool ovl_quota_returns(struct overlay *o, uint64_t id)
{
	struct ovl_ws *ws = ovl_ws_of(o, id);
	bool returns;

	if (!ws)
		return false;
	ovl_evict_pending(ws); /* what waits for nobody but us */
	/* acquire: an orphan is given back before it is counted off */
	returns = atomic_load_explicit(&ws->orphan_count, memory_order_acquire) != 0;
	ovl_ws_unref(ws);
	return returns;
}

void ovl_forget(struct overlay *o, uint64_t id, uint64_t count)
{
	struct ovl_ws *ws = ovl_ws_of(o, id);

	if (!ws)
		return;
	if (ovl_refs_sub(ws, id & OVL_LOCAL_MASK, count) == 0)
		evict_id(ws, id);
	ovl_ws_unref(ws);
}
