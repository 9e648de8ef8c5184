/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which set-id bits a change takes from a file. The kernel leaves that to us (HANDLE_KILLPRIV_V2);
 * the rule is its own, setattr_should_drop_suidgid: set-user-id goes; set-group-id goes from a file
 * that its group may execute, and from any other if the caller is neither root nor in its group.
 *
 * A request carries no supplementary groups. They are read from /proc, which costs something, but
 * only where they decide: a file that is set-group-id, not executable for the group, and of another
 * group than the caller's. A caller that cannot be asked counts as a stranger.
 */
#include "overlay/ovl_change.h"

#include <base/cleanup.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STATUS_MAX 16384 /* of /proc/<pid>/status: more than a thousand groups */
#define GROUPS     "\nGroups:"

static bool listed(const char *status, gid_t gid)
{
	const char *at = strstr(status, GROUPS);
	char *end;

	if (!at)
		return false;
	for (at += strlen(GROUPS); *at && *at != '\n'; at = end) {
		unsigned long n = strtoul(at, &end, 10);

		if (end == at) /* a blank at the end of the line */
			return false;
		if (n == gid && (*end == ' ' || *end == '\n')) /* not cut off */
			return true;
	}
	return false;
}

static bool has_group(const struct ovl_req *rq, gid_t gid)
{
	char path[32], status[STATUS_MAX];
	_cleanup_close_ int fd = -1;
	ssize_t n;

	if (rq->gid == gid)
		return true;
	if (rq->pid <= 0)
		return false;
	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)rq->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, status, sizeof(status) - 1);
	if (n < 0)
		return false;
	status[n] = '\0';
	return listed(status, gid);
}

mode_t ovl_mode_killed(const struct ovl_req *rq, const struct stat *now)
{
	mode_t mode = now->st_mode & ~(mode_t)S_ISUID;

	if (!(mode & S_ISGID))
		return mode;
	if ((mode & S_IXGRP) || (rq->uid != 0 && !has_group(rq, now->st_gid)))
		mode &= ~(mode_t)S_ISGID;
	return mode;
}

int ovl_kill_bits_locked(struct ovl_node *n, struct ovl_req *rq, int fd)
{
	mode_t mode;
	int r = ovl_attr_load_locked(n, rq);

	if (r < 0)
		return r;
	mode = ovl_mode_killed(rq, &n->attr);
	if (mode == n->attr.st_mode)
		return 0;
	return fchmod(fd, mode & 07777) < 0 ? -errno : 0;
}
