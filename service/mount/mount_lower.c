/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lower that wraps another and counts what is fetched through it. Only the path of a fetch does
 * more than pass on: it is slow anyway. Any thread.
 */
#include "mount_lower.h"

#include "mount_lower_late.h"

#include <base/list.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <storage/storage.h>

struct counted {
	struct lower lower;
	struct lower *inner; /* owned */
	struct storage *storage;
	struct mount_fetches *fetches; /* a reference */
};

struct counted_fetch {
	struct mount_fetches *fetches; /* a reference */
	struct storage *storage;
	enum lower_need_kind kind;
	struct oid oid;
	lower_done fn;
	void *arg;
};

struct mount_fetches *mount_fetches_new(void)
{
	struct mount_fetches *f = calloc(1, sizeof(*f));

	if (f)
		ref_init(&f->ref);
	return f;
}

struct mount_fetches *mount_fetches_ref(struct mount_fetches *f)
{
	ref_get(&f->ref);
	return f;
}

struct mount_fetches *mount_fetches_unref(struct mount_fetches *f)
{
	if (f && ref_put(&f->ref))
		free(f);
	return NULL;
}

static struct counted *counted_of(struct lower *l)
{
	return container_of(l, struct counted, lower);
}

static int counted_tree(struct lower *l, const struct oid *tree, struct tree_view *ret_view)
{
	struct lower *inner = counted_of(l)->inner;

	return inner->ops->tree(inner, tree, ret_view);
}

static ssize_t counted_read(
	struct lower *l, const struct oid *blob, void *buf, size_t len, uint64_t offset)
{
	struct lower *inner = counted_of(l)->inner;

	return inner->ops->read(inner, blob, buf, len, offset);
}

static int counted_copy(struct lower *l, const struct oid *blob, int out_fd, uint64_t len)
{
	struct lower *inner = counted_of(l)->inner;

	return inner->ops->copy(inner, blob, out_fd, len);
}

static void add(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed); /* a statistic: no ordering */
}

/* It has just arrived, so the store knows; a blob that is evicted already counts as none. */
static uint64_t fetched_bytes(const struct counted_fetch *f)
{
	struct blob_store *bs = storage_blob_store(f->storage);
	struct blob_pin pin;
	uint64_t size;

	if (blob_pin(bs, &f->oid, &pin) < 0)
		return 0;
	size = pin.size;
	blob_unpin(bs, &pin);
	return size;
}

static void count_fetch(const struct counted_fetch *f, int result)
{
	if (result) {
		add(&f->fetches->errors, 1);
	} else if (f->kind == LOWER_NEED_TREE) {
		add(&f->fetches->trees, 1);
	} else if (f->kind == LOWER_NEED_BLOB) {
		add(&f->fetches->blobs, 1);
		add(&f->fetches->bytes, fetched_bytes(f));
	}
}

static void fetch_done(void *arg, int result)
{
	struct counted_fetch *f = arg;

	count_fetch(f, result); /* first: after fn the storage may be closing */
	f->fn(f->arg, result);
	mount_fetches_unref(f->fetches);
	free(f);
}

static int counted_fetch(struct lower *l, enum lower_need_kind kind, const struct oid *oid,
	uint64_t deadline_ns, lower_done fn, void *arg)
{
	struct counted *c = counted_of(l);
	struct counted_fetch *f = malloc(sizeof(*f));
	int err;

	if (!f)
		return -ENOMEM;
	*f = (struct counted_fetch){mount_fetches_ref(c->fetches), c->storage, kind, *oid, fn, arg};
	err = c->inner->ops->fetch(c->inner, kind, oid, deadline_ns, fetch_done, f);
	if (err) {
		add(&f->fetches->errors, 1);
		mount_fetches_unref(f->fetches);
		free(f);
	}
	return err;
}

static void counted_prefetch(struct lower *l, const struct oid *tree)
{
	struct lower *inner = counted_of(l)->inner;

	inner->ops->prefetch(inner, tree);
}

static void counted_missed(struct lower *l, const struct readahead_place *places, unsigned count)
{
	struct lower *inner = counted_of(l)->inner;

	if (inner->ops->missed)
		inner->ops->missed(inner, places, count);
}

static int counted_digests(struct lower *l, const struct oid *blob, struct content_digests *ret)
{
	struct lower *inner = counted_of(l)->inner;

	return inner->ops->digests(inner, blob, ret);
}

static void counted_free(struct lower *l)
{
	struct counted *c = counted_of(l);

	c->inner->ops->free(c->inner);
	mount_fetches_unref(c->fetches);
	free(c);
}

static const struct lower_ops counted_ops = {
	.tree = counted_tree,
	.read = counted_read,
	.copy = counted_copy,
	.fetch = counted_fetch,
	.prefetch = counted_prefetch,
	.missed = counted_missed,
	.digests = counted_digests,
	.free = counted_free,
};

struct lower *mount_lower_new(const struct mount_lower_config *config)
{
	struct counted *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->lower.ops = &counted_ops;
	c->storage = config->storage;
	c->inner = config->origin ? lower_tree_new(config->storage, config->origin,
					    storage_tenant(config->storage, config->tenant))
				  : mount_lower_late_new(config);
	if (!c->inner) {
		free(c);
		return NULL;
	}
	c->fetches = mount_fetches_ref(config->fetches);
	return &c->lower;
}
