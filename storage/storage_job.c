// SPDX-License-Identifier: Apache-2.0
/*
 * The work of a fetch, on a thread of its origin's lane: ask the origin, store what comes (or what
 * is computed from it), end the waiters.
 *
 * Threads: the lanes' pools. A job blocks in the origin, up to its deadline or until it is
 * cancelled.
 */
#include "storage_fetch.h"
#include "storage_lfs.h"
#include "storage_places.h"
#include "storage_shared.h"

#include "base/cancel.h"
#include "base/clock.h"
#include "base/health.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PREFETCH_LIMIT_NS (60 * NS_PER_S)

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

/* What the origin answered, told to the health of the node. */
static int origin_said(struct fetch *f, int r)
{
	storage_origin_said(f->st, f->origin, r, NULL);
	return r;
}

/* What the index answered when something was to be kept in it. */
static int index_said(struct fetch *f, int r)
{
	if (r == 0)
		health_good(f->st->health, "index");
	else if (r == -ENOSPC || r == -EIO || r == -EROFS || r == -EDQUOT)
		health_bad(f->st->health, "index", strerrordesc_np(-r),
			"make room on the disk of data_dir; directories that are not in the index "
			"yet cannot be shown meanwhile");
	return r;
}

static int run_git_tree(struct fetch *f, uint64_t deadline_ns)
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
	if (shared_tree_load(f->st, &f->oid, f->cancel, deadline_ns) == 0) {
		places_learn(f->st, f->origin, &f->oid);
		return 0;
	}
	b = tree_builder_new(f->oid.len);
	if (!b)
		return -ENOMEM;
	r = origin_read_tree(f->origin, &f->oid, b, f->cancel, deadline_ns);
	if (r == -ESTALE) {
		r = places_find(f->st, f->origin, &f->oid, f->cancel, deadline_ns);
		if (r == 0) /* nothing was added yet */
			r = origin_read_tree(f->origin, &f->oid, b, f->cancel, deadline_ns);
	}
	r = origin_said(f, r);
	if (r == 0)
		r = tree_builder_finish(b, &record, &len);
	if (r == 0)
		r = index_said(f, tree_put(index, &f->oid, record, len));
	if (r == 0)
		shared_tree_offer(f->st, &f->oid, record, len);
	free(record);
	tree_builder_free(b);
	return r;
}

static int run_tree(struct fetch *f, uint64_t deadline_ns)
{
	const struct lfs_wait wait = {f->cancel, deadline_ns};
	int r = run_git_tree(f, deadline_ns);

	if (r == 0 && (origin_caps(f->origin) & ORIGIN_CAP_LFS))
		r = lfs_need_tree(f->st, f->origin, &f->oid, &wait);
	return r;
}

/* The origin as the blob store asks it, with what comes counted. */
struct counting_sink {
	struct blob_sink sink; /* first: the sink is this */
	struct blob_sink *to;
	struct fetch *f;
	int error; /* of the sink behind */
};

static int counting_begin(struct blob_sink *s, uint64_t size)
{
	struct counting_sink *counting = (struct counting_sink *)s;

	counting->error = counting->to->begin(counting->to, size);
	return counting->error;
}

static int counting_write(struct blob_sink *s, const void *data, size_t len)
{
	struct counting_sink *counting = (struct counting_sink *)s;

	counter_add(&counting->f->bytes, len);
	counting->error = counting->to->write(counting->to, data, len);
	return counting->error;
}

static int produce_counted(void *arg, const struct oid *oid, struct blob_sink *sink,
	const struct cancel *cancel, uint64_t deadline_ns)
{
	struct fetch *f = arg;
	struct blob_source origin = origin_blob_source(f->origin);
	struct counting_sink counting = {
		.sink = {.begin = counting_begin, .write = counting_write}, .to = sink, .f = f};
	const struct lfs_wait wait = {cancel, deadline_ns};
	int r;

	if (lfs_is_content(f->origin, oid))
		r = lfs_produce(f->st, f->origin, oid, &counting.sink, &wait);
	else
		r = origin.produce(origin.arg, oid, &counting.sink, cancel, deadline_ns);
	if (r < 0 && counting.error) /* it stopped because of us */
		return r;
	return origin_said(f, r);
}

/* No origin has it; or one may, if it is no longer kept. */
static int produce_kept(void *arg, const struct oid *oid, struct blob_sink *sink,
	const struct cancel *cancel, uint64_t deadline_ns)
{
	struct fetch *f = arg;
	int r = kept_produce(&f->st->kept, oid, sink);

	return r == -ENOENT ? produce_counted(arg, oid, sink, cancel, deadline_ns) : r;
}

static int run_blob(struct fetch *f, uint64_t deadline_ns)
{
	bool kept = kept_has(&f->st->kept, &f->oid);
	const struct blob_source source = {.produce = kept ? produce_kept : produce_counted,
		.arg = f,
		.cheap = kept || (origin_caps(f->origin) & ORIGIN_CAP_LOCAL),
		.here = f->st->redis && (kept || origin_has_blob(f->origin, &f->oid))};
	int r = blob_fetch(f->st->blobs, &f->oid, &source, f->cancel, deadline_ns);

	/* The blob store joins fetches of one oid from all origins: we may have joined one that
	 * others gave up. */
	if (r == -ECANCELED && !cancel_fired(f->cancel))
		r = blob_fetch(f->st->blobs, &f->oid, &source, f->cancel, deadline_ns);
	if (r == -EBADMSG)
		(void)origin_said(f, r);
	return r;
}

struct blob_reading {
	struct storage *st;
	const struct fetch *f;
	uint64_t deadline_ns;
};

static ssize_t read_blob(void *arg, void *buf, size_t len, uint64_t offset)
{
	const struct blob_reading *reading = arg;

	if (cancel_fired(reading->f->cancel))
		return -ECANCELED;
	if (clock_mono_ns(&clock_system) >= reading->deadline_ns)
		return -ETIMEDOUT;
	return blob_read(reading->st->blobs, &reading->f->oid, buf, len, offset);
}

/* What is stored is known for ever, so it is checked: the same pass must give the blob's own id. */
static int digest_local(struct fetch *f, uint64_t deadline_ns)
{
	struct blob_reading reading = {f->st, f, deadline_ns};
	struct content_digests digests;
	enum digest_kind kind;
	uint64_t size;
	int r = digest_kind_of(&f->oid, &kind);

	if (r == 0)
		r = blob_local_size(f->st->blobs, &f->oid, &size);
	if (r == 0)
		r = content_digest(kind, size, read_blob, &reading, &digests);
	if (r == 0 && !oid_equal(&digests.oid, &f->oid)) {
		digests.oid = oid_of_sha256(digests.sha256); /* is it one of Git LFS? */
		r = oid_equal(&digests.oid, &f->oid) ? 0 : -EBADMSG;
	}
	return r == 0 ? tree_put_blob_digests(f->st->index, &digests) : r;
}

static int run_digests(struct fetch *f, uint64_t deadline_ns)
{
	struct content_digests known;
	int r = tree_blob_digests(f->st->index, &f->oid, &known);

	if (r == 0)
		return 0;
	/* twice: it may be evicted, or found damaged, between its arrival and its end */
	for (unsigned attempt = 0; attempt < 2; attempt++) {
		r = run_blob(f, deadline_ns);
		if (r == 0)
			r = digest_local(f, deadline_ns);
		if (r != -EAGAIN && r != -EIO)
			break;
	}
	return r == -EAGAIN && blob_is_windowed(f->st->blobs, &f->oid) ? -ENOSPC : r;
}

static int run(struct fetch *f, uint64_t deadline_ns)
{
	switch (f->kind) {
	case FETCH_TREE:
		return run_tree(f, deadline_ns);
	case FETCH_BLOB:
		return run_blob(f, deadline_ns);
	case FETCH_DIGESTS:
		return run_digests(f, deadline_ns);
	case FETCH_KIND_COUNT:
		break;
	}
	return -EINVAL;
}

static uint64_t latest_deadline_locked(const struct fetch *f)
{
	if (!f->background)
		return f->deadline_ns;
	return clock_after(&clock_system, PREFETCH_LIMIT_NS) > f->deadline_ns
		       ? clock_after(&clock_system, PREFETCH_LIMIT_NS)
		       : f->deadline_ns;
}

static unsigned first_tenant_locked(const struct fetch *f)
{
	return list_entry(f->waiters.next, struct waiter, node)->tenant;
}

/* It ran out of the time that it was started with, but someone who joined later has more. */
static bool rerun_locked(struct fetch *f, int result, uint64_t ran_until_ns)
{
	if (result != -ETIMEDOUT || !f->listed || list_empty(&f->waiters))
		return false;
	if (f->deadline_ns <= ran_until_ns || clock_mono_ns(&clock_system) < ran_until_ns)
		return false;
	f->state = FETCH_QUEUED;
	if (fetch_submit_locked(f, first_tenant_locked(f), true) < 0) {
		f->state = FETCH_RUNNING;
		return false;
	}
	gauge_add(f->st->m[f->kind].queued, 1);
	return true;
}

/* False: the work was done, or given up, when another ticket of it came up. */
static bool begin_locked(struct ticket *t, uint64_t *ret_deadline_ns)
{
	struct fetch *f = t->fetch;

	list_remove(&t->of_fetch);
	if (f->state != FETCH_QUEUED)
		return false;
	f->state = FETCH_RUNNING;
	*ret_deadline_ns = latest_deadline_locked(f);
	gauge_add(f->st->m[f->kind].queued, -1);
	gauge_add(f->st->m[f->kind].running, 1);
	return true;
}

static void end_locked(struct fetch *f, int result, uint64_t ran_until_ns, struct list *ended)
{
	struct fetch_metrics *m = &f->st->m[f->kind];

	gauge_add(m->running, -1);
	if (rerun_locked(f, result, ran_until_ns))
		return;
	f->state = FETCH_OVER;
	fetch_take_all_locked(f, result, ended);
	fetch_unlist_locked(f);
	if (result == 0) {
		counter_add(m->done, 1);
		histogram_observe(m->seconds, clock_mono_ns(&clock_system) - f->asked_ns);
	}
}

uint64_t fetch_run(struct ticket *t)
{
	struct fetch *f = t->fetch;
	struct storage *st = f->st;
	uint64_t deadline_ns = 0, bytes = 0;
	struct list ended;
	bool begun;
	int r;

	list_init(&ended);
	lock_acquire(&st->mu);
	begun = begin_locked(t, &deadline_ns);
	lock_release(&st->mu);
	r = begun ? fetch_result(run(f, deadline_ns)) : 0;
	lock_acquire(&st->mu);
	if (begun) {
		bytes = counter_get(&f->bytes);
		end_locked(f, r, deadline_ns, &ended);
	}
	fetch_unref_locked(f);
	lock_release(&st->mu);
	fetch_call_ended(&ended);
	free(t);
	return bytes;
}
