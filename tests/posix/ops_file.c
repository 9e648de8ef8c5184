/* SPDX-License-Identifier: Apache-2.0 */
/* Opening files into slots, reading and writing through them, also after their names are gone. */
#include "side.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define IO_MAX (96 << 10)

static const mode_t modes[] = {0644, 0600, 0755, 0666, 04755, 02755, 0, 0444};

/* Sizes and offsets that are near each other, near pages and blocks, and sometimes far away. */
static off_t choose_offset(uint64_t n)
{
	switch (n % 16) {
	case 0:
		return 0;
	case 1:
		return 4096;
	case 2:
		return 65536;
	case 3:
		return (off_t)(n >> 8) % (2 << 20);
	default:
		return (off_t)(n >> 8) % (72 << 10);
	}
}

static size_t choose_size(uint64_t n)
{
	return n % 8 == 0 ? 4096 : n % 8 < 5 ? (n >> 8) % 600 : (n >> 8) % IO_MAX;
}

static long put_in_slot(struct side *side, const struct step *step, int fd)
{
	if (fd < 0)
		return -errno;
	if (side->slots[step->s] >= 0)
		(void)close(side->slots[step->s]);
	side->slots[step->s] = fd;
	return 0;
}

static int choose_flags(uint64_t n)
{
	static const int ways[] = {O_RDONLY, O_WRONLY, O_RDWR, O_RDWR};
	int flags = ways[n & 3] | O_CLOEXEC | O_NONBLOCK; /* no fifo may make a side wait */

	flags |= n & 0x10 ? O_CREAT : 0;
	flags |= (n & 0xe0) == 0x20 ? O_EXCL : 0;
	flags |= (n & 0x700) == 0x100 ? O_TRUNC : 0;
	flags |= (n & 0x3000) == 0x1000 ? O_APPEND : 0;
	flags |= (n & 0x1c000) == 0x4000 ? O_NOFOLLOW : 0;
	flags |= (n & 0x1e0000) == 0x20000 ? O_DIRECTORY : 0;
	flags |= (n & 0x1e00000) == 0x200000 ? O_PATH : 0;
	flags |= (n & 0x1e000000) == 0x2000000 ? O_SYNC : 0;
	if ((flags & O_CREAT) && (flags & O_DIRECTORY))
		flags &= ~O_DIRECTORY; /* its meaning has changed between kernels */
	return flags;
}

static long op_open(struct side *side, const struct step *step)
{
	return put_in_slot(
		side, step, open(step->a, choose_flags(step->n[0]), modes[step->n[1] % 8]));
}

static long op_open_read(struct side *side, const struct step *step)
{
	return put_in_slot(side, step, open(step->a, O_RDONLY | O_CLOEXEC | O_NONBLOCK));
}

static long op_open_write(struct side *side, const struct step *step)
{
	int flags = O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK;

	return put_in_slot(side, step, open(step->a, flags, modes[step->n[1] % 8]));
}

static long op_open_below(struct side *side, const struct step *step)
{
	const char *name = strrchr(step->a, '/') + 1;

	return put_in_slot(
		side, step, openat(side->slots[step->t], name, choose_flags(step->n[0]), 0644));
}

static long op_tmpfile(struct side *side, const struct step *step)
{
	int flags = O_TMPFILE | (step->n[0] & 1 ? O_RDWR : O_WRONLY) | O_CLOEXEC;

	if (step->n[0] % 8 == 7)
		flags |= O_EXCL;
	return put_in_slot(side, step, open(step->a, flags, modes[step->n[1] % 8]));
}

static long op_link_open_file(struct side *side, const struct step *step)
{
	return result_of(linkat(side->slots[step->s], "", AT_FDCWD, step->a, AT_EMPTY_PATH));
}

static long op_close(struct side *side, const struct step *step)
{
	int fd = side->slots[step->s];

	side->slots[step->s] = -1;
	return result_of(close(fd));
}

static long op_dup(struct side *side, const struct step *step)
{
	return put_in_slot(side, step, fcntl(side->slots[step->t], F_DUPFD_CLOEXEC, 3));
}

static long op_read(struct side *side, const struct step *step)
{
	static uint8_t data[IO_MAX];
	long r = result_of(read(side->slots[step->s], data, choose_size(step->n[0])));

	(void)fprintf(side->out, " %llx",
		(unsigned long long)hash_bytes(HASH_START, data, r < 0 ? 0 : (size_t)r));
	return r;
}

static long op_pread(struct side *side, const struct step *step)
{
	static uint8_t data[IO_MAX];
	long r = result_of(pread(
		side->slots[step->s], data, choose_size(step->n[0]), choose_offset(step->n[1])));

	(void)fprintf(side->out, " %llx",
		(unsigned long long)hash_bytes(HASH_START, data, r < 0 ? 0 : (size_t)r));
	return r;
}

static long op_write(struct side *side, const struct step *step)
{
	static uint8_t data[IO_MAX];
	size_t len = choose_size(step->n[0]);

	fill_bytes(step, data, len);
	return result_of(write(side->slots[step->s], data, len));
}

static long op_pwrite(struct side *side, const struct step *step)
{
	static uint8_t data[IO_MAX];
	size_t len = choose_size(step->n[0]);
	off_t offset = choose_offset(step->n[1]);

	if (step->n[2] % 64 == 0 && !is_set_id(side->slots[step->s]))
		offset = (off_t)1 << 45; /* more than ext4 can have */
	fill_bytes(step, data, len);
	return result_of(pwrite(side->slots[step->s], data, len, offset));
}

static long op_writev_append(struct side *side, const struct step *step)
{
	static uint8_t data[4096];
	struct iovec parts[2] = {{data, 100}, {data + 100, choose_size(step->n[0]) % 3900}};

	fill_bytes(step, data, sizeof(data));
	return result_of(pwritev2(side->slots[step->s], parts, 2, -1, RWF_APPEND));
}

static long op_write_path(struct side *side, const struct step *step)
{
	static uint8_t data[IO_MAX];
	size_t len = choose_size(step->n[0]);
	int flags =
		O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK | (step->n[1] & 1 ? O_TRUNC : O_APPEND);
	int fd = open(step->a, flags, modes[step->n[2] % 8]);
	long r;

	(void)side;
	if (fd < 0)
		return -errno;
	fill_bytes(step, data, len);
	r = result_of(write(fd, data, len));
	(void)close(fd);
	return r;
}

static long op_lseek(struct side *side, const struct step *step)
{
	static const int whences[] = {SEEK_SET, SEEK_CUR, SEEK_END, SEEK_SET};
	int whence = whences[step->n[0] & 3];
	struct stat st;

	/* where a directory stands is its own affair */
	if (fstat(side->slots[step->s], &st) == 0 && S_ISDIR(st.st_mode))
		return 0;
	return result_of(lseek(side->slots[step->s], choose_offset(step->n[1]) - 3000, whence));
}

/* Past the page cache, in whole blocks: what was written before is seen, and what is written is
 * seen after. */
static long op_direct(struct side *side, const struct step *step)
{
	static _Alignas(4096) uint8_t block[8192];
	off_t offset = (off_t)(step->n[0] >> 8) % 16 * 4096;
	size_t len = step->n[1] & 1 ? 4096 : 8192;
	int fd = open(step->a, O_RDWR | O_DIRECT | O_NONBLOCK | O_CLOEXEC);
	struct stat st;
	long r;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		(void)close(fd);
		return 0;
	}
	r = result_of(pread(fd, block, sizeof(block), offset));
	(void)fprintf(side->out, " %ld %llx", r,
		(unsigned long long)hash_bytes(HASH_START, block, r < 0 ? 0 : (size_t)r));
	fill_bytes(step, block, len);
	r = result_of(pwrite(fd, block, len, offset));
	(void)close(fd);
	return r;
}

/* Advice, which changes nothing that is seen. */
static long op_advise(struct side *side, const struct step *step)
{
	static const int advice[] = {
		POSIX_FADV_DONTNEED, POSIX_FADV_WILLNEED, POSIX_FADV_RANDOM, POSIX_FADV_NORMAL};
	int fd = side->slots[step->s];

	if (step->n[0] % 8 == 7)
		return result_of(readahead(fd, 0, 65536));
	if (step->n[0] % 8 == 6)
		return result_of(sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE));
	return -posix_fadvise(fd, 0, 0, advice[step->n[0] % 4]);
}

static long op_set_flags(struct side *side, const struct step *step)
{
	int fd = side->slots[step->s], flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return -errno;
	(void)fprintf(side->out, " %o", (unsigned)flags);
	return result_of(fcntl(fd, F_SETFL, flags ^ (step->n[0] & 1 ? O_APPEND : O_NOATIME)));
}

static const struct op ops[] = {
	{"open", 50, USES_A | USES_S, op_open},
	{"open_read", 25, USES_A | USES_S, op_open_read},
	{"open_write", 50, USES_A | USES_S, op_open_write},
	{"open_below", 10, USES_A | USES_S | USES_T, op_open_below},
	{"tmpfile", 12, USES_A | USES_S, op_tmpfile},
	{"link_open_file", 16, USES_A | USES_S, op_link_open_file},
	{"close", 20, USES_S, op_close},
	{"dup", 4, USES_S | USES_T, op_dup},
	{"read", 30, USES_S, op_read},
	{"pread", 30, USES_S, op_pread},
	{"write", 40, USES_S, op_write},
	{"pwrite", 40, USES_S, op_pwrite},
	{"writev_append", 10, USES_S, op_writev_append},
	{"write_path", 40, USES_A, op_write_path},
	{"lseek", 15, USES_S, op_lseek},
	{"direct", 8, USES_A, op_direct},
	{"advise", 6, USES_S, op_advise},
	{"set_flags", 4, USES_S, op_set_flags},
};
const struct op_table file_ops = {ops, sizeof(ops) / sizeof(ops[0])};
