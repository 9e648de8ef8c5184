/* SPDX-License-Identifier: Apache-2.0 */
/*
 * df shows the quota: the tightest limit of the workspace and its tenant is the size, what the
 * accounts still allow is free, and what the disk below really has caps what is available. Without
 * a limit it is the disk.
 */
#include <errno.h>
#include <sys/statvfs.h>

#include "base/path.h"
#include "overlay/ovl_internal.h"
#include "overlay/ovl_state.h"

#define BLOCK_BYTES 4096u

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t tightest_limit(const struct quota *q, enum quota_kind kind)
{
	uint64_t limit = QUOTA_UNLIMITED;

	for (; q; q = q->parent)
		limit = min_u64(limit, quota_limit(q, kind));
	return limit;
}

/* `disk`: of the filesystem below, in any block size; NULL: none to be considered. */
static void fill(const struct quota *q, const struct statvfs *disk, struct statvfs *ret)
{
	uint64_t disk_total = disk ? disk->f_blocks * disk->f_frsize / BLOCK_BYTES : 0;
	uint64_t disk_avail = disk ? disk->f_bavail * disk->f_frsize / BLOCK_BYTES : UINT64_MAX;
	uint64_t bytes = tightest_limit(q, QUOTA_BYTES), inodes = tightest_limit(q, QUOTA_INODES);

	*ret = (struct statvfs){
		.f_bsize = BLOCK_BYTES,
		.f_frsize = BLOCK_BYTES,
		.f_namemax = PATH_NAME_MAX,
		.f_blocks = disk_total,
		.f_bfree = disk ? disk->f_bfree * disk->f_frsize / BLOCK_BYTES : 0,
		.f_files = disk ? disk->f_files : 0,
		.f_ffree = disk ? disk->f_ffree : 0,
	};
	if (bytes != QUOTA_UNLIMITED) {
		ret->f_blocks = bytes / BLOCK_BYTES;
		ret->f_bfree =
			min_u64(quota_available(q, QUOTA_BYTES) / BLOCK_BYTES, ret->f_blocks);
	}
	if (inodes != QUOTA_UNLIMITED) {
		ret->f_files = inodes;
		ret->f_ffree = min_u64(quota_available(q, QUOTA_INODES), inodes);
	}
	ret->f_bavail = min_u64(ret->f_bfree, disk_avail);
	ret->f_favail = disk ? min_u64(ret->f_ffree, disk->f_favail) : ret->f_ffree;
}

static void root_statfs(struct overlay *o, struct statvfs *ret_stat)
{
	struct list *first;
	struct quota *q = NULL;

	RWLOCK_READ_GUARD(&o->lock);
	first = list_first(&o->workspaces);
	if (first)
		q = list_entry(first, struct ovl_ws, link)->quota->parent; /* the tenant's */
	fill(q, NULL, ret_stat);
}

int ovl_statfs(struct overlay *o, struct ovl_req *rq, uint64_t id, struct statvfs *ret_stat)
{
	struct ovl_ws *ws;
	struct statvfs disk;
	int r = 0;

	(void)rq; /* every call has one */
	if (id == OVL_ROOT_ID) {
		root_statfs(o, ret_stat);
		return 0;
	}
	ws = ovl_ws_of(o, id);
	if (!ws)
		return -ESTALE;
	if (fstatvfs(ws->work_fd, &disk) < 0)
		r = -errno;
	else
		fill(ws->quota, &disk, ret_stat);
	ovl_ws_unref(ws);
	return r;
}
