/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where an object is: its parent and name. A place is changed under the directories' locks and the
 * shard's, and may be read under either. A rename changes the disk first and the place after, so
 * who goes by a place without the directory's lock may meet nothing, or another object: what is
 * found is compared with the node's inode number, and tried again shortly after.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "overlay/ovl_internal.h"
#include "overlay/ovl_state.h"

#define RETRY_ROUNDS 400u
#define RETRY_NS     500000 /* 0.2 s in all: a rename on a busy disk */

bool ovl_place_of(struct ovl_node *node, struct ovl_node **ret_parent, char ret_name[256])
{
	struct ovl_shard *shard = ovl_shard_of(node->ws, node->id);

	LOCK_GUARD(&shard->lock);
	if (!node->name || !node->parent)
		return false;
	memcpy(ret_name, node->name, node->name_len + 1);
	ovl_pin_raw(node->parent); /* it has our pin as long as it is our parent */
	*ret_parent = node->parent;
	return true;
}

static struct ovl_node *parent_now(struct ovl_node *node, bool pin)
{
	struct ovl_shard *shard = ovl_shard_of(node->ws, node->id);

	LOCK_GUARD(&shard->lock);
	if (node->parent && pin)
		ovl_pin_raw(node->parent);
	return node->parent;
}

struct ovl_node *ovl_parent_lock(struct ovl_node *node)
{
	struct ovl_node *parent;

	for (;;) {
		parent = parent_now(node, true);
		if (!parent)
			return NULL;
		lock_acquire(&parent->dir->lock);
		if (parent_now(node, false) == parent)
			return parent; /* and stays it while we hold this lock */
		ovl_parent_unlock(parent);
	}
}

void ovl_parent_unlock(struct ovl_node *parent)
{
	if (!parent)
		return;
	lock_release(&parent->dir->lock);
	ovl_unpin_raw(parent);
}

static struct ovl_child *own_child(struct ovl_node *node)
{
	struct ovl_child *child;

	if (!node->parent || !node->name)
		return NULL;
	child = ovl_names_find(&node->parent->dir->names, node->name, node->name_len);
	return child && child->node == node ? child : NULL;
}

/* Swaps the place in; the caller frees the old name and unpins the old parent. A parent that stays
 * is not written: it may be read under ws->rename_lock alone, which whoever changes it holds. */
static void set_place(struct ovl_node *node, struct ovl_node **parent, char **name, size_t len)
{
	struct ovl_shard *shard = ovl_shard_of(node->ws, node->id);
	struct ovl_node *old_parent;
	char *old_name;

	LOCK_GUARD(&shard->lock);
	old_parent = node->parent;
	old_name = node->name;
	if (*parent != old_parent)
		node->parent = *parent;
	node->name = *name;
	node->name_len = len;
	*parent = old_parent;
	*name = old_name;
}

void ovl_node_move_locked(
	struct ovl_node *node, struct ovl_node *new_parent, char *name, size_t len)
{
	struct ovl_child *child = own_child(node);
	struct ovl_node *parent = new_parent;

	if (child)
		child->node = NULL;
	ovl_pin_raw(new_parent);
	set_place(node, &parent, &name, len);
	free(name);
	if (parent)
		ovl_unpin_raw(parent);
	child = ovl_names_find(&new_parent->dir->names, node->name, len);
	if (child)
		child->node = node;
	atomic_fetch_and(&node->flags, ~(unsigned)OVL_ORPHAN);
	/* The disk has changed already: without a record only a takeover would miss the node. */
	if (atomic_load(&node->flags) & OVL_UPPER)
		(void)ovl_journal_node(node);
}

static int journal_nameless(struct ovl_node *node)
{
	const unsigned kept = OVL_DEAD | OVL_ATTR;
	struct stat attr;
	bool has_attr;

	lock_acquire(&node->lock);
	has_attr = node->dir && (atomic_load(&node->flags) & kept) == kept;
	attr = node->attr;
	lock_release(&node->lock);
	return has_attr ? ovl_journal_removed(node, &attr) : ovl_journal_node(node);
}

void ovl_node_detach_locked(struct ovl_node *node)
{
	struct ovl_child *child = own_child(node);
	struct ovl_node *parent = node->parent;
	char *name = NULL;

	if (child)
		child->node = NULL;
	atomic_fetch_or(&node->flags, OVL_ORPHAN);
	set_place(node, &parent, &name, 0);
	free(name);
	/* A directory that is gone has no upper: its record says that whatever has its name from
	 * now on is another one, perhaps of the same inode number. */
	if ((atomic_load(&node->flags) & OVL_UPPER) || S_ISDIR(node->type))
		(void)journal_nameless(node); /* as above */
}

bool ovl_place_retry(unsigned *round)
{
	if ((*round)++ >= RETRY_ROUNDS)
		return false;
	(void)nanosleep(&(struct timespec){.tv_nsec = RETRY_NS}, NULL);
	return true;
}

int ovl_place_stat(struct ovl_node *node, struct stat *ret_stat)
{
	unsigned round = 0;
	struct ovl_at at;
	uint64_t ino;
	int r;

	do {
		r = ovl_at_get(node, &at);
		if (r)
			return r;
		if (fstatat(at.dirfd, at.name, ret_stat, AT_SYMLINK_NOFOLLOW) < 0)
			r = -errno;
		ovl_at_put(&at);
		ino = atomic_load_explicit(
			&node->upper_ino, memory_order_relaxed); /* only compared */
		if (!r && (ret_stat->st_mode & S_IFMT) == node->type &&
			(!ino || ino == ret_stat->st_ino))
			return 0;
		if (r && r != -ENOENT)
			return r;
	} while (ovl_place_retry(&round));
	return -EIO; /* the upper was changed behind our back */
}
