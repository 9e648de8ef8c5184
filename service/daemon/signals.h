/* SPDX-License-Identifier: Apache-2.0 */
/* Signals as something to read. */
#pragma once
#include <stdint.h>

enum daemon_signal { SIGNAL_STOP = 1, SIGNAL_RELOAD, SIGNAL_UPGRADE };

/* Before the first thread is made, so that all inherit it: TERM, INT, HUP and USR2 are blocked,
 * PIPE is ignored. *ret_fd reports them. */
int signals_open(int *ret_fd);
/* Blocks until one comes. An enum daemon_signal or a negative errno. */
int signals_wait(int fd);
/* The same for at most so long; 0: none came. */
int signals_wait_for(int fd, uint64_t wait_ns);
