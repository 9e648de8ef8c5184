/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whiteouts: a character device 0/0 in the upper says that a name of the lower is gone, as in
 * kernel overlayfs. They are all hard links of one inode, work/whiteout, so that removing a lower
 * file costs one link(2) and no inode; when that inode is full (EMLINK) a new one takes its place.
 *
 * rename(2) between two links of one inode does nothing and reports success, so a whiteout is never
 * renamed over a whiteout here: names that carry one are exchanged, linked or unlinked. Stateless;
 * caller holds the directory's lock.
 */
#include "overlay/ovl_change.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/sysmacros.h>

#define WHITEOUT_NAME "whiteout"

bool ovl_is_whiteout(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0);
}

/* Put a fresh inode in place of work/whiteout, atomically: others may link to it right now. */
static int renew(struct ovl_ws *ws)
{
	char tmp[OVL_WORK_NAME];
	int r;

	ovl_tmp_name(ws, tmp);
	if (mknodat(ws->work_fd, tmp, S_IFCHR, makedev(0, 0)) < 0)
		return -errno;
	if (renameat(ws->work_fd, tmp, ws->work_fd, WHITEOUT_NAME) == 0)
		return 0;
	r = -errno;
	(void)unlinkat(ws->work_fd, tmp, 0); /* swept at the next start otherwise */
	return r;
}

int ovl_whiteout_make(struct ovl_ws *ws, int dirfd, const char *name)
{
	for (int attempt = 0; attempt < 3; attempt++) {
		int r;

		if (linkat(ws->work_fd, WHITEOUT_NAME, dirfd, name, 0) == 0)
			return 0;
		r = -errno;
		/* ENOENT is the first whiteout of this workspace, or the directory is gone, which
		 * the next round tells */
		if (r != -EMLINK && r != -ENOENT)
			return r;
		if (attempt == 2)
			return r;
		r = renew(ws);
		if (r < 0)
			return r;
	}
	return -EMLINK; /* others filled the fresh inode twice meanwhile: not with 65,000 links */
}

int ovl_whiteout_swap(
	struct ovl_ws *ws, int dirfd, const char *name, int to_fd, const char *to_name)
{
	int r = ovl_whiteout_make(ws, to_fd, to_name);

	if (r < 0)
		return r;
	ovl_crash_point(ws, "whiteout:linked");
	if (renameat2(to_fd, to_name, dirfd, name, RENAME_EXCHANGE) == 0)
		return 0;
	r = -errno;
	(void)unlinkat(to_fd, to_name, 0); /* swept at the next start otherwise */
	return r;
}

int ovl_whiteout_replace(
	struct ovl_ws *ws, const char *tmp, int dirfd, const char *name, bool is_dir)
{
	if (!is_dir)
		return renameat(ws->work_fd, tmp, dirfd, name) < 0 ? -errno : 0;
	if (renameat2(ws->work_fd, tmp, dirfd, name, RENAME_EXCHANGE) < 0)
		return -errno;
	ovl_crash_point(ws, "whiteout:exchanged");
	(void)unlinkat(ws->work_fd, tmp, 0); /* the whiteout; swept at the next start otherwise */
	return 0;
}
