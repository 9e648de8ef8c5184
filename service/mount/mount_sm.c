/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a mount:
 *
 *	PROVISIONING ──► READY ◄──► QUIESCING
 *	     │           │  │           │
 *	     ▼           │  └► EXPIRED ◄┘      lease ran out
 *	  FAILED ◄───────┘        │
 *	     │    ▲ damaged       ▼
 *	     └────┴─────────► DELETING ──► DELETED
 *
 * FAILED → READY happens only at start: what a job wrote was kept, and whatever was wrong has been
 *put right. PROVISIONING → DELETED is a creation that was taken back before anyone saw it READY.
 *Every edge is journaled before it is acted on.
 */
#include "mount_sm.h"

#include <service/mounts.h>

static const struct sm_state states[] = {
	[0] = {"UNSPECIFIED", 0},
	[MOUNT_PROVISIONING] = {"PROVISIONING", SM_BIT(MOUNT_READY) | SM_BIT(MOUNT_FAILED) |
							SM_BIT(MOUNT_DELETING) |
							SM_BIT(MOUNT_DELETED)},
	[MOUNT_READY] = {"READY", SM_BIT(MOUNT_QUIESCING) | SM_BIT(MOUNT_DELETING) |
					  SM_BIT(MOUNT_EXPIRED) | SM_BIT(MOUNT_FAILED)},
	[MOUNT_QUIESCING] = {"QUIESCING", SM_BIT(MOUNT_READY) | SM_BIT(MOUNT_DELETING) |
						  SM_BIT(MOUNT_EXPIRED) | SM_BIT(MOUNT_FAILED)},
	[MOUNT_DELETING] = {"DELETING", SM_BIT(MOUNT_DELETED)},
	[MOUNT_DELETED] = {"DELETED", 0},
	[MOUNT_FAILED] = {"FAILED", SM_BIT(MOUNT_DELETING) | SM_BIT(MOUNT_READY)},
	[MOUNT_EXPIRED] = {"EXPIRED", SM_BIT(MOUNT_DELETING)},
};

const struct sm_table mount_sm_table = {
	.name = "mount",
	.states = states,
	.state_count = sizeof(states) / sizeof(states[0]),
};

const char *mount_state_name(enum mount_state s)
{
	return sm_name(&mount_sm_table, s);
}
