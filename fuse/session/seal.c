/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See seal.h. A tmpfs whose one inode is its root:
 *
 *	<run_dir>/mnt/<tenant>    directory (mode 0) ◄─ seal ◄─ fuse.coppice
 *	a caller's mountpoint     directory          ◄─ seal ◄─ bind mount of a workspace
 *
 * No flag on the directory itself would do: it would need one more capability, a file system that
 *has such flags, and somebody to take it back after a reboot.
 */
#include "session/seal.h"

#include "session/mountinfo.h"

#include <base/cleanup.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
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

/* The mount that came to `path` last, which the others there are beneath. */
struct top {
	const char *path;
	unsigned major, minor;
	bool sealed, on_top;
};

static bool is_seal(const struct mount_point *m)
{
	return strcmp(m->fstype, "tmpfs") == 0 && strcmp(m->source, SEAL_SOURCE) == 0;
}

static int remember(void *arg, const struct mount_point *m)
{
	struct top *t = arg;

	if (strcmp(m->path, t->path) != 0)
		return 0;
	t->on_top = is_seal(m);
	t->sealed = t->sealed || t->on_top;
	t->major = m->major;
	t->minor = m->minor;
	return 0;
}

bool seal_there(const char *path)
{
	struct top t = {.path = path};

	return mountinfo_each(remember, &t) == 0 && t.sealed;
}

/* By descriptor, and only the seal that was seen: what others have mounted there is not touched. */
static int take_top(const char *path, const struct top *t)
{
	struct open_how how = {
		.flags = O_PATH | O_DIRECTORY | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS};
	_cleanup_close_ int fd = (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));
	struct statx st;

	if (fd < 0)
		return -errno;
	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &st) < 0)
		return -errno;
	if (st.stx_dev_major != t->major || st.stx_dev_minor != t->minor)
		return -EBUSY;
	return detach(fd);
}

int seal_take(const char *path)
{
	for (unsigned i = 0; i < SEALS_MAX; i++) {
		struct top t = {.path = path};
		int r = mountinfo_each(remember, &t);

		if (r == 0 && !t.on_top)
			return 0;
		if (r == 0)
			r = take_top(path, &t);
		if (r < 0)
			return r;
	}
	return -ELOOP;
}
