/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attributes. Those of a lower entry are computed from its record: owner and times are the
 * workspace's. Those of an upper object are kept in its node (OVL_ATTR) and changed by our own
 * operations, so that GETATTR costs no syscall.
 *
 * st_ino is the id. st_nlink is what a job may see: without our own names in links/ and orphan/;
 * for a directory 2 + its visible sub-directories, or 1 ("not counted", as btrfs does) as long as
 * the lower tree below it has not been fetched.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/clock.h"
#include "overlay/ovl_internal.h"
#include "overlay/ovl_map.h"
#include "overlay/ovl_state.h"

#define BLOCK_BYTES 4096u

uint32_t ovl_lower_subdirs(struct ovl_ws *ws, const struct oid *tree)
{
	struct tree_view view;
	uint32_t subdirs;

	if (ws->lower->ops->tree(ws->lower, tree, &view) != 0)
		return OVL_SUBDIRS_UNKNOWN; /* damage is reported to who enters it */
	subdirs = view.subdirs;
	tree_view_end(&view);
	return subdirs;
}

int ovl_count_later(struct ovl_ws *ws, struct ovl_req *rq, const struct oid *tree)
{
	int r;

	if (!rq->count_links) {
		ws->lower->ops->prefetch(ws->lower, tree);
		return 0;
	}
	r = ovl_need_set(rq, ws, LOWER_NEED_TREE, tree);
	rq->need.optional = r == -EAGAIN;
	return r;
}

/* What a switch has changed has the time of the switch, whatever its commit says: make and its
 * likes compare with what they built before. */
static struct timespec lower_time(const struct ovl_ws *ws, uint64_t id, bool is_dir)
{
	const struct ovl_map *map = is_dir && ws->generation ? ovl_map_newest(ws, id) : NULL;
	struct ovl_block block;

	if (!ws->generation)
		return ws->lower_time;
	if (map)
		return clock_timespec(map->time_ns);
	if (ovl_block_of(ws, id & OVL_LOCAL_MASK, &block) && block.time_ns)
		return clock_timespec(block.time_ns);
	return ws->first_time;
}

void ovl_lower_attr(const struct ovl_ws *ws, uint64_t id, uint32_t mode, uint64_t size,
	uint32_t subdirs, struct stat *ret_attr)
{
	bool is_dir = S_ISDIR(mode);
	struct timespec time = lower_time(ws, id, is_dir);
	uint64_t blocks;

	if (is_dir)
		size = BLOCK_BYTES;
	blocks = S_ISLNK(mode) && size < 60
			 ? 0
			 : (size + BLOCK_BYTES - 1) /
				   BLOCK_BYTES; /* as ext4: short targets need none */
	*ret_attr = (struct stat){
		.st_ino = id,
		.st_mode = mode,
		.st_nlink = !is_dir                          ? 1
			    : subdirs == OVL_SUBDIRS_UNKNOWN ? 1
							     : 2 + (nlink_t)subdirs,
		.st_uid = ws->uid,
		.st_gid = ws->gid,
		.st_size = (off_t)size,
		.st_blksize = BLOCK_BYTES,
		.st_blocks = (blkcnt_t)(blocks * (BLOCK_BYTES / 512)),
		.st_atim = time,
		.st_mtim = time,
		.st_ctim = time,
	};
}

static bool is_loaded(const struct ovl_dir *dir)
{
	/* acquire: subdirs was set before */
	return atomic_load_explicit(&dir->names_loaded, memory_order_acquire);
}

/* Links as a job sees them; `disk` is the count of the upper object. */
static nlink_t visible_nlink(struct ovl_node *node, nlink_t disk)
{
	unsigned flags = atomic_load(&node->flags);

	if (flags & OVL_DEAD)
		return 0;
	if (node->dir)
		return is_loaded(node->dir)   ? 2 + (nlink_t)atomic_load(&node->dir->subdirs)
		       : node->dir->has_lower ? 1
					      : disk;
	if (!(flags & OVL_UPPER))
		return flags & OVL_ORPHAN ? 0 : 1;
	return flags & (OVL_LINKED | OVL_ORPHAN) && disk ? disk - 1 : disk;
}

void ovl_attr_set_locked(struct ovl_node *node, const struct stat *disk)
{
	uint64_t none = 0;

	/* relaxed: a number to compare with */
	atomic_compare_exchange_strong_explicit(
		&node->upper_ino, &none, disk->st_ino, memory_order_relaxed, memory_order_relaxed);
	node->attr = *disk;
	node->attr.st_ino = node->id;
	node->attr.st_nlink = visible_nlink(node, disk->st_nlink);
	atomic_fetch_or(&node->flags, OVL_ATTR);
}

static void set_lower_attr(struct ovl_node *node)
{
	uint32_t mode = node->dir ? S_IFDIR | 0755 : node->lower_mode;
	uint32_t subdirs = OVL_SUBDIRS_UNKNOWN;

	if (node->dir && !node->dir->has_lower)
		subdirs = 0;
	else if (node->dir && !is_loaded(node->dir))
		subdirs = ovl_lower_subdirs(node->ws, &node->dir->lower_tree);
	ovl_lower_attr(node->ws, node->id, mode, node->lower_size, subdirs, &node->attr);
	if (!node->dir || is_loaded(node->dir) || (atomic_load(&node->flags) & OVL_DEAD))
		node->attr.st_nlink = visible_nlink(node, 1);
}

int ovl_attr_load_locked(struct ovl_node *node, struct ovl_req *rq)
{
	unsigned flags = atomic_load(&node->flags);
	struct stat st;
	int r;

	(void)rq; /* nothing here is remote; part of the contract for lowers that are */
	if ((flags & OVL_DEAD) && (flags & OVL_ATTR)) {
		node->attr.st_nlink = 0; /* the rest is what it was when its name went */
		return 0;
	}
	if (!(flags & OVL_UPPER)) {
		set_lower_attr(node);
		return 0;
	}
	if (!(flags & OVL_ATTR)) {
		r = ovl_place_stat(node, &st);
		if (r)
			return r;
		ovl_attr_set_locked(node, &st);
	} else if (node->dir) {
		/* a directory's count changes without its attributes being dropped */
		node->attr.st_nlink = visible_nlink(node, node->attr.st_nlink);
	}
	return 0;
}

void ovl_attr_drop(struct ovl_node *node)
{
	LOCK_GUARD(&node->lock);
	atomic_fetch_and(&node->flags, ~(unsigned)OVL_ATTR);
}

/* A merged directory has to be loaded before its links can be counted, for one of the lower alone
 * its tree is enough. */
static int count_subdirs(struct ovl_node *node, struct ovl_req *rq)
{
	int r = 0;

	if (!node->dir || !node->dir->has_lower || is_loaded(node->dir))
		return 0;
	if (atomic_load(&node->flags) & OVL_UPPER) {
		r = ovl_dir_load(node, rq);
		if (r != -EAGAIN)
			return r;
		ovl_need_drop(&rq->need);
	} else if (ovl_lower_subdirs(node->ws, &node->dir->lower_tree) != OVL_SUBDIRS_UNKNOWN) {
		return 0;
	}
	return ovl_count_later(node->ws, rq, &node->dir->lower_tree);
}

static int node_attr(struct ovl_node *node, struct ovl_req *rq, struct stat *ret_attr)
{
	int r = count_subdirs(node, rq);

	if (r)
		return r;
	LOCK_GUARD(&node->lock);
	r = ovl_attr_load_locked(node, rq);
	if (!r)
		*ret_attr = node->attr;
	return r;
}

int ovl_entry_of(struct ovl_node *node, struct ovl_req *rq, struct ovl_entry *ret_entry)
{
	int r = node_attr(node, rq, &ret_entry->attr);

	if (r)
		return r;
	ret_entry->id = node->id;
	ovl_refs_add(node->ws, node->id & OVL_LOCAL_MASK, 1);
	return 0;
}

int ovl_obj_entry(struct ovl_obj *obj, struct ovl_req *rq, struct ovl_lower_file *ret_file)
{
	struct tree_view view;
	struct tree_entry entry;
	int r = ovl_tree_view(obj->ws, rq, &obj->tree, &view);

	if (r)
		return r;
	if (obj->idx < view.count) {
		tree_view_entry(&view, obj->idx, &entry);
		*ret_file = (struct ovl_lower_file){.mode = entry.mode, .size = entry.size};
		ret_file->size_known = entry.size_known || S_ISDIR(entry.mode);
		if (entry.oid)
			ret_file->oid = oid_from_bytes(entry.oid, view.oid_len);
		ret_file->name_len = entry.name_len;
		memcpy(ret_file->name, entry.name, entry.name_len);
		ret_file->name[entry.name_len] = 0;
	} else {
		r = -EIO; /* the record is not the one that the block was made for */
	}
	tree_view_end(&view);
	return r;
}

/* Has the directory's tree another entry under the name by now? A directory that stayed has
 * perhaps another content. */
static int is_switched_away(struct ovl_node *dir, struct ovl_req *rq, const struct ovl_obj *obj,
	struct ovl_lower_file *file, bool *ret_away)
{
	struct ovl_found now;
	int r = ovl_find_locked(dir, rq, file->name, file->name_len, &now);

	if (r)
		return r;
	*ret_away = now.where != OVL_IN_LOWER || ovl_entry_id(dir, now.lower_idx) != obj->id;
	if (!*ret_away)
		file->oid = now.lower_oid;
	return 0;
}

/* Whether a lower entry can still be seen under its name. Removing one makes no node, so its place
 * is where to look: any name of the upper there hides it (an object that was copied up has a node).
 */
static int is_hidden(struct overlay *o, struct ovl_req *rq, const struct ovl_obj *obj,
	struct ovl_lower_file *file, bool *ret_hidden)
{
	_cleanup_node_ struct ovl_node *dir = NULL;
	int r = ovl_dir_get(o, rq, obj->dir_id, &dir);

	if (r == -ESTALE || r == -ENOENT) { /* the directory is gone, and all in it */
		*ret_hidden = true;
		return 0;
	}
	if (r)
		return r;
	lock_acquire(&dir->dir->lock);
	*ret_hidden = ovl_names_find(&dir->dir->names, file->name, file->name_len) != NULL;
	if (!*ret_hidden && dir->dir->map)
		r = is_switched_away(dir, rq, obj, file, ret_hidden);
	lock_release(&dir->dir->lock);
	return r;
}

static int untouched_attr(
	struct overlay *o, struct ovl_obj *obj, struct ovl_req *rq, struct stat *ret_attr)
{
	struct ovl_lower_file file;
	uint32_t subdirs = 0;
	bool hidden = false;
	int r = ovl_obj_entry(obj, rq, &file);

	if (!r && (!S_ISDIR(file.mode) || obj->ws->generation))
		r = is_hidden(o, rq, obj, &file, &hidden);
	if (r)
		return r;
	if (!file.size_known)
		return ovl_need_set(rq, obj->ws, LOWER_NEED_TREE, &obj->tree);
	if (S_ISDIR(file.mode) && !oid_is_none(&file.oid))
		subdirs = ovl_lower_subdirs(obj->ws, &file.oid);
	if (subdirs == OVL_SUBDIRS_UNKNOWN)
		r = ovl_count_later(obj->ws, rq, &file.oid);
	if (r)
		return r;
	ovl_lower_attr(obj->ws, obj->id, file.mode, file.size, subdirs, ret_attr);
	if (hidden)
		ret_attr->st_nlink = 0;
	return 0;
}

int ovl_getattr(struct overlay *o, struct ovl_req *rq, uint64_t id, struct stat *ret_attr)
{
	struct ovl_obj obj;
	int r;

	if (id == OVL_ROOT_ID) {
		ovl_root_attr(o, ret_attr);
		return 0;
	}
	r = ovl_obj_get(o, rq, id, &obj);
	if (r)
		return r;
	r = obj.node ? node_attr(obj.node, rq, ret_attr) : untouched_attr(o, &obj, rq, ret_attr);
	ovl_obj_put(&obj);
	return r;
}
