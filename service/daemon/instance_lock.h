/* SPDX-License-Identifier: Apache-2.0 */
/* One daemon per data_dir, and per run_dir: at start a daemon detaches whatever is mounted there.
 */
#pragma once
struct err;
struct fd_store;

/* Locks <dir>/lock until *ret_fd is closed (and the store's copy dropped), and writes our pid into
 * it. A lock that the store has is a predecessor's, which is dead: it is taken over as it is.
 * -EBUSY, reason ALREADY_RUNNING, naming the pid that has it. A holder that was killed but cannot
 * die, because one of its threads waits in the kernel on its own mount, is helped to its end: the
 * connections of its mounts below `run_dir` are aborted. */
struct instance_lock_config {
	const char *dir, *run_dir;
	struct fd_store *store; /* has the lock over a restart, as `name`; may be NULL */
	const char *name;
};
int instance_lock(const struct instance_lock_config *config, int *ret_fd, struct err *e);
