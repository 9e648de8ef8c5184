/* SPDX-License-Identifier: Apache-2.0 */
/* See git_run.h. Cancellation is looked at every WAIT_STEP: tokens have no descriptor to poll. */
#include "origin/git_run.h"

#include "base/cancel.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define WAIT_STEP_NS (50 * NS_PER_MS)
#define GRACE_NS     (300 * NS_PER_MS) /* between asking a program to end and ending it */

/* The end of the pipe, keeping the last bytes of what comes: that is where the reason is. */
static void drain_error(struct gitrun *p)
{
	char piece[512];
	ssize_t n;

	if (p->err_fd < 0)
		return;
	while ((n = read(p->err_fd, piece, sizeof(piece))) > 0) {
		size_t room = sizeof(p->error) - 1, len = (size_t)n;

		if (p->error_len + len > room) {
			size_t drop = p->error_len + len - room;

			memmove(p->error, p->error + drop, p->error_len - drop);
			p->error_len -= drop;
		}
		memcpy(p->error + p->error_len, piece, len);
		p->error_len += len;
		p->error[p->error_len] = '\0';
	}
	if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		(void)close(p->err_fd);
		p->err_fd = -1;
	}
}

static int set_attributes(posix_spawnattr_t *attr)
{
	sigset_t none, all;
	int r;

	(void)sigemptyset(&none);
	(void)sigfillset(&all);
	r = posix_spawnattr_setflags(
		attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	if (r == 0)
		r = posix_spawnattr_setpgroup(attr, 0);
	if (r == 0)
		r = posix_spawnattr_setsigmask(attr, &none);
	return r ? r : posix_spawnattr_setsigdefault(attr, &all);
}

static int set_actions(
	posix_spawn_file_actions_t *actions, const struct gitrun_spec *spec, int io_fd, int err_fd)
{
	int r = posix_spawn_file_actions_adddup2(actions, io_fd, 0);

	if (r == 0)
		r = posix_spawn_file_actions_adddup2(actions, io_fd, 1);
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(actions, err_fd, 2);
	if (r == 0 && spec->keep_fd >= 0)
		r = posix_spawn_file_actions_adddup2(actions, spec->keep_fd, 3);
	return r ? r : posix_spawn_file_actions_addchdir_np(actions, spec->dir);
}

static int spawn(pid_t *ret_pid, const struct gitrun_spec *spec, int io_fd, int err_fd)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	int r;

	if (posix_spawn_file_actions_init(&actions) != 0)
		return -ENOMEM;
	if (posix_spawnattr_init(&attr) != 0) {
		(void)posix_spawn_file_actions_destroy(&actions);
		return -ENOMEM;
	}
	r = set_attributes(&attr);
	if (r == 0)
		r = set_actions(&actions, spec, io_fd, err_fd);
	if (r == 0)
		r = posix_spawnp(ret_pid, spec->argv[0], &actions, &attr, (char *const *)spec->argv,
			spec->env);
	(void)posix_spawnattr_destroy(&attr);
	(void)posix_spawn_file_actions_destroy(&actions);
	return -r;
}

int gitrun_start(struct gitrun *p, const struct gitrun_spec *spec)
{
	int io[2], err[2];
	int r;

	*p = (struct gitrun){.fd = -1, .err_fd = -1};
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, io) < 0)
		return -errno;
	if (pipe2(err, O_CLOEXEC) < 0) {
		r = -errno;
		(void)close(io[0]);
		(void)close(io[1]);
		return r;
	}
	p->fd = io[0];
	p->err_fd = err[0];
	r = spawn(&p->pid, spec, io[1], err[1]);
	(void)close(io[1]);
	(void)close(err[1]);
	if (r == 0 && (fcntl(p->fd, F_SETFL, O_NONBLOCK) < 0 ||
			      fcntl(p->err_fd, F_SETFL, O_NONBLOCK) < 0))
		r = -errno;
	if (r < 0)
		gitrun_end(p);
	return r;
}

void gitrun_adopt(struct gitrun *p, int fd)
{
	*p = (struct gitrun){.fd = fd, .err_fd = -1};
	(void)fcntl(fd, F_SETFL, O_NONBLOCK); /* of a socket: cannot fail */
}

/* One step of waiting for `events`: 0, or why to give up. `quiet_since` is when a byte moved last.
 */
static int wait_step(
	struct gitrun *p, short events, uint64_t quiet_since, const struct gitrun_wait *wait)
{
	struct pollfd fds[2] = {
		{.fd = p->fd, .events = events}, {.fd = p->err_fd, .events = POLLIN}};
	uint64_t now_ns = clock_mono_ns(&clock_system), step_ns = WAIT_STEP_NS;
	struct timespec step;
	int r = cancel_check(wait->cancel, wait->deadline_ns);

	if (r < 0)
		return r;
	if (wait->silence_ns && now_ns - quiet_since > wait->silence_ns)
		return -ETIMEDOUT;
	if (wait->deadline_ns - now_ns < step_ns)
		step_ns = wait->deadline_ns - now_ns;
	step = clock_timespec(step_ns);
	if (ppoll(fds, 2, &step, NULL) < 0 && errno != EINTR)
		return -errno;
	if (fds[1].revents)
		drain_error(p);
	return 0;
}

int gitrun_write(struct gitrun *p, const void *data, size_t len, const struct gitrun_wait *wait)
{
	uint64_t quiet_since = clock_mono_ns(&clock_system);
	const uint8_t *at = data;

	while (len > 0) {
		ssize_t n = p->fd < 0 ? -1 : send(p->fd, at, len, MSG_NOSIGNAL);
		int r;

		if (n >= 0) {
			at += n;
			len -= (size_t)n;
			quiet_since = clock_mono_ns(&clock_system);
			continue;
		}
		if (p->fd < 0 || (errno != EAGAIN && errno != EINTR)) {
			drain_error(p);
			return -EPIPE;
		}
		r = wait_step(p, POLLOUT, quiet_since, wait);
		if (r < 0)
			return r;
	}
	return 0;
}

ssize_t gitrun_read(struct gitrun *p, void *buf, size_t cap, const struct gitrun_wait *wait)
{
	uint64_t quiet_since = clock_mono_ns(&clock_system);

	for (;;) {
		ssize_t n = p->fd < 0 ? 0 : recv(p->fd, buf, cap, 0);
		int r;

		if (n > 0)
			return n;
		if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
			drain_error(p);
			return n == 0 ? 0 : -EPIPE;
		}
		r = wait_step(p, POLLIN, quiet_since, wait);
		if (r < 0)
			return r;
	}
}

void gitrun_close_input(struct gitrun *p)
{
	if (p->fd >= 0)
		(void)shutdown(
			p->fd, SHUT_WR); /* fails if the other end is gone, which is as good */
}

static int status_of(int status)
{
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Has it ended, at the latest at the deadline? True: *ret_status is set, and nothing is left. */
static bool ended_by(
	struct gitrun *p, uint64_t deadline_ns, const struct cancel *cancel, int *ret_status)
{
	_cleanup_close_ int pidfd = pidfd_open(p->pid, 0);
	int status;

	for (;;) {
		struct pollfd fds[2] = {
			{.fd = pidfd, .events = POLLIN}, {.fd = p->err_fd, .events = POLLIN}};

		if (waitpid(p->pid, &status, WNOHANG) != 0) {
			drain_error(p);
			p->pid = 0;
			*ret_status = status_of(status);
			return true;
		}
		if (cancel_check(cancel, deadline_ns) < 0)
			return false;
		(void)poll(fds, 2, pidfd < 0 ? 5 : (int)(WAIT_STEP_NS / NS_PER_MS));
		if (fds[1].revents)
			drain_error(p);
	}
}

static void kill_group(struct gitrun *p)
{
	int status;

	(void)kill(-p->pid, SIGTERM);
	if (ended_by(p, clock_after(&clock_system, GRACE_NS), NULL, &status))
		return;
	(void)kill(-p->pid, SIGKILL);
	(void)waitpid(p->pid, &status, 0); /* at once: it was killed */
	p->pid = 0;
}

int gitrun_finish(struct gitrun *p, const struct gitrun_wait *wait)
{
	int status = 0, r = 0;

	if (p->pid && !ended_by(p, wait->deadline_ns, wait->cancel, &status)) {
		r = cancel_check(wait->cancel, wait->deadline_ns);
		kill_group(p);
	}
	gitrun_end(p);
	return r < 0 ? r : status;
}

void gitrun_end(struct gitrun *p)
{
	if (p->fd >= 0)
		(void)close(p->fd);
	p->fd = -1;
	if (p->pid)
		kill_group(p);
	drain_error(p);
	if (p->err_fd >= 0)
		(void)close(p->err_fd);
	p->err_fd = -1;
}
