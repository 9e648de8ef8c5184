/* SPDX-License-Identifier: Apache-2.0 */
/* Whole reads and writes, whole files in and out, durable replacement by rename. Blocking; no
 * state. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"

#define READ_FIRST 4096

int io_read_full(int fd, void *buf, size_t len)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = read(fd, (char *)buf + done, len - done);

		if (n > 0)
			done += (size_t)n;
		else if (n == 0)
			return -ENODATA;
		else if (errno != EINTR)
			return -errno;
	}
	return 0;
}

int io_pread_full(int fd, void *buf, size_t len, uint64_t offset)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = pread(fd, (char *)buf + done, len - done, (off_t)(offset + done));

		if (n > 0)
			done += (size_t)n;
		else if (n == 0)
			return -ENODATA;
		else if (errno != EINTR)
			return -errno;
	}
	return 0;
}

int io_write_full(int fd, const void *buf, size_t len)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = write(fd, (const char *)buf + done, len - done);

		if (n > 0)
			done += (size_t)n;
		else if (n == 0)
			return -EIO; /* POSIX leaves this open for devices; retrying could spin for
					ever */
		else if (errno != EINTR)
			return -errno;
	}
	return 0;
}

int io_pwrite_full(int fd, const void *buf, size_t len, uint64_t offset)
{
	for (size_t done = 0; done < len;) {
		ssize_t n =
			pwrite(fd, (const char *)buf + done, len - done, (off_t)(offset + done));

		if (n > 0)
			done += (size_t)n;
		else if (n == 0)
			return -EIO;
		else if (errno != EINTR)
			return -errno;
	}
	return 0;
}

/* Read to the end; one byte of room is always kept for the NUL. */
static int read_to_end(int fd, size_t cap, size_t max, char **ret_data, size_t *ret_len)
{
	_cleanup_free_ char *data = malloc(cap);
	size_t len = 0;

	if (!data)
		return -ENOMEM;
	for (;;) {
		ssize_t n = read(fd, data + len, cap - 1 - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		len += (size_t)n;
		if (len > max)
			return -EFBIG;
		if (n == 0 && len < cap - 1)
			break;
		if (len == cap - 1) {
			char *bigger = cap > SIZE_MAX / 2 ? NULL : realloc(data, cap * 2);

			if (!bigger)
				return -ENOMEM;
			data = bigger;
			cap *= 2;
		}
	}
	data[len] = '\0';
	*ret_data = TAKE_PTR(data);
	*ret_len = len;
	return 0;
}

int io_read_file(int dirfd, const char *path, size_t max, char **ret_data, size_t *ret_len)
{
	/* O_NONBLOCK: opening a FIFO that someone put there must not wait for a writer */
	_cleanup_close_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if (st.st_size > 0 && (uint64_t)st.st_size > max)
		return -EFBIG;
	/* The size is a hint: files of /proc say 0, and a file may grow. +2: the NUL, and a byte
	 * that shows the end. */
	return read_to_end(
		fd, st.st_size > 0 ? (size_t)st.st_size + 2 : READ_FIRST, max, ret_data, ret_len);
}

int io_fsync_dir(int dirfd, const char *path)
{
	_cleanup_close_ int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return fsync(fd) < 0 ? -errno : 0;
}

/* The directory part of `name` with its slash, or "" if there is none: a temporary name beside it.
 */
static int temporary_name(const char *name, char *out, size_t cap)
{
	const char *slash = strrchr(name, '/');
	int dir_len = slash ? (int)(slash - name + 1) : 0;
	uint64_t number;
	int n, r = io_random(&number, sizeof(number));

	if (r < 0)
		return r;
	n = snprintf(out, cap, "%.*s.tmp-%016" PRIx64, dir_len, name, number);
	return n < 0 || (size_t)n >= cap ? -ENAMETOOLONG : 0;
}

static int write_new(
	int dirfd, const char *name, const void *data, size_t len, mode_t mode, bool sync)
{
	_cleanup_close_ int fd =
		openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	int r;

	if (fd < 0)
		return -errno;
	r = io_write_full(fd, data, len);
	if (r == 0 && fchmod(fd, mode) < 0) /* exactly this mode, whatever the umask */
		r = -errno;
	if (r == 0 && sync && fsync(fd) < 0)
		r = -errno;
	/* close reports what NFS and quotas have to say */
	if (close(TAKE_FD(fd)) < 0 && r == 0)
		r = -errno;
	if (r < 0)
		(void)unlinkat(dirfd, name, 0); /* the first error is the one to tell */
	return r;
}

int io_write_file(int dirfd, const char *name, const void *data, size_t len, mode_t mode, bool sync)
{
	char temporary[4096];
	int r = temporary_name(name, temporary, sizeof(temporary));

	if (r < 0)
		return r;
	r = write_new(dirfd, temporary, data, len, mode, sync);
	if (r < 0)
		return r;
	if (renameat(dirfd, temporary, dirfd, name) < 0) {
		r = -errno;
		(void)unlinkat(dirfd, temporary, 0); /* the first error is the one to tell */
		return r;
	}
	if (!sync)
		return 0;
	/* the temporary name has the same directory part; without it, that directory is dirfd
	 * itself */
	char *slash = strrchr(temporary, '/');

	if (!slash)
		return io_fsync_dir(dirfd, ".");
	slash[1] = '\0';
	return io_fsync_dir(dirfd, temporary);
}

int io_random(void *buf, size_t len)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = getrandom((char *)buf + done, len - done, 0);

		if (n > 0)
			done += (size_t)n;
		else if (n == 0 || errno != EINTR)
			return -EIO;
	}
	return 0;
}
