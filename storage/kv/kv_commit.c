// SPDX-License-Identifier: Apache-2.0
/*
 * The writer thread: group commit. While a commit (and its fsync) runs, requests gather; the next
 * transaction takes them all. A request is a set of ops that happens whole or not at all. If
 * anything in a batch fails, the batch is undone and its requests are run again one by one, so
 * that a bad one fails alone.
 *
 *	kv_write ──┐                       ┌─ ok ────────────────► results
 *	kv_write ──┼─► queue ─► one batch ─┤
 *	  async  ──┘                       └─ error ─► one by one ► results
 *
 * A cache commits without fsync; it is synced at the latest SYNC_AFTER_NS after the first commit
 * that was not.
 *
 * Threads: kv_write waits on `progress`; the callbacks of kv_write_async run here. The thread ends
 * when kv_writer_stop has set `stop` and the queue is empty.
 */
#include "base/clock.h"
#include "kv/kv_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define BATCH_MAX_BYTES (16ull << 20)
#define SYNC_AFTER_NS   (5 * NS_PER_S)

static int apply_op(struct kv *kv, MDB_txn *txn, const struct kv_op *op)
{
	MDB_val k = {.mv_data = (void *)op->key, .mv_size = op->key_len};
	MDB_val v = {.mv_data = (void *)op->value, .mv_size = op->value_len};
	int r;

	if (!op->value) {
		r = mdb_del(txn, kv->dbi[op->table], &k, NULL);
		return r == MDB_NOTFOUND ? 0 : r;
	}
	r = mdb_put(txn, kv->dbi[op->table], &k, &v, op->keep_existing ? MDB_NOOVERWRITE : 0);
	return r == MDB_KEYEXIST ? 0 : r;
}

static bool has_put(const struct kv_req *req)
{
	for (unsigned i = 0; i < req->op_count; i++)
		if (req->ops[i].value)
			return true;
	return false;
}

static int apply_req(struct kv *kv, MDB_txn *txn, const struct kv_req *req)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < req->op_count; i++)
		r = apply_op(kv, txn, &req->ops[i]);
	return r;
}

/* Make the file as long as LMDB's last page says, so that the next start can do with the short
 * check (kv_check.c). */
static void cover_file(struct kv *kv)
{
	MDB_envinfo info;
	struct stat st;
	int fd;

	if (mdb_env_info(kv->env, &info) || mdb_env_get_fd(kv->env, &fd) || fstat(fd, &st) < 0)
		return;
	gauge_set(kv->m.used_bytes, (int64_t)((info.me_last_pgno + 1) * kv->page_bytes));
	if ((uint64_t)st.st_size < (info.me_last_pgno + 1) * kv->page_bytes)
		/* Failing costs a whole check. */
		(void)!ftruncate(fd, (off_t)((info.me_last_pgno + 1) * kv->page_bytes));
}

/* LMDB says EIO of a write that the disk took a part of: it was full then, which is no damage. A
 * commit writes at most so many pages at once. */
#define PAGES_AT_ONCE 64u

static int commit_result(struct kv *kv, int mdb_result)
{
	int r = kv_errno(mdb_result);
	struct statvfs fs;
	mdb_filehandle_t fd;

	if (r != -EIO || mdb_env_get_fd(kv->env, &fd) || fstatvfs(fd, &fs) < 0)
		return r;
	return fs.f_bavail * fs.f_frsize < PAGES_AT_ONCE * kv->page_bytes ? -ENOSPC : r;
}

/* Requests from `first` up to (not including) `end`, in one transaction. */
static int commit_span(struct kv *kv, struct list *first, const struct list *end)
{
	uint64_t start_ns = clock_mono_ns(&clock_system), ops = 0, live = 0;
	bool puts = false;
	MDB_txn *txn;
	int r = mdb_txn_begin(kv->env, NULL, 0, &txn);

	if (r)
		return kv_errno(r);
	for (struct list *it = first; r == 0 && it != end; it = it->next) {
		const struct kv_req *req = list_entry(it, struct kv_req, node);

		r = apply_req(kv, txn, req);
		ops += req->op_count;
		puts = puts || has_put(req);
	}
	if (r == 0)
		r = kv_live_bytes(kv, txn, &live);
	/* The rest of the map is for deletions, which need pages before they free some. */
	if (r == 0 && puts && live > kv->max_bytes && live > kv->live_bytes)
		r = MDB_MAP_FULL;
	if (r) {
		mdb_txn_abort(txn);
		return kv_errno(r);
	}
	r = mdb_txn_commit(txn);
	if (r)
		return commit_result(kv, r);
	kv->live_bytes = live;
	cover_file(kv);
	kv_keep_room(kv);
	counter_add(kv->m.commits, 1);
	counter_add(kv->m.ops, ops);
	histogram_observe(kv->m.commit_seconds, clock_mono_ns(&clock_system) - start_ns);
	if (kv->mode == KV_CACHE && !kv->writer.sync_due_ns)
		kv->writer.sync_due_ns = clock_after(&clock_system, SYNC_AFTER_NS);
	return 0;
}

static int sync_now(struct kv *kv)
{
	int r = kv_errno(mdb_env_sync(kv->env, 1));

	counter_add(kv->m.syncs, 1);
	/* A failed sync is tried again later; who asked for it by kv_flush is told. */
	kv->writer.sync_due_ns = r < 0 ? clock_after(&clock_system, SYNC_AFTER_NS) : 0;
	return r;
}

static bool has_ops(const struct list *batch)
{
	list_for_each (it, batch)
		if (list_entry(it, struct kv_req, node)->op_count)
			return true;
	return false;
}

/* Leaves a result in every request of the batch. */
static void commit_batch(struct kv *kv, struct list *batch)
{
	bool alone = batch->next->next == batch;
	int r = has_ops(batch) ? commit_span(kv, batch->next, batch) : 0;

	list_for_each (it, batch) {
		struct kv_req *req = list_entry(it, struct kv_req, node);

		req->result = r;
		if (r < 0 && !alone)
			req->result = req->op_count ? commit_span(kv, it, it->next) : 0;
		if (req->result < 0)
			counter_add(kv->m.failures, 1);
		if (req->result == -EIO)
			kv_note_damage(kv);
	}
	list_for_each (it, batch) {
		struct kv_req *req = list_entry(it, struct kv_req, node);

		if (req->sync && kv->writer.sync_due_ns)
			req->result = sync_now(kv);
	}
}

/*
 * Results to those who asked, callbacks first: when kv_flush returns, those of all earlier requests
 * have run. A request on a stack is gone as soon as `done` is seen.
 */
static void finish_batch(struct kv *kv, struct list *batch, size_t bytes)
{
	struct kv_writer *w = &kv->writer;

	list_for_each_safe (it, batch) {
		struct kv_req *req = list_entry(it, struct kv_req, node);

		if (!req->heap)
			continue;
		list_remove(it);
		if (req->fn)
			req->fn(req->arg, req->result);
		free(req);
	}
	lock_acquire(&w->mu);
	list_for_each_safe (it, batch) {
		list_remove(it);
		list_entry(it, struct kv_req, node)->done = true;
	}
	w->queued_bytes -= bytes;
	gauge_set(kv->m.queued_bytes, (int64_t)w->queued_bytes);
	cond_broadcast(&w->progress);
	lock_release(&w->mu);
}

/* Waits for work. False: stopped, and nothing is left. An empty batch means that a sync or a mark
 * is due. */
static bool take_batch(struct kv_writer *w, struct list *batch, size_t *ret_bytes)
{
	size_t bytes = 0;
	LOCK_GUARD(&w->mu);

	while (list_empty(&w->queue) && !w->stop && !w->mark_damaged) {
		if (!w->sync_due_ns)
			cond_wait(&w->work, &w->mu);
		else if (!cond_wait_until(&w->work, &w->mu, w->sync_due_ns))
			break;
	}
	if (list_empty(&w->queue) && w->stop)
		return false;
	while (!list_empty(&w->queue) && bytes < BATCH_MAX_BYTES) {
		struct list *first = list_first(&w->queue);

		bytes += list_entry(first, struct kv_req, node)->bytes;
		list_remove(first);
		list_push_back(batch, first);
	}
	*ret_bytes = bytes;
	return true;
}

/* A reader or the last batch has met a damaged page: have the next start set the environment aside.
 */
static void mark_if_damaged(struct kv *kv)
{
	struct kv_writer *w = &kv->writer;
	bool mark;

	lock_acquire(&w->mu);
	mark = w->mark_damaged;
	w->mark_damaged = false;
	lock_release(&w->mu);
	if (mark)
		/* If even that fails, the next start meets the damage again. */
		(void)kv_guard_mark(kv->dir, KV_STATE_DAMAGED, 0);
}

void kv_note_damage(struct kv *kv)
{
	struct kv_writer *w = &kv->writer;

	counter_add(kv->m.damaged, 1);
	if (kv->mode != KV_CACHE || !w->started)
		return;
	LOCK_GUARD(&w->mu);
	if (!w->damaged) {
		w->damaged = w->mark_damaged = true;
		cond_signal(&w->work);
	}
}

static void *writer_main(void *arg)
{
	struct kv *kv = arg;
	struct list batch;
	size_t bytes = 0;

	list_init(&batch);
	while (take_batch(&kv->writer, &batch, &bytes)) {
		if (!list_empty(&batch)) {
			commit_batch(kv, &batch);
			finish_batch(kv, &batch, bytes);
		}
		mark_if_damaged(kv);
		if (kv->writer.sync_due_ns &&
			clock_mono_ns(&clock_system) >= kv->writer.sync_due_ns)
			(void)sync_now(kv); /* counted, and tried again */
	}
	mark_if_damaged(kv);
	return NULL;
}

int kv_writer_start(struct kv *kv)
{
	struct kv_writer *w = &kv->writer;
	char name[16];
	int r;

	lock_init(&w->mu, LOCK_RANK_KV);
	cond_init(&w->work);
	cond_init(&w->progress);
	list_init(&w->queue);
	r = pthread_create(&w->thread, NULL, writer_main, kv);
	if (r) {
		cond_fini(&w->progress);
		cond_fini(&w->work);
		lock_fini(&w->mu);
		return -r;
	}
	(void)snprintf(name, sizeof(name), "kv-%s", kv->name);
	(void)pthread_setname_np(w->thread, name); /* for ps only */
	w->started = true;
	return 0;
}

void kv_writer_stop(struct kv *kv)
{
	struct kv_writer *w = &kv->writer;

	if (!w->started)
		return;
	lock_acquire(&w->mu);
	w->stop = true;
	cond_signal(&w->work);
	lock_release(&w->mu);
	(void)pthread_join(w->thread, NULL); /* our own joinable thread: it cannot fail */
	cond_fini(&w->progress);
	cond_fini(&w->work);
	lock_fini(&w->mu);
	w->started = false;
}
