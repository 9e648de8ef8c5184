/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unlink and rmdir. A name whose entry the lower has too gets a whiteout; the exchange of object
 * and whiteout is one syscall, so the lower never shines through. An object that the kernel still
 * knows (lookups not forgotten: it may be open, NO_OPEN does not tell) moves to work/orphan under
 * its id, keeps its charge, and is reaped by the last FORGET. One with several names lives in
 * work/links.
 *
 *	object                      without a lower entry       over a lower entry
 *	upper, not known            unlink                      a whiteout renamed over it
 *	upper, known                rename to work/orphan       exchanged with a whiteout there
 *	lower only                  -                           link of the whiteout
 *	directory, whiteouts in it  to work/tmp, removed there  exchanged with a whiteout there
 *
 * A directory is condemned before its parent is locked: from then on nothing can be made in it, and
 * the two locks are never held together.
 */
#include "overlay/ovl_change.h"
#include "overlay/ovl_removed.h"

#include <base/io.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* ---- names that go ---- */

void ovl_place_clear_locked(struct ovl_place *p, bool whiteout)
{
	struct ovl_names *names = &p->dir->dir->names;
	struct ovl_child *c;

	if (whiteout) {
		/* the entry is there already, so this needs no memory: an upper object, or put
		 * before the whiteout was made */
		c = ovl_names_put(names, p->name, p->len, DT_WHT);
		if (c)
			c->node = NULL;
	} else {
		ovl_names_remove(names, p->name, p->len);
	}
}

void ovl_node_gone_locked(struct ovl_node *n)
{
	lock_acquire(&n->lock);
	if (ovl_has(n, OVL_ATTR)) {
		n->attr.st_nlink = 0;
		ovl_ctime_moves(&n->attr);
	}
	lock_release(&n->lock);
	if (S_ISDIR(n->type)) {
		ovl_fd_drop(n);
		ovl_flag_set(n, OVL_DEAD);
		ovl_flag_clear(n, OVL_UPPER);
	}
	ovl_node_detach_locked(n);
	if (ovl_has(n, OVL_UPPER)) /* ctime is the disk's, which what comes later must not fall
				      behind */
		ovl_attr_drop(n);
}

/* Put a whiteout in the place of a file, which goes away with it. */
static int whiteout_over(struct ovl_place *p)
{
	struct ovl_ws *ws = p->dir->ws;
	char tmp[OVL_WORK_NAME];
	int r;

	ovl_tmp_name(ws, tmp);
	r = ovl_whiteout_make(ws, ws->work_fd, tmp);
	if (r < 0)
		return r;
	ovl_crash_point(ws, "unlink:whiteout-in-tmp");
	if (renameat(ws->work_fd, tmp, p->dirfd, p->name) == 0)
		return 0;
	r = -errno;
	(void)unlinkat(ws->work_fd, tmp, 0); /* swept at the next start otherwise */
	return r;
}

static int drop_name(struct ovl_place *p, bool whiteout)
{
	if (whiteout)
		return whiteout_over(p);
	return unlinkat(p->dirfd, p->name, 0) < 0 ? -errno : 0;
}

static int name_to_orphan(struct ovl_place *p, struct ovl_node *n, bool whiteout)
{
	struct ovl_ws *ws = p->dir->ws;
	char name[OVL_WORK_NAME];
	int r = 0;

	ovl_orphan_name(n->id, name);
	if (whiteout)
		r = ovl_whiteout_swap(ws, p->dirfd, p->name, ws->work_fd, name);
	else if (renameat(p->dirfd, p->name, ws->work_fd, name) < 0)
		r = -errno;
	if (r == 0)
		atomic_fetch_add_explicit(&ws->orphan_count, 1, memory_order_relaxed);
	return r;
}

int ovl_linked_lost_name_locked(struct ovl_node *n)
{
	struct ovl_ws *ws = n->ws;
	struct stat st;
	char name[OVL_WORK_NAME], orphan[OVL_WORK_NAME];

	ovl_links_name(n->id, name);
	if (fstatat(ws->work_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	ovl_attr_set_locked(n, &st);
	if (st.st_nlink > 1)
		return 0;
	ovl_crash_point(ws, "unlink:last-link");
	if (ovl_node_in_use(n)) {
		ovl_orphan_name(n->id, orphan);
		if (renameat(ws->work_fd, name, ws->work_fd, orphan) < 0)
			return -errno;
		atomic_fetch_add_explicit(&ws->orphan_count, 1, memory_order_relaxed);
		/* ORPHAN first: a location is looked for in that order */
		ovl_flag_set(n, OVL_ORPHAN);
		ovl_flag_clear(n, OVL_LINKED);
		return 0;
	}
	if (unlinkat(ws->work_fd, name, 0) < 0)
		return -errno;
	ovl_flag_clear(n, OVL_LINKED | OVL_UPPER);
	ovl_charge_drop(n);
	return 0;
}

/* The object of an upper node loses this name. *ret_gone: it was the last one. */
static int take_name(struct ovl_place *p, struct ovl_req *rq, struct ovl_node *n, bool *ret_gone)
{
	bool whiteout = p->found.lower_exists;
	int r;

	LOCK_GUARD(&n->lock);
	r = ovl_attr_load_locked(n, rq);
	if (r < 0)
		return r;
	*ret_gone = true;
	if (ovl_has(n, OVL_LINKED)) {
		r = drop_name(p, whiteout);
		if (r == 0)
			(void)ovl_linked_lost_name_locked(
				n); /* the name is gone; recovery sweeps links/ */
		*ret_gone = n->attr.st_nlink == 0;
		return r;
	}
	if (ovl_node_in_use(n))
		return name_to_orphan(p, n, whiteout);
	r = drop_name(p, whiteout);
	if (r == 0) {
		ovl_flag_clear(n, OVL_UPPER);
		ovl_charge_drop(n);
	}
	return r;
}

/* ---- unlink ---- */

static int unlink_upper(struct ovl_place *p, struct ovl_req *rq, struct ovl_node *n)
{
	bool gone = false;
	int r = take_name(p, rq, n, &gone);

	if (r < 0)
		return r;
	p->found.child->node = NULL;
	if (gone)
		ovl_node_gone_locked(n);
	ovl_place_clear_locked(p, p->found.lower_exists);
	return 0;
}

int ovl_place_take_locked(struct ovl_place *p, struct ovl_req *rq)
{
	_cleanup_node_ struct ovl_node *n = NULL;
	int r = ovl_node_of_locked(p->dir, rq, p->name, p->len, &p->found, &n);

	return r < 0 ? r : unlink_upper(p, rq, n);
}

static int unlink_lower(struct ovl_place *p)
{
	int r;

	if (!ovl_names_put(&p->dir->dir->names, p->name, p->len, DT_WHT))
		return -ENOMEM;
	r = ovl_whiteout_make(p->dir->ws, p->dirfd, p->name);
	if (r < 0)
		ovl_names_remove(&p->dir->dir->names, p->name, p->len);
	return r;
}

static int unlink_locked(struct ovl_place *p, struct ovl_req *rq)
{
	_cleanup_node_ struct ovl_node *n = NULL;
	struct ovl_ws *ws = p->dir->ws;
	int r = 0;

	if (p->found.where == OVL_ABSENT)
		return -ENOENT;
	if (ovl_found_is_dir(&p->found))
		return -EISDIR;
	if (p->found.where == OVL_IN_UPPER)
		r = ovl_node_of_locked(p->dir, rq, p->name, p->len, &p->found, &n);
	if (r == 0)
		r = ovl_journal_intent(ws, &(struct ovl_intent){.unique = rq->unique,
						   .op = OVL_INTENT_UNLINK,
						   .id = n ? n->id : 0,
						   .parent = p->dir->id,
						   .name = p->name,
						   .backing_ino = n ? n->upper_ino : 0});
	if (r < 0)
		return r;
	ovl_crash_point(ws, "unlink:intent");
	r = n ? unlink_upper(p, rq, n) : unlink_lower(p);
	ovl_crash_point(ws, "unlink:after-syscall");
	if (r < 0) {
		ovl_journal_void(ws, rq->unique);
		return r;
	}
	ovl_place_touched(p);
	ovl_journal_done(ws, rq->unique);
	ovl_crash_point(ws, "unlink:done");
	return 0;
}

int ovl_unlink(struct overlay *o, struct ovl_req *rq, uint64_t parent, const char *name)
{
	_cleanup_place_ struct ovl_place p = {0};
	int r = ovl_place_enter(o, rq, parent, name, &p);

	if (r == 0)
		r = ovl_dir_raise(p.dir, rq, true);
	if (r < 0)
		return r;
	LOCK_GUARD(&p.dir->dir->lock);
	r = ovl_place_look_locked(&p, rq);
	return r < 0 ? r : unlink_locked(&p, rq);
}

/* ---- rmdir ---- */

int ovl_dir_condemn(struct ovl_node *dir, struct ovl_req *rq)
{
	int r = ovl_dir_load(dir, rq);

	if (r < 0)
		return r;
	LOCK_GUARD(&dir->dir->lock);
	if (ovl_has(dir, OVL_DEAD))
		return -ENOENT;
	r = ovl_dir_empty_locked(dir, rq);
	if (r == 0)
		ovl_flag_set(dir, OVL_DEAD);
	return r;
}

void ovl_dir_spare(struct ovl_node *dir)
{
	ovl_flag_clear(dir, OVL_DEAD);
}

/* The upper directory leaves its name; *ret_tmp is what remains in work/tmp to be removed, "" if
 * nothing. */
static int take_dir(struct ovl_place *p, struct ovl_node *n, char tmp[OVL_WORK_NAME])
{
	struct ovl_ws *ws = p->dir->ws;
	int r;

	tmp[0] = '\0';
	if (!p->found.lower_exists && n->dir->names.count == 0) {
		if (unlinkat(p->dirfd, p->name, AT_REMOVEDIR) == 0)
			return 0;
		if (errno != ENOTEMPTY)
			return -errno;
	}
	ovl_tmp_name(ws, tmp);
	if (p->found.lower_exists)
		r = ovl_whiteout_swap(ws, p->dirfd, p->name, ws->work_fd, tmp);
	else
		r = renameat(p->dirfd, p->name, ws->work_fd, tmp) < 0 ? -errno : 0;
	if (r < 0)
		tmp[0] = '\0';
	return r;
}

static int rmdir_syscalls(
	struct ovl_place *p, struct ovl_req *rq, struct ovl_node *n, char tmp[OVL_WORK_NAME])
{
	int r;

	tmp[0] = '\0';
	if (p->found.where == OVL_IN_LOWER)
		return unlink_lower(p);
	lock_acquire(&n->lock);
	r = ovl_attr_load_locked(
		n, rq); /* for those who have it open: they see it with st_nlink 0 */
	if (r == 0)
		r = ovl_removed_announce_locked(n);
	lock_release(&n->lock);
	ovl_crash_point(p->dir->ws, "rmdir:announced");
	if (r == 0)
		r = take_dir(p, n, tmp);
	if (r == 0)
		ovl_charge_object_end(p->dir->ws);
	return r;
}

static int rmdir_locked(
	struct ovl_place *p, struct ovl_req *rq, struct ovl_node *n, char tmp[OVL_WORK_NAME])
{
	struct ovl_ws *ws = p->dir->ws;
	int r = ovl_journal_intent(ws, &(struct ovl_intent){.unique = rq->unique,
					       .op = OVL_INTENT_RMDIR,
					       .id = n->id,
					       .parent = p->dir->id,
					       .name = p->name,
					       .backing_ino = n->upper_ino});

	if (r < 0)
		return r;
	ovl_crash_point(ws, "rmdir:intent");
	r = rmdir_syscalls(p, rq, n, tmp);
	ovl_crash_point(ws, "rmdir:after-syscall");
	if (r < 0) {
		ovl_journal_void(ws, rq->unique);
		return r;
	}
	if (p->found.child)
		p->found.child->node = NULL;
	ovl_node_gone_locked(n);
	ovl_place_clear_locked(p, p->found.lower_exists);
	p->dir->dir->subdirs--;
	ovl_place_touched(p);
	ovl_journal_done(ws, rq->unique);
	ovl_crash_point(ws, "rmdir:done");
	return 0;
}

/* The node of the directory under the name, pinned. */
static int find_victim(struct ovl_place *p, struct ovl_req *rq, struct ovl_node **ret_node)
{
	int r;

	LOCK_GUARD(&p->dir->dir->lock);
	r = ovl_place_look_locked(p, rq);
	if (r < 0)
		return r;
	if (p->found.where == OVL_ABSENT)
		return -ENOENT;
	if (!ovl_found_is_dir(&p->found))
		return -ENOTDIR;
	return ovl_node_of_locked(p->dir, rq, p->name, p->len, &p->found, ret_node);
}

/* The directory is condemned: is it still the one under the name? */
static int remove_condemned(
	struct ovl_place *p, struct ovl_req *rq, struct ovl_node *n, char tmp[OVL_WORK_NAME])
{
	_cleanup_node_ struct ovl_node *now = NULL;
	int r;

	LOCK_GUARD(&p->dir->dir->lock);
	r = ovl_place_look_locked(p, rq);
	if (r == 0)
		r = ovl_node_of_locked(p->dir, rq, p->name, p->len, &p->found, &now);
	if (r == 0 && now != n)
		r = -ENOENT;
	return r < 0 ? r : rmdir_locked(p, rq, n, tmp);
}

int ovl_rmdir(struct overlay *o, struct ovl_req *rq, uint64_t parent, const char *name)
{
	_cleanup_place_ struct ovl_place p = {0};
	_cleanup_node_ struct ovl_node *n = NULL;
	char tmp[OVL_WORK_NAME] = "";
	int r = ovl_place_enter(o, rq, parent, name, &p);

	if (r == 0)
		r = ovl_dir_raise(p.dir, rq, true);
	if (r == 0)
		r = find_victim(&p, rq, &n);
	if (r == 0)
		r = ovl_dir_condemn(n, rq);
	if (r < 0)
		return r;
	r = remove_condemned(&p, rq, n, tmp);
	if (r < 0)
		ovl_dir_spare(n);
	else if (*tmp)
		(void)io_remove_tree(
			p.dir->ws->work_fd, tmp); /* swept at the next start otherwise */
	return r;
}

/* ---- orphans ---- */

void ovl_orphan_reap(struct ovl_node *node)
{
	struct ovl_ws *ws = node->ws;
	char name[OVL_WORK_NAME];

	if (!ovl_has(node, OVL_UPPER) || !ovl_has(node, OVL_ORPHAN) || S_ISDIR(node->type))
		return;
	ovl_orphan_name(node->id, name);
	atomic_fetch_add(&ws->reaping, 1);
	(void)unlinkat(
		ws->work_fd, name, 0); /* swept, and charged until, the next start otherwise */
	ovl_flag_clear(node, OVL_UPPER);
	ovl_charge_drop(node);
	atomic_fetch_sub(&ws->reaping, 1);
	/* release: see ovl_quota_returns */
	atomic_fetch_sub_explicit(&ws->orphan_count, 1, memory_order_release);
}
