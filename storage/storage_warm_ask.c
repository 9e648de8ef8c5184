// SPDX-License-Identifier: Apache-2.0
/*
 * Asking for what storage_warm() found missing, and hearing of its arrival. See storage_warm.c.
 *
 * Threads: that of the walk; item_done on fetch threads, which notes and wakes only. The walk may
 * end before the last of them has come: each holds a reference.
 */
#include "storage_lfs.h"
#include "storage_warm.h"

#include "base/cancel.h"
#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>

#define TREES_OUT        32
#define BLOBS_OUT        64
#define GIVE_UP_AFTER    64 /* failures in a row */
#define STEP_NS          (50 * NS_PER_MS)
#define REPORT_EVERY_NS  (200 * NS_PER_MS)
#define PREPARE_LIMIT_NS (60 * NS_PER_S)

void warm_drop_dirs(struct list *dirs)
{
	list_for_each_safe (it, dirs) {
		list_remove(it);
		free(list_entry(it, struct warm_dir, node));
	}
}

void warm_unref_locked(struct warm *w)
{
	bool last = --w->refs == 0;

	lock_release(&w->mu);
	if (!last)
		return;
	warm_drop_dirs(&w->arrived);
	cond_fini(&w->changed);
	lock_fini(&w->mu);
	free(w);
}

void warm_note_locked(struct warm *w, int result)
{
	if (result == 0) {
		w->failures = 0;
		return;
	}
	w->progress.failed++;
	w->failures++;
	w->last_error = result;
}

static void item_done(void *arg, int result)
{
	struct warm_item *item = arg;
	struct warm *w = item->w;

	lock_acquire(&w->mu);
	warm_note_locked(w, result);
	if (item->dir) {
		w->trees_out--;
		if (result == 0)
			list_push_back(&w->arrived, &item->dir->node);
		else
			free(item->dir);
	} else {
		w->blobs_out--;
		w->progress.blobs += result == 0;
		w->progress.bytes += result == 0 ? item->size : 0;
	}
	cond_signal(&w->changed);
	warm_unref_locked(w);
	free(item);
}

int warm_wait_step(struct warm *w)
{
	uint64_t until_ns = clock_after(&clock_system, STEP_NS);
	int r = cancel_check(w->cancel, w->deadline_ns);

	if (r < 0)
		return r;
	LOCK_GUARD(&w->mu);
	(void)cond_wait_until(&w->changed, &w->mu, until_ns);
	return w->failures >= GIVE_UP_AFTER ? w->last_error : 0;
}

void warm_report(struct warm *w)
{
	uint64_t now_ns = clock_mono_ns(&clock_system);
	struct warm_progress progress;

	if (!w->plan->report || now_ns < w->report_ns)
		return;
	w->report_ns = now_ns + REPORT_EVERY_NS;
	lock_acquire(&w->mu);
	progress = w->progress;
	lock_release(&w->mu);
	w->plan->report(w->plan->arg, &progress);
}

int warm_ask(struct warm *w, enum storage_kind kind, const struct oid *oid,
	const struct warm_item *template)
{
	unsigned *out = template->dir ? &w->trees_out : &w->blobs_out;
	unsigned max = template->dir ? TREES_OUT : BLOBS_OUT;
	struct warm_item *item = malloc(sizeof(*item));
	struct storage_ask how = {.origin = w->plan->origin,
		.tenant = w->plan->tenant,
		.background = true,
		.deadline_ns = w->deadline_ns,
		.fn = item_done,
		.arg = item};
	int r = item ? 0 : -ENOMEM;
	bool room = false;

	if (item)
		*item = *template;
	while (r == 0) {
		lock_acquire(&w->mu);
		room = *out < max;
		*out += room;
		w->refs += room;
		lock_release(&w->mu);
		if (room) {
			r = storage_ask(w->st, kind, oid, &how);
			if (r == 0)
				return 0;
			lock_acquire(&w->mu);
			--*out;
			warm_unref_locked(w); /* the walk has its own: not the last */
			if (r != -EAGAIN)
				break;
		}
		r = warm_wait_step(w);
		warm_report(w);
	}
	free(item);
	return r;
}

static int wait_for_quiet(struct warm *w)
{
	int r = 0;

	while (r == 0 && lane_foreground_waits(w->st, w->plan->origin))
		r = warm_wait_step(w);
	return r;
}

static unsigned missing_of_batch(struct warm *w, struct oid *ret_oids)
{
	unsigned count = 0;

	for (unsigned i = 0; i < w->batch_count; i++)
		if (!blob_is_local(w->st->blobs, &w->batch[i].oid) &&
			!kept_has(&w->st->kept, &w->batch[i].oid))
			ret_oids[count++] = w->batch[i].oid;
	return count;
}

/* What of the batch is ours to ask for comes to its front; the number of those that are missing,
 * and ours, and their ids. */
static unsigned claim_batch(struct warm *w, struct oid *ret_oids, struct blob_claims **ret_claims)
{
	unsigned count = missing_of_batch(w, ret_oids), ours_count = 0, front = 0;
	bool *ours = calloc(count ? count : 1, sizeof(*ours));

	if (!ours || !count || (origin_caps(w->plan->origin) & ORIGIN_CAP_LOCAL)) {
		free(ours);
		return count;
	}
	blob_claim_many(w->st->blobs, ret_oids, count, ours, ret_claims);
	for (unsigned i = 0, at = 0; at < count; i++) { /* ids are in the order of the batch */
		struct warm_blob blob = w->batch[i];

		if (!oid_equal(&blob.oid, &ret_oids[at]))
			continue;
		if (ours[at++]) {
			w->batch[i] = w->batch[front];
			w->batch[front++] = blob;
			ret_oids[ours_count++] = blob.oid;
		}
	}
	free(ours);
	return ours_count;
}

/* One request for all of the batch that is not local: to what the farm shares, then to the origin,
 * for what no other node asks it for now. A failure costs only time: they are asked for one by one
 * afterwards, the first *ret_first while the claims are held. */
static int prepare_batch(struct warm *w, unsigned *ret_first, struct blob_claims **ret_claims)
{
	bool batches = origin_caps(w->plan->origin) & (ORIGIN_CAP_BATCH | ORIGIN_CAP_LFS);
	uint64_t until_ns = clock_after(&clock_system, PREPARE_LIMIT_NS);
	struct oid *oids;
	unsigned count;
	int r;

	if ((!batches && !w->st->redis) || w->batch_count < 2)
		return 0;
	oids = calloc(w->batch_count, sizeof(*oids));
	if (!oids)
		return 0;
	if (until_ns > w->deadline_ns)
		until_ns = w->deadline_ns;
	count = missing_of_batch(w, oids);
	r = count > 1 ? wait_for_quiet(w) : 0;
	if (r == 0 && count > 1 && w->st->redis)
		(void)blob_fetch_shared(w->st->blobs, oids, count, w->cancel, until_ns);
	if (r == 0 && count > 1 && batches) {
		count = claim_batch(w, oids, ret_claims);
		*ret_first = *ret_claims ? count : 0;
		if (count) {
			(void)origin_prepare_blobs(
				w->plan->origin, oids, count, w->cancel, until_ns);
			lfs_prepare(w->st, w->plan->origin, oids, count,
				&(struct lfs_wait){w->cancel, until_ns});
		}
	}
	free(oids);
	return r;
}

void warm_note_had(struct warm *w, uint64_t size)
{
	LOCK_GUARD(&w->mu);
	w->progress.blobs++;
	w->progress.bytes += size;
}

static int ask_blob(struct warm *w, const struct warm_blob *blob)
{
	const struct warm_item item = {.w = w, .size = blob->size};

	if (!blob_is_local(w->st->blobs, &blob->oid))
		return warm_ask(w, STORAGE_BLOB, &blob->oid, &item);
	warm_note_had(w, blob->size);
	return 0;
}

static int wait_for_contents(struct warm *w)
{
	unsigned out;
	int r = 0;

	for (;;) {
		lock_acquire(&w->mu);
		out = w->blobs_out;
		lock_release(&w->mu);
		if (!out || r < 0)
			return r;
		r = warm_wait_step(w);
	}
}

/* First what is ours to ask for, until it is here: then others need not wait for us, and only then
 * we wait for them. */
int warm_flush(struct warm *w)
{
	struct blob_claims *claims = NULL;
	unsigned first = 0, i = 0;
	int r = prepare_batch(w, &first, &claims);

	for (; r == 0 && i < first; i++)
		r = ask_blob(w, &w->batch[i]);
	if (r == 0 && claims)
		r = wait_for_contents(w);
	(void)blob_claims_release(w->st->blobs, claims);
	for (; r == 0 && i < w->batch_count; i++)
		r = ask_blob(w, &w->batch[i]);
	w->batch_count = 0;
	return r;
}

int warm_drain(struct warm *w)
{
	unsigned out;
	int r = 0;

	for (;;) {
		lock_acquire(&w->mu);
		out = w->trees_out + w->blobs_out;
		lock_release(&w->mu);
		if (!out || r < 0)
			return r;
		r = warm_wait_step(w);
		warm_report(w);
	}
}
