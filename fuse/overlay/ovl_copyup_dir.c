/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An upper directory for a directory that so far only the lower has, and for all above it. It is
 * made complete in work/tmp and renamed into place, so a crash leaves it there or not, and what is
 * seen does not change either way: same owner, mode and times, same id (it stays at its original
 * place, so the id is that of the lower entry and needs no mark).
 *
 * Takes ws->rename_lock for the slow path, which happens once per directory: a directory without an
 * upper cannot be renamed, and nothing above it can while the lock is held, so parents may be
 * followed.
 */
#include "overlay/ovl_change.h"
#include "overlay/ovl_usage.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

/* The copy in work/tmp. */
static int make_copy(struct ovl_node *dir, const char *tmp)
{
	struct ovl_ws *ws = dir->ws;
	struct stat st;

	ovl_lower_attr(ws, dir->id, S_IFDIR | 0755, 0, 0, &st);
	const struct timespec times[2] = {st.st_atim, st.st_mtim};

	if (mkdirat(ws->work_fd, tmp, 0700) < 0)
		return -errno;
	if (fchownat(ws->work_fd, tmp, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) == 0 &&
		fchmodat(ws->work_fd, tmp, st.st_mode & 07777, 0) == 0 &&
		utimensat(ws->work_fd, tmp, times, AT_SYMLINK_NOFOLLOW) == 0)
		return 0;
	return -errno;
}

static int put_in_place(struct ovl_node *parent, struct ovl_node *dir, const char *tmp)
{
	struct ovl_times times;
	int dirfd, r;

	r = ovl_fd_get(parent, &dirfd);
	if (r < 0)
		return r;
	r = ovl_times_get(dirfd, &times);
	if (r == 0 && renameat2(dir->ws->work_fd, tmp, dirfd, dir->name, RENAME_NOREPLACE) < 0)
		r = -errno;
	if (r == 0) {
		ovl_crash_point(dir->ws, "copyup-dir:renamed");
		ovl_times_put(dirfd, &times);
	}
	ovl_fd_put(parent);
	return r;
}

static int charge(struct ovl_ws *ws, bool for_removal)
{
	if (!for_removal)
		return ovl_charge_object(ws);
	ovl_usage_force(ws, QUOTA_INODES, 1);
	return 0;
}

/* Caller holds parent->dir->lock and the rename lock. */
static int copy_dir_locked(struct ovl_node *parent, struct ovl_node *dir, bool for_removal)
{
	struct ovl_names *names = &parent->dir->names;
	struct ovl_ws *ws = dir->ws;
	struct ovl_child *child;
	char tmp[OVL_WORK_NAME];
	int r;

	if (ovl_has(dir, OVL_UPPER))
		return 0; /* another call was first */
	if (ovl_has(dir, OVL_DEAD) || ovl_names_find(names, dir->name, dir->name_len))
		return -ENOENT; /* removed meanwhile */
	r = charge(ws, for_removal);
	if (r < 0)
		return r;
	child = ovl_names_put(names, dir->name, dir->name_len, DT_DIR);
	ovl_tmp_name(ws, tmp);
	r = child ? make_copy(dir, tmp) : -ENOMEM;
	ovl_crash_point(ws, "copyup-dir:made");
	if (r == 0)
		r = put_in_place(parent, dir, tmp);
	if (r < 0) {
		(void)unlinkat(ws->work_fd, tmp, AT_REMOVEDIR); /* may not be there */
		if (child)
			ovl_names_remove(names, dir->name, dir->name_len);
		ovl_charge_object_end(ws);
		return r;
	}
	child->node = dir;
	ovl_flag_set(dir, OVL_UPPER);
	ovl_attr_drop(dir);
	return ovl_journal_node(dir);
}

int ovl_dir_raise(struct ovl_node *dir, struct ovl_req *rq, bool for_removal)
{
	struct ovl_ws *ws = dir->ws;

	if (ovl_has(dir, OVL_UPPER))
		return 0;
	if (ws->read_only)
		return -EROFS;
	LOCK_GUARD(&ws->rename_lock);
	while (!ovl_has(dir, OVL_UPPER)) {
		struct ovl_node *lowest = dir;
		int r;

		while (lowest->parent && !ovl_has(lowest->parent, OVL_UPPER))
			lowest = lowest->parent;
		if (!lowest->parent)
			return -ESTALE; /* the root has an upper from the start */
		r = ovl_dir_load(lowest->parent, rq);
		if (r < 0)
			return r;
		LOCK_GUARD(&lowest->parent->dir->lock);
		r = copy_dir_locked(lowest->parent, lowest, for_removal);
		if (r < 0)
			return r;
	}
	return 0;
}

int ovl_dir_need_upper(struct ovl_node *dir, struct ovl_req *rq)
{
	return ovl_dir_raise(dir, rq, false);
}
