/* SPDX-License-Identifier: Apache-2.0 */
/* base/process.h: who is alive, who is a zombie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/process.h"

#include <signal.h>
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_living_and_the_absent),
		cmocka_unit_test(a_zombie),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
