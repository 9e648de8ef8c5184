/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hard links. From its second name on an object also lives in work/links under its id: that is
 * where it is opened, whichever names come and go, and its id mark makes all of them one node. The
 * extra name is subtracted from st_nlink. A lower file is copied up first. An orphan (O_TMPFILE)
 * moves from work/orphan to its first name instead.
 *
 * The source's home directory and the new one are locked together, under ws->rename_lock, so that
 * the source's place holds still.
 */
#include "overlay/ovl_change.h"

#include <base/cleanup.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Give from_fd/from the new name: an extra one, or (move) instead of the old. A whiteout in the way
 * is replaced in one step. */
static int give_name(struct ovl_place *p, int from_fd, const char *from, bool move)
{
	struct ovl_ws *ws = p->dir->ws;
	char tmp[OVL_WORK_NAME];
	int r;

	if (move) /* over a whiteout: replaces it */
		return renameat(from_fd, from, p->dirfd, p->name) < 0 ? -errno : 0;
	if (!p->found.child)
		return linkat(from_fd, from, p->dirfd, p->name, 0) < 0 ? -errno : 0;
	ovl_tmp_name(ws, tmp);
	if (linkat(from_fd, from, ws->work_fd, tmp, 0) < 0)
		return -errno;
	ovl_crash_point(ws, "link:in-tmp");
	r = ovl_whiteout_replace(ws, tmp, p->dirfd, p->name, false);
	if (r < 0)
		(void)unlinkat(ws->work_fd, tmp, 0); /* swept at the next start otherwise */
	return r;
}

/* The object gets its entry in work/links, with a durable id. Caller holds the lock of its home
 * directory. */
static int become_linked(struct ovl_node *n, const char *links_name)
{
	struct ovl_at at;
	int r;

	if (ovl_has(n, OVL_LINKED))
		return 0;
	r = ovl_node_persist_id(n);
	if (r < 0)
		return r;
	r = ovl_at_get(n, &at);
	if (r < 0)
		return r;
	if (linkat(at.dirfd, at.name, n->ws->work_fd, links_name, 0) < 0)
		r = -errno;
	ovl_at_put(&at);
	if (r < 0)
		return r;
	ovl_crash_point(n->ws, "link:in-links");
	lock_acquire(&n->lock);
	ovl_flag_set(n, OVL_LINKED);
	lock_release(&n->lock);
	return 0;
}

static int link_orphan(struct ovl_place *p, struct ovl_node *n, struct ovl_child *child)
{
	_cleanup_free_ char *place_name = strndup(p->name, p->len);
	char name[OVL_WORK_NAME];
	int r;

	if (!place_name)
		return -ENOMEM;
	ovl_orphan_name(n->id, name);
	r = give_name(p, n->ws->work_fd, name, true);
	if (r < 0)
		return r;
	ovl_crash_point(n->ws, "link:after-syscall");
	child->node = n;
	atomic_fetch_sub_explicit(&n->ws->orphan_count, 1, memory_order_relaxed);
	ovl_attr_drop(n);
	ovl_node_move_locked(n, p->dir, TAKE_PTR(place_name), p->len);
	return 0;
}

/* Under the node's lock: the count must hold still against an unlink of another name in another
 * directory. */
static int link_named(struct ovl_place *p, struct ovl_req *rq, struct ovl_node *n)
{
	char name[OVL_WORK_NAME];
	struct stat st;
	int r;

	ovl_links_name(n->id, name);
	r = become_linked(n, name);
	if (r < 0)
		return r;
	LOCK_GUARD(&n->lock);
	r = ovl_attr_load_locked(n, rq);
	if (r == 0 && ovl_has(n, OVL_ORPHAN))
		r = -ENOENT; /* its last name went meanwhile */
	if (r == 0)
		r = give_name(p, n->ws->work_fd, name, false);
	if (r < 0)
		return r;
	ovl_crash_point(n->ws, "link:after-syscall");
	/* ctime as the disk has it: it may be loaded from there again */
	r = fstatat(n->ws->work_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
	if (r == 0)
		ovl_attr_set_locked(n, &st);
	else
		ovl_flag_clear(n, OVL_ATTR); /* asked again when needed */
	return 0;
}

static int link_syscalls(struct ovl_place *p, struct ovl_req *rq, struct ovl_node *n)
{
	struct ovl_names *names = &p->dir->dir->names;
	bool whiteout = p->found.child != NULL;
	struct ovl_child *child = ovl_names_put(names, p->name, p->len, (uint8_t)IFTODT(n->type));
	int r;

	if (!child)
		return -ENOMEM;
	r = ovl_has(n, OVL_ORPHAN) ? link_orphan(p, n, child) : link_named(p, rq, n);
	if (r == 0)
		return 0;
	if (whiteout)
		(void)ovl_names_put(
			names, p->name, p->len, DT_WHT); /* it exists: no memory needed */
	else
		ovl_names_remove(names, p->name, p->len);
	return r;
}

static int link_locked(struct ovl_place *p, struct ovl_req *rq, struct ovl_node *n)
{
	struct ovl_ws *ws = p->dir->ws;
	int r = ovl_place_look_locked(p, rq);

	if (r < 0)
		return r;
	if (p->found.where != OVL_ABSENT)
		return -EEXIST;
	if (!ovl_has(n, OVL_UPPER))
		return -ENOENT; /* its last name went meanwhile */
	r = ovl_journal_intent(ws, &(struct ovl_intent){.unique = rq->unique,
					   .op = OVL_INTENT_LINK,
					   .id = n->id,
					   .parent = n->parent ? n->parent->id : 0,
					   .new_parent = p->dir->id,
					   .new_name = p->name,
					   .backing_ino = n->upper_ino});
	if (r < 0)
		return r;
	ovl_crash_point(ws, "link:intent");
	r = link_syscalls(p, rq, n);
	if (r < 0) {
		ovl_journal_void(ws, rq->unique);
		return r;
	}
	ovl_place_touched(p);
	ovl_journal_done(ws, rq->unique);
	ovl_crash_point(ws, "link:done");
	return 0;
}

/* Both directories locked, or one if the source has no home that matters. */
static int link_node(struct ovl_place *p, struct ovl_req *rq, struct ovl_node *n)
{
	struct ovl_node *home;
	int r;

	LOCK_GUARD(&n->ws->rename_lock);
	home = n->parent && !ovl_has(n, OVL_ORPHAN) ? n->parent : p->dir;
	ovl_dir_lock_pair(home, p->dir);
	r = link_locked(p, rq, n);
	ovl_dir_unlock_pair(home, p->dir);
	return r;
}

int ovl_link(struct overlay *o, struct ovl_req *rq, uint64_t id, uint64_t new_parent,
	const char *new_name, struct ovl_entry *ret_entry)
{
	_cleanup_place_ struct ovl_place p = {0};
	struct ovl_obj obj = {0};
	int r;

	if (id >> OVL_LOCAL_BITS != new_parent >> OVL_LOCAL_BITS)
		return -EXDEV;
	r = ovl_place_enter(o, rq, new_parent, new_name, &p);
	if (r == 0)
		r = ovl_place_need_upper(&p, rq);
	if (r == 0)
		r = ovl_obj_get(o, rq, id, &obj);
	if (r < 0)
		return r;
	if (obj.node && S_ISDIR(obj.node->type))
		r = -EPERM;
	if (r == 0)
		r = ovl_obj_writable(&obj, rq, true);
	if (r == 0 && S_ISDIR(obj.node->type))
		r = -EPERM;
	if (r == 0)
		r = link_node(&p, rq, obj.node);
	if (r == 0)
		r = ovl_entry_of(obj.node, rq, ret_entry);
	ovl_obj_put(&obj);
	return r;
}
