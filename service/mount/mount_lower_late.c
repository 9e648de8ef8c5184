/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See mount_lower_late.h. Any thread; blocks on local disk only (the origins of this version are
 * local repositories, and one is opened outside the lock). Once the origin is open, fetches go to
 * an ordinary lower over it, which lives as long as this one.
 */
#include "mount_lower_late.h"

#include "mount_lower.h"

#include <base/clock.h>
#include <base/err.h>
#include <base/list.h>
#include <base/lock.h>
#include <base/log.h>
#include <errno.h>
#include <fuse/lower.h>
#include <service/origins.h>
#include <stdlib.h>
#include <storage/storage.h>
#include <string.h>

#define RETRY_NS NS_PER_S

struct late {
	struct lower lower;
	struct storage *storage;
	const struct cfg *cfg;
	struct metrics *metrics;
	const struct clock *clock;
	char *origin_name;
	unsigned tenant;
	bool lfs;             /* const; see storage_tree_key */
	struct lock mu;       /* LOCK_RANK_LEAF */
	struct lower *real;   /* guarded by mu; NULL: the origin is not open yet */
	uint64_t next_try_ns; /* guarded by mu */
};

static struct late *late_of(struct lower *l)
{
	return container_of(l, struct late, lower);
}

static struct storage *storage_of(struct lower *l)
{
	return late_of(l)->storage;
}

static int late_tree(struct lower *l, const struct oid *tree, struct tree_view *ret_view)
{
	struct oid key = storage_tree_key(tree, late_of(l)->lfs);

	return storage_tree_view(storage_of(l), &key, ret_view);
}

static ssize_t late_read(
	struct lower *l, const struct oid *blob, void *buf, size_t len, uint64_t offset)
{
	struct oid key = storage_blob_key(storage_of(l), blob, late_of(l)->lfs);

	return storage_blob_read(storage_of(l), &key, buf, len, offset);
}

static int late_copy(struct lower *l, const struct oid *blob, int out_fd, uint64_t len)
{
	struct oid key = storage_blob_key(storage_of(l), blob, late_of(l)->lfs);

	return storage_blob_copy(storage_of(l), &key, out_fd, len);
}

/* The lower over the origin if that is open. Otherwise *ret_try says that it is time to try. */
static struct lower *get_real(struct late *c, bool *ret_try)
{
	uint64_t now_ns = clock_mono_ns(c->clock);

	LOCK_GUARD(&c->mu);
	*ret_try = !c->real && now_ns >= c->next_try_ns;
	if (*ret_try)
		c->next_try_ns = now_ns + RETRY_NS;
	return c->real;
}

/* Keeps the first: an attempt that took longer than the next one began may come second. */
static struct lower *set_real(struct late *c, struct lower *real)
{
	struct lower *kept;

	lock_acquire(&c->mu);
	if (!c->real)
		c->real = real;
	kept = c->real;
	lock_release(&c->mu);
	if (kept != real)
		real->ops->free(real);
	return kept;
}

static struct lower *open_origin(struct late *c)
{
	struct origin *origin;
	struct lower *real;
	struct err e = {0};

	if (origins_get(c->storage, c->cfg, c->metrics, c->origin_name, &origin, &e))
		return NULL; /* told at the start, and to whoever creates a mount */
	real = lower_tree_new(c->storage, origin, c->tenant);
	origin_unref(origin);
	if (!real)
		return NULL;
	log_info("origin_back", LOG_S("origin", c->origin_name));
	return set_real(c, real);
}

/* A negative result of the call itself: not started. */
static int late_fetch(struct lower *l, enum lower_need_kind kind, const struct oid *oid,
	uint64_t deadline_ns, lower_done fn, void *arg)
{
	bool try = false;
	struct lower *real = get_real(late_of(l), &try);

	if (try)
		real = open_origin(late_of(l));
	return real ? real->ops->fetch(real, kind, oid, deadline_ns, fn, arg) : -EIO;
}

/* NULL: not open. It stays as long as `c`. */
static struct lower *peek_real(struct late *c)
{
	LOCK_GUARD(&c->mu);
	return c->real;
}

static void late_missed(struct lower *l, const struct readahead_place *places, unsigned count)
{
	struct lower *real = peek_real(late_of(l));

	if (real)
		real->ops->missed(real, places, count);
}

static void late_prefetch(struct lower *l, const struct oid *tree)
{
	struct lower *real = peek_real(late_of(l));

	if (real)
		real->ops->prefetch(real, tree);
}

static int late_digests(struct lower *l, const struct oid *blob, struct content_digests *ret)
{
	struct oid key = storage_blob_key(storage_of(l), blob, late_of(l)->lfs);
	int err = tree_blob_digests(storage_tree_index(storage_of(l)), &key, ret);

	return err == -ENOENT ? -EAGAIN : err;
}

static void late_free(struct lower *l)
{
	struct late *c = late_of(l);

	if (c->real)
		c->real->ops->free(c->real);
	lock_fini(&c->mu);
	free(c->origin_name);
	free(c);
}

static const struct lower_ops late_ops = {
	.tree = late_tree,
	.read = late_read,
	.copy = late_copy,
	.fetch = late_fetch,
	.prefetch = late_prefetch,
	.missed = late_missed,
	.digests = late_digests,
	.free = late_free,
};

struct lower *mount_lower_late_new(const struct mount_lower_config *config)
{
	struct late *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->lower.ops = &late_ops;
	c->storage = config->storage;
	c->cfg = config->cfg;
	c->metrics = config->metrics;
	c->clock = config->clock;
	c->origin_name = strdup(config->origin_name);
	c->lfs = origins_lfs(config->cfg, config->origin_name);
	c->tenant = storage_tenant(config->storage, config->tenant);
	lock_init(&c->mu, LOCK_RANK_LEAF);
	if (!c->origin_name) {
		late_free(&c->lower);
		return NULL;
	}
	return &c->lower;
}
