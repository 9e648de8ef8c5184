/* SPDX-License-Identifier: Apache-2.0 */
/* See base/health.h. A handful of conditions in an array under one lock; a count that is read
 * without it keeps the good path free. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/health.h"
#include "base/lock.h"
#include "base/metrics.h"

#define GOOD_FOR_NS (3 * NS_PER_S)

struct entry {
	struct health_condition c;
	struct gauge *gauge;  /* 1 while it is degraded; NULL without a registry */
	uint64_t last_bad_ns; /* all below guarded by mu, as is `c` */
	bool degraded;
};

struct health {
	const struct clock *clock;
	struct metrics *metrics;
	health_change change; /* const once threads use it */
	void *arg;
	_Atomic unsigned degraded; /* how many; relaxed: a hint, the truth is under mu */
	struct lock mu;            /* LOCK_RANK_LEAF */
	unsigned count;
	struct entry entry[HEALTH_MAX];
};

struct health *health_new(const struct clock *clock, struct metrics *metrics)
{
	struct health *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->clock = clock;
	h->metrics = metrics;
	lock_init(&h->mu, LOCK_RANK_LEAF);
	return h;
}

struct health *health_free(struct health *h)
{
	if (!h)
		return NULL;
	lock_fini(&h->mu);
	free(h);
	return NULL;
}

void health_watch(struct health *h, health_change fn, void *arg)
{
	h->change = fn;
	h->arg = arg;
}

static struct entry *find_locked(struct health *h, const char *component)
{
	for (unsigned i = 0; i < h->count; i++)
		if (strcmp(h->entry[i].c.component, component) == 0)
			return &h->entry[i];
	return NULL;
}

static struct entry *add_locked(struct health *h, const char *component)
{
	struct entry *e;

	if (h->count == HEALTH_MAX)
		return NULL;
	e = &h->entry[h->count++];
	(void)snprintf(e->c.component, sizeof(e->c.component), "%s", component);
	return e;
}

/* The registry is asked without our lock: it has its own. */
static void show(struct health *h, const char *component, bool degraded)
{
	char labels[96];

	if (!h->metrics)
		return;
	(void)snprintf(labels, sizeof(labels), "component=\"%s\"", component);
	gauge_set(metrics_gauge(h->metrics, "coppice_degraded",
			  "1 while this part works only in part; see GetNode.", labels),
		degraded);
}

static void tell(struct health *h, const struct health_condition *c, bool degraded)
{
	show(h, c->component, degraded);
	if (h->change)
		h->change(h->arg, c, degraded);
}

void health_bad(struct health *h, const char *component, const char *reason, const char *advice)
{
	struct health_condition now;
	struct entry *e;
	bool begins = false;

	if (!h)
		return;
	lock_acquire(&h->mu);
	e = find_locked(h, component);
	if (!e)
		e = add_locked(h, component);
	if (e) {
		e->last_bad_ns = clock_mono_ns(h->clock);
		begins = !e->degraded;
		e->degraded = true;
		if (begins) {
			e->c.since_wall_ns = clock_wall_ns(h->clock);
			(void)snprintf(e->c.reason, sizeof(e->c.reason), "%s", reason);
			(void)snprintf(e->c.advice, sizeof(e->c.advice), "%s", advice);
			atomic_fetch_add_explicit(&h->degraded, 1, memory_order_relaxed);
		}
		now = e->c;
	}
	lock_release(&h->mu);
	if (begins)
		tell(h, &now, true);
}

static void end_after(struct health *h, const char *component, uint64_t good_for_ns)
{
	struct health_condition now;
	struct entry *e;
	bool ends = false;

	if (!h || atomic_load_explicit(&h->degraded, memory_order_relaxed) == 0)
		return;
	lock_acquire(&h->mu);
	e = find_locked(h, component);
	if (e && e->degraded && clock_mono_ns(h->clock) - e->last_bad_ns >= good_for_ns) {
		e->degraded = false;
		ends = true;
		now = e->c;
		atomic_fetch_sub_explicit(&h->degraded, 1, memory_order_relaxed);
	}
	lock_release(&h->mu);
	if (ends)
		tell(h, &now, false);
}

void health_good(struct health *h, const char *component)
{
	end_after(h, component, GOOD_FOR_NS);
}

void health_over(struct health *h, const char *component)
{
	end_after(h, component, 0);
}

unsigned health_list(struct health *h, struct health_condition *conditions, unsigned max)
{
	unsigned count = 0;

	if (!h)
		return 0;
	LOCK_GUARD(&h->mu);
	for (unsigned i = 0; i < h->count && count < max; i++)
		if (h->entry[i].degraded)
			conditions[count++] = h->entry[i].c;
	return count;
}
