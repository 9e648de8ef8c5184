/* SPDX-License-Identifier: Apache-2.0 */
/* Locks of the three kinds; nothing here waits for one. Another process asks for POSIX locks. */
#include "side.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

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

/* Who holds what is in the way of another process? */
static long ask_in_child(struct side *side, const struct step *step)
{
	struct flock lock = choose_lock(step);
	pid_t parent = getppid();

	lock.l_type = lock.l_type == F_UNLCK ? F_RDLCK : lock.l_type;
	if (fcntl(side->slots[step->s], F_GETLK, &lock) < 0)
		return errno;
	if (lock.l_type == F_UNLCK)
		return 100;
	return 101 + lock.l_type * 50 + (lock.l_pid == parent) * 40 + (long)(lock.l_start % 8) * 5 +
	       (long)(lock.l_len % 5);
}

static long op_ask_other(struct side *side, const struct step *step)
{
	return side_in_child(side, step, ask_in_child);
}

/* Another process opens the file anew: each kind of lock against what is held here. */
static long lock_afresh(struct side *side, const struct step *step)
{
	struct flock lock = choose_lock(step);
	int fd = open(step->a, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	long r;

	(void)side;
	if (fd < 0)
		return errno;
	if (step->n[3] % 3 == 0)
		r = flock(fd, (step->n[0] & 1 ? LOCK_EX : LOCK_SH) | LOCK_NB);
	else
		r = fcntl(fd, step->n[3] % 3 == 1 ? F_SETLK : F_OFD_SETLK, &lock);
	return r < 0 ? errno : 0;
}

static long op_lock_afresh(struct side *side, const struct step *step)
{
	return side_in_child(side, step, lock_afresh);
}

static const struct op ops[] = {
	{"flock", 6, USES_S, op_flock},
	{"ofd_lock", 6, USES_S, op_ofd},
	{"posix_lock", 6, USES_S, op_posix},
	{"posix_lock_other", 4, USES_S, op_posix_other},
	{"lock_ask_other", 4, USES_S, op_ask_other},
	{"lock_afresh", 6, USES_A, op_lock_afresh},
};
const struct op_table lock_ops = {ops, sizeof(ops) / sizeof(ops[0])};
