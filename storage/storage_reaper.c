// SPDX-License-Identifier: Apache-2.0
/*
 * The reaper: ends waiters whose deadline has come, even if the thread that fetches for them is
 * stuck in the origin. A fetch that nobody waits for any more is cancelled, so that the origin
 * gives the thread back. Closing is the same for all at once.
 *
 * Threads: one, started by fetch_start and joined by fetch_stop. It sleeps until the earliest
 * deadline.
 */
#include "storage_fetch.h"

#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>

static void reap_late_locked(
	struct storage *st, uint64_t now_ns, struct list *ended, struct list *abandoned)
{
	for (;;) {
		struct waiter *w = deadline_heap_first(&st->heap);
		struct fetch *f;

		if (!w || w->deadline_ns > now_ns)
			return;
		f = w->fetch;
		fetch_take_waiter_locked(st, w, -ETIMEDOUT, ended);
		if (list_empty(&f->waiters) && !f->background)
			fetch_abandon_locked(f, abandoned);
	}
}

static void *reaper_main(void *arg)
{
	struct storage *st = arg;
	struct list ended, abandoned;

	list_init(&ended);
	list_init(&abandoned);
	lock_acquire(&st->mu);
	while (!st->stopping) {
		const struct waiter *first = deadline_heap_first(&st->heap);

		/* It may be too early, because its waiter has got what it waited for: then the
		 * sleep is for the next one. */
		st->reaper_alarm_ns = first ? first->deadline_ns : NS_NEVER;
		if (!first)
			cond_wait(&st->reaper_wake, &st->mu);
		else
			(void)cond_wait_until(&st->reaper_wake, &st->mu, first->deadline_ns);
		reap_late_locked(st, clock_mono_ns(&clock_system), &ended, &abandoned);
		if (list_empty(&ended))
			continue;
		lock_release(&st->mu);
		fetch_cancel_abandoned(st, &abandoned);
		fetch_call_ended(&ended);
		lock_acquire(&st->mu);
	}
	lock_release(&st->mu);
	return NULL;
}

int fetch_start(struct storage *st)
{
	int r;

	st->bucket = calloc(FETCH_BUCKETS, sizeof(struct list));
	if (!st->bucket)
		return -ENOMEM;
	for (unsigned i = 0; i < FETCH_BUCKETS; i++)
		list_init(&st->bucket[i]);
	cond_init(&st->reaper_wake);
	r = pthread_create(&st->reaper, NULL, reaper_main, st);
	if (r) {
		cond_fini(&st->reaper_wake);
		return -r;
	}
	(void)pthread_setname_np(st->reaper, "fetch-reaper"); /* for ps only */
	st->reaper_started = true;
	return 0;
}

void fetch_stop(struct storage *st)
{
	struct list ended, abandoned;

	if (!st->reaper_started)
		return;
	list_init(&ended);
	list_init(&abandoned);
	lock_acquire(&st->mu);
	st->stopping = true;
	for (unsigned i = 0; i < FETCH_BUCKETS; i++)
		list_for_each_safe (it, &st->bucket[i]) {
			struct fetch *f = list_entry(it, struct fetch, node);

			fetch_take_all_locked(f, -ECANCELED, &ended);
			fetch_abandon_locked(f, &abandoned);
		}
	cond_signal(&st->reaper_wake);
	lock_release(&st->mu);
	fetch_cancel_abandoned(st, &abandoned);
	fetch_call_ended(&ended);
	(void)pthread_join(st->reaper, NULL); /* our own joinable thread: it cannot fail */
	cond_fini(&st->reaper_wake);
	st->reaper_started = false;
}

void fetch_fini(struct storage *st)
{
	deadline_heap_fini(&st->heap);
	free(st->bucket);
	st->bucket = NULL;
}
