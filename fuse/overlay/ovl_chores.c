/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work that no call should wait for. A workspace has a set of chores that were asked for; it is in
 * the queue of its tenant's thread while the set is not empty, with a reference.
 *
 * Threads: ovl_chore_ask from any. One per tenant, `ovl-chore`, started on first need; it blocks on
 * the local disk, enters the gate (ovl_gate.c) where it looks at nodes, and ends a chore early when
 * its workspace is removed. ovl_free waits for it.
 */
#include "overlay/ovl_chores.h"

#include "overlay/ovl_internal.h"
#include "overlay/ovl_left.h"
#include "overlay/ovl_state.h"
#include "overlay/ovl_usage.h"

#include <base/pool.h>

#define CHORE_QUEUE_MAX 1024

static const struct chore {
	enum ovl_chore bit;
	void (*run)(struct ovl_ws *ws);
} chores[] = {
	{OVL_CHORE_COMPACT, ovl_journal_compact},
	{OVL_CHORE_RECOUNT, ovl_usage_chore},
	{OVL_CHORE_REVIVE, ovl_left_chore},
};

int ovl_chores_new(struct overlay *o)
{
	return pool_new(&o->chores, &(struct pool_config){"ovl-chore", 1, CHORE_QUEUE_MAX});
}

void ovl_chores_free(struct overlay *o)
{
	o->chores = pool_free(o->chores);
}

static void run(void *arg)
{
	struct ovl_ws *ws = arg;
	unsigned asked =
		atomic_exchange(&ws->chores, 0); /* what is asked for from now on comes again */

	for (size_t i = 0; i < sizeof(chores) / sizeof(chores[0]); i++)
		if ((asked & chores[i].bit) && !atomic_load(&ws->dead))
			chores[i].run(ws);
	ovl_ws_unref(ws);
}

bool ovl_chore_ask(struct ovl_ws *ws, enum ovl_chore chore)
{
	if (atomic_fetch_or(&ws->chores, chore) != 0)
		return true; /* it is in the queue already */
	ref_get(&ws->ref);
	if (pool_submit(ws->overlay->chores, run, ws, false) == 0)
		return true;
	atomic_store(&ws->chores, 0);
	ref_put(&ws->ref); /* never the last one: the caller's is there */
	return false;
}
