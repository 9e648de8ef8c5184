/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls on the inode of an upper object, wherever it is. Files and directories are held by a
 * descriptor, so that a rename in between cannot make the call hit something else; symlinks, fifos,
 * sockets and devices cannot be opened without effects and are named below their directory, never
 * followed. A grip is on the stack of one call.
 */
#include "overlay/ovl_change.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

int ovl_grip_get(struct ovl_node *n, struct ovl_grip *ret_grip)
{
	int r;

	if (S_ISREG(n->type) || S_ISDIR(n->type)) {
		int fd;

		r = ovl_fd_get(n, &fd);
		if (r == 0)
			*ret_grip = (struct ovl_grip){.node = n, .dirfd = fd, .name = ""};
		return r;
	}
	*ret_grip = (struct ovl_grip){.node = NULL};
	r = ovl_at_get(n, &ret_grip->at);
	if (r < 0)
		return r;
	ret_grip->node = n;
	ret_grip->dirfd = ret_grip->at.dirfd;
	ret_grip->name = ret_grip->at.name;
	return 0;
}

void ovl_grip_put(struct ovl_grip *g)
{
	if (!g->node)
		return;
	if (*g->name)
		ovl_at_put(&g->at);
	else
		ovl_fd_put(g->node);
	g->node = NULL;
}

int ovl_grip_stat(const struct ovl_grip *g, struct stat *ret_st)
{
	int r = fstatat(g->dirfd, g->name, ret_st, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW);

	return r < 0 ? -errno : 0;
}

int ovl_grip_chmod(const struct ovl_grip *g, mode_t mode)
{
	char path[32];

	if (S_ISLNK(g->node->type))
		return -EOPNOTSUPP;
	if (*g->name)
		return fchmodat(g->dirfd, g->name, mode, 0) < 0 ? -errno : 0;
	if (S_ISREG(g->node->type))
		return fchmod(g->dirfd, mode) < 0 ? -errno : 0;
	/* O_PATH */
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", g->dirfd);
	return fchmodat(AT_FDCWD, path, mode, 0) < 0 ? -errno : 0;
}

int ovl_grip_chown(const struct ovl_grip *g, uid_t uid, gid_t gid)
{
	int r = fchownat(g->dirfd, g->name, uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW);

	return r < 0 ? -errno : 0;
}

int ovl_grip_utimens(const struct ovl_grip *g, const struct timespec times[2])
{
	int r = utimensat(g->dirfd, g->name, times, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW);

	return r < 0 ? -errno : 0;
}
