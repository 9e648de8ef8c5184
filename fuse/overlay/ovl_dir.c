/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories that were entered. Entering one makes its node; loading gives it a block of ids for
 * what its lower tree has, and the names that its upper directory has, by one pass over it. From
 * then on the names are authoritative: we are the only writer of the upper.
 *
 * A directory with neither names nor upper costs one node; its entries cost nothing.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "overlay/ovl_internal.h"
#include "overlay/ovl_left.h"
#include "overlay/ovl_map.h"
#include "overlay/ovl_state.h"
#include "overlay/ovl_switch.h"

#define GETDENTS_BYTES 16384

void ovl_dir_lock_pair(struct ovl_node *a, struct ovl_node *b)
{
	lock_acquire_pair(&a->dir->lock, &b->dir->lock);
}

void ovl_dir_unlock_pair(struct ovl_node *a, struct ovl_node *b)
{
	lock_release_pair(&a->dir->lock, &b->dir->lock);
}

static int load_name(struct ovl_names *names, int fd, const struct dirent64 *d)
{
	size_t len = strlen(d->d_name);
	uint8_t type = d->d_type;
	struct stat st;

	if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
		return 0;
	if (type == DT_UNKNOWN || type == DT_CHR) {
		if (fstatat(fd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return -errno;
		type = ovl_is_whiteout(&st) ? DT_WHT : (uint8_t)IFTODT(st.st_mode);
	}
	return ovl_names_put(names, d->d_name, len, type) ? 0 : -ENOMEM;
}

static int load_names_from(struct ovl_names *names, int fd)
{
	_Alignas(struct dirent64) char buf[GETDENTS_BYTES];
	ssize_t n;
	int r = 0;

	while ((n = getdents64(fd, buf, sizeof(buf))) > 0)
		for (ssize_t at = 0; !r && at < n;) {
			const struct dirent64 *d =
				(const struct dirent64 *)(const void *)(buf + at);

			r = load_name(names, fd, d);
			at += d->d_reclen;
		}
	return n < 0 ? -errno : r;
}

static int load_names(struct ovl_node *dir)
{
	_cleanup_close_ int fd = -1;
	int path_fd, r;

	if (!(atomic_load(&dir->flags) & OVL_UPPER))
		return 0;
	r = ovl_fd_get(dir, &path_fd);
	if (r)
		return r;
	fd = openat(path_fd, ".", O_RDONLY | O_NOATIME | O_DIRECTORY | O_CLOEXEC);
	r = fd < 0 ? -errno : load_names_from(&dir->dir->names, fd);
	ovl_fd_put(dir);
	return r;
}

/* Sub-directories of the lower that no name of the upper hides or stands for. */
uint32_t ovl_visible_lower_subdirs(const struct ovl_names *names, const struct tree_view *view)
{
	uint32_t count = view->subdirs, idx;
	struct tree_entry entry;

	for (const struct ovl_child *c = ovl_names_after(names, 0); c;
		c = ovl_names_next(names, c)) {
		if (!tree_view_find(view, c->name, c->name_len, &idx))
			continue;
		tree_view_entry(view, idx, &entry);
		if (S_ISDIR(entry.mode) && count)
			count--;
	}
	return count;
}

/* Those of a switch, if there was one, else a block. */
static int load_ids(struct ovl_node *node)
{
	struct ovl_dir *dir = node->dir;

	dir->map = ovl_map_of(node->ws, node->id, &dir->lower_tree);
	if (dir->map && dir->map->count == dir->block_count)
		return 0;
	dir->map = NULL;
	return ovl_block_get(
		node->ws, node->id, &dir->lower_tree, dir->block_count, &dir->block_base);
}

uint64_t ovl_entry_id(const struct ovl_node *dir, uint32_t idx)
{
	const struct ovl_dir *d = dir->dir;

	return (dir->id & ~OVL_LOCAL_MASK) |
	       (d->map ? ovl_map_id(d->map, idx) : d->block_base + idx);
}

static int load_locked(struct ovl_node *node, struct ovl_req *rq)
{
	struct ovl_dir *dir = node->dir;
	struct tree_view view;
	uint32_t subdirs = 0;
	int r;

	if (dir->has_lower) { /* first: it may have to be fetched */
		r = ovl_tree_view(node->ws, rq, &dir->lower_tree, &view);
		if (r == -EAGAIN)
			ovl_tell_missed(node->ws, node->id);
		if (r)
			return r;
		dir->block_count = view.count;
		tree_view_end(&view);
	}
	r = load_names(node);
	if (!r && dir->block_count)
		r = load_ids(node);
	if (!r && dir->block_count) {
		r = ovl_tree_view(node->ws, rq, &dir->lower_tree, &view);
		if (!r) {
			subdirs = ovl_visible_lower_subdirs(&dir->names, &view);
			tree_view_end(&view);
		}
	}
	if (!r)
		r = ovl_left_attach_locked(node, rq);
	if (r) /* names that are there already stay (they may lead to revived nodes): they are true
		*/
		return r;
	atomic_store(&dir->subdirs, subdirs + dir->names.subdirs);
	/* release: block and names, for those who only look at the flag */
	atomic_store_explicit(&dir->names_loaded, true, memory_order_release);
	if (dir->awaited)
		ovl_unpin_raw(node);
	dir->awaited = false;
	return 0;
}

int ovl_dir_load(struct ovl_node *node, struct ovl_req *rq)
{
	/* acquire: pairs with the release above */
	if (atomic_load_explicit(&node->dir->names_loaded, memory_order_acquire))
		return 0;
	LOCK_GUARD(&node->dir->lock);
	if (atomic_load_explicit(
		    &node->dir->names_loaded, memory_order_relaxed)) /* set under this lock */
		return 0;
	return load_locked(node, rq);
}

/* The name of a lower entry that is a directory. */
static int entry_name(struct ovl_ws *ws, struct ovl_req *rq, const struct ovl_block *block,
	uint64_t id, char ret_name[256], size_t *ret_len)
{
	struct tree_view view;
	struct tree_entry entry;
	int r = ovl_tree_view(ws, rq, &block->tree, &view);

	if (r)
		return r;
	if (ovl_block_idx(block, id) >= view.count) {
		tree_view_end(&view);
		return -EIO; /* the record is not the one that the block was made for */
	}
	tree_view_entry(&view, ovl_block_idx(block, id), &entry);
	memcpy(ret_name, entry.name, entry.name_len);
	ret_name[entry.name_len] = 0;
	*ret_len = entry.name_len;
	r = S_ISDIR(entry.mode) ? 0 : -ENOTDIR;
	tree_view_end(&view);
	return r;
}

/* A node for the lower directory `id`, which is an entry of `parent`. */
static int enter(struct ovl_node *parent, struct ovl_req *rq, uint64_t id,
	const struct ovl_block *block, struct ovl_node **ret_node)
{
	_cleanup_node_ struct ovl_node *node = NULL;
	struct ovl_found found;
	char name[256];
	size_t len;
	int r = -ESTALE;

	if (parent->dir && !(atomic_load(&parent->flags) & OVL_DEAD))
		r = ovl_dir_load(parent, rq);
	if (!r)
		r = entry_name(parent->ws, rq, block, id, name, &len);
	if (r)
		return r;
	lock_acquire(&parent->dir->lock);
	r = ovl_find_locked(parent, rq, name, len, &found);
	if (!r)
		r = ovl_node_of_locked(parent, rq, name, len, &found, &node);
	lock_release(&parent->dir->lock);
	/* Whiteouted, or something else under that name: the kernel would have a node of the right
	 * one. */
	if (r == -ENOENT || (!r && (node->id != id || !node->dir)))
		return -ESTALE;
	if (!r)
		*ret_node = TAKE_PTR(node);
	return r;
}

/* Pinned (raw); NULL: neither in the table nor to come back. */
static int find_or_bring(
	struct ovl_ws *ws, struct ovl_req *rq, uint64_t id, struct ovl_node **ret_node)
{
	int r = 0;

	*ret_node = ovl_table_pin(ws, id);
	if (!*ret_node && ovl_left_has(ws, id)) {
		r = ovl_left_bring(ws, rq, id);
		*ret_node = r ? NULL : ovl_table_pin(ws, id);
	}
	return r;
}

/* The node or, of a directory without one, the nearest above that has one; *ret_child is the next
 * below it. */
static int nearest(struct ovl_ws *ws, struct ovl_req *rq, uint64_t id, struct ovl_node **ret_above,
	uint64_t *ret_child, struct ovl_block *ret_block)
{
	int r = find_or_bring(ws, rq, id, ret_above);

	while (!r && !*ret_above) {
		if (!ovl_block_of(ws, id & OVL_LOCAL_MASK, ret_block))
			return -ESTALE;
		*ret_child = id;
		id = ret_block->dir_id;
		r = find_or_bring(ws, rq, id, ret_above);
	}
	return r;
}

/* All ancestors get their nodes, outermost first. No recursion: trees are hostile. What comes back
 * is upper, and so is all above it: bringing it enters no more of them. */
int ovl_dir_enter(struct ovl_ws *ws, struct ovl_req *rq, uint64_t id, struct ovl_node **ret_node)
{
	_cleanup_node_ struct ovl_node *held =
		NULL; /* so that what was entered stays until the next step */
	struct ovl_node *above, *entered;
	struct ovl_block block;
	uint64_t child = id;
	int r = 0;

	while (!r && !(held && held->id == id)) {
		r = nearest(ws, rq, id, &above, &child, &block);
		if (r)
			return r;
		ref_get(&ws->ref); /* the pin becomes a full one */
		if (above->id == id) {
			entered = above;
		} else {
			r = enter(above, rq, child, &block, &entered);
			ovl_node_unpin(above);
		}
		if (!r) {
			ovl_node_unpin(held);
			held = entered;
		}
	}
	if (!r)
		*ret_node = TAKE_PTR(held);
	return r;
}

int ovl_dir_get(struct overlay *o, struct ovl_req *rq, uint64_t id, struct ovl_node **ret_dir)
{
	_cleanup_node_ struct ovl_node *dir = NULL;
	struct ovl_ws *ws = ovl_ws_of(o, id);
	struct ovl_block block;
	int r = 0;

	if (!ws)
		return -ESTALE;
	ovl_evict_pending(ws);
	ovl_shrink_a_little(o);
	dir = ovl_table_pin(ws, id);
	if (dir) {
		ref_get(&ws->ref);
	} else {
		r = ovl_dir_enter(ws, rq, id, &dir);
	}
	/* A switch took it away when it had no node: as one that had. */
	if (r == -ESTALE && ws->generation && ovl_block_of(ws, id & OVL_LOCAL_MASK, &block))
		r = -ENOENT;
	if (!r && !dir->dir)
		r = -ENOTDIR;
	if (!r && (atomic_load(&dir->flags) & OVL_DEAD))
		r = -ENOENT;
	if (!r)
		r = ovl_dir_load(dir, rq);
	ovl_ws_unref(ws);
	if (!r)
		*ret_dir = TAKE_PTR(dir);
	return r;
}
