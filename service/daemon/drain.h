/* SPDX-License-Identifier: Apache-2.0 */
/* The time between "stop" and the stop. */
#pragma once
#include <stdint.h>

struct mounts;

/* Wait until no mount is left, at most `timeout_ns` (0: not at all), or until another signal to
 * stop comes from `signals`. Tells now and then how many there are, and in the end who still uses
 * them. 0, or a negative errno of the signals. Main thread. */
int drain_wait(struct mounts *m, uint64_t timeout_ns, int signals);
