/* SPDX-License-Identifier: Apache-2.0 */
/* One of everything, in order. */
#pragma once
struct cfg;
struct daemon;
struct err;

/* Builds and starts all of it; serving when it returns. `cfg` outlives it. */
int daemon_start(struct daemon **ret_daemon, const struct cfg *cfg, struct err *e);
/* No new mounts; waits as configured until those that are there have ended, or another signal to
 * stop comes. 0, or a negative errno of the signals. */
int daemon_drain(struct daemon *d, int signals);
/* Tears down in reverse order. NULL is fine. */
struct daemon *daemon_stop(struct daemon *d);
/* Read the token files again. */
int daemon_reload(struct daemon *d, struct err *e);
