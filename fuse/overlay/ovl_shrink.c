/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A budget for the table of nodes. The kernel may know more directories than we want to remember:
 * one of the lower alone can be made again from its id (its block says what it is an entry of, and
 * ovl_dir_enter does it), so it may leave the table while the kernel knows it, as after a takeover.
 * Nothing else may: an upper object's place is known by its node alone.
 *
 * Second chance, a little with each call that enters a directory: a hand goes round all tables of
 * the overlay; a node that was used since it last came by is spared once. A directory that has
 * nodes below it is pinned, so a tree goes leaves first. If a whole round finds nothing to be given
 * up, the rest is upper, and it is tried again when there are more.
 *
 * Threads: any that serves requests, one at a time; who finds another at it goes on. No lock is
 * held by the caller. Blocks for the lock of a directory, as every call does.
 */
#include "overlay/ovl_shrink.h"

#include "overlay/ovl_state.h"

#define LOOKS_AT_ONCE 128u /* nodes looked at in one call */
#define NODES_AT_ONCE 16u  /* given up in one call */

void ovl_shrink_init(struct ovl_shrink *s, uint64_t nodes_max)
{
	*s = (struct ovl_shrink){.nodes_max = nodes_max};
	atomic_init(&s->above, nodes_max);
}

/* relaxed, here and below: numbers that are compared, nothing depends on their order */
void ovl_shrink_added(struct ovl_shrink *s)
{
	atomic_fetch_add_explicit(&s->nodes, 1, memory_order_relaxed);
}

void ovl_shrink_gone(struct ovl_shrink *s)
{
	if (atomic_fetch_sub_explicit(&s->nodes, 1, memory_order_relaxed) == s->nodes_max)
		atomic_store_explicit(&s->above, s->nodes_max, memory_order_relaxed);
}

/* Only the lower knows of it, and nothing of it is ours. */
static bool can_be_made_again(const struct ovl_node *n)
{
	const unsigned own = OVL_UPPER | OVL_ORPHAN | OVL_DEAD | OVL_COPYING;

	return n->dir && n->parent && !(atomic_load(&n->flags) & own) &&
	       !atomic_load(&n->journaled);
}

/* ---- one ---- */

/* Whether nobody but our claim has it; then it is out of the table. */
static bool leave_table(struct ovl_node *n)
{
	struct ovl_shard *shard = ovl_shard_of(n->ws, n->id);

	LOCK_GUARD(&shard->lock);
	/* acquire: all that others did to it before they unpinned */
	if (atomic_load_explicit(&n->pins, memory_order_acquire) != 1 || !can_be_made_again(n))
		return false;
	(void)hashmap_remove(&shard->map, n->id);
	return true;
}

/* `n` is claimed with a pin. */
static bool give_up(struct ovl_node *n)
{
	struct ovl_node *parent = ovl_parent_lock(n);
	bool gone = parent && leave_table(n);

	if (gone)
		ovl_child_forget_node(parent, n);
	ovl_parent_unlock(parent);
	if (gone)
		ovl_node_end(n);
	else
		ovl_unpin_raw(n);
	return gone;
}

/* ---- a part of the round ---- */

struct part {
	struct ovl_node *claimed[NODES_AT_ONCE];
	unsigned count, left; /* nodes that were claimed; that may still be looked at */
	unsigned given_up;
};

static void look_at(struct part *p, struct ovl_node *n)
{
	/* Pins go from 0 to 1 under this lock, or under the parent's, which give_up takes. */
	if (!can_be_made_again(n) || atomic_load_explicit(&n->pins, memory_order_relaxed) > 0)
		return;
	if (atomic_exchange_explicit(&n->used, false, memory_order_relaxed)) /* a hint */
		return;
	ovl_pin_raw(n);
	p->claimed[p->count++] = n;
}

/* From `*at` on; false: the end was reached. */
static bool look_through(struct part *p, struct ovl_shard *shard, size_t *at)
{
	struct hashmap_cursor it = {.index = *at};
	bool more = true;

	p->left--; /* many tables are as good as empty */
	LOCK_GUARD(&shard->lock);
	while (p->left && p->count < NODES_AT_ONCE && (more = hashmap_next(&shard->map, &it))) {
		p->left--;
		look_at(p, it.value);
	}
	*at = it.index;
	return more;
}

/* The workspace whose turn it is or, if it has gone, the next one, referenced; NULL: none behind
 * it. */
static struct ovl_ws *ws_from(struct overlay *o, uint64_t serial)
{
	struct ovl_ws *ws;

	RWLOCK_READ_GUARD(&o->lock);
	ws = hashmap_find(&o->by_serial, serial);
	for (struct list *it = o->workspaces.next; !ws && it != &o->workspaces; it = it->next)
		if (list_entry(it, struct ovl_ws, link)->serial > serial)
			ws = list_entry(it, struct ovl_ws, link);
	if (ws)
		ref_get(&ws->ref);
	return ws;
}

/* All workspaces were seen. Twice without finding anything: there is nothing. */
static void end_round(struct ovl_shrink *s)
{
	uint64_t nodes = atomic_load_explicit(&s->nodes, memory_order_relaxed);

	s->serial = 0;
	s->barren = s->found ? 0 : s->barren + 1;
	s->found = 0;
	if (s->barren == 2)
		atomic_store_explicit(&s->above, nodes + nodes / 8, memory_order_relaxed);
	if (s->barren == 2)
		s->barren = 0;
}

static void move_hand(struct ovl_shrink *s)
{
	s->at = 0;
	if (++s->shard < OVL_TABLE_SHARDS)
		return;
	s->shard = 0;
	s->serial++;
}

static void give_up_some(struct overlay *o, struct ovl_shrink *s, struct part *p)
{
	struct ovl_ws *ws = NULL;

	while (p->left && p->count < NODES_AT_ONCE && (ws = ws_from(o, s->serial))) {
		unsigned first = p->count;

		if (ws->serial != s->serial) { /* the one before has gone, or is done */
			s->serial = ws->serial;
			s->shard = 0;
			s->at = 0;
		}
		if (!look_through(p, &ws->shard[s->shard], &s->at))
			move_hand(s);
		for (unsigned i = first; i < p->count; i++)
			p->given_up += give_up(p->claimed[i]);
		ovl_ws_unref(ws);
	}
	s->found += p->given_up;
	if (!ws)
		end_round(s);
}

void ovl_shrink_a_little(struct overlay *o)
{
	struct ovl_shrink *s = &o->shrink;
	struct part p = {.left = LOOKS_AT_ONCE};

	if (atomic_load_explicit(&s->nodes, memory_order_relaxed) <=
		atomic_load_explicit(&s->above, memory_order_relaxed))
		return;
	/* acquire, release: the hand is whose flag it is */
	if (atomic_exchange_explicit(&s->busy, true, memory_order_acquire))
		return;
	give_up_some(o, s, &p);
	if (p.given_up) {
		atomic_fetch_add_explicit(&s->given_up, p.given_up, memory_order_relaxed);
		atomic_store_explicit(&s->above, s->nodes_max, memory_order_relaxed);
	}
	atomic_store_explicit(&s->busy, false, memory_order_release);
}
