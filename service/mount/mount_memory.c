/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that nothing uses any more goes back to the system. What the kernel forgets is freed, but
 * the allocator keeps it for the next one who asks: after a job with a million files the process
 * would stay as large as it was at its largest. Giving back holds up whoever allocates meanwhile
 * (about a millisecond for each 10 MiB), so it is done only when much was freed. Reaper only.
 */
#include "mount_host.h"
#include "mounts_internal.h"

#include <fuse/overlay.h>
#include <malloc.h>

#define MUCH UINT64_C(16384) /* nodes; about 8 MiB */

static uint64_t count_freed(struct mounts *m)
{
	uint64_t freed = 0;

	LOCK_GUARD(&m->mu);
	list_for_each (it, &m->hosts) {
		struct mount_host *host = list_entry(it, struct mount_host, link);

		if (host->state == HOST_OPEN)
			freed += ovl_nodes_freed(host->overlay);
	}
	return freed;
}

void mount_memory_give_back(struct mounts *m)
{
	uint64_t freed = count_freed(m);

	/* Less than before: a tenant has gone, with all it had. */
	if (freed >= m->nodes_freed && freed - m->nodes_freed < MUCH)
		return;
	(void)malloc_trim(0); /* 0: there was nothing to give back */
	m->nodes_freed = freed;
}
