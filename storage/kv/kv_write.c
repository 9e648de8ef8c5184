// SPDX-License-Identifier: Apache-2.0
/*
 * The writer: one thread, one queue, group commit. While a commit (and its fsync) runs, requests
 *gather; the next transaction takes them all. A request is a set of ops that happens whole or not
 *at all. If anything in a batch fails, the batch is undone and its requests are run again one by
 *one, so that a bad one fails alone.
 *
 *	kv_write ──┐                       ┌─ ok ────────────────► results
 *	kv_write ──┼─► queue ─► one batch ─┤
 *	  async  ──┘                       └─ error ─► one by one ► results
 *
 * A cache commits without fsync; the writer syncs it at the latest SYNC_AFTER_NS after the first
 *unsynced commit.
 *
 * Threads: any may submit. kv_write waits on `progress`; the callbacks of kv_write_async run on the
 *writer. It stops when kv_writer_stop has set `stop` and the queue is empty.
 */
#include "base/clock.h"
#include "kv/kv_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define QUEUE_MAX_BYTES (64ull << 20)
#define BATCH_MAX_BYTES (16ull << 20)
#define ROOM_WAIT_NS    (10 * NS_PER_S)
#define SYNC_AFTER_NS   (5 * NS_PER_S)

struct kv_req {
	struct list node; /* in the queue, or in the batch */
	const struct kv_op *ops;
	unsigned op_count; /* 0: a flush */
	bool sync;         /* reach the disk before it is done */
	bool heap;         /* malloc'ed by kv_write_async, freed by the writer */
	bool done;         /* guarded by the writer's mu */
	int result;        /* written by the writer before `done` */
	size_t bytes;
	kv_done fn;
	void *arg;
};

static int check_ops(
	const struct kv *kv, const struct kv_op *ops, unsigned op_count, size_t *ret_bytes)
{
	size_t bytes = 0;

	for (unsigned i = 0; i < op_count; i++) {
		if (ops[i].table >= kv->table_count || ops[i].key_len == 0 ||
			ops[i].key_len > KV_KEY_MAX)
			return -EINVAL;
		if (ops[i].value_len > UINT32_MAX || bytes > SIZE_MAX / 4)
			return -EFBIG;
		bytes += ops[i].key_len + (ops[i].value ? ops[i].value_len : 0);
	}
	*ret_bytes = bytes + sizeof(struct kv_req) + op_count * sizeof(*ops);
	return 0;
}

/* One request larger than the whole queue may pass when it is alone. */
static bool has_room_locked(const struct kv_writer *w, size_t bytes)
{
	return w->queued_bytes == 0 || w->queued_bytes + bytes <= QUEUE_MAX_BYTES;
}

static void enqueue_locked(struct kv *kv, struct kv_req *req)
{
	struct kv_writer *w = &kv->writer;

	list_push_back(&w->queue, &req->node);
	w->queued_bytes += req->bytes;
	gauge_set(kv->m.queued_bytes, (int64_t)w->queued_bytes);
	cond_signal(&w->work);
}

/* Queue a request that lives on the caller's stack and wait for its result. */
static int submit_and_wait(struct kv *kv, struct kv_req *req)
{
	struct kv_writer *w = &kv->writer;
	uint64_t give_up = clock_after(&clock_system, ROOM_WAIT_NS);
	LOCK_GUARD(&w->mu);

	while (!w->stop && !has_room_locked(w, req->bytes))
		if (!cond_wait_until(&w->progress, &w->mu, give_up))
			return -EAGAIN;
	if (w->stop)
		return -ESHUTDOWN;
	enqueue_locked(kv, req);
	/* The writer ends every request that was queued, also on its way out; local I/O is all that
	 * it waits for. */
	while (!req->done)
		cond_wait(&w->progress, &w->mu);
	return req->result;
}

int kv_write(struct kv *kv, const struct kv_op *ops, unsigned op_count)
{
	struct kv_req req = {.ops = ops, .op_count = op_count};
	int r = check_ops(kv, ops, op_count, &req.bytes);

	if (r < 0 || op_count == 0)
		return r;
	return submit_and_wait(kv, &req);
}

int kv_flush(struct kv *kv)
{
	struct kv_req req = {.bytes = sizeof(req), .sync = kv->mode == KV_CACHE};

	return submit_and_wait(kv, &req);
}

/* Request, ops and the bytes that they name, in one allocation. */
static struct kv_req *req_copy(const struct kv_op *ops, unsigned op_count, size_t bytes)
{
	struct kv_req *req = malloc(bytes);
	struct kv_op *copy;
	char *heap;

	if (!req)
		return NULL;
	copy = (struct kv_op *)(req + 1);
	heap = (char *)(copy + op_count);
	for (unsigned i = 0; i < op_count; i++) {
		copy[i] = ops[i];
		memcpy(heap, ops[i].key, ops[i].key_len);
		copy[i].key = heap;
		heap += ops[i].key_len;
		if (ops[i].value) {
			if (ops[i].value_len)
				memcpy(heap, ops[i].value, ops[i].value_len);
			copy[i].value = heap;
			heap += ops[i].value_len;
		}
	}
	*req = (struct kv_req){.ops = copy, .op_count = op_count, .bytes = bytes, .heap = true};
	return req;
}

int kv_write_async(struct kv *kv, const struct kv_op *ops, unsigned op_count, kv_done fn, void *arg)
{
	struct kv_writer *w = &kv->writer;
	struct kv_req *req;
	size_t bytes;
	int r = check_ops(kv, ops, op_count, &bytes);

	if (r < 0)
		return r;
	req = req_copy(ops, op_count, bytes);
	if (!req)
		return -ENOMEM;
	req->fn = fn;
	req->arg = arg;
	lock_acquire(&w->mu);
	if (w->stop)
		r = -ESHUTDOWN;
	else if (!has_room_locked(w, bytes))
		r = -EAGAIN;
	else
		enqueue_locked(kv, req);
	lock_release(&w->mu);
	if (r < 0)
		free(req);
	return r;
}

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

static int apply_req(struct kv *kv, MDB_txn *txn, const struct kv_req *req)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < req->op_count; i++)
		r = apply_op(kv, txn, &req->ops[i]);
	return r;
}

/*
 * A page that a transaction took at the end of the file and gave back is never written, so the file
 * may be shorter than LMDB's last page says. Make it cover that, so that a short file always means
 * a truncated one (kv_guard.c).
 */
static void cover_file(struct kv *kv)
{
	MDB_envinfo info;
	struct stat st;
	int fd;

	if (mdb_env_info(kv->env, &info) || mdb_env_get_fd(kv->env, &fd) || fstat(fd, &st) < 0)
		return;
	gauge_set(kv->m.used_bytes, (int64_t)((info.me_last_pgno + 1) * kv->page_bytes));
	if ((uint64_t)st.st_size < (info.me_last_pgno + 1) * kv->page_bytes)
		/* Failing costs at most a cache that is set aside for nothing. */
		(void)!ftruncate(fd, (off_t)((info.me_last_pgno + 1) * kv->page_bytes));
}

/* Requests from `first` up to (not including) `end`, in one transaction. */
static int commit_span(struct kv *kv, struct list *first, const struct list *end)
{
	uint64_t start_ns = clock_mono_ns(&clock_system), ops = 0;
	MDB_txn *txn;
	int r = mdb_txn_begin(kv->env, NULL, 0, &txn);

	if (r)
		return kv_errno(r);
	for (struct list *it = first; r == 0 && it != end; it = it->next) {
		const struct kv_req *req = list_entry(it, struct kv_req, node);

		r = apply_req(kv, txn, req);
		ops += req->op_count;
	}
	if (r) {
		mdb_txn_abort(txn);
		return kv_errno(r);
	}
	r = mdb_txn_commit(txn);
	if (r)
		return kv_errno(r);
	cover_file(kv);
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
		(void)kv_guard_mark(kv->dir, KV_STATE_DAMAGED);
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
