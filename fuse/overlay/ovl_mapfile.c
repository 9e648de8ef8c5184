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

/* Allocate and map [m->len, len). */
static int map_up_to(struct ovl_mapfile *m, size_t len)
{
	size_t more = len - m->len;
	int r = posix_fallocate(m->fd, (off_t)m->len, (off_t)more);
	void *p;

	if (r)
		return r == EFBIG ? -ENOSPC : -r;
	p = mmap(m->base + m->len, more, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, m->fd,
		(off_t)m->len);
	if (p == MAP_FAILED)
		return -errno;
	m->len = len;
	return 0;
}

int ovl_mapfile_grow(struct ovl_mapfile *m, size_t len)
{
	size_t step;

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
	return map_up_to(m, len < m->reserved ? len : m->reserved);
}

int ovl_mapfile_clear(struct ovl_mapfile *m)
{
	if (m->len && mmap(m->base, m->len, PROT_NONE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
			      0) == MAP_FAILED)
		return -errno;
	m->len = 0;
	return ftruncate(m->fd, 0) < 0 ? -errno : 0;
}

int ovl_mapfile_open(struct ovl_mapfile *m, int dirfd, const char *name, size_t reserve)
{
	struct stat st;
	void *p;
	int r = 0;

	*m = (struct ovl_mapfile){
		.fd = openat(dirfd, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600)};
	if (m->fd < 0)
		return -errno;
	if (fstat(m->fd, &st) < 0)
		r = -errno;
	else if (!S_ISREG(st.st_mode))
		r = -EPROTO;
	p = r ? MAP_FAILED
	      : mmap(NULL, reserve, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p != MAP_FAILED) {
		size_t size = round_up((size_t)st.st_size, PAGE_BYTES);

		m->base = p;
		m->reserved = reserve;
		if (size)
			r = map_up_to(m, size < reserve ? size : reserve);
	} else if (!r) {
		r = -errno;
	}
	if (r)
		ovl_mapfile_close(m);
	return r;
}

void ovl_mapfile_close(struct ovl_mapfile *m)
{
	if (m->base)
		(void)munmap(m->base, m->reserved);
	if (m->base || m->fd > 0)
		(void)close(m->fd); /* shared mapping: nothing is left to be written */
	*m = (struct ovl_mapfile){.fd = -1};
}
