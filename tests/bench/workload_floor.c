// SPDX-License-Identifier: Apache-2.0
/*
 * What the machine itself makes a request to another process cost: a byte there and back, both on
 * one CPU. No daemon's request can cost less. It takes no directory.
 */
#include "workload.h"

#include "base/cleanup.h"
#include "base/io.h"

#include <errno.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

int workload_stay_on_this_cpu(void)
{
	cpu_set_t here;
	int cpu = sched_getcpu();

	if (cpu < 0)
		return -errno;
	CPU_ZERO(&here);
	CPU_SET(cpu, &here);
	return sched_setaffinity(0, sizeof(here), &here) < 0 ? -errno : 0;
}

static int echo(int in, int out, unsigned long count)
{
	char byte = 0;
	int r = 0;

	while (count-- > 0 && r == 0) {
		r = io_read_full(in, &byte, 1);
		if (r == 0)
			r = io_write_full(out, &byte, 1);
	}
	return r;
}

static int ask(int in, int out, unsigned long count)
{
	char byte = 0;
	int r = 0;

	while (count-- > 0 && r == 0) {
		r = io_write_full(out, &byte, 1);
		if (r == 0)
			r = io_read_full(in, &byte, 1);
	}
	return r;
}

static int run_round_trips(char **args)
{
	unsigned long count = workload_number(args[0]);
	int there[2], back[2], status, r = workload_stay_on_this_cpu();
	pid_t child;

	if (r < 0)
		return workload_failed(-r, "sched_setaffinity");
	if (pipe(there) < 0 || pipe(back) < 0)
		return workload_failed(errno, "pipe");
	child = fork();
	if (child < 0)
		return workload_failed(errno, "fork");
	if (child == 0)
		_exit(echo(there[0], back[1], count) == 0 ? 0 : 1);
	r = ask(back[0], there[1], count);
	if (waitpid(child, &status, 0) < 0)
		return workload_failed(errno, "waitpid");
	return r < 0 || status != 0 ? workload_failed(r < 0 ? -r : EIO, "round trips") : 0;
}

const struct workload workload_floor[] = {
	{"round-trips", "COUNT", 1, run_round_trips},
	{0},
};
