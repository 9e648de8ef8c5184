/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking over a workspace whose process was killed while the kernel's connection lives on. The
 * kernel goes on to use the ids it knows (work/refs has the counts), so each must mean what it
 * meant. Blocks give back all untouched lower entries; here come back the nodes, from the NODE
 * records and what is really on disk, which has the last word. Before anybody sees the workspace:
 *
 *	work/orphan/<id>   removed and still known: an orphan again. With its name still there (a
 *	                   rename over it did not happen), or not known any more: goes
 *	work/links/<id>    opened there from now on too; without a name left it becomes an orphan
 *	no name            a removed directory that somebody is still in; else nobody knows it
 *	parent and name    comes back while calls are served already: ovl_left.c
 *
 * Open intents were resolved before, and the records of what had moved were corrected. Descriptors
 * and cached attributes come back by themselves.
 *
 * One thread, before anybody sees the workspace; blocks on the local disk. All of it can be done
 * again, if this process is killed as well.
 */
#include "overlay/ovl_change.h"
#include "overlay/ovl_left.h"
#include "overlay/ovl_state.h"

#include <base/cleanup.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

bool ovl_left_is_known(struct ovl_ws *ws, uint64_t id)
{
	return ovl_ids_known(ws, ovl_local(id)) && ovl_refs_get(ws, ovl_local(id)) > 0;
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
	struct ovl_node_init init = {.id = id,
		.type = st->st_mode,
		.flags = OVL_UPPER | flags,
		.upper_ino = st->st_ino,
		.upper_stat = st};
	struct ovl_node *n;
	bool made;
	int r = ovl_node_add(ws, &init, &n, &made);

	if (r)
		return r;
	if (made) {
		atomic_store(&n->journaled, true);
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

	if (id && ovl_left_is_known(ws, id) && !S_ISDIR(st->st_mode) && !ovl_is_whiteout(st))
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

	if (!id || !ovl_left_is_known(ws, id) || S_ISDIR(st->st_mode))
		return ovl_sweep_link(NULL, dirfd, name, st);
	if (st->st_nlink > 1)
		return add_nameless(ws, id, OVL_LINKED | OVL_NODE_XATTR, st);
	/* its last name went: seen again by revive_orphan */
	ovl_orphan_name(id, orphan);
	return renameat(dirfd, name, ws->work_fd, orphan) < 0 ? -errno : 0;
}

/* ---- what has a name ---- */

/* What the record says is really there. `st` is of parent's entry of that name. */
int ovl_left_is_there(struct ovl_ws *ws, int dirfd, const struct ovl_left_node *left,
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

/* Somebody is still in a directory that was removed. */
int ovl_left_add_removed(struct ovl_ws *ws, uint64_t id, const struct stat *attr)
{
	struct ovl_node_init init = {
		.id = id, .type = S_IFDIR, .flags = OVL_DEAD | OVL_ORPHAN, .upper_stat = attr};
	struct ovl_node *n;
	bool made;
	int r = ovl_node_add(ws, &init, &n, &made);

	if (r)
		return r;
	if (made) {
		atomic_store(&n->dir->names_loaded, true);
		atomic_store(&n->journaled, true);
		/* its record may still have the name */
		r = attr ? ovl_journal_removed(n, attr) : ovl_journal_node(n);
	}
	ovl_unpin_raw(n);
	return r == -ENOSPC ? 0 : r; /* the next to take over looks at the disk too */
}

static int walk_work(struct ovl_ws *ws, const char *name, ovl_walk_visit visit)
{
	_cleanup_close_ int fd = -1;
	int r = ovl_work_open(ws, name, &fd);

	return r < 0 ? r : ovl_walk(fd, visit, ws);
}

int ovl_revive(struct ovl_ws *ws)
{
	int r = walk_work(ws, "links", revive_link);

	if (r == 0)
		r = walk_work(ws, "orphan", revive_orphan);
	if (r == 0)
		r = ovl_left_open(ws);
	/* relaxed: nobody else is there yet */
	ws->revived = atomic_load_explicit(&ws->node_count, memory_order_relaxed) - 1 +
		      ovl_left_count(ws); /* all but the root */
	return r;
}

bool ovl_was_done(struct overlay *o, uint64_t id, uint64_t unique)
{
	struct ovl_ws *ws = ovl_ws_of(o, id);
	bool done = ws && ovl_journal_was_done(ws, unique);

	ovl_ws_unref(ws);
	return done;
}
