/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WRITE: copy-up, reserve, pwrite at the given offset (also for O_APPEND: the kernel chose the
 * offset, and a request that is sent again after a restart must land on the same bytes), fstat,
 * settle the charge. Under the node's lock, so the charge is exact; the kernel serialises writes of
 * one file anyway.
 */
#include "overlay/ovl_change.h"

#include <errno.h>
#include <limits.h>
#include <sys/stat.h>

/* As much as goes in; an error only if nothing did. */
static ssize_t write_some(int fd, const char *data, size_t len, uint64_t offset)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pwrite(fd, data + done, len - done, (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return done ? (ssize_t)done : -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

struct writing {
	const char *data;
	size_t len;
	uint64_t offset;
	bool kill_suid;
};

static ssize_t write_node(struct ovl_node *n, struct ovl_req *rq, const struct writing *w, int fd)
{
	struct ovl_growth growth;
	ssize_t done;
	int r, bits = 0;

	LOCK_GUARD(&n->lock);
	r = ovl_growth_reserve_locked(n, fd, w->offset, w->len, &growth);
	if (r < 0)
		return r;
	done = write_some(fd, w->data, w->len, w->offset);
	/* not before: a write that fails changes nothing */
	if (done > 0 && w->kill_suid)
		bits = ovl_kill_bits_locked(n, rq, fd);
	r = ovl_growth_settle_locked(n, fd, &growth);
	if (done < 0)
		return done;
	return bits < 0 ? bits : r < 0 ? r : done;
}

ssize_t ovl_write(struct overlay *o, struct ovl_req *rq, uint64_t id, const void *data, size_t len,
	uint64_t offset, bool kill_suid)
{
	const struct writing w = {data, len, offset, kill_suid};
	struct ovl_obj obj = {0};
	ssize_t r;
	int fd;

	if (offset > INT64_MAX || len > INT64_MAX - offset)
		return -EFBIG;
	r = ovl_obj_get(o, rq, id, &obj);
	if (r < 0)
		return r;
	r = ovl_obj_writable(&obj, rq, true);
	if (r == 0 && !S_ISREG(obj.node->type))
		r = S_ISDIR(obj.node->type) ? -EISDIR : -EINVAL;
	if (r == 0)
		r = ovl_fd_get(obj.node, &fd);
	if (r == 0) {
		r = write_node(obj.node, rq, &w, fd);
		ovl_fd_put(obj.node);
	}
	ovl_obj_put(&obj);
	return r;
}
