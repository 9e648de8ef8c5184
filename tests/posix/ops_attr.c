/* SPDX-License-Identifier: Apache-2.0 */
/* Modes, owners, times, permissions, df. */
#include "side.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FCHMODAT2 452 /* newer than the headers of Debian 12 */

static const mode_t modes[] = {0755, 0777, 01777, 02775, 04755, 06755, 0644, 0600, 0, 0444, 02644,
	06777, 0711, 0666, 07777, 0755};
static const uid_t uids[] = {0, 1000, 1001, (uid_t)-1, 1000, 0};
static const gid_t gids[] = {0, 1000, 2000, (gid_t)-1, 1001, 0};

/* To leave both as they are takes set-id bits; who may not do that gets no error from FUSE, which
 * does not ask (docs/posix.md). */
static uid_t choose_uid(const struct step *step)
{
	uid_t uid = uids[step->n[0] % 6];

	return step->who != 0 && uid == (uid_t)-1 && gids[step->n[1] % 6] == (gid_t)-1 ? 0 : uid;
}

static long op_chmod(struct side *side, const struct step *step)
{
	side->no_change = true;
	return result_of(chmod(step->a, modes[step->n[0] % 16]));
}

/* Linux 6.6; a symlink's own mode cannot be changed. */
static long op_chmod_nofollow(struct side *side, const struct step *step)
{
	side->no_change = true;
	return result_of(
		syscall(FCHMODAT2, AT_FDCWD, step->a, modes[step->n[0] % 16], AT_SYMLINK_NOFOLLOW));
}

static long op_fchmod(struct side *side, const struct step *step)
{
	side->no_change = true;
	return result_of(fchmod(side->slots[step->s], modes[step->n[0] % 16]));
}

static long op_chown(struct side *side, const struct step *step)
{
	side->no_change = true;
	return result_of(fchownat(AT_FDCWD, step->a, choose_uid(step), gids[step->n[1] % 6],
		step->n[2] & 1 ? AT_SYMLINK_NOFOLLOW : 0));
}

static long op_fchown(struct side *side, const struct step *step)
{
	side->no_change = true;
	return result_of(fchown(side->slots[step->s], choose_uid(step), gids[step->n[1] % 6]));
}

/* Times that are given are old or special, so that the two sides are given the same. */
static void choose_times(const struct step *step, struct timespec times[2])
{
	for (size_t i = 0; i < 2; i++) {
		uint64_t n = step->n[i];

		times[i].tv_sec =
			n & 64 ? (time_t)(n >> 32) % 1000000000 : -(time_t)((n >> 32) % 100000);
		times[i].tv_nsec = (long)((n >> 8) % 1000000000);
		if (n % 8 == 1)
			times[i].tv_nsec = UTIME_NOW;
		else if (n % 8 == 2 || n % 8 == 3)
			times[i].tv_nsec = UTIME_OMIT;
		else if (n % 64 == 4)
			times[i].tv_nsec = 1000000000; /* EINVAL */
	}
}

static long op_utimens(struct side *side, const struct step *step)
{
	struct timespec times[2];

	(void)side;
	choose_times(step, times);
	return result_of(utimensat(AT_FDCWD, step->a, step->n[2] % 8 ? times : NULL,
		step->n[3] & 1 ? AT_SYMLINK_NOFOLLOW : 0));
}

static long op_futimens(struct side *side, const struct step *step)
{
	struct timespec times[2];

	choose_times(step, times);
	return result_of(futimens(side->slots[step->s], step->n[2] % 8 ? times : NULL));
}

static long op_access(struct side *side, const struct step *step)
{
	(void)side;
	return result_of(faccessat(AT_FDCWD, step->a, (int)(step->n[0] % 8), AT_EACCESS));
}

static long op_stat(struct side *side, const struct step *step)
{
	put_stat_at(side, " here", AT_FDCWD, step->a);
	return 0;
}

static long op_statvfs(struct side *side, const struct step *step)
{
	struct statvfs st;

	if (statvfs(step->a, &st) < 0)
		return -errno;
	(void)fprintf(side->out, " bsize %lu frsize %lu namemax %lu sane %d", st.f_bsize,
		st.f_frsize, st.f_namemax,
		st.f_blocks > 0 && st.f_bfree <= st.f_blocks && st.f_bavail <= st.f_bfree &&
			st.f_files > 0 && st.f_ffree <= st.f_files && st.f_favail <= st.f_ffree);
	return 0;
}

static const struct op ops[] = {
	{"chmod", 40, USES_A, op_chmod},
	{"chmod_nofollow", 8, USES_A, op_chmod_nofollow},
	{"fchmod", 12, USES_S, op_fchmod},
	{"chown", 40, USES_A, op_chown},
	{"fchown", 12, USES_S, op_fchown},
	{"utimens", 25, USES_A, op_utimens},
	{"futimens", 10, USES_S, op_futimens},
	{"access", 15, USES_A, op_access},
	{"stat", 30, USES_A, op_stat},
	{"statvfs", 2, USES_A, op_statvfs},
};
const struct op_table attr_ops = {ops, sizeof(ops) / sizeof(ops[0])};
