/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories and blobs of a remote repository.
 *
 * The trees of a commit came with it. What a directory still needs are the sizes of its files:
 * origin_gitremote_sizes.c. Blobs come when they are read; to one who reads them in the order in
 * which they were listed, more and more of those that follow come along (git_order.h).
 */
#include "origin/origin_gitremote_internal.h"

#include "base/cancel.h"
#include "base/clock.h"
#include "origin/git_oids.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NEXT_MAX   2048u
#define NEXT_BYTES (16u << 20) /* of the blobs that come along with one */

/* A tree that is not here although its commit is: the mirror was damaged. It is fetched again. */
static int need_tree(struct gitremote *r, const struct oid *tree, const struct gitrepo_wait *wait)
{
	return gitremote_here(r, tree) ? 0 : gitremote_get(r, BATCH_TREES, tree, 1, wait);
}

int gitremote_read_tree(void *impl, const struct oid *tree, struct tree_builder *builder,
	const struct cancel *cancel, uint64_t deadline_ns)
{
	const struct gitrepo_wait wait = {cancel, deadline_ns};
	struct gitremote *r = impl;
	int err = 0;

	if (gitremote_partial(r)) {
		err = need_tree(r, tree, &wait);
		if (err == 0)
			err = gitremote_need_sizes(r, tree, &wait);
	}
	return err < 0 ? err : gitrepo_read_tree(r->repo, tree, builder, cancel, deadline_ns);
}

int gitremote_read_raw(
	void *impl, const struct origin_raw_request *rq, void **ret_data, size_t *ret_len)
{
	const struct gitrepo_wait wait = {rq->cancel, rq->deadline_ns};
	struct gitremote *r = impl;
	int err = 0;

	if (rq->kind == OBJECT_TREE && gitremote_partial(r))
		err = need_tree(r, &rq->oid, &wait);
	return err < 0 ? err : gitrepo_read_raw(r->repo, rq, ret_data, ret_len);
}

/* Those that are not here, each once. */
static int missing(struct gitremote *r, const struct oid *blobs, size_t count,
	const struct gitrepo_wait *wait, struct gitoids *ret_missing)
{
	struct gitrepo_handle *h;
	int err = gitrepo_take(r->repo, false, wait, &h);

	if (err < 0)
		return err;
	for (size_t i = 0; err == 0 && i < count; i++)
		if (!gitrepo_has(h, &blobs[i]))
			err = gitoids_add(ret_missing, &blobs[i]);
	gitrepo_give(r->repo, h, false);
	return err;
}

/* Fetch `own` blobs, and those that come along as far as their sizes are known and small, and no
 * other node fetches them. */
static int bring(
	struct gitremote *r, struct gitoids *wanted, size_t own, const struct gitrepo_wait *wait)
{
	uint64_t size, bytes = 0;
	struct peer_claim *claim;
	size_t kept = own;
	int err;

	for (size_t i = own; i < wanted->count && bytes < NEXT_BYTES; i++)
		if (gitsizes_get(&r->sizes, &wanted->oids[i], &size) && size < NEXT_BYTES - bytes) {
			bytes += size;
			wanted->oids[kept++] = wanted->oids[i];
		}
	wanted->count = gitremote_peers_busy(r) ? own : kept;
	claim = gitremote_claim(r, wanted, own, NULL);
	err = gitremote_get(r, BATCH_BLOBS, wanted->oids, wanted->count, wait);
	if (err < 0 && err != -ETIMEDOUT && err != -ECANCELED && wanted->count > own)
		err = gitremote_get(r, BATCH_BLOBS, wanted->oids, own, wait);
	gitremote_give(r, claim);
	return err;
}

int gitremote_prepare_blobs(void *impl, const struct oid *blobs, size_t count,
	const struct cancel *cancel, uint64_t deadline_ns)
{
	const struct gitrepo_wait wait = {cancel, deadline_ns};
	struct gitremote *r = impl;
	struct gitoids wanted;
	int err;

	if (!gitremote_partial(r))
		return 0;
	gitoids_init(&wanted);
	err = missing(r, blobs, count, &wait, &wanted);
	if (err == 0) {
		struct peer_claim *claim = gitremote_claim(r, &wanted, 0, NULL);

		err = gitremote_get(r, BATCH_BLOBS, wanted.oids, wanted.count, &wait);
		gitremote_give(r, claim);
	}
	gitoids_fini(&wanted);
	return err;
}

/* One blob for a reader; if he reads in order, those that come next too. */
static int need_blob(struct gitremote *r, const struct oid *blob, const struct gitrepo_wait *wait)
{
	struct gitoids wanted;
	struct oid *next;
	size_t count;
	int err;

	if (!gitremote_partial(r) || gitremote_here(r, blob))
		return 0;
	next = calloc(NEXT_MAX, sizeof(*next));
	if (!next)
		return -ENOMEM;
	lock_acquire(&r->lock);
	count = gitorder_missed(&r->order, blob, next, NEXT_MAX);
	lock_release(&r->lock);
	gitoids_init(&wanted);
	err = gitoids_add(&wanted, blob);
	if (err == 0)
		err = missing(r, next, count, wait, &wanted);
	if (err == 0)
		err = bring(r, &wanted, 1, wait);
	gitoids_fini(&wanted);
	free(next);
	return err;
}

/* Passes a blob on, if its size is the one that the server told when the directory was listed. */
struct checking_sink {
	struct blob_sink sink; /* first: the sink is this */
	struct blob_sink *to;
	struct gitremote *r;
	const struct oid *blob;
	bool begun;
};

static int check_begin(struct blob_sink *s, uint64_t size)
{
	struct checking_sink *check = (struct checking_sink *)s;

	uint64_t told;

	check->begun = true;
	if (gitsizes_get(&check->r->sizes, check->blob, &told) && told != size) {
		gitsizes_put(
			&check->r->sizes, check->blob, size); /* directories listed from now on */
		if (check->r->notice)
			check->r->notice(check->r->name, "origin_lied",
				"the server told a wrong size of a file; where it was shown, "
				"reading the "
				"file is EIO");
		return -EBADMSG;
	}
	return check->to->begin(check->to, size);
}

static int check_write(struct blob_sink *s, const void *data, size_t len)
{
	struct checking_sink *check = (struct checking_sink *)s;

	return check->to->write(check->to, data, len);
}

int gitremote_read_blob(void *impl, const struct oid *blob, struct blob_sink *sink,
	const struct cancel *cancel, uint64_t deadline_ns)
{
	struct checking_sink check = {.sink = {.begin = check_begin, .write = check_write},
		.to = sink,
		.r = impl,
		.blob = blob};
	struct gitremote *r = impl;
	const struct gitrepo_wait wait = {cancel, deadline_ns};
	int err = need_blob(r, blob, &wait);

	if (err < 0)
		return err;
	err = gitrepo_read_blob(r->repo, blob, &check.sink, cancel, deadline_ns);
	/* the mirror was trimmed in between */
	if (err < 0 && !check.begun && !gitremote_here(r, blob)) {
		err = need_blob(r, blob, &wait);
		if (err == 0)
			err = gitrepo_read_blob(r->repo, blob, &check.sink, cancel, deadline_ns);
	}
	return err;
}
