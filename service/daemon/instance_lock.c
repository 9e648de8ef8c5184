/* SPDX-License-Identifier: Apache-2.0 */
/* An flock, which the kernel drops with the process however it ends. The pid in the file is only
 * for the message. */
#include "instance_lock.h"

#include <base/cleanup.h>
#include <base/err.h>
#include <base/path.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

static int already_running(int fd, const char *dir, const char *path, struct err *e)
{
	char pid[16] = "";
	ssize_t len = pread(fd, pid, sizeof(pid) - 1, 0);

	pid[len > 0 ? strspn(pid, "0123456789") : 0] = '\0';
	(void)err_set(e, -EBUSY, "ALREADY_RUNNING",
		"another coppiced (pid %s) uses %s; stop it first, or give this one another "
		"--data-dir and --run-dir (lock: %s)",
		pid[0] ? pid : "unknown", dir, path);
	err_meta(e, "pid", pid);
	return -EBUSY;
}

int instance_lock(const char *dir, int *ret_fd, struct err *e)
{
	_cleanup_free_ char *path = path_join(dir, "lock");
	_cleanup_close_ int fd = -1;
	char pid[16];
	int len;

	if (!path)
		return err_set(e, -ENOMEM, "", "no memory");
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0)
		return err_set(e, -errno, "", "cannot open %s: %s", path, strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno == EWOULDBLOCK)
			return already_running(fd, dir, path, e);
		return err_set(e, -errno, "", "cannot lock %s: %s", path, strerror(errno));
	}
	len = snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
	if (ftruncate(fd, 0) < 0 || pwrite(fd, pid, (size_t)len, 0) != len)
		return err_set(e, -EIO, "", "cannot write %s: %s", path, strerror(errno));
	*ret_fd = TAKE_FD(fd);
	return 0;
}
