// SPDX-License-Identifier: Apache-2.0
/*
 * Reading the index. A directory is read in place: the view points into LMDB's map, under a read
 * transaction that the view owns. Facts are small and copied out.
 *
 * Threads: any; nothing here waits.
 */
#include "tree/tree_internal.h"

#include "tree/tree_codec.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

int tree_view_begin(struct tree_index *ti, const struct oid *tree, struct tree_view *ret_view)
{
	struct kv_txn *txn;
	const void *value;
	size_t len;
	int r = kv_read_begin(ti->kv, &txn);

	if (r < 0)
		return r;
	r = kv_get(txn, TABLE_TREES, tree->bytes, tree->len, &value, &len);
	if (r == 0 && !value) {
		kv_read_end(txn);
		counter_add(ti->m.misses, 1);
		return -EAGAIN;
	}
	if (r == 0)
		r = tree_codec_open(value, len, ret_view);
	if (r == 0 && ret_view->oid_len != tree->len)
		r = -EBADMSG;
	if (r < 0) {
		kv_read_end(txn);
		if (r != -EBADMSG)
			return r;
		tree_drop(ti, TABLE_TREES, tree);
		return -EIO;
	}
	ret_view->txn = txn;
	counter_add(ti->m.hits, 1);
	return 0;
}

void tree_view_end(struct tree_view *view)
{
	if (!view)
		return;
	kv_read_end(view->txn);
	*view = (struct tree_view){0};
}

/* A fact of exactly or at most `cap` bytes, copied out. -ENOENT: unknown. */
static int get_fact(
	struct tree_index *ti, enum tree_table table, const struct oid *key, void *buf, size_t *len)
{
	size_t cap = *len;
	struct kv_txn *txn;
	const void *value;
	int r = kv_read_begin(ti->kv, &txn);

	if (r < 0)
		return r;
	r = kv_get(txn, table, key->bytes, key->len, &value, len);
	if (r == 0 && !value)
		r = -ENOENT;
	if (r == 0 && *len > cap)
		r = -EBADMSG;
	if (r == 0)
		memcpy(buf, value, *len);
	kv_read_end(txn);
	return r;
}

/* A damaged fact is dropped and then unknown. */
static int fact_damaged(struct tree_index *ti, enum tree_table table, const struct oid *key)
{
	tree_drop(ti, table, key);
	return -ENOENT;
}

int tree_blob_size(struct tree_index *ti, const struct oid *blob, uint64_t *ret_size)
{
	uint64_t size;
	size_t len = sizeof(size);
	int r = get_fact(ti, TABLE_SIZES, blob, &size, &len);

	if (r == -EBADMSG || (r == 0 && len != sizeof(size)))
		return fact_damaged(ti, TABLE_SIZES, blob);
	if (r == 0)
		*ret_size = le64toh(size);
	return r;
}

int tree_blob_digests(
	struct tree_index *ti, const struct oid *blob, struct content_digests *ret_digests)
{
	uint8_t record[CONTENT_SHA256_BYTES + CONTENT_SHA1_BYTES];
	size_t len = sizeof(record);
	int r = get_fact(ti, TABLE_DIGESTS, blob, record, &len);

	if (r == -EBADMSG || (r == 0 && len != sizeof(record)))
		return fact_damaged(ti, TABLE_DIGESTS, blob);
	if (r < 0)
		return r;
	ret_digests->oid = *blob;
	memcpy(ret_digests->sha256, record, CONTENT_SHA256_BYTES);
	memcpy(ret_digests->sha1, record + CONTENT_SHA256_BYTES, CONTENT_SHA1_BYTES);
	return 0;
}

int tree_lfs(struct tree_index *ti, const struct oid *blob, struct tree_lfs *ret_lfs)
{
	uint8_t record[8 + CONTENT_SHA256_BYTES];
	size_t len = sizeof(record);
	uint64_t size;
	int r = get_fact(ti, TABLE_LFS, blob, record, &len);

	if (r == -EBADMSG || (r == 0 && len != sizeof(record)))
		return fact_damaged(ti, TABLE_LFS, blob);
	if (r < 0)
		return r;
	memcpy(&size, record, sizeof(size));
	ret_lfs->size = le64toh(size);
	memcpy(ret_lfs->sha256, record + 8, CONTENT_SHA256_BYTES);
	return 0;
}

int tree_commit_get(struct tree_index *ti, const struct oid *commit, struct tree_commit *ret_commit)
{
	uint8_t record[8 + OID_MAX_BYTES];
	uint64_t time_s;
	size_t len = sizeof(record);
	int r = get_fact(ti, TABLE_COMMITS, commit, record, &len);

	if (r == -EBADMSG || (r == 0 && len != 8u + commit->len))
		return fact_damaged(ti, TABLE_COMMITS, commit);
	if (r < 0)
		return r;
	memcpy(&time_s, record, sizeof(time_s));
	ret_commit->time_s = (int64_t)le64toh(time_s);
	ret_commit->root = oid_from_bytes(record + 8, commit->len);
	return 0;
}
