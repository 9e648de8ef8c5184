/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps calls out for the moment of a switch, so that none sees half of it and no lock is needed on
 * the way of all others: a call that comes costs two atomic additions.
 *
 * A closed gate holds workers, which serve other workspaces too. So it does not wait long for calls
 * that are under way (a copy-up may take seconds): if they do not end soon the gate opens again,
 * and the switch tries a little later.
 */
#include "overlay/ovl_switch.h"

#include <base/clock.h>
#include <errno.h>
#include <time.h>

#define CLOSED_MAX_NS (20 * NS_PER_MS) /* waiting for calls to end */
#define POLL_NS       (50 * NS_PER_US)
#define PAUSE_NS      (20 * NS_PER_MS) /* between attempts */

void ovl_gate_init(struct ovl_gate *g)
{
	lock_init(&g->lock, LOCK_RANK_OVL_GATE);
	cond_init(&g->opened);
}

void ovl_gate_fini(struct ovl_gate *g)
{
	cond_fini(&g->opened);
	lock_fini(&g->lock);
}

void ovl_enter(struct overlay *o)
{
	struct ovl_gate *g = &o->gate;

	for (;;) {
		/* Sequentially consistent, as in ovl_gate_close: either we see the gate closed or
		 * it sees us inside. */
		atomic_fetch_add(&g->inside, 1);
		if (!atomic_load(&g->closed))
			return;
		atomic_fetch_sub(&g->inside, 1);
		LOCK_GUARD(&g->lock);
		while (atomic_load(&g->closed))
			cond_wait(&g->opened, &g->lock); /* milliseconds: see above */
	}
}

void ovl_leave(struct overlay *o)
{
	/* release: what the call did is done before the switch begins */
	atomic_fetch_sub_explicit(&o->gate.inside, 1, memory_order_release);
}

static void pause_for(uint64_t ns)
{
	const struct timespec time = clock_timespec(ns);

	(void)nanosleep(&time, NULL);
}

void ovl_gate_open(struct overlay *o)
{
	LOCK_GUARD(&o->gate.lock);
	atomic_store(&o->gate.closed, false);
	cond_broadcast(&o->gate.opened);
}

static bool close_once(struct ovl_gate *g)
{
	uint64_t until_ns = clock_after(&clock_system, CLOSED_MAX_NS);

	atomic_store(&g->closed, true);
	while (atomic_load(&g->inside) != 0) {
		if (clock_mono_ns(&clock_system) > until_ns)
			return false;
		pause_for(POLL_NS);
	}
	return true;
}

int ovl_gate_close(struct overlay *o, uint64_t deadline_ns)
{
	while (!close_once(&o->gate)) {
		ovl_gate_open(o);
		if (clock_mono_ns(&clock_system) > deadline_ns)
			return -EBUSY;
		pause_for(PAUSE_NS);
	}
	return 0;
}
