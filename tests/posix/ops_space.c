/* SPDX-License-Identifier: Apache-2.0 */
/* The size and the space of files: truncate, fallocate, holes, copy_file_range, limits. */
#include "side.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

static off_t choose_length(uint64_t n)
{
	switch (n % 32) {
	case 0:
		return (off_t)1 << 45; /* more than ext4 can have */
	case 1:
		return -1;
	case 2:
	case 3:
	case 4:
	case 5:
	case 6:
		return 0;
	case 7:
	case 8:
		return (off_t)(n >> 8) % (3 << 20);
	default:
		return (off_t)(n >> 8) % (80 << 10);
	}
}

static long op_truncate(struct side *side, const struct step *step)
{
	(void)side;
	return result_of(truncate(step->a, choose_length(step->n[0])));
}

static long op_ftruncate(struct side *side, const struct step *step)
{
	return result_of(ftruncate(side->slots[step->s], choose_length(step->n[0])));
}

static long op_fallocate(struct side *side, const struct step *step)
{
	static const int modes[] = {0, 0, FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE,
		FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, 0, 0,
		FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_ZERO_RANGE, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_UNSHARE_RANGE, 128};
	off_t offset = choose_length(step->n[1]), len = choose_length(step->n[2]);

	if (is_set_id(side->slots[step->s])) { /* nothing too large (docs/posix.md) */
		offset &= (1 << 20) - 1;
		len &= (1 << 20) - 1;
	}
	if (step->n[0] % 16 >=
		14) { /* unknown modes: what else is wrong is found earlier or later */
		offset = 0;
		len = 4096;
	}
	if (step->n[3] & 1) { /* whole blocks */
		offset &= ~4095;
		len &= ~4095;
	}
	return result_of(fallocate(side->slots[step->s], modes[step->n[0] % 16], offset, len));
}

/* Are all bytes from here to there zero? */
static bool is_zero(int fd, off_t from, off_t to)
{
	static uint8_t data[1 << 16];

	while (from < to) {
		size_t want = to - from > (off_t)sizeof(data) ? sizeof(data) : (size_t)(to - from);
		ssize_t n = pread(fd, data, want, from);

		if (n <= 0)
			return n == 0;
		for (ssize_t i = 0; i < n; i++)
			if (data[i])
				return false;
		from += n;
	}
	return true;
}

/* Where ext4 sees data in space that is allocated but not written depends on what it has in its
 * page cache. So: only that nothing but zeros is skipped. */
static long op_seek_hole(struct side *side, const struct step *step)
{
	int fd = side->slots[step->s];
	off_t offset = (off_t)(step->n[0] >> 8) % (100 << 10), at;
	struct stat st;
	bool can_read;

	if (fstat(fd, &st) < 0)
		return -errno;
	can_read = (fcntl(fd, F_GETFL) & (O_ACCMODE | O_PATH)) != O_WRONLY;
	if (!S_ISREG(st.st_mode) || !can_read)
		return 0;
	at = lseek(fd, offset, SEEK_HOLE);
	if (at < 0 && offset >= st.st_size)
		return -errno;
	(void)fprintf(side->out, " hole %d", at >= offset && at <= st.st_size);
	at = lseek(fd, offset, SEEK_DATA);
	(void)fprintf(
		side->out, " skipped zeros %d", is_zero(fd, offset, at < 0 ? st.st_size : at));
	return result_of(lseek(fd, 0, SEEK_SET));
}

/* A new file of pieces and holes: exactly where they are. */
static long op_seek_fresh(struct side *side, const struct step *step)
{
	int fd = open(step->a, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	uint8_t piece[5000];
	off_t at = 0;
	long r = 0;

	if (fd < 0)
		return -errno;
	fill_bytes(step, piece, sizeof(piece));
	for (size_t i = 0; i < 4 && r >= 0; i++) {
		off_t offset = (off_t)(step->n[i] >> 8) % (200 << 10);

		r = result_of(pwrite(fd, piece, 1 + (size_t)(step->n[i] % sizeof(piece)), offset));
	}
	if (r >= 0)
		r = result_of(ftruncate(fd, 220 << 10));
	for (unsigned i = 0; i < 12 && at >= 0 && r == 0; i++) {
		at = lseek(fd, at, i % 2 ? SEEK_HOLE : SEEK_DATA);
		(void)fprintf(side->out, " %lld", (long long)at);
	}
	(void)close(fd);
	return r;
}

static long op_copy_range(struct side *side, const struct step *step)
{
	loff_t from = (loff_t)(step->n[0] >> 8) % (64 << 10),
	       to = (loff_t)(step->n[1] >> 8) % (64 << 10);
	size_t len = (size_t)(step->n[2] >> 8) % (64 << 10);

	return result_of(copy_file_range(
		side->slots[step->s], &from, side->slots[step->t], &to, len, step->n[3] % 64 == 0));
}

static long op_sendfile(struct side *side, const struct step *step)
{
	off_t from = (off_t)(step->n[0] >> 8) % (64 << 10);

	return result_of(sendfile(side->slots[step->t], side->slots[step->s], &from,
		(size_t)(step->n[1] >> 8) % (16 << 10)));
}

/* Through a pipe, which is how some programs write. */
static long op_splice(struct side *side, const struct step *step)
{
	uint8_t data[8000];
	size_t len = 1 + (size_t)(step->n[0] % sizeof(data));
	loff_t to = (loff_t)(step->n[1] >> 8) % (64 << 10);
	int ends[2];
	long r;

	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	fill_bytes(step, data, len);
	r = result_of(write(ends[1], data, len));
	if (r > 0)
		r = result_of(splice(ends[0], NULL, side->slots[step->s],
			step->n[2] & 1 ? &to : NULL, len, SPLICE_F_NONBLOCK));
	(void)close(ends[0]);
	(void)close(ends[1]);
	return r;
}

static long op_fsync(struct side *side, const struct step *step)
{
	int fd = side->slots[step->s];

	return result_of(step->n[0] & 1 ? fsync(fd) : fdatasync(fd));
}

/* On a file that nobody sees: an fallocate that fails has moved times and taken set-id bits on
 * ext4. */
static long fallocate_unseen(off_t offset)
{
	int fd = open("/", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	long r;

	if (fd < 0)
		return -errno;
	r = result_of(fallocate(fd, 0, offset, 5000));
	(void)close(fd);
	return r;
}

static long write_limited(const struct step *step, int fd)
{
	static uint8_t data[20000];
	off_t offset = (off_t)(step->n[0] >> 8) % (40 << 10);

	switch (step->n[2] % 4) {
	case 0:
		return result_of(ftruncate(fd, offset));
	case 1:
		return fallocate_unseen(offset);
	default:
		fill_bytes(step, data, sizeof(data));
		return result_of(pwrite(fd, data, sizeof(data), offset));
	}
}

/* RLIMIT_FSIZE: SIGXFSZ is ignored, so the call fails or falls short. */
static long op_limited(struct side *side, const struct step *step)
{
	struct rlimit old, low;
	long r;

	if (getrlimit(RLIMIT_FSIZE, &old) < 0)
		return -errno;
	low = (struct rlimit){(step->n[1] >> 8) % (40 << 10), old.rlim_max};
	if (setrlimit(RLIMIT_FSIZE, &low) < 0)
		return -errno;
	r = write_limited(step, side->slots[step->s]);
	return setrlimit(RLIMIT_FSIZE, &old) < 0 ? -errno : r;
}

static const struct op ops[] = {
	{"truncate", 25, USES_A, op_truncate},
	{"ftruncate", 25, USES_S, op_ftruncate},
	{"fallocate", 35, USES_S, op_fallocate},
	{"seek_hole", 20, USES_S, op_seek_hole},
	{"seek_fresh", 10, USES_A, op_seek_fresh},
	{"copy_range", 20, USES_S | USES_T, op_copy_range},
	{"sendfile", 8, USES_S | USES_T, op_sendfile},
	{"splice", 8, USES_S, op_splice},
	{"fsync", 2, USES_S, op_fsync},
	{"limited", 12, USES_S, op_limited},
};
const struct op_table space_ops = {ops, sizeof(ops) / sizeof(ops[0])};
