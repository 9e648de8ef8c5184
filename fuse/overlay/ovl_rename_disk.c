/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A rename on disk. Whatever is in the way, the visible change is one renameat2:
 *
 *	over nothing, a file or an empty directory: rename, with RENAME_WHITEOUT if the lower has
 *	the old name
 *
 *	of a directory to where a whiteout is: exchange; the whiteout is then at the old name, where
 *	it stays if the lower has that name, and goes otherwise
 *
 *	exchange: exchange
 *
 * Before it, without any visible effect: a directory that moves gets its id mark and a redirect to
 * its lower tree (or opaque, if it has none, so that the lower of its new name does not show); a
 * target directory that is empty but full of whiteouts becomes opaque and really empty; a target
 * file that is still in use gets a second link in work/orphan.
 */
#include "overlay/ovl_removed.h"
#include "overlay/ovl_rename_internal.h"

#include <base/cleanup.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

/* The directory is going to stand at `to`: what must it say about its lower? */
static int mark_dir(struct ovl_node *dir, const struct ovl_place *to)
{
	const struct ovl_dir *d = dir->dir;
	int fd, r = ovl_node_persist_id(dir);

	if (r < 0)
		return r;
	r = ovl_fd_get(dir, &fd);
	if (r < 0)
		return r;
	if (d->has_lower && !oid_is_none(&d->lower_tree))
		r = ovl_redirect_set(fd, &d->lower_tree);
	else if (to->found.lower_exists)
		r = ovl_opaque_set(fd);
	ovl_fd_put(dir);
	return r;
}

/* A condemned directory is empty for everyone; make it so on disk. Opaque first: its whiteouts hide
 * lower entries until they go. */
static int clear_target_dir(struct ovl_moving *m)
{
	struct ovl_node *n = m->target;
	int fd, r;

	if (n->dir->names.count == 0)
		return 0;
	r = ovl_node_persist_id(n);
	if (r == 0)
		r = ovl_fd_get(n, &fd);
	if (r < 0)
		return r;
	r = ovl_opaque_set(fd);
	if (r == 0) {
		ovl_crash_point(m->ws, "rename:target-opaque");
		r = ovl_empty_dir(fd);
	}
	ovl_fd_put(n);
	return r;
}

static int keep_target(struct ovl_moving *m)
{
	char name[OVL_WORK_NAME];

	ovl_orphan_name(m->target->id, name);
	if (linkat(m->to.dirfd, m->to.name, m->ws->work_fd, name, 0) < 0)
		return -errno;
	m->target_kept = true;
	return 0;
}

static int prepare_target(struct ovl_moving *m)
{
	struct ovl_node *n = m->target;
	int r;

	lock_acquire(&n->lock);
	r = ovl_attr_load_locked(n, m->rq); /* for those who have it open */
	if (r == 0 && S_ISDIR(n->type) && ovl_has(n, OVL_UPPER))
		r = ovl_removed_announce_locked(n);
	lock_release(&n->lock);
	if (S_ISDIR(n->type))
		return r < 0 ? r : clear_target_dir(m);
	m->target_linked = ovl_has(n, OVL_LINKED);
	if (r < 0 || m->target_linked || !ovl_node_in_use(n))
		return r;
	return keep_target(m);
}

int ovl_moving_prepare_locked(struct ovl_moving *m)
{
	bool exchange = m->flags & RENAME_EXCHANGE;
	int r = m->is_dir ? mark_dir(m->source, &m->to) : 0;

	if (r == 0 && exchange && S_ISDIR(m->target->type))
		r = mark_dir(m->target, &m->from);
	if (r == 0 && m->target && !exchange)
		r = prepare_target(m);
	ovl_crash_point(m->ws, "rename:prepared");
	return r;
}

void ovl_moving_abandon_locked(struct ovl_moving *m)
{
	char name[OVL_WORK_NAME];

	if (!m->target_kept)
		return;
	ovl_orphan_name(m->target->id, name);
	(void)unlinkat(m->ws->work_fd, name, 0); /* swept at the next start otherwise */
	m->target_kept = false;
}

static int rename_flags(struct ovl_moving *m, unsigned flags)
{
	if (renameat2(m->from.dirfd, m->from.name, m->to.dirfd, m->to.name, flags) < 0)
		return -errno;
	ovl_crash_point(m->ws, "rename:after-syscall");
	return 0;
}

static int dir_over_whiteout(struct ovl_moving *m)
{
	int r = rename_flags(m, RENAME_EXCHANGE);

	if (r == 0 && !m->from.found.lower_exists)
		(void)unlinkat(m->from.dirfd, m->from.name,
			0); /* a whiteout that hides nothing is harmless */
	return r;
}

int ovl_moving_do_locked(struct ovl_moving *m)
{
	bool whiteout_in_way = m->to.found.where == OVL_ABSENT && m->to.found.child;

	if (m->flags & RENAME_EXCHANGE)
		return rename_flags(m, RENAME_EXCHANGE);
	if (m->is_dir && whiteout_in_way)
		return dir_over_whiteout(m);
	return rename_flags(m, m->from.found.lower_exists ? RENAME_WHITEOUT : 0);
}
