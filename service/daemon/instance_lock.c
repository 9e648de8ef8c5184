/* SPDX-License-Identifier: Apache-2.0 */
/* An flock, which the kernel drops with the process however it ends. The pid in the file is only
 * for the message. */
#include "instance_lock.h"

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/err.h>
#include <base/fd_store.h>
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
#include <sys/stat.h>

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

/* The very file at the path, or nobody else would be kept off. */
static bool same_file(int fd, const char *path)
{
	struct stat ours, there;

	return fstat(fd, &ours) == 0 && lstat(path, &there) == 0 && ours.st_dev == there.st_dev &&
	       ours.st_ino == there.st_ino;
}

/* An flock belongs to the open file, of which the store has a copy: it was never let go. */
static bool take_over(const struct instance_lock_config *c, const char *path, int *ret_fd)
{
	_cleanup_close_ int fd = -1;

	if (!c->store || c->store->take(c->store, c->name, &fd) < 0 || !same_file(fd, path) ||
		flock(fd, LOCK_EX | LOCK_NB) < 0)
		return false;
	*ret_fd = TAKE_FD(fd);
	return true;
}

static int lock_anew(
	const struct instance_lock_config *c, const char *path, int *ret_fd, struct err *e)
{
	_cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	char pid[16] = "";

	if (fd < 0)
		return err_set(e, -errno, "", "cannot open %s: %s", path, strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK)
			return err_set(e, -errno, "", "cannot lock %s: %s", path, strerror(errno));
		read_holder(fd, pid);
		if (!process_half_dead((pid_t)strtol(pid, NULL, 10)) ||
			!outlive(fd, pid, c->run_dir))
			return already_running(pid, c->dir, path, e);
	}
	/* Without a copy there a predecessor that cannot end is helped to it, as above. */
	if (c->store && c->store->put(c->store, c->name, fd) < 0)
		log_warn("lock_not_kept", LOG_S("path", path));
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int instance_lock(const struct instance_lock_config *c, int *ret_fd, struct err *e)
{
	_cleanup_free_ char *path = path_join(c->dir, "lock");
	_cleanup_close_ int fd = -1;
	char pid[16];
	int len, r;

	if (!path)
		return err_set(e, -ENOMEM, "", "no memory");
	r = take_over(c, path, &fd) ? 0 : lock_anew(c, path, &fd, e);
	if (r < 0)
		return r;
	len = snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
	if (ftruncate(fd, 0) < 0 || pwrite(fd, pid, (size_t)len, 0) != len)
		return err_set(e, -EIO, "", "cannot write %s: %s", path, strerror(errno));
	*ret_fd = TAKE_FD(fd);
	return 0;
}
