/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fusectl, usually at /sys/fs/fuse/connections. It works whatever has become of the mount and of
 * who served it. Where it is not mounted we mount it without giving it a place: only the descriptor
 * leads to it, so it goes with the process and nobody else sees it. Any thread; does not block on
 * the connections.
 */
#include "session/fusectl.h"

#include <base/cleanup.h>
#include <base/io.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/vfs.h>
#include <unistd.h>

#define USUAL_PLACE   "/sys/fs/fuse/connections"
#define FUSECTL_MAGIC 0x65735543 /* FUSE_CTL_SUPER_MAGIC */

static int open_usual(int *ret_fd)
{
	_cleanup_close_ int fd = open(USUAL_PLACE, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct statfs st;

	if (fd < 0 || fstatfs(fd, &st) < 0)
		return -errno;
	if (st.f_type != FUSECTL_MAGIC)
		return -ENOENT; /* the empty directory of sysfs */
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int open_own(int *ret_fd)
{
	_cleanup_close_ int context = fsopen("fusectl", FSOPEN_CLOEXEC);
	int fd;

	if (context < 0 || fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	fd = fsmount(context, FSMOUNT_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

int fusectl_open(int *ret_fd)
{
	return open_usual(ret_fd) == 0 ? 0 : open_own(ret_fd);
}

static int open_file(int fd, unsigned minor, const char *name, int flags)
{
	char path[40];
	int file;

	(void)snprintf(path, sizeof(path), "%u/%s", minor, name); /* fits */
	file = openat(fd, path, flags | O_CLOEXEC | O_NOFOLLOW);
	return file < 0 ? -errno : file;
}

int fusectl_waiting(int fd, unsigned minor, uint64_t *ret_count)
{
	char text[32];
	ssize_t len;
	_cleanup_close_ int file = open_file(fd, minor, "waiting", O_RDONLY);

	if (file < 0)
		return file;
	len = read(file, text, sizeof(text) - 1);
	if (len <= 0)
		return len < 0 ? -errno : -ENOENT;
	text[len] = '\0';
	*ret_count = strtoull(text, NULL, 10);
	return 0;
}

int fusectl_abort(int fd, unsigned minor)
{
	_cleanup_close_ int file = open_file(fd, minor, "abort", O_WRONLY);

	return file < 0 ? file : io_write_full(file, "1", 1);
}
