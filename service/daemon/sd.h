/* SPDX-License-Identifier: Apache-2.0 */
/* The service manager, systemd: what it is told, and what it keeps for us. The tell functions do
 * nothing if there is none. Main thread, but for the store. */
#pragma once
#include <stdint.h>

struct fd_store;

void sd_tell_ready(void);
void sd_tell_stopping(void);
/* The stop goes on: it may take so much longer. */
void sd_tell_patience(uint64_t wait_ns);

/* How often at least the manager wants to hear that we live (WatchdogSec); 0: it does not. */
uint64_t sd_watchdog_ns(void);
void sd_tell_alive(void);

/* Its store for descriptors, with those of the last process; NULL: it keeps none for us. Before the
 * first thread; blocks for a message to the manager and back. [sd_store.c] */
struct fd_store *sd_store_new(void);
/* What was not taken is closed here, not there. NULL is fine. */
struct fd_store *sd_store_free(struct fd_store *store);
