/* SPDX-License-Identifier: Apache-2.0 */
/* One daemon per data_dir. */
#pragma once
struct err;

/* Locks data_dir/lock until *ret_fd is closed, and writes our pid into it. -EBUSY, reason
 * ALREADY_RUNNING, naming the pid that has it. */
int instance_lock(const char *data_dir, int *ret_fd, struct err *e);
