/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is fetched from the server, and how: each kind through a batch (git_batch.h), so that it is
 * fetched once for all who ask and together with what others ask for.
 *
 * Commits come with all their trees and without blobs, nothing of their history; what the server
 * knows us to have is not sent again. Blobs come by name. Sizes come by object-info; where the
 * server has none with the blobs, and of large ones from the first bytes of the answer.
 *
 * Threads: the batches' pools.
 */
#include "origin/origin_gitremote_internal.h"

#include "base/cancel.h"
#include "base/clock.h"
#include "base/err.h"
#include "origin/git_peek.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FETCH_LIMIT_NS (3600 * NS_PER_S) /* the longest; silence ends it sooner */
/* A pack of files that are wanted for their sizes may have so many bytes. */
#define SMALL_BYTES      (4u << 20)
#define SMALL_BYTES_EACH (8u << 10)
#define PEEK_WHOLE_BYTES (256u << 10)
#define HAVE_MAX         64u
#define WINDOW_NS        (2 * NS_PER_MS)
#define GET_MAX          16384u /* objects waited for at a time: a batch holds a few times that */

/* A pack on its way from the server into the mirror. */
struct transfer {
	struct gitremote *r;
	struct gitwire_wish wish;
	uint64_t limit_bytes; /* of the pack; 0: none */
	uint64_t got_bytes;
	struct gitpack pack;
	const struct gitrun_wait *wait;
};

static int take_piece(void *arg, const void *data, size_t len)
{
	struct transfer *t = arg;
	int r;

	t->got_bytes += len;
	if (t->r->received)
		counter_add(t->r->received, len);
	if (t->limit_bytes && t->got_bytes > t->limit_bytes)
		return -EFBIG;
	r = gitrun_write(&t->pack.run, data, len, t->wait);
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
	t->got_bytes = 0;
	r = gitwire_fetch(w, &t->wish, take_piece, t);
	if (r < 0 && r != -EBADMSG) {
		gitmirror_drop_pack(&t->pack);
		return r == -EFBIG ? err_set(w->e, r, NULL, "more than was expected") : r;
	}
	return gitmirror_end_pack(&t->r->mirror, &t->pack, &w->wait, w->e);
}

static int fetch_within(struct gitremote *r, const struct gitwire_wish *wish, uint64_t limit_bytes,
	const struct gitrun_wait *wait, struct err *e)
{
	struct transfer t = {.r = r, .wish = *wish, .limit_bytes = limit_bytes};
	int err = gitexchange_call(&r->x, transfer, &t, wait, e);

	if (err == 0)
		gitrepo_changed(r->repo);
	return err;
}

static int fetch(struct gitremote *r, const struct gitwire_wish *wish,
	const struct gitrun_wait *wait, struct err *e)
{
	return fetch_within(r, wish, 0, wait, e);
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

/* Blobs that are fetched for their sizes. -EFBIG: they are too large for that. */
static int fetch_small(void *arg, const struct oid *oids, size_t n)
{
	struct gitremote *r = arg;
	const struct gitrun_wait wait = long_wait(r);
	const struct gitwire_wish wish = {.want = oids, .want_count = n};

	count(r, BATCH_SMALL, n);
	return fetch_within(r, &wish, SMALL_BYTES + n * SMALL_BYTES_EACH, &wait, NULL);
}

/* Of directories (by their trees) all files but large ones. */
static int fetch_listings(void *arg, const struct oid *oids, size_t n)
{
	struct gitremote *r = arg;
	const struct gitrun_wait wait = long_wait(r);
	const struct gitwire_wish wish = {
		.want = oids, .want_count = n, .filter = "combine:tree:2+blob:limit=65536"};

	count(r, BATCH_LISTINGS, n);
	return fetch(r, &wish, &wait, NULL);
}

/* One blob, as far as its size. */
struct peek {
	struct gitremote *r;
	const struct oid *blob;
	struct gitpeek begin;
};

/* A small one is read to its end: that is cheaper than a new connection. */
static int take_begin(void *arg, const void *data, size_t len)
{
	struct peek *p = arg;
	int r = gitpeek_take(&p->begin, data, len);

	if (p->r->received)
		counter_add(p->r->received, len);
	return r == 0 && p->begin.known && p->begin.size > PEEK_WHOLE_BYTES ? -EFBIG : r;
}

static int peek(void *arg, const struct gitwire *w)
{
	struct peek *p = arg;
	const struct gitwire_wish wish = {.want = p->blob, .want_count = 1};
	int r;

	p->begin = (struct gitpeek){.have = 0};
	r = gitwire_fetch(w, &wish, take_begin, p);
	w->chan->spent = r == -EFBIG;
	if (r == -EBADMSG || (r == 0 && !p->begin.known))
		return err_set(w->e, -EIO, NULL, "the server's answer is malformed");
	return r == -EFBIG ? 0 : r;
}

static int fetch_peeks(void *arg, const struct oid *oids, size_t n)
{
	struct gitremote *r = arg;
	const struct gitrun_wait wait = long_wait(r);
	int err = 0;

	count(r, BATCH_PEEKS, n);
	for (size_t i = 0; i < n && err == 0; i++) {
		struct peek p = {.r = r, .blob = &oids[i]};

		err = gitexchange_call(&r->x, peek, &p, &wait, NULL);
		if (err == 0)
			gitsizes_put(&r->sizes, &oids[i], p.begin.size);
	}
	return err;
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
		.have_count = gitmirror_begin_haves(&r->mirror, have, HAVE_MAX),
		.shallow = true,
		.filter = "blob:none",
	};
	int err;

	count(r, BATCH_COMMITS, n);
	err = fetch(r, &wish, &wait, NULL);
	for (size_t i = 0; err == 0 && i < n; i++)
		err = gitmirror_add_commit(&r->mirror, &oids[i]);
	gitmirror_end_haves(&r->mirror);
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

static bool always_here(void *arg, const struct oid *oid)
{
	(void)arg;
	(void)oid;
	return true;
}

int gitremote_make_batches(struct gitremote *r)
{
	static const struct gitbatch_config configs[BATCH_COUNT] = {
		[BATCH_BLOBS] = {fetch_blobs, object_here, NULL, 3, WINDOW_NS, 0},
		[BATCH_SIZES] = {fetch_sizes, size_here, NULL, 2, 0, 0},
		[BATCH_SMALL] = {fetch_small, object_here, NULL, 3, WINDOW_NS, 0},
		[BATCH_LISTINGS] = {fetch_listings, always_here, NULL, 1, 0, 1},
		[BATCH_PEEKS] = {fetch_peeks, size_here, NULL, 3, 0, 1},
		[BATCH_TREES] = {fetch_trees, object_here, NULL, 1, WINDOW_NS, 0},
		/* their list is no witness: it may be forgotten by now (git_mirror_trim.c) */
		[BATCH_COMMITS] = {fetch_commits, NULL, NULL, 1, 0, 0},
		[BATCH_ALL] = {fetch_all, always_here, NULL, 1, 0, 0},
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
