// SPDX-License-Identifier: Apache-2.0
/*
 * The index as an object: one cache environment with five tables. What is in them is named by
 * content and never changes; so nothing is ever updated, only added, and dropped if found damaged.
 *
 * Threads: any. Reads never wait; puts wait for the writer thread of storage/kv.
 */
#include "tree/tree_internal.h"

#include "base/err.h"

#include <errno.h>
#include <stdlib.h>

static void metrics_setup(struct tree_index_metrics *m, struct metrics *registry)
{
	m->hits = &m->own[0];
	m->misses = &m->own[1];
	m->stored = &m->own[2];
	m->damaged = &m->own[3];
	if (!registry)
		return;
	m->hits = metrics_counter(registry, "coppice_index_lookups_total",
		"Directories asked of the index.", "result=\"hit\"");
	m->misses = metrics_counter(registry, "coppice_index_lookups_total",
		"Directories asked of the index.", "result=\"miss\"");
	m->stored =
		metrics_counter(registry, "coppice_index_stored_total", "Directories stored.", "");
	m->damaged = metrics_counter(
		registry, "coppice_index_damaged_total", "Records found damaged and dropped.", "");
}

int tree_index_open(struct tree_index **ret_index, const char *dir, uint64_t max_bytes,
	struct metrics *metrics, struct err *e)
{
	const struct kv_config config = {
		.dir = dir,
		.mode = KV_CACHE,
		.max_bytes = max_bytes,
		.format_version = TREE_INDEX_VERSION,
		.tables = {"trees", "sizes", "digests", "commits", "lfs"},
		.metrics = metrics,
		.name = "index",
	};
	struct tree_index *ti = calloc(1, sizeof(*ti));
	int r;

	if (!ti)
		return err_set(e, -ENOMEM, NULL, "no memory");
	metrics_setup(&ti->m, metrics);
	lock_init(&ti->sweep_mu, LOCK_RANK_INDEX);
	r = kv_open(&ti->kv, &config, &ti->set_aside, e);
	if (r < 0) {
		lock_fini(&ti->sweep_mu);
		free(ti);
		return r;
	}
	*ret_index = ti;
	return 0;
}

struct tree_index *tree_index_close(struct tree_index *ti)
{
	if (!ti)
		return NULL;
	kv_close(ti->kv);
	lock_fini(&ti->sweep_mu);
	free(ti);
	return NULL;
}

void tree_index_on_pressure(struct tree_index *ti, const struct tree_pressure *pressure)
{
	ti->pressure = *pressure;
}

int tree_stats(struct tree_index *ti, struct tree_stats *ret_stats)
{
	struct tree_stats s = {.set_aside = ti->set_aside};
	struct kv_stats kv = {0};
	struct kv_txn *txn;
	int r = kv_stats(ti->kv, &kv);

	if (r < 0)
		return r;
	s.used_bytes = kv.used_bytes;
	s.live_bytes = kv.live_bytes;
	s.max_bytes = kv.max_bytes;
	r = kv_read_begin(ti->kv, &txn);
	if (r < 0)
		return r;
	r = kv_count(txn, TABLE_TREES, &s.trees);
	if (r == 0)
		r = kv_count(txn, TABLE_SIZES, &s.blobs);
	if (r == 0)
		r = kv_count(txn, TABLE_COMMITS, &s.commits);
	if (r == 0)
		r = kv_count(txn, TABLE_LFS, &s.lfs);
	kv_read_end(txn);
	if (r == 0)
		*ret_stats = s;
	return r;
}
