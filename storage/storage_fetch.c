// SPDX-License-Identifier: Apache-2.0
/*
 * Requests and the table of fetches. What is missing is asked of its origin once, however many ask:
 * waiters join the fetch under way and take no thread. The rules are in storage_fetch.h; the work
 * is in storage_job.c, time-outs are in storage_reaper.c.
 *
 * Threads: any.
 */
#include "storage_fetch.h"

#include "base/cancel.h"
#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>

#define WAITERS_MAX     65536
#define DEADLINE_MAX_NS (600 * NS_PER_S) /* nothing waits for ever, whatever it asked for */

static struct list *bucket_of(struct storage *st, enum fetch_kind kind, const struct oid *oid)
{
	return &st->bucket[(oid_hash(oid) + kind) % FETCH_BUCKETS];
}

static struct fetch *find_locked(
	struct storage *st, enum fetch_kind kind, const struct oid *oid, const struct origin *o)
{
	list_for_each (it, bucket_of(st, kind, oid)) {
		struct fetch *f = list_entry(it, struct fetch, node);

		if (f->kind == kind && f->origin == o && oid_equal(&f->oid, oid))
			return f;
	}
	return NULL;
}

void fetch_unref_locked(struct fetch *f)
{
	if (--f->refs)
		return;
	cancel_unref(f->cancel);
	origin_unref(f->origin);
	free(f);
}

void fetch_unlist_locked(struct fetch *f)
{
	if (!f->listed)
		return;
	f->listed = false;
	list_remove(&f->node);
	fetch_unref_locked(f);
}

static struct fetch *fetch_new(
	struct storage *st, struct origin *o, enum fetch_kind kind, const struct oid *oid)
{
	struct fetch *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->cancel = cancel_new();
	if (!f->cancel)
		return free(f), NULL;
	list_init(&f->node);
	list_init(&f->waiters);
	list_init(&f->tickets);
	f->st = st;
	f->kind = kind;
	f->oid = *oid;
	f->origin = origin_ref(o);
	f->lane = lane_of_locked(st, o);
	f->asked_ns = clock_mono_ns(&clock_system);
	return f;
}

static bool has_ticket_locked(const struct fetch *f, unsigned tenant, bool foreground)
{
	list_for_each (it, &f->tickets) {
		const struct ticket *t = list_entry(it, struct ticket, of_fetch);

		if (t->item.flow == tenant && (t->foreground || !foreground))
			return true;
	}
	return false;
}

int fetch_submit_locked(struct fetch *f, unsigned tenant, bool foreground)
{
	struct lane_queue *q = foreground ? &f->lane->foreground[f->kind] : &f->lane->background;
	struct ticket *t;
	int r;

	if (has_ticket_locked(f, tenant, foreground))
		return 0;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	list_init(&t->item.node);
	t->fetch = f;
	t->foreground = foreground;
	r = lane_push_locked(q, tenant, &t->item);
	if (r < 0)
		return free(t), r;
	list_push_back(&f->tickets, &t->of_fetch);
	f->refs++;
	return 0;
}

/* A new fetch in the table, with its first ticket. */
static int start_locked(struct storage *st, const struct storage_ask *ask, enum fetch_kind kind,
	const struct oid *oid, struct fetch **ret_fetch)
{
	struct fetch *f = fetch_new(st, ask->origin, kind, oid);
	int r;

	if (!f)
		return -ENOMEM;
	f->refs = 1;
	f->listed = true;
	list_push_back(bucket_of(st, kind, oid), &f->node);
	r = fetch_submit_locked(f, ask->tenant, !ask->background);
	if (r < 0) {
		fetch_unlist_locked(f);
		return r;
	}
	gauge_add(st->m[kind].queued, 1);
	*ret_fetch = f;
	return 0;
}

void fetch_take_waiter_locked(struct storage *st, struct waiter *w, int result, struct list *ended)
{
	deadline_heap_remove(&st->heap, w);
	list_remove(&w->node);
	w->result = result;
	if (result < 0)
		fetch_metrics_failed(&st->m[w->fetch->kind], result);
	w->fetch = NULL;
	list_push_back(ended, &w->node);
}

void fetch_take_all_locked(struct fetch *f, int result, struct list *ended)
{
	list_for_each_safe (it, &f->waiters)
		fetch_take_waiter_locked(f->st, list_entry(it, struct waiter, node), result, ended);
}

/* No lock is held: a callback may ask for more. */
void fetch_call_ended(struct list *ended)
{
	list_for_each_safe (it, ended) {
		struct waiter *w = list_entry(it, struct waiter, node);

		list_remove(it);
		w->fn(w->arg, w->result);
		free(w);
	}
}

/* Nobody wants it: out of the table, so that no one joins it, and on the caller's list to be
 * cancelled after `mu`. */
void fetch_abandon_locked(struct fetch *f, struct list *abandoned)
{
	f->refs++;
	fetch_unlist_locked(f);
	if (f->state == FETCH_QUEUED) {
		f->state = FETCH_OVER;
		gauge_add(f->st->m[f->kind].queued, -1);
	}
	list_push_back(abandoned, &f->node);
}

void fetch_cancel_abandoned(struct storage *st, struct list *abandoned)
{
	list_for_each (it, abandoned)
		cancel_fire(list_entry(it, struct fetch, node)->cancel);
	lock_acquire(&st->mu);
	list_for_each_safe (it, abandoned) {
		list_remove(it);
		fetch_unref_locked(list_entry(it, struct fetch, node));
	}
	lock_release(&st->mu);
}

static int join_or_start_locked(struct storage *st, const struct storage_ask *ask,
	enum fetch_kind kind, const struct oid *oid, struct fetch **ret_fetch)
{
	struct fetch *f = find_locked(st, kind, oid, ask->origin);
	int r;

	if (!f)
		return start_locked(st, ask, kind, oid, ret_fetch);
	if (f->state == FETCH_QUEUED) {
		r = fetch_submit_locked(f, ask->tenant, !ask->background);
		if (r < 0)
			return r;
	}
	counter_add(st->m[kind].joined, 1);
	*ret_fetch = f;
	return 0;
}

static int admit_locked(struct storage *st, const struct storage_ask *ask, enum fetch_kind kind,
	const struct oid *oid, struct waiter *w)
{
	struct fetch *f;
	int r;

	if (st->stopping)
		return -ECANCELED;
	if (st->heap.count >= WAITERS_MAX)
		return -EAGAIN;
	r = deadline_heap_reserve(&st->heap);
	if (r == 0)
		r = join_or_start_locked(st, ask, kind, oid, &f);
	if (r < 0)
		return r;
	w->fetch = f;
	w->tenant = ask->tenant;
	if (w->deadline_ns > f->deadline_ns)
		f->deadline_ns = w->deadline_ns;
	list_push_back(&f->waiters, &w->node);
	deadline_heap_add(&st->heap, w);
	if (w->deadline_ns < st->reaper_alarm_ns)
		cond_signal(&st->reaper_wake);
	return 0;
}

int storage_ask(struct storage *st, enum storage_kind kind, const struct oid *oid,
	const struct storage_ask *ask)
{
	uint64_t latest_ns = clock_after(&clock_system, DEADLINE_MAX_NS);
	struct waiter *w;
	int r;

	if ((oid->len != 20 && oid->len != 32) || ask->tenant >= FAIR_FLOWS_MAX)
		return -EINVAL;
	w = malloc(sizeof(*w));
	if (!w)
		return -ENOMEM;
	*w = (struct waiter){.deadline_ns = ask->deadline_ns, .fn = ask->fn, .arg = ask->arg};
	list_init(&w->node);
	if (w->deadline_ns > latest_ns)
		w->deadline_ns = latest_ns;
	lock_acquire(&st->mu);
	r = admit_locked(st, ask, (enum fetch_kind)kind, oid, w);
	lock_release(&st->mu);
	if (r < 0) {
		counter_add(st->m[kind].refused, 1);
		free(w);
	}
	return r;
}

int storage_fetch_tree(struct storage *st, struct origin *o, const struct oid *tree,
	uint64_t deadline_ns, storage_done fn, void *arg)
{
	const struct storage_ask ask = {
		.origin = o, .deadline_ns = deadline_ns, .fn = fn, .arg = arg};

	return storage_ask(st, STORAGE_TREE, tree, &ask);
}

int storage_fetch_blob(struct storage *st, struct origin *o, const struct oid *blob,
	uint64_t deadline_ns, storage_done fn, void *arg)
{
	const struct storage_ask ask = {
		.origin = o, .deadline_ns = deadline_ns, .fn = fn, .arg = arg};

	return storage_ask(st, STORAGE_BLOB, blob, &ask);
}

int storage_fetch_digests(struct storage *st, struct origin *o, const struct oid *blob,
	uint64_t deadline_ns, storage_done fn, void *arg)
{
	const struct storage_ask ask = {
		.origin = o, .deadline_ns = deadline_ns, .fn = fn, .arg = arg};

	return storage_ask(st, STORAGE_DIGESTS, blob, &ask);
}

static void prefetch(struct storage *st, const struct storage_ask *ask, enum fetch_kind kind,
	const struct oid *oid)
{
	struct fetch *f;

	if (oid->len != 20 && oid->len != 32)
		return;
	LOCK_GUARD(&st->mu);
	if (st->stopping || find_locked(st, kind, oid, ask->origin))
		return;
	if (start_locked(st, ask, kind, oid, &f) < 0)
		counter_add(st->m[kind].refused, 1);
	else
		f->background = true;
}

void storage_prefetch_tree(
	struct storage *st, struct origin *o, unsigned tenant, const struct oid *tree)
{
	const struct storage_ask ask = {.origin = o, .tenant = tenant, .background = true};
	struct oid key = storage_tree_key(tree, origin_caps(o) & ORIGIN_CAP_LFS);
	struct tree_view view;

	if (tree_view_begin(st->index, &key, &view) == 0)
		tree_view_end(&view);
	else
		prefetch(st, &ask, FETCH_TREE, tree);
}
