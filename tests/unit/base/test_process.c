/* SPDX-License-Identifier: Apache-2.0 */
/* base/process.h: who is alive, who is a zombie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/process.h"

#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void the_living_and_the_absent(void **state)
{
	(void)state;
	assert_false(process_half_dead(getpid()));
	assert_false(process_half_dead(0));
	assert_false(process_half_dead(-1));
}

static void a_zombie(void **state)
{
	siginfo_t info = {0};
	pid_t pid = fork();

	(void)state;
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(0);
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	assert_true(process_half_dead(pid));
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_false(process_half_dead(pid));
}

static void *sleep_named(void *arg)
{
	(void)pthread_setname_np(pthread_self(), "waiter) Z-12");
	(void)eventfd_write(*(int *)arg, 1);
	(void)pause();
	return NULL;
}

/* A process whose first thread has ended looks like one that was killed and cannot end. */
static void threads_that_are_left(void **state)
{
	static const char *const waiter[] = {"other", "waiter) Z", NULL}, *const other[] = {
										  "other", NULL};
	char self[16] = "";
	const char *const left[] = {"waiter) Z-12", self, NULL}; /* TSan has a thread of its own */
	const char *const pool[] = {"waiter) Z", self, NULL};
	const char *const another[] = {"waiter) Z-1", "waiter) ", self, NULL};
	int ready = eventfd(0, EFD_CLOEXEC);
	eventfd_t value;
	pid_t pid = fork();

	(void)state;
	assert_true(pid >= 0);
	if (pid == 0) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, sleep_named, &ready))
			_exit(1);
		pthread_exit(NULL);
	}
	assert_int_equal(eventfd_read(ready, &value), 0);
	for (unsigned i = 0; i < 1000 && !process_half_dead(pid); i++)
		(void)usleep(1000);
	assert_true(process_half_dead(pid));
	assert_int_equal(prctl(PR_GET_NAME, self), 0);
	assert_true(process_only_left(pid, left));
	assert_true(process_only_left(pid, pool));
	assert_false(process_only_left(pid, another));
	assert_false(process_only_left(pid, other));
	assert_false(process_only_left(getpid(), waiter));
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_false(process_only_left(pid, waiter));
	(void)close(ready);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_living_and_the_absent),
		cmocka_unit_test(a_zombie),
		cmocka_unit_test(threads_that_are_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
