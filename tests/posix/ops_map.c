/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mapped files: shared and private, also with a truncate under the mapping. Mappings for writing do
 * not live longer than their step; those for reading may, and show what others did to the file.
 */
#include "side.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define MAP_MAX (64 << 10)

static long map_slot(struct side *side, const struct step *step, int prot, int flags,
	uint8_t **ret_map, size_t *ret_len)
{
	struct stat st;
	void *map;

	if (fstat(side->slots[step->s], &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -ENODEV;
	*ret_len = st.st_size > MAP_MAX ? MAP_MAX : (size_t)st.st_size;
	if (*ret_len == 0)
		return -EINVAL;
	map = mmap(NULL, *ret_len, prot, flags, side->slots[step->s], 0);
	if (map == MAP_FAILED)
		return -errno;
	*ret_map = map;
	return 0;
}

static long op_read(struct side *side, const struct step *step)
{
	uint8_t *map;
	size_t len;
	long r = map_slot(
		side, step, PROT_READ, step->n[0] & 1 ? MAP_SHARED : MAP_PRIVATE, &map, &len);

	if (r < 0)
		return r;
	(void)fprintf(side->out, " %llx", (unsigned long long)hash_bytes(HASH_START, map, len));
	(void)munmap(map, len);
	return 0;
}

/* What is written through the mapping is seen by read at once and by everybody after msync. */
static long op_write(struct side *side, const struct step *step)
{
	uint8_t *map, back[256] = {0};
	size_t len, at, count;
	long r = map_slot(side, step, PROT_READ | PROT_WRITE,
		step->n[0] % 4 ? MAP_SHARED : MAP_PRIVATE, &map, &len);

	if (r < 0)
		return r;
	at = step->n[1] % len;
	count = len - at < sizeof(back) ? len - at : sizeof(back);
	fill_bytes(step, map + at, count);
	r = result_of(pread(side->slots[step->s], back, count, (off_t)at));
	(void)fprintf(side->out, " %llx", (unsigned long long)hash_bytes(HASH_START, back, count));
	if (step->n[2] & 1)
		(void)fprintf(side->out, " sync %ld", result_of(msync(map, len, MS_SYNC)));
	(void)munmap(map, len);
	return r;
}

/* Written, cut in the middle, made longer again: what was cut is zero, also in the mapping. */
static long op_truncate(struct side *side, const struct step *step)
{
	uint8_t *map;
	size_t len, cut;
	long r = map_slot(side, step, PROT_READ | PROT_WRITE, MAP_SHARED, &map, &len);

	if (r < 0)
		return r;
	cut = step->n[1] % len;
	memset(map, 'm', len);
	r = result_of(ftruncate(side->slots[step->s], (off_t)cut));
	if (r == 0)
		r = result_of(ftruncate(side->slots[step->s], (off_t)len));
	if (r == 0)
		(void)fprintf(
			side->out, " %llx", (unsigned long long)hash_bytes(HASH_START, map, len));
	(void)munmap(map, len);
	return r;
}

/* A private page that was written is ours for ever, cut or not; one behind the end kills a process
 * of its own. */
static long cut_private(struct side *side, const struct step *step)
{
	volatile uint8_t *last;
	uint8_t *map;
	size_t len;
	long r = map_slot(side, step, PROT_READ | PROT_WRITE, MAP_PRIVATE, &map, &len);

	if (r < 0)
		return -r;
	last = &map[len - 1];
	map[0] = 'p';
	r = result_of(ftruncate(side->slots[step->s], (off_t)(step->n[1] % len)));
	if (r < 0)
		return -r;
	return map[0] != 'p' ? 250 : 200 + (*last != 0);
}

static long op_cut_private(struct side *side, const struct step *step)
{
	return side_in_child(side, step, cut_private);
}

/* Stays mapped while others change, cut, rename or remove the file. */
static long op_hold(struct side *side, const struct step *step)
{
	void **held = &side->maps[step->n[0] % MAPS];
	void *map = mmap(NULL, MAP_MAX, PROT_READ, MAP_SHARED, side->slots[step->s], 0);

	if (map == MAP_FAILED)
		return -errno;
	if (*held)
		(void)munmap(*held, MAP_MAX);
	*held = map;
	return 0;
}

/* Page for page: behind the end of the file there is none. */
static long op_look(struct side *side, const struct step *step)
{
	const uint8_t *map = side->maps[step->n[0] % MAPS];
	static uint8_t page[4096];
	uint64_t hash = HASH_START;
	long pages = 0;

	for (size_t at = 0; map && at < MAP_MAX; at += sizeof(page)) {
		if (pwrite(side->bounce, map + at, sizeof(page), 0) < 0)
			return -errno; /* EFAULT instead of SIGBUS */
		if (pread(side->bounce, page, sizeof(page), 0) != (ssize_t)sizeof(page))
			return -EIO;
		hash = hash_bytes(hash, page, sizeof(page));
		(void)fprintf(side->out, " %llx", (unsigned long long)hash);
		pages++;
	}
	return pages;
}

/* Anything but the times: the pages are written back later here, which moves them (docs/posix.md).
 */
static long change_otherwise(struct side *side, const struct step *step)
{
	static uint8_t data[9000];
	int fd = side->slots[step->s];
	off_t at = (off_t)(step->n[1] >> 8) % MAP_MAX;
	loff_t from = (loff_t)(step->n[2] >> 8) % MAP_MAX, to = at;

	switch (step->n[0] % 16) {
	case 0:
	case 1:
		return result_of(ftruncate(fd, at));
	case 2:
		return result_of(ftruncate(fd, at + MAP_MAX));
	case 3:
		return result_of(
			fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, 20000));
	case 4:
		return result_of(fallocate(fd, FALLOC_FL_ZERO_RANGE, at, 20000));
	case 5:
	case 6:
		fill_bytes(step, data, sizeof(data));
		return result_of(pwrite(fd, data, sizeof(data), at));
	case 7:
		return result_of(copy_file_range(fd, &from, side->slots[step->t], &to, 9000, 0));
	case 8:
		return result_of(copy_file_range(side->slots[step->t], &from, fd, &to, 9000, 0));
	case 9:
		return result_of(unlink(step->a));
	case 10:
		return result_of(rename(step->a, step->b));
	case 11:
		return result_of(linkat(fd, "", AT_FDCWD, step->b, AT_EMPTY_PATH));
	case 12:
		return result_of(fchmod(fd, step->n[2] & 1 ? 0644 : 0755));
	case 13:
		return -posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	case 14:
		return result_of(fsetxattr(fd, "user.a", "mapped", 6, 0));
	default:
		return result_of(fdatasync(fd));
	}
}

/* What is in the file, mapped or not, as a hash. */
static void put_content(struct side *side, int fd)
{
	static uint8_t data[2 * MAP_MAX];
	ssize_t n = pread(fd, data, sizeof(data), 0);

	(void)fprintf(side->out, " %zd %llx", n,
		(unsigned long long)hash_bytes(HASH_START, data, n < 0 ? 0 : (size_t)n));
}

/* Pages that were changed and nobody has written back yet, while the file is changed by other
 * means: each counts in its turn. */
static long op_change_under(struct side *side, const struct step *step)
{
	int fd = side->slots[step->s];
	uint8_t *map;
	size_t len;
	long r = map_slot(side, step, PROT_READ | PROT_WRITE, MAP_SHARED, &map, &len);

	if (r < 0)
		return r;
	for (size_t i = 0; i < 5; i++)
		map[step->n[3] % 1000003 * (i + 1) % len] = (uint8_t)(step->n[3] >> 8 * i);
	r = change_otherwise(side, step);
	put_content(side, fd);
	(void)fprintf(side->out, " sync %ld", result_of(msync(map, len, MS_SYNC)));
	(void)munmap(map, len);
	put_content(side, fd);
	return r;
}

static const struct op ops[] = {
	{"map_read", 8, USES_S, op_read},
	{"map_write", 20, USES_S, op_write},
	{"map_truncate", 5, USES_S, op_truncate},
	{"map_cut_private", 5, USES_S, op_cut_private},
	{"map_change_under", 40, USES_A | USES_B | USES_S | USES_T, op_change_under},
	{"map_hold", 8, USES_S, op_hold},
	{"map_look", 12, 0, op_look},
};
const struct op_table map_ops = {ops, sizeof(ops) / sizeof(ops[0])};
