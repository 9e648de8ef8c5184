/* SPDX-License-Identifier: Apache-2.0 */
/* One of everything, in order. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct cfg;
struct daemon;
struct err;

/* Builds and starts all of it; serving when it returns. `cfg` and `argv` (how the process was
 * started) outlive it. */
int daemon_start(
	struct daemon **ret_daemon, const struct cfg *cfg, char *const *argv, struct err *e);
/* Would a successor run? Starts it to look at itself. -EOPNOTSUPP reason NOT_KEPT, -ENOEXEC reason
 * SELF_CHECK_FAILED. Blocks. */
int daemon_check_successor(struct daemon *d, struct err *e);
/* Somebody who asked for the upgrade has done that already. */
bool daemon_successor_checked(struct daemon *d);
/* Put everything down for a successor; after it only the process may end, at once. */
void daemon_hand_over(struct daemon *d);
/* No new mounts; waits as configured until those that are there have ended, or another signal to
 * stop comes. 0, or a negative errno of the signals. */
int daemon_drain(struct daemon *d, int signals);
/* Comes back if the service is alive, and not if it has locked itself up; tells those who would
 * kill it then. Returns how long they take a silence for life; 0: nobody listens. */
uint64_t daemon_feel_pulse(struct daemon *d);
/* Tears down in reverse order. NULL is fine. */
struct daemon *daemon_stop(struct daemon *d);
/* Read the token files again. */
int daemon_reload(struct daemon *d, struct err *e);
