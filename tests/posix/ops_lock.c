/* SPDX-License-Identifier: Apache-2.0 */
/* Locks of the three kinds; nothing here waits for one. Another process asks for POSIX locks. */
#include "side.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>

static struct flock choose_lock(const struct step *step)
{
	static const short types[] = {F_RDLCK, F_WRLCK, F_UNLCK, F_WRLCK};

	return (struct flock){
		.l_type = types[step->n[0] & 3],
		.l_whence = SEEK_SET,
		.l_start = (off_t)(step->n[1] % 64),
		.l_len = (off_t)(step->n[2] % 32),
	};
}

static long op_flock(struct side *side, const struct step *step)
{
	static const int kinds[] = {LOCK_SH, LOCK_EX, LOCK_UN, LOCK_EX};

	return result_of(flock(side->slots[step->s], kinds[step->n[0] & 3] | LOCK_NB));
}

static long op_ofd(struct side *side, const struct step *step)
{
	struct flock lock = choose_lock(step);

	return result_of(fcntl(side->slots[step->s], F_OFD_SETLK, &lock));
}

static long op_posix(struct side *side, const struct step *step)
{
	struct flock lock = choose_lock(step);

	return result_of(fcntl(side->slots[step->s], F_SETLK, &lock));
}

static long try_in_child(struct side *side, const struct step *step)
{
	struct flock lock = choose_lock(step);

	return fcntl(side->slots[step->s], F_SETLK, &lock) < 0 ? errno : 0;
}

static long op_posix_other(struct side *side, const struct step *step)
{
	return side_in_child(side, step, try_in_child);
}

static const struct op ops[] = {
	{"flock", 6, USES_S, op_flock},
	{"ofd_lock", 6, USES_S, op_ofd},
	{"posix_lock", 6, USES_S, op_posix},
	{"posix_lock_other", 4, USES_S, op_posix_other},
};
const struct op_table lock_ops = {ops, sizeof(ops) / sizeof(ops[0])};
