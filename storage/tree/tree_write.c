// SPDX-License-Identifier: Apache-2.0
/*
 * Writing the index. Content that is known already is not written again, so importing what is there
 * costs lookups only. The one thing that can get better is a directory whose sizes were not known
 * when it came.
 *
 * Threads: any; puts wait for the commit of their batch.
 */
#include "tree/tree_internal.h"

#include "base/log.h"
#include "tree/tree_codec.h"

#include <endian.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

static bool key_ok(const struct oid *key)
{
	return key->len == 20 || key->len == 32;
}

/* Puts that are judged to be needed, and told of to a sweep. */
static int write_ops(struct tree_index *ti, const struct kv_op *ops, unsigned count)
{
	const struct tree_pressure *p = &ti->pressure;
	uint64_t bytes = 0, before;
	int r = kv_write(ti->kv, ops, count);

	if (r == -ENOSPC && p->full && p->full(p->arg))
		r = kv_write(ti->kv, ops, count);
	if (r < 0 || !p->grown)
		return r;
	for (unsigned i = 0; i < count; i++)
		bytes += ops[i].key_len + ops[i].value_len;
	/* relaxed: one of those that cross a step tells, no matter which */
	before = atomic_fetch_add_explicit(&ti->put_bytes, bytes, memory_order_relaxed);
	if (before / p->step != (before + bytes) / p->step)
		p->grown(p->arg);
	return r;
}

static int put(struct tree_index *ti, enum tree_table table, const struct oid *key,
	const void *value, size_t len, bool keep_existing)
{
	const struct kv_op op = {
		.table = table,
		.key = key->bytes,
		.key_len = key->len,
		.value = value,
		.value_len = len,
		.keep_existing = keep_existing,
	};

	return write_ops(ti, &op, 1);
}

void tree_drop(struct tree_index *ti, enum tree_table table, const struct oid *key)
{
	const struct kv_op op = {.table = table, .key = key->bytes, .key_len = key->len};
	int r = kv_write_async(ti->kv, &op, 1, NULL, NULL);

	counter_add(ti->m.damaged, 1);
	/* Not dropped now: the next reader finds it damaged again and tries again. */
	if (r < 0)
		log_debug("index_drop_failed", LOG_E(r));
}

enum stored { STORED_NOT, STORED_WITHOUT_SIZES, STORED_WITH_SIZES, STORED_DAMAGED };

static int stored_tree(struct tree_index *ti, const struct oid *tree, enum stored *ret_stored)
{
	struct tree_view view;
	struct kv_txn *txn;
	const void *value;
	size_t len;
	int r = kv_read_begin(ti->kv, &txn);

	if (r < 0)
		return r;
	r = kv_get(txn, TABLE_TREES, tree->bytes, tree->len, &value, &len);
	if (r == 0 && !value)
		*ret_stored = STORED_NOT;
	else if (r == 0 && (tree_codec_open(value, len, &view) < 0 || view.oid_len != tree->len))
		*ret_stored = STORED_DAMAGED;
	else if (r == 0)
		*ret_stored = view.sizes_known ? STORED_WITH_SIZES : STORED_WITHOUT_SIZES;
	kv_read_end(txn);
	return r;
}

/* What there is to write for a record: *ret_op, or nothing (false). */
static int plan_put(
	struct tree_index *ti, const struct tree_record *t, struct kv_op *ret_op, bool *ret_needed)
{
	enum stored stored;
	struct tree_view view;
	int r = tree_view_over(t->record, t->len, &view);

	if (r < 0)
		return r;
	if (view.oid_len != t->tree.len)
		return -EBADMSG;
	r = stored_tree(ti, &t->tree, &stored);
	if (r < 0)
		return r;
	*ret_needed = stored != STORED_WITH_SIZES &&
		      !(stored == STORED_WITHOUT_SIZES && !view.sizes_known);
	/* Without sizes it must not replace one with sizes that comes in between: the writer
	 * decides. */
	*ret_op = (struct kv_op){.table = TABLE_TREES,
		.key = t->tree.bytes,
		.key_len = t->tree.len,
		.value = t->record,
		.value_len = t->len,
		.keep_existing = !view.sizes_known && stored == STORED_NOT};
	return 0;
}

int tree_put_all(struct tree_index *ti, const struct tree_record *records, unsigned count)
{
	struct kv_op ops[TREE_RECORDS_MAX];
	unsigned op_count = 0;
	bool needed = false;
	int r = count > TREE_RECORDS_MAX ? -EINVAL : 0;

	tree_sweep_note_trees(ti, records, count);
	for (unsigned i = 0; i < count && r == 0; i++) {
		r = plan_put(ti, &records[i], &ops[op_count], &needed);
		op_count += r == 0 && needed;
	}
	if (r < 0 || op_count == 0)
		return r;
	r = write_ops(ti, ops, op_count);
	if (r == 0)
		counter_add(ti->m.stored, op_count);
	return r;
}

int tree_put(struct tree_index *ti, const struct oid *tree, const void *record, size_t len)
{
	return tree_put_all(ti, &(struct tree_record){*tree, record, len}, 1);
}

int tree_put_blob_size(struct tree_index *ti, const struct oid *blob, uint64_t size)
{
	uint64_t known, value = htole64(size);

	if (!key_ok(blob))
		return -EINVAL;
	tree_sweep_note_fact(ti, TABLE_SIZES, blob, NULL);
	if (tree_blob_size(ti, blob, &known) == 0 && known == size)
		return 0;
	return put(ti, TABLE_SIZES, blob, &value, sizeof(value), false);
}

int tree_put_blob_digests(struct tree_index *ti, const struct content_digests *digests)
{
	uint8_t record[CONTENT_SHA256_BYTES + CONTENT_SHA1_BYTES];
	struct content_digests known;

	if (!key_ok(&digests->oid))
		return -EINVAL;
	tree_sweep_note_fact(ti, TABLE_DIGESTS, &digests->oid, NULL);
	if (tree_blob_digests(ti, &digests->oid, &known) == 0 &&
		memcmp(known.sha256, digests->sha256, CONTENT_SHA256_BYTES) == 0 &&
		memcmp(known.sha1, digests->sha1, CONTENT_SHA1_BYTES) == 0)
		return 0;
	memcpy(record, digests->sha256, CONTENT_SHA256_BYTES);
	memcpy(record + CONTENT_SHA256_BYTES, digests->sha1, CONTENT_SHA1_BYTES);
	return put(ti, TABLE_DIGESTS, &digests->oid, record, sizeof(record), false);
}

int tree_put_lfs(struct tree_index *ti, const struct oid *blob, const struct tree_lfs *lfs)
{
	uint64_t size = htole64(lfs->size);
	uint8_t record[8 + CONTENT_SHA256_BYTES];

	if (!key_ok(blob))
		return -EINVAL;
	tree_sweep_note_fact(ti, TABLE_LFS, blob, NULL);
	memcpy(record, &size, sizeof(size));
	memcpy(record + 8, lfs->sha256, CONTENT_SHA256_BYTES);
	return put(ti, TABLE_LFS, blob, record, sizeof(record), false);
}

int tree_commit_put(struct tree_index *ti, const struct oid *commit, const struct tree_commit *c)
{
	uint64_t time_s = htole64((uint64_t)c->time_s);
	uint8_t record[8 + OID_MAX_BYTES];
	struct tree_commit known;

	if (!key_ok(commit) || c->root.len != commit->len)
		return -EINVAL;
	tree_sweep_note_fact(ti, TABLE_COMMITS, commit, &c->root);
	if (tree_commit_get(ti, commit, &known) == 0 && known.time_s == c->time_s &&
		oid_equal(&known.root, &c->root))
		return 0;
	memcpy(record, &time_s, sizeof(time_s));
	memcpy(record + 8, c->root.bytes, c->root.len);
	return put(ti, TABLE_COMMITS, commit, record, 8u + commit->len, false);
}
