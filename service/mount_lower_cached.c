/* SPDX-License-Identifier: Apache-2.0 */
/* See mount_lower_cached.h. Any thread; blocks on local disk only. */
#include "mount_lower_cached.h"

#include <base/io.h>
#include <base/list.h>
#include <errno.h>
#include <fuse/lower.h>
#include <stdlib.h>
#include <storage/storage.h>

struct cached {
	struct lower lower;
	struct storage *storage;
};

static struct storage *storage_of(struct lower *l)
{
	return container_of(l, struct cached, lower)->storage;
}

static int cached_tree(struct lower *l, const struct oid *tree, struct tree_view *ret_view)
{
	return storage_tree_view(storage_of(l), tree, ret_view);
}

static ssize_t cached_read(
	struct lower *l, const struct oid *blob, void *buf, size_t len, uint64_t offset)
{
	return storage_blob_read(storage_of(l), blob, buf, len, offset);
}

static int cached_copy(struct lower *l, const struct oid *blob, int out_fd, uint64_t len)
{
	struct blob_store *store = storage_blob_store(storage_of(l));
	struct blob_pin pin;
	uint64_t copied = 0;
	int err = blob_pin(store, blob, &pin);

	if (err)
		return err;
	if (len > pin.size)
		len = pin.size;
	err = io_copy_range(pin.fd, pin.offset, out_fd, 0, len, &copied);
	blob_unpin(store, &pin);
	return !err && copied != len ? -EIO : err;
}

/* A negative result of the call itself: not started. */
static int cached_fetch(struct lower *l, enum lower_need_kind kind, const struct oid *oid,
	uint64_t deadline_ns, lower_done fn, void *arg)
{
	(void)l, (void)kind, (void)oid, (void)deadline_ns, (void)fn, (void)arg;
	return -EIO;
}

static void cached_prefetch(struct lower *l, const struct oid *tree)
{
	(void)l, (void)tree;
}

static int cached_digests(struct lower *l, const struct oid *blob, struct content_digests *ret)
{
	int err = tree_blob_digests(storage_tree_index(storage_of(l)), blob, ret);

	return err == -ENOENT ? -EAGAIN : err;
}

static void cached_free(struct lower *l)
{
	free(container_of(l, struct cached, lower));
}

static const struct lower_ops cached_ops = {
	.tree = cached_tree,
	.read = cached_read,
	.copy = cached_copy,
	.fetch = cached_fetch,
	.prefetch = cached_prefetch,
	.digests = cached_digests,
	.free = cached_free,
};

struct lower *mount_lower_cached_new(struct storage *storage)
{
	struct cached *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->lower.ops = &cached_ops;
	c->storage = storage;
	return &c->lower;
}
