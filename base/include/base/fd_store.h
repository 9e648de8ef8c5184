/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors that outlive the process, because somebody else has a copy: the keeper, or the
 * service manager. A vtable; who implements it is chosen at start. */
#pragma once

#define FD_STORE_NAME_MAX 127 /* letters, digits, '.', '-', '_' */

struct fd_store {
	/* Keep a copy of `fd` under this name, instead of what it had. The descriptor stays the
	 * caller's. Any thread; blocks shortly. */
	int (*put)(struct fd_store *s, const char *name, int fd);
	/* A copy of what was put there, perhaps by a process that is dead: the caller's, CLOEXEC.
	 * -ENOENT. */
	int (*take)(struct fd_store *s, const char *name, int *ret_fd);
	/* Forget it; 0 also if there is nothing. */
	int (*drop)(struct fd_store *s, const char *name);
	/* Forget what a dead process put there under names that begin so, and nobody took. NULL:
	 * the store does that by itself. */
	void (*drop_untaken)(struct fd_store *s, const char *prefix);
};
