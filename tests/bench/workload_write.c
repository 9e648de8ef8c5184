// SPDX-License-Identifier: Apache-2.0
/*
 * Workloads that write one file: large and small blocks, appends as a log makes them, the first
 * append to a file of the lower, and the raw copy that it is compared with.
 */
#include "workload.h"

#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define BLOCK (1u << 20)

static int write_all(int fd, const char *buf, size_t size)
{
	for (size_t done = 0; done < size;) {
		ssize_t n = write(fd, buf + done, size - done);

		if (n < 0)
			return -errno;
		done += (size_t)n;
	}
	return 0;
}

/* `count` blocks of `size` bytes to a new or emptied file. */
static int write_blocks(const char *path, int flags, unsigned long size, unsigned long count)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0644);
	_cleanup_free_ char *buf = malloc(size ? size : 1);
	int r = 0;

	if (fd < 0 || !buf)
		return workload_failed(fd < 0 ? errno : ENOMEM, path);
	memset(buf, 'b', size);
	for (unsigned long i = 0; i < count && r == 0; i++)
		r = write_all(fd, buf, size);
	return r < 0 ? workload_failed(-r, path) : 0;
}

static int run_write(char **args)
{
	return write_blocks(args[0], O_TRUNC, workload_number(args[1]), workload_number(args[2]));
}

static int run_append(char **args)
{
	return write_blocks(args[0], O_APPEND, workload_number(args[1]), workload_number(args[2]));
}

/* Reads a file once; `drop` is 1 to forget its cached pages first. */
static int run_readfile(char **args)
{
	_cleanup_close_ int fd = open(args[0], O_RDONLY | O_CLOEXEC);
	_cleanup_free_ char *buf = malloc(BLOCK);
	ssize_t n;
	int r;

	if (fd < 0 || !buf)
		return workload_failed(fd < 0 ? errno : ENOMEM, args[0]);
	r = workload_number(args[1]) ? posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) : 0;
	if (r)
		return workload_failed(r, "fadvise");
	while ((n = read(fd, buf, BLOCK)) > 0)
		continue;
	return n < 0 ? workload_failed(errno, args[0]) : 0;
}

static int run_copy(char **args)
{
	_cleanup_close_ int from = open(args[0], O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int to = open(args[1], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	ssize_t n;

	if (from < 0 || to < 0)
		return workload_failed(errno, args[from < 0 ? 0 : 1]);
	while ((n = copy_file_range(from, NULL, to, NULL, 1u << 30, 0)) > 0)
		continue;
	return n < 0 ? workload_failed(errno, "copy_file_range") : 0;
}

const struct workload workload_writes[] = {
	{"write", "FILE SIZE COUNT", 3, run_write},
	{"append", "FILE SIZE COUNT", 3, run_append},
	{"readfile", "FILE DROP", 2, run_readfile},
	{"copy", "FROM TO", 2, run_copy},
	{0},
};
