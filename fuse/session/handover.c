/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Putting everything down for a successor, at a request boundary: whoever has taken a request
 * answers it, nobody takes another. What is in the kernel's queues waits there. The order:
 *
 *	nothing that needs us served meanwhile (write-back for digests, invalidations)
 *	→ a moment in which nobody waits for a fetch, if one comes soon; all are served meanwhile
 *	→ the workers, each after its request → parked requests get their answers → answerers
 *
 * What does not end in time the kernel sends to the successor again, as after a kill: an origin
 * that takes longer must not hold up those who need nothing of it. Afterwards only the end of the
 * process is left to do. The thread that stops the service; blocks.
 */
#include "session/follow.h"
#include "session/notify.h"
#include "session/park.h"
#include "session/session_internal.h"

#include <base/clock.h>
#include <errno.h>

int sess_hand_over(struct sess_farm *farm, uint64_t limit_ns, uint64_t *ret_left)
{
	uint64_t deadline_ns = clock_after(&clock_system, limit_ns);
	struct park_stats left;
	int r = 0;

	/* Nobody opens or closes sessions any more: the list stands still. */
	list_for_each (it, &farm->sessions) {
		struct session *s = list_entry(it, struct session, in_farm);

		if (ovl_set_flush(s->overlay, NULL, NULL, deadline_ns) < 0)
			r = -ETIMEDOUT;
	}
	if (!notify_wait_empty(farm->notify, deadline_ns))
		r = -ETIMEDOUT;
	(void)park_wait_quiet(farm->park, deadline_ns); /* else they are waited for below */
	follow_stop(farm->follow);
	sess_workers_stop(farm);
	deadline_ns = clock_after(&clock_system, limit_ns);
	list_for_each (it, &farm->sessions) {
		struct session *s = list_entry(it, struct session, in_farm);

		if (!park_wait_empty(farm->park, s, deadline_ns))
			r = -ETIMEDOUT;
	}
	sess_answerers_stop(farm);
	park_stats(farm->park, &left);
	*ret_left = left.now;
	return r;
}
