/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The law of lookup: the upper's name wins, a whiteout hides, else the lower shows through, else it
 * is absent, for certain.
 *
 * A directory without names of the upper is answered from the lower alone: no lock, no node, no
 * syscall. The kernel has the directory locked against creations while it looks up, so the missing
 * lock loses nothing.
 */
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/path.h"
#include "overlay/ovl_internal.h"
#include "overlay/ovl_state.h"

static int find_in_lower(struct ovl_node *dir, struct ovl_req *rq, const char *name, size_t len,
	struct ovl_found *found)
{
	struct tree_view view;
	struct tree_entry entry;
	int r;

	if (!dir->dir->block_count)
		return 0;
	r = ovl_tree_view(dir->ws, rq, &dir->dir->lower_tree, &view);
	if (r)
		return r;
	if (tree_view_find(&view, name, len, &found->lower_idx) &&
		found->lower_idx < dir->dir->block_count) {
		tree_view_entry(&view, found->lower_idx, &entry);
		found->lower_exists = true;
		found->lower_mode = entry.mode;
		found->lower_size = entry.size;
		found->lower_size_known = entry.size_known || S_ISDIR(entry.mode);
		found->lower_oid =
			entry.oid ? oid_from_bytes(entry.oid, view.oid_len) : (struct oid){0};
	}
	tree_view_end(&view);
	return 0;
}

int ovl_find_locked(struct ovl_node *dir, struct ovl_req *rq, const char *name, size_t len,
	struct ovl_found *ret_found)
{
	struct ovl_found found = {.child = ovl_names_find(&dir->dir->names, name, len)};
	int r = find_in_lower(dir, rq, name, len, &found);

	if (r)
		return r;
	if (found.child)
		found.where = found.child->type == DT_WHT ? OVL_ABSENT : OVL_IN_UPPER;
	else
		found.where = found.lower_exists ? OVL_IN_LOWER : OVL_ABSENT;
	*ret_found = found;
	return 0;
}

/* Id and attributes of a lower entry that was found in `dir`, not counted. -EAGAIN: its size is not
 * known yet. */
static int lower_entry(struct ovl_node *dir, struct ovl_req *rq, const struct ovl_found *found,
	struct ovl_entry *ret_entry)
{
	struct ovl_ws *ws = dir->ws;
	uint64_t id = ovl_entry_id(dir, found->lower_idx);
	uint32_t subdirs = 0;
	int r;

	if (!found->lower_size_known) /* fetching the tree anew brings the sizes */
		return ovl_need_set(rq, ws, LOWER_NEED_TREE, &dir->dir->lower_tree);
	if (S_ISDIR(found->lower_mode) && !oid_is_none(&found->lower_oid)) {
		subdirs = ovl_lower_subdirs(ws, &found->lower_oid);
		if (subdirs == OVL_SUBDIRS_UNKNOWN) { /* its listing will be asked next anyway */
			r = ovl_count_later(ws, rq, &found->lower_oid);
			if (r)
				ovl_tell_missed(ws, id);
			if (r)
				return r;
		}
	}
	ovl_lower_attr(ws, id, found->lower_mode, found->lower_size, subdirs, &ret_entry->attr);
	ret_entry->id = id;
	return 0;
}

static int lookup_in_lower(struct ovl_node *dir, struct ovl_req *rq, const char *name, size_t len,
	struct ovl_entry *ret_entry)
{
	struct ovl_found found = {0};
	int r = find_in_lower(dir, rq, name, len, &found);

	if (!r && !found.lower_exists)
		r = -ENOENT;
	if (!r)
		r = lower_entry(dir, rq, &found, ret_entry);
	if (!r)
		ovl_refs_add(dir->ws, ret_entry->id & OVL_LOCAL_MASK, 1);
	return r;
}

/* With names: an upper object's node is pinned and returned, a lower entry is answered at once
 * (*ret_node NULL). */
static int lookup_locked(struct ovl_node *dir, struct ovl_req *rq, const char *name, size_t len,
	struct ovl_entry *ret_entry, struct ovl_node **ret_node)
{
	struct ovl_found found = {.child = ovl_names_find(&dir->dir->names, name, len)};
	int r = 0;

	if (!found.child)
		return lookup_in_lower(dir, rq, name, len, ret_entry);
	if (found.child->type == DT_WHT)
		return -ENOENT;
	found.where = OVL_IN_UPPER;
	if (found.child->type == DT_DIR &&
		!found.child->node) /* whether it is merged depends on the lower */
		r = find_in_lower(dir, rq, name, len, &found);
	return r ? r : ovl_node_of_locked(dir, rq, name, len, &found, ret_node);
}

static int lookup_in(struct ovl_node *dir, struct ovl_req *rq, const char *name, size_t len,
	struct ovl_entry *ret_entry)
{
	_cleanup_node_ struct ovl_node *node = NULL;
	int r;

	/* acquire: a lookup that sees no names also sees what was done before the last one went
	 * away */
	if (atomic_load_explicit(&dir->dir->names.count, memory_order_acquire) == 0)
		return lookup_in_lower(dir, rq, name, len, ret_entry);
	lock_acquire(&dir->dir->lock);
	r = lookup_locked(dir, rq, name, len, ret_entry, &node);
	lock_release(&dir->dir->lock);
	return r || !node ? r : ovl_entry_of(node, rq, ret_entry);
}

int ovl_lookup(struct overlay *o, struct ovl_req *rq, uint64_t parent, const char *name,
	struct ovl_entry *ret_entry)
{
	_cleanup_node_ struct ovl_node *dir = NULL;
	size_t len = strlen(name);
	int r;

	if (len > PATH_NAME_MAX)
		return -ENAMETOOLONG;
	if (!path_name_ok(name, len))
		return -EINVAL; /* the kernel resolves "." and ".." itself */
	if (parent == OVL_ROOT_ID)
		return ovl_root_lookup(o, rq, name, ret_entry);
	r = ovl_dir_get(o, rq, parent, &dir);
	return r ? r : lookup_in(dir, rq, name, len, ret_entry);
}
