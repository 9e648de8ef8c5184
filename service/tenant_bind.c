/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a tenant may have a workspace bound. The daemon mounts as root, so the rule is what the
 * caller could have covered by itself: a directory of its own user, or what the configuration
 * names. Any thread; looks at the local disk.
 */
#include "tenants_internal.h"

#include <base/err.h>
#include <base/path.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <service/config.h>
#include <service/tenants.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static bool is_below(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	while (len > 1 && dir[len - 1] == '/')
		len--;
	return strncmp(path, dir, len) == 0 && (path[len] == '/' || len == 1);
}

/* The directory itself if it is there, else the one that it would be made in. */
static bool user_owns(const char *mountpoint, uid_t uid)
{
	char parent[PATH_MAX];
	struct stat st;
	char *slash;

	if (fstatat(AT_FDCWD, mountpoint, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return S_ISDIR(st.st_mode) && st.st_uid == uid;
	if (errno != ENOENT ||
		(size_t)snprintf(parent, sizeof(parent), "%s", mountpoint) >= sizeof(parent))
		return false;
	slash = strrchr(parent, '/');
	if (!slash)
		return false;
	slash[slash == parent ? 1 : 0] = '\0';
	return fstatat(AT_FDCWD, parent, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode) &&
	       st.st_uid == uid;
}

int tenant_may_bind(const struct tenant *tn, bool admin, const uid_t *uid, const char *mountpoint,
	struct err *e)
{
	if (admin)
		return 0;
	for (unsigned i = 0; tn->cfg && i < tn->cfg->mountpoint_count; i++)
		if (is_below(mountpoint, tn->cfg->mountpoints[i]))
			return 0;
	if (uid && user_owns(mountpoint, *uid))
		return 0;
	return err_set(e, -EACCES, "MOUNTPOINT_NOT_ALLOWED",
		"tenant %s may not have a workspace bound at %s: use a directory that the calling "
		"user owns, or one below "
		"tenants[].mountpoints of the configuration",
		tenant_name(tn), mountpoint);
}
