/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lower layer over storage: trees from the index, contents from the blob store, and what is
 * missing from one origin. Only an adapter: it has no state but its two references, and every call
 * may come from any thread.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/list.h"
#include "fuse/lower.h"
#include "storage/origin.h"
#include "storage/readahead.h"
#include "storage/storage.h"

struct lower_tree {
	struct lower lower;
	struct storage *storage; /* outlives all workspaces */
	struct origin *origin;   /* referenced */
	unsigned tenant;
	bool lfs; /* const: the origin shows contents of Git LFS; see storage_tree_key */
	struct readahead *readahead; /* owned */
};

static struct lower_tree *of(struct lower *l)
{
	return container_of(l, struct lower_tree, lower);
}

static struct oid blob_key(const struct lower_tree *t, const struct oid *blob)
{
	return storage_blob_key(t->storage, blob, t->lfs);
}

static int lower_tree_view(struct lower *l, const struct oid *tree, struct tree_view *ret_view)
{
	struct oid key = storage_tree_key(tree, of(l)->lfs);

	return storage_tree_view(of(l)->storage, &key, ret_view);
}

static ssize_t lower_tree_read(
	struct lower *l, const struct oid *blob, void *buf, size_t len, uint64_t offset)
{
	struct oid key = blob_key(of(l), blob);
	ssize_t n = storage_blob_read(of(l)->storage, &key, buf, len, offset);

	if (n >= 0 && offset == 0)
		readahead_read(of(l)->readahead, &key);
	return n;
}

static int lower_tree_copy(struct lower *l, const struct oid *blob, int out_fd, uint64_t len)
{
	struct oid key = blob_key(of(l), blob);

	return storage_blob_copy(of(l)->storage, &key, out_fd, len);
}

static int lower_tree_fetch(struct lower *l, enum lower_need_kind kind, const struct oid *oid,
	uint64_t deadline_ns, lower_done fn, void *arg)
{
	static const enum storage_kind kinds[] = {
		[LOWER_NEED_TREE] = STORAGE_TREE,
		[LOWER_NEED_BLOB] = STORAGE_BLOB,
		[LOWER_NEED_DIGESTS] = STORAGE_DIGESTS,
	};
	struct lower_tree *t = of(l);
	const struct storage_ask ask = {.origin = t->origin,
		.tenant = t->tenant,
		.deadline_ns = deadline_ns,
		.fn = fn,
		.arg = arg};

	struct oid key;

	if (kind == LOWER_NEED_NONE || kind > LOWER_NEED_DIGESTS)
		return -EINVAL;
	key = kind == LOWER_NEED_TREE ? *oid : blob_key(t, oid);
	return storage_ask(t->storage, kinds[kind], &key, &ask);
}

static void lower_tree_prefetch(struct lower *l, const struct oid *tree)
{
	const struct lower_tree *t = of(l);

	storage_prefetch_tree(t->storage, t->origin, t->tenant, tree);
}

static void lower_tree_missed(struct lower *l, const struct readahead_place *places, unsigned count)
{
	readahead_missed(of(l)->readahead, places, count);
}

static int lower_tree_digests(
	struct lower *l, const struct oid *blob, struct content_digests *ret_digests)
{
	struct oid key = blob_key(of(l), blob);
	int r = tree_blob_digests(storage_tree_index(of(l)->storage), &key, ret_digests);

	return r == -ENOENT ? -EAGAIN : r;
}

static void lower_tree_free(struct lower *l)
{
	readahead_free(of(l)->readahead);
	origin_unref(of(l)->origin);
	free(of(l));
}

struct lower *lower_tree_new(struct storage *st, struct origin *o, unsigned tenant)
{
	static const struct lower_ops ops = {
		.tree = lower_tree_view,
		.read = lower_tree_read,
		.copy = lower_tree_copy,
		.fetch = lower_tree_fetch,
		.prefetch = lower_tree_prefetch,
		.missed = lower_tree_missed,
		.digests = lower_tree_digests,
		.free = lower_tree_free,
	};
	struct lower_tree *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->readahead = readahead_new(st, o, tenant);
	if (!t->readahead)
		return free(t), NULL;
	t->lower.ops = &ops;
	t->storage = st;
	t->origin = origin_ref(o);
	t->lfs = origin_caps(o) & ORIGIN_CAP_LFS;
	t->tenant = tenant;
	return &t->lower;
}
