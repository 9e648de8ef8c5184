/* SPDX-License-Identifier: Apache-2.0 */
/* What /proc says about a process. libc only: the keeper is built from it too. */
#pragma once
#include <stdbool.h>
#include <sys/types.h>

/* It was killed but is not gone: its first thread is a zombie, while another has not come back from
 * the kernel. A process that ended and was not reaped yet looks the same. False also if there is
 * no such process. */
bool process_half_dead(pid_t pid);
/* And there are threads left, each called one of `names` (ended by NULL), or as the threads of a
 * pool of that name. */
bool process_only_left(pid_t pid, const char *const *names);
