/* SPDX-License-Identifier: Apache-2.0 */
/* Mapped files that grow; see ovl_mapfile.h. Blocks on local disk only; threads as the caller
 * arranges. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "overlay/ovl_mapfile.h"

#define PAGE_BYTES ((size_t)4096)
#define STEP_BYTES ((size_t)64 << 10)

static size_t round_up(size_t n, size_t to)
{
	return (n + to - 1) / to * to;
}

/* The file again; -EIO: another one has its name. */
static int reopen(const struct ovl_mapfile *m, int *ret_fd)
{
	_cleanup_close_ int fd = openat(m->dirfd, m->name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (st.st_ino != m->ino)
		return -EIO;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* Allocate and map [m->len, len). */
static int map_up_to(struct ovl_mapfile *m, int fd, size_t len)
{
	size_t more = len - m->len;
	int r = posix_fallocate(fd, (off_t)m->len, (off_t)more);
	void *p;

	if (r)
		return r == EFBIG ? -ENOSPC : -r;
	p = mmap(m->base + m->len, more, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
		(off_t)m->len);
	if (p == MAP_FAILED)
		return -errno;
	m->len = len;
	return 0;
}

int ovl_mapfile_grow(struct ovl_mapfile *m, size_t len)
{
	_cleanup_close_ int fd = -1;
	size_t step;
	int r;

	if (len <= m->len)
		return 0;
	if (len > m->reserved)
		return -ENOSPC;
	/* A quarter ahead: few calls for a file that keeps growing, little waste for one that does
	 * not. */
	step = round_up(m->len / 4 > STEP_BYTES ? m->len / 4 : STEP_BYTES, PAGE_BYTES);
	len = round_up(len, PAGE_BYTES);
	if (len < m->len + step)
		len = m->len + step;
	r = reopen(m, &fd);
	return r ? r : map_up_to(m, fd, len < m->reserved ? len : m->reserved);
}

int ovl_mapfile_clear(struct ovl_mapfile *m)
{
	_cleanup_close_ int fd = -1;
	int r = reopen(m, &fd);

	if (r)
		return r;
	if (m->len && mmap(m->base, m->len, PROT_NONE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
			      0) == MAP_FAILED)
		return -errno;
	m->len = 0;
	return ftruncate(fd, 0) < 0 ? -errno : 0;
}

void ovl_mapfile_renamed(struct ovl_mapfile *m, const char *name)
{
	m->name = name;
}

int ovl_mapfile_open(struct ovl_mapfile *m, int dirfd, const char *name, size_t reserve)
{
	_cleanup_close_ int fd =
		openat(dirfd, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	struct stat st;
	size_t size;
	void *p;
	int r = 0;

	*m = (struct ovl_mapfile){0};
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EPROTO;
	p = mmap(NULL, reserve, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return -errno;
	*m = (struct ovl_mapfile){
		.dirfd = dirfd, .name = name, .ino = st.st_ino, .base = p, .reserved = reserve};
	size = round_up((size_t)st.st_size, PAGE_BYTES);
	if (size)
		r = map_up_to(m, fd, size < reserve ? size : reserve);
	if (r)
		ovl_mapfile_close(m);
	return r;
}

void ovl_mapfile_close(struct ovl_mapfile *m)
{
	if (m->base)
		(void)munmap(m->base, m->reserved); /* what was written is in the page cache */
	*m = (struct ovl_mapfile){0};
}
