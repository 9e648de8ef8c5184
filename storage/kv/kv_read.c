// SPDX-License-Identifier: Apache-2.0
/*
 * Read transactions. Beginning one from nothing takes a slot in LMDB's reader table under a lock;
 * renewing one that was reset costs some 20 ns. So ended ones are kept, reset, in small lists, one
 * per group of CPUs. A reset transaction pins no pages.
 *
 * Threads: any. A transaction is used by one thread at a time. Nothing here blocks except LMDB's
 * reader-table mutex on the first use of a slot.
 */
#include "kv/kv_internal.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>

void kv_read_init(struct kv *kv)
{
	for (unsigned i = 0; i < KV_SHARDS; i++)
		lock_init(&kv->shard[i].mu, LOCK_RANK_LEAF);
}

static void txn_free(struct kv_txn *t)
{
	mdb_txn_abort(t->txn);
	free(t);
}

void kv_read_fini(struct kv *kv)
{
	for (unsigned i = 0; i < KV_SHARDS; i++) {
		struct kv_shard *s = &kv->shard[i];

		for (struct kv_txn *t = s->idle, *next; t; t = next) {
			next = t->next;
			txn_free(t);
		}
		s->idle = NULL;
		lock_fini(&s->mu);
	}
}

/* A hint only: being moved to another CPU right after costs a little contention, nothing else. */
static struct kv_shard *shard_here(struct kv *kv)
{
	int cpu = sched_getcpu();

	return &kv->shard[cpu < 0 ? 0 : (unsigned)cpu % KV_SHARDS];
}

static struct kv_txn *take_idle(struct kv *kv)
{
	struct kv_shard *s = shard_here(kv);
	struct kv_txn *t;

	lock_acquire(&s->mu);
	t = s->idle;
	if (t) {
		s->idle = t->next;
		s->idle_count--;
	}
	lock_release(&s->mu);
	return t;
}

int kv_read_begin(struct kv *kv, struct kv_txn **ret_txn)
{
	struct kv_txn *t = take_idle(kv);
	int r;

	if (t) {
		r = mdb_txn_renew(t->txn);
		if (r) {
			txn_free(t);
			return kv_errno(r);
		}
	} else {
		t = calloc(1, sizeof(*t));
		if (!t)
			return -ENOMEM;
		t->kv = kv;
		r = mdb_txn_begin(kv->env, NULL, MDB_RDONLY, &t->txn);
		if (r) {
			free(t);
			return kv_errno(r);
		}
	}
	kv->readers++;
	*ret_txn = t;
	return 0;
}

void kv_read_end(struct kv_txn *txn)
{
	struct kv *kv;
	struct kv_shard *s;
	bool keep;

	if (!txn)
		return;
	kv = txn->kv;
	mdb_txn_reset(txn->txn);
	kv->readers--;
	s = shard_here(kv);
	lock_acquire(&s->mu);
	keep = s->idle_count < KV_IDLE_PER_SHARD;
	if (keep) {
		txn->next = s->idle;
		s->idle = txn;
		s->idle_count++;
	}
	lock_release(&s->mu);
	if (!keep)
		txn_free(txn);
}

static int read_failed(struct kv *kv, int mdb_result)
{
	int r = kv_errno(mdb_result);

	if (r == -EIO)
		kv_note_damage(kv);
	return r;
}

int kv_get(struct kv_txn *txn, unsigned table, const void *key, size_t key_len,
	const void **ret_value, size_t *ret_len)
{
	MDB_val k = {.mv_data = (void *)key, .mv_size = key_len};
	MDB_val v;
	int r;

	if (table >= txn->kv->table_count || key_len == 0 || key_len > KV_KEY_MAX)
		return -EINVAL;
	r = mdb_get(txn->txn, txn->kv->dbi[table], &k, &v);
	if (r == MDB_NOTFOUND) {
		*ret_value = NULL;
		*ret_len = 0;
		return 0;
	}
	if (r)
		return read_failed(txn->kv, r);
	*ret_value = v.mv_data;
	*ret_len = v.mv_size;
	return 0;
}

int kv_scan(struct kv_txn *txn, unsigned table, const void *from, size_t from_len, kv_visit fn,
	void *arg)
{
	MDB_val k = {.mv_data = (void *)from, .mv_size = from_len};
	MDB_val v;
	MDB_cursor *cursor;
	int r;

	if (table >= txn->kv->table_count || from_len > KV_KEY_MAX)
		return -EINVAL;
	r = mdb_cursor_open(txn->txn, txn->kv->dbi[table], &cursor);
	if (r)
		return kv_errno(r);
	r = mdb_cursor_get(cursor, &k, &v, from && from_len ? MDB_SET_RANGE : MDB_FIRST);
	while (r == 0) {
		int stop = fn(arg, k.mv_data, k.mv_size, v.mv_data, v.mv_size);

		if (stop) {
			mdb_cursor_close(cursor);
			return stop;
		}
		r = mdb_cursor_get(cursor, &k, &v, MDB_NEXT);
	}
	mdb_cursor_close(cursor);
	return r == MDB_NOTFOUND ? 0 : read_failed(txn->kv, r);
}

int kv_count(struct kv_txn *txn, unsigned table, uint64_t *ret_count)
{
	MDB_stat stat;
	int r;

	if (table >= txn->kv->table_count)
		return -EINVAL;
	r = mdb_stat(txn->txn, txn->kv->dbi[table], &stat);
	if (r)
		return kv_errno(r);
	*ret_count = stat.ms_entries;
	return 0;
}
