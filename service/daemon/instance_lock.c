/* SPDX-License-Identifier: Apache-2.0 */
/* An flock, which the kernel drops with the process however it ends. The pid in the file is only
 * for the message. */
#include "instance_lock.h"

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/err.h>
#include <base/log.h>
#include <base/path.h>
#include <base/process.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse/session.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#define DYING_NS      (5 * NS_PER_S)
#define DYING_POLL_NS (50 * NS_PER_MS)

static void read_holder(int fd, char pid[16])
{
	ssize_t len = pread(fd, pid, 15, 0);

	pid[len > 0 ? strspn(pid, "0123456789") : 0] = '\0';
}

/* Wait for the lock of a holder that is dying. Its connections are aborted at once, then again: a
 * mount of it may have been in the making. */
static bool outlive(int fd, const char *pid, const char *run_dir)
{
	uint64_t deadline_ns = clock_after(&clock_system, DYING_NS);

	log_warn("predecessor_stuck", LOG_S("pid", pid), LOG_S("run_dir", run_dir));
	while (clock_mono_ns(&clock_system) < deadline_ns) {
		struct timespec pause = clock_timespec(DYING_POLL_NS);

		(void)sess_abort_mounts(run_dir); /* what it could not abort shows in the lock */
		(void)nanosleep(&pause, NULL);    /* a signal only shortens it */
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			return true;
	}
	return false;
}

static int already_running(const char *pid, const char *dir, const char *path, struct err *e)
{
	(void)err_set(e, -EBUSY, "ALREADY_RUNNING",
		"another coppiced (pid %s) uses %s; stop it first, or give this one another "
		"--data-dir and --run-dir (lock: %s)",
		pid[0] ? pid : "unknown", dir, path);
	err_meta(e, "pid", pid);
	return -EBUSY;
}

int instance_lock(const char *dir, const char *run_dir, int *ret_fd, struct err *e)
{
	_cleanup_free_ char *path = path_join(dir, "lock");
	_cleanup_close_ int fd = -1;
	char pid[16] = "";
	int len;

	if (!path)
		return err_set(e, -ENOMEM, "", "no memory");
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0)
		return err_set(e, -errno, "", "cannot open %s: %s", path, strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK)
			return err_set(e, -errno, "", "cannot lock %s: %s", path, strerror(errno));
		read_holder(fd, pid);
		if (!process_half_dead((pid_t)strtol(pid, NULL, 10)) || !outlive(fd, pid, run_dir))
			return already_running(pid, dir, path, e);
	}
	len = snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
	if (ftruncate(fd, 0) < 0 || pwrite(fd, pid, (size_t)len, 0) != len)
		return err_set(e, -EIO, "", "cannot write %s: %s", path, strerror(errno));
	*ret_fd = TAKE_FD(fd);
	return 0;
}
