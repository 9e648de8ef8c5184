/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Content. Where it comes from is decided by what the object is now, never by how it was opened:
 * the upper object if it has one, else the lower's blob. A copy-up in between is a write that comes
 * after this read.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "overlay/ovl_internal.h"
#include "overlay/ovl_state.h"
#include "storage/readahead.h"

/* Where the content of an object is: an upper descriptor (fd >= 0, to be put back), or a lower
 * file. */
struct source {
	struct ovl_obj obj;
	int fd;
	struct ovl_lower_file file;
};

static void source_put(struct source *s)
{
	if (s->fd >= 0)
		ovl_fd_put(s->obj.node);
	ovl_obj_put(&s->obj);
}

static int source_of_node(struct source *s)
{
	struct ovl_node *node = s->obj.node;

	s->file.mode = node->type;
	if (S_ISDIR(node->type))
		return -EISDIR;
	if (atomic_load(&node->flags) & OVL_UPPER)
		return ovl_fd_get(node, &s->fd);
	s->file = (struct ovl_lower_file){.mode = node->lower_mode,
		.size = node->lower_size,
		.size_known = true,
		.oid = node->lower_blob};
	return 0;
}

static int source_get(struct overlay *o, struct ovl_req *rq, uint64_t id, struct source *ret)
{
	struct source s = {.fd = -1};
	int r;

	if (id == OVL_ROOT_ID)
		return -EISDIR;
	r = ovl_obj_get(o, rq, id, &s.obj);
	if (r)
		return r;
	r = s.obj.node ? source_of_node(&s) : ovl_obj_entry(&s.obj, rq, &s.file);
	if (!r && S_ISDIR(s.file.mode))
		r = -EISDIR;
	if (r)
		source_put(&s);
	else
		*ret = s;
	return r;
}

void ovl_tell_missed(struct ovl_ws *ws, uint64_t id)
{
	struct readahead_place places[READAHEAD_DEPTH];
	struct ovl_block block;
	unsigned count = 0;

	if (!ws->lower->ops->missed)
		return;
	for (; count < READAHEAD_DEPTH && ovl_block_of(ws, id & OVL_LOCAL_MASK, &block); count++) {
		places[count].dir = block.tree;
		places[count].idx = ovl_block_idx(&block, id);
		id = block.dir_id;
	}
	if (count)
		ws->lower->ops->missed(ws->lower, places, count);
}

/* The size of a file is what a server said when its directory was listed; what its content has is
 * proved by its hash. If the two differ a reader would get a part, or zeros, as if that were all.
 */
static ssize_t check_end(const struct source *s, ssize_t n, size_t len, uint64_t offset)
{
	struct lower *lower = s->obj.ws->lower;
	uint64_t left = s->file.size - offset;
	char beyond;

	if (!s->file.size_known)
		return n;
	if ((uint64_t)n != (len < left ? len : left))
		return -EIO;
	if (len == left && lower->ops->read(lower, &s->file.oid, &beyond, 1, s->file.size) > 0)
		return -EIO;
	return n;
}

static ssize_t read_blob(
	struct source *s, struct ovl_req *rq, void *buf, size_t len, uint64_t offset)
{
	struct lower *lower = s->obj.ws->lower;
	ssize_t n;

	if (s->file.size_known && offset >= s->file.size)
		return 0; /* nothing to be fetched for */
	n = lower->ops->read(lower, &s->file.oid, buf, len, offset);
	if (n >= 0)
		return check_end(s, n, len, offset);
	if (n != -EAGAIN)
		return n;
	if (offset == 0)
		ovl_tell_missed(s->obj.ws, s->obj.id);
	return ovl_need_set(rq, s->obj.ws, LOWER_NEED_BLOB, &s->file.oid);
}

/* Noted before the kernel has them. */
static ssize_t read_pages(
	struct source *s, struct ovl_req *rq, void *buf, size_t len, uint64_t offset)
{
	if (!s->obj.ws->read_only)
		ovl_refs_pages_come(s->obj.ws, s->obj.id & OVL_LOCAL_MASK);
	return read_blob(s, rq, buf, len, offset);
}

ssize_t ovl_read(
	struct overlay *o, struct ovl_req *rq, uint64_t id, void *buf, size_t len, uint64_t offset)
{
	struct source s;
	ssize_t n;
	int r = source_get(o, rq, id, &s);

	if (r)
		return r;
	if (!S_ISREG(s.file.mode))
		n = -EINVAL;
	else if (offset > INT64_MAX)
		n = 0;
	else if (s.fd < 0)
		n = read_pages(&s, rq, buf, len, offset);
	else
		do
			n = pread(s.fd, buf, len, (off_t)offset);
		while (n < 0 && errno == EINTR);
	if (n == -1 && s.fd >= 0)
		n = -errno;
	source_put(&s);
	return n;
}

static int read_target(struct source *s, struct ovl_req *rq, char *buf, size_t cap)
{
	ssize_t n;

	if (!cap)
		return -ENAMETOOLONG;
	if (s->fd >= 0) {
		n = readlinkat(s->fd, "", buf, cap);
		if (n < 0)
			return -errno;
	} else {
		n = read_blob(s, rq, buf, cap, 0);
		if (n < 0)
			return (int)n;
	}
	if ((size_t)n >= cap)
		return -ENAMETOOLONG;
	buf[n] = 0;
	return 0;
}

int ovl_readlink(struct overlay *o, struct ovl_req *rq, uint64_t id, char *buf, size_t cap)
{
	struct source s;
	int r = source_get(o, rq, id, &s);

	if (r)
		return r == -EISDIR ? -EINVAL : r;
	r = S_ISLNK(s.file.mode) ? read_target(&s, rq, buf, cap) : -EINVAL;
	source_put(&s);
	return r;
}

/* A blob is all data: its only hole is at the end. */
static int64_t seek_blob(const struct source *s, struct ovl_req *rq, uint64_t offset, int whence)
{
	if (!s->file.size_known)
		return ovl_need_set(rq, s->obj.ws, LOWER_NEED_TREE, &s->obj.tree);
	if (offset >= s->file.size)
		return -ENXIO;
	return (int64_t)(whence == SEEK_DATA ? offset : s->file.size);
}

int64_t ovl_lseek(struct overlay *o, struct ovl_req *rq, uint64_t id, uint64_t offset, int whence)
{
	struct source s;
	int64_t n;
	int r;

	if ((whence != SEEK_DATA && whence != SEEK_HOLE) || offset > INT64_MAX)
		return -EINVAL;
	r = source_get(o, rq, id, &s);
	if (r)
		return r == -EISDIR ? -EINVAL : r;
	if (!S_ISREG(s.file.mode)) {
		n = -EINVAL;
	} else if (s.fd < 0) {
		n = seek_blob(&s, rq, offset, whence);
	} else {
		n = lseek(s.fd, (off_t)offset, whence); /* moves a position that nobody uses */
		if (n < 0)
			n = -errno;
	}
	source_put(&s);
	return n;
}
