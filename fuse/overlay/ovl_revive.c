/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking over a workspace whose process was killed while the kernel's connection lives on. The
 * kernel goes on to use the ids it knows (work/refs has the counts), so each must mean what it
 * meant. Blocks give back all untouched lower entries; here come back the nodes, from the NODE
 * records and what is really on disk, which has the last word:
 *
 *	work/orphan/<id>   removed and still known: an orphan again. With its name still there (a
 *	                   rename over it did not happen), or not known any more: goes
 *	work/links/<id>    opened there from now on too; without a name left it becomes an orphan
 *	parent and name    same type and inode number (or id mark): the node stands there, and above
 *	                   it, outermost first, the directories
 *	nothing            a removed directory that somebody is still in; else nobody knows it
 *
 * Open intents were resolved before, and the records of what had moved were corrected. Descriptors
 * and cached attributes come back by themselves.
 *
 * One thread, before anybody sees the workspace; blocks on the local disk. All of it can be done
 * again, if this process is killed as well.
 */
#include "overlay/ovl_change.h"
#include "overlay/ovl_state.h"

#include <base/cleanup.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define DEPTH_MAX 65536u /* more is a cycle */

struct revival {
	struct ovl_ws *ws;
	struct ovl_req rq;
	uint64_t *way; /* ids to be added, innermost first */
	size_t count, cap;
};

static bool is_known(struct ovl_ws *ws, uint64_t id)
{
	return ovl_ids_known(ws, ovl_local(id)) && ovl_refs_get(ws, ovl_local(id)) > 0;
}

/* A node of the last process, in the table. It stays as long as the kernel knows its id, or a child
 * does. */
static void settle(struct ovl_node *n, const struct stat *st)
{
	if (st) {
		LOCK_GUARD(&n->lock);
		n->charged_bytes = ovl_charge_of(st);
		ovl_attr_set_locked(n, st);
	}
	atomic_store(&n->journaled, true);
	n->ws->revived++;
}

/* ---- work/orphan, work/links ---- */

/* The id that a name in work/orphan or work/links stands for; 0: none of ours. */
static uint64_t id_of_name(const struct ovl_ws *ws, const char *name)
{
	uint64_t local;
	char *end, again[OVL_WORK_NAME];

	errno = 0;
	local = strtoull(name, &end, 16);
	if (errno || *end || local != ovl_local(local))
		return 0;
	ovl_orphan_name(local, again);
	return strcmp(strchr(again, '/') + 1, name) == 0 ? ws->serial << OVL_LOCAL_BITS | local : 0;
}

static int add_nameless(struct ovl_ws *ws, uint64_t id, unsigned flags, const struct stat *st)
{
	struct ovl_node_init init = {
		.id = id, .type = st->st_mode, .flags = OVL_UPPER | flags, .upper_ino = st->st_ino};
	struct ovl_node *n;
	bool made;
	int r = ovl_node_add(ws, &init, &n, &made);

	if (r)
		return r;
	if (made) {
		settle(n, st);
		r = ovl_journal_node(n); /* its record may still have the name */
	}
	ovl_unpin_raw(n);
	return r == -ENOSPC ? 0 : r; /* the next to take over looks at the disk too */
}

/* Does the object still have the name that its record says? */
static int still_named(struct ovl_ws *ws, uint64_t id, const struct stat *st, bool *ret_named)
{
	struct ovl_left_place place;
	_cleanup_close_ int fd = -1;
	struct stat named;
	int r = -ENOENT;

	*ret_named = false;
	if (ovl_journal_left(ws, id, &place) && place.node.name)
		r = ovl_journal_open_dir(ws, place.node.parent, &fd);
	if (r == 0 && fstatat(fd, place.name, &named, AT_SYMLINK_NOFOLLOW) < 0)
		r = -errno;
	if (r == 0)
		*ret_named = named.st_ino == st->st_ino;
	return r == -ENOENT || r == -EAGAIN || r == -ELOOP ? 0 : r;
}

static int revive_orphan(void *arg, int dirfd, const char *name, const struct stat *st)
{
	struct ovl_ws *ws = arg;
	uint64_t id = id_of_name(ws, name);
	bool named = true;
	int r = 0;

	if (id && is_known(ws, id) && !S_ISDIR(st->st_mode) && !ovl_is_whiteout(st))
		r = still_named(ws, id, st, &named);
	if (r < 0)
		return r;
	if (named)
		return unlinkat(dirfd, name, S_ISDIR(st->st_mode) ? AT_REMOVEDIR : 0) < 0 ? -errno
											  : 0;
	/* relaxed: a statistic */
	atomic_fetch_add_explicit(&ws->orphan_count, 1, memory_order_relaxed);
	return add_nameless(ws, id, OVL_ORPHAN, st);
}

static int revive_link(void *arg, int dirfd, const char *name, const struct stat *st)
{
	struct ovl_ws *ws = arg;
	uint64_t id = id_of_name(ws, name);
	char orphan[OVL_WORK_NAME];

	if (!id || !is_known(ws, id) || S_ISDIR(st->st_mode))
		return ovl_sweep_link(NULL, dirfd, name, st);
	if (st->st_nlink > 1)
		return add_nameless(ws, id, OVL_LINKED | OVL_NODE_XATTR, st);
	/* its last name went: seen again by revive_orphan */
	ovl_orphan_name(id, orphan);
	return renameat(dirfd, name, ws->work_fd, orphan) < 0 ? -errno : 0;
}

/* ---- what has a name ---- */

/* What the record says is really there. `st` is of parent's entry of that name. */
static int is_there(struct ovl_ws *ws, int dirfd, const struct ovl_left_node *left,
	const struct stat *st, bool *ret_there)
{
	struct ovl_block block;
	uint64_t local;
	int r;

	*ret_there = false;
	if ((st->st_mode & S_IFMT) != left->type || ovl_is_whiteout(st) ||
		(left->upper_ino && left->upper_ino != st->st_ino))
		return 0;
	*ret_there = true;
	/* A copy-up is announced before it has an inode; a directory at its own place has no mark.
	 */
	if (left->upper_ino || S_ISDIR(left->type) ||
		!ovl_block_of(ws, ovl_local(left->id), &block))
		return 0;
	r = ovl_mark_get(dirfd, left->name, &local);
	*ret_there = r == 0 && local == ovl_local(left->id);
	return r;
}

static int add_file(struct ovl_node *parent, const struct ovl_left_node *left,
	const struct stat *st, struct ovl_node **ret_node)
{
	struct ovl_node_init init = {.id = left->id,
		.type = left->type,
		.flags = OVL_UPPER,
		.parent = parent,
		.name = left->name,
		.name_len = left->name_len,
		.upper_ino = st->st_ino};
	struct ovl_child *child;
	struct ovl_node *n;
	bool made;
	int r;

	LOCK_GUARD(&parent->dir->lock);
	child = ovl_names_put(
		&parent->dir->names, left->name, left->name_len, (uint8_t)IFTODT(left->type));
	r = child ? ovl_node_add(parent->ws, &init, &n, &made) : -ENOMEM;
	if (r)
		return r;
	if (made) {
		child->node = n;
		settle(n, st);
	}
	*ret_node = n;
	return 0;
}

/* A directory comes back the way it is always found. So that this gives it the same id, a fresh one
 * needs its mark. NULL: it is another one. */
static int add_dir(struct revival *rv, struct ovl_node *parent, int dirfd,
	const struct ovl_left_node *left, struct ovl_node **ret_node)
{
	_cleanup_node_ struct ovl_node *n = NULL;
	struct ovl_block block;
	struct ovl_found found;
	uint64_t local;
	int r = ovl_mark_get(dirfd, left->name, &local);

	if (r == 0 && !local && !ovl_block_of(rv->ws, ovl_local(left->id), &block))
		r = ovl_mark_set(dirfd, left->name, ovl_local(left->id));
	if (r == 0)
		r = ovl_dir_load(parent, &rv->rq);
	if (r)
		return r;
	lock_acquire(&parent->dir->lock);
	r = ovl_find_locked(parent, &rv->rq, left->name, left->name_len, &found);
	if (r == 0)
		r = ovl_node_of_locked(parent, &rv->rq, left->name, left->name_len, &found, &n);
	lock_release(&parent->dir->lock);
	if (r || n->id != left->id)
		return r;
	settle(n, NULL);
	ovl_pin_raw(n);
	*ret_node = n;
	return 0;
}

/* Pinned (raw); NULL: it is not there any more. */
static int add_child(struct revival *rv, struct ovl_node *parent, const struct ovl_left_node *left,
	struct ovl_node **ret_node)
{
	struct stat st;
	bool there = false;
	int fd, r;

	*ret_node = NULL;
	if (!parent->dir || !ovl_has(parent, OVL_UPPER))
		return 0;
	r = ovl_fd_get(parent, &fd);
	if (r)
		return r;
	if (fstatat(fd, left->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		r = -errno;
	else
		r = is_there(rv->ws, fd, left, &st, &there);
	if (r == 0 && there)
		r = S_ISDIR(left->type) ? add_dir(rv, parent, fd, left, ret_node)
					: add_file(parent, left, &st, ret_node);
	ovl_fd_put(parent);
	return r == -ENOENT ? 0 : r;
}

static int push(struct revival *rv, uint64_t id)
{
	if (rv->count == DEPTH_MAX)
		return -ELOOP;
	if (rv->count == rv->cap) {
		size_t cap = rv->cap ? 2 * rv->cap : 64;
		uint64_t *way = reallocarray(rv->way, cap, sizeof(*way));

		if (!way)
			return -ENOMEM;
		rv->way = way;
		rv->cap = cap;
	}
	rv->way[rv->count++] = id;
	return 0;
}

/* The ids between a node that is in the table, returned pinned, and `id`, to rv->way. NULL: there
 * is no way. */
static int climb(struct revival *rv, uint64_t id, struct ovl_node **ret_top)
{
	struct ovl_left_place place;
	int r = 0;

	rv->count = 0;
	while (r == 0 && !(*ret_top = ovl_table_pin(rv->ws, id))) {
		if (!ovl_journal_left(rv->ws, id, &place) || !place.node.name)
			return 0;
		r = push(rv, id);
		id = place.node.parent;
	}
	return r;
}

static int revive_id(struct revival *rv, uint64_t id)
{
	struct ovl_node *node, *above;
	struct ovl_left_place place;
	int r = climb(rv, id, &node);

	while (r == 0 && node && rv->count > 0) {
		above = node;
		(void)ovl_journal_left(rv->ws, rv->way[--rv->count], &place); /* climb saw it */
		r = add_child(rv, above, &place.node, &node);
		ovl_unpin_raw(above);
	}
	if (r == 0 && node)
		ovl_unpin_raw(node);
	return r;
}

/* Somebody is still in a directory that was removed. */
static int add_removed_dir(struct ovl_ws *ws, uint64_t id)
{
	struct ovl_node_init init = {.id = id, .type = S_IFDIR, .flags = OVL_DEAD | OVL_ORPHAN};
	struct ovl_node *n;
	bool made;
	int r = ovl_node_add(ws, &init, &n, &made);

	if (r)
		return r;
	if (made) {
		atomic_store(&n->dir->names_loaded, true);
		settle(n, NULL);
		r = ovl_journal_node(n); /* its record may still have the name */
	}
	ovl_unpin_raw(n);
	return r == -ENOSPC ? 0 : r; /* the next to take over looks at the disk too */
}

static int revive_nameless(void *arg, const struct ovl_left_node *left)
{
	struct revival *rv = arg;

	return S_ISDIR(left->type) && is_known(rv->ws, left->id) ? add_removed_dir(rv->ws, left->id)
								 : 0;
}

static int revive_named(void *arg, const struct ovl_left_node *left)
{
	struct revival *rv = arg;
	struct ovl_node *n;
	int r;

	if (!is_known(rv->ws, left->id))
		return 0; /* as a parent perhaps */
	r = revive_id(rv, left->id);
	if (r || !S_ISDIR(left->type))
		return r;
	n = ovl_table_pin(rv->ws, left->id);
	if (!n)
		return add_removed_dir(rv->ws, left->id);
	ovl_unpin_raw(n);
	return 0;
}

static int walk_work(struct ovl_ws *ws, const char *name, ovl_walk_visit visit)
{
	_cleanup_close_ int fd = -1;
	int r = ovl_work_open(ws, name, &fd);

	return r < 0 ? r : ovl_walk(fd, visit, ws);
}

int ovl_revive(struct ovl_ws *ws)
{
	struct revival rv = {.ws = ws};
	int r = walk_work(ws, "links", revive_link);

	if (r == 0)
		r = walk_work(ws, "orphan", revive_orphan);
	if (r == 0)
		r = ovl_journal_each_nameless(ws, revive_nameless, &rv);
	if (r == 0)
		r = ovl_journal_each_node(ws, revive_named, &rv);
	ovl_need_drop(&rv.rq.need);
	free(rv.way);
	return r;
}

bool ovl_was_done(struct overlay *o, uint64_t id, uint64_t unique)
{
	struct ovl_ws *ws = ovl_ws_of(o, id);
	bool done = ws && ovl_journal_was_done(ws, unique);

	ovl_ws_unref(ws);
	return done;
}
