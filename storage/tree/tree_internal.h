/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of storage/tree share: the index, its tables and the formats of the small records.
 */
#pragma once
#include "base/lock.h"
#include "base/metrics.h"
#include "storage/kv.h"
#include "storage/tree.h"

/* Numbers of the tables; the key is always the bytes of an oid. */
enum tree_table {
	TABLE_TREES,   /* packed directory (tree_codec.h) */
	TABLE_SIZES,   /* blob size, u64 little-endian */
	TABLE_DIGESTS, /* of a blob: 32 bytes SHA-256, 20 bytes SHA-1 */
	TABLE_COMMITS, /* i64 little-endian committer time, then the root's oid */
	TABLE_LFS,     /* of a pointer's blob: u64 little-endian size, 32 bytes SHA-256 */
};

/* Changes with any of the formats above: another version on disk is set aside and filled anew. */
#define TREE_INDEX_VERSION 2

struct tree_index_metrics {
	struct counter *hits, *misses, *stored, *damaged;
	struct counter own[4]; /* stand-ins when there is no registry */
};

struct tree_sweep;

struct tree_index {
	struct kv *kv;
	bool set_aside;
	struct tree_index_metrics m;
	struct lock sweep_mu;     /* LOCK_RANK_INDEX; held while a batch of a sweep is deleted */
	struct tree_sweep *sweep; /* guarded by sweep_mu; NULL: none under way */
	struct tree_pressure pressure; /* const after open */
	_Atomic uint64_t put_bytes;    /* since the pressure was last told of */
};

/* What is about to be put: a sweep under way keeps it. `root` is that of a commit. */
void tree_sweep_note_trees(
	struct tree_index *ti, const struct tree_record *records, unsigned count);
void tree_sweep_note_fact(struct tree_index *ti, enum tree_table table, const struct oid *key,
	const struct oid *root);

/* Delete a damaged value without waiting; a fetch puts it back. */
void tree_drop(struct tree_index *ti, enum tree_table table, const struct oid *key);
