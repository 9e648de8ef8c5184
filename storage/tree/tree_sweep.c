// SPDX-License-Identifier: Apache-2.0
/*
 * See tree_sweep.h. A put tells the sweep before it looks whether the record is there already, and
 * a batch is judged and deleted under the same lock: so nobody relies on a record that is about to
 * go.
 *
 * Threads: the one that sweeps; puts meet it in tree_sweep_note.
 */
#include "tree/tree_sweep.h"

#include "base/hashmap.h"
#include "base/le.h"
#include "tree/tree_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FILTER_BITS (UINT32_C(1) << 27) /* 16 MiB; ten million blobs: 0.5 % too many are kept */
#define PROBES      4
#define STRETCH     1024u /* records looked at in one read transaction, and deleted at once */

struct tree_sweep {
	struct tree_index *index;
	struct hashmap trees; /* by the first bytes of their ids; guarded by index->sweep_mu */
	bool incomplete;      /* likewise: something could not be noted */
	uint64_t *filter;     /* of blobs; likewise */
};

/* ---- what is kept ---- */

static uint64_t tree_key(const void *oid)
{
	return le_get64(oid);
}

/* Values in the map, for what they point to: the caller looks at what is in it; or it was put
 * meanwhile, or the like. */
static const char whys[2];
#define BY_CALLER ((void *)&whys[0])
#define ALONE     ((void *)&whys[1])

static int note_locked(struct tree_sweep *s, const struct oid *tree, void *why)
{
	int r = hashmap_insert(&s->trees, tree_key(tree->bytes), why);

	if (r == -ENOMEM)
		s->incomplete = true;
	return r;
}

int tree_sweep_keep_tree(struct tree_sweep *s, const struct oid *tree)
{
	uint64_t key = tree_key(tree->bytes);
	int r;

	LOCK_GUARD(&s->index->sweep_mu);
	if (hashmap_find(&s->trees, key) == ALONE)
		(void)hashmap_remove(&s->trees, key);
	r = note_locked(s, tree, BY_CALLER);
	return r == 0 ? 1 : r == -EEXIST ? 0 : r;
}

int tree_sweep_keep_alone(struct tree_sweep *s, const struct oid *tree)
{
	LOCK_GUARD(&s->index->sweep_mu);
	return note_locked(s, tree, ALONE);
}

/* Ids are hashes: their own bytes are as good as any others. */
static uint32_t probe(const void *oid, unsigned n)
{
	return le_get32((const uint8_t *)oid + (size_t)4 * n) % FILTER_BITS;
}

static void note_blob_locked(struct tree_sweep *s, const struct oid *blob)
{
	for (unsigned n = 0; n < PROBES; n++) {
		uint32_t bit = probe(blob->bytes, n);

		s->filter[bit / 64] |= UINT64_C(1) << bit % 64;
	}
}

void tree_sweep_keep_blob(struct tree_sweep *s, const struct oid *blob)
{
	LOCK_GUARD(&s->index->sweep_mu);
	note_blob_locked(s, blob);
}

void tree_sweep_note_trees(struct tree_index *ti, const struct tree_record *records, unsigned count)
{
	LOCK_GUARD(&ti->sweep_mu);
	for (unsigned i = 0; ti->sweep && i < count; i++)
		(void)note_locked(
			ti->sweep, &records[i].tree, ALONE); /* it keeps in mind that it failed */
}

void tree_sweep_note_fact(
	struct tree_index *ti, enum tree_table table, const struct oid *key, const struct oid *root)
{
	LOCK_GUARD(&ti->sweep_mu);
	if (!ti->sweep)
		return;
	if (table == TABLE_COMMITS)
		(void)note_locked(ti->sweep, root, ALONE); /* likewise */
	else
		note_blob_locked(ti->sweep, key);
}

static bool blob_kept_locked(const struct tree_sweep *s, const void *oid)
{
	for (unsigned n = 0; n < PROBES; n++) {
		uint32_t bit = probe(oid, n);

		if (!(s->filter[bit / 64] & UINT64_C(1) << bit % 64))
			return false;
	}
	return true;
}

/* ---- a stretch of a table ---- */

struct stretch {
	struct tree_sweep *sweep;
	enum tree_table table;
	uint8_t from[KV_KEY_MAX]; /* where the next one begins */
	size_t from_len;
	unsigned count;
	bool full; /* it ended before the table did */
	struct oid key[STRETCH];
	struct oid root[STRETCH]; /* of commits */
};

static bool kept_locked(const struct stretch *st, unsigned i)
{
	const struct tree_sweep *s = st->sweep;

	switch (st->table) {
	case TABLE_TREES:
		return hashmap_find(&s->trees, tree_key(st->key[i].bytes));
	case TABLE_COMMITS:
		return hashmap_find(&s->trees, tree_key(st->root[i].bytes));
	default:
		return blob_kept_locked(s, st->key[i].bytes);
	}
}

static int look(void *arg, const void *key, size_t key_len, const void *value, size_t len)
{
	struct stretch *st = arg;

	if (st->count == STRETCH) {
		memcpy(st->from, key, key_len);
		st->from_len = key_len;
		st->full = true;
		return 1;
	}
	if (key_len < OID_MIN_BYTES || key_len > OID_MAX_BYTES)
		return 0; /* not ours: kv_check would have said so */
	st->key[st->count].len = (uint8_t)key_len;
	memcpy(st->key[st->count].bytes, key, key_len);
	st->root[st->count] = (struct oid){0};
	if (st->table == TABLE_COMMITS && len == 8 + key_len)
		memcpy(st->root[st->count].bytes, (const uint8_t *)value + 8, key_len);
	st->count++;
	return 0;
}

static int drop_stretch(struct stretch *st, struct tree_swept *swept)
{
	struct tree_index *ti = st->sweep->index;
	struct kv_op ops[STRETCH];
	unsigned n = 0;
	int r;

	LOCK_GUARD(&ti->sweep_mu);
	if (st->sweep->incomplete)
		return -ENOMEM;
	for (unsigned i = 0; i < st->count; i++)
		if (!kept_locked(st, i))
			ops[n++] = (struct kv_op){.table = st->table,
				.key = st->key[i].bytes,
				.key_len = st->key[i].len};
	r = kv_write(ti->kv, ops, n);
	if (r == 0)
		swept->dropped += n;
	swept->seen += st->count;
	return r;
}

static int drop_from_table(struct tree_sweep *s, enum tree_table table, const _Atomic bool *stop,
	struct tree_swept *swept)
{
	struct stretch *st = calloc(1, sizeof(*st));
	int r = st ? 0 : -ENOMEM;

	while (r == 0) {
		struct kv_txn *txn;

		st->sweep = s;
		st->table = table;
		st->count = 0;
		st->full = false;
		r = kv_read_begin(s->index->kv, &txn);
		if (r < 0)
			break;
		r = kv_scan(txn, table, st->from, st->from_len, look, st);
		kv_read_end(txn);
		if (r >= 0)
			r = drop_stretch(st, swept);
		if (r == 0 && !st->full)
			break;
		if (r == 0 && atomic_load(stop))
			r = -ECANCELED;
	}
	free(st);
	return r;
}

int tree_sweep_drop(struct tree_sweep *s, const _Atomic bool *stop, struct tree_swept *ret_swept)
{
	/* Commits first: who finds one may then rely on its root for a while. */
	static const enum tree_table order[] = {
		TABLE_COMMITS, TABLE_TREES, TABLE_SIZES, TABLE_DIGESTS, TABLE_LFS};
	int r = 0;

	*ret_swept = (struct tree_swept){0};
	for (unsigned i = 0; i < sizeof(order) / sizeof(order[0]) && r == 0; i++)
		r = drop_from_table(s, order[i], stop, ret_swept);
	return r;
}

/* ---- life ---- */

int tree_sweep_begin(struct tree_index *ti, struct tree_sweep **ret_sweep)
{
	struct tree_sweep *s = calloc(1, sizeof(*s));
	bool busy;

	if (!s)
		return -ENOMEM;
	s->index = ti;
	hashmap_init(&s->trees);
	s->filter = calloc(FILTER_BITS / 64, sizeof(*s->filter));
	if (!s->filter) {
		free(s);
		return -ENOMEM;
	}
	lock_acquire(&ti->sweep_mu);
	busy = ti->sweep;
	if (!busy)
		ti->sweep = s;
	lock_release(&ti->sweep_mu);
	if (!busy) {
		*ret_sweep = s;
		return 0;
	}
	free(s->filter);
	free(s);
	return -EBUSY;
}

struct tree_sweep *tree_sweep_end(struct tree_sweep *s)
{
	if (!s)
		return NULL;
	lock_acquire(&s->index->sweep_mu);
	s->index->sweep = NULL;
	lock_release(&s->index->sweep_mu);
	hashmap_fini(&s->trees);
	free(s->filter);
	free(s);
	return NULL;
}
