/* SPDX-License-Identifier: Apache-2.0 */
/* One daemon per data_dir, and per run_dir: at start a daemon detaches whatever is mounted there.
 */
#pragma once
struct err;

/* Locks <dir>/lock until *ret_fd is closed, and writes our pid into it. -EBUSY, reason
 * ALREADY_RUNNING, naming the pid that has it. A holder that was killed but cannot die, because one
 * of its threads waits in the kernel on its own mount, is helped to its end: the connections of its
 * mounts below `run_dir` are aborted. */
int instance_lock(const char *dir, const char *run_dir, int *ret_fd, struct err *e);
