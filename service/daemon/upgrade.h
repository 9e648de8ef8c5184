/* SPDX-License-Identifier: Apache-2.0 */
/* The look at a successor before it is given anything. */
#pragma once
struct err;

/* Run the program by the name it was started with, which may mean a newer one by now, with our
 * arguments and --self-check. -ENOEXEC, reason SELF_CHECK_FAILED, with its last words; -ETIMEDOUT.
 * Blocks for its run, at most half a minute. Any thread. */
int upgrade_check(char *const *argv, struct err *e);
