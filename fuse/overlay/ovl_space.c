/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fallocate, copy_file_range and fsync: what changes or secures the space of a file without passing
 * data through us. Charged as a write is: reserve the range, do it, settle.
 */
#include "overlay/ovl_change.h"

#include <base/cleanup.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/stat.h>

/* A regular file with an upper object, and its descriptor. Release: ovl_fd_put(obj->node),
 * ovl_obj_put. */
static int open_writable(
	struct overlay *o, struct ovl_req *rq, uint64_t id, struct ovl_obj *obj, int *ret_fd)
{
	int r = ovl_obj_get(o, rq, id, obj);

	if (r < 0)
		return r;
	r = ovl_obj_writable(obj, rq, true);
	if (r == 0 && !S_ISREG(obj->node->type))
		r = S_ISDIR(obj->node->type) ? -EISDIR : -ENODEV;
	if (r == 0)
		r = ovl_fd_get(obj->node, ret_fd);
	if (r < 0)
		ovl_obj_put(obj);
	return r;
}

static bool takes_space(int mode)
{
	return !(mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE));
}

int ovl_fallocate(
	struct overlay *o, struct ovl_req *rq, uint64_t id, int mode, uint64_t offset, uint64_t len)
{
	struct ovl_growth growth = {0};
	struct ovl_obj obj = {0};
	int fd, r, r2;

	if (len == 0 || offset > INT64_MAX)
		return -EINVAL;
	if (len > INT64_MAX - offset)
		return -EFBIG;
	r = open_writable(o, rq, id, &obj, &fd);
	if (r < 0)
		return r;
	lock_acquire(&obj.node->lock);
	if (takes_space(mode))
		r = ovl_growth_reserve_locked(obj.node, fd, offset, len, &growth);
	if (r == 0) {
		r = fallocate(fd, mode, (off_t)offset, (off_t)len) < 0 ? -errno : 0;
		if (r == 0 && rq->uid != 0) /* the request does not say whether set-id bits go */
			r = ovl_kill_bits_locked(obj.node, rq, fd);
		r2 = ovl_growth_settle_locked(obj.node, fd, &growth);
		r = r < 0 ? r : r2;
	}
	lock_release(&obj.node->lock);
	ovl_fd_put(obj.node);
	ovl_obj_put(&obj);
	return r;
}

/* Descriptor of the source, if it is in an upper. */
static int open_source(
	struct overlay *o, struct ovl_req *rq, uint64_t id, struct ovl_obj *obj, int *ret_fd)
{
	int r = ovl_obj_get(o, rq, id, obj);

	if (r < 0)
		return r;
	if (!obj->node || !ovl_has(obj->node, OVL_UPPER) || !S_ISREG(obj->node->type))
		r = -EOPNOTSUPP;
	else
		r = ovl_fd_get(obj->node, ret_fd);
	if (r < 0)
		ovl_obj_put(obj);
	return r;
}

static ssize_t copy_locked(struct ovl_node *out, struct ovl_req *rq, int in_fd, int out_fd,
	const struct ovl_copy *copy)
{
	off_t in_off = (off_t)copy->in_offset, out_off = (off_t)copy->out_offset;
	struct ovl_growth growth;
	uint64_t len = copy->len;
	struct stat st;
	ssize_t n;
	int r, bits = 0;

	if (fstat(in_fd, &st) < 0)
		return -errno;
	if (in_off >= st.st_size)
		return 0;
	if (len > (uint64_t)(st.st_size - in_off))
		len = (uint64_t)(st.st_size - in_off);
	r = ovl_growth_reserve_locked(out, out_fd, copy->out_offset, len, &growth);
	if (r < 0)
		return r;
	n = copy_file_range(in_fd, &in_off, out_fd, &out_off, len, 0);
	if (n < 0)
		n = errno == EXDEV || errno == EINVAL ? -EOPNOTSUPP : -errno;
	else if (n > 0 && rq->uid != 0) /* the request does not say whether set-id bits go */
		bits = ovl_kill_bits_locked(out, rq, out_fd);
	r = ovl_growth_settle_locked(out, out_fd, &growth);
	if (n < 0)
		return n;
	return bits < 0 ? bits : r < 0 ? r : n;
}

ssize_t ovl_copy_range(struct overlay *o, struct ovl_req *rq, const struct ovl_copy *copy)
{
	struct ovl_obj in = {0}, out = {0};
	int in_fd, out_fd, r;
	ssize_t n;

	if (copy->in_offset > INT64_MAX || copy->out_offset > INT64_MAX)
		return -EINVAL;
	r = open_source(o, rq, copy->in_id, &in, &in_fd);
	if (r < 0)
		return r;
	n = open_writable(o, rq, copy->out_id, &out, &out_fd);
	if (n == 0) {
		lock_acquire(&out.node->lock);
		n = copy_locked(out.node, rq, in_fd, out_fd, copy);
		lock_release(&out.node->lock);
		ovl_fd_put(out.node);
		ovl_obj_put(&out);
	}
	ovl_fd_put(in.node);
	ovl_obj_put(&in);
	return n;
}

static int sync_fd(int fd, bool data_only)
{
	return (data_only ? fdatasync(fd) : fsync(fd)) < 0 ? -errno : 0;
}

/* A directory's descriptor is O_PATH, which cannot be synced. */
static int sync_dir(int dirfd, bool data_only)
{
	_cleanup_close_ int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : sync_fd(fd, data_only);
}

int ovl_fsync(struct overlay *o, struct ovl_req *rq, uint64_t id, bool data_only)
{
	struct ovl_obj obj = {0};
	int fd, r;

	(void)rq;
	if (id == OVL_ROOT_ID)
		return 0;
	r = ovl_obj_get(o, rq, id, &obj);
	if (r < 0)
		return r;
	/* what only the lower has cannot be lost */
	if (obj.node && ovl_has(obj.node, OVL_UPPER) &&
		(S_ISREG(obj.node->type) || S_ISDIR(obj.node->type))) {
		r = ovl_fd_get(obj.node, &fd);
		if (r == 0) {
			r = S_ISDIR(obj.node->type) ? sync_dir(fd, data_only)
						    : sync_fd(fd, data_only);
			ovl_fd_put(obj.node);
		}
	}
	ovl_obj_put(&obj);
	return r;
}
