// SPDX-License-Identifier: Apache-2.0
/*
 * Fetches: what is missing is asked of its origin once, however many ask. Waiters join the fetch
 * under way and take no thread.
 *
 * A fetch is found in the table by (kind, oid, origin) until it is over or nobody wants it any
 * more. The origin is part of the name because an origin that fails must not fail those who can get
 * the object from another one. References: one by the table, one by each job in a pool. A prefetch
 * that someone comes to wait for gets a second job, in the foreground pool; the first of its jobs
 * that runs does the work, the other finds nothing to do.
 *
 * A waiter is ended exactly once: whoever takes it out of its fetch's list and the heap, under
 * `mu`, calls it, after `mu`.
 *
 * Threads: requests from any; jobs on the lanes' pools; the reaper ends what is late. A fetch whose
 * last waiter has left is cancelled, so that an origin that hangs gives its thread back.
 */
#include "storage_internal.h"

#include "base/cancel.h"
#include "base/clock.h"
#include "base/pool.h"

#include <errno.h>
#include <stdlib.h>

#define WAITERS_MAX       65536
#define DEADLINE_MAX_NS   (600 * NS_PER_S) /* nothing waits for ever, whatever it asked for */
#define PREFETCH_LIMIT_NS (60 * NS_PER_S)

struct fetch {
	struct list node; /* in its bucket; in a list of the abandoned; or in none */
	struct storage *st;
	struct lane *lane;
	struct origin *origin;
	enum fetch_kind kind;
	struct oid oid;
	struct cancel *cancel;
	uint64_t asked_ns;
	/* guarded by st->mu */
	enum fetch_state state;
	unsigned refs;
	bool listed;          /* in the table */
	bool background;      /* goes on without waiters */
	bool promoted;        /* has a job in the foreground pool */
	uint64_t deadline_ns; /* the latest of its waiters */
	struct list waiters;
};

static void fetch_job(void *arg);

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

static void unref_locked(struct fetch *f)
{
	if (--f->refs)
		return;
	cancel_unref(f->cancel);
	origin_unref(f->origin);
	free(f);
}

static void unlist_locked(struct fetch *f)
{
	if (!f->listed)
		return;
	f->listed = false;
	list_remove(&f->node);
	unref_locked(f);
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
	f->st = st;
	f->kind = kind;
	f->oid = *oid;
	f->origin = origin_ref(o);
	f->lane = lane_of_locked(st, o);
	f->asked_ns = clock_mono_ns(&clock_system);
	return f;
}

/* A directory goes before a blob: the kernel holds locks up to the root while it waits for one. */
static int submit_locked(struct fetch *f, bool foreground)
{
	int r = pool_submit(foreground ? f->lane->foreground : f->lane->background, fetch_job, f,
		f->kind == FETCH_TREE);

	if (r < 0)
		return r;
	f->refs++;
	f->promoted = f->promoted || foreground;
	return 0;
}

/* A new fetch in the table, with its first job. */
static int start_locked(struct storage *st, struct origin *o, enum fetch_kind kind,
	const struct oid *oid, bool foreground, struct fetch **ret_fetch)
{
	struct fetch *f = fetch_new(st, o, kind, oid);
	int r;

	if (!f)
		return -ENOMEM;
	f->refs = 1;
	f->listed = true;
	list_push_back(bucket_of(st, kind, oid), &f->node);
	r = submit_locked(f, foreground);
	if (r < 0) {
		unlist_locked(f);
		return r;
	}
	gauge_add(st->m[kind].queued, 1);
	*ret_fetch = f;
	return 0;
}

/* The results that callers are promised; see storage.h. */
static int fetch_result(int r)
{
	static const int passed[] = {0, -ETIMEDOUT, -EHOSTUNREACH, -ECANCELED, -ENOSPC};

	for (size_t i = 0; i < sizeof(passed) / sizeof(passed[0]); i++)
		if (r == passed[i])
			return r;
	/* Above all -ENOENT: a verified directory names this object, so it exists; we only failed
	 * to get it. */
	return -EIO;
}

static void take_waiter_locked(struct storage *st, struct waiter *w, int result, struct list *ended)
{
	deadline_heap_remove(&st->heap, w);
	list_remove(&w->node);
	w->result = result;
	if (result < 0)
		fetch_metrics_failed(&st->m[w->fetch->kind], result);
	w->fetch = NULL;
	list_push_back(ended, &w->node);
}

static void take_all_locked(struct fetch *f, int result, struct list *ended)
{
	list_for_each_safe (it, &f->waiters)
		take_waiter_locked(f->st, list_entry(it, struct waiter, node), result, ended);
}

/* No lock is held: a callback may ask for more. */
static void call_ended(struct list *ended)
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
static void abandon_locked(struct fetch *f, struct list *abandoned)
{
	f->refs++;
	unlist_locked(f);
	if (f->state == FETCH_QUEUED) {
		f->state = FETCH_OVER;
		gauge_add(f->st->m[f->kind].queued, -1);
	}
	list_push_back(abandoned, &f->node);
}

static void cancel_abandoned(struct storage *st, struct list *abandoned)
{
	list_for_each (it, abandoned)
		cancel_fire(list_entry(it, struct fetch, node)->cancel);
	lock_acquire(&st->mu);
	list_for_each_safe (it, abandoned) {
		list_remove(it);
		unref_locked(list_entry(it, struct fetch, node));
	}
	lock_release(&st->mu);
}

/* ---- the work, on a thread of a lane ---- */

static int run_tree(struct fetch *f, uint64_t deadline_ns)
{
	struct tree_index *index = f->st->index;
	struct tree_builder *b;
	struct tree_view view;
	void *record = NULL;
	size_t len;
	int r;

	if (tree_view_begin(index, &f->oid, &view) == 0) {
		tree_view_end(&view);
		return 0;
	}
	b = tree_builder_new(f->oid.len);
	if (!b)
		return -ENOMEM;
	r = origin_read_tree(f->origin, &f->oid, b, f->cancel, deadline_ns);
	if (r == 0)
		r = tree_builder_finish(b, &record, &len);
	if (r == 0)
		r = tree_put(index, &f->oid, record, len);
	free(record);
	tree_builder_free(b);
	return r;
}

static int run_blob(struct fetch *f, uint64_t deadline_ns)
{
	struct blob_source source = origin_blob_source(f->origin);
	int r = blob_fetch(f->st->blobs, &f->oid, &source, f->cancel, deadline_ns);

	/* The blob store joins fetches of one oid from all origins: we may have joined one that
	 * others gave up. */
	if (r == -ECANCELED && !cancel_fired(f->cancel))
		r = blob_fetch(f->st->blobs, &f->oid, &source, f->cancel, deadline_ns);
	return r;
}

static uint64_t latest_deadline_locked(const struct fetch *f)
{
	if (!f->background)
		return f->deadline_ns;
	return clock_after(&clock_system, PREFETCH_LIMIT_NS) > f->deadline_ns
		       ? clock_after(&clock_system, PREFETCH_LIMIT_NS)
		       : f->deadline_ns;
}

/* It ran out of the time that it was started with, but someone who joined later has more. */
static bool rerun_locked(struct fetch *f, int result, uint64_t ran_until_ns)
{
	if (result != -ETIMEDOUT || !f->listed || list_empty(&f->waiters))
		return false;
	if (f->deadline_ns <= ran_until_ns || clock_mono_ns(&clock_system) < ran_until_ns)
		return false;
	f->state = FETCH_QUEUED;
	if (submit_locked(f, true) < 0) {
		f->state = FETCH_RUNNING;
		return false;
	}
	gauge_add(f->st->m[f->kind].queued, 1);
	return true;
}

static void fetch_job(void *arg)
{
	struct fetch *f = arg;
	struct storage *st = f->st;
	struct fetch_metrics *m = &st->m[f->kind];
	uint64_t deadline_ns;
	struct list ended;
	int r;

	list_init(&ended);
	lock_acquire(&st->mu);
	if (f->state != FETCH_QUEUED) {
		unref_locked(f);
		lock_release(&st->mu);
		return;
	}
	f->state = FETCH_RUNNING;
	deadline_ns = latest_deadline_locked(f);
	lock_release(&st->mu);
	gauge_add(m->queued, -1);
	gauge_add(m->running, 1);
	r = fetch_result(
		f->kind == FETCH_TREE ? run_tree(f, deadline_ns) : run_blob(f, deadline_ns));
	gauge_add(m->running, -1);
	lock_acquire(&st->mu);
	if (!rerun_locked(f, r, deadline_ns)) {
		f->state = FETCH_OVER;
		take_all_locked(f, r, &ended);
		unlist_locked(f);
		if (r == 0) {
			counter_add(m->done, 1);
			histogram_observe(m->seconds, clock_mono_ns(&clock_system) - f->asked_ns);
		}
	}
	unref_locked(f);
	lock_release(&st->mu);
	call_ended(&ended);
}

/* ---- requests ---- */

static int join_or_start_locked(struct storage *st, struct origin *o, enum fetch_kind kind,
	const struct oid *oid, struct fetch **ret_fetch)
{
	struct fetch *f = find_locked(st, kind, oid, o);
	int r;

	if (!f)
		return start_locked(st, o, kind, oid, true, ret_fetch);
	if (f->state == FETCH_QUEUED && !f->promoted) {
		r = submit_locked(f, true);
		if (r < 0)
			return r;
	}
	counter_add(st->m[kind].joined, 1);
	*ret_fetch = f;
	return 0;
}

static int admit_locked(struct storage *st, struct origin *o, enum fetch_kind kind,
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
		r = join_or_start_locked(st, o, kind, oid, &f);
	if (r < 0)
		return r;
	w->fetch = f;
	if (w->deadline_ns > f->deadline_ns)
		f->deadline_ns = w->deadline_ns;
	list_push_back(&f->waiters, &w->node);
	deadline_heap_add(&st->heap, w);
	if (deadline_heap_first(&st->heap) == w)
		cond_signal(&st->reaper_wake);
	return 0;
}

static int request(struct storage *st, struct origin *o, enum fetch_kind kind,
	const struct oid *oid, const struct waiter *template)
{
	uint64_t latest_ns = clock_after(&clock_system, DEADLINE_MAX_NS);
	struct waiter *w;
	int r;

	if (oid->len != 20 && oid->len != 32)
		return -EINVAL;
	w = malloc(sizeof(*w));
	if (!w)
		return -ENOMEM;
	*w = *template;
	list_init(&w->node);
	if (w->deadline_ns > latest_ns)
		w->deadline_ns = latest_ns;
	lock_acquire(&st->mu);
	r = admit_locked(st, o, kind, oid, w);
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
	const struct waiter w = {.deadline_ns = deadline_ns, .fn = fn, .arg = arg};

	return request(st, o, FETCH_TREE, tree, &w);
}

int storage_fetch_blob(struct storage *st, struct origin *o, const struct oid *blob,
	uint64_t deadline_ns, storage_done fn, void *arg)
{
	const struct waiter w = {.deadline_ns = deadline_ns, .fn = fn, .arg = arg};

	return request(st, o, FETCH_BLOB, blob, &w);
}

static void prefetch(
	struct storage *st, struct origin *o, enum fetch_kind kind, const struct oid *oid)
{
	struct fetch *f;

	if (oid->len != 20 && oid->len != 32)
		return;
	LOCK_GUARD(&st->mu);
	if (st->stopping || find_locked(st, kind, oid, o))
		return;
	if (start_locked(st, o, kind, oid, false, &f) < 0)
		counter_add(st->m[kind].refused, 1);
	else
		f->background = true;
}

void storage_prefetch_tree(struct storage *st, struct origin *o, const struct oid *tree)
{
	struct tree_view view;

	if (tree_view_begin(st->index, tree, &view) == 0)
		tree_view_end(&view);
	else
		prefetch(st, o, FETCH_TREE, tree);
}

/* ---- the reaper ---- */

static void reap_late_locked(
	struct storage *st, uint64_t now_ns, struct list *ended, struct list *abandoned)
{
	for (;;) {
		struct waiter *w = deadline_heap_first(&st->heap);
		struct fetch *f;

		if (!w || w->deadline_ns > now_ns)
			return;
		f = w->fetch;
		take_waiter_locked(st, w, -ETIMEDOUT, ended);
		if (list_empty(&f->waiters) && !f->background)
			abandon_locked(f, abandoned);
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

		if (!first)
			cond_wait(&st->reaper_wake, &st->mu);
		else
			(void)cond_wait_until(&st->reaper_wake, &st->mu, first->deadline_ns);
		reap_late_locked(st, clock_mono_ns(&clock_system), &ended, &abandoned);
		if (list_empty(&ended))
			continue;
		lock_release(&st->mu);
		cancel_abandoned(st, &abandoned);
		call_ended(&ended);
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

			take_all_locked(f, -ECANCELED, &ended);
			abandon_locked(f, &abandoned);
		}
	cond_signal(&st->reaper_wake);
	lock_release(&st->mu);
	cancel_abandoned(st, &abandoned);
	call_ended(&ended);
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
