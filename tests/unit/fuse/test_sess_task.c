/* SPDX-License-Identifier: Apache-2.0 */
/* What /proc says of threads, whatever their names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "session/task.h"

#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void test_own_place(void **state)
{
	struct task_place place = {0};

	(void)state;
	assert_int_equal(task_place((uint32_t)gettid(), &place), 0);
	assert_int_equal(place.threads, 1);
	assert_true(place.cpu < (unsigned)sysconf(_SC_NPROCESSORS_CONF));
}

static void test_a_name_that_looks_like_fields(void **state)
{
	char before[16] = {0};
	struct task_place place = {0};
	cpu_set_t cpus, one;
	unsigned cpu = 0;

	(void)state;
	assert_int_equal(prctl(PR_GET_NAME, before), 0);
	assert_int_equal(prctl(PR_SET_NAME, "a) R 1 (2 ) 3"), 0);
	assert_int_equal(sched_getaffinity(0, sizeof(cpus), &cpus), 0);
	while (!CPU_ISSET(cpu, &cpus) || (cpu + 1 < CPU_SETSIZE && CPU_ISSET(cpu + 1, &cpus)))
		cpu++; /* the last of the first run of them */
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	assert_int_equal(task_place((uint32_t)gettid(), &place), 0);
	assert_int_equal(place.cpu, cpu);
	assert_int_equal(place.threads, 1);
	assert_int_equal(sched_setaffinity(0, sizeof(cpus), &cpus), 0);
	assert_int_equal(prctl(PR_SET_NAME, before), 0);
}

static void test_one_that_has_ended(void **state)
{
	struct task_place place;
	pid_t pid = fork();

	(void)state;
	if (pid == 0)
		_exit(0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_true(task_place((uint32_t)pid, &place) < 0);
	assert_int_equal(task_process_cpu_ns((uint32_t)pid), 0);
}

static void test_time_of_a_process(void **state)
{
	uint64_t before = task_process_cpu_ns((uint32_t)getpid());

	(void)state;
	assert_true(before > 0);
	while (task_process_cpu_ns((uint32_t)getpid()) < before + 1000000)
		;
}

/* Two that want one CPU: one of them waits. */
static void test_waiting_is_counted(void **state)
{
	uint64_t before = task_waited_ns(gettid()), cpu;
	cpu_set_t cpus;
	pid_t pid;

	(void)state;
	assert_true(task_waits_are_counted());
	CPU_ZERO(&cpus);
	CPU_SET((unsigned)sched_getcpu(), &cpus);
	pid = fork();
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);          /* at worst it is killed below */
		(void)sched_setaffinity(0, sizeof(cpus), &cpus); /* it worked a moment ago */
		for (;;)
			;
	}
	cpu = task_process_cpu_ns((uint32_t)getpid());
	while (task_waited_ns(gettid()) < before + 1000000) {
		/* against a hang: a second of our own */
		assert_true(task_process_cpu_ns((uint32_t)getpid()) < cpu + 1000000000);
		(void)sched_setaffinity(0, sizeof(cpus), &cpus); /* as above */
	}
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_own_place),
		cmocka_unit_test(test_a_name_that_looks_like_fields),
		cmocka_unit_test(test_one_that_has_ended),
		cmocka_unit_test(test_time_of_a_process),
		cmocka_unit_test(test_waiting_is_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
