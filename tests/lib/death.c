/* SPDX-License-Identifier: Apache-2.0 */
/* A child whose stderr is a pipe: abort messages can be read and the test program lives on. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "death.h"

static _Noreturn void child(void (*fn)(void), int fd)
{
	(void)prctl(PR_SET_DUMPABLE, 0); /* the abort is expected: no core file */
	(void)signal(SIGABRT, SIG_DFL);  /* cmocka's handler would run the test's teardown here */
	(void)dup2(fd, STDERR_FILENO);
	fn();
	_exit(0);
}

struct death death_of(void (*fn)(void))
{
	struct death d = {.exit_code = -1};
	size_t len = 0;
	int ends[2], status;
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(ends), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		child(fn, ends[1]);
	(void)close(ends[1]);
	while (len < sizeof(d.output) - 1 &&
		(n = read(ends[0], d.output + len, sizeof(d.output) - 1 - len)) > 0)
		len += (size_t)n;
	(void)close(ends[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	d.aborted = WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
	if (WIFEXITED(status))
		d.exit_code = WEXITSTATUS(status);
	return d;
}
