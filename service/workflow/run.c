/* SPDX-License-Identifier: Apache-2.0 */
/* See run.h. One thread per program: the caller's. It waits in poll, at most 50 ms at a time, since
 * a cancel token has no descriptor. */
#include "workflow/run.h"

#include <base/cancel.h>
#include <base/cleanup.h>
#include <base/clock.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#define LINE_MAX_BYTES 4096u
#define STEP_MS        50
#define GRACE_NS       (500 * NS_PER_MS) /* between asking a program to end and ending it */

struct stream {
	int fd; /* -1: at its end */
	bool is_error;
	char line[LINE_MAX_BYTES];
	size_t len;
};

/* ---- starting ---- */

static int set_up(posix_spawn_file_actions_t *actions, posix_spawnattr_t *attr,
	const struct wf_run *run, const int fds[2])
{
	sigset_t none, all;
	int r;

	(void)sigemptyset(&none);
	(void)sigfillset(&all);
	r = posix_spawnattr_setflags(
		attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	if (r == 0)
		r = posix_spawnattr_setsigmask(attr, &none);
	if (r == 0)
		r = posix_spawnattr_setsigdefault(attr, &all);
	if (r == 0)
		r = posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0);
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(actions, fds[0], 1);
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(actions, fds[1], 2);
	if (r == 0)
		r = posix_spawn_file_actions_addchdir_np(actions, run->dir);
	return r;
}

static int spawn(const struct wf_run *run, const int fds[2], pid_t *ret_pid)
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
	r = set_up(&actions, &attr, run, fds);
	if (r == 0)
		r = posix_spawnp(
			ret_pid, run->argv[0], &actions, &attr, (char *const *)run->argv, run->env);
	(void)posix_spawnattr_destroy(&attr);
	(void)posix_spawn_file_actions_destroy(&actions);
	return -r;
}

/* ---- reading ---- */

static int end_line(const struct wf_run *run, struct stream *s)
{
	int r = 0;

	s->line[s->len] = '\0';
	if (s->len && strlen(s->line) == s->len) /* a line with a NUL is none of Git's */
		r = run->line(run->arg, s->is_error, s->line);
	s->len = 0;
	return r;
}

static int take(const struct wf_run *run, struct stream *s)
{
	char piece[1024];
	ssize_t n = read(s->fd, piece, sizeof(piece));
	int r = 0;

	if (n < 0)
		return errno == EINTR || errno == EAGAIN ? 0 : -errno;
	for (ssize_t i = 0; r == 0 && i < n; i++) {
		if (piece[i] == '\n' || piece[i] == '\r')
			r = end_line(run, s);
		else if (s->len < sizeof(s->line) - 1) /* the rest of a long line is cut */
			s->line[s->len++] = piece[i];
	}
	if (n == 0) {
		r = end_line(run, s);
		(void)close(s->fd); /* a pipe, for reading */
		s->fd = -1;
	}
	return r;
}

static int read_all(const struct wf_run *run, struct stream streams[2])
{
	int r = 0;

	while (r == 0 && (streams[0].fd >= 0 || streams[1].fd >= 0)) {
		struct pollfd fds[2] = {{.fd = streams[0].fd, .events = POLLIN},
			{.fd = streams[1].fd, .events = POLLIN}};

		r = cancel_check(run->cancel, run->deadline_ns);
		if (r < 0)
			return r;
		if (poll(fds, 2, STEP_MS) < 0 && errno != EINTR)
			return -errno;
		for (unsigned i = 0; r == 0 && i < 2; i++)
			if (streams[i].fd >= 0 && fds[i].revents)
				r = take(run, &streams[i]);
	}
	return r;
}

/* ---- ending ---- */

static int status_of(int status)
{
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Asks the group to end, then makes it. */
static void end_group(pid_t pid)
{
	const struct timespec step = clock_timespec(10 * NS_PER_MS);
	uint64_t until_ns = clock_after(&clock_system, GRACE_NS);
	int status;

	(void)kill(-pid, SIGTERM);
	while (clock_mono_ns(&clock_system) < until_ns) {
		if (waitpid(pid, &status, WNOHANG) == pid) {
			(void)kill(-pid, SIGKILL); /* what it has left behind */
			return;
		}
		(void)nanosleep(&step, NULL);
	}
	(void)kill(-pid, SIGKILL);
	(void)waitpid(pid, &status, 0); /* killed: it ends */
}

/* Its pipes are closed: it is about to end. */
static int wait_end(const struct wf_run *run, pid_t pid)
{
	const struct timespec step = clock_timespec(2 * NS_PER_MS);
	int status, r = 0;

	while (waitpid(pid, &status, WNOHANG) == 0) {
		r = cancel_check(run->cancel, run->deadline_ns);
		if (r < 0) {
			end_group(pid);
			return r;
		}
		(void)nanosleep(&step, NULL);
	}
	return status_of(status);
}

int wf_run(const struct wf_run *run)
{
	struct stream *streams = calloc(2, sizeof(*streams));
	int out[2], err[2], r;
	pid_t pid;

	if (!streams)
		return -ENOMEM;
	if (pipe2(out, O_CLOEXEC) < 0) {
		r = -errno;
		free(streams);
		return r;
	}
	if (pipe2(err, O_CLOEXEC) < 0) {
		r = -errno;
		(void)close(out[0]);
		(void)close(out[1]);
		free(streams);
		return r;
	}
	streams[0].fd = out[0];
	streams[1].fd = err[0];
	streams[1].is_error = true;
	r = spawn(run, (int[]){out[1], err[1]}, &pid);
	(void)close(out[1]);
	(void)close(err[1]);
	if (r == 0) {
		r = read_all(run, streams);
		if (r == 0)
			r = wait_end(run, pid);
		else
			end_group(pid);
	}
	for (unsigned i = 0; i < 2; i++)
		if (streams[i].fd >= 0)
			(void)close(streams[i].fd); /* a pipe, for reading */
	free(streams);
	return r;
}
