/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel says of a thread in /proc. Any thread may ask. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct task_place {
	unsigned threads; /* of its process */
	unsigned cpu;     /* where it runs, or ran last */
};

/* -ESRCH, -ENOENT: it has ended. */
int task_place(uint32_t tid, struct task_place *ret_place);
/* A signal that cannot be caught is on its way to it, or it has ended. */
bool task_is_dying(uint32_t tid);
/* How long a thread of this process was ready to run and did not, in all. 0: not known. */
uint64_t task_waited_ns(pid_t tid);
/* Whether this kernel counts that (CONFIG_SCHED_INFO). */
bool task_waits_are_counted(void);
/* CPU time of a process, all its threads; 0 if it has ended. */
uint64_t task_process_cpu_ns(uint32_t pid);
