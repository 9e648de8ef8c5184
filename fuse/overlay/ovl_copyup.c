/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copy-up of a lower file or symlink: once, whole, atomic. The copy is made in work/tmp with its
 * data, owner, mode, times and id mark, and renamed to its name; the inode number stays, so readers
 * that have it open go on. A crash leaves the old or the new state, so no intent is written (and
 * the unique of the request must stay free for the change that needed the copy).
 *
 *	entry of a lower directory ─► node (OVL_COPYING: one thread copies, others wait)
 *	  ─► work/tmp ─► its name, or work/orphan
 *
 * No directory lock is held while data is copied. So the name may have been removed meanwhile: the
 * copy then becomes an orphan, which serves those who have the file open. A lower file never moves
 * without an upper, so its home directory is that of its block.
 */
#include "overlay/ovl_change.h"
#include "overlay/ovl_usage.h"

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/path.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define COPY_WAIT_NS \
	(120 * NS_PER_S) /* for another thread's copy of the same file on the local disk */
#define BLOCK 4096ull

struct copyup {
	struct ovl_ws *ws;
	struct ovl_req *rq;
	bool with_data;

	struct ovl_node *dir;  /* home; pinned; may be dead */
	struct ovl_node *node; /* pinned */
	char name[PATH_NAME_MAX + 1];
	size_t len;
	struct ovl_found entry; /* as the lower has it, whatever hides it now */

	char tmp[OVL_WORK_NAME];
	int fd; /* of the copy; -1 for a symlink */
	uint64_t reserved;
};

static void copyup_fini(struct copyup *c)
{
	cleanup_close(&c->fd);
	ovl_node_unpin(c->node);
	ovl_node_unpin(c->dir);
}

/* The entry that the object is, from its directory in the lower. */
static int read_entry(struct copyup *c, const struct ovl_obj *obj)
{
	struct tree_entry e;
	struct tree_view view;
	int r = ovl_tree_view(c->ws, c->rq, &obj->tree, &view);

	if (r < 0)
		return r;
	if (obj->idx >= view.count) {
		tree_view_end(&view);
		return -ESTALE;
	}
	tree_view_entry(&view, obj->idx, &e);
	memcpy(c->name, e.name, e.name_len);
	c->name[e.name_len] = '\0';
	c->len = e.name_len;
	c->entry = (struct ovl_found){.where = OVL_IN_LOWER,
		.lower_exists = true,
		.lower_idx = obj->idx,
		.lower_id = obj->id,
		.lower_mode = e.mode,
		.lower_size = e.size,
		.lower_size_known = e.size_known};
	if (e.oid)
		c->entry.lower_oid = oid_from_bytes(e.oid, view.oid_len);
	tree_view_end(&view);
	if (!e.size_known)
		return ovl_need_set(c->rq, c->ws, LOWER_NEED_TREE, &obj->tree);
	return S_ISDIR(c->entry.lower_mode) ? -EISDIR : 0;
}

/* The home directory, with an upper unless it has been removed (its files may still be open). */
static int find_home(struct copyup *c, const struct ovl_obj *obj)
{
	struct overlay *o = c->ws->overlay;
	struct ovl_obj home = {0};
	int r = ovl_obj_get(o, c->rq, obj->dir_id, &home);

	if (r < 0)
		return r;
	if (home.node && ovl_has(home.node, OVL_DEAD))
		c->dir = ovl_node_pin(home.node);
	ovl_obj_put(&home);
	if (c->dir)
		return 0;
	r = ovl_dir_get(o, c->rq, obj->dir_id, &c->dir);
	return r < 0 ? r : ovl_dir_need_upper(c->dir, c->rq);
}

/* Does the name still show this lower entry? Caller holds the directory's lock. */
static int still_named_locked(struct copyup *c, bool *ret_named)
{
	struct ovl_found now;
	int r;

	if (ovl_has(c->dir, OVL_DEAD)) {
		*ret_named = false;
		return 0;
	}
	r = ovl_find_locked(c->dir, c->rq, c->name, c->len, &now);
	if (r == 0)
		*ret_named = now.where == OVL_IN_LOWER &&
			     ovl_entry_id(c->dir, now.lower_idx) == c->entry.lower_id;
	return r;
}

static int find_node(struct copyup *c, const struct ovl_obj *obj)
{
	if (obj->node) {
		c->node = ovl_node_pin(obj->node);
		return 0;
	}
	LOCK_GUARD(&c->dir->dir->lock);
	return ovl_node_of_locked(c->dir, c->rq, c->name, c->len, &c->entry, &c->node);
}

/* One thread copies. True in *ret_mine if it is this one; otherwise the copy is there. */
static int claim(struct copyup *c, bool *ret_mine)
{
	uint64_t deadline = clock_after(&clock_system, COPY_WAIT_NS);

	LOCK_GUARD(&c->ws->copy_lock);
	while (ovl_has(c->node, OVL_COPYING))
		if (!cond_wait_until(&c->ws->copy_done, &c->ws->copy_lock, deadline))
			return -ETIMEDOUT;
	*ret_mine = !ovl_has(c->node, OVL_UPPER);
	if (*ret_mine)
		ovl_flag_set(c->node, OVL_COPYING);
	return 0;
}

static void unclaim(struct copyup *c)
{
	LOCK_GUARD(&c->ws->copy_lock);
	ovl_flag_clear(c->node, OVL_COPYING);
	cond_broadcast(&c->ws->copy_done);
}

static int make_symlink(struct copyup *c)
{
	char target[PATH_MAX];
	ssize_t len;

	if (c->entry.lower_size >= sizeof(target))
		return -ENAMETOOLONG;
	len = c->ws->lower->ops->read(
		c->ws->lower, &c->entry.lower_oid, target, sizeof(target) - 1, 0);
	if (len < 0)
		return (int)len;
	if ((uint64_t)len != c->entry.lower_size)
		return -EIO; /* as copy_content */
	target[len] = '\0';
	return symlinkat(target, c->ws->work_fd, c->tmp) < 0 ? -errno : 0;
}

/* One byte more than there should be is asked for: a content of another size than its directory
 * says is not passed on as this file. */
static int copy_content(struct copyup *c)
{
	struct lower *lower = c->ws->lower;
	uint64_t size = c->entry.lower_size;
	struct stat st;
	int r = lower->ops->copy(lower, &c->entry.lower_oid, c->fd, size + 1);

	if (r < 0)
		return r;
	if (fstat(c->fd, &st) < 0)
		return -errno;
	return (uint64_t)st.st_size == size ? 0 : -EIO;
}

static int make_file(struct copyup *c)
{

	c->fd = openat(c->ws->work_fd, c->tmp,
		O_RDWR | O_NOATIME | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (c->fd < 0)
		return -errno;
	if (!c->with_data || c->entry.lower_size == 0)
		return 0;
	return copy_content(c);
}

/* Owner, mode, times and the id: all before anybody can see it. */
static int dress(struct copyup *c)
{
	int work_fd = c->ws->work_fd;
	struct stat st;

	ovl_lower_attr(c->ws, c->node->id, c->entry.lower_mode, c->entry.lower_size, 0, &st);
	const struct timespec times[2] = {st.st_atim, st.st_mtim};

	if (fchownat(work_fd, c->tmp, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (c->fd >= 0 && fchmod(c->fd, st.st_mode & 07777) < 0)
		return -errno;
	if (utimensat(work_fd, c->tmp, times, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return ovl_mark_set(work_fd, c->tmp, ovl_local(c->node->id));
}

static int reserve(struct copyup *c)
{
	uint64_t bytes = 0;
	int r = ovl_charge_object(c->ws);

	if (r < 0)
		return r;
	if (c->with_data && S_ISREG(c->entry.lower_mode))
		bytes = (c->entry.lower_size + BLOCK - 1) & ~(BLOCK - 1);
	r = ovl_usage_charge(c->ws, QUOTA_BYTES, bytes);
	if (r < 0)
		ovl_charge_object_end(c->ws);
	else
		c->reserved = bytes;
	return r;
}

/* Rename the copy to its name. Caller holds the directory's lock. */
static int name_copy_locked(struct copyup *c)
{
	struct ovl_names *names = &c->dir->dir->names;
	struct ovl_times times;
	struct ovl_child *child;
	int dirfd, r = ovl_fd_get(c->dir, &dirfd);

	if (r < 0)
		return r;
	child = ovl_names_put(
		names, c->name, c->len, S_ISLNK(c->entry.lower_mode) ? DT_LNK : DT_REG);
	r = child ? ovl_times_get(dirfd, &times) : -ENOMEM;
	/* Before the name changes: a process that takes over must find that the id is in the upper.
	 * While it is not, the record says nothing, because the name has no such mark. */
	if (r == 0)
		r = ovl_journal_node(c->node);
	if (r == 0 && renameat2(c->ws->work_fd, c->tmp, dirfd, c->name, RENAME_NOREPLACE) < 0)
		r = -errno;
	if (r == 0) {
		ovl_crash_point(c->ws, "copyup:renamed");
		ovl_times_put(dirfd, &times);
		child->node = c->node;
	} else if (child) {
		ovl_names_remove(names, c->name, c->len);
	}
	ovl_fd_put(c->dir);
	return r;
}

static int orphan_copy_locked(struct copyup *c)
{
	char name[OVL_WORK_NAME];

	ovl_orphan_name(c->node->id, name);
	if (renameat(c->ws->work_fd, c->tmp, c->ws->work_fd, name) < 0)
		return -errno;
	if (!ovl_has(c->node, OVL_ORPHAN))
		ovl_node_detach_locked(c->node);
	atomic_fetch_add_explicit(&c->ws->orphan_count, 1, memory_order_relaxed);
	return 0;
}

/* The node now has an upper object; its attributes and charge are those of the copy. */
static int publish_locked(struct copyup *c, const struct stat *st)
{
	struct ovl_node *n = c->node;

	lock_acquire(&n->lock);
	ovl_flag_set(n, OVL_UPPER | OVL_NODE_XATTR);
	ovl_charge_settle_locked(n, st);
	ovl_attr_set_locked(n, st);
	lock_release(&n->lock);
	if (c->fd >= 0)
		ovl_fd_adopt(n, TAKE_FD(c->fd));
	atomic_fetch_add_explicit(&c->ws->copied_up, 1, memory_order_relaxed);
	return ovl_journal_node(n);
}

static int install(struct copyup *c)
{
	struct stat st;
	bool named = false;
	int r;

	LOCK_GUARD(&c->dir->dir->lock);
	r = still_named_locked(c, &named);
	if (r < 0)
		return r;
	if (fstatat(c->ws->work_fd, c->tmp, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	r = named ? name_copy_locked(c) : orphan_copy_locked(c);
	return r < 0 ? r : publish_locked(c, &st);
}

static int copy(struct copyup *c)
{
	int r = reserve(c);

	if (r < 0)
		return r;
	ovl_tmp_name(c->ws, c->tmp);
	r = S_ISLNK(c->entry.lower_mode) ? make_symlink(c) : make_file(c);
	ovl_crash_point(c->ws, "copyup:data");
	if (r == 0)
		r = dress(c);
	ovl_crash_point(c->ws, "copyup:dressed");
	if (r == 0)
		r = install(c);
	ovl_charge_bytes_end(c->ws, c->reserved); /* the node was charged what it really takes */
	if (r < 0 && !ovl_has(c->node, OVL_UPPER)) {
		(void)unlinkat(c->ws->work_fd, c->tmp, 0); /* may not be there */
		ovl_charge_object_end(c->ws);
	}
	if (r == -EAGAIN && c->rq->need.kind == LOWER_NEED_NONE)
		r = ovl_need_set(c->rq, c->ws, LOWER_NEED_BLOB, &c->entry.lower_oid);
	return r;
}

static int run(struct copyup *c, const struct ovl_obj *obj)
{
	bool mine = false;
	int r = read_entry(c, obj);

	if (r == 0)
		r = find_home(c, obj);
	if (r == 0)
		r = find_node(c, obj);
	if (r == 0)
		r = claim(c, &mine);
	if (r < 0 || !mine)
		return r;
	r = copy(c);
	unclaim(c);
	return r;
}

/* The object's node, from a pin of ours. An object has one reference on the workspace, which it has
 * already. */
static void give_node(struct ovl_obj *obj, struct ovl_node *pinned)
{
	obj->node = pinned;
	(void)ovl_ws_unref(obj->ws);
}

/* A directory that nobody entered yet. */
static int copyup_dir(struct ovl_obj *obj, struct ovl_req *rq)
{
	_cleanup_node_ struct ovl_node *dir = NULL;
	int r = ovl_dir_get(obj->ws->overlay, rq, obj->id, &dir);

	if (r == 0)
		r = ovl_dir_need_upper(dir, rq);
	if (r == 0)
		give_node(obj, TAKE_PTR(dir));
	return r;
}

int ovl_copyup(struct ovl_obj *obj, struct ovl_req *rq, bool with_data)
{
	struct copyup c = {.ws = obj->ws, .rq = rq, .with_data = with_data, .fd = -1};
	int r;

	if (obj->node && ovl_has(obj->node, OVL_UPPER))
		return 0;
	if (obj->ws->read_only)
		return -EROFS;
	if (obj->node && S_ISDIR(obj->node->type))
		return ovl_dir_need_upper(obj->node, rq);
	if (!obj->dir_id)
		return -ESTALE; /* neither an upper object nor a lower entry any more */
	rq->need.kind = LOWER_NEED_NONE;
	r = run(&c, obj);
	if (r == 0 && !obj->node)
		give_node(obj, ovl_node_pin(c.node));
	copyup_fini(&c);
	return r == -EISDIR ? copyup_dir(obj, rq) : r;
}

int ovl_obj_writable(struct ovl_obj *obj, struct ovl_req *rq, bool with_data)
{
	if (obj->ws->read_only)
		return -EROFS;
	if (obj->node && ovl_has(obj->node, OVL_DEAD))
		return 0; /* a removed directory has nothing on disk: see ovl_setattr.c */
	return ovl_copyup(obj, rq, with_data);
}
