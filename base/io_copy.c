/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copy between files by the cheapest way that works: share the blocks (reflink), let the kernel
 * copy, read and write. A way that this pair of files does not support is left for the next one at
 * the point it had reached; a real failure (full disk, bad sector) is returned.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"

#define CHUNK_KERNEL (1ull << 30) /* at most 2 GiB fit one call */
#define CHUNK_BUFFER (256ull << 10)

struct copy {
	int in_fd, out_fd;
	uint64_t in_off, out_off;
	uint64_t left; /* UINT64_MAX: to the end */
	uint64_t copied;
};

static void advance(struct copy *c, uint64_t n)
{
	c->in_off += n;
	c->out_off += n;
	c->copied += n;
	if (c->left != UINT64_MAX)
		c->left -= n;
}

/* True if all is done. Any refusal is fine: the next way tells the real errors. */
static bool copy_reflink(struct copy *c)
{
	struct file_clone_range range = {
		.src_fd = c->in_fd, .src_offset = c->in_off, .dest_offset = c->out_off};
	struct stat st;
	uint64_t rest;

	if (fstat(c->in_fd, &st) < 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size <= c->in_off)
		return false;
	rest = (uint64_t)st.st_size - c->in_off;
	if (c->left < rest)
		rest = range.src_length =
			c->left; /* else 0: to the end, whose length need not be whole blocks */
	if (ioctl(c->out_fd, FICLONERANGE, &range) < 0)
		return false;
	advance(c, rest);
	return true;
}

/* 1: done or at the end; 0: not possible (any more), go on otherwise; negative errno. */
static int copy_in_kernel(struct copy *c)
{
	bool some = false;

	while (c->left > 0) {
		loff_t in = (loff_t)c->in_off, out = (loff_t)c->out_off;
		size_t want = (size_t)(c->left < CHUNK_KERNEL ? c->left : CHUNK_KERNEL);
		ssize_t n = copy_file_range(c->in_fd, &in, c->out_fd, &out, want, 0);

		if (n > 0) {
			advance(c, (uint64_t)n);
			some = true;
		} else if (n == 0) {
			return some; /* files of /proc also say 0 here: only reading tells the end
					for sure */
		} else if (errno == EXDEV || errno == EINVAL || errno == ENOSYS ||
			   errno == EOPNOTSUPP) {
			return 0;
		} else if (errno != EINTR) {
			return -errno;
		}
	}
	return 1;
}

static int copy_by_hand(struct copy *c)
{
	_cleanup_free_ char *buffer = malloc(CHUNK_BUFFER);

	if (!buffer)
		return -ENOMEM;
	while (c->left > 0) {
		size_t want = (size_t)(c->left < CHUNK_BUFFER ? c->left : CHUNK_BUFFER);
		ssize_t n = pread(c->in_fd, buffer, want, (off_t)c->in_off);
		int r;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;
		r = io_pwrite_full(c->out_fd, buffer, (size_t)n, c->out_off);
		if (r < 0)
			return r;
		advance(c, (uint64_t)n);
	}
	return 0;
}

int io_copy_range(int in_fd, uint64_t in_off, int out_fd, uint64_t out_off, uint64_t len,
	uint64_t *ret_copied)
{
	struct copy c = {.in_fd = in_fd,
		.out_fd = out_fd,
		.in_off = in_off,
		.out_off = out_off,
		.left = len};
	int r = copy_reflink(&c);

	if (!r)
		r = copy_in_kernel(&c);
	if (r == 0)
		r = copy_by_hand(&c);
	if (r < 0)
		return r;
	*ret_copied = c.copied;
	return 0;
}
