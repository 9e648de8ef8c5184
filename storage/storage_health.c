// SPDX-License-Identifier: Apache-2.0
/*
 * What origins answer, for the health of the node; and asking those that are down whether they are
 * back. Their next answer could be long in coming, because who is told that an origin is down may
 * stop asking it.
 *
 * Threads: any that asks an origin tells here. `origin-probe`, started on need, asks each origin
 * that is down, pauses between one and eight seconds, and ends when none is left. It blocks in
 * origins for a few seconds at most, and not once `closing` is fired.
 */
#include "storage_internal.h"

#include "base/cancel.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/health.h"
#include "base/pool.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define STRIKES        3
#define PAUSE_MIN_NS   NS_PER_S
#define PAUSE_MAX_NS   (8 * NS_PER_S)
#define PROBE_LIMIT_NS (5 * NS_PER_S)
#define UP_AFTER_NS    (3 * NS_PER_S) /* without a failure; as base/health.c has it for others */

static void component_of(const struct origin *o, char *ret_component, size_t cap)
{
	(void)snprintf(ret_component, cap, "origin %s", origin_name(o));
}

/* The first lane whose origin is down, or the first after `last`; lanes stay until close. */
static struct lane *next_down(struct storage *st, const struct lane *last)
{
	LOCK_GUARD(&st->mu);
	for (struct list *it = last ? last->node.next : st->lanes.next; it != &st->lanes;
		it = it->next) {
		struct lane *lane = list_entry(it, struct lane, node);

		if (lane->down)
			return lane;
	}
	return NULL;
}

/* It answered just now. */
static void note_up(struct storage *st, struct lane *lane)
{
	char component[64];
	bool over;

	lock_acquire(&st->mu);
	over = clock_mono_ns(&clock_system) - lane->failed_ns >= UP_AFTER_NS;
	if (over)
		lane->down = false;
	lock_release(&st->mu);
	component_of(lane->origin, component, sizeof(component));
	if (over)
		health_over(st->health, component);
}

/* Whether the prober has nothing left to do; then it is not there any more. */
static bool all_up(struct storage *st)
{
	LOCK_GUARD(&st->mu);
	list_for_each (it, &st->lanes)
		if (list_entry(it, struct lane, node)->down)
			return false;
	st->probing = false;
	return true;
}

static void probe(void *arg)
{
	struct storage *st = arg;
	uint64_t pause_ns = PAUSE_MIN_NS;

	do {
		if (cancel_sleep_until(st->closing, clock_after(&clock_system, pause_ns)) ==
			-ECANCELED)
			return;
		for (struct lane *lane = next_down(st, NULL); lane; lane = next_down(st, lane))
			if (origin_probe(lane->origin, st->closing,
				    clock_after(&clock_system, PROBE_LIMIT_NS)) == 0)
				note_up(st, lane);
		pause_ns = 2 * pause_ns < PAUSE_MAX_NS ? 2 * pause_ns : PAUSE_MAX_NS;
	} while (!all_up(st));
}

static void note_down(struct storage *st, struct origin *o)
{
	struct lane *lane;
	bool start;
	LOCK_GUARD(&st->mu);

	lane = lane_of_locked(st, o);
	if (!lane->origin)
		return; /* never added: nobody shows it */
	lane->down = true;
	lane->failed_ns = clock_mono_ns(&clock_system);
	start = !st->probing && !st->stopping;
	if (start && pool_submit(st->prober, probe, st, false) == 0)
		st->probing = true; /* if not, its next answer tells */
}

static unsigned count_strike(struct storage *st, struct origin *o, bool failed)
{
	struct lane *lane;
	LOCK_GUARD(&st->mu);

	lane = lane_of_locked(st, o);
	lane->strikes = failed ? lane->strikes + 1 : 0;
	return lane->strikes;
}

/* One damaged object is no broken origin, three failures in a row are. A call that was given up
 * says nothing. */
void storage_origin_said(struct storage *st, struct origin *o, int r, const char *why)
{
	static const char advice[] = "look at the origin and the way to it; what is cached can be "
				     "read, the rest fails until it answers";
	char component[64];
	unsigned strikes;

	if (r == -ECANCELED || r == -ENOMEM || !st->health)
		return;
	component_of(o, component, sizeof(component));
	strikes = count_strike(st, o, r != 0);
	if (r == 0) {
		health_good(st->health, component);
	} else if (r == -EBADMSG) {
		health_bad(st->health, component,
			"sends what does not have the hash that it should", advice);
	} else if (r == -EHOSTUNREACH || r == -ETIMEDOUT) {
		note_down(st, o);
		health_bad(st->health, component, why ? why : strerrordesc_np(-r), advice);
	} else if (strikes >= STRIKES) {
		health_bad(st->health, component, why ? why : strerrordesc_np(-r), advice);
	}
}

void storage_origin_resolved(struct storage *st, struct origin *o, int r, const struct err *e)
{
	/* That there is no such revision is an answer, that there is no such repository is none. */
	bool refused = r == -EACCES || (e && strcmp(e->reason, "ORIGIN_NOT_FOUND") == 0);

	if (r == -EHOSTUNREACH || r == -ETIMEDOUT || refused)
		storage_origin_said(st, o, refused ? -EHOSTUNREACH : r,
			e ? err_message(e) : strerrordesc_np(-r));
	else if (r == 0 || r == -ENOENT || r == -EINVAL)
		storage_origin_said(st, o, 0, NULL);
}

int health_probe_start(struct storage *st)
{
	const struct pool_config pool = {.name = "origin-probe", .threads_max = 1, .queue_max = 1};

	st->closing = cancel_new();
	return st->closing ? pool_new(&st->prober, &pool) : -ENOMEM;
}

void health_probe_stop(struct storage *st)
{
	if (st->closing)
		cancel_fire(st->closing);
	st->prober = pool_free(st->prober);
	st->closing = cancel_unref(st->closing);
}
