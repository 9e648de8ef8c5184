/* SPDX-License-Identifier: Apache-2.0 */
/* What a file is and holds, and the calls to which a tree in memory has little to say. */
#include "mini_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int ovl_getattr(struct overlay *o, struct ovl_req *rq, uint64_t id, struct stat *ret_attr)
{
	RWLOCK_READ_GUARD(&o->lock);
	const struct node *n = mini_node(o, id);

	if (!n)
		return -ESTALE;
	*ret_attr = n->attr;
	return mini_count_links(o, rq, id);
}

static int resize(struct node *n, size_t size)
{
	char *data = realloc(n->data, size + 1);

	if (!data)
		return -ENOMEM;
	if (size > (size_t)n->attr.st_size)
		memset(data + n->attr.st_size, 0, size - (size_t)n->attr.st_size);
	n->data = data;
	n->attr.st_size = (off_t)size;
	return 0;
}

int ovl_setattr(struct overlay *o, struct ovl_req *rq, uint64_t id, const struct stat *attr,
	unsigned set, struct stat *ret_attr)
{
	RWLOCK_WRITE_GUARD(&o->lock);
	struct node *n = mini_node(o, id);
	int r = 0;

	(void)rq;
	if (!n)
		return -ESTALE;
	atomic_store(&o->seen.set, set);
	if (set & OVL_SET_MODE)
		n->attr.st_mode = (n->attr.st_mode & S_IFMT) | (attr->st_mode & ~(mode_t)S_IFMT);
	if (set & OVL_SET_MTIME)
		n->attr.st_mtim = attr->st_mtim;
	if (set & OVL_SET_SIZE)
		r = resize(n, (size_t)attr->st_size);
	*ret_attr = n->attr;
	return r;
}

ssize_t ovl_read(
	struct overlay *o, struct ovl_req *rq, uint64_t id, void *buf, size_t len, uint64_t offset)
{
	RWLOCK_READ_GUARD(&o->lock);
	const struct node *n = mini_node(o, id);

	if (!n)
		return -ESTALE;
	if (mini_must_fetch(n, ""))
		return mini_need(o, rq, id);
	if (offset >= (uint64_t)n->attr.st_size)
		return 0;
	if (len > (uint64_t)n->attr.st_size - offset)
		len = (size_t)((uint64_t)n->attr.st_size - offset);
	memcpy(buf, n->data + offset, len);
	return (ssize_t)len;
}

ssize_t ovl_write(struct overlay *o, struct ovl_req *rq, uint64_t id, const void *data, size_t len,
	uint64_t offset, bool kill_suid)
{
	RWLOCK_WRITE_GUARD(&o->lock);
	struct node *n = mini_node(o, id);

	if (!n)
		return -ESTALE;
	if (mini_must_fetch(n, "")) /* as a copy-up would */
		return mini_need(o, rq, id);
	atomic_store(&o->seen.kill_suid, kill_suid);
	if (offset + len > (uint64_t)n->attr.st_size && resize(n, offset + len) < 0)
		return -ENOSPC;
	memcpy(n->data + offset, data, len);
	return (ssize_t)len;
}

int ovl_statfs(struct overlay *o, struct ovl_req *rq, uint64_t id, struct statvfs *ret_stat)
{
	(void)o;
	(void)rq;
	*ret_stat = (struct statvfs){
		.f_bsize = 4096, .f_frsize = 4096, .f_blocks = 1000 + id, .f_namemax = 63};
	return 0;
}

int ovl_fsync(struct overlay *o, struct ovl_req *rq, uint64_t id, bool data_only)
{
	(void)o;
	(void)rq;
	(void)id;
	(void)data_only;
	return 0;
}

int ovl_fallocate(
	struct overlay *o, struct ovl_req *rq, uint64_t id, int mode, uint64_t offset, uint64_t len)
{
	RWLOCK_WRITE_GUARD(&o->lock);

	(void)rq;
	if (mode || !mini_node(o, id))
		return -EOPNOTSUPP;
	return offset + len > (uint64_t)mini_node(o, id)->attr.st_size
		       ? resize(mini_node(o, id), offset + len)
		       : 0;
}

int64_t ovl_lseek(struct overlay *o, struct ovl_req *rq, uint64_t id, uint64_t offset, int whence)
{
	RWLOCK_READ_GUARD(&o->lock);

	(void)rq;
	return whence == SEEK_DATA ? (int64_t)offset : (int64_t)mini_node(o, id)->attr.st_size;
}

ssize_t ovl_copy_range(struct overlay *o, struct ovl_req *rq, const struct ovl_copy *copy)
{
	(void)o;
	(void)rq;
	(void)copy;
	return -EOPNOTSUPP;
}

ssize_t ovl_getxattr(struct overlay *o, struct ovl_req *rq, uint64_t id, const char *name,
	void *value, size_t cap)
{
	(void)o;
	(void)rq;
	(void)id;
	if (strcmp(name, "user.mini") != 0)
		return -ENODATA;
	if (cap > 0 && cap < 4)
		return -ERANGE;
	if (cap > 0)
		memcpy(value, "tiny", 4);
	return 4;
}

ssize_t ovl_listxattr(struct overlay *o, struct ovl_req *rq, uint64_t id, char *list, size_t cap)
{
	(void)o;
	(void)rq;
	(void)id;
	if (cap >= sizeof("user.mini"))
		memcpy(list, "user.mini", sizeof("user.mini"));
	return sizeof("user.mini");
}

int ovl_setxattr(struct overlay *o, struct ovl_req *rq, uint64_t id, const char *name,
	const void *value, size_t len, int flags)
{
	(void)o;
	(void)rq;
	(void)id;
	(void)name;
	(void)value;
	(void)len;
	(void)flags;
	return -ENOSYS; /* must not reach the kernel as it is */
}

int ovl_removexattr(struct overlay *o, struct ovl_req *rq, uint64_t id, const char *name)
{
	(void)o;
	(void)rq;
	(void)id;
	(void)name;
	return -ENODATA;
}

bool ovl_quota_returns(struct overlay *o, uint64_t id)
{
	(void)o;
	(void)id;
	return false; /* has no quota */
}

bool ovl_was_done(struct overlay *o, uint64_t id, uint64_t unique)
{
	(void)o;
	(void)id;
	(void)unique;
	return false; /* it changes no names */
}

/* It has no digests, so nothing to flush for. */
int ovl_set_flush(struct overlay *o, ovl_flush flush, void *arg, uint64_t deadline_ns)
{
	(void)o, (void)flush, (void)arg, (void)deadline_ns;
	return 0;
}
