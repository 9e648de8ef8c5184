/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A FUSE connection is born here: open /dev/fuse, mount it. O_NONBLOCK belongs to the open file
 * description, which the keeper, this process and its successor share, so it is set once, here. The
 * mount options are frozen for the life of the connection:
 *
 *	default_permissions	the kernel checks access, no ACCESS requests
 *	allow_other		jobs run under other users than the daemon
 *	nosuid, nodev		what a job creates cannot lend it privileges
 *	noatime			times of access are not kept
 */
#include "session/device.h"

#include "session/mountinfo.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <unistd.h>

int device_mount(const char *mountpoint, int *ret_fd)
{
	char options[128];
	int fd, r;

	fd = open("/dev/fuse", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	(void)snprintf(options, sizeof(options), /* two small numbers: it fits */
		"fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions", fd);
	if (mount("coppice", mountpoint, DEVICE_FSTYPE, MS_NOSUID | MS_NODEV | MS_NOATIME,
		    options) < 0) {
		r = -errno;
		(void)close(fd); /* nothing was written to it */
		return r;
	}
	*ret_fd = fd;
	return 0;
}

int device_detach(const char *mountpoint)
{
	return umount2(mountpoint, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 ? -errno : 0;
}

int device_unmount(const char *mountpoint)
{
	struct mount_seals seals;

	if (mountinfo_seals(mountpoint, &seals) == 0 && seals.on_top)
		return -EINVAL;
	return device_detach(mountpoint);
}

int device_abort(const char *mountpoint)
{
	/* It says EBUSY because the mount is in use, after having aborted the connection. */
	if (umount2(mountpoint, MNT_FORCE | UMOUNT_NOFOLLOW) < 0 && errno != EBUSY)
		return -errno;
	return 0;
}
