/* SPDX-License-Identifier: Apache-2.0 */
/*
 * O_TMPFILE: a file that is born an orphan. It lives in work/orphan under its id, like an unlinked
 * file that is still open; ovl_link may give it a name, and the last FORGET removes it otherwise. A
 * crash removes it too, as a reboot would.
 */
#include "overlay/ovl_change.h"

#include <base/cleanup.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

static int owner_of(struct ovl_node *dir, struct ovl_req *rq, gid_t *ret_gid)
{
	int r;

	LOCK_GUARD(&dir->lock);
	r = ovl_attr_load_locked(dir, rq);
	if (r == 0)
		*ret_gid = dir->attr.st_mode & S_ISGID ? dir->attr.st_gid : rq->gid;
	return r;
}

static int make_orphan(struct ovl_node *n, mode_t mode, uid_t uid, gid_t gid)
{
	struct ovl_ws *ws = n->ws;
	_cleanup_close_ int fd = -1;
	struct stat st;
	char name[OVL_WORK_NAME];

	ovl_orphan_name(n->id, name);
	fd = openat(ws->work_fd, name,
		O_RDWR | O_NOATIME | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (fchown(fd, uid, gid) < 0 || fchmod(fd, mode & 07777) < 0 || fstat(fd, &st) < 0) {
		int r = -errno;

		(void)unlinkat(ws->work_fd, name, 0); /* swept at the next start otherwise */
		return r;
	}
	lock_acquire(&n->lock);
	ovl_attr_set_locked(n, &st);
	lock_release(&n->lock);
	ovl_fd_adopt(n, TAKE_FD(fd));
	atomic_fetch_add_explicit(&ws->orphan_count, 1, memory_order_relaxed);
	return 0;
}

int ovl_tmpfile(struct overlay *o, struct ovl_req *rq, uint64_t parent, mode_t mode,
	struct ovl_entry *ret_entry)
{
	_cleanup_node_ struct ovl_node *dir = NULL, *n = NULL;
	struct ovl_ws *ws;
	gid_t gid = 0;
	int r;

	if (parent == OVL_ROOT_ID)
		return -EPERM;
	r = ovl_dir_get(o, rq, parent, &dir);
	if (r < 0)
		return r;
	ws = dir->ws;
	if (ws->read_only)
		return -EROFS;
	r = owner_of(dir, rq, &gid);
	if (r == 0)
		r = ovl_charge_object(ws);
	if (r < 0)
		return r;
	r = ovl_node_new_orphan(ws, S_IFREG, &n);
	if (r == 0) {
		r = make_orphan(n, mode, rq->uid, gid);
		ovl_crash_point(ws, "tmpfile:made");
		if (r < 0)
			ovl_flag_clear(n, OVL_UPPER); /* nothing to reap */
	}
	if (r < 0) {
		ovl_charge_object_end(ws);
		return r;
	}
	return ovl_entry_of(n, rq, ret_entry);
}
