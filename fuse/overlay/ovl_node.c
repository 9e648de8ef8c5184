/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of nodes: what has state of its own, by id. A node is there while the kernel knows its
 * id or a call or a child pins it. The table's shards guard the step of `pins` between 0 and 1, so
 * that a node is never found and freed at once; while pins stay above 1, pinning is a plain atomic.
 * An id that has no node but lies in a block is an untouched lower entry.
 *
 * Threads: any. Nothing here blocks.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "overlay/ovl_internal.h"
#include "overlay/ovl_left.h"
#include "overlay/ovl_state.h"

struct ovl_shard *ovl_shard_of(struct ovl_ws *ws, uint64_t id)
{
	return &ws->shard[id * 0x9e3779b97f4a7c15ull >> 60];
}
_Static_assert(OVL_TABLE_SHARDS == 16, "four bits of the hash");

void ovl_pin_raw(struct ovl_node *n)
{
	/* relaxed: the caller has a pin, or a lock that keeps the node */
	atomic_fetch_add_explicit(&n->pins, 1, memory_order_relaxed);
}

struct ovl_node *ovl_table_pin(struct ovl_ws *ws, uint64_t id)
{
	struct ovl_shard *shard = ovl_shard_of(ws, id);
	struct ovl_node *n;

	LOCK_GUARD(&shard->lock);
	n = hashmap_find(&shard->map, id);
	if (n) {
		ovl_pin_raw(n);
		atomic_store_explicit(&n->used, true, memory_order_relaxed); /* a hint */
	}
	return n;
}

static void push_evict(struct ovl_ws *ws, struct ovl_node *n)
{
	struct ovl_node *head = atomic_load_explicit(&ws->evict, memory_order_relaxed);

	do
		n->evict_next = head;
	/* release: who takes the list sees evict_next */
	while (!atomic_compare_exchange_weak_explicit(
		&ws->evict, &head, n, memory_order_release, memory_order_relaxed));
}

void ovl_unpin_raw(struct ovl_node *n)
{
	uint32_t pins = atomic_load_explicit(&n->pins, memory_order_relaxed);
	struct ovl_ws *ws = n->ws;
	struct ovl_shard *shard;

	while (pins > 1) /* release: what we did to the node is done before whoever frees it */
		if (atomic_compare_exchange_weak_explicit(
			    &n->pins, &pins, pins - 1, memory_order_acq_rel, memory_order_relaxed))
			return;
	shard = ovl_shard_of(ws, n->id);
	LOCK_GUARD(&shard->lock);
	if (atomic_fetch_sub_explicit(&n->pins, 1, memory_order_acq_rel) > 1 || n == ws->root)
		return;
	/* FORGET lowers the count first and looks at the pins under this lock after, so one of us
	 * sees both at 0. */
	if (ovl_refs_get(ws, n->id & OVL_LOCAL_MASK) == 0) {
		/* The list's own. Added, not set: whoever has the directory locked may pin the node
		 * by its name just now. */
		atomic_fetch_add_explicit(&n->pins, 1, memory_order_relaxed);
		push_evict(ws, n);
	}
}

struct ovl_node *ovl_node_pin(struct ovl_node *n)
{
	ref_get(&n->ws->ref);
	ovl_pin_raw(n);
	return n;
}

struct ovl_node *ovl_node_unpin(struct ovl_node *n)
{
	struct ovl_ws *ws;

	if (!n)
		return NULL;
	ws = n->ws;
	ovl_unpin_raw(n);
	ovl_ws_unref(ws);
	return NULL;
}

static struct ovl_dir *dir_new(const struct oid *lower_tree)
{
	struct ovl_dir *dir = calloc(1, sizeof(*dir));

	if (!dir)
		return NULL;
	lock_init(&dir->lock, LOCK_RANK_OVL_DIR);
	ovl_names_init(&dir->names);
	if (lower_tree && !oid_is_none(lower_tree)) {
		dir->has_lower = true;
		dir->lower_tree = *lower_tree;
	}
	return dir;
}

static struct ovl_node *node_new(struct ovl_ws *ws, const struct ovl_node_init *init)
{
	struct ovl_node *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	n->ws = ws;
	n->id = init->id;
	n->type = init->type & S_IFMT;
	n->fd = -1;
	n->lower_size = init->lower_size;
	n->lower_mode = init->lower_mode;
	if (init->lower_blob)
		n->lower_blob = *init->lower_blob;
	atomic_init(&n->pins, 1);
	atomic_init(&n->flags, init->flags);
	atomic_init(&n->upper_ino, init->upper_ino);
	lock_init(&n->lock, LOCK_RANK_OVL_NODE);
	list_init(&n->fd_lru);
	if (init->upper_stat) {
		n->charged_bytes = ovl_charge_of(init->upper_stat);
		ovl_attr_set_locked(n, init->upper_stat); /* nobody else has it yet */
	}
	if (init->parent) {
		n->parent = init->parent;
		ovl_pin_raw(n->parent);
	}
	if (S_ISDIR(n->type))
		n->dir = dir_new(init->lower_tree);
	if (n->dir && !(init->flags & OVL_DEAD) && ovl_left_waits(ws, n->id)) {
		n->dir->awaited = true;
		ovl_pin_raw(n);
	}
	if (init->name)
		n->name = strndup(init->name, init->name_len);
	n->name_len = init->name ? init->name_len : 0;
	if ((init->name && !n->name) || (S_ISDIR(n->type) && !n->dir)) {
		ovl_node_free(n);
		return NULL;
	}
	return n;
}

void ovl_node_free(struct ovl_node *n)
{
	if (n->parent)
		ovl_unpin_raw(n->parent);
	if (n->dir) {
		ovl_names_fini(&n->dir->names);
		lock_fini(&n->dir->lock);
		free(n->dir);
	}
	lock_fini(&n->lock);
	free(n->digests);
	free(n->name);
	free(n);
}

static int insert(struct ovl_ws *ws, struct ovl_node *n, struct ovl_node **ret_there)
{
	struct ovl_shard *shard = ovl_shard_of(ws, n->id);
	int r;

	LOCK_GUARD(&shard->lock);
	r = hashmap_insert(&shard->map, n->id, n);
	if (r == -EEXIST) {
		*ret_there = hashmap_find(&shard->map, n->id);
		ovl_pin_raw(*ret_there);
	}
	return r;
}

int ovl_node_add(struct ovl_ws *ws, const struct ovl_node_init *init, struct ovl_node **ret_node,
	bool *ret_made)
{
	struct ovl_node *there = ovl_table_pin(ws, init->id), *n = NULL;
	int r = 0;

	*ret_made = false;
	if (!there) {
		n = node_new(ws, init);
		if (!n)
			return -ENOMEM;
		r = insert(ws, n, &there);
		if (r)
			ovl_node_free(n);
		else
			*ret_made = true;
	}
	if (r && r != -EEXIST)
		return r;
	if (*ret_made) {
		ovl_shrink_added(&ws->overlay->shrink);
		atomic_fetch_add_explicit(
			&ws->node_count, 1, memory_order_relaxed); /* a statistic */
		if (n->dir)
			atomic_fetch_add_explicit(
				&ws->dir_count, 1, memory_order_relaxed); /* a statistic */
	}
	*ret_node = *ret_made ? n : there;
	return 0;
}

static void fill_from_block(struct ovl_obj *obj, const struct ovl_block *block)
{
	obj->dir_id = block->dir_id;
	obj->tree = block->tree;
	obj->idx = ovl_block_idx(block, obj->id);
}

int ovl_obj_get(struct overlay *o, struct ovl_req *rq, uint64_t id, struct ovl_obj *ret_obj)
{
	struct ovl_ws *ws = ovl_ws_of(o, id);
	struct ovl_obj obj = {.ws = ws, .id = id};
	struct ovl_block block;

	if (!ws)
		return -ESTALE;
	ovl_evict_pending(ws);
	obj.node = ovl_table_pin(ws, id);
	if (!obj.node && ovl_left_has(ws, id)) {
		int r = ovl_left_bring(ws, rq, id);

		if (r) {
			ovl_ws_unref(ws);
			return r;
		}
		obj.node = ovl_table_pin(ws, id);
	}
	if (!obj.node || (!obj.node->dir && !(atomic_load(&obj.node->flags) & OVL_UPPER))) {
		if (ovl_block_of(ws, id & OVL_LOCAL_MASK, &block)) {
			fill_from_block(&obj, &block);
		} else if (!obj.node) {
			ovl_ws_unref(ws);
			return -ESTALE;
		}
	}
	*ret_obj = obj;
	return 0;
}

void ovl_obj_put(struct ovl_obj *obj)
{
	if (obj->node)
		ovl_unpin_raw(obj->node);
	if (obj->ws)
		ovl_ws_unref(obj->ws);
	*obj = (struct ovl_obj){0};
}
