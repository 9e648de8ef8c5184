/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a caller may have its workspace bound: a real path (no symlinks on the way, so that what is
 * compared here is what is mounted on), outside of our own directories, empty or not there yet, and
 * not the place of another mount.
 */
#include "mounts_internal.h"

#include <base/cleanup.h>
#include <base/path.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse/session.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <service/config.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool is_inside(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	return strncmp(path, dir, len) == 0 && (path[len] == '/' || !path[len]);
}

static int check_form(const struct mounts *m, const char *path, struct err *e)
{
	const char *dirs[] = {m->config.cfg->run_dir, m->config.cfg->data_dir};
	char clean[MOUNT_TEXT_MAX + 1];

	if (path[0] != '/')
		return err_field(e, "mountpoint", "must be an absolute path");
	if (path_normalize(path, clean, sizeof(clean)) || strcmp(path + 1, clean) != 0 || !clean[0])
		return err_field(e, "mountpoint",
			"must not be / and must not contain \"//\", \".\", \"..\" or a slash at "
			"the end");
	for (unsigned i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
		_cleanup_free_ char *real = realpath(dirs[i], NULL);

		if (is_inside(path, dirs[i]) || (real && is_inside(path, real)))
			return err_field(e, "mountpoint", "must not be inside %s", dirs[i]);
	}
	return 0;
}

/* Could a directory be made in it? Known before anything is begun. */
static int check_makes(const char *parent, const char *path, struct err *e)
{
	struct statfs s;

	if (statfs(parent, &s) == 0 && !(s.f_flags & ST_RDONLY) && s.f_type != PROC_SUPER_MAGIC &&
		s.f_type != SYSFS_MAGIC && s.f_type != CGROUP2_SUPER_MAGIC)
		return 0;
	return err_set(e, -EROFS, "MOUNTPOINT_UNUSABLE",
		"the mountpoint %s is not there and cannot be made: nothing can be made in %s",
		path, parent);
}

/* The directory that the mountpoint is in must be there and be named by its real path. */
static int check_parent(const char *path, struct err *e)
{
	_cleanup_free_ char *parent = strdup(path);
	_cleanup_free_ char *real = NULL;
	char *slash;

	if (!parent)
		return err_set(e, -ENOMEM, "", "no memory");
	slash = strrchr(parent, '/');
	slash[slash == parent ? 1 : 0] = '\0';
	real = realpath(parent, NULL);
	if (!real)
		return err_field(e, "mountpoint", "the directory %.200s must be there: %s", parent,
			strerror(errno));
	if (strcmp(real, parent) != 0)
		return err_field(e, "mountpoint",
			"there is a symbolic link in the path; use %.200s%s", real,
			strrchr(path, '/'));
	return access(path, F_OK) == 0 ? 0 : check_makes(real, path, e);
}

static int check_empty(const char *path, struct err *e)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	bool empty = true;

	if (!dir) {
		int err = -errno;

		if (fd >= 0)
			(void)close(fd);
		return err_set(e, err, "MOUNTPOINT_UNUSABLE",
			"the mountpoint %s is not a directory that can be used: %s", path,
			strerror(-err));
	}
	for (const struct dirent *entry; empty && (entry = readdir(dir));)
		empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
	(void)closedir(dir);
	if (!empty)
		return err_set(e, -ENOTEMPTY, "MOUNTPOINT_NOT_EMPTY",
			"the mountpoint %s is not empty", path);
	return 0;
}

int mountpoint_check(const struct mounts *m, const char *path, bool *ret_make, struct err *e)
{
	struct stat st;
	int err = check_form(m, path, e);

	if (!err)
		err = check_parent(path, e);
	if (err)
		return err;
	if (lstat(path, &st) < 0) {
		if (errno != ENOENT)
			return err_set(e, -errno, "MOUNTPOINT_UNUSABLE",
				"the mountpoint %s cannot be used: %s", path, strerror(errno));
		*ret_make = true;
		return 0;
	}
	if (!S_ISDIR(st.st_mode))
		return err_set(e, -ENOTDIR, "MOUNTPOINT_UNUSABLE",
			"the mountpoint %s is not a directory", path);
	*ret_make = false;
	return check_empty(path, e);
}

int mountpoint_free_locked(struct mounts *m, const char *path, struct err *e)
{
	list_for_each (it, &m->all) {
		const struct mount *mt = list_entry(it, struct mount, link);
		const char *other = mt->rec.mountpoint;

		if (!other || mt->rec.state == MOUNT_DELETED || mt->rec.state == MOUNT_FAILED)
			continue;
		if (is_inside(path, other) || is_inside(other, path))
			return err_set(e, -EBUSY, "MOUNTPOINT_IN_USE",
				"the mountpoint %s is in use by another mount (at %s)", path,
				other);
	}
	return 0;
}

int mountpoint_refused(const char *path, int err, struct err *e)
{
	struct err why = *e;

	if (err == -ETIMEDOUT || err == -ENOMEM || why.reason[0])
		return err_wrap(e, err, "mountpoint %s", path);
	return err_set(e, err, err == -ENOTEMPTY ? "MOUNTPOINT_NOT_EMPTY" : "MOUNTPOINT_UNUSABLE",
		"the mountpoint %s cannot be used: %s", path, err_message(&why));
}

/* Not through a link: the directories on the way may be a tenant's. */
void mountpoint_remove(struct mounts *m, const struct mount_record *r)
{
	struct open_how how = {
		.flags = O_PATH | O_DIRECTORY | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS};
	_cleanup_free_ char *parent = r->mountpoint_made ? strdup(r->mountpoint) : NULL;
	_cleanup_close_ int fd = -1;
	char *slash = parent ? strrchr(parent, '/') : NULL;

	if (r->mountpoint)
		(void)sess_unseal(m->config.farm, r->mountpoint); /* it may be gone */
	if (!slash)
		return;
	*slash = '\0';
	fd = (int)syscall(SYS_openat2, AT_FDCWD, *parent ? parent : "/", &how, sizeof(how));
	if (fd >= 0) /* not empty any more: then it is not ours to remove */
		(void)unlinkat(fd, slash + 1, AT_REMOVEDIR);
}
