/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listing. A position needs no handle and survives change and restart:
 *
 *	1 "."  2 ".."
 *	g << 32 | 3 + i          entry i of the lower directory, as it is now
 *	2^62 | hash              names that only the upper has, by hash, if g is 0
 *	2^61 | g << 49 | hash    the same otherwise, with fewer bits of the hash
 *
 * g says which of its lower trees the directory had when the listing began (ovl_map.h): after a
 * switch that listing goes on over the old tree, and is never a mixture. Its entries are bare then,
 * so that the kernel looks up what there is now. In a workspace that was never switched positions
 *are those of the releases that knew of no switch, so that a listing goes on when one takes over,
 *or hands over to us.
 *
 * A name that the lower has is reported at its place there, with the upper's attributes if it is
 * overridden; so nothing is seen twice or missed when it is copied up in the middle of a listing. A
 * batch holds the directory's lock if there are names of the upper, and an index view only between
 * two entries that need a syscall.
 */
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "overlay/ovl_internal.h"
#include "overlay/ovl_map.h"
#include "overlay/ovl_state.h"

#define POS_DOT    1ull
#define POS_DOTDOT 2ull
#define POS_LOWER  3ull
#define POS_FIRST  (1ull << 62) /* the upper's, g is 0 */
#define POS_LATER  (1ull << 61) /* the upper's, g is not 0 */
#define GEN_MASK   0xfffull
#define GEN_LOWER  32
#define GEN_UPPER  49
#define IDX_MASK   0xffffffffull
#define HASH_CUT   13 /* bits of a hash that are left out when g is not 0 */

struct listing {
	struct ovl_node *dir;
	struct ovl_req *rq;
	bool plus;
	bool locked;  /* the directory's lock is held; without it the names must not be looked at: a
			 copy-up may add one */
	bool emitted; /* something was taken: an error now is for the next call */
	ovl_fill fill;
	void *arg;
	const struct oid *tree;    /* NULL: no lower, or nothing in it */
	const struct ovl_map *old; /* the listing began before a switch: this is what is listed */
	uint64_t generation;       /* as in positions */
	struct tree_view view;     /* open while view_open */
	bool view_open;
};

static uint64_t generation_of(const struct ovl_map *map)
{
	return map ? map->generation & GEN_MASK : 0;
}

static uint64_t generation_at(uint64_t pos)
{
	if (pos & POS_FIRST)
		return 0;
	return pos >> (pos & POS_LATER ? GEN_UPPER : GEN_LOWER) & GEN_MASK;
}

/* Of a hash what a position says of it. */
static uint64_t cut(const struct listing *l, uint64_t hash)
{
	return l->generation ? hash >> HASH_CUT : hash;
}

static uint64_t upper_pos(const struct listing *l, uint64_t hash_cut)
{
	return l->generation ? POS_LATER | l->generation << GEN_UPPER | hash_cut
			     : POS_FIRST | hash_cut;
}

/* The highest hash that lies before the position. */
static uint64_t hash_before(uint64_t pos)
{
	if (pos & POS_FIRST)
		return pos & (POS_FIRST - 1);
	if (pos & POS_LATER)
		return (((pos & ((1ull << GEN_UPPER) - 1)) + 1) << HASH_CUT) - 1;
	return 0;
}

/* Which tree the listing is of. One that nobody remembers begins anew: rather twice than never. */
static void choose_tree(struct listing *l, uint64_t *pos)
{
	const struct ovl_dir *dir = l->dir->dir;
	const struct ovl_map *map = dir->map;

	l->tree = dir->block_count ? &dir->lower_tree : NULL;
	l->generation = dir->has_lower ? generation_of(map)
				       : generation_of(ovl_map_newest(l->dir->ws, l->dir->id));
	if (*pos <= POS_DOTDOT || generation_at(*pos) == l->generation)
		return;
	for (map = ovl_map_newest(l->dir->ws, l->dir->id); map; map = map->older)
		if (generation_of(map) == generation_at(*pos)) {
			l->old = map;
			l->tree = &map->tree;
			l->generation = generation_at(*pos);
			l->plus = false;
			return;
		}
	*pos = POS_DOTDOT;
}

static void close_view(struct listing *l)
{
	if (l->view_open)
		tree_view_end(&l->view);
	l->view_open = false;
}

static int open_view(struct listing *l)
{
	int r;

	if (l->view_open || !l->tree)
		return 0;
	r = ovl_tree_view(l->dir->ws, l->rq, l->tree, &l->view);
	l->view_open = r == 0;
	return r;
}

/* 1: the reader has no more room. Counts what it took. */
static int emit(struct listing *l, const char *name, const struct ovl_entry *entry, uint64_t next)
{
	if (l->fill(l->arg, name, entry, next) != 0)
		return 1;
	l->emitted = true;
	if (l->plus && entry->id)
		ovl_refs_add(l->dir->ws, entry->id & OVL_LOCAL_MASK, 1);
	return 0;
}

static int emit_bare(struct listing *l, const char *name, uint64_t ino, mode_t type, uint64_t next)
{
	return emit(l, name, &(struct ovl_entry){.attr = {.st_ino = ino, .st_mode = type}}, next);
}

static int list_dots(struct listing *l, uint64_t *pos)
{
	struct ovl_shard *shard = ovl_shard_of(l->dir->ws, l->dir->id);
	uint64_t parent;
	int r = 0;

	lock_acquire(&shard->lock);
	parent = l->dir->parent ? l->dir->parent->id : OVL_ROOT_ID;
	lock_release(&shard->lock);
	if (*pos < POS_DOT) {
		r = emit_bare(l, ".", l->dir->id, S_IFDIR, POS_DOT);
		*pos = POS_DOT;
	}
	if (!r && *pos < POS_DOTDOT) {
		r = emit_bare(l, "..", parent, S_IFDIR, POS_DOTDOT);
		*pos = POS_DOTDOT;
	}
	return r;
}

/* An upper object under its name. Needs syscalls if it is not known yet: no view may be open. */
static int list_upper(struct listing *l, const char *name, size_t len,
	const struct ovl_found *found, uint64_t next)
{
	struct ovl_entry entry = {0};
	struct ovl_node *node = NULL;
	int r = ovl_node_of_locked(l->dir, l->rq, name, len, found, &node);

	if (r)
		return r;
	entry.attr = (struct stat){.st_ino = node->id, .st_mode = node->type};
	/* A merged directory that was not entered yet cannot be loaded under this lock: the kernel
	 * asks for it by name. */
	if (l->plus &&
		!(node->dir && node->dir->has_lower && !atomic_load(&node->dir->names_loaded))) {
		lock_acquire(&node->lock);
		r = ovl_attr_load_locked(node, l->rq);
		entry.attr = node->attr;
		lock_release(&node->lock);
		entry.id = node->id;
	}
	if (!r)
		r = emit(l, name, &entry, next);
	ovl_node_unpin(node);
	return r;
}

static int list_lower(struct listing *l, const char *name, struct ovl_found *found, uint64_t next)
{
	struct ovl_ws *ws = l->dir->ws;
	uint64_t id = l->old ? ws->serial << OVL_LOCAL_BITS | ovl_map_id(l->old, found->lower_idx)
			     : ovl_entry_id(l->dir, found->lower_idx);
	struct ovl_entry entry = {0};
	uint32_t subdirs = 0;

	if (!l->plus || !found->lower_size_known)
		return emit_bare(l, name, id, found->lower_mode & S_IFMT, next);
	if (S_ISDIR(found->lower_mode) && !oid_is_none(&found->lower_oid))
		subdirs = ovl_lower_subdirs(ws, &found->lower_oid);
	/* A walk goes on into it without looking it up: the reply enters it. Its siblings are
	 * fetched meanwhile. */
	if (subdirs == OVL_SUBDIRS_UNKNOWN)
		ws->lower->ops->prefetch(ws->lower, &found->lower_oid);
	ovl_lower_attr(ws, id, found->lower_mode, found->lower_size, subdirs, &entry.attr);
	entry.id = id;
	return emit(l, name, &entry, next);
}

/* In an old listing a name that the upper has by now: what kind it is, and nothing that would make
 * a node of what the tree of today does not have. */
static int list_old_upper(
	struct listing *l, const char *name, const struct ovl_found *found, uint64_t next)
{
	const struct ovl_node *node = found->child->node;
	uint64_t ino =
		node ? node->id
		     : l->dir->ws->serial << OVL_LOCAL_BITS | ovl_map_id(l->old, found->lower_idx);

	return emit_bare(l, name, ino, DTTOIF(found->child->type), next);
}

static int list_entry_at(struct listing *l, uint32_t idx)
{
	uint64_t next = l->generation << GEN_LOWER | (POS_LOWER + idx);

	struct ovl_found found = {.lower_exists = true, .lower_idx = idx};
	struct tree_entry entry;
	char name[256];

	tree_view_entry(&l->view, idx, &entry);
	if (!entry.name_len)
		return 0; /* a damaged record: see tree_codec.h */
	memcpy(name, entry.name, entry.name_len);
	name[entry.name_len] = 0;
	found.lower_mode = entry.mode;
	found.lower_size = entry.size;
	found.lower_size_known = entry.size_known || S_ISDIR(entry.mode);
	if (entry.oid)
		found.lower_oid = oid_from_bytes(entry.oid, l->view.oid_len);
	if (l->locked)
		found.child = ovl_names_find(&l->dir->dir->names, name, entry.name_len);
	if (!found.child)
		return list_lower(l, name, &found, next);
	if (found.child->type == DT_WHT)
		return 0;
	if (l->old)
		return list_old_upper(l, name, &found, next);
	found.where = OVL_IN_UPPER;
	close_view(l);
	return list_upper(l, name, found.child->name_len, &found, next);
}

static int list_lower_part(struct listing *l, uint64_t pos)
{
	uint64_t idx = pos <= POS_DOTDOT ? 0 : (pos & IDX_MASK) - POS_LOWER + 1;
	uint64_t count = l->old ? l->old->count : l->dir->dir->block_count;
	int r = 0;

	for (; !r && idx < count; idx++) {
		r = open_view(l);
		if (!r && idx < l->view.count)
			r = list_entry_at(l, (uint32_t)idx);
	}
	return r;
}

/* What it is by the tree of today, whatever tree is listed. */
static int find_now(struct listing *l, const struct ovl_child *c, struct ovl_found *ret_found)
{
	*ret_found = (struct ovl_found){.where = OVL_IN_UPPER};
	if (l->old)
		return ovl_find_locked(l->dir, l->rq, c->name, c->name_len, ret_found);
	ret_found->child = (struct ovl_child *)(uintptr_t)c;
	return 0;
}

static int list_upper_part(struct listing *l, uint64_t after)
{
	const struct ovl_names *names = &l->dir->dir->names;
	struct ovl_child *c = ovl_names_after(names, after), *next;
	uint32_t idx;
	int r = 0;

	for (; c && !r; c = next) {
		struct ovl_found found;
		uint64_t hash;

		next = ovl_names_next(names, c);
		if (c->type == DT_WHT)
			continue;
		r = open_view(l);
		if (r || (l->view_open && tree_view_find(&l->view, c->name, c->name_len, &idx)))
			continue; /* was reported at its place in the lower */
		close_view(l);
		r = find_now(l, c, &found);
		if (r)
			break;
		/* Of names with one hash all but the last lead back before all of them: rather
		 * twice than never. */
		hash = cut(l, c->hash);
		if (hash && next && cut(l, next->hash) == hash)
			hash--;
		r = list_upper(l, c->name, c->name_len, &found, upper_pos(l, hash));
	}
	return r;
}

static int list(struct listing *l, uint64_t pos)
{
	int r = 0;

	choose_tree(l, &pos);
	if (pos < POS_DOTDOT)
		r = list_dots(l, &pos);
	if (!r && pos < POS_LATER)
		r = list_lower_part(l, pos);
	if (!r && l->locked)
		r = list_upper_part(l, hash_before(pos));
	close_view(l);
	return r;
}

int ovl_readdir(struct overlay *o, struct ovl_req *rq, uint64_t id, uint64_t offset, bool plus,
	ovl_fill fill, void *arg)
{
	_cleanup_node_ struct ovl_node *dir = NULL;
	struct listing l = {.rq = rq, .plus = plus, .fill = fill, .arg = arg};
	int r;

	if (id == OVL_ROOT_ID)
		return ovl_root_readdir(o, rq, offset, plus, fill, arg);
	if (offset >= POS_FIRST << 1)
		return 0; /* none of ours: behind everything */
	r = ovl_dir_get(o, rq, id, &dir);
	if (r)
		return r;
	l.dir = dir;
	/* acquire: as in lookup */
	l.locked = atomic_load_explicit(&dir->dir->names.count, memory_order_acquire) != 0;
	if (l.locked)
		lock_acquire(&dir->dir->lock);
	r = list(&l, offset);
	if (l.locked)
		lock_release(&dir->dir->lock);
	if (r == -EAGAIN && l.emitted)
		ovl_need_drop(&rq->need);
	return r > 0 || l.emitted ? 0 : r;
}
