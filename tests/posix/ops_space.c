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
	static const int modes[] = {0, 0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE,
		FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE};
	off_t offset = choose_length(step->n[1]), len = choose_length(step->n[2]);
	long r;

	if (step->n[3] & 1) { /* whole blocks */
		offset &= ~4095;
		len &= ~4095;
	}
	r = result_of(fallocate(side->slots[step->s], modes[step->n[0] % 8], offset, len));
	side->no_times = r < 0; /* ext4 moves them before it looks */
	return r;
}

static long op_seek_hole(struct side *side, const struct step *step)
{
	off_t offset = (off_t)(step->n[0] >> 8) % (100 << 10);
	struct stat st;

	if (fstat(side->slots[step->s], &st) == 0 && !S_ISREG(st.st_mode))
		return 0;
	return result_of(lseek(side->slots[step->s], offset, step->n[0] & 1 ? SEEK_DATA : SEEK_HOLE));
}

static long op_copy_range(struct side *side, const struct step *step)
{
	loff_t from = (loff_t)(step->n[0] >> 8) % (64 << 10), to = (loff_t)(step->n[1] >> 8) % (64 << 10);
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

static long op_fsync(struct side *side, const struct step *step)
{
	int fd = side->slots[step->s];

	return result_of(step->n[0] & 1 ? fsync(fd) : fdatasync(fd));
}

/* RLIMIT_FSIZE: SIGXFSZ is ignored, so the call fails or falls short. */
static long op_limited(struct side *side, const struct step *step)
{
	static uint8_t data[20000];
	struct rlimit old, low;
	off_t offset = (off_t)(step->n[0] >> 8) % (40 << 10);
	long r;

	if (getrlimit(RLIMIT_FSIZE, &old) < 0)
		return -errno;
	low = (struct rlimit){(step->n[1] >> 8) % (40 << 10), old.rlim_max};
	if (setrlimit(RLIMIT_FSIZE, &low) < 0)
		return -errno;
	fill_bytes(step, data, sizeof(data));
	switch (step->n[2] % 4) {
	case 0:
		r = result_of(ftruncate(side->slots[step->s], offset));
		break;
	case 1:
		r = result_of(fallocate(side->slots[step->s], 0, offset, 5000));
		side->no_times = r < 0;
		break;
	default:
		r = result_of(pwrite(side->slots[step->s], data, sizeof(data), offset));
	}
	if (setrlimit(RLIMIT_FSIZE, &old) < 0)
		return -errno;
	return r;
}

static const struct op ops[] = {
	{"truncate", 25, USES_A, op_truncate},
	{"ftruncate", 25, USES_S, op_ftruncate},
	{"fallocate", 35, USES_S, op_fallocate},
	{"seek_hole", 20, USES_S, op_seek_hole},
	{"copy_range", 20, USES_S | USES_T, op_copy_range},
	{"sendfile", 8, USES_S | USES_T, op_sendfile},
	{"fsync", 2, USES_S, op_fsync},
	{"limited", 12, USES_S, op_limited},
};
const struct op_table space_ops = {ops, sizeof(ops) / sizeof(ops[0])};
