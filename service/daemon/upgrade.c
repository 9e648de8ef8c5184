/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A new binary that cannot run here (a library is missing, the configuration is wrong, a format
 * cannot be read) says so before the old one has stopped anything. Its stderr is read through a
 * pipe; whatever it says beyond the end of our buffer is lost, and the pipe's reader never waits
 * for more than its exit.
 */
#include "upgrade.h"

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK_NS   (30 * NS_PER_S)
#define ARGS_MAX   256
#define LAST_WORDS 400
#define SELF_CHECK "--self-check"
#define KEEPER_FD  "COPPICE_KEEPER_FD"

extern char **environ;

/* Our words and one more. */
static bool make_arguments(char *const *argv, char **ret_args)
{
	unsigned n = 0;

	for (; argv[n]; n++) {
		if (n == ARGS_MAX - 2)
			return false;
		ret_args[n] = argv[n];
	}
	ret_args[n] = (char *)SELF_CHECK;
	ret_args[n + 1] = NULL;
	return true;
}

/* It must not speak to the keeper in our place, nor to the service manager. */
static char **make_environment(void)
{
	size_t n = 0, kept = 0;
	char **out;

	while (environ[n])
		n++;
	out = calloc(n + 1, sizeof(*out));
	for (size_t i = 0; out && i < n; i++)
		if (strncmp(environ[i], KEEPER_FD "=", sizeof(KEEPER_FD)) != 0 &&
			strncmp(environ[i], "NOTIFY_SOCKET=", 14) != 0)
			out[kept++] = environ[i];
	return out;
}

static int spawn(char *const *argv, int stderr_fd, pid_t *ret_pid)
{
	_cleanup_free_ char **environment = make_environment();
	char *args[ARGS_MAX];
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none;
	int r;

	if (!environment)
		return -ENOMEM;
	if (!make_arguments(argv, args))
		return -E2BIG;
	r = -posix_spawn_file_actions_init(&actions);
	if (r < 0)
		return r;
	r = -posix_spawnattr_init(&attributes);
	if (r < 0) {
		(void)posix_spawn_file_actions_destroy(&actions); /* cannot fail */
		return r;
	}
	(void)sigemptyset(&none); /* cannot fail */
	r = -posix_spawnattr_setsigmask(&attributes, &none);
	if (r == 0)
		r = -posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
	if (r == 0)
		r = -posix_spawn_file_actions_adddup2(&actions, stderr_fd, STDERR_FILENO);
	if (r == 0)
		r = -posix_spawnp(ret_pid, args[0], &actions, &attributes, args, environment);
	(void)posix_spawnattr_destroy(&attributes); /* cannot fail, nor the next */
	(void)posix_spawn_file_actions_destroy(&actions);
	return r;
}

/* Its exit status, or -ETIMEDOUT after it was killed. */
static int wait_for(pid_t pid)
{
	_cleanup_close_ int fd = pidfd_open(pid, 0);
	uint64_t end_ns = clock_after(&clock_system, CHECK_NS), now_ns;
	bool ended = false;
	int status;

	while (fd >= 0 && !ended && (now_ns = clock_mono_ns(&clock_system)) < end_ns) {
		struct timespec left = clock_timespec(end_ns - now_ns);

		ended = ppoll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, &left, NULL) > 0;
	}
	if (!ended)
		(void)kill(pid, SIGKILL); /* ours and not reaped: it is still that process */
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	if (!ended)
		return -ETIMEDOUT;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int upgrade_check(char *const *argv, struct err *e)
{
	_cleanup_close_ int out = -1, in = -1;
	char words[LAST_WORDS] = "";
	int pipe_fds[2], r;
	ssize_t len;
	pid_t pid;

	if (pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return err_wrap(e, -errno, "check the new program");
	in = pipe_fds[0];
	out = pipe_fds[1];
	r = spawn(argv, out, &pid);
	if (r == 0)
		r = wait_for(pid);
	if (r < 0)
		return err_set(e, r, "SELF_CHECK_FAILED", "the self-check of %s: %s", argv[0],
			strerror(-r));
	if (r == 0)
		return 0;
	len = read(in, words, sizeof(words) - 1);
	words[len > 0 ? len : 0] = '\0';
	words[strcspn(words, "\n")] = '\0';
	return err_set(e, -ENOEXEC, "SELF_CHECK_FAILED", "the self-check of %s ended with %d: %s",
		argv[0], r, words);
}
