/* SPDX-License-Identifier: Apache-2.0 */
/* No new mounts are made meanwhile (mounts_drain); those that are there are deleted by their
 * owners, or their leases run out. */
#include "drain.h"

#include "signals.h"

#include <base/clock.h>
#include <base/log.h>
#include <service/mounts.h>
#include <stdbool.h>
#include <stdlib.h>

#define LOOK_NS (100 * NS_PER_MS)
#define TELL_NS (30 * NS_PER_S)

/* Those whose programs hang, or were never told to end: by pid, for whoever looks at the node. */
static void tell_holders(struct mounts *m)
{
	struct mount_holder *holders = NULL;
	unsigned count = 0;
	int r = mounts_holders(m, NULL, &holders, &count);

	if (r < 0)
		log_warn("holders_unknown", LOG_E(r));
	for (unsigned i = 0; i < count; i++)
		log_warn("mount_in_use", LOG_S("mount_id", holders[i].mount_id),
			LOG_S("tenant", holders[i].tenant), LOG_S("job_id", holders[i].job_id),
			LOG_I("pid", holders[i].pid), LOG_S("command", holders[i].command),
			LOG_S("how", holders[i].how));
	free(holders);
}

int drain_wait(struct mounts *m, uint64_t timeout_ns, int signals)
{
	uint64_t end_ns = clock_after(&clock_system, timeout_ns), tell_ns = 0, left;
	bool hurry = false;

	while ((left = mounts_live_count(m)) && !hurry && clock_mono_ns(&clock_system) < end_ns) {
		int r = signals_wait_for(signals, LOOK_NS);

		if (r < 0)
			return r;
		hurry = r == SIGNAL_STOP; /* others have no meaning now */
		if (clock_mono_ns(&clock_system) < tell_ns)
			continue;
		tell_ns = clock_after(&clock_system, TELL_NS);
		log_info("drain_waits", LOG_U("mounts", left));
	}
	if (left && timeout_ns) {
		log_warn("drain_ends_early", LOG_U("mounts", left), LOG_B("told_to", hurry));
		tell_holders(m);
	}
	return 0;
}
