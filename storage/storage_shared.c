// SPDX-License-Identifier: Apache-2.0
/*
 * Directories shared by the farm. Redis is trusted with nothing, so a directory from there is used
 * only when all of it is proven:
 *
 *	names, modes, ids   its Git tree object is made again and hashed
 *	sizes               signed with the farm's secret; or equal to what is known here, or to the
 *	                    size of the blob itself, fetched from Redis and verified by its hash
 *
 * What cannot be proven is as if it were not there. Threads: the lanes' fetch threads.
 */
#include "storage_shared.h"

#include "base/cleanup.h"
#include "storage/blob_redis.h"
#include "tree/tree_git.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

/* Without a signature: blobs are fetched to prove their sizes up to so much in one directory. */
#define PROVE_BYTES_MAX (8u << 20)
#define PROVE_BLOBS_MAX 2048u

static bool is_blob(const struct tree_entry *e)
{
	return e->oid && !S_ISDIR(e->mode);
}

/* 0: the size is right; -EAGAIN: it is not known here; -EBADMSG: it is wrong. */
static int check_size(struct storage *st, const struct oid *blob, uint64_t size)
{
	uint64_t known;

	if (tree_blob_size(st->index, blob, &known) != 0 &&
		(!blob_is_local(st->blobs, blob) || blob_local_size(st->blobs, blob, &known) != 0))
		return -EAGAIN;
	return known == size ? 0 : -EBADMSG;
}

/* The blobs whose sizes are only claimed. -EAGAIN: more than is worth it. */
static int collect_unproven(struct storage *st, const struct tree_view *view, struct oid *ret_blobs,
	unsigned *ret_count)
{
	uint64_t bytes = 0;
	unsigned n = 0;

	for (uint32_t i = 0; i < view->count; i++) {
		struct tree_entry e;
		struct oid blob;
		int r;

		tree_view_entry(view, i, &e);
		if (!is_blob(&e))
			continue;
		blob = oid_from_bytes(e.oid, view->oid_len);
		r = check_size(st, &blob, e.size);
		if (r == 0)
			continue;
		if (r != -EAGAIN)
			return r;
		if (n == PROVE_BLOBS_MAX || e.size > PROVE_BYTES_MAX - bytes)
			return -EAGAIN;
		bytes += e.size;
		ret_blobs[n++] = blob;
	}
	*ret_count = n;
	return 0;
}

static int prove_sizes(struct storage *st, const struct tree_view *view,
	const struct cancel *cancel, uint64_t deadline_ns)
{
	_cleanup_free_ struct oid *blobs = reallocarray(NULL, PROVE_BLOBS_MAX, sizeof(*blobs));
	unsigned count;
	int r = blobs ? collect_unproven(st, view, blobs, &count) : -ENOMEM;

	if (r < 0 || !count)
		return r;
	(void)blob_fetch_shared(st->blobs, blobs, count, cancel, deadline_ns); /* looked at next */
	r = collect_unproven(st, view, blobs, &count);
	return r == 0 && count ? -EAGAIN : r;
}

static int verify(struct storage *st, const struct tree_view *view, const struct oid *tree,
	bool proven, const struct cancel *cancel, uint64_t deadline_ns)
{
	int r = view->sizes_known ? tree_git_matches(view, tree) : -EAGAIN;

	if (r == 0 && !proven)
		r = prove_sizes(st, view, cancel, deadline_ns);
	return r;
}

int shared_tree_load(struct storage *st, const struct oid *tree, const struct cancel *cancel,
	uint64_t deadline_ns)
{
	_cleanup_free_ void *record = NULL;
	struct tree_view view;
	bool proven;
	size_t len;
	int r;

	if (!st->redis)
		return -EAGAIN;
	r = blob_redis_load_tree(st->redis, tree, &record, &len, &proven);
	if (r == 0) {
		r = tree_view_over(record, len, &view);
		if (r == 0)
			r = verify(st, &view, tree, proven, cancel, deadline_ns);
		if (r == -EBADMSG)
			blob_redis_reject_tree(st->redis, tree);
	}
	if (r == 0)
		r = tree_put(st->index, tree, record, len);
	blob_redis_count_tree(st->redis, r == 0);
	return r == 0 ? 0 : -EAGAIN;
}

void shared_tree_offer(struct storage *st, const struct oid *tree, const void *record, size_t len)
{
	struct tree_view view;

	if (st->redis && tree_view_over(record, len, &view) == 0 && view.sizes_known &&
		tree_git_matches(&view, tree) == 0)
		blob_redis_offer_tree(st->redis, tree, record, len);
}
