/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The overlay's own marks on upper objects: opaque and redirect in the names of kernel overlayfs,
 * and the id mark, which is how a node id survives FORGET and restart. They are trusted.*
 * attributes, which ovl_xattr.c neither shows nor lets anybody set.
 *
 * Attributes are reached by directory descriptor and name, through /proc/self/fd: no object is
 * opened for it (opening a fifo or a device has effects) and the last component is not followed.
 * What is read is checked: the upper may come from anywhere. Stateless; any thread; blocks on the
 * local disk only.
 */
#include "overlay/ovl_change.h"

#include <base/path.h>
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

#define PROC_PATH_MAX (sizeof("/proc/self/fd/-2147483648/") + PATH_NAME_MAX)

/* name "" is the descriptor's own object. */
static int proc_path(char path[PROC_PATH_MAX], int dirfd, const char *name)
{
	int len;

	if (*name)
		len = snprintf(path, PROC_PATH_MAX, "/proc/self/fd/%d/%s", dirfd, name);
	else
		len = snprintf(path, PROC_PATH_MAX, "/proc/self/fd/%d", dirfd);
	return len < 0 || (size_t)len >= PROC_PATH_MAX ? -ENAMETOOLONG : 0;
}

ssize_t ovl_xattr_at_get(int dirfd, const char *name, const char *attr, void *value, size_t cap)
{
	char path[PROC_PATH_MAX];
	ssize_t len;
	int r = proc_path(path, dirfd, name);

	if (r < 0)
		return r;
	/* the link of a descriptor itself must be followed, a name must not */
	len = *name ? lgetxattr(path, attr, value, cap) : getxattr(path, attr, value, cap);
	return len < 0 ? -errno : len;
}

int ovl_xattr_at_set(
	int dirfd, const char *name, const char *attr, const void *value, size_t len, int flags)
{
	char path[PROC_PATH_MAX];
	int r = proc_path(path, dirfd, name);

	if (r < 0)
		return r;
	r = *name ? lsetxattr(path, attr, value, len, flags)
		  : setxattr(path, attr, value, len, flags);
	return r < 0 ? -errno : 0;
}

int ovl_xattr_at_remove(int dirfd, const char *name, const char *attr)
{
	char path[PROC_PATH_MAX];
	int r = proc_path(path, dirfd, name);

	if (r < 0)
		return r;
	r = *name ? lremovexattr(path, attr) : removexattr(path, attr);
	return r < 0 ? -errno : 0;
}

ssize_t ovl_xattr_at_list(int dirfd, const char *name, char *list, size_t cap)
{
	char path[PROC_PATH_MAX];
	ssize_t len;
	int r = proc_path(path, dirfd, name);

	if (r < 0)
		return r;
	len = *name ? llistxattr(path, list, cap) : listxattr(path, list, cap);
	return len < 0 ? -errno : len;
}

/* No attribute, or a filesystem without any: both mean that there is no mark. */
static bool no_mark(ssize_t r)
{
	return r == -ENODATA || r == -EOPNOTSUPP;
}

int ovl_opaque_get(int dirfd, const char *name, bool *ret_opaque)
{
	char value;
	ssize_t len = ovl_xattr_at_get(dirfd, name, OVL_XATTR_OPAQUE, &value, sizeof(value));

	if (len < 0 && !no_mark(len) && len != -ERANGE)
		return (int)len;
	*ret_opaque = len == 1 && value == 'y';
	return 0;
}

int ovl_opaque_set(int fd)
{
	return ovl_xattr_at_set(fd, "", OVL_XATTR_OPAQUE, "y", 1, 0);
}

int ovl_redirect_get(int dirfd, const char *name, struct oid *ret_tree, bool *ret_found)
{
	char value[1 + OID_HEX_MAX];
	struct oid tree;
	ssize_t len = ovl_xattr_at_get(dirfd, name, OVL_XATTR_REDIRECT, value, sizeof(value) - 1);

	if (len < 0 && no_mark(len)) {
		*ret_found = false;
		return 0;
	}
	if (len == -ERANGE)
		return -EIO; /* not of ours: to show the wrong lower tree would be worse */
	if (len < 0)
		return (int)len;
	value[len] = '\0';
	if (value[0] != '/' || oid_parse(value + 1, &tree) < 0)
		return -EIO;
	*ret_tree = tree;
	*ret_found = true;
	return 0;
}

int ovl_redirect_set(int fd, const struct oid *tree)
{
	char value[1 + OID_HEX_MAX];

	value[0] = '/';
	(void)oid_hex(tree, value + 1);
	return ovl_xattr_at_set(fd, "", OVL_XATTR_REDIRECT, value, strlen(value), 0);
}

int ovl_mark_get(int dirfd, const char *name, uint64_t *ret_local)
{
	uint64_t le;
	ssize_t len = ovl_xattr_at_get(dirfd, name, OVL_XATTR_NODE, &le, sizeof(le));

	if (len < 0 && !no_mark(len) && len != -ERANGE)
		return (int)len;
	*ret_local = len == sizeof(le) ? le64toh(le) & OVL_LOCAL_MASK : 0;
	return 0;
}

int ovl_mark_set(int dirfd, const char *name, uint64_t local)
{
	uint64_t le = htole64(local);

	return ovl_xattr_at_set(dirfd, name, OVL_XATTR_NODE, &le, sizeof(le), 0);
}

int ovl_node_persist_id(struct ovl_node *node)
{
	struct ovl_at at;
	int r;

	if (!ovl_has(node, OVL_UPPER) || ovl_has(node, OVL_NODE_XATTR | OVL_DEAD) || !node->parent)
		return 0;
	r = ovl_at_get(node, &at);
	if (r < 0)
		return r;
	r = ovl_mark_set(at.dirfd, at.name, ovl_local(node->id));
	ovl_at_put(&at);
	if (r == 0)
		ovl_flag_set(node, OVL_NODE_XATTR);
	return r;
}
