/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is fetched from the server, and how: each kind through a batch (git_batch.h), so that it is
 * fetched once for all who ask and together with what others ask for.
 *
 * Commits come with all their trees and without blobs, nothing of their history; what the server
 * knows us to have is not sent again. Blobs come by name. Sizes come by object-info.
 *
 * Threads: the batches' pools.
 */
#include "origin/origin_gitremote_internal.h"

#include "base/cancel.h"
#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FETCH_LIMIT_NS (3600 * NS_PER_S) /* the longest; silence ends it sooner */
#define HAVE_MAX       64u
#define WINDOW_NS      (2 * NS_PER_MS)
#define GET_MAX        16384u /* objects waited for at a time: a batch holds a few times that */

/* A pack on its way from the server into the mirror. */
struct transfer {
	struct gitremote *r;
	struct gitwire_wish wish;
	struct gitpack pack;
	const struct gitrun_wait *wait;
};

static int take_piece(void *arg, const void *data, size_t len)
{
	struct transfer *t = arg;
	int r = gitrun_write(&t->pack.run, data, len, t->wait);

	if (t->r->received)
		counter_add(t->r->received, len);
	return r == -EPIPE ? -EBADMSG
			   : r; /* git index-pack refuses it: the reason comes at the end */
}

static int transfer(void *arg, const struct gitwire *w)
{
	struct transfer *t = arg;
	int r = gitmirror_begin_pack(&t->r->mirror, &t->pack, w->e);

	if (r < 0)
		return r;
	t->wait = &w->wait;
	r = gitwire_fetch(w, &t->wish, take_piece, t);
	if (r < 0 && r != -EBADMSG) {
		gitmirror_drop_pack(&t->pack);
		return r;
	}
	return gitmirror_end_pack(&t->r->mirror, &t->pack, &w->wait, w->e);
}

static int fetch(struct gitremote *r, const struct gitwire_wish *wish,
	const struct gitrun_wait *wait, struct err *e)
{
	struct transfer t = {.r = r, .wish = *wish};
	int err = gitexchange_call(&r->x, transfer, &t, wait, e);

	if (err == 0)
		gitrepo_changed(r->repo);
	return err;
}

static struct gitrun_wait long_wait(struct gitremote *r)
{
	return (struct gitrun_wait){
		.cancel = r->closing, .deadline_ns = clock_after(&clock_system, FETCH_LIMIT_NS)};
}

static void count(struct gitremote *r, enum gitremote_batch which, size_t objects)
{
	if (r->requests[which]) {
		counter_add(r->requests[which], 1);
		counter_add(r->objects[which], objects);
	}
}

static int fetch_blobs(void *arg, const struct oid *oids, size_t n)
{
	struct gitremote *r = arg;
	const struct gitrun_wait wait = long_wait(r);
	const struct gitwire_wish wish = {.want = oids, .want_count = n};

	count(r, BATCH_BLOBS, n);
	return fetch(r, &wish, &wait, NULL);
}

static int fetch_trees(void *arg, const struct oid *oids, size_t n)
{
	struct gitremote *r = arg;
	const struct gitrun_wait wait = long_wait(r);
	const struct gitwire_wish wish = {.want = oids, .want_count = n, .filter = "blob:none"};

	count(r, BATCH_TREES, n);
	return fetch(r, &wish, &wait, NULL);
}

static int fetch_commits(void *arg, const struct oid *oids, size_t n)
{
	struct gitremote *r = arg;
	const struct gitrun_wait wait = long_wait(r);
	struct oid have[HAVE_MAX];
	const struct gitwire_wish wish = {
		.want = oids,
		.want_count = n,
		.have = have,
		.have_count = gitmirror_commits(&r->mirror, have, HAVE_MAX),
		.shallow = true,
		.filter = "blob:none",
	};
	int err;

	count(r, BATCH_COMMITS, n);
	err = fetch(r, &wish, &wait, NULL);
	for (size_t i = 0; err == 0 && i < n; i++)
		err = gitmirror_add_commit(&r->mirror, &oids[i]);
	return err;
}

static void note_size(void *arg, const struct oid *oid, uint64_t size)
{
	gitsizes_put(arg, oid, size);
}

struct size_query {
	struct gitremote *r;
	const struct oid *oids;
	size_t count;
};

static int ask_sizes(void *arg, const struct gitwire *w)
{
	struct size_query *q = arg;

	return gitwire_sizes(w, q->oids, q->count, note_size, &q->r->sizes);
}

static int fetch_sizes(void *arg, const struct oid *oids, size_t n)
{
	struct gitremote *r = arg;
	const struct gitrun_wait wait = long_wait(r);
	struct size_query query = {.r = r, .oids = oids, .count = n};

	count(r, BATCH_SIZES, n);
	return gitexchange_call(&r->x, ask_sizes, &query, &wait, NULL);
}

/* The oid says nothing here: there is one "everything". */
static int fetch_all(void *arg, const struct oid *oids, size_t n)
{
	struct gitremote *r = arg;
	const struct gitrun_wait wait = long_wait(r);
	uint64_t start_ns = clock_mono_ns(&clock_system);
	struct err e = {0};
	int err;

	(void)oids;
	count(r, BATCH_ALL, n);
	err = gitmirror_fetch_all(&r->mirror, &r->url, &wait, &e);
	if (err < 0) {
		lock_acquire(&r->x.lock);
		r->x.last = e;
		lock_release(&r->x.lock);
		return err;
	}
	gitrepo_changed(r->repo);
	LOCK_GUARD(&r->lock);
	r->all_ns = start_ns;
	return 0;
}

bool gitremote_here(struct gitremote *r, const struct oid *oid)
{
	const struct gitrepo_wait wait = {r->closing, clock_after(&clock_system, FETCH_LIMIT_NS)};
	struct gitrepo_handle *h;
	bool here;

	if (gitrepo_take(r->repo, false, &wait, &h) < 0)
		return false;
	here = gitrepo_has(h, oid);
	gitrepo_give(r->repo, h, false);
	return here;
}

static bool object_here(void *arg, const struct oid *oid)
{
	return gitremote_here(arg, oid);
}

static bool size_here(void *arg, const struct oid *oid)
{
	struct gitremote *r = arg;
	uint64_t size;

	return gitsizes_get(&r->sizes, oid, &size);
}

static bool commit_here(void *arg, const struct oid *oid)
{
	struct gitremote *r = arg;

	return gitmirror_has_commit(&r->mirror, oid);
}

static bool always_here(void *arg, const struct oid *oid)
{
	(void)arg;
	(void)oid;
	return true;
}

int gitremote_make_batches(struct gitremote *r)
{
	static const struct gitbatch_config configs[BATCH_COUNT] = {
		[BATCH_BLOBS] = {fetch_blobs, object_here, NULL, 3, WINDOW_NS},
		[BATCH_SIZES] = {fetch_sizes, size_here, NULL, 2, 0},
		[BATCH_TREES] = {fetch_trees, object_here, NULL, 1, WINDOW_NS},
		[BATCH_COMMITS] = {fetch_commits, commit_here, NULL, 1, 0},
		[BATCH_ALL] = {fetch_all, always_here, NULL, 1, 0},
	};
	int err = 0;

	for (unsigned i = 0; err == 0 && i < BATCH_COUNT; i++) {
		struct gitbatch_config config = configs[i];

		config.arg = r;
		err = gitbatch_new(&r->batch[i], &config);
	}
	return err;
}

int gitremote_get(struct gitremote *r, enum gitremote_batch which, const struct oid *oids, size_t n,
	const struct gitrepo_wait *wait)
{
	int err = 0;

	for (size_t at = 0; err == 0 && at < n; at += GET_MAX)
		err = gitbatch_get(r->batch[which], oids + at, n - at < GET_MAX ? n - at : GET_MAX,
			wait->cancel, wait->deadline_ns);
	return err;
}

int gitremote_fetch_history(struct gitremote *r, const struct oid *tips, size_t n,
	const struct gitrepo_wait *wait, struct err *e)
{
	const struct gitrun_wait run_wait = {
		.cancel = wait->cancel, .deadline_ns = wait->deadline_ns};
	const struct gitwire_wish wish = {.want = tips, .want_count = n, .filter = "tree:0"};

	return fetch(r, &wish, &run_wait, e);
}
