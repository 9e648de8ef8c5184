/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `git cat-file blob ID`, its output into a sink. The child sees an environment of our own, no
 * configuration of system or user, may use no transport (so it fetches nothing by itself), and runs
 * in its own process group. It is killed when the call ends before it does: deadline, cancellation,
 * a sink that refuses. If the daemon dies, its pipe breaks and it ends.
 *
 * Threads: the caller's, which waits for the child in poll().
 */
#include "origin/git_cat.h"

#include "base/cancel.h"
#include "base/cleanup.h"
#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define PIECE      (256u << 10)
#define STEP_MS    50 /* how soon a cancelled call ends */
#define END_STEPS  200
#define END_NAP_NS (5 * NS_PER_MS)

/* Git then streams every object that is larger than this and not a delta. */
#define BIG_FILE "core.bigFileThreshold=1m"

static int child_attr(posix_spawnattr_t *attr)
{
	sigset_t none, all;
	int code;

	(void)sigemptyset(&none); /* neither can fail */
	(void)sigfillset(&all);
	code = posix_spawnattr_init(attr);
	if (code)
		return -code;
	(void)posix_spawnattr_setsigmask(attr, &none); /* these only store what they are given */
	(void)posix_spawnattr_setsigdefault(attr, &all);
	(void)posix_spawnattr_setpgroup(attr, 0);
	(void)posix_spawnattr_setflags(
		attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
	return 0;
}

static int child_files(posix_spawn_file_actions_t *files, int out)
{
	int code = posix_spawn_file_actions_init(files);

	if (code)
		return -code;
	code = posix_spawn_file_actions_addopen(files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	if (!code)
		code = posix_spawn_file_actions_adddup2(files, out, STDOUT_FILENO);
	if (!code)
		code = posix_spawn_file_actions_addopen(
			files, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	if (code)
		(void)posix_spawn_file_actions_destroy(files);
	return -code;
}

static int spawn(const struct git_cat *cat, int out, pid_t *ret_pid)
{
	char hex[OID_HEX_MAX];
	const char *const argv[] = {"git", "--git-dir", cat->git_dir, "-c", BIG_FILE, "cat-file",
		"blob", oid_hex(cat->blob, hex), NULL};
	const char *const env[] = {"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/nonexistent",
		"LC_ALL=C", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_TERMINAL_PROMPT=0", "GIT_ALLOW_PROTOCOL=none", "GIT_OPTIONAL_LOCKS=0", NULL};
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	int r = child_attr(&attr);

	if (r < 0)
		return r;
	r = child_files(&files, out);
	if (r == 0) {
		r = -posix_spawnp(
			ret_pid, "git", &files, &attr, (char *const *)argv, (char *const *)env);
		(void)posix_spawn_file_actions_destroy(&files);
	}
	(void)posix_spawnattr_destroy(&attr);
	return r == -ENOENT ? -ENOSYS : r;
}

static int wait_readable(const struct git_cat *cat, int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	for (;;) {
		int n, r = cancel_check(cat->cancel, cat->deadline_ns);

		if (r < 0)
			return r;
		n = poll(&p, 1, STEP_MS);
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
	}
}

static int pump(const struct git_cat *cat, int fd, struct blob_sink *sink)
{
	_cleanup_free_ uint8_t *buf = malloc(PIECE);
	uint64_t done = 0;
	int r = buf ? sink->begin(sink, cat->size) : -ENOMEM;

	while (r == 0) {
		ssize_t n;

		r = wait_readable(cat, fd);
		if (r < 0)
			break;
		n = read(fd, buf, PIECE);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return done == cat->size ? 0 : -EIO;
		if ((uint64_t)n > cat->size - done)
			return -EIO;
		done += (uint64_t)n;
		r = sink->write(sink, buf, (size_t)n);
	}
	return r;
}

/* Its output has ended, so it ends by itself, unless it is sick. */
static int end_child(pid_t pid, bool kill_now)
{
	int status;

	for (unsigned i = 0; !kill_now && i < END_STEPS; i++) {
		pid_t got = waitpid(pid, &status, WNOHANG);

		if (got == pid)
			return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EIO;
		if (got < 0 && errno != EINTR)
			return -errno;
		(void)cancel_sleep_until(NULL, clock_after(&clock_system, END_NAP_NS));
	}
	(void)kill(-pid, SIGKILL); /* it is ours and not waited for yet: the number is its own */
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return -EIO;
}

int git_cat(const struct git_cat *cat, struct blob_sink *sink)
{
	_cleanup_close_ int from = -1, to = -1;
	int pipe_fd[2];
	pid_t pid;
	int r, ended;

	if (pipe2(pipe_fd, O_CLOEXEC) < 0)
		return -errno;
	from = pipe_fd[0];
	to = pipe_fd[1];
	/* Larger than the default where that is allowed: fewer wake-ups. */
	(void)fcntl(to, F_SETPIPE_SZ, (int)PIECE);
	r = spawn(cat, to, &pid);
	if (r < 0)
		return r;
	(void)close(TAKE_FD(to)); /* ours; the child has its own */
	r = pump(cat, from, sink);
	ended = end_child(pid, r < 0);
	return r < 0 ? r : ended;
}
