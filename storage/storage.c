// SPDX-License-Identifier: Apache-2.0
/*
 * The storage as an object: index, blob store and lanes of origins, opened and closed together; and
 * the answers that are immediate. Fetching is in storage_fetch.c, questions that may wait are in
 * storage_lookup.c.
 *
 * Threads: any; open and close belong to one. Close order: no new requests, waiters end, lanes
 * drain, then stores.
 */
#include "storage_internal.h"
#include "storage_peers.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/path.h"
#include "storage/blob_redis.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FETCH_THREADS_DEFAULT 4
#define COPY_PIECE            (256u << 10)
#define INDEX_BYTES_DEFAULT   (16ull << 30)

/* Behind the local tiers, so that it is asked after them. */
static int add_redis(struct storage *st, const struct blob_redis_config *config, struct err *e)
{
	struct blob_tier tier;
	int r = blob_redis_new(&st->redis, config, e);

	if (r < 0)
		return err_wrap(e, r, "cache.redis");
	tier = blob_redis_tier(st->redis);
	r = blob_store_add_tier(st->blobs, &tier);
	if (r < 0) {
		st->redis = blob_redis_free(st->redis);
		return err_set(e, r, NULL, "no room for Redis among the tiers");
	}
	return 0;
}

static int open_stores(struct storage *st, const struct storage_config *c, struct err *e)
{
	_cleanup_free_ char *index_dir = path_join(c->data_dir, "index");
	_cleanup_free_ char *blob_dir = path_join(c->data_dir, "blobs");
	struct blob_config blobs = {
		.dir = blob_dir,
		.memory_bytes = c->memory_bytes,
		.disk_bytes = c->disk_bytes,
		.clock = c->clock,
		.metrics = c->metrics,
		.health = c->health,
	};
	uint64_t index_bytes = c->index_bytes ? c->index_bytes : INDEX_BYTES_DEFAULT;
	struct tree_pressure pressure = collector_pressure(&st->collector, index_bytes);
	int r;

	if (!index_dir || !blob_dir)
		return err_set(e, -ENOMEM, NULL, "no memory");
	r = io_mkdirs(c->data_dir, 0700);
	if (r < 0)
		return err_wrap(e, r, "create %s", c->data_dir);
	r = tree_index_open(&st->index, index_dir, index_bytes, c->metrics, e);
	if (r < 0)
		return r;
	tree_index_on_pressure(st->index, &pressure);
	r = blob_store_open(&st->blobs, &blobs, e);
	return r == 0 && c->redis ? add_redis(st, c->redis, e) : r;
}

int storage_open(struct storage **ret_storage, const struct storage_config *config, struct err *e)
{
	struct storage *st = calloc(1, sizeof(*st));
	int r;

	if (!st)
		return err_set(e, -ENOMEM, NULL, "no memory");
	lock_init(&st->mu, LOCK_RANK_STORAGE);
	st->health = config->health;
	list_init(&st->lanes);
	kept_table_init(&st->kept);
	collector_init(&st->collector, st, config->metrics);
	st->fetch_threads = config->fetch_threads ? config->fetch_threads : FETCH_THREADS_DEFAULT;
	for (int kind = 0; kind < FETCH_KIND_COUNT; kind++)
		fetch_metrics_setup(&st->m[kind], config->metrics, (enum fetch_kind)kind);
	st->crawls = config->metrics
			     ? metrics_counter(config->metrics, "coppice_crawl_detected_total",
				       "Readers found to read file after file in order.", NULL)
			     : &st->own_crawls;
	r = open_stores(st, config, e);
	if (r == 0) {
		r = lane_new(&st->stray, st, NULL);
		if (r == 0)
			r = health_probe_start(st);
		if (r == 0)
			r = fetch_start(st);
		if (r < 0)
			r = err_wrap(e, r, "start the fetch threads");
	}
	if (r < 0) {
		storage_close(st);
		return r;
	}
	*ret_storage = st;
	return 0;
}

struct storage *storage_close(struct storage *st)
{
	if (!st)
		return NULL;
	storage_collect_stop(st);
	fetch_stop(st);
	health_probe_stop(st);
	/* Their threads look for lanes, so all end before the first lane goes. */
	list_for_each (it, &st->lanes)
		lane_stop(list_entry(it, struct lane, node));
	if (st->stray)
		lane_stop(st->stray);
	list_for_each_safe (it, &st->lanes) {
		list_remove(it);
		lane_free(list_entry(it, struct lane, node));
	}
	lane_free(st->stray);
	fetch_fini(st);
	blob_store_close(st->blobs);
	tree_index_close(st->index);
	for (unsigned i = 0; i < st->tenant_count; i++)
		free(st->tenant[i]);
	collector_fini(&st->collector);
	kept_table_fini(&st->kept);
	lock_fini(&st->mu);
	free(st);
	return NULL;
}

struct tree_index *storage_tree_index(struct storage *st)
{
	return st->index;
}

struct blob_store *storage_blob_store(struct storage *st)
{
	return st->blobs;
}

static struct lane *lane_by_name_locked(struct storage *st, const char *name)
{
	list_for_each (it, &st->lanes) {
		struct lane *lane = list_entry(it, struct lane, node);

		if (strcmp(origin_name(lane->origin), name) == 0)
			return lane;
	}
	return NULL;
}

int storage_add_origin(struct storage *st, struct origin *origin)
{
	struct lane *lane;
	bool taken;
	int r = lane_new(&lane, st, origin);

	if (r < 0)
		return r;
	lock_acquire(&st->mu);
	taken = lane_by_name_locked(st, origin_name(origin));
	if (!taken)
		list_push_back(&st->lanes, &lane->node);
	lock_release(&st->mu);
	if (taken) {
		lane_free(lane);
		return -EEXIST;
	}
	peers_start(lane);
	return 0;
}

/* Number 0 is nobody, so names begin at 1. */
unsigned storage_tenant(struct storage *st, const char *name)
{
	char *copy;

	LOCK_GUARD(&st->mu);
	for (unsigned i = 0; i < st->tenant_count; i++)
		if (strcmp(st->tenant[i], name) == 0)
			return i + 1;
	copy = st->tenant_count < FAIR_FLOWS_MAX - 1 ? strdup(name) : NULL;
	if (!copy)
		return 0;
	st->tenant[st->tenant_count++] = copy;
	return st->tenant_count;
}

struct origin *storage_origin(struct storage *st, const char *name)
{
	struct lane *lane;
	LOCK_GUARD(&st->mu);

	lane = lane_by_name_locked(st, name);
	return lane ? origin_ref(lane->origin) : NULL;
}

/* Lanes stay until close, so the walk can let go of the lock while it calls out. */
void storage_each_origin(struct storage *st, storage_origin_visit fn, void *arg)
{
	struct list *it = &st->lanes;

	for (;;) {
		lock_acquire(&st->mu);
		it = it->next;
		lock_release(&st->mu);
		if (it == &st->lanes)
			return;
		fn(arg, list_entry(it, struct lane, node)->origin);
	}
}

int storage_tree_view(struct storage *st, const struct oid *tree, struct tree_view *ret_view)
{
	return tree_view_begin(st->index, tree, ret_view);
}

ssize_t storage_blob_read(
	struct storage *st, const struct oid *blob, void *buf, size_t len, uint64_t offset)
{
	return blob_read(st->blobs, blob, buf, len, offset);
}

/* A blob that is only in memory (the disk takes nothing) has no descriptor to copy from. */
static int copy_by_reading(struct storage *st, const struct oid *blob, int out_fd, uint64_t len)
{
	_cleanup_free_ uint8_t *piece = malloc(COPY_PIECE);
	int r = piece ? 0 : -ENOMEM;

	for (uint64_t done = 0; r == 0 && done < len;) {
		size_t part = len - done < COPY_PIECE ? (size_t)(len - done) : COPY_PIECE;
		ssize_t n = blob_read(st->blobs, blob, piece, part, done);

		if (n <= 0)
			return (int)n; /* its end */
		r = io_pwrite_full(out_fd, piece, (size_t)n, done);
		done += (uint64_t)n;
	}
	return r;
}

int storage_blob_copy(struct storage *st, const struct oid *blob, int out_fd, uint64_t len)
{
	struct blob_pin pin;
	uint64_t copied = 0;
	int r = blob_pin(st->blobs, blob, &pin);

	if (r == -EAGAIN && blob_is_local(st->blobs, blob))
		return copy_by_reading(st, blob, out_fd, len);
	if (r == -EAGAIN && blob_is_windowed(st->blobs, blob))
		return -ENOSPC; /* a fetch would not change that */
	if (r)
		return r;
	if (len > pin.size)
		len = pin.size;
	r = io_copy_range(pin.fd, pin.offset, out_fd, 0, len, &copied);
	blob_unpin(st->blobs, &pin);
	return !r && copied != len ? -EIO : r;
}
