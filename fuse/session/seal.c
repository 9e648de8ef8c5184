/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See seal.h. A tmpfs whose one inode is its root:
 *
 *	<run_dir>/mnt/<tenant>    directory (mode 0) ◄─ seal ◄─ fuse.coppice
 *	a caller's mountpoint     directory          ◄─ seal ◄─ bind mount of a workspace
 *
 * No flag on the directory itself would do: it would need one more capability, a file system that
 * has such flags, and somebody to take it back after a reboot.
 */
#include "session/seal.h"

#include "session/mountinfo.h"

#include <base/cleanup.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEALS_MAX 16 /* at one place: more than one is the work of others */

static int configure(int fs)
{
	static const char *const settings[][2] = {
		{"source", SEAL_SOURCE}, {"size", "4k"}, {"nr_inodes", "1"}, {"mode", "0"}};

	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
		if (fsconfig(fs, FSCONFIG_SET_STRING, settings[i][0], settings[i][1], 0) < 0)
			return -errno;
	return fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0 ? -errno : 0;
}

int seal_put(int dir, int *ret_root)
{
	_cleanup_close_ int fs = fsopen("tmpfs", FSOPEN_CLOEXEC);
	_cleanup_close_ int root = -1;
	int r = fs < 0 ? -errno : configure(fs);

	if (r < 0)
		return r;
	root = fsmount(fs, FSMOUNT_CLOEXEC,
		MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOATIME);
	if (root < 0 || move_mount(root, "", dir, "",
				MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return -errno;
	*ret_root = TAKE_FD(root);
	return 0;
}

int seal_path(const char *path)
{
	_cleanup_close_ int dir = -1;
	_cleanup_close_ int root = -1;

	if (seal_there(path))
		return 0;
	dir = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return dir < 0 ? -errno : seal_put(dir, &root);
}

static int detach(int fd)
{
	char self[32];

	(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", fd); /* fits */
	return umount2(self, MNT_DETACH) < 0 ? -errno : 0;
}

void seal_undo(int root)
{
	(void)detach(root); /* one more seal, which the next who mounts there takes for its own */
}

bool seal_there(const char *path)
{
	struct mount_seals seals;

	return mountinfo_seals(path, &seals) == 0 && seals.any;
}

/* By descriptor, and only the seal that was seen: what others have mounted there is not touched.
 * The directories on the way may be a tenant's. */
static int take_top(const char *path, const struct mount_seals *seals)
{
	_cleanup_close_ int fd = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct statx st;

	if (fd < 0)
		return -errno;
	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &st) < 0)
		return -errno;
	if (st.stx_dev_major != seals->major || st.stx_dev_minor != seals->minor)
		return -EBUSY;
	return detach(fd);
}

int seal_take(const char *path)
{
	for (unsigned i = 0; i < SEALS_MAX; i++) {
		struct mount_seals seals;
		int r = mountinfo_seals(path, &seals);

		if (r == 0 && !seals.on_top)
			return 0;
		if (r == 0)
			r = take_top(path, &seals);
		if (r < 0)
			return r;
	}
	return -ELOOP;
}
