/* SPDX-License-Identifier: Apache-2.0 */
/* See task.h. Formats: proc(5), Documentation/scheduler/sched-stats.rst of the kernel. No state. */
#include "session/task.h"

#include <base/clock.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The names in /proc/pid/stat may hold anything, so fields count from the last parenthesis. */
static int parse_stat(char *text, struct task_place *ret_place)
{
	char *save, *at = strrchr(text, ')');
	unsigned field = 3;

	for (char *word = at ? strtok_r(at + 1, " ", &save) : NULL; word;
		word = strtok_r(NULL, " ", &save), field++) {
		if (field == 20)
			ret_place->threads = (unsigned)strtoul(word, NULL, 10);
		else if (field == 39) {
			ret_place->cpu = (unsigned)strtoul(word, NULL, 10);
			return 0;
		}
	}
	return -EPROTO;
}

static int read_text(const char *path, char *buf, size_t cap)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, buf, cap - 1);
	(void)close(fd); /* nothing to lose in it */
	if (n <= 0)
		return -ESRCH;
	buf[n] = 0;
	return 0;
}

int task_place(uint32_t tid, struct task_place *ret_place)
{
	char path[64], text[1024];
	int r;

	(void)snprintf(path, sizeof(path), "/proc/%u/task/%u/stat", tid, tid);
	r = read_text(path, text, sizeof(text));
	return r < 0 ? r : parse_stat(text, ret_place);
}

/* A deadly signal is made a SIGKILL of each thread by the kernel (complete_signal). */
bool task_is_dying(uint32_t tid)
{
	char path[64], text[4096], *pending;

	(void)snprintf(path, sizeof(path), "/proc/%u/task/%u/status", tid, tid);
	if (read_text(path, text, sizeof(text)) < 0)
		return true;
	pending = strstr(text, "\nSigPnd:");
	return pending && strtoull(pending + strlen("\nSigPnd:"), NULL, 16) >> (SIGKILL - 1) & 1;
}

uint64_t task_waited_ns(pid_t tid)
{
	char path[64], text[128], *end;

	(void)snprintf(path, sizeof(path), "/proc/self/task/%d/schedstat", tid);
	if (read_text(path, text, sizeof(text)) < 0)
		return 0;
	(void)strtoull(text, &end, 10); /* time on the CPU */
	return strtoull(end, NULL, 10);
}

bool task_waits_are_counted(void)
{
	char text[128];

	/* Without the counters the file holds zeros: this process has run, and waited, before. */
	return read_text("/proc/self/schedstat", text, sizeof(text)) == 0 &&
	       strtoull(text, NULL, 10) > 0;
}

/* As clock_getcpuclockid(3) would do it, without asking whether the process is there. */
uint64_t task_process_cpu_ns(uint32_t pid)
{
	struct timespec ts;

	return clock_gettime((clockid_t)(~pid << 3 | 2u), &ts) < 0 ? 0 : clock_from_timespec(&ts);
}
